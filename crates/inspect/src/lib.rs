//! What is loaded in a kernel, as text and JSON in the forms of bpftool.
#![forbid(unsafe_code)]

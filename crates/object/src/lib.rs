//! BPF object files: what clang makes of C, as programs and maps in plain data.
//!
//! [`open`] is pure: the same bytes give the same [`ObjectSpec`] on every host. What a file means is
//! what libbpf takes it to mean - names of sections, maps that BTF defines, global variables,
//! externs, the order of functions in a program. Files can be broken or forged: nothing panics, and
//! memory stays in proportion to the file.
#![forbid(unsafe_code)]

mod code;
mod data;
mod elf;
mod error;
mod externs;
mod fixup;
mod image;
mod link;
mod maps;
mod open;
mod programs;
mod struct_ops;
mod targets;
mod variables;
mod write;

pub use bombus_spec::ObjectSpec;
pub use error::Error;
pub use link::{ObjectFile, link};
pub use open::{Options, open, open_named, open_with};
pub use variables::{Home, LocalVariable, local_variables};
pub use write::write;

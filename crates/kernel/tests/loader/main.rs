//! What the loader asks of a kernel, call by call.

mod attaching;
mod objects;
mod programs;
mod recorder;
mod scripts;

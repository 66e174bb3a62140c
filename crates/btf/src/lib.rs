//! BPF type information (`Documentation/bpf/btf.rst` of the kernel): a builder for what the
//! compiler emits, and a reader that looks up one type without decoding the others.
//!
//! A blob has a header, the types one after the other, and a table of strings. A type is known by
//! its place in that order, from 1; 0 is `void`. Numbers are in the byte order of the host; this
//! crate is for little-endian ones. No I/O.
#![forbid(unsafe_code)]

mod builder;
mod info;
mod kind;
mod reader;
mod relocation_kind;

pub use builder::{Builder, Linkage, Member, TypeId};
pub use info::{FuncInfo, LineInfo};
pub use kind::Kind;
pub use reader::{Reader, ReaderError, Type};
pub use relocation_kind::RelocationKind;

/// First two bytes of every blob (`BTF_MAGIC`).
const MAGIC: u16 = 0xeb9f;
/// The only version there is.
const VERSION: u8 = 1;
/// Bytes of `struct btf_header`.
const HEADER_SIZE: usize = 24;

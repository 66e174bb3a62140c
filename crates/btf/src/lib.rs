//! BPF type information (`Documentation/bpf/btf.rst` of the kernel).
//!
//! A blob has a header, the types one after the other, and a table of strings. A type is known by
//! its place in that order, from 1; 0 is `void`. [`Btf`] reads one without decoding what nobody
//! asks for, [`Builder`] makes one. Numbers are little-endian. No I/O.
#![forbid(unsafe_code)]

mod btf;
mod builder;
pub mod c_dump;
mod ext;
mod index;
mod info;
pub mod json;
mod kind;
mod known;
mod layout;
mod names;
pub mod raw;
mod record;
pub mod relocate;
mod relocation_kind;
mod types;
pub mod value;

pub use btf::{Btf, ParseError};
pub use builder::{Builder, IdMap, Support, sanitize};
pub use ext::{BtfExt, ExtBuilder, ExtError};
pub use info::{FuncInfo, LineInfo};
pub use kind::Kind;
pub use names::essential;
pub use relocation_kind::RelocationKind;
pub use types::{
    Composite, Entries, Entry, Enumeration, Enumerator, Enumerators, Int, Linkage, Member, Members,
    Param, Params, SectionVar, SectionVars, Type, TypeId,
};

/// First two bytes of every blob (`BTF_MAGIC`).
const MAGIC: u16 = 0xeb9f;
/// The only version there is.
const VERSION: u8 = 1;
/// Bytes of `struct btf_header`.
const HEADER_SIZE: usize = 24;

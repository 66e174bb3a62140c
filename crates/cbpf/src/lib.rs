//! Classic BPF, the packet filters of `tcpdump` and `SO_ATTACH_FILTER`: read, checked as the kernel
//! checks them, and converted to eBPF.
//!
//! Pure functions on data: [`parse`] reads text, [`Filter::new`] checks (`bpf_check_classic`,
//! `net/core/filter.c`), [`Filter::convert`] gives instructions that any engine and verifier takes.
#![forbid(unsafe_code)]

mod check;
mod convert;
mod op;
mod text;

pub use check::{Filter, Invalid};
pub use convert::{ConvertError, PacketAccess};
pub use op::{Extension, SockFilter};
pub use text::{ParseError, parse};

/// Instructions that a filter may have (`BPF_MAXINSNS`, `include/uapi/linux/bpf_common.h`).
pub const MAX_INSNS: usize = 4096;

//! What people look at: values, maps, histograms and messages as text and as JSON.
//!
//! Pure formatting. The forms are those of bpftrace 0.27.1 to the byte, because people's scripts
//! parse them; where it writes something that is not valid JSON, this crate writes valid JSON.
#![forbid(unsafe_code)]

mod gfp;
mod histogram;
mod json;
mod message;
pub mod printf;
mod text;
mod value;

pub use histogram::Histogram;
pub use message::{Contents, Entry, Format, Map, MapKind, Message, Place, Severity, Stream};
pub use text::{hex_escaped, value as value_text};
pub use value::Value;

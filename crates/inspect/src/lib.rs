//! What is loaded in a kernel, as text and JSON in the forms of bpftool.
//!
//! The data comes from [`bombus_kernel::inspect::Inspect`]; each module here has one kind of
//! object, and two forms of it: `text`, the lines that bpftool prints, and `json`, the value that it
//! prints with `--json`. Where versions of bpftool differ, the newest is followed. Nothing here
//! prints.
#![forbid(unsafe_code)]

pub mod btf;
pub mod cgroup;
mod code;
pub mod elements;
mod extras;
pub mod feature;
mod graph;
pub mod link;
pub mod machine;
pub mod map;
pub mod names;
pub mod net;
pub mod notation;
pub mod perf;
mod perf_names;
pub mod program;
mod source;
mod symbols;
pub mod value;

pub use code::{Listing, Shown};
pub use extras::Extras;
pub use source::prototype;
pub use symbols::Symbols;

/// Bytes as two hexadecimal digits each: a wider gap after eight, a new line after sixteen.
pub fn hex(bytes: &[u8], separator: &str) -> String {
    let mut text = String::with_capacity(bytes.len() * 3);
    for (index, byte) in bytes.iter().enumerate() {
        text += match index {
            0 => "",
            index if index % 16 == 0 => "\n",
            index if index % 8 == 0 => "  ",
            _ => separator,
        };
        text += &format!("{byte:02x}");
    }
    text
}

/// Bytes as bpftool has them in JSON: `["0x01","0xff"]`.
pub fn hex_json(bytes: &[u8]) -> serde_json::Value {
    bytes.iter().map(|byte| serde_json::Value::from(format!("{byte:#04x}"))).collect()
}

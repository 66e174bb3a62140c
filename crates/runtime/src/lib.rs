//! Carries out a plan over any kernel: loads, attaches, waits, does what records ask for, and
//! shows the maps at the end.
//!
//! [`run`] is the life of a tracing session. What it writes goes through an [`Output`]; nothing
//! here prints or exits by itself.
#![deny(unsafe_code)]

mod action;
mod decode;
mod failures;
mod fold;
mod maps;
mod os;
mod output;
mod session;

pub use decode::Decoder;
pub use maps::Maps;
pub use os::{Clock, Signals, is_ignored};
pub use output::{Buffering, Output};
pub use session::{Ended, Options, Outcome, run};

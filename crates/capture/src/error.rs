//! Why a capture cannot be read or written.

use std::{fmt, io};

/// Why a capture cannot be read or written.
#[derive(Debug)]
#[non_exhaustive]
pub enum CaptureError {
    /// Reading or writing failed.
    Io(io::Error),
    /// The file starts like nothing that is known.
    Unknown {
        /// What it looks like instead, when that can be said.
        looks_like: Option<&'static str>,
    },
    /// It ends in the middle of a packet or block.
    Truncated {
        /// Where that starts.
        offset: u64,
    },
    /// It says what cannot be.
    Invalid {
        /// Where the packet or block starts.
        offset: u64,
        /// What is wrong.
        reason: String,
    },
    /// A packet that this file cannot have.
    Unwritable(String),
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CaptureError::Io(error) => write!(f, "{error}"),
            CaptureError::Unknown { looks_like: None } => {
                write!(f, "this is neither a pcap nor a pcapng file")
            }
            CaptureError::Unknown { looks_like: Some(other) } => {
                write!(f, "this is neither a pcap nor a pcapng file but {other}")
            }
            CaptureError::Truncated { offset } => {
                write!(f, "the file ends in the middle of what starts at byte {offset}")
            }
            CaptureError::Invalid { offset, reason } => write!(f, "at byte {offset}: {reason}"),
            CaptureError::Unwritable(reason) => write!(f, "{reason}"),
        }
    }
}

impl std::error::Error for CaptureError {}

impl From<io::Error> for CaptureError {
    fn from(error: io::Error) -> CaptureError {
        CaptureError::Io(error)
    }
}

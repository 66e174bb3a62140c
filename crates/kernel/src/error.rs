//! Errors of the kernel boundary.

use std::fmt;

/// Result of a kernel command.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a kernel command failed, in words for the user.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Error {
    /// A call failed with an error number.
    Os {
        /// What was tried, for example `create map @x`.
        doing: String,
        /// The error number.
        errno: i32,
        /// What would help, when known.
        help: Option<String>,
    },
    /// A privilege is missing.
    Privilege {
        /// What was tried.
        doing: String,
        /// The capability or setting that would allow it, for example `CAP_BPF`.
        missing: String,
    },
    /// This kernel cannot do it.
    Unsupported {
        /// What was asked.
        what: String,
        /// What would help, when known.
        help: Option<String>,
    },
    /// The verifier refused a program.
    Rejected {
        /// The program's name.
        program: String,
        /// The error number.
        errno: i32,
        /// The verifier's log, whole.
        log: String,
    },
}

impl Error {
    /// A failed call. `errno` as the C library has it.
    pub fn os(doing: impl Into<String>, errno: i32) -> Error {
        Error::Os { doing: doing.into(), errno, help: None }
    }

    /// The error number, when there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Error::Os { errno, .. } | Error::Rejected { errno, .. } => Some(*errno),
            Error::Privilege { .. } | Error::Unsupported { .. } => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let os = |errno: i32| std::io::Error::from_raw_os_error(errno);
        match self {
            Error::Os { doing, errno, help } => {
                write!(f, "could not {doing}: {}", os(*errno))?;
                help.as_ref().map_or(Ok(()), |help| write!(f, " ({help})"))
            }
            Error::Privilege { doing, missing } => {
                write!(f, "could not {doing}: {missing} is missing")
            }
            Error::Unsupported { what, help } => {
                write!(f, "{what}")?;
                help.as_ref().map_or(Ok(()), |help| write!(f, " ({help})"))
            }
            Error::Rejected { program, errno, .. } => {
                write!(f, "the verifier refused program {program}: {}", os(*errno))
            }
        }
    }
}

impl std::error::Error for Error {}

//! Errors of the kernel boundary.

use std::fmt;

use bombus_spec::SourceLine;

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
    /// A program cannot do without something that this kernel does not have.
    Missing {
        /// The program's name.
        program: String,
        /// What, in words: `field vm_flags of struct vm_area_struct`.
        what: String,
        /// Which kernel: `Linux 6.18`.
        kernel: String,
        /// The place in the user's source, when known.
        at: Option<Box<SourceLine>>,
        /// The verifier's log, when it was the one to find out.
        log: String,
    },
    /// What was asked for does not fit the object.
    Invalid {
        /// What is wrong.
        what: String,
        /// What would help, when known.
        help: Option<String>,
    },
}

impl Error {
    /// A failed call. `errno` as the C library has it.
    pub fn os(doing: impl Into<String>, errno: i32) -> Error {
        Error::Os { doing: doing.into(), errno, help: None }
    }

    /// A request that does not fit the object.
    pub(crate) fn invalid(what: impl Into<String>) -> Error {
        Error::Invalid { what: what.into(), help: None }
    }

    /// The error number, when there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Error::Os { errno, .. } | Error::Rejected { errno, .. } => Some(*errno),
            Error::Privilege { .. }
            | Error::Unsupported { .. }
            | Error::Missing { .. }
            | Error::Invalid { .. } => None,
        }
    }
}

/// "Operation not supported", the kernel's own number that no C library knows.
pub const ENOTSUPP: i32 = 524;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let os = |errno: i32| match errno {
            ENOTSUPP => "Operation not supported (ENOTSUPP)".to_owned(),
            _ => std::io::Error::from_raw_os_error(errno).to_string(),
        };
        match self {
            Error::Os { doing, errno, help } => {
                write!(f, "could not {doing}: {}", os(*errno))?;
                help.as_ref().map_or(Ok(()), |help| write!(f, " ({help})"))
            }
            Error::Privilege { doing, missing } => {
                write!(f, "could not {doing}: {missing} is missing")
            }
            Error::Missing { program, what, kernel, at, .. } => {
                write!(f, "program {program} needs {what}, which {kernel} does not have")?;
                at.as_ref().map_or(Ok(()), |at| {
                    write!(f, " ({}:{}: {})", at.file, at.line, at.text.trim())
                })
            }
            Error::Unsupported { what, help } | Error::Invalid { what, help } => {
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

//! What can go wrong.

use std::fmt;
use std::path::PathBuf;

/// Result of everything here.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something did not work, in words for the user.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read.
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// An object file is not what it should be.
    Object(bombus_object::Error),
    /// The kernel refused, or lacks something.
    Kernel(bombus_kernel::Error),
    /// The object has no such map or program, or it is another than was asked for.
    Mismatch {
        /// What is wrong.
        what: String,
    },
}

impl Error {
    pub(crate) fn mismatch(what: impl Into<String>) -> Error {
        Error::Mismatch { what: what.into() }
    }

    /// The error number of the kernel's refusal, when that was it.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Error::Kernel(error) => error.errno(),
            Error::File { error, .. } => error.raw_os_error(),
            Error::Object(_) | Error::Mismatch { .. } => None,
        }
    }

    /// What the verifier said when it refused a program, whole.
    pub fn verifier_log(&self) -> Option<&str> {
        match self {
            Error::Kernel(
                bombus_kernel::Error::Rejected { log, .. }
                | bombus_kernel::Error::Missing { log, .. },
            ) => Some(log),
            _ => None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::File { path, error } => write!(f, "{}: {error}", path.display()),
            Error::Object(error) => write!(f, "{error}"),
            Error::Kernel(error) => write!(f, "{error}"),
            Error::Mismatch { what } => write!(f, "{what}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::File { error, .. } => Some(error),
            Error::Kernel(error) => Some(error),
            Error::Object(_) | Error::Mismatch { .. } => None,
        }
    }
}

impl From<bombus_kernel::Error> for Error {
    fn from(error: bombus_kernel::Error) -> Error {
        Error::Kernel(error)
    }
}

impl From<bombus_object::Error> for Error {
    fn from(error: bombus_object::Error) -> Error {
        Error::Object(error)
    }
}

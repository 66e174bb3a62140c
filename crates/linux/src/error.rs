//! From error numbers to words.

use bombus_kernel::Error;

use crate::caps;
use crate::sys::Errno;

/// A call that needs privileges failed: names what is missing when that is why.
pub(crate) fn privileged(doing: impl Into<String>, errno: Errno, wants: caps::Wants) -> Error {
    let doing = doing.into();
    match errno {
        libc::EPERM | libc::EACCES => Error::Privilege { doing, missing: caps::missing(wants) },
        libc::ENOSYS => Error::Unsupported {
            what: format!("could not {doing}: this kernel has no bpf(2)"),
            help: Some("it was built without CONFIG_BPF_SYSCALL, or a sandbox hides it".into()),
        },
        errno => Error::os(doing, errno),
    }
}

/// The error number of an I/O error.
pub(crate) fn errno_of(error: &std::io::Error) -> Errno {
    error.raw_os_error().unwrap_or(libc::EIO)
}

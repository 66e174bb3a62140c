//! Trying what a process may need permission for: by its own rights, then without the limit on
//! locked memory, then by a token.

use std::cell::OnceCell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use bombus_kernel::Result;

use crate::Linux;
use crate::caps::Wants;
use crate::error::{errno_of, privileged};
use crate::sys::{Errno, object, process};

/// Names the directory whose rights to use; empty: none. The same as libbpf's, so that what is set
/// up for one works for the other.
const VARIABLE: &str = "LIBBPF_BPF_TOKEN_PATH";
/// Where a container finds its BPF file system.
const USUAL: &str = "/sys/fs/bpf";

/// What has been tried.
#[derive(Default)]
pub(crate) struct Permission {
    memlock_lifted: OnceCell<()>,
    /// Rights that the creator of a BPF file system passed on to a user namespace (Linux 6.9).
    token: OnceCell<Option<OwnedFd>>,
}

impl Linux {
    /// Uses the rights that a BPF file system passes on to this user namespace (a BPF token,
    /// `BPF_TOKEN_CREATE`) for maps, programs and types. Without this call, the environment
    /// variable `LIBBPF_BPF_TOKEN_PATH`, or else `/sys/fs/bpf`, is tried when something has been
    /// refused.
    ///
    /// Fails when the directory passes on nothing, with `EINVAL` before Linux 6.9, and with
    /// `EALREADY` when a token is in use.
    pub fn use_token(&self, directory: &Path) -> Result<()> {
        let doing = || format!("make a token of {}", directory.display());
        let token = create(directory).map_err(|errno| privileged(doing(), errno, Wants::Bpf))?;
        self.permission
            .token
            .set(Some(token))
            .map_err(|_| privileged(doing(), libc::EALREADY, Wants::Bpf))
    }

    /// Tries, and tries again with more permission while the answer is `EPERM`.
    pub(crate) fn permitted<T>(
        &self,
        mut attempt: impl FnMut(Option<BorrowedFd<'_>>) -> std::result::Result<T, Errno>,
    ) -> std::result::Result<T, Errno> {
        let known = self.permission.token.get().and_then(Option::as_ref).map(OwnedFd::as_fd);
        let mut outcome = attempt(known);
        if matches!(outcome, Err(libc::EPERM)) && self.lift_memlock_limit() {
            outcome = attempt(known);
        }
        if matches!(outcome, Err(libc::EPERM)) && known.is_none() {
            let token = self.permission.token.get_or_init(|| match std::env::var_os(VARIABLE) {
                Some(path) if path.is_empty() => None,
                Some(path) => create(Path::new(&path)).ok(),
                None => create(Path::new(USUAL)).ok(),
            });
            if let Some(token) = token {
                outcome = attempt(Some(token.as_fd()));
            }
        }
        outcome
    }

    /// Kernels before 5.11 count maps and programs against the limit on locked memory. Called when
    /// something was refused; true the first time.
    pub(crate) fn lift_memlock_limit(&self) -> bool {
        let lifted = &self.permission.memlock_lifted;
        let first = lifted.get().is_none();
        lifted.get_or_init(|| {
            // Without the privilege to lift it, the limit stays and the error says so.
            let _ = process::lift_memlock_limit();
        });
        first
    }
}

fn create(directory: &Path) -> std::result::Result<OwnedFd, Errno> {
    let directory = std::fs::File::open(directory).map_err(|error| errno_of(&error))?;
    object::token(directory.as_fd())
}

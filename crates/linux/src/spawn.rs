//! The command to run, or the process to follow.

use std::ffi::{CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bombus_kernel::{Command, Error, Result};

use crate::Linux;
use crate::signals::original_mask;
use crate::sys::fork::{Held, Program};
use crate::sys::{Errno, poll, process};

/// Whom this tracer watches for its end.
#[derive(Default)]
pub(crate) enum Target {
    /// Nobody.
    #[default]
    None,
    /// A command before its `execve`.
    Held { command: Held, name: String },
    /// A command that runs. It goes on when the tracer ends.
    Child { pid: u32, pidfd: OwnedFd },
    /// Somebody else's process.
    Other { pidfd: OwnedFd },
}

impl Target {
    /// Ends a command that has not been started.
    pub(crate) fn give_up(self) {
        if let Target::Held { command, .. } = self {
            command.give_up();
        }
    }
}

/// Starts a command and holds it before its `execve`.
pub(crate) fn spawn(linux: &Linux, command: &Command) -> Result<u32> {
    let Some(program) = command.argv.first() else {
        return Err(Error::os("run a command without a name", libc::EINVAL));
    };
    let name = program.to_string_lossy().into_owned();
    let failed = |errno| Error::os(format!("run {name}"), errno);
    let c_string = |bytes: &OsStr| CString::new(bytes.as_bytes()).map_err(|_| failed(libc::EINVAL));
    let path = find(program).map_err(failed)?;
    // The kernel names a task for the file that it executes.
    let task_name = path.file_name().unwrap_or(program);
    let program = Program {
        path: c_string(path.as_os_str())?,
        argv: command.argv.iter().map(|arg| c_string(arg)).collect::<Result<_>>()?,
        name: c_string(task_name)?,
        mask: original_mask(),
    };
    let held = Held::spawn(&program).map_err(failed)?;
    let pid = held.pid();
    linux.target.replace(Target::Held { command: held, name }).give_up();
    Ok(pid)
}

/// The file that `execvp(3)` would execute. It is found before the child runs, so that the child
/// needs one `execve` and not one for each directory.
fn find(program: &OsStr) -> std::result::Result<PathBuf, Errno> {
    /// Where `execvp(3)` looks when there is no `PATH`.
    const DEFAULT_PATH: &str = "/bin:/usr/bin";
    if program.is_empty() {
        return Err(libc::ENOENT);
    }
    if program.as_bytes().contains(&b'/') {
        return Ok(PathBuf::from(program));
    }
    let directories = std::env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into());
    let mut errno = libc::ENOENT;
    for directory in std::env::split_paths(&directories) {
        // An empty entry is the current directory.
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { &directory };
        let candidate = directory.join(program);
        match std::fs::metadata(&candidate) {
            Ok(meta) if meta.is_file() && meta.permissions().mode() & 0o111 != 0 => {
                return Ok(candidate);
            }
            Ok(meta) if meta.is_file() => errno = libc::EACCES,
            _ => {}
        }
    }
    Err(errno)
}

/// Watches a running process for its end.
pub(crate) fn follow(linux: &Linux, pid: u32) -> Result<()> {
    let pidfd = poll::pidfd(pid).map_err(|errno| Error::Os {
        doing: format!("follow process {pid}"),
        errno,
        help: match errno {
            libc::EINVAL | libc::ENOENT => {
                Some(format!("{pid} is a thread; follow the process that it belongs to"))
            }
            _ => None,
        },
    })?;
    linux.waiter.borrow_mut().watch_target(&pidfd)?;
    linux.target.replace(Target::Other { pidfd }).give_up();
    Ok(())
}

/// Lets the command go.
pub(crate) fn release(linux: &Linux, before_exec: &mut dyn FnMut(u32) -> Result<()>) -> Result<()> {
    let (held, name) = match linux.target.take() {
        Target::Held { command, name } => (command, name),
        other => {
            linux.target.replace(other);
            return Ok(());
        }
    };
    let failed = |errno| Error::os(format!("run {name}"), errno);
    let pid = held.pid();
    // Before it runs: the number cannot have been given to somebody else yet.
    let pidfd = poll::pidfd(pid).map_err(failed)?;
    held.release(before_exec).map_err(failed)??;
    linux.waiter.borrow_mut().watch_target(&pidfd)?;
    linux.target.replace(Target::Child { pid, pidfd });
    Ok(())
}

/// The target has ended: forgets it; the wait status if it was ours to wait for.
pub(crate) fn collect(linux: &Linux) -> Option<i32> {
    match linux.target.take() {
        Target::Child { pid, pidfd } => {
            linux.waiter.borrow_mut().forget_target(&pidfd);
            process::wait_for(pid).ok().flatten()
        }
        Target::Other { pidfd } => {
            linux.waiter.borrow_mut().forget_target(&pidfd);
            None
        }
        other => {
            linux.target.replace(other);
            None
        }
    }
}

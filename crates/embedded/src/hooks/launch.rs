//! Starts a command so that the first thing anybody sees of it is its `execve`.
//!
//! The child takes the command's name and waits at a pipe. Meanwhile it is attached to. Then the
//! filter comes through the pipe; the child installs it and calls `execve`. Only when that fails
//! does it go on, to tell why, and end with 127.

use std::ffi::{CString, OsStr, OsString};
use std::io::{self, Read, Write};
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::ptr;

use bombus_kernel::{Command, Error, Result};

use super::filter::Insn;
use super::sys;

/// The exit status of a command that could not be run, as in the shell.
pub(super) const NOT_RUN: i32 = 127;

/// A child before its `execve`.
#[derive(Debug)]
pub(super) struct Child {
    /// Process id.
    pub(super) pid: u32,
    program: String,
    filter: io::PipeWriter,
    failure: io::PipeReader,
}

/// The steps of the child that can fail.
const STAGE_FILTER: u32 = 1;
const STAGE_EXEC: u32 = 2;

impl Child {
    /// Forks. `variables` are added to the environment; `blocked` are the signals that the command is
    /// to block, bit 0 for signal 1.
    pub(super) fn fork(
        command: &Command,
        variables: &[(OsString, OsString)],
        blocked: u64,
    ) -> Result<Child> {
        let Some(program) = command.argv.first() else {
            return Err(Error::Unsupported {
                what: "there is no command to run".into(),
                help: None,
            });
        };
        let path = find(program)?;
        let doing = format!("run {}", program.display());
        let failed =
            |error: io::Error| Error::os(doing.as_str(), error.raw_os_error().unwrap_or(libc::EIO));
        let name = path.file_name().unwrap_or(path.as_os_str()).to_owned();
        let path = c_string(path.into_os_string(), &doing)?;
        let argv: Vec<CString> = command
            .argv
            .iter()
            .map(|argument| c_string(argument.clone(), &doing))
            .collect::<Result<_>>()?;
        let inherited =
            std::env::vars_os().filter(|(name, _)| variables.iter().all(|(new, _)| new != name));
        let environment: Vec<CString> = inherited
            .chain(variables.iter().cloned())
            .filter_map(|(mut variable, value)| {
                variable.push("=");
                variable.push(value);
                CString::new(variable.into_vec()).ok()
            })
            .collect();
        let comm: Vec<u8> = name.as_bytes().iter().copied().take(15).collect();
        let image = Image {
            comm: CString::new(comm).unwrap_or_default(),
            path,
            argv: pointers(&argv),
            environment: pointers(&environment),
            blocked,
        };
        let (filter_reader, filter) = io::pipe().map_err(failed)?;
        let (failure, failure_writer) = io::pipe().map_err(failed)?;
        // SAFETY: the child calls nothing but `become_command`, which keeps to what is allowed
        // between `fork` and `execve` in a process that may have threads.
        match unsafe { libc::fork() } {
            -1 => Err(failed(io::Error::last_os_error())),
            0 => {
                let parents = [filter.as_raw_fd(), failure.as_raw_fd()];
                image.become_command(parents, &filter_reader.into(), &failure_writer.into())
            }
            pid => {
                let program = program.to_string_lossy().into_owned();
                Ok(Child { pid: pid as u32, program, filter, failure })
            }
        }
    }

    /// Sends the filter (empty: none); the child goes on to its `execve`.
    pub(super) fn release(&mut self, filter: &[Insn]) -> Result<()> {
        let mut message = vec![];
        message.extend((filter.len() as u64).to_ne_bytes());
        for insn in filter {
            message.extend(insn.code.to_ne_bytes());
            message.extend([insn.jump_true, insn.jump_false]);
            message.extend(insn.k.to_ne_bytes());
        }
        match self.filter.write_all(&message) {
            // It was killed: waiting for it will tell.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(Error::os(
                format!("run {}", self.program),
                error.raw_os_error().unwrap_or(libc::EIO),
            )),
            Ok(()) => Ok(()),
        }
    }

    /// Why it could not become the command, once it has ended. `None`: it was killed.
    pub(super) fn failure(&mut self) -> Option<Error> {
        let mut message = [0; 8];
        self.failure.read_exact(&mut message).ok()?;
        let word = |bytes: &[u8]| bytes.try_into().map(u32::from_ne_bytes).unwrap_or(0);
        let (stage, errno) = (word(&message[..4]), word(&message[4..]) as i32);
        Some(match stage {
            STAGE_FILTER => Error::Os {
                doing: format!("install a seccomp filter for {}", self.program),
                errno,
                help: Some("is this a sandbox that forbids seccomp(2)?".into()),
            },
            _ => not_run(&self.program, errno),
        })
    }
}

fn not_run(program: &str, errno: i32) -> Error {
    let help = match errno {
        libc::ENOENT if program.contains('/') => None,
        libc::ENOENT => Some("the command was not found in PATH".to_owned()),
        libc::EACCES => Some("it is no executable file".to_owned()),
        libc::ENOEXEC => Some("it is no program, and has no #! line".to_owned()),
        _ => None,
    };
    Error::Os { doing: format!("run {program}"), errno, help }
}

fn c_string(text: OsString, doing: &str) -> Result<CString> {
    CString::new(text.into_vec()).map_err(|_| Error::os(doing, libc::EINVAL))
}

/// The pointers that `execve` takes; they live as long as the strings.
fn pointers(strings: &[CString]) -> Vec<*const libc::c_char> {
    strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
}

/// Looks a program up in `PATH`, as `execvp` does, but before there is anything to trace.
fn find(program: &OsStr) -> Result<PathBuf> {
    let shown = program.to_string_lossy();
    let test = |path: PathBuf| {
        let text = CString::new(path.as_os_str().as_bytes()).map_err(|_| libc::ENOENT)?;
        sys::may_execute(&text)?;
        if path.is_file() { Ok(path) } else { Err(libc::EACCES) }
    };
    if program.as_bytes().contains(&b'/') {
        return test(program.into()).map_err(|errno| not_run(&shown, errno));
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let mut reason = libc::ENOENT;
    for directory in std::env::split_paths(&path).filter(|_| !program.is_empty()) {
        match test(directory.join(program)) {
            Ok(path) => return Ok(path),
            // It is there, but no program; a directory that may not be searched is another matter.
            Err(libc::EACCES) if directory.join(program).exists() => reason = libc::EACCES,
            Err(_) => {}
        }
    }
    Err(not_run(&shown, reason))
}

/// All that the child needs, made before the fork.
struct Image {
    comm: CString,
    path: CString,
    argv: Vec<*const libc::c_char>,
    environment: Vec<*const libc::c_char>,
    blocked: u64,
}

/// Room for any filter (`BPF_MAXINSNS`).
const MAX_FILTER: usize = 4096;

impl Image {
    /// The child's part. It keeps to system calls and memory of its own.
    fn become_command(&self, parents: [i32; 2], filter: &OwnedFd, failure: &OwnedFd) -> ! {
        let mut code = [const { mem::MaybeUninit::<Insn>::uninit() }; MAX_FILTER];
        // SAFETY: only functions that are safe after `fork` (signal-safety(7)), with pointers
        // that were made before it and stay valid: `self` is never dropped here.
        unsafe {
            for fd in parents {
                libc::close(fd);
            }
            libc::prctl(libc::PR_SET_NAME, self.comm.as_ptr());
            // Rust's start-up ignores SIGPIPE; commands expect the default.
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            let size = size_of::<u64>();
            let old = ptr::null_mut::<u64>();
            libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &self.blocked, old, size);

            let mut length = [0u8; 8];
            if !read_all(filter.as_raw_fd(), length.as_mut_ptr(), 8) {
                // The tracer is gone, or gave up.
                libc::_exit(NOT_RUN);
            }
            let length = (u64::from_ne_bytes(length) as usize).min(MAX_FILTER);
            let bytes = length * size_of::<Insn>();
            if !read_all(filter.as_raw_fd(), code.as_mut_ptr().cast(), bytes) {
                libc::_exit(NOT_RUN);
            }
            if length > 0 && !install(code.as_mut_ptr().cast(), length as u16) {
                give_up(failure, STAGE_FILTER);
            }
            libc::execve(self.path.as_ptr(), self.argv.as_ptr(), self.environment.as_ptr());
            give_up(failure, STAGE_EXEC)
        }
    }
}

/// # Safety
/// `into` must have room for `length` bytes.
unsafe fn read_all(fd: i32, into: *mut u8, length: usize) -> bool {
    let mut done = 0;
    while done < length {
        // SAFETY: `done < length`, so there is room for the rest.
        match unsafe { libc::read(fd, into.add(done).cast(), length - done) } {
            -1 if io::Error::last_os_error().raw_os_error() == Some(libc::EINTR) => {}
            ..=0 => return false,
            count => done += count as usize,
        }
    }
    true
}

/// Installs a filter. Who has the privilege does without `no_new_privs`, so that the command's
/// set-user-id programs keep working.
///
/// # Safety
/// `code` must point to `length` instructions.
unsafe fn install(code: *mut libc::sock_filter, length: u16) -> bool {
    let program = libc::sock_fprog { len: length, filter: code };
    let try_with = |flags: libc::c_ulong| {
        let mode = libc::SECCOMP_SET_MODE_FILTER;
        // SAFETY: `program` is valid as long as the caller's promise holds.
        match unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &raw const program) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error().raw_os_error()),
        }
    };
    // Without the flag, kernels before 5.16 slow down a filtered process's memory accesses.
    let install = || match try_with(libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW) {
        Err(Some(libc::EINVAL)) => try_with(0),
        result => result,
    };
    match install() {
        Err(Some(libc::EACCES)) => {
            // SAFETY: passes numbers only.
            unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
            install().is_ok()
        }
        result => result.is_ok(),
    }
}

/// Tells the parent which step failed and why, and ends.
///
/// # Safety
/// Only for the child of a fork.
unsafe fn give_up(failure: &OwnedFd, stage: u32) -> ! {
    let errno = io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    let message = [stage.to_ne_bytes(), (errno as u32).to_ne_bytes()];
    // SAFETY: eight bytes of memory of this function.
    unsafe {
        libc::write(failure.as_raw_fd(), message.as_ptr().cast(), 8);
        libc::_exit(NOT_RUN)
    }
}

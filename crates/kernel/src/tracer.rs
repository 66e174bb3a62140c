//! What tracing needs beside `bpf(2)`: whom to follow, and where to wait.

use std::ffi::OsString;
use std::time::Instant;

use crate::{Kernel, MapFd, Result};

/// A command to run under observation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// Program and arguments. A program without a slash is looked up in `PATH`.
    pub argv: Vec<OsString>,
}

/// Whose events are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Everybody's.
    Machine,
    /// One process: its threads, not its children.
    Process(u32),
    /// A process and everything that it starts.
    Tree(u32),
}

/// Why [`Tracer::wait`] came back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wake {
    /// A ring buffer may have records.
    Records,
    /// The deadline passed.
    Deadline,
    /// A signal for this process came (see the caller's signal flags).
    Signal,
    /// The command, or the process that was followed, is gone.
    TargetExited {
        /// Its wait status as `waitpid` gives it, when it was ours to wait for.
        status: Option<i32>,
    },
}

/// A kernel that can trace a command or a process.
pub trait Tracer: Kernel {
    /// Starts `command` and holds it before its `execve`; returns its process id. The task already
    /// carries the command's name, and no system call of its own comes before the `execve`.
    fn spawn(&self, command: &Command) -> Result<u32>;

    /// Takes hold of a running process (with its threads; on the embedded kernel also with what
    /// they start later). The process goes on running.
    fn follow(&self, pid: u32) -> Result<()>;

    /// Restricts what the kernel itself filters (the embedded kernel has trees only). Programs for
    /// Linux carry their filter in their own code; a tree is kept by programs and a map, see
    /// `bombus-script`.
    fn resume(&self) -> Result<()>;

    /// Waits until something happens. `wanted` are the ring buffers to watch. On the embedded
    /// kernel the traced processes make progress only while somebody waits here.
    fn wait(&self, wanted: &[MapFd], deadline: Option<Instant>) -> Result<Wake>;

    /// What to tell the user at the end, one line each (the embedded kernel's count of stops).
    fn summary(&self) -> Vec<String> {
        Vec::new()
    }
}

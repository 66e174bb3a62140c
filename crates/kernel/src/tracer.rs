//! What tracing needs beside `bpf(2)`: whom to follow, and where to wait.

use std::ffi::OsString;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use bombus_platform::ProgType;

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
    /// A signal for this process came, see [`Tracer::watch_signals`].
    Signal,
    /// The command, or the process that was followed, is gone.
    TargetExited {
        /// Its wait status as `waitpid` gives it, when it was ours to wait for.
        status: Option<i32>,
    },
}

/// Packets of a network device that had the same verdict.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PacketVerdicts {
    /// The program's name.
    pub program: String,
    /// Its type, which says what verdicts mean.
    pub prog_type: ProgType,
    /// The device's name.
    pub device: String,
    /// What the program returned; `None`: it was stopped.
    pub verdict: Option<u32>,
    /// How many packets.
    pub packets: u64,
    /// How many bytes they had together.
    pub bytes: u64,
}

/// A kernel that can trace a command or a process.
pub trait Tracer: Kernel {
    /// Starts `command` and holds it before its `execve`; returns its process id. The task already
    /// carries the command's name, and no system call of its own comes before the `execve`.
    fn spawn(&self, command: &Command) -> Result<u32>;

    /// Takes hold of a running process (with its threads; on the embedded kernel also with what
    /// they start later). The process goes on running.
    fn follow(&self, pid: u32) -> Result<()>;

    /// Lets the spawned command, or the followed process, go on its way. `before_exec` is called
    /// with the command's process id at the last moment: after it, the command's next system call
    /// is its `execve`. (Here the caller puts the thread into the map of a followed tree.) When it
    /// fails, the command is given up and its error returned. An `execve` that fails is an error
    /// of this method. Without a command `before_exec` is not called.
    fn release(&self, before_exec: &mut dyn FnMut(u32) -> Result<()>) -> Result<()>;

    /// [`Tracer::release`] with nothing to do before the `execve`.
    fn resume(&self) -> Result<()> {
        self.release(&mut |_| Ok(()))
    }

    /// Makes [`Tracer::wait`] come back with [`Wake::Signal`] whenever `signals` is readable. It is
    /// a `signalfd(2)`: the signals are blocked and so cannot get lost between two waits; the
    /// caller reads them from it. Commands start with the mask from before.
    fn watch_signals(&self, signals: BorrowedFd<'_>) -> Result<()>;

    /// Waits until something happens. `wanted` are the ring buffers to watch. On the embedded
    /// kernel the traced processes make progress only while somebody waits here.
    fn wait(&self, wanted: &[MapFd], deadline: Option<Instant>) -> Result<Wake>;

    /// What programs at network devices decided, where the kernel counts it: by program, device and
    /// verdict.
    fn packet_verdicts(&self) -> Vec<PacketVerdicts> {
        Vec::new()
    }

    /// What to tell the user at the end, one line each (the embedded kernel's count of stops).
    fn summary(&self) -> Vec<String> {
        Vec::new()
    }
}

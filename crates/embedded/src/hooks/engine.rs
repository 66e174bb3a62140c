//! The door to the hooks.

use std::time::Instant;

use bombus_kernel::{Command, Error, Result, Wake};

use super::{Control, Event, Interest, Stops, Task};

/// Traces a tree of processes.
#[derive(Debug, Default)]
pub struct Engine {
    stops: Stops,
}

fn unsupported() -> Error {
    Error::Unsupported { what: "this part is being written".into(), help: None }
}

impl Engine {
    /// An engine that traces nothing yet.
    pub fn new() -> Engine {
        Engine::default()
    }

    /// Starts a command and holds it before its `execve`; returns its process id.
    pub fn spawn(&mut self, _command: &Command) -> Result<u32> {
        Err(unsupported())
    }

    /// Takes hold of a running process with all its threads; it goes on running.
    pub fn follow(&mut self, _pid: u32) -> Result<()> {
        Err(unsupported())
    }

    /// Says what is wanted, and lets the command begin. Once.
    pub fn start(&mut self, _interest: &Interest) -> Result<()> {
        Err(unsupported())
    }

    /// Resumes and watches the traced processes until the deadline, a signal handler of this
    /// process ran, the command or followed process ended, or `on` says so.
    pub fn wait(
        &mut self,
        _deadline: Option<Instant>,
        _on: &mut dyn FnMut(Event, &mut dyn Task) -> Control,
    ) -> Result<Wake> {
        Err(unsupported())
    }

    /// Visits every traced task that is running on a CPU now (for `profile`). It is not stopped:
    /// [`Task::regs`] fails.
    pub fn running(&mut self, _visit: &mut dyn FnMut(&mut dyn Task)) {}

    /// What the tracing has cost so far.
    pub fn stops(&self) -> Stops {
        self.stops
    }

    /// Removes breakpoints and lets go of whatever can be let go of. After this, no more events.
    pub fn detach_all(&mut self) {}

    /// Resumes the remaining processes, without events, until the last of them is gone.
    pub fn keep_until_gone(&mut self) {}
}

//! Following processes, and waiting for what they do.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use bombus_kernel::{Command, Error, MapFd, PacketVerdicts, Result, Tracer, Wake};

use crate::core::Core;
use crate::dispatch::dispatch;
use crate::hooks::Control;
use crate::maps::Ringbuf;
use crate::{Embedded, Target, kernel};

/// How long a record may wait for its reader when the buffer has room. Each time the reader runs,
/// the traced processes stand still.
const PATIENCE: Duration = Duration::from_millis(20);

/// What the traced processes have to themselves between two rounds of what programs put off, lest a
/// timer that always starts itself again keeps them from going on.
const TURN: Duration = Duration::from_micros(50);

impl Tracer for Embedded {
    fn spawn(&self, command: &Command) -> Result<u32> {
        let pid = self.engine.borrow_mut().spawn(command)?;
        self.target.set(Some(Target::Command(pid)));
        Ok(pid)
    }

    fn follow(&self, pid: u32) -> Result<()> {
        self.engine.borrow_mut().follow(pid)?;
        self.target.set(Some(Target::Process));
        Ok(())
    }

    fn release(&self, before_exec: &mut dyn FnMut(u32) -> Result<()>) -> Result<()> {
        if let Some(Target::Command(pid)) = self.target.get() {
            before_exec(pid)?;
        }
        let links = self.links.borrow();
        if self.target.get().is_none() {
            return if links.need_processes() { Err(whole_machine()) } else { Ok(()) };
        }
        let interest = links.interest(&self.core.borrow().programs);
        self.engine.borrow_mut().start(&interest, &mut |event, task| {
            dispatch(&mut self.core.borrow_mut(), &links, event, task);
            Control::Continue
        })
    }

    fn watch_signals(&self, signals: BorrowedFd<'_>) -> Result<()> {
        self.engine.borrow_mut().watch_signals(signals)
    }

    fn wait(&self, wanted: &[MapFd], deadline: Option<Instant>) -> Result<Wake> {
        if !self.network.borrow().is_idle() {
            return self.wait_and_carry(wanted, deadline);
        }
        let mut engine = self.engine.borrow_mut();
        let links = self.links.borrow();
        let mut timers = self.timers.borrow_mut();
        loop {
            let flush = self.flush_at(wanted);
            if flush.is_some_and(|flush| flush <= Instant::now()) {
                return Ok(Wake::Records);
            }
            let put_off = self.core.borrow().workspace.deferred.next_due();
            let put_off = put_off.map(|due| due.max(Instant::now() + TURN));
            let until = [deadline, flush, timers.next_due(), put_off].into_iter().flatten().min();
            let wake = engine.wait(until, &mut |event, task| {
                let mut core = self.core.borrow_mut();
                dispatch(&mut core, &links, event, task);
                let put_off = core.workspace.deferred.next_due();
                let is_sooner = put_off.is_some_and(|due| until.is_none_or(|until| due < until));
                let hurry = is_sooner || rings(&core, wanted).any(Ringbuf::is_half_full);
                if hurry { Control::Return } else { Control::Continue }
            })?;
            if !matches!(wake, Wake::Deadline | Wake::Records) {
                return Ok(wake);
            }
            let now = Instant::now();
            timers.fire(now, &mut engine, &mut self.core.borrow_mut());
            self.core.borrow_mut().run_deferred();
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Ok(Wake::Deadline);
            }
        }
    }

    fn packet_verdicts(&self) -> Vec<PacketVerdicts> {
        self.network.borrow().verdicts(&self.core.borrow().programs)
    }

    fn summary(&self) -> Vec<String> {
        let stops = self.engine.borrow().stops();
        let mut lines = Vec::new();
        if self.target.get().is_some() {
            let recorded = match stops.recorded {
                0 => String::new(),
                count => format!(", {count} system calls recorded without a stop"),
            };
            let (total, tasks) = (stops.total(), stops.tasks);
            lines.push(format!("{total} stops of {tasks} traced tasks{recorded}"));
        }
        if stops.missed_breakpoints > 0 {
            lines.push(format!("{} breakpoints could not be set", stops.missed_breakpoints));
        }
        for program in &self.core.borrow().programs {
            if let Some(first) = &program.first_fault {
                let (name, faults) = (&program.name, program.faults);
                lines.push(format!("program {name} failed {faults} times, first at {first}"));
            }
        }
        lines.extend(self.network.borrow().summary());
        lines
    }
}

impl Embedded {
    /// When somebody should look at the records in these ring buffers, if there are any: at once
    /// when there are many, else when the oldest has waited long enough.
    pub(crate) fn flush_at(&self, wanted: &[MapFd]) -> Option<Instant> {
        let flush = |ring: &Ringbuf| {
            let since = ring.unread_since()?;
            Some(if ring.is_half_full() { since } else { since + PATIENCE })
        };
        rings(&self.core.borrow(), wanted).filter_map(flush).min()
    }
}

/// The ring buffers among these maps.
pub(crate) fn rings<'a>(core: &'a Core, wanted: &'a [MapFd]) -> impl Iterator<Item = &'a Ringbuf> {
    wanted.iter().filter_map(|&fd| core.maps.get(kernel::index(fd.0)?)?.ringbuf())
}

/// The error for a script that has nobody to trace.
fn whole_machine() -> Error {
    Error::Unsupported {
        what: "the embedded kernel cannot trace the whole machine".into(),
        help: Some(
            "trace a command with -c or a process with -p; the whole machine takes root \
             privileges and --kernel linux"
                .into(),
        ),
    }
}

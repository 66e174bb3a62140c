//! The life of a tracing session.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use bombus_kernel::{
    AttachPoint, Command, Error, Loaded, MapFd, Result, Tracer, UpdateFlag, Wake, load,
};
use bombus_report::Message;
use bombus_script::plan::{Plan, Probe, Trigger};

use crate::action::Actions;
use crate::failures::Failures;
use crate::maps::Maps;
use crate::os::{self, Signals};
use crate::output::Output;

/// What to trace, and how to talk about it.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A command to run; tracing ends with it.
    pub command: Option<Command>,
    /// A running process to follow; tracing ends with it.
    pub pid: Option<u32>,
    /// Do not say how many probes are attached.
    pub quiet: bool,
    /// Show `warnf()` and runtime errors.
    pub warnings: bool,
    /// Print `__BPFTRACE_NOTIFY_PROBES_ATTACHED` once attached: what bpftrace's test runner waits
    /// for.
    pub notify: bool,
    /// Attach everything, then stop (`--dry-run`). A command is not run.
    pub dry_run: bool,
    /// A second signal to end does not end this process, which others depend on: it only makes it
    /// silent, so that no reader can hold it up.
    pub survives: bool,
}

/// How a session ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// What ended it.
    pub ended: Ended,
    /// Records that found the ring buffer full.
    pub lost: u64,
}

/// What ended a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// The script called `exit()` with this code.
    Exit(u64),
    /// The command or process ended; its wait status, when it is known.
    Target(Option<i32>),
    /// This signal came.
    Signal(i32),
    /// Nobody reads the output any more.
    OutputClosed,
    /// There was nothing to wait for.
    Done,
}

/// Signals that end a session. Unlike the last, the others do so even where the shell asked for
/// them to be ignored, as it does for what it starts in the background.
const ENDING: [i32; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// How long a failure may wait to be told.
const PATIENCE: Duration = Duration::from_secs(1);

/// Carries out a plan until it ends. Errors leave nothing attached.
pub fn run(
    tracer: &dyn Tracer,
    plan: &Plan,
    options: &Options,
    output: &mut Output<'_>,
) -> Result<Outcome> {
    // The command first: it starts with the signal mask from before.
    let command = options.command.as_ref().map(|command| tracer.spawn(command)).transpose()?;
    let signals = catch_signals(plan)?;
    tracer.watch_signals(signals.as_fd())?;
    let loaded = load(tracer, &plan.object)?;
    let maps = Maps::new(tracer, plan, &loaded);
    let actions = Actions::new(plan, &maps, options.warnings);
    let events = plan.events.map(|map| loaded.map_at(map)).transpose()?.into_iter().collect();
    let failures = Failures::new(plan, options.warnings);
    let mut session = Session { tracer, plan, loaded: &loaded, actions, failures, events, signals };
    let outcome = session.run(command, options, output);
    tracer.detach_all();
    output.flush();
    outcome
}

struct Session<'a> {
    tracer: &'a dyn Tracer,
    plan: &'a Plan,
    loaded: &'a Loaded,
    actions: Actions<'a>,
    failures: Failures<'a>,
    events: Vec<MapFd>,
    signals: Signals,
}

impl Session<'_> {
    fn run(
        &mut self,
        command: Option<u32>,
        options: &Options,
        output: &mut Output<'_>,
    ) -> Result<Outcome> {
        if let Some(pid) = options.pid {
            self.tracer.follow(pid)?;
            self.follow_tree(pid)?;
        }
        self.set_globals(command)?;
        for probe in &self.plan.probes {
            if probe.trigger == Trigger::Begin {
                self.test_run(probe)?;
            }
        }
        self.attach()?;
        if options.dry_run {
            return Ok(Outcome { ended: Ended::Done, lost: 0 });
        }
        if !options.quiet {
            output.show(&Message::AttachedProbes(self.plan.probe_count as u64));
        }
        if options.notify {
            output.raw_line("__BPFTRACE_NOTIFY_PROBES_ATTACHED");
        }
        self.tracer.release(&mut |pid| self.put_into_tree(pid))?;

        let waits = options.command.is_some()
            || options.pid.is_some()
            || self.plan.probes.iter().any(|probe| probe.trigger.can_come());
        self.consume(output)?;
        let ended = match self.actions.exit {
            Some(code) => Ended::Exit(code),
            None if waits => self.wait(output)?,
            None => Ended::Done,
        };

        self.tracer.detach_all();
        // Ctrl-C at a terminal is for the command as well, and its end may be seen first: the
        // signal is still to be read then, and asks for nothing more.
        let pending = self.signals.take().into_iter().find(|signal| ENDING.contains(signal));
        let ended = match (ended, pending) {
            (Ended::Target(_), Some(signal)) => Ended::Signal(signal),
            _ => ended,
        };
        // Whoever asks a second time does not want to wait for END and the maps.
        if options.survives {
            self.signals.release_to_silence(&ENDING);
        } else {
            self.signals.release(&ENDING);
        }
        self.consume(output)?;
        for probe in &self.plan.probes {
            if probe.trigger == Trigger::End {
                self.test_run(probe)?;
            }
        }
        self.consume(output)?;
        let lost = self.failures.lost;
        if lost > 0 {
            output.flush();
            output.note(&format!("WARNING: Total lost event count: {lost}"));
        }
        output.show(&Message::End);
        if !self.plan.quiet_maps {
            self.actions.show_maps(output)?;
        }
        // An `exit()` in END counts too.
        let ended = self.actions.exit.map_or(ended, Ended::Exit);
        Ok(Outcome { ended, lost })
    }

    /// Waits and works until something ends the session.
    fn wait(&mut self, output: &mut Output<'_>) -> Result<Ended> {
        loop {
            let deadline = self.failures.come_unannounced().then(|| Instant::now() + PATIENCE);
            let wake = self.tracer.wait(&self.events, deadline)?;
            let mut ended = None;
            match wake {
                Wake::Records | Wake::Deadline => {}
                Wake::TargetExited { status } => ended = Some(Ended::Target(status)),
                Wake::Signal => {
                    for signal in self.signals.take() {
                        if ENDING.contains(&signal) {
                            ended = Some(Ended::Signal(signal));
                        }
                        self.signalled(signal)?;
                    }
                }
            }
            self.consume(output)?;
            if let Some(code) = self.actions.exit {
                return Ok(Ended::Exit(code));
            }
            if output.is_broken() {
                return Ok(Ended::OutputClosed);
            }
            if let Some(ended) = ended {
                return Ok(ended);
            }
        }
    }

    /// Runs the probes of a signal.
    fn signalled(&self, signal: i32) -> Result<()> {
        let wanted = Trigger::Signal(signal);
        self.plan
            .probes
            .iter()
            .filter(|probe| probe.trigger == wanted)
            .try_for_each(|probe| self.test_run(probe))
    }

    /// Takes what is in the ring buffers and does what it asks for.
    fn consume(&mut self, output: &mut Output<'_>) -> Result<()> {
        // Records are copied first: actions use the kernel, which is busy while it hands them out.
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for &map in &self.events {
            self.tracer.ringbuf_consume(map, &mut |record| {
                bytes.extend_from_slice(record);
                ends.push(bytes.len());
            })?;
        }
        let mut start = 0;
        for end in ends {
            self.actions.perform(&bytes[start..end], output)?;
            start = end;
        }
        self.failures.tell(self.tracer, self.loaded, output)?;
        output.settle();
        Ok(())
    }

    /// Runs a program that no event sets off.
    fn test_run(&self, probe: &Probe) -> Result<()> {
        let program = self.loaded.program_at(probe.program)?;
        self.tracer.prog_test_run(program, &[]).map(|_| ())
    }

    /// Attaches every probe that the kernel sets off. The kernel runs the programs of a tracepoint
    /// in the order of attaching and those of a user function in the reverse, and scripts expect
    /// their own order.
    fn attach(&self) -> Result<()> {
        let points = self.plan.probes.iter().filter_map(|probe| match &probe.trigger {
            Trigger::Attach(at) => Some((probe, at)),
            _ => None,
        });
        let (reversed, forward): (Vec<_>, Vec<_>) =
            points.partition(|(_, at)| matches!(at, AttachPoint::Uprobe { .. }));
        for (probe, at) in forward.into_iter().chain(reversed.into_iter().rev()) {
            let program = self.loaded.program_at(probe.program)?;
            self.tracer.attach(program, at, probe.cookie)?;
        }
        Ok(())
    }

    /// Fills in what programs read and only user space knows.
    fn set_globals(&self, command: Option<u32>) -> Result<()> {
        let Some(globals) = self.plan.globals else { return Ok(()) };
        let map = self.loaded.map_at(globals.map)?;
        let Some(mut value) = self.tracer.map_lookup(map, &[0; 4])? else { return Ok(()) };
        let mut set = |at: Option<u32>, word: u64| {
            let at = at.map(|at| at as usize);
            if let Some(field) = at.and_then(|at| value.get_mut(at..at + 8)) {
                field.copy_from_slice(&word.to_le_bytes());
            }
        };
        set(globals.start_ns, os::since_boot());
        set(globals.cpid, command.map_or(0, u64::from));
        self.tracer.map_update(map, &[0; 4], &value, UpdateFlag::Any)
    }

    /// Puts the threads of a running process into the map of followed threads.
    fn follow_tree(&self, pid: u32) -> Result<()> {
        if self.plan.tree.is_none() {
            return Ok(());
        }
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).map_err(|error| {
            Error::os(
                format!("list the threads of process {pid}"),
                error.raw_os_error().unwrap_or(0),
            )
        })?;
        for thread in threads.flatten() {
            if let Some(tid) = thread.file_name().to_str().and_then(|tid| tid.parse().ok()) {
                self.put_into_tree(tid)?;
            }
        }
        Ok(())
    }

    fn put_into_tree(&self, tid: u32) -> Result<()> {
        let Some(map) = self.plan.tree else { return Ok(()) };
        let map = self.loaded.map_at(map)?;
        self.tracer.map_update(map, &tid.to_le_bytes(), &[1], UpdateFlag::Any)
    }
}

/// Whether something can still set off a probe after the start.
trait CanCome {
    fn can_come(&self) -> bool;
}

impl CanCome for Trigger {
    fn can_come(&self) -> bool {
        matches!(self, Trigger::Attach(_) | Trigger::Signal(_))
    }
}

/// The signals that end a session, and those that the script probes.
fn catch_signals(plan: &Plan) -> Result<Signals> {
    let hang_up_ignored = os::is_ignored(libc::SIGHUP);
    let mut caught = ENDING.to_vec();
    caught.retain(|&signal| signal != libc::SIGHUP || !hang_up_ignored);
    caught.extend(plan.probes.iter().filter_map(|probe| match probe.trigger {
        Trigger::Signal(signal) => Some(signal),
        _ => None,
    }));
    Signals::catch(&caught)
        .map_err(|error| Error::os("catch signals", error.raw_os_error().unwrap_or(0)))
}

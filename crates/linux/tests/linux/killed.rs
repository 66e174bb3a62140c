//! However a tracer ends, its programs are gone, and its command goes on (or ends, if it had not
//! been started yet).

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use bombus_isa::{Insn, Reg};
use bombus_kernel::{AttachPoint, Command, Kernel, Period, ProgFd, Tracer};
use bombus_linux::{Linux, program_exists};
use bombus_platform::ProgType;
use libtest_mimic::Failed;

use crate::{Test, attach, ensure, limit, load, same, workload};

pub(crate) const TESTS: &[Test] = &[
    ("killed::by_interrupt", || killed_by(libc::SIGINT)),
    ("killed::by_term", || killed_by(libc::SIGTERM)),
    ("killed::by_kill", || killed_by(libc::SIGKILL)),
    ("killed::while_the_command_is_held", killed_while_holding),
];

/// How long the kernel may take.
const GONE_WITHIN: Duration = Duration::from_secs(2);

/// What the tracer under test does: attaches one program of every kind, starts a command, and
/// waits. `hold` keeps it from letting the command go.
pub(crate) fn trace(hold: bool) -> Result<(), Failed> {
    let linux = Linux::new()?;
    let nothing = [Insn::mov_imm(Reg::R0, 0), Insn::exit()];
    let pid = linux.spawn(&Command { argv: vec!["sleep".into(), "1000".into()] })?;
    let raw = AttachPoint::RawTracepoint { name: "sys_enter".into() };
    let timer = AttachPoint::Timer { period: Period::Hertz(99), every_cpu: true };
    let mut line = pid.to_string();
    for (prog_type, at) in [
        (ProgType::Tracepoint, attach::getppid_tracepoint()),
        (ProgType::RawTracepoint, raw),
        (ProgType::Kprobe, attach::probe(false, None)?),
        (ProgType::PerfEvent, timer),
    ] {
        let program: ProgFd = load(&linux, prog_type, None, &nothing)?;
        linux.attach(program, &at, 0)?;
        line += &format!(" {}", linux.program_id(program)?);
    }
    if !hold {
        linux.resume()?;
    }
    println!("{line}");
    std::io::stdout().flush()?;
    linux.wait(&[], None)?;
    Ok(())
}

/// A running tracer: its command's process and its programs' ids.
struct Running {
    tracer: Child,
    command: u32,
    programs: Vec<u32>,
}

impl Running {
    fn start(what: &str) -> Result<Running, Failed> {
        let argv = workload::argv(what, 0)?;
        let mut tracer =
            std::process::Command::new(&argv[0]).args(&argv[1..]).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(tracer.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        let numbers = line.split_whitespace().map(str::parse);
        let numbers = numbers.collect::<Result<Vec<u32>, _>>()?;
        let [command, ref programs @ ..] = numbers[..] else {
            return Err("the tracer did not start".into());
        };
        same(programs.len(), 4)?;
        for id in programs {
            same(program_exists(*id)?, true)?;
        }
        Ok(Running { tracer, command, programs: programs.to_vec() })
    }

    /// Kills the tracer and waits until none of its programs is left.
    fn kill(&mut self, signal: i32) -> Result<(), Failed> {
        kill(self.tracer.id(), signal);
        let start = Instant::now();
        self.tracer.wait()?;
        while self.programs.iter().any(|id| program_exists(*id).unwrap_or(true)) {
            ensure(start.elapsed() < limit(GONE_WITHIN), || "programs are left".into())?;
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// The state of the command as `/proc` has it: `S` sleeps, `Z` has ended.
    fn command_state(&self) -> Option<char> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.command)).ok()?;
        stat.split_once(") ")?.1.chars().next()
    }
}

fn kill(pid: u32, signal: i32) {
    // SAFETY: a signal for a process that this test started.
    unsafe { libc::kill(pid as i32, signal) };
}

fn killed_by(signal: i32) -> Result<(), Failed> {
    let mut running = Running::start("trace")?;
    let outcome = running.kill(signal);
    let state = running.command_state();
    kill(running.command, libc::SIGKILL);
    outcome?;
    same(state, Some('S'))
}

fn killed_while_holding() -> Result<(), Failed> {
    let mut running = Running::start("trace-holding")?;
    same(running.command_state(), Some('S'))?;
    running.kill(libc::SIGKILL)?;
    let start = Instant::now();
    while !matches!(running.command_state(), None | Some('Z')) {
        ensure(start.elapsed() < limit(GONE_WITHIN), || "the command is still held".into())?;
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

//! Instructions and nanoseconds per event on the running kernel, against bpftrace.
//!
//! The kernel's own figures (`kernel.bpf_stats_enabled`): a tracer runs in the background, a load
//! of a known number of system calls runs, and the growth of `run_time_ns` over that of `run_cnt`
//! is the cost of one event. Each program keeps to a process of the benchmark's own by a predicate:
//! the load, or, to measure events that are filtered out, one that sleeps.
//!
//! `BPFTRACE` names another bpftrace than the one in `PATH`, for example `chroot /srv/sid bpftrace`.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::start::which;

const CALLS: u64 = 1_000_000;
const OPENS: u64 = 100_000;
const ROUNDS: usize = 9;
/// How long a tracer has to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which system call the load makes.
#[derive(Clone, Copy, PartialEq)]
enum Load {
    Getppid,
    Open,
}

/// Whose events a program wants.
#[derive(Clone, Copy, PartialEq)]
enum Wants {
    TheLoad,
    ASleeper,
}

/// The seven programs: the load, the probe, whose events count, the action. (`args->` is the form
/// that bpftrace 0.17 knows too.)
const PROGRAMS: &[(Load, &str, Wants, &str)] = &[
    (Load::Getppid, "tracepoint:raw_syscalls:sys_enter", Wants::TheLoad, "{ }"),
    (Load::Getppid, "tracepoint:raw_syscalls:sys_enter", Wants::TheLoad, "{ @ = count(); }"),
    (Load::Getppid, "tracepoint:raw_syscalls:sys_enter", Wants::TheLoad, "{ @[comm] = count(); }"),
    (
        Load::Getppid,
        "tracepoint:raw_syscalls:sys_enter",
        Wants::TheLoad,
        "{ @[pid, comm] = hist(args->id); }",
    ),
    (
        Load::Open,
        "tracepoint:syscalls:sys_enter_openat",
        Wants::TheLoad,
        "{ printf(\"%s %s\\n\", comm, str(args->filename)); }",
    ),
    (Load::Getppid, "tracepoint:raw_syscalls:sys_enter", Wants::ASleeper, "{ @ = count(); }"),
    (Load::Getppid, "tracepoint:raw_syscalls:sys_enter", Wants::TheLoad, "{ @s[tid] = nsecs; }"),
];

pub(super) fn run(bombus: &Path) -> Result<(), String> {
    let bpftrace = match std::env::var("BPFTRACE") {
        Ok(words) => words.split_whitespace().map(str::to_owned).collect(),
        Err(_) => {
            let path =
                which("bpftrace").ok_or("bpftrace is not installed (apt-get install bpftrace)")?;
            vec![path.display().to_string()]
        }
    };
    let bombus = [&bombus.display().to_string(), "--kernel", "linux"].map(str::to_owned).to_vec();
    let _stats = Stats::enable()?;
    println!("events: {ROUNDS} rounds in turn, least; the kernel's own run time over run count");
    println!("| program | tool | instructions | ns per event |");
    println!("|---|---|---|---|");
    let tools = [("bombus", bombus), ("bpftrace", bpftrace)];
    for &(load, probe, wants, action) in PROGRAMS {
        let mut best = [(0u64, f64::MAX); 2];
        for _ in 0..ROUNDS {
            for (best, (_, tool)) in best.iter_mut().zip(&tools) {
                let (insns, ns) = measure(tool, load, probe, wants, action)?;
                *best = (insns, best.1.min(ns));
            }
        }
        let filter = if wants == Wants::ASleeper { "/pid == SLEEPER/ " } else { "" };
        for ((name, _), (insns, ns)) in tools.iter().zip(&best) {
            println!("| `{filter}{action}` | {name} | {insns} | {ns:.1} |");
        }
    }
    Ok(())
}

/// One tracer over one load: instructions of the program, nanoseconds per event.
fn measure(
    tool: &[String],
    load: Load,
    probe: &str,
    wants: Wants,
    action: &str,
) -> Result<(u64, f64), String> {
    let generator = LoadProcess::start(load)?;
    let sleeper = LoadProcess::start(load)?;
    let wanted = if wants == Wants::ASleeper { &sleeper } else { &generator };
    let script = format!("{probe} /pid == {}/ {action}", wanted.pid());
    let (program, args) = tool.split_first().ok_or("BPFTRACE is empty")?;
    let mut command = Command::new(program);
    command
        .args(args)
        .args(["-e", &script])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let tracer =
        ends_with_us(&mut command).spawn().map_err(|error| format!("{program}: {error}"))?;
    let tracer = Stopped(tracer);
    let before = wait_for_program(tracer.0.id(), &script)?;
    // The rest of the tracer's start-up must not fall into the measurement.
    sleep(Duration::from_millis(300));
    let before = program_of(tracer.0.id())?.unwrap_or(before);
    generator.run()?;
    let after = program_of(tracer.0.id())?.ok_or("the program went away")?;
    let count = after.run_cnt - before.run_cnt;
    let least = if load == Load::Open { OPENS } else { CALLS };
    if count < least {
        return Err(format!("`{script}`: {count} runs, expected at least {least}"));
    }
    Ok((after.instructions, (after.run_time_ns - before.run_time_ns) as f64 / count as f64))
}

/// Makes a command that the kernel kills when this process ends, however that comes about.
fn ends_with_us(command: &mut Command) -> &mut Command {
    let parent = std::process::id() as i32;
    // SAFETY: between fork and exec only `prctl` and `getppid` are called, which are safe there.
    unsafe {
        command.pre_exec(move || {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            // The parent may have ended before the kernel was told.
            if libc::getppid() != parent {
                return Err(std::io::Error::from_raw_os_error(libc::ECHILD));
            }
            Ok(())
        })
    }
}

/// The load: a small program that waits for a line and then makes its calls. It is killed when it
/// goes out of scope.
struct LoadProcess(Child);

impl LoadProcess {
    fn start(load: Load) -> Result<LoadProcess, String> {
        let exe = std::env::current_exe().map_err(|error| error.to_string())?;
        let kind = if load == Load::Open { "open" } else { "getppid" };
        let mut command = Command::new(exe);
        command.args(["bench", "load", kind]).stdin(Stdio::piped()).stdout(Stdio::null());
        let child = ends_with_us(&mut command).spawn().map_err(|error| error.to_string())?;
        Ok(LoadProcess(child))
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn run(mut self) -> Result<(), String> {
        drop(self.0.stdin.take());
        let status = self.0.wait().map_err(|error| error.to_string())?;
        if status.success() { Ok(()) } else { Err(format!("the load ended with {status}")) }
    }
}

impl Drop for LoadProcess {
    fn drop(&mut self) {
        // Does nothing to one that was waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `cargo xtask bench load KIND`: waits for the end of its input, then makes the calls.
pub(super) fn load(kind: &str) -> Result<(), String> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).map_err(|error| error.to_string())?;
    if kind == "open" {
        for _ in 0..OPENS {
            std::fs::File::open("/dev/null").map_err(|error| error.to_string())?;
        }
    } else {
        for _ in 0..CALLS {
            std::hint::black_box(std::os::unix::process::parent_id());
        }
    }
    Ok(())
}

/// A tracer that is told to end, and waited for, when it goes out of scope; killed when it does
/// not hear.
struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        // SAFETY: the child is ours and not waited for yet, so its number is still its own.
        unsafe { libc::kill(self.0.id() as i32, libc::SIGINT) };
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if !matches!(self.0.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the kernel says about a program.
struct Program {
    instructions: u64,
    run_time_ns: u64,
    run_cnt: u64,
}

/// Waits until the tracer's program is attached and has run.
fn wait_for_program(pid: u32, script: &str) -> Result<Program, String> {
    let end = Instant::now() + Duration::from_secs(15);
    while Instant::now() < end {
        if let Some(program) = program_of(pid)?
            && program.run_cnt > 0
        {
            return Ok(program);
        }
        sleep(Duration::from_millis(50));
    }
    Err(format!("`{script}` did not attach"))
}

/// The most often run program that this process holds, as bpftool lists it.
fn program_of(pid: u32) -> Result<Option<Program>, String> {
    let mut best: Option<(u64, u64, u64)> = None;
    let Ok(dir) = std::fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return Ok(None) };
    for entry in dir.flatten() {
        let Ok(text) = std::fs::read_to_string(entry.path()) else { continue };
        let field = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            line[name.len()..].trim().parse::<u64>().ok()
        };
        if let (Some(id), Some(time), Some(count)) =
            (field("prog_id:"), field("run_time_ns:"), field("run_cnt:"))
            && best.is_none_or(|best| count > best.2)
        {
            best = Some((id, time, count));
        }
    }
    let Some((id, run_time_ns, run_cnt)) = best else { return Ok(None) };
    Ok(Some(Program { instructions: instructions(id)?, run_time_ns, run_cnt }))
}

/// Instructions after the verifier's rewriting.
fn instructions(id: u64) -> Result<u64, String> {
    let out = Command::new("bpftool")
        .args(["-j", "prog", "show", "id", &id.to_string()])
        .output()
        .map_err(|error| format!("bpftool: {error}"))?;
    let json: serde_json::Value =
        serde_json::from_slice(&out.stdout).map_err(|error| format!("bpftool: {error}"))?;
    json["bytes_xlated"].as_u64().map(|bytes| bytes / 8).ok_or("no bytes_xlated".to_owned())
}

/// `kernel.bpf_stats_enabled` while it is in scope; what it was before afterwards.
struct Stats(String);

const STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";

impl Stats {
    fn enable() -> Result<Stats, String> {
        let before = std::fs::read_to_string(STATS).map_err(|error| format!("{STATS}: {error}"))?;
        std::fs::write(STATS, "1").map_err(|error| format!("{STATS}: {error}"))?;
        Ok(Stats(before))
    }
}

impl Drop for Stats {
    fn drop(&mut self) {
        let _ = std::fs::write(STATS, &self.0);
    }
}

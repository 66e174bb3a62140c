//! However Bombus ends, no program stays in the kernel, and the traced command goes on.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::workload::{self, Dir, as_nobody};
use crate::{installed, running_kernel, trial};

const SIGNALS: &[(&str, i32)] =
    &[("INT", libc::SIGINT), ("TERM", libc::SIGTERM), ("KILL", libc::SIGKILL)];
/// How long after its attachment the tracer is hit, in milliseconds.
const DELAYS: &[u64] = &[0, 30, 400];
/// As long as an emulated machine may take: hundreds of probes are to be attached.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for &(name, signal) in SIGNALS {
        for &delay in DELAYS {
            trials.push(trial(&format!("released/embedded/{name}/{delay}"), Ok(()), move || {
                released("embedded", "-c", signal, delay)
            }));
            trials.push(trial(
                &format!("released/embedded-pid/{name}/{delay}"),
                Ok(()),
                move || released("embedded", "-p", signal, delay),
            ));
            let needs = running_kernel().and(installed("bpftool"));
            trials.push(trial(&format!("released/linux/{name}/{delay}"), needs, move || {
                released("linux", "-c", signal, delay)
            }));
        }
    }
    trials
}

/// Traces a command that counts in a file for ever, ends the tracer with the signal, and looks
/// whether the command still counts and the kernel holds no program of the tracer's.
fn released(kernel: &str, how: &str, signal: i32, delay: u64) -> Result<(), String> {
    let dir = Dir::new()?;
    let counter = dir.0.join("counter");
    let script = dir.write(
        "count.sh",
        "#!/bin/sh\ncd \"$(dirname \"$0\")\"\necho $$ > pid\ni=0\n\
         while :; do i=$((i+1)); echo $i > counter.new; mv counter.new counter; sleep 0.01; done\n",
    )?;
    let bombus = workload::reachable(&dir)?;
    let probes = "tracepoint:syscalls:sys_enter_* { @[probe] = count(); } \
                  uprobe:libc:malloc { @n = count(); } tracepoint:raw_syscalls:sys_exit { @x = count(); }";
    let mut tracer = Command::new(&bombus);
    tracer.args(["--kernel", kernel, "-e", probes]).env("__BPFTRACE_NOTIFY_PROBES_ATTACHED", "1");
    let mut started = None;
    if how == "-p" {
        let mut command = Command::new(&script);
        as_nobody(&mut command);
        started = Some(command.spawn().map_err(|error| error.to_string())?);
        wait_for(&counter)?;
        tracer.args(["-p", &pid(&dir)?.to_string()]);
    } else {
        tracer.arg("-c").arg(&script);
        if kernel == "linux" {
            tracer.arg("--tree");
        }
    }
    if kernel == "embedded" {
        as_nobody(&mut tracer);
    }
    let output = fs::File::create(dir.0.join("output")).map_err(|error| error.to_string())?;
    let errors = output.try_clone().map_err(|error| error.to_string())?;
    let mut tracer = tracer
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .map_err(|error| error.to_string())?;
    let result = ended(&dir, &mut tracer, &counter, signal, delay);
    // Whatever happened, nothing of this test may go on running.
    let _ = tracer.kill();
    let _ = tracer.wait();
    if let Ok(pid) = pid(&dir) {
        // SAFETY: a plain system call on the process that this test started.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
    if let Some(mut started) = started {
        let _ = started.wait();
    }
    result.map_err(|error| {
        let output = fs::read_to_string(dir.0.join("output")).unwrap_or_default();
        format!("{error}\nthe tracer wrote:\n{output}")
    })
}

fn ended(
    dir: &Dir,
    tracer: &mut Child,
    counter: &Path,
    signal: i32,
    delay: u64,
) -> Result<(), String> {
    let end = Instant::now() + PATIENCE;
    let output = dir.0.join("output");
    while !fs::read_to_string(&output).is_ok_and(|text| text.contains("NOTIFY_PROBES_ATTACHED")) {
        if Instant::now() > end {
            return Err("it did not attach".into());
        }
        sleep(Duration::from_millis(2));
    }
    wait_for(counter)?;
    sleep(Duration::from_millis(delay));
    let programs = programs_of(tracer.id());
    // SAFETY: the tracer is our child and not waited for yet.
    unsafe { libc::kill(tracer.id() as i32, signal) };
    let status = wait(tracer)?;
    if signal == libc::SIGKILL && status.signal() != Some(libc::SIGKILL) {
        return Err(format!("ended with {status}"));
    }
    goes_on(counter)?;
    runs(pid(dir)?)?;
    gone(&programs)
}

/// The number that the command writes must grow.
fn goes_on(counter: &Path) -> Result<(), String> {
    let read = || fs::read_to_string(counter).ok()?.trim().parse::<u64>().ok();
    let end = Instant::now() + PATIENCE;
    let before = read().ok_or("no number")?;
    while Instant::now() < end {
        if read().is_some_and(|now| now > before + 5) {
            return Ok(());
        }
        sleep(Duration::from_millis(10));
    }
    Err(format!("the command stands still at {before}"))
}

/// Programs that a process holds, by the kernel's numbers.
fn programs_of(pid: u32) -> Vec<String> {
    let Ok(dir) = fs::read_dir(format!("/proc/{pid}/fdinfo")) else { return Vec::new() };
    dir.flatten()
        .filter_map(|entry| fs::read_to_string(entry.path()).ok())
        .filter_map(|text| {
            let line = text.lines().find(|line| line.starts_with("prog_id:"))?;
            Some(line["prog_id:".len()..].trim().to_owned())
        })
        .collect()
}

/// No program with these numbers is left after a moment.
fn gone(programs: &[String]) -> Result<(), String> {
    let end = Instant::now() + PATIENCE;
    for program in programs {
        let there = || {
            Command::new("bpftool")
                .args(["prog", "show", "id", program])
                .output()
                .is_ok_and(|out| out.status.success())
        };
        while there() {
            if Instant::now() > end {
                return Err(format!("program {program} is still there"));
            }
            sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

fn wait(child: &mut Child) -> Result<std::process::ExitStatus, String> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().map_err(|error| error.to_string())? {
            return Ok(status);
        }
        if Instant::now() > end {
            return Err("the tracer does not end".into());
        }
        sleep(Duration::from_millis(5));
    }
}

fn wait_for(file: &Path) -> Result<(), String> {
    let end = Instant::now() + PATIENCE;
    while !fs::metadata(file).is_ok_and(|meta| meta.len() > 0) {
        if Instant::now() > end {
            return Err(format!("{} was never written", file.display()));
        }
        sleep(Duration::from_millis(2));
    }
    Ok(())
}

fn pid(dir: &Dir) -> Result<i32, String> {
    let file: PathBuf = dir.0.join("pid");
    let text = fs::read_to_string(&file).map_err(|error| format!("{}: {error}", file.display()))?;
    text.trim().parse().map_err(|_| format!("not a process id: {text}"))
}

/// The process does not stay stopped. (A short stop is what a keeper does at a call that is still
/// filtered.)
fn runs(pid: i32) -> Result<(), String> {
    let end = Instant::now() + PATIENCE;
    loop {
        match state(pid)? {
            'T' | 't' | 'Z' | 'X' if Instant::now() > end => {
                return Err("the command stays stopped".into());
            }
            'T' | 't' | 'Z' | 'X' => sleep(Duration::from_millis(1)),
            _ => return Ok(()),
        }
    }
}

fn state(pid: i32) -> Result<char, String> {
    let stat =
        fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|_| "the command is gone")?;
    stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).ok_or("no state".into())
}

//! Signals to Bombus itself: `self:signal` probes, a second request to end, and when output leaves
//! it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::workload::Dir;
use crate::{bombus, running_kernel, trial};

const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for what is to come on a busy machine.
const PAUSE: Duration = Duration::from_millis(1500);

pub(crate) fn trials() -> Vec<Trial> {
    let linux = running_kernel();
    let kernels = [("embedded", Ok(())), ("linux", linux)];
    kernels
        .into_iter()
        .flat_map(|(kernel, needs)| {
            [
                trial(&format!("signals/self/{kernel}"), needs.clone(), move || {
                    self_signal(kernel)
                }),
                trial(&format!("signals/second/{kernel}"), needs.clone(), move || second(kernel)),
                trial(&format!("signals/buffering/{kernel}"), needs, move || buffering(kernel)),
            ]
        })
        .collect()
}

/// Every signal runs its probe, as often as it is sent.
fn self_signal(kernel: &str) -> Result<(), String> {
    let script = "BEGIN { printf(\"ready\\n\"); } \
                  self:signal:SIGUSR1 { @n++; printf(\"one %d\\n\", @n); } \
                  self:signal:SIGUSR2 { printf(\"two\\n\"); exit(); }";
    // Over a command there are two processes on the embedded kernel, and the first passes it on.
    for command in [None, Some("sleep 60")] {
        let mut tracer = bombus();
        tracer.args(["--kernel", kernel, "-q", "-B", "none", "-e", script]);
        tracer.args(command.iter().flat_map(|command| ["-c", command]));
        let mut running = Running::start(&mut tracer)?;
        running.expect("ready\n")?;
        running.signal(libc::SIGUSR1);
        running.expect("one 1\n")?;
        running.signal(libc::SIGUSR1);
        running.expect("one 2\n")?;
        running.signal(libc::SIGUSR2);
        running.expect("two\n")?;
        running.expect("@n: 2\n")?;
        running.ended()?;
    }
    Ok(())
}

/// Who asks a second time gets an end although nobody reads the output; the command goes on.
fn second(kernel: &str) -> Result<(), String> {
    let dir = Dir::new()?;
    let ticks = dir.0.join("ticks");
    let command = format!(
        "sh -c 'echo $$ > {0}.pid; while :; do echo x >> {0}; sleep 0.05; done'",
        ticks.display()
    );
    // More than a pipe holds.
    let script = "BEGIN { printf(\"ready\\n\"); for ($i : 0..4000) { @[$i] = ($i, \"a text of \
                  some forty characters, give or take\"); } } \
                  tracepoint:syscalls:sys_enter_write { @w = count(); }";
    let mut tracer = bombus();
    tracer.args(["--kernel", kernel, "-q", "-B", "none", "-e", script, "-c", &command]);
    if kernel == "linux" {
        tracer.arg("--tree");
    }
    tracer.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut tracer = tracer.spawn().map_err(|error| error.to_string())?;
    let result = second_ends(&mut tracer, &ticks);
    let _ = tracer.kill();
    let _ = tracer.wait();
    let pid = std::fs::read_to_string(ticks.with_extension("pid")).unwrap_or_default();
    if let Ok(pid) = pid.trim().parse() {
        // SAFETY: the command that this test started, by its own account.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
    result
}

fn second_ends(tracer: &mut Child, ticks: &std::path::Path) -> Result<(), String> {
    let mut output = tracer.stdout.take().ok_or("no output")?;
    let mut ready = [0; 6];
    output.read_exact(&mut ready).map_err(|error| error.to_string())?;
    let size = || std::fs::metadata(ticks).map_or(0, |found| found.len());
    let grows = || {
        let (before, end) = (size(), Instant::now() + PATIENCE);
        while size() <= before + 4 && Instant::now() < end {
            sleep(Duration::from_millis(20));
        }
        size() > before + 4
    };
    if !grows() {
        return Err("the command does not run".into());
    }
    let signal = |tracer: &Child| {
        // SAFETY: our own child, which was not waited for yet.
        unsafe { libc::kill(tracer.id() as i32, libc::SIGINT) };
    };
    signal(tracer);
    sleep(Duration::from_millis(500));
    if !matches!(tracer.try_wait(), Ok(None)) {
        return Err("it ended although nobody reads its output".into());
    }
    let end = Instant::now() + PATIENCE;
    loop {
        signal(tracer);
        sleep(Duration::from_millis(200));
        match tracer.try_wait() {
            Ok(None) if Instant::now() > end => return Err("it goes on".into()),
            Ok(None) => {}
            _ => break,
        }
    }
    if grows() { Ok(()) } else { Err("the command does not go on".into()) }
}

/// `-B none` writes at once, `-B line` whole lines, `-B full` at the end.
fn buffering(kernel: &str) -> Result<(), String> {
    let script = "BEGIN { printf(\"half\"); } self:signal:SIGUSR1 { printf(\" a line\\nrest\"); }";
    for (mode, at_first, after) in
        [("none", "half", " a line\nrest"), ("line", "", "half a line\n"), ("full", "", "")]
    {
        let mut tracer = bombus();
        tracer.args(["--kernel", kernel, "-B", mode, "-e", script]);
        let mut running = Running::start(&mut tracer)?;
        let errors = running.tracer.stderr.take().ok_or("no standard error")?;
        // The line that says so comes after BEGIN has run, and before its output is read.
        let attached = BufReader::new(errors).lines().next();
        if attached.is_none() {
            return Err("it did not attach".into());
        }
        let shown = running.within(PAUSE);
        running.signal(libc::SIGUSR1);
        let later = running.within(PAUSE);
        if (shown.as_str(), later.as_str()) != (at_first, after) {
            return Err(format!("-B {mode}: {shown:?}, then {later:?}"));
        }
        running.signal(libc::SIGINT);
        let rest = format!("{shown}{later}{}", running.ended()?);
        if rest != "half a line\nrest\n\n" {
            return Err(format!("-B {mode}: {rest:?} in all"));
        }
    }
    Ok(())
}

/// A tracer whose output is read as it comes. It is killed when it goes out of scope.
struct Running {
    tracer: Child,
    output: Receiver<Vec<u8>>,
    seen: String,
}

impl Running {
    fn start(command: &mut Command) -> Result<Running, String> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut tracer = command.spawn().map_err(|error| error.to_string())?;
        let mut stdout: ChildStdout = tracer.stdout.take().ok_or("no output")?;
        let (send, output) = channel();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = stdout.read(&mut bytes) {
                if send.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        Ok(Running { tracer, output, seen: String::new() })
    }

    fn signal(&self, signal: i32) {
        // SAFETY: our own child, which was not waited for yet.
        unsafe { libc::kill(self.tracer.id() as i32, signal) };
    }

    fn expect(&mut self, text: &str) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(text) {
                // What came before belongs to the test.
                self.seen.replace_range(at..at + text.len(), "");
                return Ok(());
            }
            match self.output.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => return Err(format!("no {text:?}, but {:?}", self.seen)),
            }
        }
    }

    /// What comes in this time, with what came before.
    fn within(&mut self, time: Duration) -> String {
        let end = Instant::now() + time;
        while let Ok(bytes) =
            self.output.recv_timeout(end.saturating_duration_since(Instant::now()))
        {
            self.seen.push_str(&String::from_utf8_lossy(&bytes));
        }
        std::mem::take(&mut self.seen)
    }

    /// Waits for the end, and gives what was still to come.
    fn ended(&mut self) -> Result<String, String> {
        let end = Instant::now() + PATIENCE;
        while matches!(self.tracer.try_wait(), Ok(None)) {
            if Instant::now() > end {
                return Err("it does not end".into());
            }
            sleep(Duration::from_millis(20));
        }
        Ok(self.within(Duration::from_millis(100)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.tracer.kill();
        let _ = self.tracer.wait();
    }
}

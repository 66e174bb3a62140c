//! Boots a kernel and gives the status that the command inside ended with.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::at;

/// What the first process writes on the console at its end, followed by the status.
const STATUS: &str = "bombus-vm-status ";

/// A machine that is switched off however this ends.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the initramfs on this kernel until the machine switches itself off. The command's output
/// goes to the standard output, the console's to a file that is shown when there is no status.
pub(super) fn boot(image: &Path, initramfs: &Path, timeout: Duration) -> Result<i32, String> {
    let console = initramfs.with_extension("console");
    let outcome = run(image, initramfs, &console, timeout);
    let log = read_lossy(&console);
    let _ = std::fs::remove_file(&console);
    let fail = |what: &str| Err(format!("{what}; the console:\n{}", last_lines(&log, 40)));
    if !outcome? {
        return fail(&format!("no end after {} s", timeout.as_secs()));
    }
    let status = log.lines().rev().find_map(|line| line.split_once(STATUS)?.1.trim().parse().ok());
    status.map_or_else(|| fail("the machine stopped without a status"), Ok)
}

/// As [`boot`], with the command's output going to `heard` line by line; a machine that says
/// nothing for so long is switched off. Gives the last lines of the console.
pub(super) fn watch(
    image: &Path,
    initramfs: &Path,
    silence: Duration,
    heard: &mut dyn FnMut(&str),
) -> Result<String, String> {
    let console = initramfs.with_extension("console");
    let child = command(image, initramfs, &console).stdout(Stdio::piped()).spawn();
    let mut machine = Machine(child.map_err(|error| format!("qemu-system-x86_64: {error}"))?);
    let output = machine.0.stdout.take().ok_or("qemu-system-x86_64 has no output")?;
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    while let Ok(line) = lines.recv_timeout(silence) {
        heard(String::from_utf8_lossy(&line).trim_end());
    }
    drop(machine);
    let log = read_lossy(&console);
    let _ = std::fs::remove_file(&console);
    Ok(last_lines(&log, 40))
}

/// Whether the machine came to its end in time.
fn run(image: &Path, initramfs: &Path, console: &Path, timeout: Duration) -> Result<bool, String> {
    let child = command(image, initramfs, console).spawn();
    let mut machine = Machine(child.map_err(|error| format!("qemu-system-x86_64: {error}"))?);
    let deadline = Instant::now() + timeout;
    loop {
        match machine.0.try_wait().map_err(|error| at(image, error))? {
            Some(_) => return Ok(true),
            None if Instant::now() > deadline => return Ok(false),
            None => std::thread::sleep(Duration::from_millis(50)),
        }
    }
}

fn command(image: &Path, initramfs: &Path, console: &Path) -> Command {
    let mut command = Command::new("qemu-system-x86_64");
    // KVM would be faster, but is broken on many nested hosts; emulation works everywhere.
    // The processors take turns: with a thread each one may go on with what another has just
    // patched over, and a kernel dies in the breakpoint of a call that a tracepoint's programs have
    // gone from.
    // QEMU 7.2 returns wrong flags from cmpxchg16b when it emulates several processors: more than
    // half of Linux 6.12's boots died in their first allocations.
    command.args(["-accel", "tcg,thread=single", "-cpu", "max,-cx16", "-smp", "2", "-m", "2G"]);
    command.args(["-display", "none", "-no-reboot", "-nodefaults"]);
    command.arg("-serial").arg(format!("file:{}", console.display()));
    command.args(["-serial", "stdio"]);
    command.arg("-kernel").arg(image).arg("-initrd").arg(initramfs);
    // On a busy host the timer's check at boot takes too long, and fails. A kernel that has stumbled
    // must not go on as if nothing were.
    let parameters = "console=ttyS0 quiet panic=-1 oops=panic no_timer_check rdinit=/init";
    command.args(["-append", parameters]).stdin(Stdio::null());
    command
}

fn read_lossy(path: &Path) -> String {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|mut file| file.read_to_end(&mut bytes));
    read.map_or_else(|error| error.to_string(), |_| String::from_utf8_lossy(&bytes).into_owned())
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

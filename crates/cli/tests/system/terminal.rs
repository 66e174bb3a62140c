//! At a terminal: the shell's job control over a traced command, and Ctrl-C.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;

use crate::{running_kernel, trial};

const PATIENCE: Duration = Duration::from_secs(20);
const PROMPT: &str = "PROMPT> ";
const CTRL_C: &str = "\x03";
const CTRL_Z: &str = "\x1a";

pub(crate) fn trials() -> Vec<Trial> {
    let linux = running_kernel();
    let kernels = [("embedded", Ok(())), ("linux", linux)];
    kernels
        .into_iter()
        .flat_map(|(kernel, needs)| {
            [
                trial(&format!("terminal/job control/{kernel}"), needs.clone(), move || {
                    job_control(kernel)
                }),
                trial(&format!("terminal/ctrl-c/{kernel}"), needs, move || ctrl_c(kernel)),
            ]
        })
        .collect()
}

/// Ctrl-Z stops the command and gives the prompt back; `fg` and `bg` make it go on; Ctrl-C ends it
/// with END and the maps.
fn job_control(kernel: &str) -> Result<(), String> {
    let mut terminal = Terminal::start()?;
    terminal.trace(kernel)?;
    terminal.expect("tick 3")?;
    terminal.send(CTRL_Z)?;
    terminal.expect(PROMPT)?;
    terminal.settle(Duration::from_millis(500));
    let ticks = terminal.settle(Duration::from_secs(1));
    if ticks.contains("tick") {
        return Err(format!("it runs while it is stopped: {ticks}"));
    }
    terminal.send("fg\n")?;
    terminal.expect("\ntick ")?;
    terminal.send(CTRL_Z)?;
    terminal.expect(PROMPT)?;
    terminal.send("bg\n")?;
    terminal.expect("\ntick ")?;
    terminal.send("fg\n")?;
    terminal.expect("\ntick ")?;
    terminal.ends_with_ctrl_c()
}

/// The signal reaches Bombus and the command at once, and whose end is seen first is a matter of
/// chance: END runs and the maps are shown in any case.
fn ctrl_c(kernel: &str) -> Result<(), String> {
    let mut terminal = Terminal::start()?;
    for _ in 0..4 {
        terminal.trace(kernel)?;
        terminal.expect("tick 2")?;
        terminal.ends_with_ctrl_c()?;
    }
    Ok(())
}

/// A shell with job control on a terminal of its own.
struct Terminal {
    shell: Child,
    input: File,
    output: Receiver<Vec<u8>>,
    seen: String,
}

impl Terminal {
    fn start() -> Result<Terminal, String> {
        let failed = |what: &str| format!("{what}: {}", std::io::Error::last_os_error());
        let (mut master, mut slave) = (-1, -1);
        // SAFETY: both places are valid; name, settings and size may be absent.
        let opened = unsafe {
            let none = std::ptr::null_mut();
            libc::openpty(&mut master, &mut slave, none, std::ptr::null_mut(), std::ptr::null_mut())
        };
        if opened != 0 {
            return Err(failed("openpty"));
        }
        // SAFETY: both descriptors are new and nobody else's.
        let (master, slave) = unsafe { (File::from_raw_fd(master), File::from_raw_fd(slave)) };
        // SAFETY: changes a flag of our own descriptor: the shell must not inherit it.
        unsafe { libc::fcntl(master.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
        let clone = |file: &File| file.try_clone().map_err(|error| error.to_string());
        let mut shell = Command::new("/bin/sh");
        shell
            .arg("-i")
            .env("PS1", PROMPT)
            .env("TERM", "dumb")
            .env_remove("ENV")
            .stdin(Stdio::from(clone(&slave)?))
            .stdout(Stdio::from(clone(&slave)?))
            .stderr(Stdio::from(slave));
        // SAFETY: both calls are allowed between fork and exec; descriptor 0 is the terminal.
        unsafe {
            shell.pre_exec(|| {
                if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
                    return Err(std::io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let shell = shell.spawn().map_err(|error| format!("sh: {error}"))?;
        let (send, output) = channel();
        let mut reader = clone(&master)?;
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                if send.send(bytes[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        let mut terminal = Terminal { shell, input: master, output, seen: String::new() };
        terminal.expect(PROMPT)?;
        Ok(terminal)
    }

    /// Starts Bombus over a command that never ends.
    fn trace(&mut self, kernel: &str) -> Result<(), String> {
        let tree = if kernel == "linux" { "--tree" } else { "" };
        let line = format!(
            "{} --kernel {kernel} {tree} -q -e 'tracepoint:syscalls:sys_enter_write {{ @w = \
             count(); }} END {{ printf(\"by\"); printf(\"e\\n\"); }}' -c \"sh -c 'i=0; while :; \
             do i=\\$((i+1)); echo tick \\$i; sleep 0.1; done'\"\n",
            env!("CARGO_BIN_EXE_bombus")
        );
        self.send(&line)
    }

    fn ends_with_ctrl_c(&mut self) -> Result<(), String> {
        self.send(CTRL_C)?;
        let shown = self.expect(PROMPT)?;
        if !shown.contains("bye\r\n") || !shown.contains("@w: ") {
            return Err(format!("no END or no maps: {shown}"));
        }
        self.send("echo status=$?\n")?;
        self.expect("\nstatus=0")?;
        self.expect(PROMPT).map(|_| ())
    }

    fn send(&mut self, keys: &str) -> Result<(), String> {
        self.input.write_all(keys.as_bytes()).map_err(|error| error.to_string())
    }

    /// Waits until the terminal shows this; gives everything up to it.
    fn expect(&mut self, text: &str) -> Result<String, String> {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.find(text) {
                let rest = self.seen.split_off(at + text.len());
                return Ok(std::mem::replace(&mut self.seen, rest));
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(_) => return Err(format!("no {text:?}, but: {}", self.seen)),
            }
        }
    }

    /// What comes in this time, together with what came before.
    fn settle(&mut self, time: Duration) -> String {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.output.recv_timeout(left) {
                Ok(bytes) => self.seen.push_str(&String::from_utf8_lossy(&bytes)),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return std::mem::take(&mut self.seen);
                }
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The end of the terminal is the end of everything on it that a test left running.
        let session = self.shell.id() as i32;
        let _ = self.send(CTRL_C);
        let _ = self.send("kill -9 $(jobs -p); exit\n");
        thread::sleep(Duration::from_millis(200));
        // SAFETY: the shell is ours and not waited for yet, so its number is still its own.
        unsafe { libc::kill(session, libc::SIGKILL) };
        let _ = self.shell.wait();
    }
}

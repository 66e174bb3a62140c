//! What the processes under test do: this binary, started with `workload`.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;

/// The first argument of a process under test.
const WORKLOAD: &str = "workload";

/// Runs as a workload if the arguments say so.
pub(crate) fn run() -> bool {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [word, what, number] = arguments.as_slice() else { return false };
    let (true, Ok(number)) = (word == WORKLOAD, number.parse::<u64>()) else { return false };
    // Held until the test closes our standard input.
    if let Some(what) = what.strip_prefix("held-") {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        perform(what, number);
    } else {
        perform(what, number);
    }
    true
}

fn perform(what: &str, number: u64) {
    match what {
        // One getppid(2) each.
        "getppid" => {
            for _ in 0..number {
                let _ = std::os::unix::process::parent_id();
            }
        }
        "call" => {
            for argument in 0..number {
                std::hint::black_box(probed(argument));
            }
        }
        "spin" => {
            let end = Instant::now() + Duration::from_millis(number);
            while Instant::now() < end {
                std::hint::spin_loop();
            }
        }
        // So many sockets made.
        "sockets" => {
            for _ in 0..number {
                let _ = std::net::UdpSocket::bind("127.0.0.1:0");
            }
        }
        // So many files opened.
        "open" => {
            for _ in 0..number {
                let _ = std::fs::File::open("/proc/self/stat");
            }
        }
        // Somebody looks at the static probe: that many see it.
        "semaphore" => std::process::exit(SEMAPHORE.0.load(Ordering::Relaxed).into()),
        "exit" => std::process::exit(number as i32),
        "signal-mask" => {
            let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
            let clean = status
                .lines()
                .filter(|line| line.starts_with("SigBlk:"))
                .all(|line| line.ends_with("\t0000000000000000"));
            std::process::exit(if clean { 0 } else { 1 });
        }
        "trace" | "trace-holding" => {
            if let Err(failed) = crate::killed::trace(what == "trace-holding") {
                println!("{}", failed.message().unwrap_or_default());
            }
        }
        "token" => {
            if let Err(failed) = crate::token::use_token() {
                println!("{}", failed.message().unwrap_or_default());
            }
        }
        "unprivileged" => match bombus_linux::can_load_programs() {
            Ok(()) => println!("can load"),
            Err(error) => println!("{error}"),
        },
        _ => std::process::exit(100),
    }
}

/// The function that user probes are put on.
#[inline(never)]
pub(crate) extern "C" fn probed(number: u64) -> u64 {
    std::hint::black_box(number).wrapping_mul(3)
}

/// The function that has a semaphore: all probes on one instruction have to agree on it.
#[inline(never)]
extern "C" fn watched(number: u64) -> u64 {
    std::hint::black_box(number).wrapping_mul(5)
}

/// Where [`watched`] starts in [`binary`].
pub(crate) fn watched_offset() -> Result<u64, Failed> {
    file_offset(watched as extern "C" fn(u64) -> u64 as usize as u64)
}

/// How many look at a static probe, if there were one: a counter in the file's data.
#[unsafe(link_section = ".data.semaphore")]
static SEMAPHORE: Semaphore = Semaphore(AtomicU16::new(0));

/// On a page of its own: the kernel counts in the first mapping that has the place in the file, and
/// at its edges a file's page may be mapped twice.
#[repr(align(4096))]
struct Semaphore(AtomicU16);

/// Where [`SEMAPHORE`] is in [`binary`].
pub(crate) fn semaphore_offset() -> Result<u64, Failed> {
    file_offset(&raw const SEMAPHORE as u64)
}

/// The file that this process runs, as another process can open it.
pub(crate) fn binary() -> Result<PathBuf, Failed> {
    Ok(std::env::current_exe()?)
}

/// Where [`probed`] starts in [`binary`]: from its address and this process's mappings.
pub(crate) fn probed_offset() -> Result<u64, Failed> {
    file_offset(probed as extern "C" fn(u64) -> u64 as usize as u64)
}

fn file_offset(address: u64) -> Result<u64, Failed> {
    for line in std::fs::read_to_string("/proc/self/maps")?.lines() {
        let mut parts = line.split_whitespace();
        let (range, _, offset) = (parts.next(), parts.next(), parts.next());
        let hex = |text: &str| u64::from_str_radix(text, 16).ok();
        let bounds = range.and_then(|range| range.split_once('-'));
        let (Some((start, end)), Some(offset)) = (bounds, offset.and_then(hex)) else { continue };
        let (Some(start), Some(end)) = (hex(start), hex(end)) else { continue };
        if (start..end).contains(&address) {
            return Ok(address - start + offset);
        }
    }
    Err("no mapping has it".into())
}

/// The command line of a workload.
pub(crate) fn argv(what: &str, number: u64) -> Result<Vec<std::ffi::OsString>, Failed> {
    Ok(vec![binary()?.into(), WORKLOAD.into(), what.into(), number.to_string().into()])
}

/// A workload that waits for [`Held::go`].
pub(crate) struct Held(Child);

impl Held {
    pub(crate) fn start(what: &str, number: u64) -> Result<Held, Failed> {
        let argv = argv(&format!("held-{what}"), number)?;
        let mut command = Command::new(&argv[0]);
        Ok(Held(command.args(&argv[1..]).stdin(Stdio::piped()).spawn()?))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    /// Lets it do its work; returns when it is done.
    pub(crate) fn go(mut self) -> Result<ExitStatus, Failed> {
        drop(self.0.stdin.take());
        Ok(self.0.wait()?)
    }
}

/// What a workload prints when nobody in particular runs it; `None` when that user cannot.
pub(crate) fn output_as_nobody(what: &str) -> Result<Option<String>, Failed> {
    const NOBODY: u32 = 65534;
    let argv = argv(what, 0)?;
    let mut command = Command::new(&argv[0]);
    let Ok(output) = command.args(&argv[1..]).uid(NOBODY).gid(NOBODY).output() else {
        return Ok(None);
    };
    Ok(Some(String::from_utf8(output.stdout)?))
}

//! What programs print with `bpf_printk`.
//!
//! The kernel writes it to the trace buffers of the whole machine, and does not say which program
//! it was. An instance of our own (`/sys/kernel/tracing/instances`) hears the same as everybody,
//! from now on, and takes nothing away from whoever else reads `trace_pipe`. It is only opened when
//! a loaded program prints at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bombus_isa::Insn;
use bombus_linux::Tracefs;
use bombus_platform::Helper;
use bombus_spec::ObjectSpec;

/// Instances are called `bombus-PID`.
const PREFIX: &str = "bombus-";

/// KiB of each CPU's buffer.
const BUFFER_KIB: &str = "256";

/// The event of a line, since Linux 5.9.
const EVENT: &str = "events/bpf_trace/bpf_trace_printk/enable";

/// `bpf_trace_vprintk`, which `bpf_printk` is with more than three arguments.
const TRACE_VPRINTK: i32 = 177;

/// Whether any program calls `bpf_trace_printk` or `bpf_trace_vprintk`.
pub(crate) fn is_used(object: &ObjectSpec) -> bool {
    let prints = [Helper::TracePrintk as i32, TRACE_VPRINTK].map(Insn::call_helper);
    let mut slots = object.programs.iter().flat_map(|program| &program.insns);
    slots.any(|slot| slot.reference.is_none() && prints.contains(&slot.insn))
}

/// A line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Line {
    /// Who ran when the program printed.
    pub(crate) comm: String,
    pub(crate) tid: u32,
    pub(crate) cpu: u32,
    pub(crate) text: String,
}

/// What [`Printk::take`] gives.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Lines {
    pub(crate) lines: Vec<Line>,
    /// Lines that the buffer had no room for.
    pub(crate) lost: u64,
}

/// The trace buffer; removed with the last reader.
#[derive(Debug)]
pub(crate) struct Printk {
    instance: PathBuf,
    pipe: File,
    /// The beginning of a line.
    rest: Vec<u8>,
    /// What the instance is in.
    _tracefs: Tracefs,
}

impl Printk {
    /// Listens from now on.
    pub(crate) fn open() -> io::Result<Printk> {
        let missing = "tracefs is not mounted, and may not be";
        let tracefs =
            Tracefs::find().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, missing))?;
        let instances = tracefs.root().join("instances");
        remove_stale(&instances);
        let instance = instances.join(format!("{PREFIX}{}", std::process::id()));
        fs::create_dir(&instance)?;
        let pipe = || {
            // A smaller buffer is a kindness, not a need.
            let _ = fs::write(instance.join("buffer_size_kb"), BUFFER_KIB);
            fs::write(instance.join(EVENT), "1")?;
            let mut options = OpenOptions::new();
            options.read(true).custom_flags(libc::O_NONBLOCK);
            options.open(instance.join("trace_pipe"))
        };
        match pipe() {
            Ok(pipe) => Ok(Printk { instance, pipe, rest: Vec::new(), _tracefs: tracefs }),
            Err(error) => {
                let _ = fs::remove_dir(&instance);
                Err(error)
            }
        }
    }

    /// The lines that came since the last call. Never waits.
    pub(crate) fn take(&mut self) -> Lines {
        let mut buffer = [0; 16 << 10];
        // At the end of what there is the kernel says `EAGAIN`.
        while let Ok(count @ 1..) = self.pipe.read(&mut buffer) {
            self.rest.extend_from_slice(&buffer[..count]);
        }
        let end = self.rest.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let whole: Vec<u8> = self.rest.drain(..end).collect();
        lines(&String::from_utf8_lossy(&whole))
    }
}

impl Drop for Printk {
    fn drop(&mut self) {
        let _ = fs::write(self.instance.join(EVENT), "0");
        // An open pipe would keep the instance busy; without it, the last one gone is enough.
        if let Ok(nothing) = File::open("/dev/null") {
            self.pipe = nothing;
        }
        let _ = fs::remove_dir(&self.instance);
    }
}

/// Removes what processes left behind that were killed.
fn remove_stale(instances: &Path) {
    for entry in fs::read_dir(instances).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<u32>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// Takes the text of `trace_pipe` apart: `comm-tid [cpu] flags time: bpf_trace_printk: text`. A
/// line without that beginning goes on the one before: texts may have several lines.
fn lines(text: &str) -> Lines {
    let mut found = Lines::default();
    for line in text.lines() {
        if let Some(lost) = lost(line) {
            found.lost += lost;
        } else if let Some(line) = parse(line) {
            found.lines.push(line);
        } else if let Some(last) = found.lines.last_mut().filter(|_| !line.is_empty()) {
            last.text.push('\n');
            last.text.push_str(line);
        }
    }
    found
}

/// `CPU:1 [LOST 12 EVENTS]`; at least one when the kernel does not know how many.
fn lost(line: &str) -> Option<u64> {
    let count = line.strip_prefix("CPU:")?.split_once("[LOST ")?.1.strip_suffix("EVENTS]")?;
    Some(count.trim().parse().unwrap_or(1))
}

fn parse(line: &str) -> Option<Line> {
    let (head, text) = line.split_once(": bpf_trace_printk: ")?;
    // A name may have brackets and dashes; the CPU is the last in brackets.
    let (task, rest) = head.rsplit_once('[')?;
    let (comm, tid) = task.trim().rsplit_once('-')?;
    Some(Line {
        comm: comm.trim().to_owned(),
        // With the option `record-tgid` the process follows in parentheses.
        tid: tid.split_whitespace().next()?.parse().ok()?,
        cpu: rest.split_once(']')?.0.parse().ok()?,
        text: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_trace_pipe() {
        let text = "            bash-4242    [003] ...11  1234.567890: bpf_trace_printk: hello: world\n\
                    \x20a-b [c]-7       [000] b..31     1.000001: bpf_trace_printk: two\n\
                    lines\n\
                    CPU:1 [LOST 12 EVENTS]\nCPU:0 [LOST EVENTS]\n";
        let line = |comm: &str, tid, cpu, text: &str| Line {
            comm: comm.to_owned(),
            tid,
            cpu,
            text: text.to_owned(),
        };
        assert_eq!(
            lines(text).lines,
            [line("bash", 4242, 3, "hello: world"), line("a-b [c]", 7, 0, "two\nlines"),]
        );
        assert_eq!(lines(text).lost, 13);
        assert_eq!(lines("nothing of ours\n"), Lines::default());
    }
}

//! Probes on single functions and instructions, of the kernel and of user programs.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use bombus_kernel::{Error, Result};

use super::{Attached, perf_events::on_event};
use crate::Linux;
use crate::caps::Wants;
use crate::error::privileged;
use crate::programs::Program;
use crate::sys::perf;

/// What sysfs says of the event sources `uprobe` and `kprobe`.
struct ProbeSource {
    event_type: u32,
    return_bit: u32,
    /// Where in `config` the offset of a semaphore starts (Linux 4.20).
    semaphore_bit: Option<u32>,
}

impl ProbeSource {
    fn find(name: &str) -> Option<ProbeSource> {
        let directory = Path::new("/sys/bus/event_source/devices").join(name);
        let read = |file: &str| std::fs::read_to_string(directory.join(file)).ok();
        // For example `config:0`, `config:32-63`.
        let bit = |text: String| {
            let bits = text.trim().strip_prefix("config:")?;
            bits.split('-').next()?.parse().ok()
        };
        Some(ProbeSource {
            event_type: read("type")?.trim().parse().ok()?,
            return_bit: bit(read("format/retprobe")?)?,
            semaphore_bit: read("format/ref_ctr_offset").and_then(bit),
        })
    }

    fn config(&self, on_return: bool) -> u64 {
        u64::from(on_return) << self.return_bit
    }
}

/// A place in a file.
pub(super) struct Place<'a> {
    pub(super) path: &'a Path,
    pub(super) offset: u64,
    /// Offset in the file of a counter that says whether somebody looks; 0: none.
    pub(super) semaphore: u64,
}

/// The file's name for the kernel.
pub(super) fn c_path(path: &Path, doing: impl FnOnce() -> String) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::os(doing(), libc::EINVAL))
}

/// An instruction of a user program, or the return of the function there.
pub(super) fn uprobe(
    linux: &Linux,
    program: &Program,
    place: &Place<'_>,
    on_return: bool,
    pid: Option<u32>,
    cookie: u64,
) -> Result<Attached> {
    let doing = || {
        let what = if on_return { "the return of the function at" } else { "the instruction at" };
        format!("attach to {what} {:#x} in {}", place.offset, place.path.display())
    };
    let source = ProbeSource::find("uprobe").ok_or_else(|| Error::Unsupported {
        what: format!("could not {}: this kernel has no user probes", doing()),
        help: Some("it was built without CONFIG_UPROBE_EVENTS".into()),
    })?;
    let path = c_path(place.path, doing)?;
    let mut config = source.config(on_return);
    if place.semaphore != 0 {
        let bit = source.semaphore_bit.ok_or_else(|| Error::Unsupported {
            what: format!("could not {}: this kernel does not keep USDT semaphores", doing()),
            help: Some("Linux 4.20 does".into()),
        })?;
        if place.semaphore >> (64 - bit) != 0 {
            return Err(Error::os(doing(), libc::EINVAL));
        }
        config |= place.semaphore << bit;
    }
    let target = pid.map_or(perf::Target::Cpu(0), perf::Target::Process);
    let failed = |errno| match errno {
        libc::EINVAL => Error::Os {
            doing: doing(),
            errno,
            help: Some("is it the start of an instruction in a regular file?".into()),
        },
        errno => privileged(doing(), errno, Wants::UserProbes),
    };
    let event =
        perf::probe(source.event_type, config, &path, place.offset, target).map_err(failed)?;
    on_event(linux, program, event, cookie).map_err(failed)
}

/// An instruction of a kernel function, or its return.
pub(super) fn kprobe(
    linux: &Linux,
    program: &Program,
    symbol: &str,
    offset: u64,
    on_return: bool,
    cookie: u64,
) -> Result<Attached> {
    let doing = || {
        let what = if on_return { "the return of kernel function" } else { "kernel function" };
        let offset = if offset == 0 { String::new() } else { format!("+{offset:#x}") };
        format!("attach to {what} {symbol}{offset}")
    };
    let source = ProbeSource::find("kprobe").ok_or_else(|| Error::Unsupported {
        what: format!("could not {}: this kernel has no kernel probes", doing()),
        help: Some("it was built without CONFIG_KPROBE_EVENTS, or is older than 4.17".into()),
    })?;
    let name = CString::new(symbol).map_err(|_| Error::os(doing(), libc::EINVAL))?;
    let failed = |errno| match errno {
        libc::ENOENT => Error::Unsupported {
            what: format!("this kernel has no function {symbol} that can be probed"),
            help: None,
        },
        libc::EINVAL | libc::EILSEQ | libc::EADDRNOTAVAIL => Error::Os {
            doing: doing(),
            errno,
            help: Some("the kernel does not let probes on this instruction".into()),
        },
        errno => privileged(doing(), errno, Wants::Tracing),
    };
    let (config, target) = (source.config(on_return), perf::Target::Cpu(0));
    let event = perf::probe(source.event_type, config, &name, offset, target).map_err(failed)?;
    on_event(linux, program, event, cookie).map_err(failed)
}

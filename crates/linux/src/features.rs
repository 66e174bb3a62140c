//! What the running kernel can do, mostly by its version: start-up must not cost system calls.

use bombus_kernel::{Features, KernelVersion};

use crate::KernelBtf;
use crate::sys::process;

/// More system call tracepoints than this are served by one raw tracepoint that dispatches: below,
/// a call that nobody asked for costs next to nothing; above, attaching and detaching do.
const SYSCALL_DISPATCH_ABOVE: usize = 8;

/// The features of the running kernel.
pub(crate) fn probe() -> Features {
    let version = parse_version(&process::release().unwrap_or_default());
    let since = |major, minor| version >= KernelVersion { major, minor, patch: 0 };
    Features {
        name: "linux",
        version,
        possible_cpus: possible_cpus(),
        // cpu=v3 (32-bit jumps) came with 5.1, cpu=v4 (sign extension, gotol) with 6.6.
        isa: match () {
            () if since(6, 6) => 4,
            () if since(5, 1) => 3,
            () if since(4, 14) => 2,
            () => 1,
        },
        perf_link: since(5, 15),
        for_each_map_elem: since(5, 13),
        bpf_loop: since(5, 17),
        tp_btf: since(5, 5) && KernelBtf::exists(),
        syscall_dispatch_above: Some(SYSCALL_DISPATCH_ABOVE),
    }
}

/// From a release such as `6.18.44-amd64` or `6.12-rc1`; what is missing counts as 0.
fn parse_version(release: &str) -> KernelVersion {
    let mut numbers = release.split(|byte: char| !byte.is_ascii_digit()).map(str::parse);
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
    KernelVersion { major: next(), minor: next(), patch: next() }
}

/// CPUs that may ever come up, as the kernel counts the values of per-CPU maps.
fn possible_cpus() -> u32 {
    let cpus = cpu_list("possible").len() as u32;
    if cpus == 0 {
        std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u32)
    } else {
        cpus
    }
}

/// CPUs that are up.
pub(crate) fn online_cpus() -> Vec<u32> {
    let cpus = cpu_list("online");
    if cpus.is_empty() { vec![0] } else { cpus }
}

fn cpu_list(which: &str) -> Vec<u32> {
    let path = format!("/sys/devices/system/cpu/{which}");
    parse_cpu_list(&std::fs::read_to_string(path).unwrap_or_default())
}

/// From the kernel's list form, for example `0-3,8`.
fn parse_cpu_list(text: &str) -> Vec<u32> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<u32>().ok()?..=last.parse::<u32>().ok()?.min(1 << 16))
    };
    text.trim().split(',').filter_map(range).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let version = |major, minor, patch| KernelVersion { major, minor, patch };
        assert_eq!(parse_version("6.18.44-fc-v669"), version(6, 18, 44));
        assert_eq!(parse_version("6.12-rc1"), version(6, 12, 0));
        assert_eq!(parse_version("5.10.0-30-amd64"), version(5, 10, 0));
        assert_eq!(parse_version(""), version(0, 0, 0));
    }

    #[test]
    fn cpu_lists() {
        assert_eq!(parse_cpu_list("0-1\n"), [0, 1]);
        assert_eq!(parse_cpu_list("0,2-4,9"), [0, 2, 3, 4, 9]);
        assert_eq!(parse_cpu_list("\n"), [] as [u32; 0]);
    }
}

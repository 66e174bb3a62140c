//! `--info`: what this machine can do. Some lines stand there in bpftrace's words, because its test
//! runner looks for them.

use std::fmt::Write;

use bombus_kernel::Kernel;
use bombus_kernel::catalog::Catalog;
use bombus_linux::{KernelBtf, Linux, LinuxCatalog, can_load_programs};

/// The whole text.
pub(crate) fn text() -> String {
    let mut text = String::new();
    let mut line = |indent: &str, name: &str, value: String| {
        let _ = writeln!(text, "{indent}{name}: {value}");
    };
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    line("", "System", String::new());
    let release = read("/proc/sys/kernel/osrelease");
    line("  ", "OS", format!("Linux {release} {}", read("/proc/sys/kernel/version")));
    line("  ", "Arch", std::env::consts::ARCH.to_owned());

    line("\n", "Build", String::new());
    line("  ", "version", format!("v{}", env!("CARGO_PKG_VERSION")));
    let size = std::env::current_exe().and_then(std::fs::metadata).map_or(0, |file| file.len());
    line("  ", "size", format!("{} KiB, everything included", size >> 10));

    line("\n", "Kernels", String::new());
    let linux = can_load_programs();
    let default = if linux.is_ok() { "linux" } else { "embedded" };
    line("  ", "default", default.to_owned());
    line("  ", "linux", linux.as_ref().map_or_else(|error| format!("no: {error}"), |()| yes(true)));
    line("  ", "embedded", "yes (with -c or -p)".to_owned());
    let events = LinuxCatalog::new().tracepoints().len();
    line("  ", "tracepoints that can be listed", events.to_string());

    let Ok(kernel) = Linux::new() else { return text };
    let features = kernel.features();
    let available = linux.is_ok();
    line("\n", "Features of the running kernel", String::new());
    line("  ", "Instruction set version", features.isa.to_string());
    line("  ", "Possible CPUs", features.possible_cpus.to_string());
    line("  ", "perf event links", yes(features.perf_link));
    line("  ", "loop", yes(available && features.bpf_loop));
    line("  ", "Loop support", yes(available));
    line("  ", "map_elems", yes(available && features.for_each_map_elem));
    line("  ", "probe_read_kernel", yes(available));
    line("  ", "btf", yes(KernelBtf::exists()));
    line("  ", "tp_btf", yes(features.tp_btf));

    line("\n", "Features of the language that are not there yet", String::new());
    // bpftrace's test runner skips what needs these.
    for name in [
        "dpath",
        "fentry",
        "kfunc",
        "get_func_ip",
        "get_tai_ns",
        "iter",
        "jiffies64",
        "kprobe_multi",
        "kprobe_session",
        "libdw (DWARF support)",
        "lookup_percpu_elem",
        "send_signal",
        "skboutput",
        "uprobe_multi",
        "uprobe refcount (depends on Build:bcc bpf_attach_uprobe refcount)",
    ] {
        line("  ", name, yes(false));
    }
    line("  ", "bcc library path resolution", yes(true));
    text
}

fn yes(there: bool) -> String {
    if there { "yes" } else { "no" }.to_owned()
}

//! The kernel's own types: the ids of functions, and of the typedefs that name its tracepoints.

use std::path::Path;
use std::sync::Arc;

use bombus_btf::{Btf, Kind};

/// Each tracepoint `X` has a typedef `btf_trace_X` (`include/trace/bpf_probe.h`).
pub(crate) const TRACEPOINT_PREFIX: &str = "btf_trace_";

/// Where the kernel shows its types and those of its modules.
const DIRECTORY: &str = "/sys/kernel/btf";
/// The kernel's own.
const KERNEL: &str = "vmlinux";

/// The types of the kernel proper; `None` when it does not describe them.
pub(crate) fn kernel() -> Option<Btf> {
    Btf::parse(std::fs::read(Path::new(DIRECTORY).join(KERNEL)).ok()?).ok()
}

/// The names of all tracepoints of the kernel and of the modules that are loaded, unsorted.
pub(crate) fn tracepoints(kernel: Btf) -> Vec<String> {
    let mut names = Vec::new();
    add_tracepoints(&kernel, &mut names);
    let kernel = Arc::new(kernel);
    for entry in std::fs::read_dir(DIRECTORY).into_iter().flatten().flatten() {
        let Ok(module) = std::fs::read(entry.path()) else { continue };
        if entry.file_name() != KERNEL
            && let Ok(module) = Btf::parse_split(module, Arc::clone(&kernel))
        {
            add_tracepoints(&module, &mut names);
        }
    }
    names
}

fn add_tracepoints(types: &Btf, names: &mut Vec<String>) {
    for id in types.ids().filter(|&id| types.kind(id) == Some(Kind::Typedef)) {
        names.extend(types.name(id).strip_prefix(TRACEPOINT_PREFIX).map(str::to_owned));
    }
}

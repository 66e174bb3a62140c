//! The kernel's own types: the ids of functions, and of the typedefs that name its tracepoints.

use std::path::Path;

use bombus_btf::{Kind, Reader};

/// Each tracepoint `X` has a typedef `btf_trace_X` (`include/trace/bpf_probe.h`).
pub(crate) const TRACEPOINT_PREFIX: &str = "btf_trace_";

/// Where the kernel shows its types and those of its modules.
const DIRECTORY: &str = "/sys/kernel/btf";
/// The kernel's own.
const KERNEL: &str = "vmlinux";

/// The types of the kernel proper, as bytes for a [`Reader`]; `None` when it does not describe
/// them.
pub(crate) fn kernel() -> Option<Vec<u8>> {
    std::fs::read(Path::new(DIRECTORY).join(KERNEL)).ok()
}

/// The number of the kernel's type of this kind and name.
pub(crate) fn find(kernel: &[u8], kind: Kind, name: &str) -> Option<u32> {
    Reader::new(kernel).ok()?.find(kind, name)
}

/// The names of all tracepoints of the kernel and of the modules that are loaded, unsorted.
pub(crate) fn tracepoints(kernel: &[u8]) -> Vec<String> {
    let Ok(kernel) = Reader::new(kernel) else { return Vec::new() };
    let mut names = Vec::new();
    add_tracepoints(&kernel, &mut names);
    let next_id = kernel.next_id();
    for entry in std::fs::read_dir(DIRECTORY).into_iter().flatten().flatten() {
        let Ok(module) = std::fs::read(entry.path()) else { continue };
        if entry.file_name() != KERNEL
            && let Ok(module) = Reader::split(&module, &kernel, next_id)
        {
            add_tracepoints(&module, &mut names);
        }
    }
    names
}

fn add_tracepoints(types: &Reader<'_>, names: &mut Vec<String>) {
    for ty in types.types().filter(|ty| ty.kind == Kind::Typedef) {
        if let Some(name) = ty.name().strip_prefix(TRACEPOINT_PREFIX.as_bytes()) {
            names.push(String::from_utf8_lossy(name).into_owned());
        }
    }
}

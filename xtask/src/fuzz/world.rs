//! A small world for scripts to be compiled against, the same on every host.

use std::path::{Path, PathBuf};

use bombus_kernel::catalog::{Binaries, Catalog, Field, Symbol, TracepointFormat};
use bombus_kernel::{Features, KernelVersion};

/// A kernel with a few tracepoints, and one library.
pub(super) struct World {
    pub(super) features: Features,
}

/// Tracepoints with their fields: C type, elements of an array or 0, name, size.
type Tracepoint = (&'static str, &'static str, &'static [(&'static str, u32, &'static str, u32)]);

const TRACEPOINTS: [Tracepoint; 6] = [
    ("raw_syscalls", "sys_enter", &[("long", 0, "id", 8), ("unsigned long", 6, "args", 48)]),
    ("raw_syscalls", "sys_exit", &[("long", 0, "id", 8), ("long", 0, "ret", 8)]),
    (
        "sched",
        "sched_switch",
        &[
            ("char", 16, "prev_comm", 16),
            ("pid_t", 0, "prev_pid", 4),
            ("int", 0, "prev_prio", 4),
            ("long", 0, "prev_state", 8),
        ],
    ),
    (
        "syscalls",
        "sys_enter_openat",
        &[
            ("int", 0, "__syscall_nr", 4),
            ("int", 0, "dfd", 8),
            ("const char *", 0, "filename", 8),
            ("int", 0, "flags", 8),
            ("umode_t", 0, "mode", 8),
        ],
    ),
    ("syscalls", "sys_enter_sync", &[("int", 0, "__syscall_nr", 4)]),
    ("syscalls", "sys_exit_openat", &[("int", 0, "__syscall_nr", 4), ("long", 0, "ret", 8)]),
];

impl World {
    pub(super) fn new() -> World {
        World {
            features: Features {
                name: "linux",
                version: KernelVersion { major: 6, minor: 18, patch: 0 },
                possible_cpus: 4,
                isa: 3,
                perf_link: true,
                for_each_map_elem: true,
                bpf_loop: true,
                tp_btf: true,
                syscall_dispatch_above: Some(4),
            },
        }
    }
}

impl Catalog for World {
    fn tracepoints(&self) -> Vec<(String, String)> {
        TRACEPOINTS.iter().map(|(category, name, _)| ((*category).into(), (*name).into())).collect()
    }

    fn tracepoint_format(&self, category: &str, name: &str) -> Option<TracepointFormat> {
        let row = TRACEPOINTS.iter().find(|row| row.0 == category && row.1 == name)?;
        let mut end = 8;
        let fields = row.2.iter().map(|&(c_type, array, name, size)| {
            let offset = u32::next_multiple_of(end, size / array.max(1));
            end = offset + size;
            Field {
                name: name.into(),
                c_type: c_type.into(),
                array: (array > 0).then_some(array),
                offset,
                size,
                signed: !c_type.contains("unsigned"),
            }
        });
        Some(TracepointFormat { fields: fields.collect() })
    }

    fn raw_tracepoints(&self) -> Vec<String> {
        vec!["sched_switch".into(), "sys_enter".into(), "sys_exit".into()]
    }
}

impl Binaries for World {
    fn resolve(&self, name: &str, _pid: Option<u32>) -> Option<PathBuf> {
        (name == "libc" || name.ends_with("libc.so.6")).then(|| "/lib/libc.so.6".into())
    }

    fn functions(&self, _path: &Path) -> Result<Vec<Symbol>, String> {
        let symbol = |(name, offset): (&str, u64)| Symbol { name: name.into(), offset, size: 64 };
        Ok([("calloc", 0x1000), ("free", 0x2000), ("malloc", 0x3000)].map(symbol).into())
    }
}

//! A small world to compile scripts for: a few tracepoints, one library.

use std::path::{Path, PathBuf};

use bombus_kernel::catalog::{Binaries, Catalog, Field, Symbol, TracepointFormat};
use bombus_kernel::{Features, KernelVersion};

/// A recent kernel.
pub(crate) fn features() -> Features {
    Features {
        name: "linux",
        version: KernelVersion { major: 6, minor: 18, patch: 0 },
        possible_cpus: 2,
        isa: 3,
        perf_link: true,
        for_each_map_elem: true,
        bpf_loop: true,
        tp_btf: true,
        syscall_dispatch_above: None,
    }
}

/// A kernel that can do little.
pub(crate) fn old_features() -> Features {
    Features {
        version: KernelVersion { major: 5, minor: 10, patch: 0 },
        isa: 2,
        perf_link: false,
        for_each_map_elem: false,
        bpf_loop: false,
        tp_btf: false,
        ..features()
    }
}

pub(crate) struct World;

/// Category, name, and the fields: name, type, elements, offset, size, whether it is signed.
type Row = (&'static str, &'static str, &'static [FieldRow]);
type FieldRow = (&'static str, &'static str, Option<u32>, u32, u32, bool);

const NUMBER: FieldRow = ("__syscall_nr", "int", None, 8, 4, true);

const TRACEPOINTS: &[Row] = &[
    (
        "raw_syscalls",
        "sys_enter",
        &[("id", "long", None, 8, 8, true), ("args", "unsigned long", Some(6), 16, 48, false)],
    ),
    (
        "sched",
        "sched_process_exec",
        &[
            ("filename", "__data_loc char[]", None, 8, 4, false),
            ("pid", "pid_t", None, 12, 4, true),
            ("old_pid", "pid_t", None, 16, 4, true),
        ],
    ),
    (
        "sched",
        "sched_process_exit",
        &[("comm", "char", Some(16), 8, 16, false), ("pid", "pid_t", None, 24, 4, true)],
    ),
    (
        "sched",
        "sched_process_fork",
        &[("parent_pid", "pid_t", None, 12, 4, true), ("child_pid", "pid_t", None, 20, 4, true)],
    ),
    ("syscalls", "sys_enter_close", &[NUMBER, ("fd", "unsigned int", None, 16, 8, false)]),
    (
        "syscalls",
        "sys_enter_openat",
        &[
            NUMBER,
            ("dfd", "int", None, 16, 8, false),
            ("filename", "const char *", None, 24, 8, false),
            ("flags", "int", None, 32, 8, false),
            ("mode", "umode_t", None, 40, 8, false),
        ],
    ),
    ("syscalls", "sys_exit_openat", &[NUMBER, ("ret", "long", None, 16, 8, true)]),
];

impl Catalog for World {
    fn tracepoints(&self) -> Vec<(String, String)> {
        TRACEPOINTS.iter().map(|row| (row.0.to_string(), row.1.to_string())).collect()
    }

    fn tracepoint_format(&self, category: &str, name: &str) -> Option<TracepointFormat> {
        let row = TRACEPOINTS.iter().find(|row| row.0 == category && row.1 == name)?;
        let fields = row.2.iter().map(|field| Field {
            name: field.0.to_string(),
            c_type: field.1.to_string(),
            array: field.2,
            offset: field.3,
            size: field.4,
            signed: field.5,
        });
        Some(TracepointFormat { fields: fields.collect() })
    }

    fn raw_tracepoints(&self) -> Vec<String> {
        ["sched_switch", "sys_enter", "sys_exit"].map(str::to_string).to_vec()
    }
}

impl Binaries for World {
    fn resolve(&self, name: &str, _pid: Option<u32>) -> Option<PathBuf> {
        (name == "libc" || name == "/lib/libc.so.6").then(|| "/lib/libc.so.6".into())
    }

    fn functions(&self, _path: &Path) -> Result<Vec<Symbol>, String> {
        let symbols = [("calloc", 0x300), ("free", 0x200), ("malloc", 0x100)];
        Ok(symbols.map(|(name, offset)| Symbol { name: name.into(), offset, size: 64 }).to_vec())
    }
}

//! What there is to probe on the embedded kernel: the tracepoints that [`crate::hooks`] can serve,
//! with the record layouts of Linux, so that a script means the same on both.
//!
//! The layouts are built in because `/sys/kernel/tracing` belongs to root.

use bombus_kernel::catalog::{Catalog, Field, TracepointFormat};
use bombus_platform::{SYSCALLS, Syscall, syscall_by_event};

/// The embedded kernel's [`Catalog`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EmbeddedCatalog;

/// A field: type, name, elements (0: no array), offset, size, signed.
type Row = (&'static str, &'static str, u32, u32, u32, bool);

/// Category, name and fields of what is no system call (`include/trace/events/*.h`, Linux 6.18).
const TRACEPOINTS: &[(&str, &str, &[Row])] = &[
    (
        "raw_syscalls",
        "sys_enter",
        &[("long", "id", 0, 8, 8, true), ("unsigned long", "args", 6, 16, 48, false)],
    ),
    ("raw_syscalls", "sys_exit", &[("long", "id", 0, 8, 8, true), ("long", "ret", 0, 16, 8, true)]),
    (
        "sched",
        "sched_process_exec",
        &[
            ("__data_loc char[]", "filename", 0, 8, 4, false),
            ("pid_t", "pid", 0, 12, 4, true),
            ("pid_t", "old_pid", 0, 16, 4, true),
        ],
    ),
    (
        "sched",
        "sched_process_exit",
        &[
            ("char", "comm", 16, 8, 16, false),
            ("pid_t", "pid", 0, 24, 4, true),
            ("int", "prio", 0, 28, 4, true),
            ("bool", "group_dead", 0, 32, 1, false),
        ],
    ),
    (
        "sched",
        "sched_process_fork",
        &[
            ("__data_loc char[]", "parent_comm", 0, 8, 4, false),
            ("pid_t", "parent_pid", 0, 12, 4, true),
            ("__data_loc char[]", "child_comm", 0, 16, 4, false),
            ("pid_t", "child_pid", 0, 20, 4, true),
        ],
    ),
];

const ENTER: &str = "sys_enter_";
const EXIT: &str = "sys_exit_";
const SYSCALLS_CATEGORY: &str = "syscalls";

impl Catalog for EmbeddedCatalog {
    fn tracepoints(&self) -> Vec<(String, String)> {
        let events = SYSCALLS.iter().filter_map(|call| call.event);
        let calls = events.flat_map(|event| [format!("{ENTER}{event}"), format!("{EXIT}{event}")]);
        let calls = calls.map(|name| (SYSCALLS_CATEGORY.to_owned(), name));
        let others =
            TRACEPOINTS.iter().map(|&(category, name, _)| (category.to_owned(), name.to_owned()));
        let mut all: Vec<_> = calls.chain(others).collect();
        all.sort();
        all
    }

    fn tracepoint_format(&self, category: &str, name: &str) -> Option<TracepointFormat> {
        if category == SYSCALLS_CATEGORY {
            return match (name.strip_prefix(ENTER), name.strip_prefix(EXIT)) {
                (Some(event), _) => syscall_by_event(event).map(enter_format),
                (_, Some(event)) => syscall_by_event(event).map(|_| exit_format()),
                _ => None,
            };
        }
        let (_, _, rows) =
            TRACEPOINTS.iter().find(|(of, called, _)| (*of, *called) == (category, name))?;
        Some(TracepointFormat { fields: rows.iter().map(field).collect() })
    }

    fn raw_tracepoints(&self) -> Vec<String> {
        ["sys_enter", "sys_exit"].map(str::to_owned).into()
    }
}

fn field(&(c_type, name, array, offset, size, signed): &Row) -> Field {
    let array = (array > 0).then_some(array);
    Field { name: name.to_owned(), c_type: c_type.to_owned(), array, offset, size, signed }
}

/// `syscall_enter_define_fields` (`kernel/trace/trace_syscalls.c`): every argument takes eight
/// bytes, and none is said to be signed.
fn enter_format(call: &Syscall) -> TracepointFormat {
    let args = call.args.iter().zip(0..);
    let args = args.map(|(arg, index)| field(&(arg.ty, arg.name, 0, 16 + 8 * index, 8, false)));
    TracepointFormat { fields: [number()].into_iter().chain(args).collect() }
}

fn exit_format() -> TracepointFormat {
    TracepointFormat { fields: vec![number(), field(&("long", "ret", 0, 16, 8, true))] }
}

fn number() -> Field {
    field(&("int", "__syscall_nr", 0, 8, 4, true))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Reads the running kernel's own format file.
    fn kernels(path: &Path) -> Option<TracepointFormat> {
        let text = fs::read_to_string(path.join("format")).ok()?;
        let fields = text.lines().filter_map(|line| {
            let mut parts = line.trim().strip_prefix("field:")?.split(";\t");
            let declaration = parts.next()?;
            let mut number = || {
                let (_, value) = parts.next()?.trim_end_matches(';').split_once(':')?;
                value.parse::<u32>().ok()
            };
            let (offset, size, signed) = (number()?, number()?, number()?);
            let (c_type, name) = declaration.rsplit_once(' ')?;
            let (name, array) = match name.split_once('[') {
                Some((name, count)) => (name, count.trim_end_matches(']').parse().unwrap_or(0)),
                None => (name, 0),
            };
            (!name.starts_with("common_"))
                .then(|| field_of(c_type, name, array, offset, size, signed != 0))
        });
        Some(TracepointFormat { fields: fields.collect() })
    }

    fn field_of(
        c_type: &str,
        name: &str,
        array: u32,
        offset: u32,
        size: u32,
        signed: bool,
    ) -> Field {
        let array = (array > 0).then_some(array);
        Field { name: name.into(), c_type: c_type.into(), array, offset, size, signed }
    }

    #[test]
    fn layouts_are_those_of_the_running_kernel() {
        let events = Path::new("/sys/kernel/tracing/events");
        if fs::read_dir(events).is_err() {
            println!("skipped: tracefs is not readable");
            return;
        }
        let mut compared = 0;
        for (category, name) in EmbeddedCatalog.tracepoints() {
            // Kernels differ in which system calls they have.
            let Some(kernels) = kernels(&events.join(&category).join(&name)) else { continue };
            let ours = EmbeddedCatalog.tracepoint_format(&category, &name).unwrap();
            assert_eq!(ours, kernels, "{category}:{name}");
            compared += 1;
        }
        assert!(compared > 600, "{compared}");
    }

    #[test]
    fn lists_are_sorted_and_complete() {
        let all = EmbeddedCatalog.tracepoints();
        assert!(all.is_sorted());
        assert!(all.iter().all(|(of, name)| EmbeddedCatalog.tracepoint_format(of, name).is_some()));
        assert_eq!(EmbeddedCatalog.tracepoint_format("syscalls", "sys_enter_nothing"), None);
        assert_eq!(EmbeddedCatalog.tracepoint_format("sched", "sched_switch"), None);
    }
}

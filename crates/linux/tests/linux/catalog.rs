//! What there is to probe.

use bombus_kernel::catalog::Catalog;
use bombus_linux::LinuxCatalog;
use libtest_mimic::Failed;

use crate::{Test, ensure, same};

pub(crate) const ANYBODY: &[Test] = &[("catalog::raw_tracepoints", raw_tracepoints)];

pub(crate) const TESTS: &[Test] = &[
    ("catalog::tracepoints", tracepoints),
    ("catalog::formats", formats),
    ("catalog::functions", functions),
];

fn raw_tracepoints() -> Result<(), Failed> {
    if !std::path::Path::new("/sys/kernel/btf/vmlinux").exists() {
        println!("skipped: this kernel does not describe its types");
        return Ok(());
    }
    let names = LinuxCatalog::new().raw_tracepoints();
    ensure(names.is_sorted(), || "not sorted".into())?;
    for name in ["sys_enter", "sys_exit", "sched_switch", "sched_process_exec"] {
        ensure(names.iter().any(|known| known == name), || format!("{name} is missing"))?;
    }
    Ok(())
}

fn tracepoints() -> Result<(), Failed> {
    let events = LinuxCatalog::new().tracepoints();
    ensure(events.is_sorted(), || "not sorted".into())?;
    for (category, name) in
        [("syscalls", "sys_enter_openat"), ("sched", "sched_switch"), ("raw_syscalls", "sys_exit")]
    {
        let known = events.iter().any(|event| event.0 == category && event.1 == name);
        ensure(known, || format!("{category}:{name} is missing"))?;
    }
    Ok(())
}

fn functions() -> Result<(), Failed> {
    let list = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
        .map(|root| format!("{root}/available_filter_functions"))
        .into_iter()
        .find_map(|path| std::fs::read_to_string(path).ok());
    let Some(list) = list else {
        println!("skipped: this kernel does not list the functions that can be traced");
        return same(LinuxCatalog::new().kernel_functions(), vec![]);
    };
    let functions = LinuxCatalog::new().kernel_functions();
    ensure(functions.is_sorted_by(|a, b| a < b), || "not sorted, or twice".into())?;
    ensure(functions.len() > 1000, || format!("only {} functions", functions.len()))?;
    for name in ["vfs_read", "__x64_sys_getppid"] {
        let wanted = list.lines().any(|line| line.split_whitespace().next() == Some(name));
        same(functions.iter().any(|known| known == name), wanted)?;
    }
    Ok(())
}

fn formats() -> Result<(), Failed> {
    let catalog = LinuxCatalog::new();
    let format = catalog.tracepoint_format("syscalls", "sys_enter_openat").ok_or("no format")?;
    let fields: Vec<(&str, &str, u32, u32)> = format
        .fields
        .iter()
        .map(|field| (&*field.c_type, &*field.name, field.offset, field.size))
        .collect();
    let wanted = [
        ("int", "__syscall_nr", 8, 4),
        ("int", "dfd", 16, 8),
        ("const char *", "filename", 24, 8),
        ("int", "flags", 32, 8),
        ("umode_t", "mode", 40, 8),
    ];
    // Since Linux 7 the text that a pointer refers to may follow.
    same(&fields[..wanted.len().min(fields.len())], &wanted)?;
    let switch = catalog.tracepoint_format("sched", "sched_switch").ok_or("no format")?;
    let comm = switch.fields.iter().find(|field| field.name == "prev_comm").ok_or("no field")?;
    same((&*comm.c_type, comm.array, comm.size), ("char", Some(16), 16))?;
    same(catalog.tracepoint_format("syscalls", "sys_enter_no_such"), None)?;
    same(catalog.tracepoint_format("..", "syscalls"), None)
}

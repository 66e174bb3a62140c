//! The tables against the running kernel's own types, and against the C library's headers.

use std::collections::HashMap;

use bombus_btf::Btf;
use bombus_platform::{AttachType, HELPERS, MapType, ProgType, SYSCALLS, syscall_by_event};

/// The values of one of the kernel's enumerations; `None` when the kernel shows no types.
fn enumeration(member: &str) -> Option<HashMap<String, i64>> {
    const PATH: &str = "/sys/kernel/btf/vmlinux";
    let Ok(blob) = std::fs::read(PATH) else {
        println!("skipped: {PATH} cannot be read");
        return None;
    };
    let types = Btf::parse(blob).unwrap();
    let found = types.types().find_map(|(_, ty)| {
        let values = ty.enumeration()?.values;
        let values: HashMap<String, i64> =
            values.map(|value| (value.name.to_owned(), value.value)).collect();
        values.contains_key(member).then_some(values)
    });
    Some(found.unwrap_or_else(|| panic!("the kernel's types have no {member}")))
}

/// Compares rows, given as name and number. Names that an older kernel does not have are passed
/// over, but not many.
fn compare(member: &str, rows: impl Iterator<Item = (String, i64)>) {
    let Some(theirs) = enumeration(member) else { return };
    let (mut known, mut unknown) = (0, Vec::new());
    for (name, number) in rows {
        match theirs.get(&name) {
            Some(&value) => {
                assert_eq!(number, value, "{name}");
                known += 1;
            }
            None => unknown.push(name),
        }
    }
    assert!(unknown.len() * 10 <= known, "the kernel does not have {unknown:?}");
}

fn upper(prefix: &str, name: &str) -> String {
    format!("{prefix}{}", name.to_uppercase())
}

#[test]
fn helpers() {
    let row = |helper: &bombus_platform::Helper| {
        (format!("BPF_FUNC_{}", helper.name()), helper.id().into())
    };
    compare("BPF_FUNC_map_lookup_elem", HELPERS.iter().map(row));
    assert!(HELPERS.is_sorted_by_key(|helper| helper.id()));
}

#[test]
fn map_types() {
    let row = |map_type: &MapType| (upper("BPF_MAP_TYPE_", map_type.name()), *map_type as i64);
    compare("BPF_MAP_TYPE_HASH", MapType::ALL.iter().map(row));
}

#[test]
fn prog_types() {
    let row = |prog_type: &ProgType| (upper("BPF_PROG_TYPE_", prog_type.name()), *prog_type as i64);
    compare("BPF_PROG_TYPE_KPROBE", ProgType::ALL.iter().map(row));
}

#[test]
fn attach_types() {
    // Where the program's type says all, the kernel wants 0 whatever that stands for elsewhere.
    let named = AttachType::ALL.iter().filter(|&&attach_type| attach_type != AttachType::NONE);
    let row = |attach_type: &AttachType| (upper("BPF_", attach_type.name()), *attach_type as i64);
    compare("BPF_TRACE_FENTRY", named.map(row));
}

#[test]
fn system_calls() {
    const HEADERS: [&str; 2] =
        ["/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"];
    assert!(SYSCALLS.is_sorted_by_key(|call| call.number));
    let Some(header) = HEADERS.iter().find_map(|path| std::fs::read_to_string(path).ok()) else {
        println!("skipped: asm/unistd_64.h is not installed");
        return;
    };
    let ours: HashMap<&str, u32> = SYSCALLS.iter().map(|call| (call.name, call.number)).collect();
    let mut count = 0;
    for line in header.lines() {
        let Some(definition) = line.strip_prefix("#define __NR_") else { continue };
        let Some((name, number)) = definition.split_once(' ') else { continue };
        let Ok(number) = number.trim().parse() else { continue };
        assert_eq!(ours.get(name), Some(&number), "{name}");
        count += 1;
    }
    assert!(count > 300, "only {count} system calls in the header");
}

/// Every system call that the running kernel can trace has its row.
#[test]
fn system_call_events() {
    const EVENTS: &str = "/sys/kernel/tracing/events/syscalls";
    let Ok(entries) = std::fs::read_dir(EVENTS) else {
        println!("skipped: {EVENTS} cannot be read");
        return;
    };
    let missing: Vec<String> = entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| {
            let event = name.strip_prefix("sys_enter_");
            event.is_some_and(|event| syscall_by_event(event).is_none())
        })
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

//! The running kernel's own types: as bpftool prints them, and back again byte for byte.

use std::process::Command;

use bombus_btf::{Btf, Builder, Kind, c_dump, json, raw};

const PATH: &str = "/sys/kernel/btf/vmlinux";

fn kernel() -> Option<Btf> {
    match std::fs::read(PATH) {
        Ok(bytes) => Some(Btf::parse(bytes).unwrap()),
        Err(error) => {
            println!("skipped: {PATH}: {error}");
            None
        }
    }
}

/// bpftool's output; `None` when there is no bpftool.
fn bpftool(args: &[&str]) -> Option<String> {
    let output = match Command::new("bpftool").args(args).output() {
        Ok(output) => output,
        Err(error) => {
            println!("skipped: bpftool: {error}");
            return None;
        }
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

/// A short word on where two long texts differ.
fn assert_same(ours: &str, theirs: &str) {
    for (at, (ours, theirs)) in ours.lines().zip(theirs.lines()).enumerate() {
        assert_eq!(ours, theirs, "line {}", at + 1);
    }
    assert_eq!(ours.len(), theirs.len());
    assert!(ours == theirs);
}

#[test]
fn raw_text_is_bpftools() {
    let Some(btf) = kernel() else { return };
    let Some(theirs) = bpftool(&["btf", "dump", "file", PATH, "format", "raw"]) else { return };
    let mut ours = String::new();
    raw::dump(&btf, &mut ours).unwrap();
    assert_same(&ours, &theirs);
}

#[test]
fn json_text_is_bpftools() {
    let Some(btf) = kernel() else { return };
    let Some(theirs) = bpftool(&["--json", "btf", "dump", "file", PATH]) else { return };
    let mut ours = String::new();
    json::dump(&btf, &mut ours).unwrap();
    assert_same(&ours.replace("},{", "}\n{"), &theirs.trim_end().replace("},{", "}\n{"));
}

#[test]
fn c_text_is_bpftools() {
    let Some(btf) = kernel() else { return };
    let Some(theirs) = bpftool(&["btf", "dump", "file", PATH, "format", "c"]) else { return };
    let mut ours = String::new();
    c_dump::dump_all(&btf, &mut ours).unwrap();
    // Debian's bpftool is older than these, without which enumerations get the size of an `int`.
    let ours = ours.replace(" __attribute__((mode(byte)))", "");
    let ours = ours.replace(" __attribute__((mode(word)))", "");
    assert_same(&ours, &theirs);
}

#[test]
fn names_are_found() {
    let Some(btf) = kernel() else { return };
    let mut found = 0;
    for (id, ty) in btf.types().filter(|(_, ty)| !ty.name().is_empty()) {
        let first = btf.find(ty.kind(), ty.name()).unwrap();
        assert!(first <= id, "{} {}", ty.kind().name(), ty.name());
        assert_eq!((btf.kind(first), btf.name(first)), (Some(ty.kind()), ty.name()));
        found += 1;
    }
    assert!(found > 1000, "a kernel has more than {found} names");
    assert!(btf.find(Kind::Typedef, "btf_trace_sys_enter").is_some());
    assert_eq!(btf.find(Kind::Struct, "task_struc"), None);
}

#[test]
fn what_is_copied_is_the_same() {
    let Some(btf) = kernel() else { return };
    assert!(Builder::from_btf(&btf).finish() == btf.bytes());
    let mut copy = Builder::new();
    copy.add_all(&btf);
    let copy = Btf::parse(copy.finish()).unwrap();
    let text = |btf| {
        let mut text = String::new();
        raw::dump(btf, &mut text).unwrap();
        text
    };
    assert_same(&text(&copy), &text(&btf));
}

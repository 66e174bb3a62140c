//! The table of section names by itself and against libbpf's own.

use std::collections::HashSet;

use bombus_platform::{AttachType, AutoAttach, ProgType, SECTIONS, Section, find_section};

/// What libbpf had on 2026-07-30.
#[test]
fn all_are_there_once() {
    assert_eq!(SECTIONS.len(), 116);
    let names: HashSet<&str> = SECTIONS.iter().map(Section::name).collect();
    assert_eq!(names.len(), SECTIONS.len());
}

#[test]
fn look_up() {
    let found =
        |section: &'static str| find_section(section).map(|(row, target)| (row.pattern, target));
    for (section, expected) in [
        ("xdp", Some(("xdp", None))),
        ("xdp/devmap", Some(("xdp/devmap", None))),
        ("xdp/other", None),
        ("xdp.frags", Some(("xdp.frags", None))),
        ("kprobe", Some(("kprobe+", None))),
        ("kprobe/do_unlinkat+0x4", Some(("kprobe+", Some("do_unlinkat+0x4")))),
        ("kprobe.multi/tcp_*", Some(("kprobe.multi+", Some("tcp_*")))),
        ("kprobes", None),
        ("fentry.s/f", Some(("fentry.s+", Some("f")))),
        ("uprobe//bin/sh:main", Some(("uprobe+", Some("/bin/sh:main")))),
        ("tp/sched/sched_switch", Some(("tp+", Some("sched/sched_switch")))),
        ("", None),
    ] {
        assert_eq!(found(section), expected, "{section}");
    }
}

#[test]
fn what_names_say() {
    for row in SECTIONS {
        let name = row.name();
        let sleeps = name.ends_with(".s") || name == "syscall";
        let fragments = name.starts_with("xdp.frags");
        assert_eq!(
            row.prog_flags(),
            (u32::from(sleeps) << 4) | (u32::from(fragments) << 5),
            "{name}"
        );
        assert_eq!(row.on_return(), name.starts_with("kret") || name.starts_with("uret"), "{name}");
        // A target can only be attached to by name.
        if row.auto_attach != AutoAttach::Nothing {
            assert!(row.pattern.ends_with('+'), "{name}");
        }
    }
}

/// `SEC_DEF(name, TYPE, ATTACH_TYPE, FLAGS, attach)` of libbpf's source.
#[test]
fn as_libbpf_has_it() {
    let Some(root) = std::env::var_os("LIBBPF") else {
        println!("skipped: LIBBPF does not name a directory with libbpf's source");
        return;
    };
    let path = std::path::Path::new(&root).join("src/libbpf.c");
    let source = std::fs::read_to_string(&path).unwrap();
    let theirs: Vec<Vec<String>> = source
        .lines()
        .filter_map(|line| line.trim().strip_prefix("SEC_DEF(\"")?.rsplit_once("),"))
        .map(|(row, _)| row.replace('"', "").split(',').map(|field| field.trim().into()).collect())
        .collect();
    assert_eq!(theirs.len(), SECTIONS.len());
    for (row, theirs) in SECTIONS.iter().zip(&theirs) {
        let flags = theirs.get(3).map_or("", String::as_str);
        let has = |flag: &str| flags.split(" | ").any(|each| each == flag);
        let name = &theirs[0];
        assert_eq!(row.pattern, name);
        assert_eq!(row.prog_type.name().to_uppercase(), theirs[1], "{name}");
        if theirs[2] == "0" {
            assert_eq!(row.attach_type, AttachType::NONE, "{name}");
        } else {
            assert_eq!(
                format!("BPF_{}", row.attach_type.name().to_uppercase()),
                theirs[2],
                "{name}"
            );
        }
        assert_eq!(row.prog_flags() & (1 << 4) != 0, has("SEC_SLEEPABLE"), "{name}");
        assert_eq!(row.prog_flags() & (1 << 5) != 0, has("SEC_XDP_FRAGS"), "{name}");
        assert_eq!(row.attaches_by_btf(), has("SEC_ATTACH_BTF"), "{name}");
        assert_eq!(row.attach_type_is_optional(), has("SEC_ATTACHABLE_OPT"), "{name}");
        let attach = match row.auto_attach {
            AutoAttach::Nothing => None,
            AutoAttach::Kprobe => Some("kprobe"),
            AutoAttach::KprobeMulti if row.attach_type == AttachType::TraceKprobeSession => {
                Some("kprobe_session")
            }
            AutoAttach::KprobeMulti => Some("kprobe_multi"),
            AutoAttach::Uprobe => Some("uprobe"),
            AutoAttach::UprobeMulti => Some("uprobe_multi"),
            AutoAttach::Ksyscall => Some("ksyscall"),
            AutoAttach::Usdt => Some("usdt"),
            AutoAttach::Tracepoint => Some("tp"),
            AutoAttach::RawTracepoint => Some("raw_tp"),
            AutoAttach::Trace => Some("trace"),
            AutoAttach::TracingMulti => Some("tracing_multi"),
            AutoAttach::Lsm => Some("lsm"),
            AutoAttach::Iter => Some("iter"),
        };
        let theirs = theirs.get(4).map(|attach| attach.trim_start_matches("attach_"));
        assert_eq!(attach, theirs, "{name}");
        assert_eq!(row.auto_attach == AutoAttach::Usdt, has("SEC_USDT"), "{name}");
    }
    assert_eq!(find_section("socket").unwrap().0.prog_type, ProgType::SocketFilter);
}

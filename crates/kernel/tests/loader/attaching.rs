//! What sections say of where programs attach.

use std::path::{Path, PathBuf};

use bombus_isa::asm;
use bombus_kernel::catalog::{Binaries, Catalog, StaticProbe, Symbol, TracepointFormat};
use bombus_kernel::{Feature, Loader, Places, Usdt};
use bombus_platform::{MapType, find_section};
use bombus_spec::{MapSpec, ObjectSpec, ProgramSpec, SpecInsn};
use expect_test::{Expect, expect};

use crate::recorder::Recorder;

/// One library, and three kernel functions.
struct Host;

impl Binaries for Host {
    fn resolve(&self, name: &str, _: Option<u32>) -> Option<PathBuf> {
        (name == "libc").then(|| "/lib/libc.so.6".into())
    }
    fn functions(&self, _: &Path) -> Result<Vec<Symbol>, String> {
        let symbol = |name: &str, offset| Symbol { name: name.into(), offset, size: 0 };
        Ok(vec![symbol("calloc", 0x90), symbol("free", 0x100), symbol("malloc", 0x80)])
    }
    fn static_probes(&self, _: &Path, _: &str, name: &str) -> Result<Vec<StaticProbe>, String> {
        let probe = |offset, arguments: &str| StaticProbe {
            offset,
            address: 0x400000 + offset,
            relocatable: false,
            semaphore: 0x1000,
            arguments: arguments.into(),
        };
        Ok(match name {
            "setjmp" => vec![probe(0x10, "8@%rdi -4@%esi"), probe(0x20, "8@%rbx -4@$1")],
            "again" => vec![probe(0x30, "8@%rdi"), probe(0x40, "8@%rsi"), probe(0x50, "8@%rdi")],
            "odd" => vec![probe(0x10, "8@%xmm0")],
            _ => vec![],
        })
    }
}

impl Catalog for Host {
    fn tracepoints(&self) -> Vec<(String, String)> {
        vec![]
    }
    fn tracepoint_format(&self, _: &str, _: &str) -> Option<TracepointFormat> {
        None
    }
    fn raw_tracepoints(&self) -> Vec<String> {
        vec![]
    }
    fn kernel_functions(&self) -> Vec<String> {
        ["tcp_close", "tcp_connect", "udp_sendmsg"].map(Into::into).into()
    }
    fn kernel_function_aliases(&self) -> Vec<(String, String)> {
        let names =
            [("ping_close", "tcp_close"), ("ping_shut", "tcp_close"), ("raw", "udp_sendmsg")];
        names.map(|(name, listed)| (name.into(), listed.into())).into()
    }
}

fn attach_on(kernel: &Recorder, section: &str, maps: Vec<MapSpec>, expected: Expect) {
    let insns = asm("r0 = 0\n exit").unwrap().into_iter().map(SpecInsn::from).collect();
    let (row, target) = find_section(section).unwrap();
    let program = ProgramSpec {
        name: "prog".into(),
        section: section.into(),
        prog_type: row.prog_type,
        attach_type: row.attach_type,
        attach_to: Some(target.unwrap_or("x").into()),
        insns,
        ..ProgramSpec::default()
    };
    let object = ObjectSpec { maps, programs: vec![program], ..ObjectSpec::default() };
    let loaded = Loader::new(&object).load(kernel).unwrap();
    kernel.calls();
    let places = Places { binaries: &Host, catalog: &Host };
    let outcome = loaded.attach(kernel, places, "prog");
    let calls = kernel.calls();
    let itself = loaded.all_programs()[0].attaches_itself();
    expected.assert_eq(&match outcome {
        Ok(_) => format!("{calls}by itself: {itself}\n"),
        Err(error) => format!("{calls}{error}\nby itself: {itself}\n"),
    });
}

fn attach(section: &str, expected: Expect) {
    attach_on(&Recorder::default(), section, vec![], expected);
}

#[test]
fn kernel_functions() {
    attach(
        "kprobe/do_unlinkat",
        expect![[r#"
        attach 10 Kprobe { symbol: "do_unlinkat", offset: 0, on_return: false } cookie 0x0 -> 11
        by itself: true
    "#]],
    );
    attach(
        "kprobe/do_unlinkat+0x10",
        expect![[r#"
        attach 10 Kprobe { symbol: "do_unlinkat", offset: 16, on_return: false } cookie 0x0 -> 11
        by itself: true
    "#]],
    );
    attach(
        "kretprobe/do_unlinkat",
        expect![[r#"
        attach 10 Kprobe { symbol: "do_unlinkat", offset: 0, on_return: true } cookie 0x0 -> 11
        by itself: true
    "#]],
    );
    attach(
        "kretprobe/do_unlinkat+4",
        expect![[r#"
        SEC("kretprobe/do_unlinkat+4") of prog: a function returns as a whole, not at an offset
        by itself: true
    "#]],
    );
    attach(
        "kprobe/do unlink",
        expect![[r#"
        SEC("kprobe/do unlink") of prog: a kprobe is function or function+offset
        by itself: true
    "#]],
    );
    attach(
        "kprobe",
        expect![[r#"
        SEC("kprobe") of prog does not say what it attaches to (name it after a slash, or attach the program by an attach point)
        by itself: false
    "#]],
    );
    attach(
        "kprobe.multi/tcp_*",
        expect![[r#"
        attach 10 KprobeMulti { symbols: ["tcp_close", "tcp_connect"], on_return: false, session: false } cookie 0x0 -> 11
        by itself: true
    "#]],
    );
    attach(
        "kretprobe.multi/one",
        expect![[r#"
        attach 10 KprobeMulti { symbols: ["one"], on_return: true, session: false } cookie 0x0 -> 11
        by itself: true
    "#]],
    );
    attach(
        "kprobe.session/?dp_*",
        expect![[r#"
        attach 10 KprobeMulti { symbols: ["udp_sendmsg"], on_return: false, session: true } cookie 0x0 -> 11
        by itself: true
    "#]],
    );
    attach(
        "kprobe.multi/none*",
        expect![[r#"
        SEC("kprobe.multi/none*") of prog: no kernel function matches
        by itself: true
    "#]],
    );
    attach(
        "kprobe.multi/ping_*",
        expect![[r#"
        attach 10 KprobeMulti { symbols: ["ping_close"], on_return: false, session: false } cookie 0x0 -> 11
        by itself: true
    "#]],
    );
    attach(
        "ksyscall/openat",
        expect![[r#"
        attach 10 Kprobe { symbol: "__x64_sys_openat", offset: 0, on_return: false } cookie 0x0 -> 11
        by itself: true
    "#]],
    );
    let kernel = Recorder { lacks: [Feature::SyscallWrapper].into(), ..Recorder::default() };
    attach_on(
        &kernel,
        "kretsyscall/openat",
        vec![],
        expect![[r#"
        attach 10 Kprobe { symbol: "__se_sys_openat", offset: 0, on_return: true } cookie 0x0 -> 11
        by itself: true
    "#]],
    );
}

#[test]
fn user_functions() {
    attach(
        "uprobe/libc:malloc+4",
        expect![[r#"
        attach 10 Uprobe { path: "/lib/libc.so.6", offset: 132, on_return: false, pid: None } cookie 0x0 -> 11
        by itself: true
    "#]],
    );
    attach(
        "uretprobe.s/libc:malloc",
        expect![[r#"
        attach 10 Uprobe { path: "/lib/libc.so.6", offset: 128, on_return: true, pid: None } cookie 0x0 -> 11
        by itself: true
    "#]],
    );
    attach(
        "uprobe/libc:0x1234",
        expect![[r#"
        attach 10 Uprobe { path: "/lib/libc.so.6", offset: 4660, on_return: false, pid: None } cookie 0x0 -> 11
        by itself: true
    "#]],
    );
    attach(
        "uprobe/libc:none",
        expect![[r#"
        SEC("uprobe/libc:none") of prog: /lib/libc.so.6 has no function none
        by itself: true
    "#]],
    );
    attach(
        "uprobe/libz:inflate",
        expect![[r#"
        SEC("uprobe/libz:inflate") of prog: there is no program or library libz
        by itself: true
    "#]],
    );
    attach(
        "uprobe.multi/libc:*alloc",
        expect![[r#"
        attach 10 UprobeMulti { path: "/lib/libc.so.6", places: [UprobePlace { offset: 128, semaphore: 0, cookie: 0 }, UprobePlace { offset: 144, semaphore: 0, cookie: 0 }], on_return: false, session: false, pid: None } cookie 0x0 -> 11
        by itself: true
    "#]],
    );
}

#[test]
fn static_probes() {
    attach(
        "usdt/libc:libc:setjmp",
        expect![[r#"
            attach 10 UprobeMulti { path: "/lib/libc.so.6", places: [UprobePlace { offset: 16, semaphore: 4096, cookie: 0 }, UprobePlace { offset: 32, semaphore: 4096, cookie: 0 }], on_return: false, session: false, pid: None } cookie 0x0 -> 11
            by itself: true
        "#]],
    );
    attach(
        "usdt/libc:libc:none",
        expect![[r#"
        SEC("usdt/libc:libc:none") of prog: /lib/libc.so.6 has no such static probe
        by itself: true
    "#]],
    );
    let specs = |max_entries| {
        vec![MapSpec {
            name: "__bpf_usdt_specs".into(),
            map_type: MapType::Array,
            key_size: 4,
            value_size: 208,
            max_entries,
            ..MapSpec::default()
        }]
    };
    attach_on(
        &Recorder::default(),
        "usdt/libc:libc:setjmp",
        specs(2),
        expect![[r#"
            map_update 10 [0, 0, 0, 0] [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 112, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 104, 0, 1, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0] Any
            map_update 10 [1, 0, 0, 0] [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 40, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0] Any
            attach 11 UprobeMulti { path: "/lib/libc.so.6", places: [UprobePlace { offset: 16, semaphore: 4096, cookie: 0 }, UprobePlace { offset: 32, semaphore: 4096, cookie: 1 }], on_return: false, session: false, pid: None } cookie 0x0 -> 12
            by itself: true
        "#]],
    );
    attach_on(
        &Recorder::default(),
        "usdt/libc:libc:setjmp",
        specs(1),
        expect![[r#"
        map_update 10 [0, 0, 0, 0] [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 112, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 104, 0, 1, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0] Any
        there is no room for more than 1 static probes (define BPF_USDT_MAX_SPEC_CNT before <bpf/usdt.bpf.h>)
        by itself: true
    "#]],
    );
    attach_on(
        &Recorder::default(),
        "usdt/libc:libc:odd",
        specs(1),
        expect![[r#"
        SEC("usdt/libc:libc:odd") of prog: argument 8@%xmm0 is of no known form
        by itself: true
    "#]],
    );
}

/// Places whose arguments are alike share a description, unless the cookie is another.
#[test]
fn descriptions_of_static_probes() {
    let map = |name: &str, sizes: [u32; 2], max_entries| MapSpec {
        name: name.into(),
        map_type: if sizes[0] == 4 { MapType::Array } else { MapType::Hash },
        key_size: sizes[0],
        value_size: sizes[1],
        max_entries,
        ..MapSpec::default()
    };
    let insns = asm("r0 = 0\n exit").unwrap().into_iter().map(SpecInsn::from).collect();
    let program = ProgramSpec {
        name: "prog".into(),
        section: "usdt".into(),
        prog_type: find_section("usdt").unwrap().0.prog_type,
        insns,
        ..ProgramSpec::default()
    };
    let object = ObjectSpec {
        programs: vec![program],
        maps: vec![
            map("__bpf_usdt_specs", [4, 304], 8),
            map("__bpf_usdt_ip_to_spec_id", [8, 4], 8),
        ],
        ..ObjectSpec::default()
    };
    let probe = Usdt { file: "libc", provider: "libc", name: "again", pid: None, cookie: 0 };
    let mut text = String::new();
    for lacks in [vec![], vec![Feature::AttachCookie]] {
        let kernel = Recorder { lacks: lacks.into_iter().collect(), ..Recorder::default() };
        let loaded = Loader::new(&object).load(&kernel).unwrap();
        kernel.calls();
        for cookie in [0, 7, 0] {
            let probe = Usdt { cookie, pid: Some(42), ..probe };
            loaded.attach_usdt(&kernel, &Host, "prog", &probe).unwrap();
        }
        for line in kernel.calls().lines() {
            // A description is long, and mostly zeros.
            let values = line.split_once("] [").filter(|(_, value)| value.len() > 300);
            match values {
                Some((key, value)) => {
                    let words: Vec<&str> = value.split(", ").collect();
                    text += &format!("{key}] [{}, cookie {}\n", words[..18].join(", "), words[288]);
                }
                None => text += &format!("{line}\n"),
            }
        }
    }
    let kernel = Recorder::default();
    let loaded = Loader::new(&object).load(&kernel).unwrap();
    for (file, name) in [("libz", "again"), ("libc", "none")] {
        let probe = Usdt { file, name, ..probe };
        let error = loaded.attach_usdt(&kernel, &Host, "prog", &probe).unwrap_err();
        text += &format!("{error}\n");
    }
    expect![[r#"
        map_update 10 [0, 0, 0, 0] [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 112, 0, 0, 0, cookie 0
        map_update 10 [1, 0, 0, 0] [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 104, 0, 0, 0, cookie 0
        attach 12 UprobeMulti { path: "/lib/libc.so.6", places: [UprobePlace { offset: 48, semaphore: 4096, cookie: 0 }, UprobePlace { offset: 64, semaphore: 4096, cookie: 1 }, UprobePlace { offset: 80, semaphore: 4096, cookie: 0 }], on_return: false, session: false, pid: Some(42) } cookie 0x0 -> 13
        map_update 10 [2, 0, 0, 0] [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 112, 0, 0, 0, cookie 7
        map_update 10 [3, 0, 0, 0] [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 104, 0, 0, 0, cookie 7
        attach 12 UprobeMulti { path: "/lib/libc.so.6", places: [UprobePlace { offset: 48, semaphore: 4096, cookie: 2 }, UprobePlace { offset: 64, semaphore: 4096, cookie: 3 }, UprobePlace { offset: 80, semaphore: 4096, cookie: 2 }], on_return: false, session: false, pid: Some(42) } cookie 0x0 -> 14
        attach 12 UprobeMulti { path: "/lib/libc.so.6", places: [UprobePlace { offset: 48, semaphore: 4096, cookie: 0 }, UprobePlace { offset: 64, semaphore: 4096, cookie: 1 }, UprobePlace { offset: 80, semaphore: 4096, cookie: 0 }], on_return: false, session: false, pid: Some(42) } cookie 0x0 -> 15
        map_update 10 [0, 0, 0, 0] [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 112, 0, 0, 0, cookie 0
        map_update 11 [48, 0, 64, 0, 0, 0, 0, 0] [0, 0, 0, 0] Any
        map_update 10 [1, 0, 0, 0] [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 104, 0, 0, 0, cookie 0
        map_update 11 [64, 0, 64, 0, 0, 0, 0, 0] [1, 0, 0, 0] Any
        map_update 11 [80, 0, 64, 0, 0, 0, 0, 0] [0, 0, 0, 0] Any
        attach 12 UprobeMulti { path: "/lib/libc.so.6", places: [UprobePlace { offset: 48, semaphore: 4096, cookie: 0 }, UprobePlace { offset: 64, semaphore: 4096, cookie: 0 }, UprobePlace { offset: 80, semaphore: 4096, cookie: 0 }], on_return: false, session: false, pid: Some(42) } cookie 0x0 -> 13
        map_update 10 [2, 0, 0, 0] [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 112, 0, 0, 0, cookie 7
        map_update 11 [48, 0, 64, 0, 0, 0, 0, 0] [2, 0, 0, 0] Any
        map_update 10 [3, 0, 0, 0] [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 104, 0, 0, 0, cookie 7
        map_update 11 [64, 0, 64, 0, 0, 0, 0, 0] [3, 0, 0, 0] Any
        map_update 11 [80, 0, 64, 0, 0, 0, 0, 0] [2, 0, 0, 0] Any
        attach 12 UprobeMulti { path: "/lib/libc.so.6", places: [UprobePlace { offset: 48, semaphore: 4096, cookie: 0 }, UprobePlace { offset: 64, semaphore: 4096, cookie: 0 }, UprobePlace { offset: 80, semaphore: 4096, cookie: 0 }], on_return: false, session: false, pid: Some(42) } cookie 0x0 -> 14
        map_update 11 [48, 0, 64, 0, 0, 0, 0, 0] [0, 0, 0, 0] Any
        map_update 11 [64, 0, 64, 0, 0, 0, 0, 0] [1, 0, 0, 0] Any
        map_update 11 [80, 0, 64, 0, 0, 0, 0, 0] [0, 0, 0, 0] Any
        attach 12 UprobeMulti { path: "/lib/libc.so.6", places: [UprobePlace { offset: 48, semaphore: 4096, cookie: 0 }, UprobePlace { offset: 64, semaphore: 4096, cookie: 0 }, UprobePlace { offset: 80, semaphore: 4096, cookie: 0 }], on_return: false, session: false, pid: Some(42) } cookie 0x0 -> 15
        static probe libz:libc:again: there is no program or library libz
        static probe libc:libc:none: /lib/libc.so.6 has no such static probe
    "#]].assert_eq(&text);
}

#[test]
fn the_rest() {
    attach(
        "tracepoint/syscalls/sys_enter_openat",
        expect![[r#"
        attach 10 Tracepoint { category: "syscalls", name: "sys_enter_openat" } cookie 0x0 -> 11
        by itself: true
    "#]],
    );
    attach(
        "tp/sched",
        expect![[r#"
        SEC("tp/sched") of prog: a tracepoint is category/name
        by itself: true
    "#]],
    );
    attach(
        "raw_tp/sys_enter",
        expect![[r#"
        attach 10 RawTracepoint { name: "sys_enter" } cookie 0x0 -> 11
        by itself: true
    "#]],
    );
    attach(
        "fentry/do_unlinkat",
        expect![[r#"
        attach 10 Loaded cookie 0x0 -> 11
        by itself: true
    "#]],
    );
    attach(
        "lsm/file_open",
        expect![[r#"
        attach 10 Loaded cookie 0x0 -> 11
        by itself: true
    "#]],
    );
    attach(
        "iter/task",
        expect![[r#"
        attach 10 Iter(All) cookie 0x0 -> 11
        by itself: true
    "#]],
    );
    attach(
        "xdp",
        expect![[r#"
        SEC("xdp") of prog does not say what it attaches to (attach it to a device, cgroup, socket or the like by an attach point)
        by itself: false
    "#]],
    );
}

//! Objects as compilers make them of C: with types, and with much that depends on the kernel.

use std::sync::Arc;

use bombus_btf::{Btf, Builder, Int, Linkage, Member, RelocationKind, TypeId};
use bombus_isa::asm;
use bombus_kernel::{
    Error, Feature, KernelVersion, Loaded, Loader, MapFd, ProgFd, Result, Target, resolve_offline,
};
use bombus_platform::{AttachType, MapType, ProgType};
use bombus_spec::{
    CoreRelocation, Extern, Function, MapRole, MapSpec, ObjectSpec, ProgramSpec, Reference, Slot,
    SourceLine, SpecInsn, Variable,
};
use expect_test::{Expect, expect};

use crate::recorder::Recorder;

fn program(name: &str, text: &str, references: &[(usize, Reference)]) -> ProgramSpec {
    let mut insns: Vec<SpecInsn> = asm(text).unwrap().into_iter().map(SpecInsn::from).collect();
    for &(slot, reference) in references {
        insns[slot].reference = Some(reference);
    }
    ProgramSpec {
        name: name.into(),
        prog_type: ProgType::RawTracepoint,
        insns,
        license: "GPL".into(),
        ..ProgramSpec::default()
    }
}

fn nothing(name: &str) -> ProgramSpec {
    program(name, "r0 = 0\n exit", &[])
}

fn map(name: &str, map_type: MapType, sizes: [u32; 3]) -> MapSpec {
    let [key_size, value_size, max_entries] = sizes;
    MapSpec { name: name.into(), map_type, key_size, value_size, max_entries, ..MapSpec::default() }
}

fn data(section: &str, read_only: bool, value: &[u8]) -> MapSpec {
    MapSpec {
        contents: vec![(vec![0; 4], value.to_vec())],
        flags: 1 << 10,
        role: MapRole::Data { section: section.into(), read_only },
        ..map(section, MapType::Array, [4, value.len() as u32, 1])
    }
}

fn check(kernel: &Recorder, outcome: Result<Loaded>, expected: Expect) {
    let calls = kernel.calls();
    expected.assert_eq(&match outcome {
        Ok(_) => calls,
        Err(error) => format!("{calls}{error}\n"),
    });
}

#[test]
fn sizes_of_maps() {
    let kernel = Recorder::default();
    let object = ObjectSpec {
        maps: vec![
            map("events", MapType::PerfEventArray, [4, 4, 0]),
            map("ring", MapType::Ringbuf, [0, 0, 5000]),
            MapSpec { key_type: 1, ..map("stacks", MapType::StackTrace, [4, 1016, 16]) },
            map("odd name*", MapType::Hash, [4, 8, 1]),
        ],
        ..ObjectSpec::default()
    };
    check(
        &kernel,
        Loader::new(&object).max_entries("odd name*", 77).load(&kernel),
        expect![[r#"
            map_create events perf_event_array 4+4 x4 -> 10
            map_create ring ringbuf 0+0 x8192 -> 11
            map_create stacks stack_trace 4+1016 x16 -> 12
            map_create odd_name_ hash 4+8 x77 -> 13
        "#]],
    );
    check(
        &kernel,
        Loader::new(&object).max_entries("none", 1).load(&kernel),
        expect![[r#"
        the object has no map none
    "#]],
    );
}

#[test]
fn global_variables() {
    let object = ObjectSpec {
        maps: vec![data(".rodata", true, &[1, 0, 0, 0, 2, 0]), data(".bss", false, &[0; 2])],
        variables: vec![
            Variable { name: "limit".into(), map: 0, offset: 4, size: 2, type_id: 0 },
            Variable { name: "hits".into(), map: 1, offset: 0, size: 2, type_id: 0 },
        ],
        ..ObjectSpec::default()
    };
    let kernel = Recorder { lacks: [Feature::MmapableArrays].into(), ..Recorder::default() };
    check(
        &kernel,
        Loader::new(&object).set("limit", &[9, 8]).load(&kernel),
        expect![[r#"
        map_create .rodata array 4+6 x1 -> 10
        map_update 10 [0, 0, 0, 0] [1, 0, 0, 0, 9, 8] Any
        map_freeze 10
        map_create .bss array 4+2 x1 -> 11
        map_update 11 [0, 0, 0, 0] [0, 0] Any
    "#]],
    );
    check(
        &kernel,
        Loader::new(&object).set("limit", &[9]).load(&kernel),
        expect![[r#"
        variable limit has 2 bytes, not 1
    "#]],
    );
    check(
        &kernel,
        Loader::new(&object).set("limits", &[9, 8]).load(&kernel),
        expect![[r#"
        there is no global variable limits (there are hits, limit)
    "#]],
    );
}

#[test]
fn maps_in_maps_and_tail_calls() {
    let inner = map("inner", MapType::Array, [4, 4, 1]);
    let object = ObjectSpec {
        maps: vec![
            MapSpec {
                inner: Some(Box::new(inner.clone())),
                slots: vec![(0, Slot::Map(1)), (3, Slot::Map(1))],
                ..map("outer", MapType::ArrayOfMaps, [4, 4, 4])
            },
            inner,
            MapSpec {
                slots: vec![(1, Slot::Program(0))],
                ..map("calls", MapType::ProgArray, [4, 4, 2])
            },
        ],
        programs: vec![nothing("callee")],
        ..ObjectSpec::default()
    };
    let kernel = Recorder::default();
    check(
        &kernel,
        Loader::new(&object).load(&kernel),
        expect![[r#"
        map_create inner array 4+4 x1 -> 10
        map_create outer array_of_maps 4+4 x4 inner 10 -> 11
        close Map(MapFd(10))
        map_create inner array 4+4 x1 -> 12
        map_create calls prog_array 4+4 x2 -> 13
        map_update 11 [0, 0, 0, 0] [12, 0, 0, 0] Any
        map_update 11 [3, 0, 0, 0] [12, 0, 0, 0] Any
        prog_load callee raw_tracepoint - btf None GPL -> 14
           0: (b7) r0 = 0
           1: (95) exit
        map_update 13 [1, 0, 0, 0] [14, 0, 0, 0] Any
    "#]],
    );
    check(
        &kernel,
        Loader::new(&object).autoload("callee", false).load(&kernel),
        expect![[r#"
        map_create inner array 4+4 x1 -> 15
        map_create outer array_of_maps 4+4 x4 inner 15 -> 16
        close Map(MapFd(15))
        map_create inner array 4+4 x1 -> 17
        map_create calls prog_array 4+4 x2 -> 18
        map_update 16 [0, 0, 0, 0] [17, 0, 0, 0] Any
        map_update 16 [3, 0, 0, 0] [17, 0, 0, 0] Any
        close Map(MapFd(16))
        close Map(MapFd(17))
        close Map(MapFd(18))
        slot 1 of map calls names a program that is not loaded (load it as well, or leave it out of the table)
    "#]],
    );
}

#[test]
fn pins() {
    let shared = MapSpec { pin_by_name: true, ..map("shared", MapType::Hash, [4, 8, 16]) };
    let object = ObjectSpec { maps: vec![shared.clone()], ..ObjectSpec::default() };
    let mut kernel = Recorder::default();
    check(
        &kernel,
        Loader::new(&object).pin_root("/bpf/app").load(&kernel),
        expect![[r#"
        map_create shared hash 4+8 x16 -> 10
        pin Map(MapFd(10)) /bpf/app/shared
    "#]],
    );
    kernel.pins.insert("/sys/fs/bpf/shared".into(), shared.clone());
    check(
        &kernel,
        Loader::new(&object).load(&kernel),
        expect![[r#"
        pinned_map /sys/fs/bpf/shared -> 11
    "#]],
    );
    let other = MapSpec { value_size: 16, flags: 1, ..shared };
    kernel.pins.insert("/sys/fs/bpf/shared".into(), other);
    check(
        &kernel,
        Loader::new(&object).load(&kernel),
        expect![[r#"
        pinned_map /sys/fs/bpf/shared -> 12
        close Map(MapFd(12))
        the map pinned at /sys/fs/bpf/shared is not like map shared: it has value size 16 and not 8, flags 1 and not 0 (use the same definition, or another place for pins)
    "#]],
    );
    check(
        &kernel,
        Loader::new(&object).reuse_map("shared", MapFd(7)).load(&kernel),
        expect![[r#"
        the map that was given is not like map shared: it has value size 16 and not 8, flags 1 and not 0 (use the same definition, or another place for pins)
    "#]],
    );
}

/// A table of places in the code of a program goes where the program goes.
#[test]
fn jump_tables() {
    let table = MapSpec { map_type: MapType::InsnArray, ..data(".jumptables", true, &[0; 16]) };
    let jumps = program("jumps", "r1 = 0x0\n r0 = 0\n exit", &[(0, Reference::Map(0))]);
    let object = ObjectSpec {
        maps: vec![table],
        programs: vec![jumps, nothing("plain")],
        ..ObjectSpec::default()
    };
    let kernel = Recorder::default();
    for wanted in ["plain", "jumps"] {
        let loader = Loader::new(&object).autoload("jumps", wanted == "jumps");
        loader.autoload("plain", wanted == "plain").load(&kernel).unwrap();
        let created = kernel.calls().contains("map_create .jumptables");
        assert_eq!(created, wanted == "jumps");
    }
}

#[test]
fn what_is_not_wanted() {
    let uses = |map| program("uses", "r1 = 0x0\n r0 = 0\n exit", &[(0, Reference::Map(map))]);
    let object = ObjectSpec {
        maps: vec![map("a", MapType::Array, [4, 4, 1]), map("b", MapType::Array, [4, 4, 1])],
        programs: vec![uses(1), ProgramSpec { autoload: false, ..nothing("optional") }],
        ..ObjectSpec::default()
    };
    let mut kernel = Recorder::default();
    let log = "0: (85) call unknown#2001000001\ninvalid func unknown#2001000001\n".to_owned();
    let refusal = Error::Rejected { program: "uses".into(), errno: 22, log };
    kernel.refusals.insert("uses", refusal);
    check(
        &kernel,
        Loader::new(&object).autocreate("b", false).load(&kernel),
        expect![[r#"
        map_create a array 4+4 x1 -> 10
        prog_load uses raw_tracepoint - btf None GPL -> 11
           0: (85) call unknown#2001000001
           1: (85) call unknown#2001000001
           2: (b7) r0 = 0
           3: (95) exit
        close Map(MapFd(10))
        program uses uses map b, which is not created (create it, or do not load the program)
    "#]],
    );
    kernel.refusals.clear();
    check(
        &kernel,
        Loader::new(&object).autoload("optional", true).load(&kernel),
        expect![[r#"
        map_create a array 4+4 x1 -> 12
        map_create b array 4+4 x1 -> 13
        prog_load uses raw_tracepoint - btf None GPL -> 14
           0: (18) r1 = map[fd:13]
           2: (b7) r0 = 0
           3: (95) exit
        prog_load optional raw_tracepoint - btf None GPL -> 15
           0: (b7) r0 = 0
           1: (95) exit
    "#]],
    );
    check(
        &kernel,
        Loader::new(&object).autoload("other", true).load(&kernel),
        expect![[r#"
        the object has no program other
    "#]],
    );
}

#[test]
fn configuration() {
    let mut types = Builder::new();
    let int = types.int("unsigned int", 4, false).0;
    let bool = types.encoded_int("_Bool", 1, Int::BOOL).0;
    let tristate = types.enumeration("libbpf_tristate", 4, false, &[("TRI_NO", 0)]).0;
    let char = types.int("char", 1, true);
    let text = types.array(char, TypeId(int), 8).0;
    let kconfig = |name: &str, type_id, offset, size, weak| Extern::Kconfig {
        name: name.into(),
        type_id,
        map: 0,
        offset,
        size,
        weak,
    };
    let externs = vec![
        kconfig("LINUX_KERNEL_VERSION", int, 0, 4, false),
        kconfig("CONFIG_HZ", int, 4, 4, false),
        kconfig("CONFIG_MODULES", tristate, 8, 4, false),
        kconfig("LINUX_HAS_BPF_COOKIE", bool, 12, 1, false),
        kconfig("CONFIG_LSM", text, 13, 8, false),
        kconfig("CONFIG_NONE", int, 24, 4, true),
    ];
    let map = MapSpec { role: MapRole::Kconfig, ..map(".kconfig", MapType::Array, [4, 28, 1]) };
    let reads =
        program("reads", "r1 = 0x0\n r0 = *(u32 *)(r1 +0)\n exit", &[(0, Reference::Extern(1))]);
    let mut object = ObjectSpec {
        maps: vec![map],
        programs: vec![reads],
        externs,
        btf: Some(types.finish().into()),
        ..ObjectSpec::default()
    };
    let mut kernel = Recorder::default();
    for (name, value) in
        [("CONFIG_HZ", "250"), ("CONFIG_MODULES", "m"), ("CONFIG_LSM", "\"landlock\"")]
    {
        kernel.config.insert(name.into(), value.into());
    }
    check(
        &kernel,
        Loader::new(&object).load(&kernel),
        expect![[r#"
        btf_load -> 10
          [1] INT 'unsigned int' 4
          [2] INT '_Bool' 1
          [3] ENUM 'libbpf_tristate' 0
          [4] INT 'char' 1
          [5] ARRAY '' 0
        map_create .kconfig array 4+28 x1 -> 11
        map_update 11 [0, 0, 0, 0] [3, 12, 6, 0, 250, 0, 0, 0, 2, 0, 0, 0, 1, 108, 97, 110, 100, 108, 111, 99, 0, 0, 0, 0, 0, 0, 0, 0] Any
        map_freeze 11
        prog_load reads raw_tracepoint - btf None GPL -> 12
           0: (18) r1 = map[fd:11][0]+4
           2: (61) r0 = *(u32 *)(r1 +0)
           3: (95) exit
    "#]],
    );
    check(
        &kernel,
        Loader::new(&object).kconfig("CONFIG_HZ=0x3e8").load(&kernel),
        expect![[r#"
        btf_load -> 13
          [1] INT 'unsigned int' 4
          [2] INT '_Bool' 1
          [3] ENUM 'libbpf_tristate' 0
          [4] INT 'char' 1
          [5] ARRAY '' 0
        map_create .kconfig array 4+28 x1 -> 14
        map_update 14 [0, 0, 0, 0] [3, 12, 6, 0, 232, 3, 0, 0, 2, 0, 0, 0, 1, 108, 97, 110, 100, 108, 111, 99, 0, 0, 0, 0, 0, 0, 0, 0] Any
        map_freeze 14
        prog_load reads raw_tracepoint - btf None GPL -> 15
           0: (18) r1 = map[fd:14][0]+4
           2: (61) r0 = *(u32 *)(r1 +0)
           3: (95) exit
    "#]],
    );
    check(
        &kernel,
        Loader::new(&object).kconfig("CONFIG_HZ=y").load(&kernel),
        expect![[r#"
        __kconfig variable CONFIG_HZ: its value y wants a bool, a char or an enum libbpf_tristate
    "#]],
    );
    object.externs.push(kconfig("CONFIG_GONE", int, 24, 4, false));
    check(
        &kernel,
        Loader::new(&object).load(&kernel),
        expect![[r#"
        Linux 6.12 does not say what CONFIG_GONE is (declare the variable __weak to get 0 instead)
    "#]],
    );
}

/// Types of a kernel: a variable, functions, a structure, a structure of callbacks.
fn kernel_types() -> Builder {
    let mut types = Builder::new();
    let int = types.int("int", 4, true);
    let long = types.int("long unsigned int", 8, false);
    types.var("runqueues", long, Linkage::Global);
    let proto = types.func_proto(int, &[("pid", int)]);
    types.func("bpf_wanted", proto, Linkage::Static);
    let member = |name, ty, bit_offset| Member { name, ty, bit_offset, ..Member::default() };
    let members = [member("flags", int, 32), member("vm_start", long, 128)];
    types.structure("thing", 64, &members);
    let callback = types.ptr(proto);
    let ops = types.structure(
        "tcp_ops",
        24,
        &[member("init", callback, 0), member("key", int, 64), member("release", callback, 128)],
    );
    let members = [member("common", long, 0), member("data", ops, 512)];
    types.structure("bpf_struct_ops_tcp_ops", 88, &members);
    types
}

fn kernel() -> Recorder {
    let base = kernel_types().finish();
    let mut module = Builder::split(Arc::new(Btf::parse(base.clone()).unwrap()));
    let int = module.int("int", 4, true);
    let proto = module.func_proto(int, &[("pid", int)]);
    module.func("bpf_of_module", proto, Linkage::Static);
    Recorder {
        types: Some(base),
        modules: vec![("testmod", module.finish())],
        symbols: [("jiffies", 0xffff_8000_1234_5678)].into(),
        ..Recorder::default()
    }
}

#[test]
fn kernel_symbols() {
    let mut types = Builder::new();
    let int = types.int("int", 4, true);
    let long = types.int("u64", 8, false).0;
    let proto = types.func_proto(int, &[("p", int)]).0;
    let other = types.func_proto(int, &[]).0;
    let ksym = |name: &str, type_id, weak| Extern::Ksym { name: name.into(), type_id, weak };
    let kfunc = |name: &str, type_id, weak| Extern::Kfunc { name: name.into(), type_id, weak };
    let externs = vec![
        ksym("jiffies", 0, false),
        ksym("runqueues", long, false),
        ksym("nowhere", 0, true),
        kfunc("bpf_wanted___v2", proto, false),
        kfunc("bpf_of_module", proto, false),
        kfunc("bpf_future", proto, true),
        kfunc("bpf_future", proto, false),
        kfunc("bpf_wanted", other, false),
        ksym("elsewhere", long, false),
    ];
    let text = "
        r1 = 0x0
        r2 = 0x0
        r3 = 0x0
        call a
     a: call b
     b: call c
     c: exit
    ";
    let references = [(0, 0), (2, 1), (4, 2), (6, 3), (7, 4), (8, 5)];
    let references: Vec<_> =
        references.iter().map(|&(slot, index)| (slot, Reference::Extern(index))).collect();
    let mut object = ObjectSpec {
        programs: vec![program("takes", text, &references)],
        externs,
        btf: Some(types.finish().into()),
        ..ObjectSpec::default()
    };
    let kernel = kernel();
    check(
        &kernel,
        Loader::new(&object).load(&kernel),
        expect![[r#"
        btf_load -> 10
          [1] INT 'int' 4
          [2] INT 'u64' 8
          [3] FUNC_PROTO '' 1
          [4] FUNC_PROTO '' 1
        prog_load takes raw_tracepoint - btf None GPL modules [900] -> 11
           0: (18) r1 = 0xffff800012345678
           2: (18) r2 = btf[id:3]
           4: (18) r3 = 0x0
           6: (85) call kernel-function#5
           7: (85) call kernel-function#12[btf:1]
           8: (85) call unknown#2002000005
           9: (95) exit
    "#]],
    );
    // Only those who refer to what is not there have to do without.
    for (index, expected) in [
        (
            6,
            expect![[r#"
        program calls: Linux 6.12 has no function bpf_future in its types (declare it __weak and ask bpf_ksym_exists() first)
    "#]],
        ),
        (
            7,
            expect![[r#"
        program calls: function bpf_wanted has another type in Linux 6.12 than in this object
    "#]],
        ),
    ] {
        object.programs =
            vec![program("calls", "call a\n a: exit", &[(0, Reference::Extern(index))])];
        check(&kernel, Loader::new(&object).load(&kernel), expected);
    }
    object.programs = vec![program("loads", "r1 = 0x0\n exit", &[(0, Reference::Extern(8))])];
    check(
        &kernel,
        Loader::new(&object).load(&kernel),
        expect![[r#"
        program loads: Linux 6.12 has no variable elsewhere in its types (declare it __weak and ask bpf_ksym_exists() first)
    "#]],
    );
}

fn with_relocations() -> ObjectSpec {
    let mut types = Builder::new();
    let int = types.int("int", 4, true);
    let long = types.int("long", 8, false);
    let member = |name, ty, bit_offset| Member { name, ty, bit_offset, ..Member::default() };
    let members = [member("vm_start", long, 0), member("flags", int, 64), member("gone", int, 96)];
    let thing = types.structure("thing___local", 16, &members).0;
    let text = "
        r2 = *(u64 *)(r1 +0)
        r3 = *(u32 *)(r1 +8)
        r4 = *(u32 *)(r1 +12)
        r0 = 1
        exit
    ";
    let relocation = |slot, access: &str, kind| CoreRelocation {
        slot,
        kind,
        type_id: thing,
        access: access.into(),
    };
    let mut reads = program("reads", text, &[]);
    reads.core_relocations = vec![
        relocation(0, "0:0", RelocationKind::FieldByteOffset),
        relocation(1, "0:1", RelocationKind::FieldByteOffset),
        relocation(2, "0:2", RelocationKind::FieldByteOffset),
        relocation(3, "0:2", RelocationKind::FieldExists),
    ];
    reads.insns[2].line = Some(0);
    reads.lines = vec![SourceLine {
        file: "reads.bpf.c".into(),
        line: 12,
        column: 5,
        text: "    x = BPF_CORE_READ(thing, gone);".into(),
    }];
    reads.functions = vec![Function { name: "reads".into(), start: 0, args: 1, type_id: 0 }];
    ObjectSpec { programs: vec![reads], btf: Some(types.finish().into()), ..ObjectSpec::default() }
}

#[test]
fn relocations() {
    let object = with_relocations();
    let mut kernel = kernel();
    check(
        &kernel,
        Loader::new(&object).load(&kernel),
        expect![[r#"
        btf_load -> 10
          [1] INT 'int' 4
          [2] INT 'long' 8
          [3] STRUCT 'thing___local' 0
        prog_load reads raw_tracepoint - btf None GPL -> 11
           0: (79) r2 = *(u64 *)(r1 +16)
           1: (61) r3 = *(u32 *)(r1 +4)
           2: (85) call unknown#195896080
           3: (b7) r0 = 0
           4: (95) exit
    "#]],
    );
    // What is missing matters when the verifier comes to it.
    let log = "2: (85) call unknown#195896080\ninvalid func unknown#195896080\n".to_owned();
    let refusal = Error::Rejected { program: "reads".into(), errno: 22, log };
    kernel.refusals.insert("reads", refusal);
    check(
        &kernel,
        Loader::new(&object).load(&kernel),
        expect![[r#"
        btf_load -> 12
          [1] INT 'int' 4
          [2] INT 'long' 8
          [3] STRUCT 'thing___local' 0
        prog_load reads raw_tracepoint - btf None GPL -> 13
           0: (79) r2 = *(u64 *)(r1 +16)
           1: (61) r3 = *(u32 *)(r1 +4)
           2: (85) call unknown#195896080
           3: (b7) r0 = 0
           4: (95) exit
        program reads needs field `gone` of `struct thing___local`, which Linux 6.12 does not have (reads.bpf.c:12: x = BPF_CORE_READ(thing, gone);)
    "#]],
    );
    kernel.types = None;
    check(
        &kernel,
        Loader::new(&object).load(&kernel),
        expect![[r#"
        Linux 6.12 does not describe its types (it was built without CONFIG_DEBUG_INFO_BTF, or is no Linux; types can be given from a file (bombus run --btf))
    "#]],
    );
    let types = Arc::new(Btf::parse(kernel_types().finish()).unwrap());
    kernel.refusals.clear();
    check(
        &kernel,
        Loader::new(&object).kernel_btf(types).load(&kernel),
        expect![[r#"
        btf_load -> 14
          [1] INT 'int' 4
          [2] INT 'long' 8
          [3] STRUCT 'thing___local' 0
        prog_load reads raw_tracepoint - btf None GPL -> 15
           0: (79) r2 = *(u64 *)(r1 +16)
           1: (61) r3 = *(u32 *)(r1 +4)
           2: (85) call unknown#195896080
           3: (b7) r0 = 0
           4: (95) exit
    "#]],
    );
}

#[test]
fn offline() {
    let mut object = with_relocations();
    object.maps = vec![map("a", MapType::Array, [4, 4, 1]), map("b", MapType::Array, [4, 4, 1])];
    object.programs.push(program("uses", "r1 = 0x0\n exit", &[(0, Reference::Map(1))]));
    let types = Arc::new(Btf::parse(kernel_types().finish()).unwrap());
    let target = Target::offline(KernelVersion { major: 6, minor: 1, patch: 0 }, types);
    let mut text = String::new();
    for (name, code) in resolve_offline(&object, &target).unwrap() {
        text += &format!("{name}:\n{}", bombus_isa::disasm(&code.unwrap(), &()));
    }
    expect![[r#"
        reads:
           0: (79) r2 = *(u64 *)(r1 +16)
           1: (61) r3 = *(u32 *)(r1 +4)
           2: (85) call unknown#195896080
           3: (b7) r0 = 0
           4: (95) exit
        uses:
           0: (18) r1 = map[idx:1]
           2: (95) exit
    "#]]
    .assert_eq(&text);
}

#[test]
fn structures_of_callbacks() {
    let mut types = Builder::new();
    let int = types.int("int", 4, true);
    let proto = types.func_proto(int, &[("pid", int)]);
    let callback = types.ptr(proto);
    let member = |name, ty, bit_offset| Member { name, ty, bit_offset, ..Member::default() };
    let members = [
        member("release", callback, 0),
        member("newer", callback, 64),
        member("init", callback, 128),
        member("key", int, 192),
    ];
    let ops = types.structure("tcp_ops___local", 32, &members).0;
    let callback = |name| ProgramSpec {
        prog_type: ProgType::StructOps,
        section: format!("struct_ops/{name}"),
        ..nothing(name)
    };
    let mut value = vec![0; 32];
    value[24] = 7;
    let object = |functions: &[(u32, u32)], value: Vec<u8>| ObjectSpec {
        maps: vec![MapSpec {
            contents: vec![(vec![0; 4], value)],
            role: MapRole::StructOps { type_id: ops, link: true, functions: functions.to_vec() },
            ..map("my_ops", MapType::StructOps, [4, 32, 1])
        }],
        programs: vec![callback("release"), callback("init"), callback("newer")],
        btf: Some(types.finish().into()),
        ..ObjectSpec::default()
    };
    let kernel = kernel();
    let good = object(&[(0, 0), (16, 1), (8, 2)], value.clone());
    let loaded = Loader::new(&good).load(&kernel).unwrap();
    expect![[r#"
        btf_load -> 10
          [1] INT 'int' 4
          [2] FUNC_PROTO '' 1
          [3] PTR '' 2
          [4] STRUCT 'tcp_ops___local' 0
        map_create my_ops struct_ops 4+88 x1 flags 0x2000 kernel type 9 of None -> 11
        prog_load release struct_ops 8.2 of None btf None GPL -> 12
           0: (b7) r0 = 0
           1: (95) exit
        prog_load init struct_ops 8.0 of None btf None GPL -> 13
           0: (b7) r0 = 0
           1: (95) exit
    "#]]
    .assert_eq(&kernel.calls());
    loaded.attach_structure(&kernel, "my_ops").unwrap();
    expect![[r#"
        map_update 11 [0, 0, 0, 0] [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 13, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0] Any
        attach 0 StructOps { map: MapFd(11) } cookie 0x0 -> 14
    "#]].assert_eq(&kernel.calls());
    // A program that is in no structure, one that is two members, a member that the kernel lacks.
    let unused = object(&[(0, 0)], value.clone());
    check(
        &kernel,
        Loader::new(&unused).autoload("init", true).load(&kernel),
        expect![[r#"
        btf_load -> 15
          [1] INT 'int' 4
          [2] FUNC_PROTO '' 1
          [3] PTR '' 2
          [4] STRUCT 'tcp_ops___local' 0
        map_create my_ops struct_ops 4+88 x1 flags 0x2000 kernel type 9 of None -> 16
        prog_load release struct_ops 8.2 of None btf None GPL -> 17
           0: (b7) r0 = 0
           1: (95) exit
        close Program(ProgFd(17))
        close Map(MapFd(16))
        program init is in no structure of callbacks of the object (name it in a SEC(".struct_ops") variable)
    "#]],
    );
    let twice = object(&[(0, 0), (16, 0)], value.clone());
    check(
        &kernel,
        Loader::new(&twice).load(&kernel),
        expect![[r#"
        program release cannot be two different members of structures of callbacks
    "#]],
    );
    value[8] = 1;
    check(
        &kernel,
        Loader::new(&object(&[], value)).load(&kernel),
        expect![[r#"
        structure my_ops: Linux 6.12 has no member newer of struct tcp_ops
    "#]],
    );
}

#[test]
fn what_programs_attach_to() {
    let by_btf = |prog_type, attach_type, attach_to: Option<&str>| ProgramSpec {
        prog_type,
        attach_type,
        attach_to: attach_to.map(Into::into),
        section: "fentry".into(),
        ..nothing("prog")
    };
    let object = |program| ObjectSpec { programs: vec![program], ..ObjectSpec::default() };
    let kernel = Recorder::default();
    let named = object(by_btf(ProgType::Tracing, AttachType::TraceFentry, Some("do_unlinkat")));
    check(
        &kernel,
        Loader::new(&named).load(&kernel),
        expect![[r#"
        prog_load prog tracing do_unlinkat btf None GPL -> 10
           0: (b7) r0 = 0
           1: (95) exit
    "#]],
    );
    let later = object(by_btf(ProgType::Tracing, AttachType::TraceFentry, None));
    check(
        &kernel,
        Loader::new(&later).load(&kernel),
        expect![[r#"
        section fentry of program prog does not say what it attaches to (name it after a slash, or by target_function())
    "#]],
    );
    check(
        &kernel,
        Loader::new(&later).target_function("prog", "x").load(&kernel),
        expect![[r#"
        prog_load prog tracing x btf None GPL -> 11
           0: (b7) r0 = 0
           1: (95) exit
    "#]],
    );
    let replaces = object(by_btf(ProgType::Ext, AttachType::NONE, Some("old")));
    check(
        &kernel,
        Loader::new(&replaces).load(&kernel),
        expect![[r#"
        program prog replaces a function of another program (say of which one: target_program())
    "#]],
    );
    let loader = Loader::new(&replaces).target_program("prog", ProgFd(7), "old");
    check(
        &kernel,
        loader.load(&kernel),
        expect![[r#"
        prog_load prog ext 7:old btf None GPL -> 12
           0: (b7) r0 = 0
           1: (95) exit
    "#]],
    );
}

#[test]
fn nothing_is_left_behind() {
    let object = ObjectSpec {
        maps: vec![map("a", MapType::Array, [4, 4, 1])],
        programs: vec![nothing("good"), nothing("bad")],
        ..ObjectSpec::default()
    };
    let mut kernel = Recorder::default();
    let refusal = Error::Rejected { program: "bad".into(), errno: 13, log: "R0 !read_ok".into() };
    kernel.refusals.insert("bad", refusal);
    check(
        &kernel,
        Loader::new(&object).load(&kernel),
        expect![[r#"
        map_create a array 4+4 x1 -> 10
        prog_load good raw_tracepoint - btf None GPL -> 11
           0: (b7) r0 = 0
           1: (95) exit
        prog_load bad raw_tracepoint - btf None GPL -> 12
           0: (b7) r0 = 0
           1: (95) exit
        close Program(ProgFd(11))
        close Map(MapFd(10))
        the verifier refused program bad: Permission denied (os error 13)
    "#]],
    );
}

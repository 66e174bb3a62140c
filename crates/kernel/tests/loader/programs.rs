//! What becomes of programs that a kernel does not take as they are.

use bombus_btf::{Builder, Linkage, SectionVar, TypeId};
use bombus_isa::asm;
use bombus_kernel::{Feature, Loader};
use bombus_platform::ProgType;
use bombus_spec::{Function, ObjectSpec, ProgramSpec, SourceLine, SpecInsn};
use expect_test::expect;

use crate::recorder::Recorder;

fn program(name: &str, prog_type: ProgType, text: &str) -> ProgramSpec {
    let insns = asm(text).unwrap().into_iter().map(SpecInsn::from).collect();
    ProgramSpec {
        name: name.into(),
        prog_type,
        insns,
        license: "GPL".into(),
        ..ProgramSpec::default()
    }
}

/// They are refused before anything is made, unless nobody wants them.
#[test]
fn sections_that_say_nothing() {
    let mut text = String::new();
    for section in ["xpd", "kprob/do_unlinkat", "cgroup/bind5", "tracepoints/a/b", "my_section"] {
        let program = ProgramSpec {
            section: section.into(),
            ..program("prog", ProgType::Unspecified, "exit")
        };
        let object = ObjectSpec { programs: vec![program], ..ObjectSpec::default() };
        let kernel = Recorder::default();
        let error = Loader::new(&object).load(&kernel).unwrap_err();
        text += &format!("{}{error}\n", kernel.calls());
        Loader::new(&object).autoload("prog", false).load(&kernel).unwrap();
        assert_eq!(kernel.calls(), "");
    }
    expect![[r#"
        section xpd of prog does not say what kind of program this is (did you mean SEC("xdp")?)
        section kprob/do_unlinkat of prog does not say what kind of program this is (did you mean SEC("kprobe/do_unlinkat")?)
        section cgroup/bind5 of prog does not say what kind of program this is (did you mean SEC("cgroup/bind4")?)
        section tracepoints/a/b of prog does not say what kind of program this is (did you mean SEC("tracepoint/a/b")?)
        section my_section of prog does not say what kind of program this is (name it for example SEC("xdp") or SEC("kprobe/do_unlinkat"), or say the type)
    "#]].assert_eq(&text);
}

/// Kinds of types that a kernel does not know are replaced, and types keep their numbers.
#[test]
fn types_that_a_kernel_does_not_know() {
    let mut types = Builder::new();
    let int = types.int("int", 4, true);
    let var = types.var("v", int, Linkage::Global);
    types.datasec("?.data", 4, &[SectionVar { ty: var, offset: 0, size: 4 }]);
    types.float("double", 8);
    let object = ObjectSpec { btf: Some(types.finish().into()), ..ObjectSpec::default() };
    let load = |lacks: &[Feature]| {
        let lacks = lacks.iter().copied().collect();
        let kernel = Recorder { lacks, ..Recorder::default() };
        Loader::new(&object).load(&kernel).unwrap();
        kernel.calls()
    };
    expect![[r#"
        btf_load -> 10
          [1] INT 'int' 4
          [2] VAR 'v' 0
          [3] DATASEC '?.data' 0
          [4] FLOAT 'double' 0
    "#]]
    .assert_eq(&load(&[]));
    expect![[r#"
        btf_load -> 10
          [1] INT 'int' 4
          [2] VAR 'v' 0
          [3] DATASEC '_.data' 0
          [4] FLOAT 'double' 0
    "#]]
    .assert_eq(&load(&[Feature::BtfQuestionMark]));
    expect![[r#"
        btf_load -> 10
          [1] INT 'int' 4
          [2] INT 'v' 1
          [3] STRUCT '__data' 0
          [4] STRUCT '' 0
    "#]]
    .assert_eq(&load(&[Feature::BtfDatasec, Feature::BtfFloat]));
    assert_eq!(load(&[Feature::Btf]), "");
}

/// Before Linux 6.8 the verifier knows a context by its type's name alone.
#[test]
fn arguments_that_are_the_context() {
    let mut types = Builder::new();
    let int = types.int("int", 4, true);
    let anything = types.ptr(TypeId::VOID);
    let int_pointer = types.ptr(int);
    let entry = types.func_proto(int, &[("ctx", anything)]);
    let entry = types.func("prog", entry, Linkage::Global);
    let proto = types.func_proto(int, &[("first", int), ("ctx", anything), ("wrong", int_pointer)]);
    let global = types.func("global", proto, Linkage::Global);
    let hidden = types.func("hidden", proto, Linkage::Static);
    for function in [global, hidden] {
        types.decl_tag("arg:ctx", function, Some(1));
        types.decl_tag("arg:ctx", function, Some(2));
        types.decl_tag("arg:ctx", function, Some(9));
        types.decl_tag("arg:nonnull", function, Some(0));
    }
    let line = SourceLine { file: "a.c".into(), line: 7, column: 1, text: "int a;".into() };
    let of_type = |name: &str, prog_type| {
        let mut program = program(name, prog_type, "exit\n exit\n exit");
        program.insns.iter_mut().for_each(|insn| insn.line = Some(0));
        program.lines = vec![line.clone()];
        program.functions = [("prog", entry), ("global", global), ("hidden", hidden)]
            .into_iter()
            .zip(0..)
            .map(|((name, id), start)| Function {
                name: name.into(),
                start,
                args: 3,
                type_id: id.0,
            })
            .collect();
        program
    };
    let types_of_programs = [
        ("packets", ProgType::Xdp),
        ("more_packets", ProgType::Xdp),
        ("probe", ProgType::Kprobe),
        ("no_name_for_it", ProgType::Syscall),
    ];
    let object = ObjectSpec {
        programs: types_of_programs.map(|(name, prog_type)| of_type(name, prog_type)).into(),
        btf: Some(types.finish().into()),
        ..ObjectSpec::default()
    };
    let load = |lacks: &[Feature]| {
        let lacks = lacks.iter().copied().collect();
        let kernel = Recorder { lacks, ..Recorder::default() };
        Loader::new(&object).load(&kernel).unwrap();
        let calls = kernel.calls();
        let told = |line: &&str| !line.starts_with("  line") && !line.ends_with("exit");
        calls.lines().filter(told).map(|line| format!("{line}\n")).collect::<String>()
    };
    expect![[r#"
        btf_load -> 10
          [1] INT 'int' 4
          [2] PTR '' 0
          [3] PTR '' 1
          [4] FUNC_PROTO '' 1
          [5] FUNC 'prog' 4
          [6] FUNC_PROTO '' 1
          [7] FUNC 'global' 6
          [8] FUNC 'hidden' 6
          [9] DECL_TAG 'arg:ctx' 0
          [10] DECL_TAG 'arg:ctx' 0
          [11] DECL_TAG 'arg:ctx' 0
          [12] DECL_TAG 'arg:nonnull' 0
          [13] DECL_TAG 'arg:ctx' 0
          [14] DECL_TAG 'arg:ctx' 0
          [15] DECL_TAG 'arg:ctx' 0
          [16] DECL_TAG 'arg:nonnull' 0
        prog_load packets xdp - btf Some(10) GPL -> 11
          func: slot 0 type 5
          func: slot 1 type 7
          func: slot 2 type 8
        prog_load more_packets xdp - btf Some(10) GPL -> 12
          func: slot 0 type 5
          func: slot 1 type 7
          func: slot 2 type 8
        prog_load probe kprobe - btf Some(10) GPL -> 13
          func: slot 0 type 5
          func: slot 1 type 7
          func: slot 2 type 8
        prog_load no_name_for_it syscall - btf Some(10) GPL -> 14
          func: slot 0 type 5
          func: slot 1 type 7
          func: slot 2 type 8
    "#]]
    .assert_eq(&load(&[]));
    expect![[r#"
        btf_load -> 10
          [1] INT 'int' 4
          [2] PTR '' 0
          [3] PTR '' 1
          [4] FUNC_PROTO '' 1
          [5] FUNC 'prog' 4
          [6] FUNC_PROTO '' 1
          [7] FUNC 'global' 6
          [8] FUNC 'hidden' 6
          [9] DECL_TAG 'arg:ctx' 0
          [10] DECL_TAG 'arg:ctx' 0
          [11] DECL_TAG 'arg:ctx' 0
          [12] DECL_TAG 'arg:nonnull' 0
          [13] DECL_TAG 'arg:ctx' 0
          [14] DECL_TAG 'arg:ctx' 0
          [15] DECL_TAG 'arg:ctx' 0
          [16] DECL_TAG 'arg:nonnull' 0
          [17] STRUCT 'xdp_md' 0
          [18] PTR '' 17
          [19] FUNC_PROTO '' 1
          [20] FUNC 'global' 19
          [21] DECL_TAG 'arg:ctx' 0
          [22] STRUCT 'bpf_user_pt_regs_t' 0
          [23] PTR '' 22
          [24] FUNC_PROTO '' 1
          [25] FUNC 'global' 24
          [26] DECL_TAG 'arg:ctx' 0
        prog_load packets xdp - btf Some(10) GPL -> 11
          func: slot 0 type 5
          func: slot 1 type 20
          func: slot 2 type 8
        prog_load more_packets xdp - btf Some(10) GPL -> 12
          func: slot 0 type 5
          func: slot 1 type 20
          func: slot 2 type 8
        prog_load probe kprobe - btf Some(10) GPL -> 13
          func: slot 0 type 5
          func: slot 1 type 25
          func: slot 2 type 8
        prog_load no_name_for_it syscall - btf Some(10) GPL -> 14
          func: slot 0 type 5
          func: slot 1 type 7
          func: slot 2 type 8
    "#]]
    .assert_eq(&load(&[Feature::ArgCtxTag]));
}

/// Where there is no helper that says which memory it reads, the one that reads any does.
#[test]
fn helpers_that_a_kernel_does_not_have() {
    let calls = "call 112\n call 113\n call 114\n call 115\n call 14\n exit";
    let object = ObjectSpec {
        programs: vec![program("prog", ProgType::Kprobe, calls)],
        ..ObjectSpec::default()
    };
    for (lacks, expected) in [
        (
            vec![],
            expect![[r#"
            prog_load prog kprobe - btf None GPL -> 10
               0: (85) call unknown#112
               1: (85) call unknown#113
               2: (85) call unknown#114
               3: (85) call unknown#115
               4: (85) call unknown#14
               5: (95) exit
        "#]],
        ),
        (
            vec![Feature::ProbeReadKernel],
            expect![[r#"
            prog_load prog kprobe - btf None GPL -> 10
               0: (85) call unknown#4
               1: (85) call unknown#4
               2: (85) call unknown#45
               3: (85) call unknown#45
               4: (85) call unknown#14
               5: (95) exit
        "#]],
        ),
    ] {
        let kernel = Recorder { lacks: lacks.into_iter().collect(), ..Recorder::default() };
        Loader::new(&object).load(&kernel).unwrap();
        expected.assert_eq(&kernel.calls());
    }
}

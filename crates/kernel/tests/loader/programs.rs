//! What becomes of programs that a kernel does not take as they are.

use bombus_btf::{Builder, Linkage, SectionVar};
use bombus_isa::asm;
use bombus_kernel::{Feature, Loader};
use bombus_platform::ProgType;
use bombus_spec::{ObjectSpec, ProgramSpec, SpecInsn};
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

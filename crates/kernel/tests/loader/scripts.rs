//! Objects as scripts make them: without types of their own.

use bombus_isa::Insn;
use bombus_kernel::load;
use bombus_platform::{AttachType, MapType, ProgType};
use bombus_spec::{Function, MapSpec, ObjectSpec, ProgramSpec, Reference, SourceLine, SpecInsn};
use expect_test::{Expect, expect};

use crate::recorder::Recorder;

fn map(name: &str, contents: &[(&[u8], &[u8])]) -> MapSpec {
    MapSpec {
        name: name.into(),
        map_type: MapType::Array,
        key_size: 4,
        value_size: 8,
        max_entries: 1,
        flags: 0,
        contents: contents.iter().map(|&(key, value)| (key.into(), value.into())).collect(),
        ..MapSpec::default()
    }
}

/// The text with the lines and the references of the slots named.
fn program(text: &str, lines: &[(usize, u32)], references: &[(usize, Reference)]) -> ProgramSpec {
    let code = bombus_isa::asm(text).unwrap();
    let mut insns: Vec<SpecInsn> = code.into_iter().map(SpecInsn::from).collect();
    for &(slot, line) in lines {
        insns[slot].line = Some(line);
    }
    for &(slot, reference) in references {
        insns[slot].reference = Some(reference);
    }
    ProgramSpec {
        name: "prog".into(),
        prog_type: ProgType::Tracepoint,
        attach_type: AttachType::NONE,
        attach_to: None,
        insns,
        functions: vec![Function { name: "prog".into(), start: 0, args: 1, type_id: 0 }],
        lines: (1..=3)
            .map(|line| SourceLine {
                file: "script.bt".into(),
                line,
                column: 5,
                text: format!("text of line {line}").into(),
            })
            .collect(),
        license: "GPL".into(),
        ..ProgramSpec::default()
    }
}

fn check(kernel: &Recorder, object: &ObjectSpec, expected: Expect) {
    let outcome = load(kernel, object);
    let calls = kernel.calls();
    expected.assert_eq(&match outcome {
        Ok(loaded) => format!("{calls}{:?} {:?}\n", loaded.maps, loaded.programs),
        Err(error) => format!("{calls}{error}\n"),
    });
}

#[test]
fn maps_and_their_contents() {
    let object = ObjectSpec {
        maps: vec![map("config", &[(&[0, 0, 0, 0], &[1, 2, 3, 4, 5, 6, 7, 8])]), map("data", &[])],
        programs: vec![program(
            "r1 = 0x0\n r2 = 0x0\n r0 = 0\n exit",
            &[],
            &[(0, Reference::Map(1)), (2, Reference::MapValue { map: 0, offset: 4 })],
        )],
        ..ObjectSpec::default()
    };
    check(
        &Recorder::default(),
        &object,
        expect![[r#"
            map_create config array 4+8 x1 -> 10
            map_update 10 [0, 0, 0, 0] [1, 2, 3, 4, 5, 6, 7, 8] Any
            map_create data array 4+8 x1 -> 11
            prog_load prog tracepoint - btf None GPL -> 12
               0: (18) r1 = map[fd:11]
               2: (18) r2 = map[fd:10][0]+4
               4: (b7) r0 = 0
               5: (95) exit
            [Some(MapFd(10)), Some(MapFd(11))] [Some(ProgFd(12))]
        "#]],
    );
}

/// A program of three functions: lines repeat, are missing at the start of functions, and one is
/// on the second slot of an instruction.
fn with_functions() -> ProgramSpec {
    let mut program = program(
        "
                r2 = subprog[one]
                call two
                r0 = 0
                exit
        one:    r0 = 1
                exit
        two:    r0 = 2
                exit
        ",
        &[(1, 2), (2, 0), (3, 0), (4, 1), (6, 1), (7, 2)],
        &[(0, Reference::Function(1))],
    );
    program.insns[0].insn = Insn::ld_imm64(bombus_isa::Reg::R2, 0, 0)[0];
    program.functions.extend([
        Function { name: "one".into(), start: 5, args: 4, type_id: 0 },
        Function { name: "two".into(), start: 7, args: 0, type_id: 0 },
    ]);
    program
}

#[test]
fn functions_and_lines() {
    let mut second = program("r0 = 0\n exit", &[], &[]);
    second.name = "without_lines".into();
    let object = ObjectSpec {
        maps: vec![],
        programs: vec![with_functions(), second],
        ..ObjectSpec::default()
    };
    let expected = expect![[r#"
        btf_load -> 10
          [1] INT 'int' 4
          [2] PTR '' 0
          [3] FUNC_PROTO '' 1
          [4] FUNC 'prog' 3
          [5] INT 'long' 8
          [6] FUNC_PROTO '' 5
          [7] FUNC 'one' 6
          [8] FUNC_PROTO '' 5
          [9] FUNC 'two' 8
        prog_load prog tracepoint - btf Some(10) GPL -> 11
          func: slot 0 type 4
          func: slot 5 type 7
          func: slot 7 type 9
          line: slot 0 at 3:5
          line: slot 2 at 1:5
          line: slot 4 at 2:5
          line: slot 5 at 2:5
          line: slot 7 at 3:5
           0: (18) r2 = subprog[+4]
           2: (85) call pc+4
           3: (b7) r0 = 0
           4: (95) exit
           5: (b7) r0 = 1
           6: (95) exit
           7: (b7) r0 = 2
           8: (95) exit
        prog_load without_lines tracepoint - btf None GPL -> 12
           0: (b7) r0 = 0
           1: (95) exit
        [] [Some(ProgFd(11)), Some(ProgFd(12))]
    "#]];
    check(&Recorder::default(), &object, expected);
}

#[test]
fn a_kernel_that_refuses_btf() {
    let kernel = Recorder { refuses_btf: true, ..Recorder::default() };
    let object = ObjectSpec {
        maps: vec![],
        programs: vec![program("r0 = 0\n exit", &[(0, 0)], &[])],
        ..ObjectSpec::default()
    };
    check(
        &kernel,
        &object,
        expect![[r#"
            btf_load -> EINVAL
            prog_load prog tracepoint - btf None GPL -> 10
               0: (b7) r0 = 0
               1: (95) exit
            [] [Some(ProgFd(10))]
        "#]],
    );
}

#[test]
fn dangling_references() {
    let object = |slot, reference| ObjectSpec {
        maps: vec![],
        programs: vec![program("r1 = 0x0\n r0 = 0\n exit", &[], &[(slot, reference)])],
        ..ObjectSpec::default()
    };
    check(
        &Recorder::default(),
        &object(0, Reference::Map(0)),
        expect![[r#"
            could not load program prog: Invalid argument (os error 22) (slot 0 cannot refer to map 0)
        "#]],
    );
    check(
        &Recorder::default(),
        &object(0, Reference::Function(7)),
        expect![[r#"
            could not load program prog: Invalid argument (os error 22) (slot 0 cannot refer to function 7)
        "#]],
    );
    check(
        &Recorder::default(),
        &object(3, Reference::Function(0)),
        expect![[r#"
            could not load program prog: Invalid argument (os error 22) (slot 3 cannot refer to function 0)
        "#]],
    );
}

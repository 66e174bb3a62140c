//! What the loader asks of a kernel, call by call.

use bombus_btf::{Btf, Type, TypeId};
use std::cell::RefCell;
use std::fmt::Write;

use bombus_isa::{Insn, disasm};
use bombus_kernel::{
    AttachPoint, BtfFd, Error, Features, Kernel, LinkFd, MapFd, ProgFd, ProgLoad, Result,
    UpdateFlag, load,
};
use bombus_platform::{AttachType, MapType, ProgType};
use bombus_spec::{Function, MapSpec, ObjectSpec, ProgramSpec, Reference, SourceLine, SpecInsn};
use expect_test::{Expect, expect};

/// Writes down every call. Handles count up from 10.
#[derive(Default)]
struct Recorder {
    calls: RefCell<String>,
    handles: RefCell<u32>,
    refuses_btf: bool,
}

impl Recorder {
    fn handle(&self) -> u32 {
        let mut handles = self.handles.borrow_mut();
        *handles += 1;
        *handles + 9
    }

    fn write(&self, call: String) {
        writeln!(self.calls.borrow_mut(), "{call}").unwrap();
    }
}

fn unused<T>() -> Result<T> {
    Err(Error::os("call what the loader does not need", 38))
}

impl Kernel for Recorder {
    fn features(&self) -> &Features {
        unreachable!("the loader does the same on every kernel")
    }
    fn map_create(&self, spec: &MapSpec) -> Result<MapFd> {
        let map = MapFd(self.handle());
        self.write(format!("map_create {} -> {}", spec.name, map.0));
        Ok(map)
    }
    fn map_lookup(&self, _: MapFd, _: &[u8]) -> Result<Option<Vec<u8>>> {
        unused()
    }
    fn map_update(&self, map: MapFd, key: &[u8], value: &[u8], flag: UpdateFlag) -> Result<()> {
        self.write(format!("map_update {} {key:?} {value:?} {flag:?}", map.0));
        Ok(())
    }
    fn map_delete(&self, _: MapFd, _: &[u8]) -> Result<bool> {
        unused()
    }
    fn map_next_key(&self, _: MapFd, _: Option<&[u8]>) -> Result<Option<Vec<u8>>> {
        unused()
    }
    fn ringbuf_consume(&self, _: MapFd, _: &mut dyn FnMut(&[u8])) -> Result<usize> {
        unused()
    }
    fn btf_load(&self, btf: &[u8]) -> Result<BtfFd> {
        if self.refuses_btf {
            self.write("btf_load -> EINVAL".into());
            return Err(Error::os("load BTF", 22));
        }
        let handle = BtfFd(self.handle());
        self.write(format!("btf_load -> {}", handle.0));
        for (id, ty) in Btf::parse(btf.to_vec()).unwrap().types() {
            let size_or_type = match ty {
                Type::Int(int) => int.size,
                Type::Ptr(TypeId(to)) => to,
                Type::FuncProto { ret, .. } => ret.0,
                Type::Func { proto, .. } => proto.0,
                other => panic!("the loader has no use for {other:?}"),
            };
            self.write(format!("  {id} {} '{}' {size_or_type}", ty.kind().name(), ty.name()));
        }
        Ok(handle)
    }
    fn prog_load(&self, program: &ProgLoad<'_>) -> Result<ProgFd> {
        let handle = ProgFd(self.handle());
        self.write(format!(
            "prog_load {} {} {} btf {:?} {} -> {}",
            program.name,
            program.prog_type.name(),
            match program.attach_to {
                bombus_kernel::AttachTo::Kernel(symbol) => symbol,
                _ => "-",
            },
            program.btf.map(|btf| btf.0),
            program.license,
            handle.0
        ));
        for func in words(program.func_info).chunks(2) {
            self.write(format!("  func: slot {} type {}", func[0], func[1]));
        }
        for line in words(program.line_info).chunks(4) {
            self.write(format!("  line: slot {} at {}:{}", line[0], line[3] >> 10, line[3] & 1023));
        }
        self.write(disasm(program.insns, &()).trim_end().into());
        Ok(handle)
    }
    fn prog_test_run(&self, _: ProgFd, _: &[u8]) -> Result<u32> {
        unused()
    }
    fn attach(&self, _: ProgFd, _: &AttachPoint, _: u64) -> Result<LinkFd> {
        unused()
    }
    fn detach_all(&self) {}
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks(4).map(|word| u32::from_le_bytes(word.try_into().unwrap())).collect()
}

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
    let calls = kernel.calls.take();
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
            map_create config -> 10
            map_update 10 [0, 0, 0, 0] [1, 2, 3, 4, 5, 6, 7, 8] Any
            map_create data -> 11
            prog_load prog tracepoint - btf None GPL -> 12
               0: (18) r1 = map[fd:11]
               2: (18) r2 = map[fd:10][0]+4
               4: (b7) r0 = 0
               5: (95) exit
            [MapFd(10), MapFd(11)] [ProgFd(12)]
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
        [] [ProgFd(11), ProgFd(12)]
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
            [] [ProgFd(10)]
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

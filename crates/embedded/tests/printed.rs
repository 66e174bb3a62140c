//! What programs print: the text on the embedded kernel, and as many bytes as on Linux.

use bombus_embedded::{Embedded, Options};
use bombus_isa::{Insn, Reg, Size};
use bombus_kernel::{Kernel, ProgLoad};
use bombus_linux::Linux;
use bombus_platform::{Helper, ProgType};

/// Format, three arguments, text.
const CASES: &[(&str, [i64; 3], &str)] = &[
    ("plain", [0; 3], "plain"),
    ("%d %u %x", [-5, -1, 255], "-5 4294967295 ff"),
    ("%ld %lu %llx", [-5, -1, 255], "-5 18446744073709551615 ff"),
    ("[%5d] [%-5d] [%05d]", [42, 42, -42], "[   42] [42   ] [-0042]"),
    ("%+d % d %i", [7, 7, 7], "+7  7 7"),
    ("%08x %X", [255, 255, 0], "000000ff FF"),
    ("100%% %c", ['x' as i64, 0, 0], "100% x"),
    ("%px", [0x1234, 0, 0], "0000000000001234"),
    ("a line\n", [0; 3], "a line"),
];

/// Refused when it is run, or (on Linux) when it is loaded.
const REFUSED: &[&str] = &["%f", "%#x", "%lllx", "%d %d %d %d", "%", "%lc"];

/// A program that prints, and gives what the helper gave.
fn program(format: &str, arguments: [i64; 3]) -> Vec<Insn> {
    let mut bytes = format.as_bytes().to_vec();
    bytes.push(0);
    let len = bytes.len() as i32;
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let start = -(bytes.len() as i16);
    let mut code = Vec::new();
    for (index, word) in bytes.as_chunks::<8>().0.iter().enumerate() {
        code.extend(Insn::ld_imm64(Reg::R1, 0, u64::from_le_bytes(*word)));
        code.push(Insn::store(Size::Dw, Reg::FP, start + index as i16 * 8, Reg::R1));
    }
    code.push(Insn::mov(Reg::R1, Reg::FP));
    code.push(Insn::alu64_imm(bombus_isa::opcode::alu::ADD, Reg::R1, start.into()));
    code.push(Insn::mov_imm(Reg::R2, len));
    for (register, argument) in (3..).zip(arguments) {
        code.extend(Insn::ld_imm64(Reg(register), 0, argument as u64));
    }
    code.extend([Insn::call_helper(Helper::TracePrintk.id()), Insn::exit()]);
    code
}

fn run(kernel: &dyn Kernel, insns: &[Insn]) -> bombus_kernel::Result<i32> {
    let prog_type = ProgType::RawTracepoint;
    let load = ProgLoad { name: "prints", prog_type, insns, license: "GPL", ..ProgLoad::default() };
    let program = kernel.prog_load(&load)?;
    kernel.prog_test_run(program, &[]).map(|value| value as i32)
}

#[test]
fn lines() {
    let embedded = Embedded::new(Options { cpus: Some(2), ..Options::default() });
    let linux = bombus_linux::can_load_programs().and_then(|()| Linux::new());
    if let Err(error) = &linux {
        println!("printing on linux skipped: {error}");
    }
    for (format, arguments, text) in CASES {
        let code = program(format, *arguments);
        let len = run(&embedded, &code).unwrap();
        let (lines, lost) = embedded.take_printed();
        let [line] = &lines[..] else { panic!("{format}: {lines:?}") };
        assert_eq!((line.text.as_str(), lost), (*text, 0), "{format}");
        assert_eq!(len as usize, text.len() + usize::from(format.ends_with('\n')), "{format}");
        if let Ok(linux) = &linux {
            assert_eq!(run(linux, &code).unwrap(), len, "{format}");
        }
    }
    for format in REFUSED {
        let code = program(format, [1, 2, 3]);
        assert_eq!(run(&embedded, &code).unwrap(), -libc::EINVAL, "{format}");
        if let Ok(linux) = &linux {
            assert!(run(linux, &code).is_ok_and(|value| value == -libc::EINVAL), "{format}");
        }
    }
    assert_eq!(embedded.take_printed(), (Vec::new(), 0));
}

/// Lines that nobody takes do not fill the memory: they are counted.
#[test]
fn too_many_lines() {
    let embedded = Embedded::new(Options { cpus: Some(2), ..Options::default() });
    let code = program("x", [0; 3]);
    let load = ProgLoad {
        name: "prints",
        prog_type: ProgType::RawTracepoint,
        insns: &code,
        license: "GPL",
        ..ProgLoad::default()
    };
    let program = embedded.prog_load(&load).unwrap();
    for _ in 0..5000 {
        embedded.prog_test_run(program, &[]).unwrap();
    }
    let (lines, lost) = embedded.take_printed();
    assert_eq!(lines.len() as u64 + lost, 5000);
    assert!(lost > 0);
}

//! Machine code as text: what each tier makes of a program, at an address that is always the same.
//! `BLESS=1` writes the files anew.

use std::path::{Path, PathBuf};

use bombus_isa::asm;
use bombus_vm::Program;
use bombus_vm::jit::Target;
use bombus_vm::jit::x64::X64;
use bombus_vm::native::{Callee, Environment, Linker, Lookup};
use iced_x86::{Decoder, DecoderOptions, Formatter, NasmFormatter};
use libtest_mimic::{Arguments, Failed, Trial};

const MODERN: X64 = X64 { bmi2: true, movbe: true, blinding: None, optimise: false };

/// Where the code stands.
const ADDRESS: u64 = 0x1000;

/// Helpers that are called through a register, being far away; one map, an array.
struct Far;

unsafe extern "C" fn far(_: u64, _: u64, _: u64, _: u64, _: u64, _: &mut Environment) -> u64 {
    0
}

impl Linker for Far {
    fn helper(&self, id: i32) -> Option<Callee> {
        Some(if id == 12 { Callee::TailCall(far) } else { Callee::Helper(far) })
    }

    fn lookup(&self, map: u64) -> Option<Lookup> {
        (map == 0x77).then_some(Lookup::Array { base: 0x1_2345_0000, stride: 24, len: 10 })
    }
}

fn listing(program: &Program, target: X64) -> Result<String, Failed> {
    let code = target.emit(program, &Far, ADDRESS)?.bytes;
    let mut decoder = Decoder::with_ip(64, &code, ADDRESS, DecoderOptions::NONE);
    let mut formatter = NasmFormatter::new();
    let options = formatter.options_mut();
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_uppercase_hex(false);
    options.set_branch_leading_zeros(false);
    options.set_space_after_operand_separator(true);
    options.set_rip_relative_addresses(false);
    let mut text = String::new();
    for instruction in &mut decoder {
        let mut line = String::new();
        formatter.format(&instruction, &mut line);
        // Where the helper is changes from build to build.
        let line = line.replace(&format!("0x{:x}", far as *const () as usize), "HELPER");
        text += &format!("{:3x} {line}\n", instruction.ip() - ADDRESS);
    }
    Ok(text)
}

/// The file as it must be: for each case its name, the program, and both listings.
fn expected(text: &str) -> Result<String, Failed> {
    let mut result = String::new();
    for (number, block) in text.split("=== ").enumerate() {
        if number == 0 {
            result += block;
            continue;
        }
        let source = block.split("--- ").next().unwrap_or_default().trim_end();
        let (_, code) = source.split_once('\n').ok_or("a case has a name and a program")?;
        let program = Program::new(&asm(code)?, 0, &mut |_| None)?;
        let plain = listing(&program, MODERN)?;
        let optimised = listing(&program, X64 { optimise: true, ..MODERN })?;
        result += &format!("=== {source}\n--- template\n{plain}--- optimised\n{optimised}\n");
    }
    Ok(result)
}

fn check(path: &PathBuf) -> Result<(), Failed> {
    let text = std::fs::read_to_string(path)?;
    let expected = expected(&text)?;
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, expected)?;
    } else if text != expected {
        return Err(format!("the code is another now:\n{expected}").into());
    }
    Ok(())
}

fn main() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/code");
    let mut trials = Vec::new();
    for entry in std::fs::read_dir(directory).expect("the directory of programs") {
        let path = entry.expect("an entry").path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        trials.push(Trial::test(name, move || check(&path)));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

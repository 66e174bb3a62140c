//! Programs with what they must give. See `cases/README.md` for the form of the files.

use std::fmt::Write as _;
use std::path::Path;
use std::rc::Rc;

use bombus_isa::asm;
use bombus_vm::{Call, Context, Execution, Host, Program, Return, Stack, TrapKind, address};
use libtest_mimic::{Arguments, Failed, Trial};

/// Memory of the host that programs can read, at `r1 + r0` of `call 3`; writable from 8 on.
const REGION: u32 = address::FIRST_HOST_REGION;

/// One case of a file.
struct Case {
    name: String,
    /// Hexadecimal bytes of the context, and whether the program may write it.
    context: Option<(Vec<u8>, bool)>,
    fuel: Option<u64>,
    /// The program, and those that it may tail-call.
    programs: Vec<String>,
    expected: String,
}

fn parse(text: &str) -> Vec<Case> {
    let blocks = text.split("\n=== ").skip(1);
    blocks.map(|block| parse_case(block).expect("a case as cases/README.md has it")).collect()
}

fn parse_case(block: &str) -> Option<Case> {
    let (input, expected) = block.split_once("\n=> ")?;
    let (name, code) = input.split_once('\n').unwrap_or((input, ""));
    let (mut context, mut fuel, mut programs) = (None, None, vec![String::new()]);
    for line in code.lines() {
        let bytes = |digits: &str| -> Option<Vec<u8>> {
            digits.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).ok()).collect()
        };
        if let Some(digits) = line.strip_prefix("context ") {
            context = Some((bytes(digits)?, false));
        } else if let Some(digits) = line.strip_prefix("writable context ") {
            context = Some((bytes(digits)?, true));
        } else if let Some(number) = line.strip_prefix("fuel ") {
            fuel = Some(number.parse().ok()?);
        } else if line == "--- next program" {
            programs.push(String::new());
        } else {
            writeln!(programs.last_mut()?, "{line}").ok()?;
        }
    }
    let expected = expected.trim_end().to_owned();
    Some(Case { name: name.trim().to_owned(), context, fuel, programs, expected })
}

struct TestHost {
    programs: Vec<Rc<Program>>,
    memory: [u8; 16],
}

impl Host for TestHost {
    fn call(&mut self, vm: &mut Execution<'_>, call: &Call<'_>) -> Result<Return, TrapKind> {
        let [a, b, c, d, e] = call.args;
        Ok(Return::Value(match call.helper {
            // Digits of the arguments.
            1 => [a, b, c, d, e].iter().fold(0, |sum, arg| sum * 10 + arg),
            // Calls the function r1 with r2 and r3.
            2 => vm.callback(call.program, a, &[b, c], self)?,
            3 => address::pack(REGION, 0),
            // Goes on as program r1.
            4 => match self.programs.get(a as usize) {
                Some(next) if vm.take_tail_call() => return Ok(Return::TailCall(next.clone())),
                _ => 0,
            },
            // Adds 1 to r2 bytes at r1.
            5 => {
                vm.write(self, a, b as usize)?.iter_mut().for_each(|byte| *byte += 1);
                0
            }
            other => return Err(TrapKind::UnknownHelper(other)),
        }))
    }

    fn memory(&mut self, address: u64, len: usize) -> Option<&[u8]> {
        let at = address::offset(address) as usize;
        let known = address::region(address) == REGION;
        known.then(|| self.memory.get(at..at.checked_add(len)?)).flatten()
    }

    fn memory_mut(&mut self, address: u64, len: usize) -> Option<&mut [u8]> {
        let at = address::offset(address) as usize;
        let known = address::region(address) == REGION && at >= 8;
        known.then(|| self.memory.get_mut(at..at.checked_add(len)?)).flatten()
    }
}

fn run(case: &Case) -> Result<String, Failed> {
    let mut programs = Vec::new();
    for text in &case.programs {
        match Program::new(&asm(text)?, programs.len() as u32, &mut |_| None) {
            Ok(program) => programs.push(program),
            Err(invalid) => return Ok(format!("invalid: {invalid}")),
        }
    }
    let program = programs[0].clone();
    let mut host = TestHost { programs, memory: *b"0123456789abcdef" };
    let (mut bytes, writable) = case.context.clone().unwrap_or_default();
    let context = if writable { Context::Writable(&mut bytes) } else { Context::ReadOnly(&bytes) };
    let mut stack = Stack::default();
    let mut execution = Execution::new(&mut stack, context);
    if let Some(fuel) = case.fuel {
        execution = execution.with_fuel(fuel);
    }
    let mut result = match execution.run(&program, &mut host) {
        Ok(value) => format!("{value:#x}"),
        Err(trap) => format!("trap in program {}, {trap}", trap.program),
    };
    if writable {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        write!(result, "\n   context {}", hex.join(" "))?;
    }
    Ok(result)
}

fn check(case: &Case) -> Result<(), Failed> {
    let result = run(case)?;
    if result == case.expected {
        return Ok(());
    }
    Err(format!("expected: {}\n     got: {result}", case.expected).into())
}

fn main() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut trials = Vec::new();
    for entry in std::fs::read_dir(directory).expect("the directory of cases") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let topic = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("a file of cases");
        for case in parse(&text) {
            let name = format!("{topic}::{}", case.name);
            trials.push(Trial::test(name, move || check(&case)));
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

//! The checked interpreter, and guarded machine code in its place.

use std::rc::Rc;

use bombus_isa::{Size, asm};
use bombus_vm::{
    Call, Context, Execution, Guests, Host, Program, Return, Stack, TrapKind, View, address,
};
use libtest_mimic::Failed;

use crate::case::Case;

/// Memory of the host that programs can read, at `r1 + r0` of `call 3`; writable from 8 on.
const REGION: u32 = address::FIRST_HOST_REGION;

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
            // Goes on as program r3.
            4 => match self.programs.get(c as usize) {
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

    /// The packet is the context.
    fn load_packet(
        &mut self,
        vm: &Execution<'_>,
        context: u64,
        offset: i32,
        size: Size,
    ) -> Result<Option<u32>, TrapKind> {
        let address = context.wrapping_add(offset as u64);
        let bytes = vm.read(self, address, size.bytes()).ok();
        Ok(bytes.map(|bytes| bytes.iter().fold(0, |sum, &byte| sum << 8 | u32::from(byte))))
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

    fn show<'a>(&'a mut self, recent: u64, view: &mut View<'_, 'a>) {
        if address::region(recent) == REGION {
            view.recent(address::pack(REGION, 0), Context::ReadOnly(&self.memory));
        }
    }
}

/// What guarded code is made for.
const GUESTS: Guests<'_> = Guests {
    args: 2,
    field: &|_, _| false,
    lookup: &|_, _| None,
    may_tail_call: &|helper| helper == 4,
    proven: None,
};

pub(crate) fn run(case: &Case) -> Result<String, Failed> {
    run_on(case, &|_| ())
}

/// The same in machine code, where there is some.
pub(crate) fn guarded(case: &Case) -> Result<String, Failed> {
    run_on(case, &|program| {
        program.compile(&GUESTS);
    })
}

fn run_on(case: &Case, prepare: &dyn Fn(&Program)) -> Result<String, Failed> {
    let mut programs = Vec::new();
    for text in &case.programs {
        match Program::new(&asm(text)?, programs.len() as u32, &mut |_| None) {
            Ok(program) => programs.push(program),
            Err(invalid) => return Ok(format!("invalid: {invalid}")),
        }
    }
    programs.iter().for_each(|program| prepare(program));
    let program = programs[0].clone();
    let mut host = TestHost { programs, memory: *b"0123456789abcdef" };
    let (mut bytes, writable) = case.context.clone().unwrap_or_default();
    let context = if writable { Context::Writable(&mut bytes) } else { Context::ReadOnly(&bytes) };
    let mut stack = Stack::default();
    let mut execution = Execution::new(&mut stack, context);
    if let Some(fuel) = case.fuel {
        execution = execution.with_fuel(fuel);
    }
    let result = match execution.run(&program, &mut host) {
        Ok(value) => format!("{value:#x}"),
        Err(trap) => format!("trap in program {}, {trap}", trap.program),
    };
    Ok(case.show(result, &bytes))
}

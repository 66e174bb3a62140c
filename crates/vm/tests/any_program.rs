//! No program, whatever its bytes, may make the interpreter panic, hang, or write what it must not.

mod support;

use bombus_isa::{Insn, Reg};
use bombus_vm::{Call, Context, Execution, Host, Program, Return, Stack, TrapKind, address};
use proptest::prelude::*;

use support::{push, slot};

/// Memory that programs may read and write, with guards on both sides.
struct Guarded {
    memory: [u8; 48],
}

const GUARD: u8 = 0xa5;

impl Host for Guarded {
    fn call(&mut self, vm: &mut Execution<'_>, call: &Call<'_>) -> Result<Return, TrapKind> {
        let [a, b, c, ..] = call.args;
        match call.helper {
            0..=3 => Ok(Return::Value(address::pack(address::FIRST_HOST_REGION, 16))),
            4 => vm.callback(call.program, a, &[b, c], self).map(Return::Value),
            5 => vm.write(self, a, b as usize).map(|bytes| Return::Value(bytes.len() as u64)),
            6 => vm.read(self, a, b as usize).map(|bytes| Return::Value(bytes.len() as u64)),
            7 if vm.take_tail_call() => Ok(Return::TailCall(call.program.clone())),
            _ => Ok(Return::Value(0)),
        }
    }

    fn memory(&mut self, address: u64, len: usize) -> Option<&[u8]> {
        self.memory_mut(address, len).map(|bytes| &*bytes)
    }

    fn memory_mut(&mut self, address: u64, len: usize) -> Option<&mut [u8]> {
        let at = usize::try_from(address::offset(address)).ok()?;
        let inside = at >= 16 && at.checked_add(len)? <= 32;
        let known = address::region(address) == address::FIRST_HOST_REGION && inside;
        known.then(|| &mut self.memory[at..at + len])
    }
}

fn start() -> Vec<Insn> {
    let mut code: Vec<Insn> =
        [0, 2, 3, 4, 5].map(|number| Insn::mov_imm(Reg(number), number.into())).into();
    code.push(Insn::mov(Reg(6), Reg(1)));
    code.push(Insn::mov(Reg(7), Reg::FP));
    code.push(Insn::call_helper(0));
    code.push(Insn::mov(Reg(8), Reg(0)));
    code
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn stays_in_its_bounds(slots in prop::collection::vec(slot(), 1..40)) {
        let mut code = start();
        push(&mut code, slots);
        code.push(Insn::exit());
        if let Ok(program) = Program::new(&code, 0, &mut |_| Some(8)) {
            let mut host = Guarded { memory: [GUARD; 48] };
            let context = [7; 16];
            let mut stack = Stack::default();
            let mut run = Execution::new(&mut stack, Context::ReadOnly(&context)).with_fuel(20_000);
            let _ = run.run(&program, &mut host);
            prop_assert_eq!(&host.memory[..16], &[GUARD; 16]);
            prop_assert_eq!(&host.memory[32..], &[GUARD; 16]);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_run(bytes in prop::collection::vec(any::<[u8; 8]>(), 0..30)) {
        let code: Vec<Insn> = bytes.into_iter().map(Insn::from_bytes).collect();
        if let Ok(program) = Program::new(&code, 0, &mut |_| None) {
            let mut host = Guarded { memory: [0; 48] };
            let mut stack = Stack::default();
            let mut run = Execution::new(&mut stack, Context::ReadOnly(&[])).with_fuel(1000);
            let _ = run.run(&program, &mut host);
        }
    }
}

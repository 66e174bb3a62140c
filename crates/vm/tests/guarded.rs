//! Guarded machine code against the checked interpreter, over programs that nobody has proved: the
//! same value or the same trap, the same memory, the same calls.
#![cfg(target_arch = "x86_64")]

mod support;

use std::rc::Rc;

use bombus_isa::{Insn, Reg};
use bombus_vm::{
    Call, Context, Execution, Guests, Host, Program, Return, Stack, Trap, TrapKind, View, address,
};
use proptest::prelude::*;

use support::{push, slot};

const REGION: u32 = address::FIRST_HOST_REGION;
const OTHER: u32 = address::FIRST_HOST_REGION + 1;

/// Memory that programs may read and write, with guards on both sides; some that they only read.
#[derive(Clone, PartialEq, Debug)]
struct World {
    memory: [u8; 64],
    constants: [u8; 24],
    calls: Vec<(i32, [u64; 5])>,
}

impl World {
    fn new() -> World {
        let memory = std::array::from_fn(|at| at as u8);
        World { memory, constants: [9; 24], calls: Vec::new() }
    }
}

impl Host for World {
    fn call(&mut self, vm: &mut Execution<'_>, call: &Call<'_>) -> Result<Return, TrapKind> {
        self.calls.push((call.helper, call.args));
        let [a, b, c, ..] = call.args;
        match call.helper {
            0..=2 => Ok(Return::Value(address::pack(REGION, 16))),
            3 => Ok(Return::Value(address::pack(OTHER, 0))),
            4 => vm.callback(call.program, a, &[b, c], self).map(Return::Value),
            5 => vm.write(self, a, (b & 31) as usize).map(|bytes| {
                bytes.fill(0x77);
                Return::Value(bytes.len() as u64)
            }),
            6 => vm.read(self, a, b as usize).map(|bytes| Return::Value(bytes.len() as u64)),
            7 if vm.take_tail_call() => Ok(Return::TailCall(call.program.clone())),
            8 => Err(TrapKind::UnknownHelper(8)),
            _ => Ok(Return::Value(0)),
        }
    }

    fn memory(&mut self, address: u64, len: usize) -> Option<&[u8]> {
        let at = usize::try_from(address::offset(address)).ok()?;
        let end = at.checked_add(len)?;
        match address::region(address) {
            REGION if at >= 16 => self.memory[..48].get(at..end),
            OTHER => self.constants.get(at..end),
            _ => None,
        }
    }

    fn memory_mut(&mut self, address: u64, len: usize) -> Option<&mut [u8]> {
        let at = usize::try_from(address::offset(address)).ok()?;
        let end = at.checked_add(len)?;
        let known = address::region(address) == REGION && at >= 16;
        if known { self.memory[..48].get_mut(at..end) } else { None }
    }

    fn show<'a>(&'a mut self, recent: u64, view: &mut View<'_, 'a>) {
        if address::region(recent) == OTHER {
            view.recent(address::pack(OTHER, 0), Context::ReadOnly(&self.constants));
        }
        let memory = &mut self.memory[16..48];
        view.subject(address::pack(REGION, 16), Context::Writable(memory));
    }
}

/// What a run leaves.
type Outcome = (Result<u64, Trap>, World, [u8; 16]);

fn run(program: &Rc<Program>, fuel: u64) -> Outcome {
    let mut world = World::new();
    let mut context = [7; 16];
    let mut stack = Stack::default();
    let value = Execution::new(&mut stack, Context::Writable(&mut context))
        .with_fuel(fuel)
        .run(program, &mut world);
    (value, world, context)
}

const GUESTS: Guests<'_> =
    Guests { args: 2, field: &|_, _| false, may_tail_call: &|helper| helper == 7 };

/// Runs it on both; whether there was machine code.
fn compare(code: &[Insn]) -> Result<bool, TestCaseError> {
    let load = || Program::new(code, 0, &mut |_| Some(8));
    let (Ok(checked), Ok(guarded)) = (load(), load()) else { return Ok(false) };
    let compiled = guarded.compile(&GUESTS);
    prop_assert_eq!(run(&guarded, 5000), run(&checked, 5000));
    Ok(compiled)
}

/// Every register holds something to begin with: numbers, addresses of all kinds.
fn start() -> Vec<Insn> {
    let mut code = vec![Insn::mov(Reg(6), Reg(1)), Insn::mov(Reg(7), Reg::FP)];
    code.push(Insn::call_helper(0));
    code.push(Insn::mov(Reg(8), Reg(0)));
    code.push(Insn::call_helper(3));
    code.push(Insn::mov(Reg(9), Reg(0)));
    code.extend([1, 2, 3, 4, 5].map(|number| Insn::mov_imm(Reg(number), number.into())));
    code
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn random_instructions(slots in prop::collection::vec(slot(), 1..40)) {
        let mut code = start();
        push(&mut code, slots);
        code.push(Insn::exit());
        compare(&code)?;
    }

    #[test]
    fn random_functions(
        first in prop::collection::vec(slot(), 1..12),
        second in prop::collection::vec(slot(), 1..12),
    ) {
        let mut code = start();
        push(&mut code, first);
        code.extend([2, 3, 4].map(|number| Insn::mov_imm(Reg(number), number.into())));
        code.push(Insn::mov(Reg(1), Reg(8)));
        // A call of what comes after `exit`.
        code.push(Insn { code: 0x85, dst: Reg(0), src: Reg(1), off: 0, imm: 1 });
        code.push(Insn::exit());
        push(&mut code, second);
        code.push(Insn::exit());
        compare(&code)?;
    }

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<[u8; 8]>(), 0..30)) {
        let code: Vec<Insn> = bytes.into_iter().map(Insn::from_bytes).collect();
        compare(&code)?;
    }
}

/// The generator must not only make what is left to the interpreter.
#[test]
fn most_random_programs_are_compiled() {
    use proptest::strategy::ValueTree;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = prop::collection::vec(slot(), 1..40);
    let (mut valid, mut compiled) = (0, 0);
    for _ in 0..2000 {
        let mut code = start();
        push(&mut code, strategy.new_tree(&mut runner).expect("slots").current());
        code.push(Insn::exit());
        if let Ok(program) = Program::new(&code, 0, &mut |_| Some(8)) {
            valid += 1;
            compiled += u32::from(program.compile(&GUESTS));
        }
    }
    assert!(compiled * 10 > valid * 6, "of {valid} programs {compiled} are compiled");
}

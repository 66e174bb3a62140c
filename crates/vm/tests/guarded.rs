//! Guarded machine code against the checked interpreter, over programs that nobody has proved: the
//! same value or the same trap, the same memory, the same calls.
#![cfg(target_arch = "x86_64")]

mod support;

use std::rc::Rc;

use bombus_isa::{Insn, Reg, Size};
use bombus_vm::{
    Call, Context, Execution, Guests, Host, Lookup, Program, Return, Series, Stack, Tables, Trap,
    TrapKind, View, address,
};
use proptest::prelude::*;

use support::{push, slot};

const REGION: u32 = address::FIRST_HOST_REGION;
const OTHER: u32 = address::FIRST_HOST_REGION + 1;
const ELEMENTS: u32 = address::FIRST_HOST_REGION + 2;
/// What programs name the table by, and the helper that looks up in it.
const TABLE: u64 = 8;
const LOOK_UP: i32 = 9;

/// Memory that programs may read and write, with guards on both sides; some that they only read.
#[derive(Clone, PartialEq, Debug)]
struct World {
    memory: [u8; 64],
    constants: [u8; 24],
    elements: Elements,
    calls: Vec<(i32, [u64; 5])>,
}

/// A table: the keys 1 to 3 have an element each, 16 bytes apart; that of 3 is only read.
#[derive(Clone, PartialEq, Debug)]
struct Elements([[u8; 10]; 3]);

impl Elements {
    fn find(&mut self, address: u64, len: usize) -> Option<(bool, &mut [u8])> {
        let offset = address::offset(address);
        let (element, at) = ((offset / 16) as usize, (offset % 16) as usize);
        let found = self.0.get_mut(element)?.get_mut(at..at.checked_add(len)?)?;
        (address::region(address) == ELEMENTS).then_some((element < 2, found))
    }
}

impl Tables for Elements {
    fn look_up(&mut self, table: usize, key: &[u8]) -> Option<(u64, Context<'_>)> {
        assert_eq!((table, key.len()), (5, 4));
        let element = u64::from(*key.first()?).checked_sub(1)?;
        if key[1..] == [0; 3] { self.around(address::pack(ELEMENTS, 16 * element)) } else { None }
    }

    fn around(&mut self, address: u64) -> Option<(u64, Context<'_>)> {
        let start = address & !15;
        let (is_writable, bytes) = self.find(start, 10)?;
        let bytes = if is_writable { Context::Writable(bytes) } else { Context::ReadOnly(bytes) };
        Some((start, bytes))
    }
}

impl World {
    fn new() -> World {
        let memory = std::array::from_fn(|at| at as u8);
        let elements = Elements([[1; 10], [2; 10], [3; 10]]);
        World { memory, constants: [9; 24], elements, calls: Vec::new() }
    }
}

impl Host for World {
    fn call(&mut self, vm: &mut Execution<'_>, call: &Call<'_>) -> Result<Return, TrapKind> {
        let [a, b, c, ..] = call.args;
        if call.helper == LOOK_UP && a == TABLE {
            // (Machine code does not tell of it.)
            let key = vm.read(self, b, 4)?.to_vec();
            let found = self.elements.look_up(5, &key).map_or(0, |(address, _)| address);
            return Ok(Return::Value(found));
        }
        self.calls.push((call.helper, call.args));
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
            _ => self.elements.find(address, len).map(|(_, bytes)| &*bytes),
        }
    }

    fn memory_mut(&mut self, address: u64, len: usize) -> Option<&mut [u8]> {
        let at = usize::try_from(address::offset(address)).ok()?;
        let end = at.checked_add(len)?;
        match address::region(address) {
            REGION if at >= 16 => self.memory[..48].get_mut(at..end),
            _ => {
                let (is_writable, bytes) = self.elements.find(address, len)?;
                is_writable.then_some(bytes)
            }
        }
    }

    fn show<'a>(&'a mut self, recent: u64, view: &mut View<'_, 'a>) {
        if address::region(recent) == OTHER {
            view.recent(address::pack(OTHER, 0), Context::ReadOnly(&self.constants));
        }
        view.tables(recent, &mut self.elements);
        let memory = &mut self.memory[16..48];
        view.subject(address::pack(REGION, 16), Context::Writable(memory));
    }

    fn show_subject<'a>(&'a mut self, view: &mut View<'_, 'a>) {
        view.same_tables(&mut self.elements);
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

const GUESTS: Guests<'_> = Guests {
    args: 2,
    field: &|_, _| false,
    lookup: &|helper, number| {
        (helper == LOOK_UP && number == TABLE).then_some(Lookup { table: 5, key: 4 })
    },
    may_tail_call: &|helper| helper == 7,
    proven: None,
};

/// Runs it on both; whether there was machine code.
fn compare(code: &[Insn]) -> Result<bool, TestCaseError> {
    let load = || Program::new(code, 0, &mut |_| Some(TABLE));
    let (Ok(checked), Ok(guarded)) = (load(), load()) else { return Ok(false) };
    let compiled = guarded.compile(&GUESTS);
    prop_assert_eq!(run(&guarded, 5000), run(&checked, 5000));
    compare_series(code)?;
    Ok(compiled)
}

/// The same, run after run in one world: what was shown once must not be taken for what is there now.
fn compare_series(code: &[Insn]) -> Result<(), TestCaseError> {
    let load = || Program::new(code, 0, &mut |_| Some(TABLE)).expect("a program");
    let (checked, guarded) = (load(), load());
    guarded.compile(&Guests { args: 1, ..GUESTS });
    let (mut stack, mut context) = (Stack::default(), [7; 16]);
    let execution = Execution::new(&mut stack, Context::Writable(&mut context)).with_fuel(5000);
    let first = address::pack(address::CTX, 0);
    let mut series = Series::new(execution, &guarded, first, World::new());
    let (mut world, mut stack, mut context) = (World::new(), Stack::default(), [7; 16]);
    for round in 0..4 {
        let expected = Execution::new(&mut stack, Context::Writable(&mut context))
            .with_fuel(5000)
            .run_with(&checked, &[first], &mut world);
        prop_assert_eq!(series.run(), expected);
        // SAFETY: there is a table, and it is compiled without blocks.
        #[expect(unsafe_code, reason = "see there")]
        let now = unsafe { series.subject() };
        prop_assert_eq!(&*now, &world);
        let change = |world: &mut World| {
            world.memory[20] = round;
            if round == 1 {
                world.elements.0[0] = [round; 10];
            }
        };
        change(&mut world);
        if round == 1 { change(series.host()) } else { change(now) }
    }
    Ok(())
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

/// A look-up of a key in the frame, and something done with what was found.
fn look_up() -> impl Strategy<Value = Vec<Insn>> {
    let at = prop_oneof![6 => -16i16..-3, 1 => -514i16..4];
    let then = prop_oneof![
        (-2i16..12).prop_map(|off| Insn::load(Size::W, Reg(9), Reg(0), off)),
        (-2i16..12).prop_map(|off| Insn::store(Size::H, Reg(0), off, Reg(7))),
        (-1i16..3).prop_map(|off| Insn::atomic(Size::Dw, 0, Reg(0), 8 * off, Reg(6))),
        Just(Insn::mov(Reg(8), Reg(0))),
    ];
    (at, 0..5i32, then, any::<bool>()).prop_map(|(at, key, then, is_checked)| {
        let [first, second] = Insn::ld_imm64(Reg(1), 1, 3);
        let mut code = vec![Insn::store_imm(Size::W, Reg::FP, at, key), first, second];
        code.extend([Insn::mov(Reg(2), Reg::FP), Insn::alu64_imm(0, Reg(2), at.into())]);
        code.push(Insn::call_helper(LOOK_UP));
        if is_checked {
            // `if r0 == 0 goto +1`
            code.push(Insn::jmp_imm(0x10, Reg(0), 0, 1));
        }
        code.push(then);
        code
    })
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
    fn look_ups(pieces in prop::collection::vec(
        prop_oneof![
            3 => look_up().prop_map(|code| (code, Vec::new())),
            1 => prop::collection::vec(slot(), 1..4).prop_map(|slots| (Vec::new(), slots)),
        ],
        1..8,
    )) {
        let mut code = start();
        for (plain, slots) in pieces {
            code.extend(plain);
            push(&mut code, slots);
        }
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
        if let Ok(program) = Program::new(&code, 0, &mut |_| Some(TABLE)) {
            valid += 1;
            compiled += u32::from(program.compile(&GUESTS));
        }
    }
    assert!(compiled * 10 > valid * 6, "of {valid} programs {compiled} are compiled");
}

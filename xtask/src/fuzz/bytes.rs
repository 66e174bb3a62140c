//! `cargo xtask fuzz bytes`: byte strings that mean nothing, as programs and as definitions of maps.
//! They may be refused, in words, or work; nothing else may happen.
//!
//! Programs that are not refused run in the checked interpreter and in guarded machine code, which must
//! do the same. They are compiled by the other compilers, not run: that is for programs that have been
//! proved.

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use bombus_isa::{Insn, Reg, disasm};
use bombus_maps::{Map, MapDef};
use bombus_platform::MapType;
use bombus_vm::jit::JitProgram;
use bombus_vm::jit::x64::X64;
use bombus_vm::native::{Callee, Environment, Linker, Lookup};
use bombus_vm::{
    Call, Context, Execution, Guests, Host, Program, Return, Stack, Trap, TrapKind, View, address,
};

use super::random::Random;

/// Instructions of the longest program.
const MOST: usize = 48;
/// Instructions that a run may take.
const FUEL: u64 = 5000;

/// Runs the command.
pub(super) fn run(args: &[String]) -> Result<(), String> {
    let (count, seed) = super::count_and_seed(args, "bytes")?;
    all(count, seed)
}

/// What became of them.
#[derive(Default)]
struct Tally {
    programs: AtomicU64,
    maps: AtomicU64,
    compiled: AtomicU64,
    guarded: AtomicU64,
}

fn all(count: u64, seed: u64) -> Result<(), String> {
    let jobs = thread::available_parallelism().map_or(1, |jobs| jobs.get() as u64);
    let (tally, start) = (Tally::default(), Instant::now());
    thread::scope(|scope| {
        let jobs: Vec<_> = (0..jobs)
            .map(|job| {
                let tally = &tally;
                scope.spawn(move || {
                    let mut random = Random::new(seed.wrapping_mul(1 << 32).wrapping_add(job));
                    (0..count.div_ceil(jobs)).for_each(|_| one(&mut random, tally));
                })
            })
            .collect();
        // A panic has said where it was.
        let ends = jobs.into_iter().map(|job| job.join().map_err(|_| "a panic".to_owned()));
        ends.collect::<Result<Vec<()>, String>>()
    })?;
    let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "{count} byte strings in {:.0} s: {} were programs, of which {} ran in guarded machine code, \
         {} times one was compiled otherwise; {} were maps",
        start.elapsed().as_secs_f64(),
        number(&tally.programs),
        number(&tally.guarded),
        number(&tally.compiled),
        number(&tally.maps)
    );
    Ok(())
}

/// One byte string, as both.
fn one(random: &mut Random, tally: &Tally) {
    let (wild, length) = (random.once_in(4), 1 + random.below(MOST));
    let mut code = Vec::with_capacity(length + 2);
    while code.len() < length {
        let insn = slot(random, wild);
        code.push(insn);
        if insn.is_wide() && !wild {
            code.push(Insn::default());
        }
    }
    if !wild {
        code.push(Insn::exit());
    }
    disasm(&code, &());
    if let Ok(program) = Program::new(&code, 0, &mut |_| Some(8)) {
        tally.programs.fetch_add(1, Ordering::Relaxed);
        // Traps are what is expected.
        let expected = outcome(&program);
        if program.compile(&GUESTS) {
            tally.guarded.fetch_add(1, Ordering::Relaxed);
            let found = outcome(&program);
            assert!(found == expected, "{}\n{found:?}\nnot {expected:?}", disasm(&code, &()));
        }
        let own = X64::of_this_machine();
        for target in [own, X64 { optimise: true, ..own }] {
            let compiled = JitProgram::compile_for(&target, &program, &Nothing).is_ok();
            tally.compiled.fetch_add(u64::from(compiled), Ordering::Relaxed);
        }
    }
    let def = definition(random);
    if let Ok(map) = Map::new(&def, 2, random.next()) {
        tally.maps.fetch_add(1, Ordering::Relaxed);
        let key: Vec<u8> = (0..def.key_size.min(600)).map(|_| random.next() as u8).collect();
        let value = vec![random.next() as u8; map.user_value_size().min(1 << 16)];
        let _ = map.user_update(&key, &value, random.below(6) as u64);
        let _ = map.user_lookup(&key, 0);
        let _ = map.user_next_key(Some(&key));
        let _ = map.user_delete(&key);
    }
}

/// Any bytes, or an instruction near them.
fn slot(random: &mut Random, wild: bool) -> Insn {
    let mut insn = Insn::from_bytes(random.next().to_le_bytes());
    if wild {
        return insn;
    }
    insn.dst = Reg(random.below(11) as u8);
    insn.src = Reg(random.below(11) as u8);
    insn.off = random.below(12) as i16 - 6;
    insn.imm = random.below(78) as i32 - 8;
    let candidates = [
        insn,
        Insn { off: 0, ..insn },
        Insn { imm: 0, ..insn },
        Insn { src: Reg(0), ..insn },
        Insn { src: Reg(0), off: 0, ..insn },
        Insn { imm: 0, off: 0, ..insn },
        Insn { src: Reg(0), dst: Reg(0), off: 0, ..insn },
    ];
    let valid = candidates.into_iter().find(|insn| insn.decode(Some(Insn::default())).is_ok());
    valid.unwrap_or(Insn::mov_imm(insn.dst, insn.imm))
}

fn definition(random: &mut Random) -> MapDef {
    let mut size = || match random.below(4) {
        0 => random.next() as u32,
        1 => 4,
        _ => random.below(70) as u32,
    };
    let (key_size, value_size, max_entries) = (size(), size(), size());
    MapDef {
        map_type: MapType::ALL[random.below(MapType::ALL.len())],
        key_size,
        value_size,
        max_entries,
        flags: if random.once_in(2) { 0 } else { 1 << random.below(16) },
        map_extra: if random.once_in(2) { 0 } else { random.next() },
        spin_lock: random.once_in(8).then(|| random.below(16) as u32 * 4),
    }
}

/// Memory between two guards.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Memory {
    bytes: [u8; 64],
}

/// What programs may use of it.
const INSIDE: std::ops::Range<usize> = 16..48;

/// Runs a program; gives what became of it and of the memory that it could reach.
fn outcome(program: &Rc<Program>) -> (Result<u64, Trap>, Memory, [u8; 16]) {
    let (mut memory, mut context) = (Memory { bytes: [0xa5; 64] }, [7; 16]);
    let mut stack = Stack::default();
    let mut run = Execution::new(&mut stack, Context::Writable(&mut context)).with_fuel(FUEL);
    let result = run.run(program, &mut memory);
    (result, memory, context)
}

/// What guarded code is made for.
const GUESTS: Guests<'_> = Guests {
    args: 2,
    field: &|_, _| false,
    lookup: &|_, _| None,
    may_tail_call: &|helper| helper == 6,
    proven: None,
};

impl Host for Memory {
    fn call(&mut self, vm: &mut Execution<'_>, call: &Call<'_>) -> Result<Return, TrapKind> {
        let [a, b, c, ..] = call.args;
        match call.helper {
            0..=3 => Ok(Return::Value(address::pack(address::FIRST_HOST_REGION, 16))),
            4 => vm.callback(call.program, a, &[b, c], self).map(Return::Value),
            5 => vm.write(self, a, b as usize).map(|bytes| Return::Value(bytes.len() as u64)),
            6 if vm.take_tail_call() => Ok(Return::TailCall(call.program.clone())),
            other => Err(TrapKind::UnknownHelper(other)),
        }
    }

    fn memory(&mut self, address: u64, len: usize) -> Option<&[u8]> {
        self.memory_mut(address, len).map(|bytes| &*bytes)
    }

    fn memory_mut(&mut self, address: u64, len: usize) -> Option<&mut [u8]> {
        let at = usize::try_from(address::offset(address)).ok()?;
        let known = address::region(address) == address::FIRST_HOST_REGION && at >= INSIDE.start;
        if known { self.bytes[..INSIDE.end].get_mut(at..at.checked_add(len)?) } else { None }
    }

    fn show<'a>(&'a mut self, recent: u64, view: &mut View<'_, 'a>) {
        if address::region(recent) == address::FIRST_HOST_REGION {
            let start = address::pack(address::FIRST_HOST_REGION, INSIDE.start as u64);
            view.recent(start, Context::Writable(&mut self.bytes[INSIDE]));
        }
    }
}

/// Helpers for the compilers whose code is not run.
struct Nothing;

extern "C" fn nothing(_: u64, _: u64, _: u64, _: u64, _: u64, _: &mut Environment) -> u64 {
    0
}

impl Linker for Nothing {
    fn helper(&self, id: i32) -> Option<Callee> {
        match id {
            0..=6 => Some(Callee::Helper(nothing)),
            12 => Some(Callee::TailCall(nothing)),
            _ => None,
        }
    }

    fn lookup(&self, map: u64) -> Option<Lookup> {
        (map == 8).then_some(Lookup::Array { base: 0x1000, stride: 24, len: 5 })
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_breaks() {
        super::all(5000, 3).unwrap();
    }
}

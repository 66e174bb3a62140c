//! Where each register and each spilled value comes from, instruction by instruction
//! (`arg_track_xfer` and what it uses, `kernel/bpf/liveness.c`).

use bombus_isa::opcode::{atomic, class, jmp, mode};
use bombus_isa::{AluOp, AtomicOp, Insn, Op, Operand, Reg, Size, Width};

use super::super::Instruction;
use super::origin::{Offsets, Origin, add};

/// Registers `r0` to `r10`.
const REGISTERS: usize = 11;
/// Arguments that are passed in memory.
pub(super) const MEMORY_ARGUMENTS: usize = 7;
/// Where in [`Origins`] the stack starts.
const STACK: usize = REGISTERS + MEMORY_ARGUMENTS;
/// 8-byte slots of the stack.
pub(super) const SPILLS: usize = 64;
const PLACES: usize = STACK + SPILLS;

/// The origins of all registers, of the arguments in memory for the next call, and of what is on the
/// frame's own stack.
#[derive(Clone, Debug)]
pub(super) struct Origins {
    /// Which of them come from a frame pointer: the places in `at` that are not [`Origin::None`].
    known: u128,
    at: [Origin; PLACES],
}

const REGISTERS_MASK: u32 = (1 << REGISTERS) - 1;

/// What instructions mention: bit `n` is `rn`, and there are bits for calls and for what uses
/// registers that its fields do not name.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Mentions(u32);

impl Mentions {
    const CALL: u32 = 1 << 30;
    const OTHER: u32 = 1 << 31;

    pub(super) const fn of(insn: Insn) -> Mentions {
        const IS_CALL: u8 = class::JMP | jmp::CALL;
        const IS_ATOMIC: u8 = class::STX | mode::ATOMIC;
        Mentions(match insn.code {
            IS_CALL => Mentions::CALL,
            code if code & 0xe7 == IS_ATOMIC => Mentions::OTHER,
            _ if insn.dst.0 > Reg::FP.0 || insn.src.0 > Reg::FP.0 => Mentions::OTHER,
            _ => 1 << insn.dst.0 | 1 << insn.src.0,
        })
    }

    pub(super) const fn and(self, other: Mentions) -> Mentions {
        Mentions(self.0 | other.0)
    }
}

/// [`Origins`] without what is none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Sparse {
    known: u128,
    /// In the order of places.
    at: Vec<Origin>,
}

/// The origins of what a caller's stack held at a call.
pub(super) type Spills = Vec<(u8, Origin)>;

fn places(mut known: u128) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let place = known.trailing_zeros() as usize;
        known &= known.wrapping_sub(1);
        (place < 128).then_some(place)
    })
}

impl Origins {
    pub(super) const fn new() -> Origins {
        Origins { known: 0, at: [Origin::None; PLACES] }
    }

    /// Where a function starts: the frame pointer, and what the caller passes.
    pub(super) fn at_entry(depth: u8, arguments: &[Origin; 5]) -> Origins {
        let mut origins = Origins::new();
        origins.set(usize::from(Reg::FP.0), Origin::Frame(depth, Offsets::one(0)));
        for (register, &origin) in (1..).zip(arguments) {
            origins.set(register, origin);
        }
        origins
    }

    /// Whether instructions with these mentions have to do with anything that comes from a frame
    /// pointer. Those that have not change no origins and access no stack.
    pub(super) fn matter_to(&self, mentions: Mentions) -> bool {
        let known = self.known as u32;
        // Calls take and forget arguments, those in memory among them.
        const PASSED: u32 = ((1 << STACK) - 1) & !(1 << Reg::FP.0);
        let calls = mentions.0 & Mentions::CALL != 0 && known & PASSED != 0;
        mentions.0 & Mentions::OTHER != 0 || calls || mentions.0 & known & REGISTERS_MASK != 0
    }

    fn set(&mut self, place: usize, origin: Origin) {
        let Some(held) = self.at.get_mut(place) else { return };
        *held = origin;
        match origin {
            Origin::None => self.known &= !(1 << place),
            _ => self.known |= 1 << place,
        }
    }

    fn set_register(&mut self, register: Reg, origin: Origin) {
        if register <= Reg::FP {
            self.set(register.0.into(), origin);
        }
    }

    pub(super) fn register(&self, register: Reg) -> Origin {
        if register <= Reg::FP { self.at[usize::from(register.0)] } else { Origin::None }
    }

    /// The argument at this place, from 0; those from the sixth on are the ones in memory.
    pub(super) fn argument(&self, index: usize) -> Origin {
        let place = if index < 5 { index + 1 } else { REGISTERS + index - 5 };
        if place < STACK { self.at[place] } else { Origin::None }
    }

    fn spill(&self, slot: usize) -> Origin {
        self.at.get(STACK + slot).copied().unwrap_or_default()
    }

    pub(super) fn spills(&self) -> Spills {
        places(self.known >> STACK).map(|slot| (slot as u8, self.spill(slot))).collect()
    }

    fn set_spill(&mut self, slot: usize, origin: Origin) {
        self.set(STACK + slot, origin);
    }

    fn join_spill(&mut self, slot: usize, origin: Origin) {
        self.set_spill(slot, self.spill(slot).join(origin));
    }

    pub(super) fn load(&mut self, sparse: &Sparse) {
        for place in places(self.known & !sparse.known) {
            self.at[place] = Origin::None;
        }
        self.known = sparse.known;
        for (place, &origin) in places(sparse.known).zip(&sparse.at) {
            self.at[place] = origin;
        }
    }

    pub(super) fn to_sparse(&self) -> Sparse {
        let at = places(self.known).map(|place| self.at[place]).collect();
        Sparse { known: self.known, at }
    }

    /// Joins them into what is known where control goes to; says whether that changed.
    pub(super) fn join_into(&self, entry: &mut Option<Sparse>) -> bool {
        let Some(entry) = entry else {
            *entry = Some(self.to_sparse());
            return true;
        };
        let known = entry.known | self.known;
        let joined = |entry: &Sparse, old: &mut usize, place: usize| {
            let before = match entry.known >> place & 1 {
                0 => Origin::None,
                _ => {
                    *old += 1;
                    entry.at[*old - 1]
                }
            };
            (before, before.join(self.at[place]))
        };
        let mut old = 0;
        let changed = places(known).any(|place| {
            let (before, after) = joined(entry, &mut old, place);
            before != after
        });
        if changed {
            let mut old = 0;
            let at = places(known).map(|place| joined(entry, &mut old, place).1).collect();
            *entry = Sparse { known, at };
        }
        changed
    }

    /// What differs, as the log says it: `r1: _ -> fp0-8`.
    pub(super) fn changes(&self, after: &Origins) -> String {
        let changed = places(self.known | after.known)
            .filter(|&place| self.at[place] != after.at[place])
            .map(|place| format!("\t{}: {} -> {}", name(place), self.at[place], after.at[place]));
        changed.collect()
    }

    /// What comes from frame pointers, as the log says it: ` r1=fp0-8 fp-8=fp0-16`.
    pub(super) fn listed(&self, with_registers: bool) -> String {
        let shown = places(self.known)
            .filter(|&place| place != usize::from(Reg::FP.0) && (place >= STACK || with_registers));
        shown.map(|place| format!(" {}={}", name(place), self.at[place])).collect()
    }
}

fn name(place: usize) -> String {
    match place {
        _ if place < REGISTERS => format!("r{place}"),
        _ if place < STACK => format!("sa{}", place - REGISTERS),
        _ => format!("fp{:+}", -8 * (place as i64 - STACK as i64 + 1)),
    }
}

/// The 8-byte slot at an offset from the frame pointer.
fn slot_at(offset: i16) -> Option<usize> {
    let bytes = usize::from(offset.unsigned_abs());
    (offset < 0 && bytes % 8 == 0 && bytes <= SPILLS * 8).then(|| bytes / 8 - 1)
}

/// The place of an argument in memory, from 0.
fn memory_argument(off: i16) -> Option<usize> {
    let index = usize::from(off.unsigned_abs() / 8);
    (1..=MEMORY_ARGUMENTS).contains(&index).then(|| index - 1)
}

/// What a function's instructions are looked at with.
pub(super) struct Tracker<'a> {
    /// The number of its frame.
    pub(super) depth: u8,
    /// The arguments in memory that it was called with.
    pub(super) received: &'a [Origin; MEMORY_ARGUMENTS],
    /// For each frame before it what its stack held at the call.
    pub(super) callers: &'a [Spills],
}

impl Tracker<'_> {
    /// Carries out what an instruction does to origins.
    pub(super) fn step(&self, origins: &mut Origins, instruction: Instruction, insn: Insn) {
        let op = match instruction {
            Instruction::Op(op) => op,
            Instruction::StoreArgument { off, src } => {
                let origin = self.value(origins, src);
                if let Some(index) = memory_argument(off) {
                    origins.set(REGISTERS + index, origin);
                }
                return;
            }
            Instruction::LoadArgument { dst, off } => {
                let received = memory_argument(off).map(|index| self.received[index]);
                return origins.set_register(dst, received.unwrap_or_default());
            }
            Instruction::InvalidAtomic => {
                self.clear(origins, insn.dst, insn.off, Size::from_bits(insn.code));
                if insn.imm & atomic::FETCH != 0 {
                    origins.set_register(insn.src, Origin::None);
                }
                return;
            }
            Instruction::GotoRegister { .. } | Instruction::Second => return,
        };
        match op {
            Op::Alu { width: Width::W32, dst, .. }
            | Op::Neg { width: Width::W32, dst }
            | Op::MovSx { dst, .. }
            | Op::AddrSpaceCast { dst, .. }
            | Op::LoadImm64 { dst, .. } => origins.set_register(dst, Origin::None),
            Op::Alu { op, dst, src, .. } => {
                let left = origins.register(dst);
                let origin = match (op, src) {
                    (AluOp::Mov, src) => self.value(origins, src),
                    (AluOp::Add, Operand::Imm(value)) => left.plus(value.into()),
                    (AluOp::Sub, Operand::Imm(value)) => left.plus(-i64::from(value)),
                    (_, Operand::Imm(_)) => left.blurred(),
                    (_, Operand::Reg(src)) => left.mixed(origins.register(src)),
                };
                origins.set_register(dst, origin);
            }
            Op::Neg { dst, .. } => origins.set_register(dst, origins.register(dst).blurred()),
            // A swap of 64-bit class (`bswap`) blurs, one of the 32-bit class leaves nothing.
            Op::End { dst, order, .. } => {
                let origin = match order {
                    bombus_isa::Endian::Swap => origins.register(dst).blurred(),
                    _ => Origin::None,
                };
                origins.set_register(dst, origin);
            }
            Op::Load { size, signed, dst, base, off } => {
                let origin = match (size, signed) {
                    (Size::Dw, false) => self.fill(origins, base, off),
                    _ => Origin::None,
                };
                origins.set_register(dst, origin);
            }
            Op::LoadAcquire { dst, .. } => origins.set_register(dst, Origin::None),
            Op::Store { size, base, off, src: Operand::Reg(src) }
                if self.may_be_own(base, origins.register(base)) =>
            {
                let value = match size {
                    Size::Dw => origins.register(src),
                    _ => Origin::None,
                };
                spill(origins, base, off, value);
            }
            Op::Store { size, base, off, src: Operand::Imm(_) }
            | Op::StoreRelease { size, base, off, .. } => self.clear(origins, base, off, size),
            Op::Atomic { size, op, fetch, base, off, src } => {
                self.clear(origins, base, off, size);
                match op {
                    AtomicOp::Cmpxchg => origins.set_register(Reg::R0, Origin::None),
                    _ if fetch => origins.set_register(src, Origin::None),
                    _ => {}
                }
            }
            Op::CallHelper { .. } | Op::CallLocal { .. } | Op::CallKfunc { .. } => {
                for register in 0..6 {
                    origins.set(register, Origin::None);
                }
            }
            _ => {}
        }
    }

    fn value(&self, origins: &Origins, operand: Operand) -> Origin {
        match operand {
            Operand::Reg(reg) => origins.register(reg),
            Operand::Imm(_) => Origin::None,
        }
    }

    fn may_be_own(&self, register: Reg, origin: Origin) -> bool {
        register == Reg::FP
            || match origin {
                Origin::None => false,
                Origin::Frame(frame, _) => frame == self.depth,
                Origin::Frames(frames) => frames >> self.depth & 1 != 0,
            }
    }

    /// What 8 bytes that are loaded hold.
    fn fill(&self, origins: &Origins, base: Reg, off: i16) -> Origin {
        let origin = origins.register(base);
        if self.may_be_own(base, origin) {
            let spilled = |slot: usize| origins.spill(slot);
            return if base == Reg::FP {
                slot_at(off).map_or(Origin::up_to(self.depth), spilled)
            } else {
                fill(origin.offsets(), off, self.depth, spilled)
            };
        }
        match origin {
            Origin::Frame(frame, offsets) => {
                let spills = self.callers.get(usize::from(frame)).map_or(&[][..], Vec::as_slice);
                fill(offsets, off, frame, |slot| {
                    let spill = spills.iter().find(|(at, _)| usize::from(*at) == slot);
                    spill.map_or(Origin::None, |(_, origin)| *origin)
                })
            }
            other => other,
        }
    }

    /// A store of something else than a register, if it may be to the frame's own stack.
    fn clear(&self, origins: &mut Origins, base: Reg, off: i16, size: Size) {
        if !self.may_be_own(base, origins.register(base)) {
            return;
        }
        let bytes = size.bytes() as i64;
        let offsets = match base {
            Reg::FP => Offsets::one(0),
            _ => origins.register(base).offsets(),
        };
        match offsets.plus(off.into()).get() {
            [] => {
                for slot in places(origins.known >> STACK) {
                    origins.join_spill(slot, Origin::None);
                }
            }
            &[offset] => clear_slots(origins, offset, bytes, true),
            all => {
                for &offset in all {
                    clear_slots(origins, offset, bytes, false);
                }
            }
        }
    }
}

/// What is loaded through a pointer with these offsets.
fn fill(offsets: Offsets, off: i16, frame: u8, spilled: impl Fn(usize) -> Origin) -> Origin {
    let mut filled = Origin::None;
    for &offset in offsets.get() {
        let Some(slot) = add(offset, off.into()).and_then(slot_at) else {
            return Origin::up_to(frame);
        };
        filled = filled.join(spilled(slot));
    }
    if offsets.is_any() { Origin::up_to(frame) } else { filled }
}

/// A store of a register through a pointer to the frame's own stack.
fn spill(origins: &mut Origins, base: Reg, off: i16, value: Origin) {
    if base == Reg::FP {
        if let Some(slot) = slot_at(off) {
            origins.set_spill(slot, value);
        }
        return;
    }
    match origins.register(base).offsets() {
        Offsets::ANY => {
            for slot in 0..SPILLS {
                origins.join_spill(slot, value);
            }
        }
        offsets => {
            let slots =
                offsets.get().iter().filter_map(|&offset| slot_at(add(offset, off.into())?));
            for slot in slots {
                match offsets.get() {
                    [_] => origins.set_spill(slot, value),
                    _ => origins.join_spill(slot, value),
                }
            }
        }
    }
}

/// Bytes of the stack are overwritten, for sure or perhaps.
fn clear_slots(origins: &mut Origins, offset: i16, bytes: i64, for_sure: bool) {
    let offset = i64::from(offset);
    for slot in places(origins.known >> STACK) {
        let start = -8 * (slot as i64 + 1);
        if start < offset + bytes && start + 8 > offset {
            match for_sure {
                true => origins.set_spill(slot, Origin::None),
                false => origins.join_spill(slot, Origin::None),
            }
        }
    }
}

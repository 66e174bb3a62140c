//! Random programs that the verifier accepts more often than not, near the edge of what is safe:
//! numbers of all sources and bounds of all kinds, accesses that just fit (and now and then just do
//! not), pointers on the stack, loops, functions, callbacks, references.
//!
//! `r6` has the context and `r7` a pointer to memory of a known size; all other registers hold
//! numbers, but for a moment.

mod bound;
mod memory;

use bombus_isa::{AluOp, AtomicOp, Cond, Endian, Imm64, Insn, Op, Operand, Reg, Size, Width};
use bombus_platform::{Helper, ProgType};

use super::world::{self, CODE_MAPS};
use crate::fuzz::random::Random;

/// Words of its frame that a function computes with, from the frame pointer down.
const WORDS: i16 = 8;
/// Where pointers are kept.
const POINTERS: [i16; 3] = [-72, -80, -88];
/// Where keys for helpers are, and values.
const KEY: i16 = -96;
const VALUE: i16 = -144;

/// Registers that hold numbers.
const NUMBERS: [u8; 8] = [0, 1, 2, 3, 4, 5, 8, 9];
/// Registers that calls take away.
const CALLER_SAVED: u16 = 0b11_1111;

/// A program.
#[derive(Clone)]
pub(super) struct Case {
    /// What kind of program.
    pub(super) prog_type: ProgType,
    /// As the verifier gets it.
    pub(super) code: Vec<Insn>,
    /// As it is run: where loads from the context have 64 bits.
    pub(super) run: Vec<Insn>,
    /// First slots of the functions.
    pub(super) entries: Vec<u32>,
}

/// What a function is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Main,
    /// `r1` a pointer to memory, `r2` a number.
    Worker,
    /// For `bpf_loop`: `r1` a number, `r2` the address of the caller's words.
    Round,
    /// For `bpf_for_each_map_elem`: the map, key and value, and the address of the caller's words.
    Element,
    /// `r1` and `r2` numbers, and no memory.
    Leaf,
}

const ROLES: [Role; 4] = [Role::Worker, Role::Round, Role::Element, Role::Leaf];

impl Case {
    /// Makes one.
    pub(super) fn new(random: &mut Random) -> Case {
        let types = [ProgType::Xdp, ProgType::SchedCls, ProgType::Kprobe, ProgType::SocketFilter];
        let prog_type = types[random.below(types.len())];
        let mut main = Function::new(random, prog_type, Role::Main);
        main.body();
        let (mut code, mut run, mut calls) = (main.code, main.run, main.calls);
        let mut entries = vec![0];
        for (callee, role) in ROLES.into_iter().enumerate() {
            if !calls.iter().any(|(_, to)| *to == callee) {
                continue;
            }
            let start = code.len();
            entries.push(start as u32);
            let mut function = Function::new(random, prog_type, role);
            function.body();
            for (at, _) in calls.iter().filter(|(_, to)| *to == callee) {
                code[*at].imm = (start - at - 1) as i32;
                run[*at].imm = code[*at].imm;
            }
            // What a function calls itself comes behind it.
            calls.extend(function.calls.iter().map(|(at, to)| (start + at, *to)));
            code.extend(function.code);
            run.extend(function.run);
        }
        Case { prog_type, code, run, entries }
    }
}

/// A function in the making.
struct Function<'a> {
    random: &'a mut Random,
    prog_type: ProgType,
    role: Role,
    code: Vec<Insn>,
    run: Vec<Insn>,
    /// Slots of calls, and which function they call.
    calls: Vec<(usize, usize)>,
    /// Registers that hold numbers, a bit each.
    numbers: u16,
    /// Registers that must stay as they are.
    taken: u16,
    /// Bytes that `r7` points to, if it does.
    memory: Option<usize>,
    /// What was stored in [`POINTERS`]: bytes that it points to.
    pointers: [Option<usize>; 3],
    /// Jumps to what comes next, and what stood in registers and pointers there.
    skips: Vec<(usize, u16, [Option<usize>; 3])>,
}

impl<'a> Function<'a> {
    fn new(random: &'a mut Random, prog_type: ProgType, role: Role) -> Function<'a> {
        Function {
            random,
            prog_type,
            role,
            code: Vec::new(),
            run: Vec::new(),
            calls: Vec::new(),
            numbers: 0,
            taken: 0,
            memory: None,
            pointers: [None; 3],
            skips: Vec::new(),
        }
    }

    /// All of it.
    fn body(&mut self) {
        let count = match self.role {
            Role::Main => {
                self.code.push(Insn::mov(Reg(6), Reg(1)));
                self.run.push(Insn::mov(Reg(6), Reg(1)));
                self.set(6);
                self.numbers = 0;
                self.start_memory();
                3 + self.random.below(9)
            }
            Role::Worker => {
                self.mov(7, 1);
                self.memory = Some(world::ARRAY_VALUE);
                self.numbers = 1 << 2;
                1 + self.random.below(4)
            }
            Role::Round => {
                self.mov(7, 2);
                self.memory = Some(8 * WORDS as usize);
                self.numbers = 1 << 1;
                1 + self.random.below(3)
            }
            Role::Element => {
                self.mov(7, 3);
                self.memory = Some(world::ARRAY_VALUE);
                self.numbers = 0;
                1 + self.random.below(3)
            }
            Role::Leaf => {
                self.numbers = 1 << 1 | 1 << 2;
                2 + self.random.below(6)
            }
        };
        if self.random.once_in(2) {
            for word in 1..=WORDS {
                let imm = self.immediate();
                self.op(Op::Store {
                    size: Size::Dw,
                    base: Reg::FP,
                    off: -8 * word,
                    src: Operand::Imm(imm),
                });
            }
        }
        for _ in 0..3 {
            let reg = self.free();
            self.number(reg);
        }
        self.statements(count, 2);
        let reg = self.any();
        if reg != 0 {
            self.mov(0, reg);
        }
        if matches!(self.role, Role::Round | Role::Element) {
            self.alu(Width::W64, AluOp::And, 0, 1);
        }
        self.op(Op::Exit);
    }

    /// `r7 = memory`.
    fn start_memory(&mut self) {
        match self.random.below(5) {
            0 => {
                let offset = 8 * self.random.below(3) as u32;
                let imm = Imm64::MapValue { fd: CODE_MAPS.data, offset };
                self.op(Op::LoadImm64 { dst: Reg(7), imm });
                self.memory = Some(world::DATA_VALUE - offset as usize);
            }
            1 => {}
            _ => {
                let hash = self.random.once_in(2);
                self.look_up(hash);
                let at = self.jump(Width::W64, Cond::Ne, 0, Operand::Imm(0));
                self.op(Op::Alu {
                    width: Width::W64,
                    op: AluOp::Mov,
                    dst: Reg(0),
                    src: Operand::Imm(0),
                });
                self.op(Op::Exit);
                self.land(at);
                self.mov(7, 0);
                self.numbers = 0;
                self.memory = Some(if hash { world::HASH_VALUE } else { world::ARRAY_VALUE });
            }
        }
    }

    fn op(&mut self, op: Op) {
        let (first, second) = op.encode();
        for code in [&mut self.code, &mut self.run] {
            code.push(first);
            code.extend(second);
        }
    }

    fn alu(&mut self, width: Width, op: AluOp, dst: u8, imm: i32) {
        self.op(Op::Alu { width, op, dst: Reg(dst), src: Operand::Imm(imm) });
    }

    fn alu_reg(&mut self, width: Width, op: AluOp, dst: u8, src: u8) {
        self.op(Op::Alu { width, op, dst: Reg(dst), src: Operand::Reg(Reg(src)) });
    }

    fn mov(&mut self, dst: u8, src: u8) {
        self.alu_reg(Width::W64, AluOp::Mov, dst, src);
    }

    fn mov_imm(&mut self, dst: u8, imm: i32) {
        self.alu(Width::W64, AluOp::Mov, dst, imm);
    }

    /// A jump whose end is not known yet: its slot.
    fn jump(&mut self, width: Width, cond: Cond, dst: u8, src: Operand) -> usize {
        let at = self.code.len();
        self.op(Op::JumpIf { width, cond, dst: Reg(dst), src, off: 0 });
        at
    }

    /// A jump behind the statement.
    fn skip(&mut self, width: Width, cond: Cond, dst: u8, src: Operand) {
        let at = self.jump(width, cond, dst, src);
        self.skips.push((at, self.numbers, self.pointers));
    }

    fn goto(&mut self) -> usize {
        let at = self.code.len();
        self.op(Op::Goto { off: 0 });
        at
    }

    /// Lets the jump at this slot come here.
    fn land(&mut self, at: usize) {
        let off = (self.code.len() - at - 1) as i16;
        (self.code[at].off, self.run[at].off) = (off, off);
    }

    fn call(&mut self, helper: Helper) {
        self.op(Op::CallHelper { id: helper.id() });
        self.after_call();
    }

    fn after_call(&mut self) {
        self.numbers = self.numbers & !CALLER_SAVED | 1;
    }

    fn set(&mut self, reg: u8) {
        self.numbers |= 1 << reg;
    }

    fn width(&mut self) -> Width {
        if self.random.once_in(2) { Width::W32 } else { Width::W64 }
    }

    fn size(&mut self) -> Size {
        [Size::B, Size::H, Size::W, Size::Dw][self.random.below(4)]
    }

    /// How far something is off: mostly it is not.
    fn slip(&mut self) -> i64 {
        match self.random.below(40) {
            0 => 1,
            1 => [2, 4, 7, 8, 16, 1 << 20][self.random.below(6)],
            2 => -1,
            _ => 0,
        }
    }

    fn immediate(&mut self) -> i32 {
        match self.random.below(7) {
            0 | 1 => self.random.below(70) as i32,
            2 => -(self.random.below(70) as i32),
            3 => 1 << self.random.below(31),
            4 => (1i64 << self.random.below(33)).wrapping_sub(1) as i32,
            5 => i32::from(self.random.next() as i16),
            _ => self.random.next() as i32,
        }
    }

    /// A register that holds a number.
    fn any(&mut self) -> u8 {
        let start = self.random.below(10) as u8;
        let found =
            (0..10).map(|next| (start + next) % 10).find(|reg| self.numbers >> reg & 1 != 0);
        found.unwrap_or_else(|| {
            let reg = self.free();
            self.number(reg);
            reg
        })
    }

    /// A register that may be set.
    fn free(&mut self) -> u8 {
        loop {
            let reg = NUMBERS[self.random.below(NUMBERS.len())];
            if self.taken >> reg & 1 == 0 {
                return reg;
            }
        }
    }

    /// A register that holds a number and may be changed.
    fn target(&mut self) -> u8 {
        let reg = self.free();
        if self.numbers >> reg & 1 == 0 {
            self.number(reg);
        }
        reg
    }

    fn operand(&mut self) -> Operand {
        match self.random.once_in(2) {
            true => Operand::Reg(Reg(self.any())),
            false => Operand::Imm(self.immediate()),
        }
    }

    /// `reg = some number`.
    fn number(&mut self, reg: u8) {
        match self.random.below(10) {
            0 => {
                let imm = self.immediate();
                self.mov_imm(reg, imm);
            }
            1 => {
                let number = match self.random.below(3) {
                    0 => 1 << self.random.below(64),
                    1 => (1u64 << self.random.below(64)).wrapping_sub(1),
                    _ => self.random.next(),
                };
                self.op(Op::LoadImm64 { dst: Reg(reg), imm: Imm64::Value(number) });
            }
            2..=5 => self.context_number(reg),
            6 | 7 if self.memory.is_some() => {
                let (size, length) = (self.size(), self.memory.unwrap_or_default());
                let size = if self.is_frame() { Size::B } else { size };
                let off = self.random.below(length - size.bytes() + 1) as i16;
                self.load(size, reg, 7, off);
            }
            _ => {
                let (size, off) = self.word();
                self.load(size, reg, 10, off);
            }
        }
        self.set(reg);
    }

    fn load(&mut self, size: Size, dst: u8, base: u8, off: i16) {
        let signed = size != Size::Dw && self.random.once_in(4);
        self.op(Op::Load { size, signed, dst: Reg(dst), base: Reg(base), off });
    }

    /// Size and offset of something in the frame.
    fn word(&mut self) -> (Size, i16) {
        let size = self.size();
        let bytes = size.bytes();
        let place = self.random.below(8 * WORDS as usize / bytes) as i16;
        (size, -8 * WORDS + place * bytes as i16)
    }

    /// A number out of the context.
    fn context_number(&mut self, reg: u8) {
        if self.role != Role::Main {
            return self.mov_imm(reg, 13);
        }
        let dst = Reg(reg);
        let plain = |size, off| Op::Load { size, signed: false, dst, base: Reg(6), off };
        let (code, run) = match self.prog_type {
            ProgType::Kprobe => {
                let off = 8 * self.random.below(21) as i16;
                (plain(Size::Dw, off), plain(Size::Dw, off))
            }
            ProgType::Xdp => {
                let off = 12 + 4 * self.random.below(2) as i16;
                (plain(Size::W, off), plain(Size::W, 2 * off))
            }
            _ => {
                let fields: &[i16] = match self.prog_type {
                    ProgType::SchedCls => {
                        &[0, 4, 8, 12, 16, 24, 28, 32, 36, 40, 44, 48, 52, 64, 68]
                    }
                    _ => &[0, 4, 8, 12, 16, 24, 28, 32, 48, 52, 64],
                };
                let off = fields[self.random.below(fields.len())];
                let narrow = off != 0 && self.random.once_in(4) && !(48..68).contains(&off);
                let size = if narrow { Size::B } else { Size::W };
                (plain(size, off), plain(size, 2 * off))
            }
        };
        self.code.push(code.encode().0);
        self.run.push(run.encode().0);
    }

    fn statements(&mut self, count: usize, depth: usize) {
        for _ in 0..count {
            self.part(|function| function.statement(depth));
        }
    }

    /// Something of which jumps lead to its end.
    fn part(&mut self, make: impl FnOnce(&mut Self)) {
        let outer = std::mem::take(&mut self.skips);
        let taken = self.taken;
        make(self);
        self.taken = taken;
        for (at, numbers, pointers) in std::mem::replace(&mut self.skips, outer) {
            self.land(at);
            self.join(numbers, pointers);
        }
    }

    /// What holds here and where the same place is come to from.
    fn join(&mut self, numbers: u16, pointers: [Option<usize>; 3]) {
        self.numbers &= numbers;
        for (here, there) in self.pointers.iter_mut().zip(pointers) {
            if *here != there {
                *here = None;
            }
        }
    }

    fn statement(&mut self, depth: usize) {
        let has_memory = self.memory.is_some();
        match self.random.below(34) {
            0..=6 => {
                for _ in 0..1 + self.random.below(4) {
                    self.computation();
                }
            }
            7 => {
                let reg = self.free();
                self.number(reg);
            }
            8 | 9 => self.spill(),
            10..=12 if depth > 0 => self.branch(depth),
            13 | 14 if depth > 0 => self.repeat(depth),
            15..=18 if has_memory => self.use_memory(),
            19 => self.use_frame(),
            20 | 21 if self.has_packet() => self.use_packet(),
            22 if has_memory => self.keep_pointer(),
            23 => self.use_pointer(),
            24 => self.atomic(),
            25 => self.use_map(),
            26 if self.is_main() => self.use_ring(),
            27 if self.is_main() => self.help(),
            28 if self.is_main() && has_memory => self.call_worker(),
            29 if self.role != Role::Leaf => self.call_leaf(),
            30 if self.is_main() && depth == 2 => self.call_rounds(),
            31 if self.is_main() && depth == 2 => self.call_elements(),
            32 if has_memory => self.choose(),
            _ => self.simple_help(),
        }
    }

    /// Whether `r7` points to a frame.
    fn is_frame(&self) -> bool {
        self.role == Role::Round
    }

    fn is_main(&self) -> bool {
        self.role == Role::Main
    }

    fn has_packet(&self) -> bool {
        self.is_main() && matches!(self.prog_type, ProgType::Xdp | ProgType::SchedCls)
    }

    fn computation(&mut self) {
        let dst = self.target();
        match self.random.below(12) {
            0 => {
                let width = self.width();
                self.op(Op::Neg { width, dst: Reg(dst) });
            }
            1 | 2 => {
                let (width, src) = (self.width(), self.any());
                let from = [Size::B, Size::H, Size::W]
                    [self.random.below(if width == Width::W64 { 3 } else { 2 })];
                self.op(Op::MovSx { width, from, dst: Reg(dst), src: Reg(src) });
            }
            3 => {
                let order = [Endian::Le, Endian::Be, Endian::Swap][self.random.below(3)];
                let size = [Size::H, Size::W, Size::Dw][self.random.below(3)];
                self.op(Op::End { order, size, dst: Reg(dst) });
            }
            _ => {
                let (op, width) = (AluOp::ALL[self.random.below(AluOp::ALL.len())], self.width());
                let src = self.operand();
                let bits = if width == Width::W64 { 64 } else { 32 };
                let src = match (op, src) {
                    (AluOp::Lsh | AluOp::Rsh | AluOp::Arsh, Operand::Imm(_)) => {
                        Operand::Imm(self.random.below(bits) as i32)
                    }
                    (AluOp::Div | AluOp::Sdiv | AluOp::Mod | AluOp::Smod, Operand::Imm(0)) => {
                        Operand::Imm(-1)
                    }
                    (_, src) => src,
                };
                self.op(Op::Alu { width, op, dst: Reg(dst), src });
            }
        }
    }

    /// A number goes to the frame and comes back, perhaps in another size and place.
    fn spill(&mut self) {
        let (size, off) = self.word();
        let src = match self.random.below(4) {
            0 => Operand::Imm(self.immediate()),
            _ => Operand::Reg(Reg(self.any())),
        };
        self.op(Op::Store { size, base: Reg::FP, off, src });
        if self.random.once_in(2) {
            self.computation();
        }
        let reg = self.free();
        match self.random.below(3) {
            0 => self.load(size, reg, 10, off),
            1 => {
                let (size, off) = self.word();
                self.load(size, reg, 10, off);
            }
            _ => {
                // A part of it.
                let part = self.size();
                let part = if part.bytes() > size.bytes() { size } else { part };
                let place = self.random.below(size.bytes() / part.bytes()) * part.bytes();
                self.load(part, reg, 10, off + place as i16);
            }
        }
        self.set(reg);
    }

    fn branch(&mut self, depth: usize) {
        let (cond, width) = (Cond::ALL[self.random.below(Cond::ALL.len())], self.width());
        let dst = self.any();
        let src = self.operand();
        let at = self.jump(width, cond, dst, src);
        let (numbers, pointers) = (self.numbers, self.pointers);
        let count = self.random.below(3);
        self.statements(count, depth - 1);
        if self.random.once_in(2) {
            let end = self.goto();
            self.land(at);
            let first = (self.numbers, self.pointers);
            (self.numbers, self.pointers) = (numbers, pointers);
            let count = 1 + self.random.below(2);
            self.statements(count, depth - 1);
            self.land(end);
            self.join(first.0, first.1);
        } else {
            self.land(at);
            self.join(numbers, pointers);
        }
    }

    /// A loop of a few rounds; its counter may say where memory is used.
    fn repeat(&mut self, depth: usize) {
        let Some(counter) = [8, 9].into_iter().find(|reg| self.taken >> reg & 1 == 0) else {
            return;
        };
        let step = 1 + self.random.below(4) as i32;
        let start = self.random.below(3) as i32;
        let rounds = 1 + self.random.below(7) as i32;
        let last = start + step * (rounds - 1);
        let bound = match self.random.below(3) {
            0 => {
                let reg = self.free();
                if reg == counter {
                    return;
                }
                self.number(reg);
                self.alu(Width::W64, AluOp::And, reg, 7);
                let (size, off) = (Size::Dw, -8 * WORDS);
                self.op(Op::Store { size, base: Reg::FP, off, src: Operand::Reg(Reg(reg)) });
                None
            }
            _ => Some(last),
        };
        self.mov_imm(counter, start);
        self.set(counter);
        self.taken |= 1 << counter;
        let top = self.code.len();
        // What is here at the start has to be here in every round.
        let (numbers, pointers) = (self.numbers & !CALLER_SAVED, [None; 3]);
        (self.numbers, self.pointers) = (numbers, pointers);
        self.part(|function| {
            if bound.is_none() {
                let copy = function.free();
                if copy == counter {
                    return;
                }
                function.load(Size::B, copy, 10, -8 * WORDS);
                function.set(copy);
                function.skip(Width::W64, Cond::Sge, counter, Operand::Reg(Reg(copy)));
            }
            if function.memory.is_some_and(|size| size > 40) && function.random.once_in(2) {
                function.part(|function| function.use_memory_at(counter, last.max(7) as usize));
            }
            let count = function.random.below(3);
            function.statements(count, depth - 1);
        });
        for reg in 0..10 {
            if numbers >> reg & 1 != 0 && self.numbers >> reg & 1 == 0 {
                self.number(reg);
            }
        }
        let (op, step) =
            if self.random.once_in(4) { (AluOp::Sub, -step) } else { (AluOp::Add, step) };
        let width = self.width();
        self.alu(width, op, counter, step);
        let at = match self.random.below(3) {
            0 => self.jump(width, Cond::Le, counter, Operand::Imm(last)),
            1 => self.jump(width, Cond::Slt, counter, Operand::Imm(last + 1)),
            _ => self.jump(width, Cond::Ne, counter, Operand::Imm(last + step.abs())),
        };
        let off = (top as i64 - at as i64 - 1) as i16;
        (self.code[at].off, self.run[at].off) = (off, off);
    }

    fn atomic(&mut self) {
        let op = AtomicOp::ALL[self.random.below(AtomicOp::ALL.len())];
        let always = matches!(op, AtomicOp::Xchg | AtomicOp::Cmpxchg);
        let fetch = always || self.random.once_in(2);
        let size = if self.random.once_in(2) { Size::W } else { Size::Dw };
        let bytes = size.bytes();
        if self.numbers & 1 == 0 {
            if self.taken & 1 != 0 {
                return;
            }
            self.number(0);
        }
        let src = Reg(self.target());
        let (base, off) = match self.memory {
            Some(length) if self.random.once_in(2) && self.role == Role::Main => {
                (Reg(7), (self.random.below(length / bytes) * bytes) as i16)
            }
            _ => {
                let place = self.random.below(8 * WORDS as usize / bytes) * bytes;
                (Reg::FP, place as i16 - 8 * WORDS)
            }
        };
        self.op(Op::Atomic { size, op, fetch, base, off, src });
    }

    /// One of two or three constants, then an access there: what was proved of one is not of the
    /// others.
    fn choose(&mut self) {
        let length = self.memory.unwrap_or_default();
        let size = self.size();
        let last = (length - size.bytes()) as i64;
        let index = self.free();
        self.taken |= 1 << index;
        let mut ends = Vec::new();
        for _ in 0..1 + self.random.below(2) {
            let (cond, width) = (Cond::ALL[self.random.below(Cond::ALL.len())], self.width());
            let compared = self.any();
            let src = self.operand();
            let place = self.random.below(last as usize + 1) as i64 + self.slip() * 64;
            self.mov_imm(index, place as i32);
            self.set(index);
            ends.push(self.jump(width, cond, compared, src));
        }
        let place = last + self.slip();
        self.mov_imm(index, place as i32);
        ends.into_iter().for_each(|at| self.land(at));
        if self.random.once_in(3) {
            let (size, off) = ([Size::W, Size::Dw][self.random.below(2)], -16);
            self.op(Op::Store { size, base: Reg::FP, off, src: Operand::Reg(Reg(index)) });
            for _ in 0..self.random.below(4) {
                self.computation();
            }
            self.op(Op::Load { size, signed: false, dst: Reg(index), base: Reg::FP, off });
        } else {
            for _ in 0..self.random.below(8) {
                self.computation();
            }
        }
        self.access(index, size, 0);
    }
}

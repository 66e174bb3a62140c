//! Random programs that a kernel takes: every instruction class, loops, calls, maps, and no value
//! that depends on where something lies in memory.
//!
//! A program gets a packet of [`PACKET`] bytes. It holds the packet's address in `r6`, that of the
//! element of an array map in `r7`; every other register is a number, except for a moment. At its
//! end it stores the numbers in the array's element, so that all of its state is seen.

use bombus_isa::{AluOp, AtomicOp, Cond, Endian, Imm64, Insn, Op, Operand, Reg, Size, Width};
use bombus_platform::Helper;

use crate::fuzz::random::Random;

/// Bytes of a packet.
pub(super) const PACKET: usize = 64;
/// Bytes of the array's only value: what programs work on, and from [`RESULTS`] on their registers.
pub(super) const VALUE: usize = 256;
/// Where the registers go.
const RESULTS: i16 = 192;
/// Bytes of the hash's values; its keys have 4.
pub(super) const HASH_VALUE: usize = 16;
/// Elements that the hash has room for.
pub(super) const HASH_ROOM: usize = 8;
/// The array, as file descriptor in the code.
pub(super) const ARRAY: i32 = 1;
/// The hash.
pub(super) const HASH: i32 = 2;

/// Words of its frame that a function works on.
const WORDS: i16 = 8;
/// Where a key or a value for a helper is.
const KEY: i16 = -8 * WORDS - 8;
const ELEMENT: i16 = KEY - HASH_VALUE as i16;

/// Registers that hold numbers, but for the loops' counters.
const NUMBERS: [u8; 8] = [0, 1, 2, 3, 4, 5, 8, 9];

/// A random program.
pub(super) struct Case {
    code: Vec<Insn>,
    /// First slots of the functions.
    entries: Vec<u32>,
}

impl Case {
    /// Makes one.
    pub(super) fn new(random: &mut Random) -> Case {
        let functions = random.below(4);
        let mut main = Function::new(random, functions, true);
        main.start();
        let statements = 4 + main.random.below(24);
        main.statements(statements, 2);
        // The kernel refuses functions that nobody calls.
        if functions > 0 {
            main.call_function(0);
        }
        if functions > 1 {
            main.call_back();
        }
        if functions > 2 {
            main.call_function(2);
        }
        main.end();
        let (mut code, mut calls) = (main.code, main.calls);
        let mut entries = vec![0];
        for function in 0..functions {
            let start = code.len();
            entries.push(start as u32);
            let mut body = Function::new(random, 0, false);
            if function == 2 {
                body.leaf();
            } else {
                body.start_function(function);
                let statements = 1 + body.random.below(8);
                body.statements(statements, 1);
                body.end_function();
            }
            // Those that call this one, from the end so that each is looked at once.
            let (these, others): (Vec<_>, Vec<_>) =
                calls.into_iter().partition(|&(_, callee)| callee == function);
            for (at, _) in these {
                code[at].imm = (start - at - 1) as i32;
            }
            calls = others;
            code.extend(body.code);
        }
        Case { code, entries }
    }

    /// First slots of the functions.
    pub(super) fn entries(&self) -> &[u32] {
        &self.entries
    }

    /// For our own engines: the context has the packet's start and end as 64-bit numbers.
    pub(super) fn own(&self) -> &[Insn] {
        &self.code
    }

    /// For the kernel: the context is a `struct xdp_md`.
    pub(super) fn xdp(&self) -> Vec<Insn> {
        let mut code = self.code.clone();
        code[0] = Insn::load(Size::W, Reg(6), Reg(1), 0);
        code[1] = Insn::load(Size::W, Reg(2), Reg(1), 4);
        code
    }
}

/// A function in the making.
struct Function<'a> {
    random: &'a mut Random,
    code: Vec<Insn>,
    /// Functions that it may call.
    functions: usize,
    /// It has a packet.
    is_main: bool,
    /// It has the array's element in `r7`.
    has_element: bool,
    /// Calls of functions: slot, callee.
    calls: Vec<(usize, usize)>,
    /// Counters of the loops that it is in.
    counters: Vec<u8>,
    /// Registers that hold numbers, counters among them.
    numbers: &'static [u8],
}

impl<'a> Function<'a> {
    fn new(random: &'a mut Random, functions: usize, is_main: bool) -> Function<'a> {
        let (code, calls, counters) = (Vec::new(), Vec::new(), Vec::new());
        let (has_element, numbers) = (true, &NUMBERS);
        Function { random, code, functions, is_main, has_element, calls, counters, numbers }
    }

    fn push(&mut self, op: Op) {
        let (first, second) = op.encode();
        self.code.push(first);
        self.code.extend(second);
    }

    fn start(&mut self) {
        self.code.extend([
            Insn::load(Size::Dw, Reg(6), Reg(1), 0),
            Insn::load(Size::Dw, Reg(2), Reg(1), 8),
            Insn::mov(Reg(3), Reg(6)),
        ]);
        self.alu(AluOp::Add, 3, PACKET as i32);
        let cond = Op::JumpIf {
            width: Width::W64,
            cond: Cond::Le,
            dst: Reg(3),
            src: Operand::Reg(Reg(2)),
            off: 2,
        };
        self.push(cond);
        self.code.extend([Insn::mov_imm(Reg(0), 0), Insn::exit()]);
        self.key(0);
        self.map(1, ARRAY);
        self.call(Helper::MapLookupElem);
        self.jump_if(Cond::Ne, 0, 0, 2);
        self.code.extend([Insn::mov_imm(Reg(0), 0), Insn::exit()]);
        self.code.push(Insn::mov(Reg(7), Reg(0)));
        self.fill_frame();
        for reg in NUMBERS {
            self.number(reg);
        }
    }

    /// Functions get numbers in `r2` to `r5`, and the array's element in `r1` or a number. The
    /// second one is a callback: `r1` a number, `r2` the address of the caller's first word.
    fn start_function(&mut self, function: usize) {
        self.has_element = function == 0;
        if self.has_element {
            self.code.push(Insn::mov(Reg(7), Reg(1)));
        } else {
            self.code.push(Insn::mov(Reg(6), Reg(2)));
            self.code.push(Insn::load(Size::Dw, Reg(2), Reg(6), 0));
        }
        self.fill_frame();
        for reg in [0, 3, 4, 5, 8, 9].into_iter().chain(self.has_element.then_some(1)) {
            self.number(reg);
        }
    }

    /// The third function only computes, of what all others get.
    fn leaf(&mut self) {
        self.numbers = &[0, 2, 3, 4, 5];
        self.code.push(Insn::mov(Reg(0), Reg(2)));
        for _ in 0..self.random.below(12) {
            self.computation();
        }
        self.code.push(Insn::exit());
    }

    fn end_function(&mut self) {
        if self.has_element {
            let reg = self.any();
            self.code.push(Insn::mov(Reg(0), Reg(reg)));
        } else {
            let reg = self.any();
            self.code.push(Insn::store(Size::Dw, Reg(6), 0, Reg(reg)));
            // What a callback gives must be known to be 0 or 1.
            self.alu(AluOp::And, 0, 1);
        }
        self.code.push(Insn::exit());
    }

    fn end(&mut self) {
        for (place, reg) in NUMBERS.into_iter().enumerate() {
            self.code.push(Insn::store(Size::Dw, Reg(7), RESULTS + 8 * place as i16, Reg(reg)));
        }
        for word in 1..=WORDS {
            self.code.push(Insn::load(Size::Dw, Reg(1), Reg::FP, -8 * word));
            self.code.push(Insn::store(Size::Dw, Reg(7), RESULTS - 8 * word, Reg(1)));
        }
        self.code.push(Insn::exit());
    }

    fn fill_frame(&mut self) {
        for word in 1..=WORDS {
            let imm = self.immediate();
            self.code.push(Insn::store_imm(Size::Dw, Reg::FP, -8 * word, imm));
        }
    }

    /// A register with a number.
    fn any(&mut self) -> u8 {
        self.numbers[self.random.below(self.numbers.len())]
    }

    /// The same, but none that a loop needs.
    fn target(&mut self) -> u8 {
        loop {
            let reg = self.any();
            if !self.counters.contains(&reg) {
                return reg;
            }
        }
    }

    fn immediate(&mut self) -> i32 {
        match self.random.below(6) {
            0 => self.random.below(16) as i32,
            1 => -(self.random.below(16) as i32),
            2 => 1 << self.random.below(31),
            3 => (1i64 << self.random.below(33)).wrapping_sub(1) as i32,
            4 => self.random.next() as i16 as i32,
            _ => self.random.next() as i32,
        }
    }

    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.random.below(all.len())]
    }

    fn width(&mut self) -> Width {
        if self.random.once_in(2) { Width::W32 } else { Width::W64 }
    }

    fn size(&mut self) -> Size {
        [Size::B, Size::H, Size::W, Size::Dw][self.random.below(4)]
    }

    fn alu(&mut self, op: AluOp, dst: u8, imm: i32) {
        self.push(Op::Alu { width: Width::W64, op, dst: Reg(dst), src: Operand::Imm(imm) });
    }

    fn jump_if(&mut self, cond: Cond, dst: u8, imm: i32, off: i16) {
        let (width, src) = (Width::W64, Operand::Imm(imm));
        self.push(Op::JumpIf { width, cond, dst: Reg(dst), src, off });
    }

    /// `reg = some number`.
    fn number(&mut self, reg: u8) {
        match self.random.below(5) {
            0 => {
                let imm = Imm64::Value(self.random.next());
                self.push(Op::LoadImm64 { dst: Reg(reg), imm });
            }
            1 => {
                let imm = self.immediate();
                self.code.push(Insn::mov_imm(Reg(reg), imm));
            }
            _ => self.load(reg),
        }
    }

    /// Somewhere that numbers are: register with the address, offset, and the size of the access.
    fn place(&mut self) -> (Reg, i16, Size) {
        let size = self.size();
        let bytes = size.bytes();
        let inside = |random: &mut Random, length: usize| random.below(length - bytes + 1) as i16;
        match self.random.below(3) {
            0 if self.is_main => (Reg(6), inside(self.random, PACKET), size),
            1 if self.has_element => (Reg(7), inside(self.random, 128), size),
            // The kernel wants accesses to the stack aligned.
            _ => {
                let slot = self.random.below(8 * WORDS as usize / bytes) as i16;
                (Reg::FP, -8 * WORDS + slot * bytes as i16, size)
            }
        }
    }

    fn load(&mut self, reg: u8) {
        let (base, off, size) = self.place();
        let signed = size != Size::Dw && self.random.once_in(3);
        self.push(Op::Load { size, signed, dst: Reg(reg), base, off });
    }

    fn statements(&mut self, count: usize, depth: usize) {
        for _ in 0..count {
            self.statement(depth);
        }
    }

    fn statement(&mut self, depth: usize) {
        match self.random.below(28) {
            0..=12 => self.computation(),
            13 | 14 => {
                let reg = self.target();
                self.number(reg);
            }
            15..=17 => self.store(),
            18 => self.indexed(),
            19 | 20 => self.atomic(),
            21 | 22 if depth > 0 => self.branch(depth),
            23 if depth > 0 && self.counters.len() < 2 => self.repeat(depth),
            24 if self.functions > 0 => {
                let callee = if self.functions > 2 { 2 * self.random.below(2) } else { 0 };
                self.call_function(callee);
            }
            25 if self.functions > 1 && self.counters.is_empty() => self.call_back(),
            26 | 27 if self.is_main => self.use_map(),
            _ => self.arithmetic(),
        }
    }

    fn computation(&mut self) {
        match self.random.below(13) {
            9 => self.pair(),
            10 => {
                let (dst, width) = (self.target(), self.width());
                self.push(Op::Neg { width, dst: Reg(dst) });
            }
            11 => {
                let (width, dst, src) = (self.width(), self.target(), self.any());
                let from = match self.random.below(if width == Width::W64 { 3 } else { 2 }) {
                    0 => Size::B,
                    1 => Size::H,
                    _ => Size::W,
                };
                self.push(Op::MovSx { width, from, dst: Reg(dst), src: Reg(src) });
            }
            12 => {
                let order = [Endian::Le, Endian::Be, Endian::Swap][self.random.below(3)];
                let size = [Size::H, Size::W, Size::Dw][self.random.below(3)];
                let dst = self.target();
                self.push(Op::End { order, size, dst: Reg(dst) });
            }
            _ => self.arithmetic(),
        }
    }

    fn arithmetic(&mut self) {
        let (op, width, dst) = (self.one_of(AluOp::ALL), self.width(), self.target());
        let src = if self.random.once_in(2) {
            Operand::Reg(Reg(self.any()))
        } else {
            let bits = if width == Width::W64 { 64 } else { 32 };
            Operand::Imm(match op {
                // The kernel refuses what would be no shift, and division by a zero that it sees.
                AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => self.random.below(bits) as i32,
                AluOp::Div | AluOp::Sdiv | AluOp::Mod | AluOp::Smod => match self.immediate() {
                    0 => -1,
                    imm => imm,
                },
                _ => self.immediate(),
            })
        };
        self.push(Op::Alu { width, op, dst: Reg(dst), src });
    }

    /// What compilers write together, and engines like to fuse.
    fn pair(&mut self) {
        let (dst, a, b) = (self.target(), self.any(), self.any());
        let (width, second) = (self.width(), self.width());
        let alu = |width, op, dst, src| Op::Alu { width, op, dst: Reg(dst), src };
        match self.random.below(5) {
            0 => {
                self.push(alu(width, AluOp::Mov, dst, Operand::Reg(Reg(a))));
                let imm = self.immediate();
                self.push(alu(second, AluOp::Add, dst, Operand::Imm(imm)));
            }
            1 => {
                self.push(alu(width, AluOp::Mov, dst, Operand::Reg(Reg(a))));
                let op = [AluOp::Add, AluOp::And, AluOp::Or][self.random.below(3)];
                self.push(alu(second, op, dst, Operand::Reg(Reg(b))));
            }
            2 => {
                let op = [AluOp::Rsh, AluOp::Arsh][self.random.below(2)];
                let distance = [32, 48, 56][self.random.below(3)];
                self.push(alu(Width::W64, AluOp::Lsh, dst, Operand::Imm(distance)));
                self.push(alu(Width::W64, op, dst, Operand::Imm(distance)));
            }
            3 => self.two_bytes(dst, width),
            // A rotation.
            _ => {
                let other = self.target();
                if other == dst {
                    return;
                }
                let bits = if width == Width::W64 { 64 } else { 32 };
                let distance = 1 + self.random.below(bits - 1) as i32;
                self.push(alu(width, AluOp::Mov, other, Operand::Reg(Reg(dst))));
                self.push(alu(width, AluOp::Lsh, dst, Operand::Imm(distance)));
                self.push(alu(width, AluOp::Rsh, other, Operand::Imm(bits as i32 - distance)));
                self.push(alu(width, AluOp::Or, dst, Operand::Reg(Reg(other))));
            }
        }
    }

    fn store(&mut self) {
        let (base, off, size) = self.place();
        let src = if self.random.once_in(3) {
            Operand::Imm(self.immediate())
        } else {
            Operand::Reg(Reg(self.any()))
        };
        self.push(Op::Store { size, base, off, src });
    }

    /// An access to the array's element at an offset that a register says.
    fn indexed(&mut self) {
        if !self.has_element {
            return;
        }
        let (pointer, index, other) = (self.target(), self.any(), self.any());
        self.code.push(Insn::mov(Reg(pointer), Reg(index)));
        self.alu(AluOp::And, pointer, 63);
        let (width, src) = (Width::W64, Operand::Reg(Reg(7)));
        self.push(Op::Alu { width, op: AluOp::Add, dst: Reg(pointer), src });
        let (size, off) = (self.size(), self.random.below(56) as i16);
        if other == pointer || self.random.once_in(2) {
            let signed = size != Size::Dw && self.random.once_in(3);
            let (dst, base) = (Reg(pointer), Reg(pointer));
            self.push(Op::Load { size, signed, dst, base, off });
        } else {
            let src = Operand::Reg(Reg(other));
            self.push(Op::Store { size, base: Reg(pointer), off, src });
            self.number(pointer);
        }
    }

    fn atomic(&mut self) {
        let op = self.one_of(AtomicOp::ALL);
        let always = matches!(op, AtomicOp::Xchg | AtomicOp::Cmpxchg);
        let fetch = always || self.random.once_in(2);
        let size = if self.random.once_in(2) { Size::W } else { Size::Dw };
        let slot = self.random.below(64 / size.bytes()) as i16 * size.bytes() as i16;
        let (base, off) = if self.has_element && self.random.once_in(2) {
            (Reg(7), slot)
        } else {
            (Reg::FP, -8 * WORDS + slot)
        };
        let src = Reg(self.target());
        if op == AtomicOp::Cmpxchg && self.random.once_in(2) {
            // Else it would hardly ever exchange.
            self.push(Op::Load { size, signed: false, dst: Reg(0), base, off });
        }
        self.push(Op::Atomic { size, op, fetch, base, off, src });
    }

    fn branch(&mut self, depth: usize) {
        let cond = self.one_of(Cond::ALL);
        let (width, dst) = (self.width(), Reg(self.any()));
        let src = if self.random.once_in(2) {
            Operand::Reg(Reg(self.any()))
        } else {
            Operand::Imm(self.immediate())
        };
        let at = self.code.len();
        self.push(Op::JumpIf { width, cond, dst, src, off: 0 });
        if self.random.once_in(10) {
            self.way_out();
            return self.close(at);
        }
        let count = 1 + self.random.below(4);
        self.statements(count, depth - 1);
        if self.random.once_in(2) {
            let end = self.code.len();
            let long = self.random.once_in(2);
            self.code.push(if long { Insn::ja_long(0) } else { Insn::ja(0) });
            self.close(at);
            let count = 1 + self.random.below(4);
            self.statements(count, depth - 1);
            let distance = self.code.len() - end - 1;
            match long {
                true => self.code[end].imm = distance as i32,
                false => self.code[end].off = distance as i16,
            }
        } else {
            self.close(at);
        }
    }

    /// Leaves the function early.
    fn way_out(&mut self) {
        for _ in 0..self.random.below(3) {
            self.computation();
        }
        if self.has_element {
            let reg = self.any();
            self.code.push(Insn::mov(Reg(0), Reg(reg)));
        } else {
            self.alu(AluOp::And, 0, 1);
        }
        self.code.push(Insn::exit());
    }

    /// Lets the jump at this slot come here.
    fn close(&mut self, at: usize) {
        self.code[at].off = (self.code.len() - at - 1) as i16;
    }

    /// A loop of a few rounds.
    fn repeat(&mut self, depth: usize) {
        let Some(counter) = [9, 8].into_iter().find(|reg| !self.counters.contains(reg)) else {
            return;
        };
        let rounds = 1 + self.random.below(5) as i32;
        let (start, step, bound, cond) = match self.random.below(4) {
            0 => (rounds, -1, 0, Cond::Ne),
            way => {
                let (start, step) = (self.random.below(8) as i32, 1 << self.random.below(3));
                let end = start + step * rounds;
                match way {
                    1 => (start, step, end, Cond::Ne),
                    2 => (start, step, end - self.random.below(step as usize) as i32, Cond::Lt),
                    _ => (start, step, end - 1, Cond::Sle),
                }
            }
        };
        self.code.push(Insn::mov_imm(Reg(counter), start));
        self.counters.push(counter);
        let top = self.code.len();
        // Small loops are treated in their own way.
        if self.random.once_in(2) {
            for _ in 0..1 + self.random.below(3) {
                if self.random.once_in(2) { self.at_counter(counter) } else { self.computation() }
            }
        } else {
            let count = 1 + self.random.below(4);
            self.statements(count, depth - 1);
        }
        // What is compared may be a copy from before.
        let copy = self.target();
        let (compared, bound) = if step > 0 && self.random.once_in(3) {
            self.code.push(Insn::mov(Reg(copy), Reg(counter)));
            (copy, (bound - step).max(0))
        } else {
            (counter, bound)
        };
        self.alu(AluOp::Add, counter, step);
        let back = top as i64 - self.code.len() as i64 - 1;
        self.jump_if(cond, compared, bound, back as i16);
        self.counters.pop();
    }

    /// Two bytes that lie side by side as one number.
    fn two_bytes(&mut self, high: u8, width: Width) {
        let low = self.target();
        // The third function has no memory.
        if low == high || self.numbers != NUMBERS {
            return;
        }
        let base = if self.has_element { Reg(7) } else { Reg::FP };
        let off = self.random.below(62) as i16 + if self.has_element { 0 } else { -8 * WORDS };
        let ahead = self.random.below(2) as i16;
        let byte = |dst, off| Op::Load { size: Size::B, signed: false, dst: Reg(dst), base, off };
        self.push(byte(high, off + ahead));
        let (dst, src) = (Reg(high), Operand::Imm(8));
        self.push(Op::Alu { width, op: AluOp::Lsh, dst, src });
        self.push(byte(low, off + 1 - ahead));
        if self.random.once_in(4) {
            self.store();
        }
        self.push(Op::Alu { width, op: AluOp::Or, dst, src: Operand::Reg(Reg(low)) });
        self.number(low);
    }

    /// An access to the array's element at the place that a loop's counter says.
    fn at_counter(&mut self, counter: u8) {
        let (pointer, other) = (self.target(), self.any());
        if !self.has_element || other == pointer {
            return;
        }
        self.code.push(Insn::mov(Reg(pointer), Reg(7)));
        let (width, src) = (Width::W64, Operand::Reg(Reg(counter)));
        self.push(Op::Alu { width, op: AluOp::Add, dst: Reg(pointer), src });
        let (size, off) = (self.size(), self.random.below(32) as i16);
        if self.random.once_in(2) {
            let src = Operand::Reg(Reg(other));
            self.push(Op::Store { size, base: Reg(pointer), off, src });
        }
        let (dst, base) = (Reg(pointer), Reg(pointer));
        self.push(Op::Load { size, signed: false, dst, base, off });
    }

    /// What calls leave: nothing in `r1` to `r5`.
    fn after_call(&mut self) {
        for reg in 1..6 {
            self.number(reg);
        }
    }

    fn call(&mut self, helper: Helper) {
        self.code.push(Insn::call_helper(helper.id()));
    }

    /// Calls the first function or the third.
    fn call_function(&mut self, callee: usize) {
        self.code.push(Insn::mov(Reg(1), Reg(7)));
        self.calls.push((self.code.len(), callee));
        self.push(Op::CallLocal { off: 0 });
        self.after_call();
    }

    /// `bpf_loop` with the second function.
    fn call_back(&mut self) {
        let rounds = self.random.below(5) as i32;
        self.code.push(Insn::mov_imm(Reg(1), rounds));
        self.calls.push((self.code.len(), 1));
        self.push(Op::LoadImm64 { dst: Reg(2), imm: Imm64::Func(0) });
        self.code.push(Insn::mov(Reg(3), Reg::FP));
        self.alu(AluOp::Add, 3, -8);
        self.code.push(Insn::mov_imm(Reg(4), 0));
        self.call(Helper::Loop);
        self.after_call();
    }

    /// `r2 = address of this key`.
    fn key(&mut self, key: i32) {
        self.code.push(Insn::store_imm(Size::W, Reg::FP, KEY, key));
        self.code.push(Insn::mov(Reg(2), Reg::FP));
        self.alu(AluOp::Add, 2, KEY.into());
    }

    fn map(&mut self, reg: u8, map: i32) {
        self.push(Op::LoadImm64 { dst: Reg(reg), imm: Imm64::MapFd(map) });
    }

    fn use_map(&mut self) {
        // A counter that is in a register which a call takes away would be lost: 8 and 9 are not.
        let map = if self.random.once_in(4) { ARRAY } else { HASH };
        let keys = if map == ARRAY { 2 } else { HASH_ROOM + 4 };
        let key = self.random.below(keys) as i32;
        match self.random.below(5) {
            0 | 1 => {
                self.key(key);
                self.map(1, map);
                self.call(Helper::MapLookupElem);
                let at = self.code.len();
                self.jump_if(Cond::Eq, 0, 0, 0);
                let (size, off) = (self.size(), self.random.below(8) as i16);
                let number = [8, 9][self.random.below(2)];
                if self.random.once_in(2) {
                    self.code.push(Insn::store(size, Reg(0), off, Reg(number)));
                } else if !self.counters.contains(&number) {
                    self.code.push(Insn::load(size, Reg(number), Reg(0), off));
                }
                self.code.push(Insn::mov_imm(Reg(0), 77));
                self.close(at);
                // Either way it is a number now, for the kernel as well.
                self.number(0);
            }
            2 | 3 => {
                let bytes = if map == ARRAY { VALUE } else { HASH_VALUE };
                self.key(key);
                if map == ARRAY {
                    // The element itself is as good as any other value.
                    self.code.push(Insn::mov(Reg(3), Reg(7)));
                } else {
                    for word in 0..bytes as i16 / 8 {
                        let number = [8, 9][self.random.below(2)];
                        let place = ELEMENT + 8 * word;
                        self.code.push(Insn::store(Size::Dw, Reg::FP, place, Reg(number)));
                    }
                    self.code.push(Insn::mov(Reg(3), Reg::FP));
                    self.alu(AluOp::Add, 3, ELEMENT.into());
                }
                let flags = self.random.below(4) as i32;
                self.code.push(Insn::mov_imm(Reg(4), flags));
                self.map(1, map);
                self.call(Helper::MapUpdateElem);
            }
            _ => {
                self.key(key);
                self.map(1, map);
                self.call(Helper::MapDeleteElem);
            }
        }
        self.after_call();
    }
}

//! Uses of memory that just fit, and calls.

use bombus_isa::{AluOp, Cond, Imm64, Insn, Op, Operand, Reg, Size, Width};
use bombus_platform::{Helper, ProgType};

use super::super::world::{self, CODE_MAPS};
use super::{Function, KEY, POINTERS, VALUE, WORDS};

impl Function<'_> {
    /// Reads or writes.
    fn touch(&mut self, base: u8, size: Size, off: i16) {
        match self.random.below(4) {
            0 => {
                let src = match self.random.once_in(2) {
                    true => Operand::Imm(self.immediate()),
                    false => Operand::Reg(Reg(self.any())),
                };
                self.op(Op::Store { size, base: Reg(base), off, src });
            }
            1 if size == Size::Dw || size == Size::W => {
                let op = bombus_isa::AtomicOp::Add;
                let src = Reg(self.any());
                // The interpreter wants these aligned, as other machines do.
                if (off as usize).is_multiple_of(size.bytes()) && base == 0 {
                    self.op(Op::Atomic { size, op, fetch: false, base: Reg(base), off, src });
                }
            }
            _ => {
                let dst = self.free();
                if dst != base {
                    self.load(size, dst, base, off);
                    self.set(dst);
                }
            }
        }
    }

    /// An access to `r7`'s memory at what a bounded number says.
    pub(super) fn use_memory(&mut self) {
        let length = self.memory.unwrap_or_default();
        let size = self.size();
        let off = self.random.below(length - size.bytes() + 1);
        let most = length - size.bytes() - off;
        let index = self.bounded(most as i64);
        self.access(index, size, off as i16);
    }

    /// The same at a number that is known to be small.
    pub(super) fn use_memory_at(&mut self, index: u8, most: usize) {
        let length = self.memory.unwrap_or_default();
        let size = self.size();
        let room = length.saturating_sub(size.bytes() + most);
        let off = self.random.below(room + 1) as i64 + self.slip();
        self.access(index, size, off as i16);
    }

    /// An access to `r7`'s memory at a number, plus an offset.
    pub(super) fn access(&mut self, index: u8, size: Size, off: i16) {
        // A frame must be accessed aligned.
        let size = if self.is_frame() { Size::B } else { size };
        let pointer = self.free();
        if pointer == index {
            return;
        }
        self.numbers &= !(1 << pointer);
        self.taken |= 1 << pointer;
        let shift = self.random.below(20) as i32;
        match self.random.below(5) {
            0 => {
                self.mov(pointer, index);
                self.alu_reg(Width::W64, AluOp::Add, pointer, 7);
                self.touch(pointer, size, off);
            }
            1 => {
                self.mov(pointer, 7);
                self.alu(Width::W64, AluOp::Add, pointer, shift);
                self.alu_reg(Width::W64, AluOp::Add, pointer, index);
                self.touch(pointer, size, off - shift as i16);
            }
            2 => {
                // Downwards, by what is negative.
                self.mov(pointer, 7);
                let negative = self.free();
                if negative == index || self.taken >> negative & 1 != 0 {
                    self.number(pointer);
                    return;
                }
                self.mov(negative, index);
                self.op(Op::Neg { width: Width::W64, dst: Reg(negative) });
                self.set(negative);
                self.alu_reg(Width::W64, AluOp::Sub, pointer, negative);
                self.touch(pointer, size, off);
            }
            _ => {
                self.mov(pointer, 7);
                self.alu_reg(Width::W64, AluOp::Add, pointer, index);
                self.touch(pointer, size, off);
                if self.random.once_in(4) {
                    self.touch(pointer, Size::B, off);
                }
            }
        }
        self.taken &= !(1 << pointer);
        self.number(pointer);
    }

    /// The frame, at what a number says.
    pub(super) fn use_frame(&mut self) {
        let size = self.size();
        let length = 8 * i64::from(WORDS);
        // Such accesses must be aligned.
        let bytes = size.bytes() as i64;
        let index = self.bounded((length - bytes) / bytes);
        self.alu(Width::W64, AluOp::Lsh, index, bytes.trailing_zeros() as i32);
        let pointer = self.free();
        if pointer == index {
            return;
        }
        self.numbers &= !(1 << pointer);
        self.taken |= 1 << pointer;
        self.mov(pointer, 10);
        self.alu(Width::W64, AluOp::Add, pointer, -length as i32);
        self.alu_reg(Width::W64, AluOp::Add, pointer, index);
        if self.random.once_in(3) {
            let src = match self.random.below(3) {
                0 => Operand::Imm(0),
                1 => Operand::Imm(self.immediate()),
                _ => Operand::Reg(Reg(self.any())),
            };
            self.op(Op::Store { size, base: Reg(pointer), off: 0, src });
        } else {
            self.load(size, index, pointer, 0);
        }
        self.taken &= !(1 << pointer);
        self.number(pointer);
    }

    /// `dst = data` or `data_end`.
    fn packet_pointer(&mut self, dst: u8, end: bool) {
        let off = match self.prog_type {
            ProgType::Xdp => 4 * i16::from(end),
            _ => 76 + 4 * i16::from(end),
        };
        let load = |size, off| Insn::load(size, Reg(dst), Reg(6), off);
        self.code.push(load(Size::W, off));
        self.run.push(load(Size::Dw, 2 * off));
        self.numbers &= !(1 << dst);
    }

    /// Reads and writes of the packet behind a comparison with its end.
    pub(super) fn use_packet(&mut self) {
        let mut pick = || -> Option<[u8; 3]> {
            let all = [self.free(), self.free(), self.free()];
            let [a, b, c] = all;
            (a != b && b != c && a != c).then_some(all)
        };
        let Some([start, end, reach]) = pick().or_else(pick) else { return };
        let index = self.random.once_in(2).then(|| {
            self.taken |= 1 << start | 1 << end | 1 << reach;
            let most = [255, 60, 15, 3000][self.random.below(4)];
            self.bounded(most)
        });
        self.taken |= 1 << start | 1 << end | 1 << reach;
        self.packet_pointer(start, false);
        self.packet_pointer(end, true);
        let shift = self.random.below(8) as i32;
        if self.random.once_in(4) {
            self.alu(Width::W64, AluOp::Add, start, shift);
        }
        if let Some(index) = index {
            self.alu_reg(Width::W64, AluOp::Add, start, index);
        }
        let length = 1 + self.random.below(24) as i32;
        self.mov(reach, start);
        self.numbers &= !(1 << reach);
        self.alu(Width::W64, AluOp::Add, reach, length);
        // Where at most so many bytes are there there are so many; where fewer are, one fewer.
        let mut there = i64::from(length);
        let swapped = self.random.once_in(2);
        let (a, b) = if swapped { (end, reach) } else { (reach, end) };
        let strict = self.random.once_in(3);
        let (goes, falls) = match (swapped, strict) {
            (false, false) => (Cond::Gt, Cond::Le),
            (true, false) => (Cond::Lt, Cond::Ge),
            (false, true) => (Cond::Ge, Cond::Lt),
            (true, true) => (Cond::Le, Cond::Gt),
        };
        if strict {
            there += 1;
        }
        if self.random.once_in(2) {
            self.skip(Width::W64, goes, a, Operand::Reg(Reg(b)));
        } else {
            let at = self.jump(Width::W64, falls, a, Operand::Reg(Reg(b)));
            let over = self.goto();
            self.skips.push((over, self.numbers, self.pointers));
            self.land(at);
        }
        there += self.slip().min(9);
        for _ in 0..1 + self.random.below(2) {
            let size = self.size();
            let bytes = size.bytes() as i64;
            if there < bytes {
                continue;
            }
            let off = match self.random.once_in(2) {
                true => there - bytes,
                false => self.random.below((there - bytes) as usize + 1) as i64,
            };
            if self.random.once_in(3) {
                self.touch(reach, size, (off - i64::from(length)) as i16);
            } else {
                self.touch(start, size, off as i16);
            }
        }
        if self.random.once_in(3) {
            // How far it is between two of them.
            self.alu_reg(Width::W64, AluOp::Sub, end, start);
            self.set(end);
        }
        for reg in [start, end, reach] {
            if self.numbers >> reg & 1 == 0 {
                self.number(reg);
            }
        }
    }

    /// `r7` goes to the frame.
    pub(super) fn keep_pointer(&mut self) {
        let place = self.random.below(POINTERS.len());
        let (off, memory) = (POINTERS[place], self.memory.unwrap_or_default());
        let shift = self.random.below(memory);
        if self.random.once_in(2) {
            let reg = self.free();
            self.mov(reg, 7);
            self.alu(Width::W64, AluOp::Add, reg, shift as i32);
            self.op(Op::Store { size: Size::Dw, base: Reg::FP, off, src: Operand::Reg(Reg(reg)) });
            self.pointers[place] = Some(memory - shift);
            self.numbers &= !(1 << reg);
            self.number(reg);
        } else {
            self.op(Op::Store { size: Size::Dw, base: Reg::FP, off, src: Operand::Reg(Reg(7)) });
            self.pointers[place] = Some(memory);
        }
        if self.random.once_in(20) {
            // Part of it is overwritten: it is no pointer any more.
            self.op(Op::Store { size: Size::B, base: Reg::FP, off: off + 2, src: Operand::Imm(0) });
        }
    }

    /// A pointer comes from the frame, and is used.
    pub(super) fn use_pointer(&mut self) {
        let place = self.random.below(POINTERS.len());
        let Some(memory) = self.pointers[place] else { return };
        let (pointer, size) = (self.free(), self.size());
        if memory < size.bytes() {
            return;
        }
        self.numbers &= !(1 << pointer);
        self.taken |= 1 << pointer;
        self.op(Op::Load {
            size: Size::Dw,
            signed: false,
            dst: Reg(pointer),
            base: Reg::FP,
            off: POINTERS[place],
        });
        let most = memory - size.bytes();
        let off = self.random.below(most + 1);
        let off = if self.random.once_in(2) { most } else { off };
        let off = off as i64 + self.slip();
        self.touch(pointer, size, off as i16);
        self.taken &= !(1 << pointer);
        self.number(pointer);
    }

    /// `r0 = look up`.
    pub(super) fn look_up(&mut self, hash: bool) {
        let map = if hash { CODE_MAPS.hash } else { CODE_MAPS.array };
        let size = if hash { Size::Dw } else { Size::W };
        let key = self.random.below(world::ENTRIES + 1) as i32;
        let src = match self.numbers != 0 && self.random.once_in(3) {
            true => Operand::Reg(Reg(self.any())),
            false => Operand::Imm(key),
        };
        self.op(Op::Store { size, base: Reg::FP, off: KEY, src });
        self.mov(2, 10);
        self.alu(Width::W64, AluOp::Add, 2, KEY.into());
        self.op(Op::LoadImm64 { dst: Reg(1), imm: Imm64::MapFd(map) });
        self.call(Helper::MapLookupElem);
        self.numbers &= !1;
    }

    /// Jumps on when `r0` is null; now and then it does not.
    fn skip_null(&mut self) {
        match self.random.below(40) {
            0 => {}
            1..20 => self.skip(Width::W64, Cond::Eq, 0, Operand::Imm(0)),
            _ => {
                let at = self.jump(Width::W64, Cond::Ne, 0, Operand::Imm(0));
                let over = self.goto();
                self.skips.push((over, self.numbers, self.pointers));
                self.land(at);
            }
        }
    }

    pub(super) fn use_map(&mut self) {
        let hash = self.random.once_in(2);
        let length = if hash { world::HASH_VALUE } else { world::ARRAY_VALUE };
        match self.random.below(3) {
            0 if self.is_main() => {
                // An update, from the frame.
                let map = if hash { CODE_MAPS.hash } else { CODE_MAPS.array };
                let size = if hash { Size::Dw } else { Size::W };
                let key = self.random.below(world::ENTRIES + 1) as i32;
                self.op(Op::Store { size, base: Reg::FP, off: KEY, src: Operand::Imm(key) });
                self.mov(2, 10);
                self.alu(Width::W64, AluOp::Add, 2, KEY.into());
                self.mov(3, 10);
                self.alu(Width::W64, AluOp::Add, 3, VALUE.into());
                self.mov_imm(4, 0);
                self.op(Op::LoadImm64 { dst: Reg(1), imm: Imm64::MapFd(map) });
                self.call(Helper::MapUpdateElem);
            }
            _ => {
                self.look_up(hash);
                let copy = [8, 9][self.random.below(2)];
                let copies = self.random.once_in(2) && self.taken >> copy & 1 == 0;
                if copies {
                    self.mov(copy, 0);
                    self.numbers &= !(1 << copy);
                }
                self.skip_null();
                let base = if copies { copy } else { 0 };
                let size = self.size();
                let most = length - size.bytes();
                let off = if self.random.once_in(2) { most } else { self.random.below(most + 1) };
                let off = off as i64 + self.slip();
                self.taken |= 1;
                if base == 0 {
                    self.touch(0, size, off as i16);
                } else {
                    self.taken |= 1 << copy;
                    self.touch(copy, size, off as i16);
                }
                self.number(0);
                if copies {
                    self.number(copy);
                }
            }
        }
    }

    /// A record of a ring buffer: taken, filled, and given back.
    pub(super) fn use_ring(&mut self) {
        let size = 8 * (1 + self.random.below(5) as i32);
        self.op(Op::LoadImm64 { dst: Reg(1), imm: Imm64::MapFd(CODE_MAPS.ring) });
        self.mov_imm(2, size);
        self.mov_imm(3, 0);
        self.call(Helper::RingbufReserve);
        self.numbers &= !1;
        self.skip_null();
        self.taken |= 1;
        for _ in 0..self.random.below(3) {
            let part = self.size();
            let most = i64::from(size) - part.bytes() as i64;
            let off = self.random.below(most as usize + 1) as i64;
            let off = if self.random.once_in(2) { most } else { off } + self.slip();
            self.touch(0, part, off as i16);
        }
        if self.random.once_in(60) {
            self.number(0);
            return;
        }
        self.mov(1, 0);
        self.mov_imm(2, 0);
        self.numbers &= !0b10;
        let give = [Helper::RingbufSubmit, Helper::RingbufDiscard][self.random.below(2)];
        self.call(give);
        self.number(0);
    }

    /// Helpers that give numbers.
    pub(super) fn simple_help(&mut self) {
        let helpers = [Helper::KtimeGetNs, Helper::GetPrandomU32, Helper::GetSmpProcessorId];
        if self.taken & super::CALLER_SAVED != 0 {
            return;
        }
        let helper = helpers[self.random.below(helpers.len())];
        self.call(helper);
    }

    /// Helpers that read or fill the frame, or change the packet.
    pub(super) fn help(&mut self) {
        if self.taken & super::CALLER_SAVED != 0 {
            return;
        }
        let length = 8 * i64::from(WORDS);
        match self.prog_type {
            ProgType::Xdp if self.random.once_in(2) => {
                let reg = self.any();
                self.mov(2, reg);
                self.mov(1, 6);
                self.numbers &= !0b10;
                self.call(Helper::XdpAdjustHead);
            }
            ProgType::SchedCls | ProgType::SocketFilter => {
                let size = self.bounded(length - 1);
                self.alu(Width::W64, AluOp::Add, size, 1);
                self.mov(4, size);
                let off = if size == 2 { 4 } else { self.any() };
                self.mov(2, off);
                self.mov(3, 10);
                self.alu(Width::W64, AluOp::Add, 3, -length as i32);
                self.mov(1, 6);
                self.numbers &= !0b11_1110;
                self.call(Helper::SkbLoadBytes);
            }
            ProgType::Kprobe => {
                let size = self.bounded(length);
                let from = self.any();
                self.mov(2, size);
                if from == 2 {
                    self.mov_imm(3, 0);
                } else {
                    self.mov(3, from);
                }
                self.mov(1, 10);
                self.alu(Width::W64, AluOp::Add, 1, -length as i32);
                self.numbers &= !0b11_1110;
                let helpers = [Helper::ProbeReadKernel, Helper::ProbeReadKernelStr];
                let helper = helpers[self.random.below(2)];
                self.call(helper);
            }
            _ => {
                let size = self.bounded(length);
                self.mov(3, size);
                self.mov(2, 10);
                self.alu(Width::W64, AluOp::Add, 2, -length as i32);
                self.mov_imm(4, 0);
                self.op(Op::LoadImm64 { dst: Reg(1), imm: Imm64::MapFd(CODE_MAPS.ring) });
                self.numbers &= !0b11_1110;
                self.call(Helper::RingbufOutput);
            }
        }
    }

    fn call_function(&mut self, callee: usize) {
        self.calls.push((self.code.len(), callee));
        self.op(Op::CallLocal { off: 0 });
        self.after_call();
    }

    pub(super) fn call_worker(&mut self) {
        if self.taken & super::CALLER_SAVED != 0 {
            return;
        }
        // It takes for granted that it has so many bytes.
        if self.memory.is_none_or(|memory| memory < world::ARRAY_VALUE) {
            return;
        }
        let reg = self.any();
        self.mov(2, reg);
        self.mov(1, 7);
        self.numbers &= !0b10;
        self.call_function(0);
    }

    pub(super) fn call_leaf(&mut self) {
        if self.taken & super::CALLER_SAVED != 0 {
            return;
        }
        let (a, b) = (self.any(), self.any());
        self.mov(2, b);
        if a != 2 {
            self.mov(1, a);
        } else {
            self.mov_imm(1, 5);
        }
        self.call_function(3);
    }

    fn function(&mut self, reg: u8, callee: usize) {
        self.calls.push((self.code.len(), callee));
        self.op(Op::LoadImm64 { dst: Reg(reg), imm: Imm64::Func(0) });
    }

    /// The address of the frame's words.
    fn words(&mut self, reg: u8) {
        self.mov(reg, 10);
        self.alu(Width::W64, AluOp::Add, reg, -8 * i32::from(WORDS));
    }

    pub(super) fn call_rounds(&mut self) {
        if self.taken != 0 {
            return;
        }
        let rounds = match self.random.below(3) {
            0 => {
                let rounds = self.target();
                self.alu(Width::W64, AluOp::And, rounds, 7);
                rounds
            }
            _ => {
                let rounds = self.random.below(5) as i32;
                self.mov_imm(1, rounds);
                1
            }
        };
        self.mov(1, rounds);
        self.function(2, 1);
        self.words(3);
        self.mov_imm(4, 0);
        self.numbers &= !0b11_1110;
        self.call(Helper::Loop);
    }

    pub(super) fn call_elements(&mut self) {
        if self.taken != 0 {
            return;
        }
        self.op(Op::LoadImm64 { dst: Reg(1), imm: Imm64::MapFd(CODE_MAPS.array) });
        self.function(2, 2);
        self.words(3);
        self.mov_imm(4, 0);
        self.numbers &= !0b11_1110;
        self.call(Helper::ForEachMapElem);
    }
}

//! Numbers that are known to be small, in every way that programs make them so.

use bombus_isa::{AluOp, Cond, Endian, Op, Operand, Reg, Size, Width};

use super::Function;

/// The greatest number whose bits are all ones and that is not greater.
fn mask(most: i64) -> i32 {
    let most = most.max(0) as u64 + 1;
    ((1u64 << (63 - most.leading_zeros())) - 1) as i32
}

impl Function<'_> {
    /// A register with a number from 0 up to `most`, or a little more now and then. Else the rest of
    /// the statement is jumped over.
    pub(super) fn bounded(&mut self, most: i64) -> u8 {
        let reg = self.target();
        self.taken |= 1 << reg;
        if self.random.once_in(2) {
            self.number(reg);
        }
        let most = (most + self.slip()).max(0);
        self.bound(reg, most, 2);
        reg
    }

    fn bound(&mut self, reg: u8, most: i64, depth: usize) {
        if depth > 0 && most > 0 && self.random.once_in(3) {
            return self.derived(reg, most, depth - 1);
        }
        let imm = Operand::Imm;
        let to = most as i32;
        match self.random.below(17) {
            0 => self.alu(Width::W64, AluOp::And, reg, to),
            1 => self.alu(Width::W32, AluOp::And, reg, to),
            2 => self.skip(Width::W64, Cond::Gt, reg, imm(to)),
            3 => self.skip(Width::W64, Cond::Ge, reg, imm(to.wrapping_add(1))),
            4 => {
                // The other way round.
                let cond = [Cond::Le, Cond::Lt][self.random.below(2)];
                let to = if cond == Cond::Lt { to.wrapping_add(1) } else { to };
                let at = self.jump(Width::W64, cond, reg, imm(to));
                let over = self.goto();
                self.skips.push((over, self.numbers, self.pointers));
                self.land(at);
            }
            5 => {
                self.alu_reg(Width::W32, AluOp::Mov, reg, reg);
                let cond = [Cond::Gt, Cond::Ge][self.random.below(2)];
                let to = if cond == Cond::Ge { to.wrapping_add(1) } else { to };
                self.skip(Width::W32, cond, reg, imm(to));
            }
            6 => {
                self.skip(Width::W32, Cond::Gt, reg, imm(to));
                self.alu_reg(Width::W32, AluOp::Mov, reg, reg);
            }
            7 => {
                let width = self.width();
                if self.random.once_in(2) {
                    self.skip(width, Cond::Sgt, reg, imm(to));
                    self.skip(width, Cond::Slt, reg, imm(0));
                } else {
                    self.skip(width, Cond::Sle, reg, imm(-1));
                    self.skip(width, Cond::Sge, reg, imm(to.wrapping_add(1)));
                }
                if width == Width::W32 {
                    self.alu_reg(Width::W32, AluOp::Mov, reg, reg);
                }
            }
            8 => {
                let width = self.width();
                self.alu(width, AluOp::Mod, reg, to.wrapping_add(1).max(1));
            }
            9 => {
                let bits = mask(most).count_ones() as i32;
                match self.width() {
                    Width::W64 => self.alu(Width::W64, AluOp::Rsh, reg, (64 - bits).min(63)),
                    Width::W32 => self.alu(Width::W32, AluOp::Rsh, reg, (32 - bits).min(31)),
                }
                if bits == 0 {
                    self.alu(Width::W64, AluOp::And, reg, 0);
                }
            }
            10 => {
                let width = self.width();
                self.skip(width, Cond::Set, reg, imm(!mask(most)));
                if width == Width::W32 {
                    self.alu_reg(Width::W32, AluOp::Mov, reg, reg);
                }
            }
            11 => {
                // Only this one.
                let width = self.width();
                self.skip(width, Cond::Ne, reg, imm(to));
                if width == Width::W32 {
                    self.alu_reg(Width::W32, AluOp::Mov, reg, reg);
                }
            }
            12 => {
                let other = self.target();
                if other == reg {
                    return self.alu(Width::W64, AluOp::And, reg, to);
                }
                // Less than another that is bounded.
                self.bound(other, most, 0);
                let width = self.width();
                let cond = [Cond::Gt, Cond::Ge][self.random.below(2)];
                self.skip(width, cond, reg, Operand::Reg(Reg(other)));
                if width == Width::W32 {
                    self.alu_reg(Width::W32, AluOp::Mov, reg, reg);
                }
            }
            13 => {
                // A copy is compared, with something added.
                let copy = self.target();
                if copy == reg {
                    return self.alu(Width::W64, AluOp::And, reg, to);
                }
                let width = self.width();
                self.alu_reg(width, AluOp::Mov, copy, reg);
                let more = if self.random.once_in(2) { self.random.below(9) as i32 } else { 0 };
                if more != 0 {
                    if self.random.once_in(2) {
                        self.bound(reg, 1 << 20, 0);
                        self.alu_reg(width, AluOp::Mov, copy, reg);
                    }
                    self.alu(width, AluOp::Add, copy, more);
                }
                self.skip(width, Cond::Gt, copy, imm(to.wrapping_add(more)));
                if more != 0 {
                    self.skip(width, Cond::Lt, copy, imm(more));
                }
                if width == Width::W32 && self.random.once_in(2) {
                    self.alu_reg(Width::W32, AluOp::Mov, reg, reg);
                }
            }
            14 => {
                // The sign, everywhere, and some bits of that.
                let width = self.width();
                let bits = if width == Width::W64 { 63 } else { 31 };
                self.alu(width, AluOp::Arsh, reg, bits);
                self.alu(Width::W64, AluOp::And, reg, to);
            }
            15 => {
                let width = self.width();
                let by = (u64::from(u32::MAX) / (most as u64 + 1) + 1).min(i32::MAX as u64) as i32;
                if width == Width::W64 {
                    self.alu_reg(Width::W32, AluOp::Mov, reg, reg);
                }
                self.alu(width, AluOp::Div, reg, by);
                if most == 0 {
                    self.alu(Width::W64, AluOp::And, reg, 0);
                }
            }
            _ => {
                // Signed division and remainder.
                let width = self.width();
                self.alu(width, AluOp::Smod, reg, to.wrapping_add(1).max(2));
                self.skip(width, Cond::Slt, reg, imm(0));
                if width == Width::W32 && self.random.once_in(2) {
                    self.alu_reg(Width::W32, AluOp::Mov, reg, reg);
                }
            }
        }
    }

    /// A bounded number that others come from.
    fn derived(&mut self, reg: u8, most: i64, depth: usize) {
        let width = self.width();
        let other = |function: &mut Self, from: u8| {
            let other = function.target();
            (other != from).then_some(other)
        };
        match self.random.below(13) {
            0 => {
                let part = self.random.below(most as usize + 1) as i64;
                self.bound(reg, most - part, depth);
                self.alu(width, AluOp::Add, reg, part as i32);
            }
            1 => {
                self.bound(reg, most, depth);
                if let Some(other) = other(self, reg) {
                    self.mov_imm(other, most as i32);
                    self.alu_reg(width, AluOp::Sub, other, reg);
                    self.mov(reg, other);
                }
            }
            2 => {
                let by = 1 + self.random.below(5) as i64;
                self.bound(reg, most / by, depth);
                self.alu(width, AluOp::Mul, reg, by as i32);
            }
            3 => {
                let by = self.random.below(4) as i32;
                self.bound(reg, most >> by, depth);
                self.alu(width, AluOp::Lsh, reg, by);
            }
            4 | 5 => {
                let bits = mask(most);
                let with = self.random.below(bits as usize + 1) as i32;
                self.bound(reg, bits.into(), depth);
                let op = [AluOp::Xor, AluOp::Or][self.random.below(2)];
                self.alu(width, op, reg, with);
            }
            6 => {
                self.bound(reg, most, depth);
                self.op(Op::Neg { width, dst: Reg(reg) });
                self.op(Op::Neg { width, dst: Reg(reg) });
            }
            7 => {
                self.bound(reg, most.min(255), depth);
                let size = [Size::H, Size::W, Size::Dw][self.random.below(3)];
                let order = [Endian::Be, Endian::Swap][self.random.below(2)];
                self.op(Op::End { order, size, dst: Reg(reg) });
                self.alu(Width::W64, AluOp::Rsh, reg, 8 * (size.bytes() as i32 - 1));
            }
            8 => {
                self.bound(reg, most, depth);
                let (size, off) = self.word();
                let (base, src) = (Reg::FP, Operand::Reg(Reg(reg)));
                self.op(Op::Store { size, base, off, src });
                self.op(Op::Load { size, signed: false, dst: Reg(reg), base, off });
                if size == Size::B && most > 255 {
                    self.bound(reg, most, 0);
                }
            }
            9 => {
                // The sum of two.
                let part = self.random.below(most as usize + 1) as i64;
                self.bound(reg, most - part, depth);
                if let Some(other) = other(self, reg) {
                    self.taken |= 1 << other;
                    self.bound(other, part, depth);
                    let op =
                        [AluOp::Add, AluOp::Or, AluOp::Xor, AluOp::And, AluOp::Sub, AluOp::Mul]
                            [self.random.below(6)];
                    self.alu_reg(width, op, reg, other);
                    if op != AluOp::Add && op != AluOp::And {
                        self.bound(reg, most, 0);
                    }
                    self.taken &= !(1 << other);
                }
            }
            10 => {
                // As signed numbers of fewer bits.
                self.bound(reg, most, depth);
                let from = [Size::B, Size::H][self.random.below(2)];
                self.op(Op::MovSx { width, from, dst: Reg(reg), src: Reg(reg) });
                if most > 127 && from == Size::B {
                    self.skip(width, Cond::Slt, reg, Operand::Imm(0));
                }
            }
            11 => {
                self.bound(reg, most, depth);
                let by = self.random.below(4) as i32;
                let op = [AluOp::Rsh, AluOp::Arsh][self.random.below(2)];
                self.alu(width, op, reg, by);
            }
            _ => {
                self.bound(reg, most, depth);
                if let Some(by) = other(self, reg) {
                    self.taken |= 1 << by;
                    self.bound(by, 3, 0);
                    let op =
                        [AluOp::Rsh, AluOp::Arsh, AluOp::Div, AluOp::Mod, AluOp::Sdiv, AluOp::Smod]
                            [self.random.below(6)];
                    self.alu_reg(width, op, reg, by);
                    self.taken &= !(1 << by);
                }
            }
        }
    }
}

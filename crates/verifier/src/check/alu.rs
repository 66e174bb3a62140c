//! Arithmetic (`check_alu_op`, `kernel/bpf/verifier.c`).

use std::num::Wrapping;

use bombus_isa::{AluOp, Endian, Op, Operand, Reg, Size, Width};

use crate::domain::{Range, Scalar, Tnum};
use crate::state::{ADD_CONST, ADD_CONST32, ADD_CONST64, Base, Number, Object, Register};
use crate::walk::{Check, Walk, refuse};

impl Walk<'_> {
    /// A register that an instruction reads (`check_reg_arg`, `SRC_OP`).
    pub(crate) fn read(&mut self, register: Reg) -> Check<Register> {
        let index = usize::from(register.0);
        self.touch_register(index);
        let known = self.state.regs()[index];
        if known.kind.is(Base::NotInit) {
            refuse!(self, EACCES, "R{index} !read_ok");
        }
        Ok(known)
    }

    /// A register that an instruction writes: its number (`check_reg_arg`, `DST_OP`).
    pub(crate) fn written(&mut self, register: Reg) -> Check<usize> {
        let index = usize::from(register.0);
        self.touch_register(index);
        if register == Reg::FP {
            refuse!(self, EACCES, "frame pointer is read only");
        }
        Ok(index)
    }

    /// Whether a register holds a pointer that the process must not learn (`is_pointer_value`).
    pub(crate) fn leaks(&self, register: &Register) -> bool {
        !self.allowed.pointer_leaks && register.kind.is_pointer()
    }

    /// Arithmetic.
    pub(crate) fn alu(&mut self, op: Op) -> Check {
        match op {
            Op::Neg { width, dst } => {
                let value = self.unary(dst)?;
                self.set_scalar(dst, value.map(|value| value.negated(width)), true);
            }
            Op::End { order, size, dst } => {
                let value = self.unary(dst)?;
                // Nothing changes where the order is the machine's and the width all.
                let forgets = order != Endian::Le || size != Size::Dw;
                self.set_scalar(dst, value.map(|value| swapped(value, order, size)), forgets);
            }
            Op::MovSx { width, from, dst, src } => self.move_extended(width, from, dst, src)?,
            Op::AddrSpaceCast { dst, src, to } => self.cast(dst, src, to)?,
            Op::Alu { width, op: AluOp::Mov, dst, src } => self.mov(width, dst, src)?,
            Op::Alu { width, op, dst, src } => self.binary(width, op, dst, src)?,
            _ => {}
        }
        Ok(())
    }

    /// The operand of an instruction that has one: a number, or `None` for a pointer that may
    /// become one.
    fn unary(&mut self, dst: Reg) -> Check<Option<Scalar<Number>>> {
        let known = self.read(dst)?;
        if self.leaks(&known) {
            refuse!(self, EACCES, "R{} pointer arithmetic prohibited", dst.0);
        }
        self.written(dst)?;
        Ok(known.is_scalar().then_some(known.value))
    }

    /// The result of arithmetic on the same register.
    fn set_scalar(&mut self, dst: Reg, value: Option<Scalar<Number>>, forgets: bool) {
        let unknown = self.unknown();
        let register = &mut self.state.regs()[usize::from(dst.0)];
        match value {
            Some(value) => {
                register.value = value;
                if forgets {
                    register.forget_id();
                }
            }
            None => *register = unknown,
        }
    }

    /// Gives a number an id before it is copied (`assign_scalar_id_before_mov`).
    pub(crate) fn share_id(&mut self, mut register: Register) -> Register {
        if register.is_scalar() {
            if register.id & ADD_CONST != 0 {
                register.forget_id();
            }
            if register.id == 0 && register.known().is_none() {
                register.id = self.new_id();
            }
        }
        register
    }

    fn mov(&mut self, width: Width, dst: Reg, src: Operand) -> Check {
        let src = match src {
            Operand::Imm(number) => {
                let number = match width {
                    Width::W64 => number as i64 as u64,
                    Width::W32 => u64::from(number as u32),
                };
                let dst = self.written(dst)?;
                let precise = self.unknown().precise;
                self.state.regs()[dst] = Register { precise, ..Register::constant(number) };
                return Ok(());
            }
            Operand::Reg(src) => src,
        };
        let known = self.read(src)?;
        let dst = self.written(dst)?;
        let unknown = self.unknown();
        let result = match width {
            Width::W64 => {
                let known = self.share_id(known);
                self.state.regs()[usize::from(src.0)] = known;
                known
            }
            Width::W32 if self.leaks(&known) => {
                refuse!(self, EACCES, "R{} partial copy of pointer", src.0);
            }
            Width::W32 => {
                let mut result = unknown;
                if known.is_scalar() {
                    let fits = known.width() <= 32;
                    result = if fits { self.share_id(known) } else { known };
                    if fits {
                        self.state.regs()[usize::from(src.0)] = result;
                    } else {
                        result.forget_id();
                    }
                }
                result.value = Scalar::zero_extended(result.value.half());
                result
            }
        };
        self.state.regs()[dst] = result;
        Ok(())
    }

    fn move_extended(&mut self, width: Width, from: Size, dst: Reg, src: Reg) -> Check {
        let known = self.read(src)?;
        let dst = self.written(dst)?;
        let bits = from.bytes() as u32 * 8;
        if self.leaks(&known) {
            match width {
                Width::W64 => refuse!(self, EACCES, "R{} sign-extension part of pointer", src.0),
                Width::W32 => refuse!(self, EACCES, "R{} partial copy of pointer", src.0),
            }
        }
        let mut result = self.unknown();
        if known.is_scalar() {
            let same = known.umax() < 1 << (bits - 1);
            result = if same { self.share_id(known) } else { known };
            if same {
                self.state.regs()[usize::from(src.0)] = result;
            } else {
                result.forget_id();
            }
            result.value = result.value.sign_extended_from(bits, width);
        } else if width == Width::W32 {
            result.value = Scalar::zero_extended(result.value.half());
        }
        self.state.regs()[dst] = result;
        Ok(())
    }

    fn cast(&mut self, dst: Reg, src: Reg, to: u16) -> Check {
        if self.arena().is_none() {
            refuse!(
                self,
                EINVAL,
                "addr_space_cast insn can only be used in a program that has an associated arena"
            );
        }
        self.read(src)?;
        let dst = self.written(dst)?;
        let mut result = self.unknown();
        // Address space 1 is the arena's as user space has it.
        if to == 0 {
            result.kind = Base::Arena.into();
        }
        self.state.regs()[dst] = result;
        Ok(())
    }

    fn binary(&mut self, width: Width, op: AluOp, dst: Reg, src: Operand) -> Check {
        let right = match src {
            Operand::Reg(src) => Some(self.read(src)?),
            Operand::Imm(_) => None,
        };
        let left = self.read(dst)?;
        if let Operand::Imm(number) = src {
            let divides = matches!(op, AluOp::Div | AluOp::Sdiv | AluOp::Mod | AluOp::Smod);
            if divides && number == 0 {
                refuse!(self, EINVAL, "div by zero");
            }
            let bits = if width == Width::W64 { 64 } else { 32 };
            if matches!(op, AluOp::Lsh | AluOp::Rsh | AluOp::Arsh) && !(0..bits).contains(&number) {
                refuse!(self, EINVAL, "invalid shift {number}");
            }
        }
        let dst_index = self.written(dst)?;
        let arena = |register: &Register| register.kind.is(Base::Arena);
        if arena(&left) || right.as_ref().is_some_and(arena) {
            return self.arena_arithmetic(width, dst_index, left, right);
        }
        if self.arena().is_some() && width == Width::W64 {
            let note = &mut self.notes[self.slot].arena;
            note.1 = true;
            if note.0 {
                refuse!(self, EINVAL, "same insn cannot be used with and without arena pointer");
            }
        }
        let constant = |number: i32| Register::constant(number as i64 as u64);
        match (left.is_scalar(), right, src) {
            (false, Some(right), _) if !right.is_scalar() => {
                if op == AluOp::Sub && self.allowed.pointer_leaks {
                    self.state.regs()[dst_index] = self.unknown();
                    return Ok(());
                }
                let symbol = op.symbol();
                refuse!(self, EACCES, "R{} pointer {symbol} pointer prohibited", dst.0);
            }
            (true, Some(right), Operand::Reg(pointer)) if !right.is_scalar() => {
                self.mark_precise(dst_index)?;
                self.pointer_arithmetic(width, op, dst, pointer, right, left)
            }
            (false, Some(right), Operand::Reg(src)) => {
                self.mark_precise(src.0.into())?;
                self.pointer_arithmetic(width, op, dst, dst, left, right)
            }
            (false, _, Operand::Imm(number)) => {
                self.pointer_arithmetic(width, op, dst, dst, left, constant(number))
            }
            (true, right, _) => {
                if let (true, Operand::Reg(src)) = (left.precise, src) {
                    self.mark_precise(src.0.into())?;
                }
                let right = match (right, src) {
                    (Some(right), _) => right,
                    (None, Operand::Imm(number)) => constant(number),
                    (None, Operand::Reg(_)) => self.unknown(),
                };
                let itself = matches!(src, Operand::Reg(src) if src == dst);
                self.scalar_arithmetic(width, op, dst, &right, itself)
            }
            (false, None, Operand::Reg(_)) => Ok(()),
        }
    }

    fn arena_arithmetic(
        &mut self,
        width: Width,
        dst: usize,
        left: Register,
        right: Option<Register>,
    ) -> Check {
        if let (false, Some(right)) = (left.kind.is(Base::Arena), right) {
            self.state.regs()[dst] = right;
        }
        if width == Width::W64 {
            let note = &mut self.notes[self.slot].arena;
            note.0 = true;
            if note.1 {
                refuse!(self, EINVAL, "same insn cannot be used with and without arena pointer");
            }
        }
        Ok(())
    }

    /// Numbers (`adjust_scalar_min_max_vals`, and what `adjust_reg_min_max_vals` does with ids).
    fn scalar_arithmetic(
        &mut self,
        width: Width,
        op: AluOp,
        dst: Reg,
        right: &Register,
        itself: bool,
    ) -> Check {
        let dst = usize::from(dst.0);
        let left = self.state.regs()[dst];
        let constant = match width {
            Width::W64 => right.number(),
            Width::W32 => right.low_number().map(u64::from),
        };
        if !computes(op, width, constant) {
            self.state.regs()[dst] = self.unknown();
            return Ok(());
        }
        self.guard_scalar(op)?;
        let mut known = left;
        if matches!(op, AluOp::And | AluOp::Or) && right.number().is_some() {
            known = self.fork(dst, left)?;
        }
        known.value = known.value.alu(op, width, right.value);
        // What it is more than another number.
        let adds = matches!(op, AluOp::Add | AluOp::Sub) && self.allowed.bpf && known.id != 0;
        match constant.and_then(|number| offset_by(op, width, number, left.umax())) {
            Some(offset) if adds && !itself && known.id & ADD_CONST == 0 => {
                known.id |= if width == Width::W32 { ADD_CONST32 } else { ADD_CONST64 };
                known.delta = offset;
            }
            _ => known.forget_id(),
        }
        self.state.regs()[dst] = known;
        Ok(())
    }

    /// A number that is 0 or all ones is walked as either (`maybe_fork_scalars`).
    fn fork(&mut self, dst: usize, left: Register) -> Check<Register> {
        let whole = left.smin() == -1 && left.smax() == 0;
        let half = left.smin32() == -1 && left.smax32() == 0;
        if !whole && !half {
            return Ok(left);
        }
        let as_known = |number: u64| {
            if whole {
                return Register { precise: left.precise, ..Register::constant(number) };
            }
            let low = number as u32;
            let bits = Tnum {
                value: Wrapping(left.value.bits.value.0 & !0xffff_ffff | u64::from(low)),
                mask: Wrapping(left.value.bits.mask.0 & !0xffff_ffff),
            };
            let value = Scalar { bits, range: left.value.range, low: Range::exact(Wrapping(low)) };
            Register { value, ..left }
        };
        let path = self.push_path(self.slot, false)?;
        path.regs()[dst] = as_known(0);
        Ok(as_known(u64::MAX))
    }

    /// The arena that the program uses.
    pub(crate) fn arena(&self) -> Option<Object> {
        let is_arena =
            |map: &&crate::maps::Entry<'_>| map.map_type == bombus_platform::MapType::Arena;
        self.maps.iter().find(is_arena).map(|_| Object::None)
    }
}

/// Whether the kernel works a result out; else it is any number (`is_safe_to_compute_dst_reg_range`).
fn computes(op: AluOp, width: Width, constant: Option<u64>) -> bool {
    let bits = if width == Width::W64 { 64 } else { 32 };
    match op {
        AluOp::Div | AluOp::Sdiv | AluOp::Mod | AluOp::Smod => constant.is_some(),
        AluOp::Lsh | AluOp::Rsh | AluOp::Arsh => constant.is_some_and(|number| number < bits),
        _ => true,
    }
}

/// How much more a number is after a constant was added or taken away, if 32 bits can say it.
fn offset_by(op: AluOp, width: Width, number: u64, umax: u64) -> Option<i32> {
    let offset = match width {
        Width::W64 => i32::try_from(number as i64).ok()?,
        // Adding at 32 bits clears what is above: it must have been clear.
        Width::W32 if umax > u32::MAX.into() => return None,
        Width::W32 => number as u32 as i32,
    };
    if op == AluOp::Sub { offset.checked_neg() } else { Some(offset) }
}

/// A byte swap.
fn swapped(value: Scalar<Number>, order: Endian, size: Size) -> Scalar<Number> {
    let mut register = Register { value, ..Register::UNKNOWN };
    if order != Endian::Le {
        let swap = |word: Number| {
            Wrapping(match size {
                Size::B => word.0,
                Size::H => u64::from((word.0 as u16).swap_bytes()),
                Size::W => u64::from((word.0 as u32).swap_bytes()),
                Size::Dw => word.0.swap_bytes(),
            })
        };
        let bits = Tnum { value: swap(value.bits.value), mask: swap(value.bits.mask) };
        let value = Scalar { bits, range: Range::full(), low: Range::full() };
        register.value = value.reduced().0;
    }
    register.truncate(size.bytes());
    register.value
}

//! Arithmetic on pointers (`adjust_ptr_min_max_vals`, `kernel/bpf/verifier.c`).

use bombus_isa::{AluOp, Reg, Width};

use crate::domain::Range;
use crate::state::{Base, Flags, Kind, MAX_OFFSET, Object, Register};
use crate::walk::{Check, Walk, refuse};

impl Walk<'_> {
    /// `dst = pointer op offset`, where `pointer` is in the register `from`, which may be `dst`.
    pub(super) fn pointer_arithmetic(
        &mut self,
        width: Width,
        op: AluOp,
        dst: Reg,
        from: Reg,
        pointer: Register,
        offset: Register,
    ) -> Check {
        let index = usize::from(dst.0);
        let n = dst.0;
        if width == Width::W32 {
            if op == AluOp::Sub && self.allowed.pointer_leaks {
                self.state.regs()[index] = self.unknown();
                return Ok(());
            }
            refuse!(self, EACCES, "R{n} 32-bit pointer arithmetic prohibited");
        }
        let kind = pointer.kind;
        if kind.may_be_null() {
            refuse!(
                self,
                EACCES,
                "R{n} pointer arithmetic on {kind} prohibited, null-check it first"
            );
        }
        let known = offset.known().map(|known| known as i64);
        let allowed = match kind.base {
            Base::Ctx
            | Base::MapValue
            | Base::MapKey
            | Base::Stack
            | Base::PacketMeta
            | Base::Packet
            | Base::TpBuffer
            | Base::BtfId
            | Base::Mem
            | Base::Buf
            | Base::Func
            | Base::Dynptr => true,
            Base::FlowKeys if known.is_some() => true,
            Base::FlowKeys | Base::MapPtr => known == Some(0) && op == AluOp::Add,
            _ => false,
        };
        if !allowed {
            refuse!(self, EACCES, "R{n} pointer arithmetic on {kind} prohibited");
        }
        if kind.base == Base::Mem && kind.flags.has(Flags::UNTRUSTED) {
            self.state.regs()[index] = pointer;
            return Ok(());
        }
        self.check_offset(&offset, kind)?;
        self.check_pointer_offset(&pointer, kind)?;
        let guard = self.guard_pointer(op, index, dst == from, &pointer, &offset)?;
        let mut result = pointer;
        result.value.low = Range::full();
        let known = known.is_some();
        match op {
            AluOp::Add => {
                result.value.range = pointer.value.range.plus(offset.value.range);
                result.value.bits = pointer.value.bits.plus(offset.value.bits);
            }
            AluOp::Sub => {
                if dst != from {
                    refuse!(self, EACCES, "R{n} tried to subtract pointer from scalar");
                }
                if kind.is(Base::Stack) {
                    refuse!(self, EACCES, "R{n} subtraction from stack pointer prohibited");
                }
                result.value.range = pointer.value.range.minus(offset.value.range);
                result.value.bits = pointer.value.bits.minus(offset.value.bits);
            }
            AluOp::And | AluOp::Or | AluOp::Xor => {
                let symbol = op.symbol();
                refuse!(self, EACCES, "R{n} bitwise operator {symbol} on pointer prohibited");
            }
            _ => {
                let symbol = op.symbol();
                refuse!(self, EACCES, "R{n} pointer arithmetic with {symbol} operator prohibited");
            }
        }
        if kind.is_packet() {
            if !known {
                result.id = self.new_id();
            }
            // Further into the packet less of it is known to be there.
            let moves_on = !known && (op == AluOp::Add || offset.smin() < 0);
            if moves_on || pointer.range() < 0 {
                result.object = Object::Range(0);
            }
        }
        self.check_pointer_offset(&result, kind)?;
        result.value = match kind.is_packet() && (known || result.range() > 0) {
            true => {
                let (half, _) = result.value.half().reduced();
                crate::domain::Scalar { low: half.range, ..result.value }
            }
            false => result.value.reduced().0,
        };
        self.state.regs()[index] = result;
        self.check_pointer_bounds(dst, &result)?;
        self.commit_guard(guard, &result)
    }

    fn check_offset(&self, offset: &Register, kind: Kind) -> Check {
        let is_far = |number: i64| number >= MAX_OFFSET || number <= -MAX_OFFSET;
        if let Some(known) = offset.known().map(|known| known as i64).filter(|it| is_far(*it)) {
            refuse!(self, EINVAL, "math between {kind} pointer and {known} is not allowed");
        }
        let least = offset.smin();
        if least == i64::MIN {
            refuse!(
                self,
                EINVAL,
                "math between {kind} pointer and register with unbounded min value is not allowed"
            );
        }
        if is_far(least) {
            refuse!(self, EINVAL, "value {least} makes {kind} pointer be out of bounds");
        }
        Ok(())
    }

    fn check_pointer_offset(&self, pointer: &Register, kind: Kind) -> Check {
        let is_far = |number: i64| number >= MAX_OFFSET || number <= -MAX_OFFSET;
        let known = pointer.known().map(|known| known as i64);
        let least = pointer.smin();
        let far = known.filter(|known| is_far(*known)).or(is_far(least).then_some(least));
        if let Some(far) = far {
            refuse!(self, EINVAL, "{kind} pointer offset {far} is not allowed");
        }
        Ok(())
    }
}

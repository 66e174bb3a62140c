//! What a processor might do before it knows that it should not: for processes that may not learn
//! what is in memory (`sanitize_ptr_alu` and its like, `kernel/bpf/verifier.c`).

use bombus_isa::{AluOp, Op, Operand, Reg};

use crate::state::{Base, MAX_STACK, Register};
use crate::walk::{Check, Walk, refuse};

/// The offset is in the source register (`BPF_ALU_SANITIZE_SRC`).
const SANITIZE_SRC: u8 = 1;
/// The offset is in the destination register (`BPF_ALU_SANITIZE_DST`).
const SANITIZE_DST: u8 = 2;
/// The offset is negative (`BPF_ALU_NEG_VALUE`).
const NEGATIVE: u8 = 4;
/// It was not applied to a pointer (`BPF_ALU_NON_POINTER`).
const NON_POINTER: u8 = 8;
/// The offset is a constant (`BPF_ALU_IMMEDIATE`).
const IMMEDIATE: u8 = 16;

/// Why an offset cannot be limited (`REASON_*`).
enum Why {
    Bounds,
    Type,
    Paths,
    Limit,
}

/// How the offset of a pointer is limited.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guard {
    to_left: bool,
    how: u8,
    limit: u32,
}

impl Walk<'_> {
    fn skips_guard(&self) -> bool {
        let is_constant =
            matches!(self.code.op(self.slot), Some(Op::Alu { src: Operand::Imm(_), .. }));
        self.allowed.spec_v1 || is_constant || self.notes[self.slot].no_speculation
    }

    /// Additions and subtractions of numbers must not be of pointers on another path
    /// (`sanitize_val_alu`).
    pub(super) fn guard_scalar(&mut self, op: AluOp) -> Check {
        if !matches!(op, AluOp::Add | AluOp::Sub) || self.skips_guard() {
            return Ok(());
        }
        self.note_limit(NON_POINTER, 0)
    }

    /// The same limit must hold on every path (`update_alu_sanitation_state`).
    fn note_limit(&mut self, how: u8, limit: u32) -> Check {
        let note = &mut self.notes[self.slot].limit;
        if note.0 != 0 && *note != (how, limit) {
            return self.refuse_guard(Why::Paths);
        }
        *note = (how, limit);
        Ok(())
    }

    /// Before an offset is added: how it will be limited, so that even speculation stays in bounds.
    pub(super) fn guard_pointer(
        &mut self,
        op: AluOp,
        dst: usize,
        is_dst: bool,
        pointer: &Register,
        offset: &Register,
    ) -> Check<Option<Guard>> {
        if !matches!(op, AluOp::Add | AluOp::Sub) || self.skips_guard() {
            return Ok(None);
        }
        let known = offset.known().is_some();
        let mut guard = None;
        if !self.state.speculative {
            if !known && (offset.smin() < 0) != (offset.smax() < 0) {
                self.refuse_guard(Why::Bounds)?;
            }
            let is_negative = offset.smin() < 0;
            let to_left = (op == AluOp::Add) == is_negative;
            let limit = self.pointer_limit(pointer, to_left)?;
            let how = if is_negative { NEGATIVE } else { 0 }
                | if known { IMMEDIATE } else { 0 }
                | if is_dst { SANITIZE_SRC } else { SANITIZE_DST };
            self.explores_limits |= !known;
            guard = Some(Guard { to_left, how, limit });
        }
        if !known {
            // Speculation may go on with the pointer as it was.
            let pointer = *pointer;
            self.push_path(self.slot + 1, true)?.regs()[dst] = pointer;
        }
        Ok(guard)
    }

    /// After the offset was added: by how much it was.
    pub(super) fn commit_guard(&mut self, guard: Option<Guard>, result: &Register) -> Check {
        let Some(guard) = guard else { return Ok(()) };
        let limit = self.pointer_limit(result, guard.to_left)?;
        self.note_limit(guard.how, guard.limit.abs_diff(limit))
    }

    /// How far a pointer may move to a side (`retrieve_ptr_limit`).
    fn pointer_limit(&self, pointer: &Register, to_left: bool) -> Check<u32> {
        let (most, limit) = match pointer.kind.base {
            Base::Stack if pointer.kind.is(Base::Stack) => {
                let most = MAX_STACK as u32 + u32::from(to_left);
                (most, pointer.value.bits.value.0.wrapping_neg() as u32)
            }
            Base::MapValue if pointer.kind.is(Base::MapValue) => {
                let size = pointer.map().map_or(0, |map| self.maps.get(map).value_size);
                let at = if to_left { pointer.smin() as u64 } else { pointer.umax() };
                (size, at as u32)
            }
            _ => return self.refuse_guard(Why::Type).map(|()| 0),
        };
        if limit >= most {
            return self.refuse_guard(Why::Limit).map(|()| 0);
        }
        Ok(limit)
    }

    fn refuse_guard(&self, why: Why) -> Check {
        let Some(Op::Alu { op, dst, src, .. }) = self.code.op(self.slot) else { return Ok(()) };
        let doing = if op == AluOp::Add { "add" } else { "sub" };
        let dst = dst.0;
        let src = match src {
            Operand::Reg(src) => src.0,
            Operand::Imm(_) => 0,
        };
        let src_is_number = self.state.frame().regs[usize::from(src)].is_scalar();
        let what = match why {
            Why::Bounds => {
                let number = if src_is_number { src } else { dst };
                format!("R{number} has unknown scalar with mixed signed bounds")
            }
            Why::Type => {
                let pointer = if src_is_number { dst } else { src };
                format!("R{pointer} has pointer with unsupported alu operation")
            }
            Why::Paths => {
                format!("R{dst} tried to {doing} from different maps, paths or scalars")
            }
            Why::Limit => format!("R{dst} tried to {doing} beyond pointer bounds"),
        };
        refuse!(self, EACCES, "{what}, pointer arithmetic with it prohibited for !root");
    }

    /// A pointer stays in bounds after each step, for those who must not learn what is beyond
    /// (`sanitize_check_bounds`).
    pub(super) fn check_pointer_bounds(&mut self, dst: Reg, pointer: &Register) -> Check {
        if self.allowed.spec_v1 {
            return Ok(());
        }
        let n = dst.0;
        match pointer.kind.base {
            Base::Stack => {
                let Some(offset) = pointer.known().map(|offset| offset as i64) else {
                    let bits = crate::log::show_bits(pointer.value.bits);
                    refuse!(
                        self,
                        EACCES,
                        "R{n} variable stack access prohibited for !root, var_off={bits} off=0"
                    );
                };
                if !(-MAX_STACK..0).contains(&offset) {
                    refuse!(
                        self,
                        EACCES,
                        "R{n} stack pointer arithmetic goes out of range, prohibited for !root; off={offset}"
                    );
                }
            }
            Base::MapValue => {
                if let Err(mut rejection) = self.check_map_access(pointer, dst.0, 0, 1, false, true)
                {
                    rejection.message += &format!(
                        "\nR{n} pointer arithmetic of map value goes out of range, prohibited for !root"
                    );
                    rejection.errno = crate::walk::errno::EACCES;
                    return Err(rejection);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The way that is not gone may be gone by speculation, whatever the operands are
    /// (`sanitize_speculative_path`).
    pub(super) fn speculate(&mut self, slot: usize, dst: Reg, src: Operand) -> Check {
        if self.allowed.spec_v1 {
            return Ok(());
        }
        let unknown = self.unknown();
        let path = self.push_path(slot, true)?;
        path.regs()[usize::from(dst.0)] = unknown;
        if let Operand::Reg(src) = src {
            path.regs()[usize::from(src.0)] = unknown;
        }
        Ok(())
    }
}

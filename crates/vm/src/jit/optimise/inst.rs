//! Instructions of the second tier.

use bombus_isa::{AluOp, AtomicOp, Cond, Op, Operand, Reg, Size, Width};

/// `base + index << scale + disp`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Address {
    /// The register with the address.
    pub base: Reg,
    /// A register and by how many bits (0 to 3) it is shifted.
    pub index: Option<(Reg, u8)>,
    /// Bytes added.
    pub disp: i32,
}

/// An instruction of the program, or one that stands for several.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inst {
    /// As the program has it.
    Op(Op),
    /// Nothing.
    Nop,
    /// `dst = address`.
    Lea {
        /// Result.
        dst: Reg,
        /// What is added up.
        address: Address,
    },
    /// `dst = *(size *)address`.
    Load {
        /// Width in memory.
        size: Size,
        /// Sign-extend.
        signed: bool,
        /// Result.
        dst: Reg,
        /// Where.
        address: Address,
    },
    /// The same with the bytes reversed, zero-extended; never [`Size::B`].
    LoadSwapped {
        /// Width in memory.
        size: Size,
        /// Result.
        dst: Reg,
        /// Where.
        address: Address,
    },
    /// `dst op= *address`, as wide as the operation. One of those that take an operand in memory.
    AluLoaded {
        /// Which half.
        width: Width,
        /// The operation.
        op: AluOp,
        /// Left operand and result.
        dst: Reg,
        /// Where the right operand is.
        address: Address,
    },
    /// `*(size *)address = src`.
    Store {
        /// Width in memory.
        size: Size,
        /// Where.
        address: Address,
        /// Value.
        src: Operand,
    },
    /// `dst = src` rotated right.
    Rotate {
        /// Which half.
        width: Width,
        /// Result.
        dst: Reg,
        /// Operand.
        src: Reg,
        /// Bits.
        right: u8,
    },
    /// `dst = (from)src`, zero-extended.
    Truncate {
        /// The part that stays: never [`Size::Dw`].
        from: Size,
        /// Result.
        dst: Reg,
        /// Operand.
        src: Reg,
    },
    /// `if !test { dst = src }`: what a jump over a move does.
    Choose {
        /// When `dst` stays.
        test: Test,
        /// Result.
        dst: Reg,
        /// The other value; constants are sign-extended.
        src: Operand,
    },
    /// `if !test { dst op= imm }`: what a jump over an operation does, with the operation done either
    /// way. Never a multiplication or division.
    ChooseAlu {
        /// When `dst` stays.
        test: Test,
        /// Which half.
        width: Width,
        /// The operation.
        op: AluOp,
        /// Operand and result.
        dst: Reg,
        /// Right operand.
        imm: i32,
    },
    /// A conditional jump.
    Branch {
        /// When.
        test: Test,
        /// Slots from the next instruction.
        off: i32,
    },
}

/// What a conditional jump asks: `a cond b`, or the opposite.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Test {
    /// Which half is compared.
    pub width: Width,
    /// The comparison.
    pub cond: Cond,
    /// Jump when it does not hold.
    pub negated: bool,
    /// Left operand.
    pub a: Reg,
    /// Right operand.
    pub b: Operand,
}

/// A register's bit in a set.
pub(super) const fn bit(reg: Reg) -> u16 {
    1 << (reg.0 & 15)
}

fn operand_bit(operand: Operand) -> u16 {
    match operand {
        Operand::Reg(reg) => bit(reg),
        Operand::Imm(_) => 0,
    }
}

impl Address {
    /// The registers in it.
    pub(super) fn uses(self) -> u16 {
        bit(self.base) | self.index.map_or(0, |(index, _)| bit(index))
    }
}

/// `r1` to `r5`.
const ARGUMENTS: u16 = 0b11_1110;

impl Inst {
    /// Registers that it reads, a bit each.
    pub fn uses(self) -> u16 {
        match self {
            Inst::Op(op) => op_uses(op),
            Inst::Nop => 0,
            Inst::Lea { address, .. }
            | Inst::Load { address, .. }
            | Inst::LoadSwapped { address, .. } => address.uses(),
            Inst::AluLoaded { dst, address, .. } => bit(dst) | address.uses(),
            Inst::Store { address, src, .. } => address.uses() | operand_bit(src),
            Inst::Rotate { src, .. } | Inst::Truncate { src, .. } => bit(src),
            Inst::Choose { test, dst, src } => {
                bit(test.a) | operand_bit(test.b) | bit(dst) | operand_bit(src)
            }
            Inst::ChooseAlu { test, dst, .. } => bit(test.a) | operand_bit(test.b) | bit(dst),
            Inst::Branch { test, .. } => bit(test.a) | operand_bit(test.b),
        }
    }

    /// Registers that it writes or leaves undefined, a bit each.
    pub fn defs(self) -> u16 {
        match self {
            Inst::Op(op) => match op {
                Op::Alu { dst, .. }
                | Op::Neg { dst, .. }
                | Op::MovSx { dst, .. }
                | Op::End { dst, .. }
                | Op::AddrSpaceCast { dst, .. }
                | Op::LoadImm64 { dst, .. }
                | Op::Load { dst, .. }
                | Op::LoadAcquire { dst, .. } => bit(dst),
                Op::Atomic { op: AtomicOp::Cmpxchg, .. } => bit(Reg::R0),
                Op::Atomic { fetch: true, src, .. } => bit(src),
                Op::CallHelper { .. }
                | Op::CallLocal { .. }
                | Op::CallKfunc { .. }
                | Op::LoadPacket { .. } => bit(Reg::R0) | ARGUMENTS,
                _ => 0,
            },
            Inst::Lea { dst, .. }
            | Inst::Load { dst, .. }
            | Inst::LoadSwapped { dst, .. }
            | Inst::AluLoaded { dst, .. }
            | Inst::Rotate { dst, .. }
            | Inst::Truncate { dst, .. }
            | Inst::Choose { dst, .. }
            | Inst::ChooseAlu { dst, .. } => bit(dst),
            Inst::Nop | Inst::Store { .. } | Inst::Branch { .. } => 0,
        }
    }

    /// What it is in the program, if it stands there as it is.
    pub(super) fn op(self) -> Option<Op> {
        match self {
            Inst::Op(op) => Some(op),
            _ => None,
        }
    }

    /// What it adds up, if it does.
    pub(super) fn address_mut(&mut self) -> Option<&mut Address> {
        match self {
            Inst::Lea { address, .. }
            | Inst::Load { address, .. }
            | Inst::LoadSwapped { address, .. }
            | Inst::AluLoaded { address, .. }
            | Inst::Store { address, .. } => Some(address),
            _ => None,
        }
    }

    /// Whether nothing is lost without it when nobody reads what it writes.
    pub fn is_pure(self) -> bool {
        match self {
            Inst::Op(op) => matches!(
                op,
                Op::Alu { .. }
                    | Op::Neg { .. }
                    | Op::MovSx { .. }
                    | Op::End { .. }
                    | Op::LoadImm64 { .. }
                    | Op::Load { .. }
            ),
            Inst::Store { .. } | Inst::Branch { .. } => false,
            _ => true,
        }
    }

    /// How far it may jump.
    pub(super) fn jump(self) -> Option<i64> {
        match self {
            Inst::Op(Op::Goto { off } | Op::MayGoto { off } | Op::JumpIf { off, .. }) => {
                Some(off.into())
            }
            Inst::Op(Op::GotoLong { off }) => Some(off.into()),
            Inst::Branch { off, .. } => Some(off.into()),
            _ => None,
        }
    }

    /// Whether the next instruction is never reached from here.
    pub(super) fn is_end(self) -> bool {
        matches!(self, Inst::Op(Op::Goto { .. } | Op::GotoLong { .. } | Op::Exit))
    }

    /// Whether memory may be another afterwards.
    pub(super) fn writes_memory(self) -> bool {
        match self {
            Inst::Op(op) => matches!(
                op,
                Op::Store { .. }
                    | Op::Atomic { .. }
                    | Op::StoreRelease { .. }
                    | Op::LoadAcquire { .. }
                    | Op::CallHelper { .. }
                    | Op::CallLocal { .. }
                    | Op::CallKfunc { .. }
            ),
            Inst::Store { .. } => true,
            _ => false,
        }
    }
}

fn op_uses(op: Op) -> u16 {
    match op {
        Op::Alu { op: AluOp::Mov, src, .. } => operand_bit(src),
        // Whatever it was, it is zero then.
        Op::Alu { op: AluOp::Xor | AluOp::Sub, dst, src: Operand::Reg(src), .. } if dst == src => 0,
        Op::Alu { dst, src, .. } | Op::JumpIf { dst, src, .. } => bit(dst) | operand_bit(src),
        Op::Neg { dst, .. } | Op::End { dst, .. } => bit(dst),
        Op::MovSx { src, .. } | Op::AddrSpaceCast { src, .. } => bit(src),
        Op::Load { base, .. } | Op::LoadAcquire { base, .. } => bit(base),
        Op::Store { base, src, .. } => bit(base) | operand_bit(src),
        Op::StoreRelease { base, src, .. } => bit(base) | bit(src),
        Op::Atomic { op: AtomicOp::Cmpxchg, base, src, .. } => bit(base) | bit(src) | bit(Reg::R0),
        Op::Atomic { base, src, .. } => bit(base) | bit(src),
        Op::CallHelper { .. } | Op::CallLocal { .. } | Op::CallKfunc { .. } => ARGUMENTS,
        Op::LoadPacket { index, .. } => bit(Reg(6)) | index.map_or(0, bit),
        Op::GotoRegister { dst } => bit(dst),
        Op::Exit => bit(Reg::R0),
        Op::LoadImm64 { .. } | Op::Goto { .. } | Op::GotoLong { .. } | Op::MayGoto { .. } => 0,
    }
}

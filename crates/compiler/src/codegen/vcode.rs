//! Machine instructions over virtual registers, as the register allocator sees them.

use bombus_isa::Size;
use bombus_platform::Helper;
use regalloc2::{
    Block as MachBlock, Inst as MachIndex, InstRange, Operand, PReg, PRegSet, RegClass, VReg,
};

use crate::ir::{FuncRef, Line, MapRef, StackSlot};

/// A machine instruction. Its registers are operands beside it, in the order that each variant
/// says; a result always comes last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mach {
    /// Takes the function's arguments: results only.
    Args,
    /// `result = number`.
    Imm(i64),
    /// Address of a map.
    Map(MapRef),
    /// Address in a map's only value.
    MapValue(MapRef, u32),
    /// Address of a function.
    Func(FuncRef),
    /// Address in the frame.
    SlotAddr(StackSlot, i32),
    /// `a op b` or `a op imm`: a, b unless there is an immediate, result in a's register.
    Alu {
        /// One of `opcode::alu`.
        op: u8,
        /// 64 bits, or 32 with the upper half zeroed.
        wide: bool,
        /// Signed division and remainder (v4).
        signed: bool,
        /// In place of b.
        imm: Option<i32>,
    },
    /// `-a`: a, result in its register.
    Neg,
    /// Byte swap: a, result in its register.
    Swap(u8),
    /// Move with extension: a, result anywhere. 32 zero-extends unless `signed`.
    Extend {
        /// 8, 16 or 32.
        bits: u8,
        /// Sign extension (v4).
        signed: bool,
    },
    /// base unless it is a slot, result.
    Load {
        /// Width.
        size: Size,
        /// Sign extension (v4).
        signed: bool,
        /// Where.
        at: Place,
    },
    /// value, base unless it is a slot.
    Store(Size, Place),
    /// base unless it is a slot.
    StoreImm(Size, Place, i32),
    /// value, base unless it is a slot.
    AtomicAdd(Size, Place),
    /// arguments, result.
    CallHelper(Helper),
    /// arguments, result.
    Call(FuncRef),
    /// `cond(x, y) ? a : b`: a, x, y unless an immediate, b unless an immediate, result in a's
    /// register.
    Select {
        /// When a stays.
        cond: Jump,
        /// In place of b.
        imm: Option<i32>,
    },
    /// To the only successor.
    Goto,
    /// To the first successor when the condition holds, else to the second: x, y unless an
    /// immediate.
    Branch(Jump),
    /// value.
    Return,
}

/// An address: of a slot, or by the base register operand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) slot: Option<StackSlot>,
    pub(super) offset: i16,
}

/// A comparison as a jump has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Jump {
    /// One of `opcode::jmp`.
    pub(super) op: u8,
    /// 64 bits, or 32.
    pub(super) wide: bool,
    /// In place of the second register.
    pub(super) imm: Option<i32>,
}

/// An instruction with its operands.
#[derive(Clone, Copy, Debug)]
pub(super) struct MachInst {
    pub(super) op: Mach,
    pub(super) line: Option<Line>,
    /// Range in [`VCode::operands`].
    pub(super) operands: (u32, u32),
}

/// A function for the register allocator; blocks in the order in which they are emitted.
#[derive(Clone, Debug, Default)]
pub(super) struct VCode {
    pub(super) insts: Vec<MachInst>,
    pub(super) operands: Vec<Operand>,
    /// By block: its range of instructions.
    pub(super) ranges: Vec<(u32, u32)>,
    pub(super) succs: Vec<Vec<MachBlock>>,
    pub(super) preds: Vec<Vec<MachBlock>>,
    pub(super) params: Vec<Vec<VReg>>,
    /// By block: the arguments of its jump, when it ends in one.
    pub(super) args: Vec<Vec<VReg>>,
    pub(super) registers: usize,
}

/// A virtual register by number.
pub(super) fn vreg(number: u32) -> VReg {
    VReg::new(number as usize, RegClass::Int)
}

/// A machine register by number.
pub(super) const fn preg(number: usize) -> PReg {
    PReg::new(number, RegClass::Int)
}

impl regalloc2::Function for VCode {
    fn num_insts(&self) -> usize {
        self.insts.len()
    }

    fn num_blocks(&self) -> usize {
        self.ranges.len()
    }

    fn entry_block(&self) -> MachBlock {
        MachBlock::new(0)
    }

    fn block_insns(&self, block: MachBlock) -> InstRange {
        let (start, end) = self.ranges[block.index()];
        InstRange::new(MachIndex::new(start as usize), MachIndex::new(end as usize))
    }

    fn block_succs(&self, block: MachBlock) -> &[MachBlock] {
        &self.succs[block.index()]
    }

    fn block_preds(&self, block: MachBlock) -> &[MachBlock] {
        &self.preds[block.index()]
    }

    fn block_params(&self, block: MachBlock) -> &[VReg] {
        &self.params[block.index()]
    }

    fn is_ret(&self, inst: MachIndex) -> bool {
        self.insts[inst.index()].op == Mach::Return
    }

    fn is_branch(&self, inst: MachIndex) -> bool {
        matches!(self.insts[inst.index()].op, Mach::Goto | Mach::Branch(_))
    }

    fn branch_blockparams(&self, block: MachBlock, _: MachIndex, _: usize) -> &[VReg] {
        &self.args[block.index()]
    }

    fn inst_operands(&self, inst: MachIndex) -> &[Operand] {
        let (start, end) = self.insts[inst.index()].operands;
        &self.operands[start as usize..end as usize]
    }

    /// Calls lose `r1` to `r5`; `r0` is their result (RFC 9669, section 2).
    fn inst_clobbers(&self, inst: MachIndex) -> PRegSet {
        match self.insts[inst.index()].op {
            Mach::CallHelper(_) | Mach::Call(_) => {
                (1..=5).fold(PRegSet::empty(), |set, number| set.with(preg(number)))
            }
            _ => PRegSet::empty(),
        }
    }

    fn num_vregs(&self) -> usize {
        self.registers
    }

    fn spillslot_size(&self, _: RegClass) -> usize {
        1
    }
}

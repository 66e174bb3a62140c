//! What the kernel asks of a classic filter (`bpf_check_classic`, `net/core/filter.c`), in words.

use std::fmt;

use bombus_isa::AluOp;

use crate::MAX_INSNS;
use crate::op::{MEMWORDS, Op, SockFilter, is_extension_offset};

/// A valid filter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter {
    insns: Box<[SockFilter]>,
    ops: Box<[Op]>,
}

/// Why the kernel refuses a filter (with `EINVAL`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Invalid {
    /// The instruction at fault, from 0.
    pub at: usize,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "instruction {}: {}", self.at, self.reason)
    }
}

impl std::error::Error for Invalid {}

impl Filter {
    /// Checks a filter.
    pub fn new(insns: &[SockFilter]) -> Result<Filter, Invalid> {
        let invalid = |at, reason: &str| Invalid { at, reason: reason.to_owned() };
        if insns.is_empty() {
            return Err(invalid(0, "a filter has one instruction at least"));
        }
        if insns.len() > MAX_INSNS {
            return Err(invalid(MAX_INSNS, "a filter has 4096 instructions at most"));
        }
        let mut ops = Vec::with_capacity(insns.len());
        for (at, &insn) in insns.iter().enumerate() {
            let unknown = || format!("there is no operation {:#x}", insn.code);
            let op = Op::decode(insn).ok_or_else(|| Invalid { at, reason: unknown() })?;
            check(op, insns.len() - at - 1).map_err(|reason| Invalid { at, reason })?;
            ops.push(op);
        }
        if !matches!(ops.last(), Some(Op::Ret(_))) {
            return Err(invalid(insns.len() - 1, "the last instruction must be a return"));
        }
        check_scratch(&ops)?;
        Ok(Filter { insns: insns.into(), ops: ops.into() })
    }

    /// The instructions.
    pub fn insns(&self) -> &[SockFilter] {
        &self.insns
    }

    pub(crate) fn ops(&self) -> &[Op] {
        &self.ops
    }
}

/// Checks an instruction that `after` others follow.
fn check(op: Op, after: usize) -> Result<(), String> {
    let inside = |distance: u32| {
        if (distance as usize) < after { Ok(()) } else { Err("jumps behind the end".to_owned()) }
    };
    match op {
        Op::LoadMem(k) | Op::LoadXMem(k) | Op::Store(k) | Op::StoreX(k) if k >= MEMWORDS => {
            Err(format!("there is no M[{k}]: scratch memory has 16 words"))
        }
        Op::LoadAbs { k, .. } if is_extension_offset(k) => {
            Err(format!("there is no extension at offset {}", k as i32))
        }
        Op::Alu { op: AluOp::Div | AluOp::Mod, k: Some(0) } => Err("divides by zero".to_owned()),
        Op::Alu { op: AluOp::Lsh | AluOp::Rsh, k: Some(k) } if k >= 32 => {
            Err(format!("shifts 32 bits by {k}"))
        }
        Op::Goto(k) => inside(k),
        Op::JumpIf { jt, jf, .. } => inside(jt.into()).and_then(|()| inside(jf.into())),
        _ => Ok(()),
    }
}

/// That no word of scratch memory is read on a path on which nothing was written to it
/// (`check_load_and_stores`). A return, as in the kernel, does not end a path.
fn check_scratch(ops: &[Op]) -> Result<(), Invalid> {
    let mut on_entry = vec![u16::MAX; ops.len()];
    let mut written = 0u16;
    for (at, op) in ops.iter().enumerate() {
        written &= on_entry[at];
        let mut jump = |distance: usize| on_entry[at + 1 + distance] &= written;
        match *op {
            Op::Store(k) | Op::StoreX(k) => written |= 1 << k,
            Op::LoadMem(k) | Op::LoadXMem(k) if written & 1 << k == 0 => {
                let reason = format!("reads M[{k}], to which nothing may have been written");
                return Err(Invalid { at, reason });
            }
            Op::Goto(k) => {
                jump(k as usize);
                written = u16::MAX;
            }
            Op::JumpIf { jt, jf, .. } => {
                jump(jt.into());
                jump(jf.into());
                written = u16::MAX;
            }
            _ => {}
        }
    }
    Ok(())
}

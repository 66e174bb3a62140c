//! From text to instructions: reads what [`crate::disasm`] writes.
//!
//! One instruction a line. For people who write by hand there are also labels (`name:`, then
//! `goto name`, `call name`, `r1 = subprog[name]`), `goto +3` for `goto pc+3`, `call 5` for a
//! helper by number and `r1 = 5 ll` for a number in a `ld_imm64`. Comments start with `;` or `//`.
//! A listing's slot numbers and opcodes (`  0: (b7) r0 = 1`) are skipped. As in the kernel's text,
//! `r1 = 5` is a move and `r1 = 0x5` a `ld_imm64`.

use std::collections::HashMap;
use std::fmt;

use crate::parse::Line;
use crate::{Imm64, Insn, Op};

/// A line that is not an instruction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AsmError {
    /// Number of the line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for AsmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for AsmError {}

/// Where a jump or call goes.
pub(crate) enum Target<'a> {
    Distance(i64),
    Label(&'a str),
}

/// Assembles a text.
pub fn asm(text: &str) -> Result<Vec<Insn>, AsmError> {
    let mut labels = HashMap::new();
    let mut insns = Vec::new();
    let mut jumps = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let error = |message| AsmError { line: index + 1, message };
        let mut line = Line::new(line);
        while let Some(label) = line.label() {
            if labels.insert(label, insns.len()).is_some() {
                return Err(error(format!("label `{label}` is already defined")));
            }
        }
        if line.is_empty() {
            continue;
        }
        let (op, target) = line.instruction().map_err(error)?;
        line.end().map_err(error)?;
        if let Some(target) = target {
            jumps.push((index + 1, insns.len(), op, target));
        }
        let (first, second) = op.encode();
        insns.push(first);
        insns.extend(second);
    }
    for (line, slot, op, target) in jumps {
        let error = |message| AsmError { line, message };
        let distance = match target {
            Target::Distance(distance) => distance,
            Target::Label(name) => match labels.get(name) {
                Some(&to) => to as i64 - (slot as i64 + 1),
                None => return Err(error(format!("there is no label `{name}`"))),
            },
        };
        let op = with_distance(op, distance)
            .ok_or_else(|| error(format!("a distance of {distance} does not fit")))?;
        insns[slot] = op.encode().0;
    }
    Ok(insns)
}

/// The same jump or call with another distance, if it fits.
fn with_distance(op: Op, distance: i64) -> Option<Op> {
    let short = i16::try_from(distance).ok();
    let long = i32::try_from(distance).ok();
    Some(match op {
        Op::Goto { .. } => Op::Goto { off: short? },
        Op::MayGoto { .. } => Op::MayGoto { off: short? },
        Op::JumpIf { width, cond, dst, src, .. } => {
            Op::JumpIf { width, cond, dst, src, off: short? }
        }
        Op::GotoLong { .. } => Op::GotoLong { off: long? },
        Op::CallLocal { .. } => Op::CallLocal { off: long? },
        Op::LoadImm64 { dst, imm: Imm64::Func(_) } => {
            Op::LoadImm64 { dst, imm: Imm64::Func(long?) }
        }
        other => other,
    })
}

//! Copies that register allocation left between blocks' pieces of one value, removed where the
//! register copied from can be used instead, or the value can be made in its place from the start.

use bombus_isa::opcode::{X, alu, class, jmp};
use bombus_isa::{Insn, Reg};
use bombus_spec::SpecInsn;

use super::emit::{End, Part};

/// A set of registers, one bit each.
pub(super) type Regs = u16;

const fn bit(reg: Reg) -> Regs {
    1 << reg.0
}

/// Registers that an instruction reads and writes, and how it names them.
#[derive(Clone, Copy)]
pub(super) struct Effect {
    reads: Regs,
    pub(super) writes: Regs,
    /// Its `dst` is only read: an address or the left of a comparison.
    dst_is_source: bool,
    /// Reads registers that its fields do not name.
    implicit: Regs,
}

fn effect(insn: Insn, call_args: u8) -> Effect {
    let (dst, src) = (bit(insn.dst), bit(insn.src));
    let by_register = insn.code & X != 0;
    let new = |reads, writes, dst_is_source| Effect { reads, writes, dst_is_source, implicit: 0 };
    match insn.class() {
        class::ALU | class::ALU64 => {
            let reads_dst = insn.code & 0xf0 != alu::MOV;
            // The source bit of a byte swap says the order of bytes.
            let reads_src = by_register && insn.code & 0xf0 != alu::END;
            let reads = if reads_dst { dst } else { 0 } | if reads_src { src } else { 0 };
            new(reads, dst, false)
        }
        class::LDX => new(src, dst, false),
        class::ST => new(dst, 0, true),
        class::STX => new(dst | src, 0, true),
        class::LD if insn.is_wide() => new(0, dst, false),
        class::JMP | class::JMP32 => match insn.code & 0xf0 {
            jmp::JA => new(0, 0, true),
            jmp::EXIT => Effect { implicit: 1, ..new(1, 0, true) },
            jmp::CALL => {
                let args = ((1 << (call_args + 1)) - 1) & !1;
                Effect { implicit: args, ..new(args, 0x3f, true) }
            }
            _ => new(dst | if by_register { src } else { 0 }, 0, true),
        },
        // The second slot of a wide instruction.
        _ => new(0, 0, true),
    }
}

/// Whether it is a conditional jump. Inside a block that is one over the next instruction.
fn is_inner_jump(insn: Insn) -> bool {
    matches!(insn.class(), class::JMP | class::JMP32)
        && !matches!(insn.code & 0xf0, jmp::CALL | jmp::EXIT | jmp::JA)
}

impl Part {
    pub(super) fn effect(&self, at: usize) -> Effect {
        let insn = self.insns[at].insn;
        let args = match self.call_args.binary_search_by_key(&(at as u32), |&(at, _)| at) {
            Ok(i) => self.call_args[i].1,
            Err(_) => 0,
        };
        let mut effect = effect(insn, args);
        if at > 0 && is_inner_jump(self.insns[at - 1].insn) {
            // What is not written stays.
            effect.reads |= effect.writes;
            effect.implicit |= effect.writes;
        }
        effect
    }

    pub(super) fn is_conditional(&self, at: usize) -> bool {
        at > 0 && is_inner_jump(self.insns[at - 1].insn)
    }

    /// Registers that the end reads.
    fn end_reads(&self) -> Regs {
        match self.end {
            End::Goto(_) => 0,
            End::Exit => 1,
            End::Branch(jump, left, right, ..) => {
                bit(left) | if jump.imm.is_none() { bit(right) } else { 0 }
            }
        }
    }

    fn live_in(&self, live_out: Regs) -> Regs {
        let mut live = live_out | self.end_reads();
        for at in (0..self.insns.len()).rev() {
            let effect = self.effect(at);
            live = live & !effect.writes | effect.reads;
        }
        live
    }

    pub(super) fn remove(&mut self, at: usize) {
        self.insns.remove(at);
        for (slot, _) in self.call_args.iter_mut().filter(|(slot, _)| *slot > at as u32) {
            *slot -= 1;
        }
        for (slot, _) in self.calls.iter_mut().filter(|(slot, _)| *slot > at as u32) {
            *slot -= 1;
        }
    }
}

/// Removes what copies it can.
pub(super) fn run(parts: &mut [Part]) {
    let live_out = live_out(parts);
    for (part, live_out) in parts.iter_mut().zip(live_out) {
        let mut at = 0;
        while at < part.insns.len() {
            let removed = copy(part.insns[at].insn).is_some_and(|(to, from)| {
                !part.is_conditional(at)
                    && (use_source(part, at, to, from, live_out)
                        || define_in_place(part, at, to, from, live_out))
            });
            if removed {
                part.remove(at);
            } else {
                at += 1;
            }
        }
    }
}

/// `to = from`.
fn copy(insn: Insn) -> Option<(Reg, Reg)> {
    let is_copy = insn.code == class::ALU64 | alu::MOV | X && insn.off == 0;
    is_copy.then_some((insn.dst, insn.src))
}

fn live_out(parts: &[Part]) -> Vec<Regs> {
    let mut live_in = vec![0; parts.len()];
    let out = |part: &Part, live_in: &[Regs]| match part.end {
        End::Goto(to) => live_in[to],
        End::Branch(_, _, _, then, otherwise) => live_in[then] | live_in[otherwise],
        End::Exit => 0,
    };
    let mut changed = true;
    while changed {
        changed = false;
        for (i, part) in parts.iter().enumerate().rev() {
            let new = part.live_in(out(part, &live_in));
            changed |= new != live_in[i];
            live_in[i] = new;
        }
    }
    parts.iter().map(|part| out(part, &live_in)).collect()
}

/// Reads of the copy become reads of the original, when all of them can.
fn use_source(part: &mut Part, at: usize, to: Reg, from: Reg, live_out: Regs) -> bool {
    let mut stale = false;
    let mut renamed = Vec::new();
    let mut redefined = false;
    for i in at + 1..part.insns.len() {
        let effect = part.effect(i);
        if effect.reads & bit(to) != 0 {
            let insn = part.insns[i].insn;
            let two_address = effect.writes & bit(to) != 0 && !reads_only_source(insn, to);
            if stale || effect.implicit & bit(to) != 0 || two_address {
                return false;
            }
            renamed.push(i);
        }
        if effect.writes & bit(to) != 0 {
            redefined = true;
            break;
        }
        stale |= effect.writes & bit(from) != 0;
    }
    if !redefined {
        if live_out & bit(to) != 0 {
            return false;
        }
        if part.end_reads() & bit(to) != 0 {
            let End::Branch(_, left, right, ..) = &mut part.end else { return false };
            if stale {
                return false;
            }
            for reg in [left, right] {
                if *reg == to {
                    *reg = from;
                }
            }
        }
    }
    for i in renamed {
        let sources = part.effect(i);
        rename(&mut part.insns[i], to, from, sources.dst_is_source);
    }
    true
}

/// Whether `reg` is read as the source alone: `reg = *(u64 *)(reg +8)`.
fn reads_only_source(insn: Insn, reg: Reg) -> bool {
    let is_load = insn.class() == class::LDX;
    let is_move = matches!(insn.class(), class::ALU | class::ALU64)
        && insn.code & 0xf0 == alu::MOV
        && insn.code & X != 0;
    (is_load || is_move) && insn.src == reg
}

fn rename(slot: &mut SpecInsn, old: Reg, new: Reg, dst_too: bool) {
    if slot.insn.src == old && uses_src(slot.insn) {
        slot.insn.src = new;
    }
    if dst_too && slot.insn.dst == old && uses_dst(slot.insn) {
        slot.insn.dst = new;
    }
}

/// Whether the destination field names a register: not in the second slot of a wide instruction.
fn uses_dst(insn: Insn) -> bool {
    match insn.class() {
        class::JMP | class::JMP32 => is_inner_jump(insn),
        class::LD => insn.is_wide(),
        _ => true,
    }
}

/// Whether the source field names a register.
fn uses_src(insn: Insn) -> bool {
    match insn.class() {
        class::ALU | class::ALU64 => insn.code & X != 0 && insn.code & 0xf0 != alu::END,
        class::LDX | class::STX => true,
        class::JMP | class::JMP32 => insn.code & X != 0,
        _ => false,
    }
}

/// The value is made in the register that it is copied to, when nobody needs the other one.
fn define_in_place(part: &mut Part, at: usize, to: Reg, from: Reg, live_out: Regs) -> bool {
    if from == Reg::FP || !is_dead_after(part, at, from, live_out) {
        return false;
    }
    let mut start = None;
    for i in (0..at).rev() {
        let effect = part.effect(i);
        let touched = effect.reads | effect.writes;
        if touched & bit(to) != 0 || effect.implicit & bit(from) != 0 {
            return false;
        }
        if effect.writes & bit(from) != 0 {
            // A call's result and what it clobbers have their registers.
            if part.insns[i].insn.class() == class::JMP {
                return false;
            }
            if effect.reads & bit(from) == 0 {
                start = Some(i);
                break;
            }
        }
    }
    let Some(start) = start else { return false };
    for slot in &mut part.insns[start..at] {
        rename(slot, from, to, true);
    }
    true
}

fn is_dead_after(part: &Part, at: usize, reg: Reg, live_out: Regs) -> bool {
    for i in at + 1..part.insns.len() {
        let effect = part.effect(i);
        if effect.reads & bit(reg) != 0 {
            return false;
        }
        if effect.writes & bit(reg) != 0 {
            return true;
        }
    }
    (live_out | part.end_reads()) & bit(reg) == 0
}

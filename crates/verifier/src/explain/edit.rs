//! Instructions put into a program, with everything that counts slots mended.

use bombus_btf::{FuncInfo, LineInfo};
use bombus_isa::opcode::pseudo;
use bombus_isa::{Insn, Op};

use crate::program::Program;

/// A program with instructions put in.
pub(super) struct Edited {
    pub insns: Vec<Insn>,
    pub functions: Vec<FuncInfo>,
    pub lines: Vec<LineInfo>,
}

impl Edited {
    /// Puts instructions in before a slot. Jumps to it go to what was put in. Nothing when some
    /// distance no longer fits.
    pub(super) fn insert(program: &Program<'_>, at: usize, new: &[Insn]) -> Option<Edited> {
        Edited::put(program, at, new, true)
    }

    /// Puts instructions in where a conditional jump goes on to a slot, and nowhere else.
    pub(super) fn insert_between(
        program: &Program<'_>,
        jump: usize,
        to: usize,
        new: &[Insn],
    ) -> Option<Edited> {
        if to == jump + 1 {
            return Edited::put(program, to, new, false);
        }
        // The other way goes around it.
        let mut block = vec![Insn::ja(i16::try_from(new.len() + 1).ok()?)];
        block.extend_from_slice(new);
        block.push(Insn::ja(0));
        let mut edited = Edited::put(program, jump + 1, &block, false)?;
        let end = jump + block.len();
        let target = if to > jump { to + block.len() } else { to };
        edited.insns.get_mut(jump)?.off = 1;
        edited.insns.get_mut(end)?.off = i16::try_from(target as i64 - end as i64 - 1).ok()?;
        Some(edited)
    }

    /// Puts instructions in before a slot, to which jumps to it go (`reached`) or not.
    fn put(program: &Program<'_>, at: usize, new: &[Insn], reached: bool) -> Option<Edited> {
        let insns = program.insns;
        if at > insns.len() {
            return None;
        }
        let count = new.len() as i64;
        let (at, mut slot) = (at as i64, 0);
        // Where a slot is as the target of a jump, and where it is itself.
        let target =
            |slot: i64| if slot > at || slot == at && !reached { slot + count } else { slot };
        let place = |slot: i64| if slot >= at { slot + count } else { slot };
        let moved = |slot: usize, distance: i64| {
            let slot = slot as i64;
            target(slot + 1 + distance) - place(slot) - 1
        };
        let mut edited = Vec::with_capacity(insns.len() + new.len());
        while slot < insns.len() {
            if slot as i64 == at {
                edited.extend_from_slice(new);
            }
            let mut insn = insns[slot];
            let op = insn.decode(insns.get(slot + 1).copied()).ok();
            match op {
                Some(Op::Goto { off } | Op::MayGoto { off } | Op::JumpIf { off, .. }) => {
                    insn.off = i16::try_from(moved(slot, off.into())).ok()?;
                }
                Some(Op::GotoLong { off }) => {
                    insn.imm = i32::try_from(moved(slot, off.into())).ok()?;
                }
                // A function that begins at the slot begins with what was put in.
                Some(Op::CallLocal { off }) => {
                    insn.imm = i32::try_from(moved(slot, off.into())).ok()?;
                }
                Some(Op::LoadImm64 { .. }) if insn.src.0 == pseudo::FUNC => {
                    insn.imm = i32::try_from(moved(slot, insn.imm.into())).ok()?;
                }
                _ => {}
            }
            edited.push(insn);
            slot += 1;
            if matches!(op, Some(Op::LoadImm64 { .. })) {
                edited.extend(insns.get(slot));
                slot += 1;
            }
        }
        // Functions and lines begin with what was put in.
        let record = |insn: u32| if i64::from(insn) > at { insn + count as u32 } else { insn };
        let functions = program.functions.iter();
        let functions =
            functions.map(|function| FuncInfo { insn: record(function.insn), ..*function });
        let lines = program.lines.iter();
        let lines = lines.map(|line| LineInfo { insn: record(line.insn), ..*line });
        Some(Edited { functions: functions.collect(), lines: lines.collect(), insns: edited })
    }

    /// The program as it is now.
    pub(super) fn program<'b>(&'b self, of: &Program<'b>) -> Program<'b> {
        Program { insns: &self.insns, functions: &self.functions, lines: &self.lines, ..of.clone() }
    }
}

#[cfg(test)]
mod tests {
    use bombus_isa::{Reg, asm};
    use bombus_platform::{AttachType, ProgType};

    use super::*;
    use crate::program::AttachTarget;

    #[test]
    fn jumps_over_and_to_the_place_are_mended() {
        let insns = asm("if r1 == 0 goto +2\nr0 = 1\nexit\nr0 = 2\ngoto -4\n").unwrap();
        let lines = [LineInfo { insn: 3, file: 0, text: 0, line: 1, column: 1 }];
        let program = Program {
            name: "",
            insns: &insns,
            prog_type: ProgType::Xdp,
            attach_type: AttachType::NONE,
            attach_to: AttachTarget::Nothing,
            flags: 0,
            gpl_compatible: true,
            maps: &[],
            btf: None,
            functions: &[],
            lines: &lines,
        };
        let new = [Insn::mov_imm(Reg(3), 7)];
        let distances = |at| {
            let edited = Edited::insert(&program, at, &new).unwrap();
            let jumps = edited.insns.iter().filter(|insn| insn.class() == 5 && insn.code != 0x95);
            (jumps.map(|insn| insn.off).collect::<Vec<_>>(), edited.lines[0].insn)
        };
        assert_eq!(distances(0), (vec![2, -4], 4));
        assert_eq!(distances(1), (vec![3, -5], 4));
        assert_eq!(distances(3), (vec![2, -5], 3));
        assert_eq!(distances(4), (vec![2, -5], 3));
        assert!(Edited::insert(&program, 6, &new).is_none());
        // What is put in where a jump goes on is on that way alone.
        let text = |edited: Edited| bombus_isa::disasm(&edited.insns, &());
        expect_lines(
            &text(Edited::insert_between(&program, 0, 3, &new).unwrap()),
            &["if r1 == 0x0 goto pc+1", "goto pc+2", "r3 = 7", "goto pc+2", "r0 = 1", "exit"],
        );
        expect_lines(
            &text(Edited::insert_between(&program, 0, 1, &new).unwrap()),
            &["if r1 == 0x0 goto pc+3", "r3 = 7", "r0 = 1", "exit", "r0 = 2", "goto pc-4"],
        );
    }

    fn expect_lines(text: &str, expected: &[&str]) {
        for (line, expected) in text.lines().zip(expected) {
            assert!(line.ends_with(expected), "{text}");
        }
    }
}

//! What several tests need: random instructions that are mostly valid.

use bombus_isa::{Insn, Reg};
use proptest::prelude::*;

/// Slots whose fields are mostly such that something happens.
pub(crate) fn slot() -> impl Strategy<Value = Insn> {
    let register = || (0u8..11).prop_map(Reg);
    let off = prop_oneof![4 => -6i16..6, 2 => -520i16..8, 1 => any::<i16>()];
    let imm = prop_oneof![4 => -8i32..70, 1 => any::<i32>(), 1 => Just(0xf1), 1 => Just(0)];
    (any::<u8>(), register(), register(), off, imm).prop_map(|(code, dst, src, off, imm)| Insn {
        code,
        dst,
        src,
        off,
        imm,
    })
}

/// Makes it likely that a slot is valid: fields that are not used are cleared.
fn mend(insn: Insn) -> Insn {
    let candidates = [
        insn,
        Insn { off: 0, ..insn },
        Insn { imm: 0, ..insn },
        Insn { src: Reg(0), ..insn },
        Insn { src: Reg(0), off: 0, ..insn },
        Insn { imm: 0, off: 0, ..insn },
        Insn { src: Reg(0), dst: Reg(0), off: 0, ..insn },
        Insn { src: Reg(0), dst: Reg(0), imm: 0, ..insn },
    ];
    let valid = candidates.into_iter().find(|insn| insn.decode(Some(Insn::default())).is_ok());
    valid.unwrap_or(Insn::mov_imm(insn.dst, insn.imm))
}

/// Adds slots to a program, each made valid.
pub(crate) fn push(code: &mut Vec<Insn>, slots: Vec<Insn>) {
    for slot in slots {
        let insn = mend(slot);
        code.push(insn);
        if insn.is_wide() {
            code.push(Insn::default());
        }
    }
}

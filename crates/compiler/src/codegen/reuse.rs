//! Wide constants (map addresses above all) that some register has already: they take two slots,
//! a copy takes one, and the register itself none.

use bombus_isa::{Insn, Reg};
use bombus_spec::SpecInsn;

use super::emit::Part;

/// The two slots of a wide load, without the register and the place in the source.
type Constant = [SpecInsn; 2];

/// Loads nothing twice that a register still has.
pub(super) fn run(part: &mut Part) {
    let mut known: [Option<Constant>; 11] = [None; 11];
    let mut at = 0;
    while at < part.insns.len() {
        let constant = constant(part, at);
        let place = constant.and_then(|wanted| {
            let has_it = |known: &Option<Constant>| *known == Some(wanted);
            known.iter().position(has_it).map(|place| Reg(place as u8))
        });
        let to = part.insns[at].insn.dst;
        match place {
            Some(from) if from == to => {
                part.remove(at + 1);
                part.remove(at);
                continue;
            }
            Some(from) => {
                part.remove(at + 1);
                part.insns[at].insn = Insn::mov(to, from);
                part.insns[at].reference = None;
            }
            None => {}
        }
        let written = part.effect(at).writes;
        for (register, known) in known.iter_mut().enumerate() {
            if written & 1 << register != 0 {
                *known = None;
            }
        }
        if constant.is_some() {
            known[usize::from(to.0)] = constant;
        }
        at += 1;
    }
}

/// What a wide load makes, unless only some runs get there or it is a function's address, which is
/// not known yet.
fn constant(part: &Part, at: usize) -> Option<Constant> {
    let first = part.insns[at];
    if !first.insn.is_wide()
        || part.is_conditional(at)
        || part.calls.iter().any(|&(slot, _)| slot == at as u32)
    {
        return None;
    }
    let second = *part.insns.get(at + 1)?;
    let plain =
        |slot: SpecInsn| SpecInsn { insn: Insn { dst: Reg::R0, ..slot.insn }, line: None, ..slot };
    Some([plain(first), plain(second)])
}

//! Changes that would help. Each is made on the code and verified; only one with which the program comes
//! past what was refused is suggested.

mod access;
mod held;

use bombus_isa::{Insn, Op, Reg};

use super::class::{Class, Shape};
use super::edit::Edited;
use super::finding::Finding;
use super::source;
use super::{Case, Suggestion};
use crate::program::{F_SLEEPABLE, Program};
use crate::verdict::Verdict;
use crate::walk::errno::E2BIG;

/// Candidates that are verified at most.
const MAX_TRIES: usize = 24;
/// Instructions that are walked for them at most, together, over what the refusal took.
const MAX_WALKED: u64 = 2_000_000;

/// A change to be tried.
struct Candidate {
    /// What it is, in source terms.
    text: String,
    change: Change,
}

enum Change {
    /// Instructions before this slot.
    Insert(usize, Vec<Insn>),
    /// Instructions before the second slot, where a function's start keeps something for them.
    Keep(usize, Insn, usize, Vec<Insn>),
    /// Instructions where a jump goes on to a slot.
    Between(usize, usize, Vec<Insn>),
    /// Another licence.
    Licence,
    /// The program may sleep.
    Sleepable,
}

/// A change that helps.
pub(super) fn suggestion(case: &Case<'_>, class: &Class, finding: &Finding) -> Option<Suggestion> {
    let candidates = candidates(case, class, finding);
    let mut best: Option<Suggestion> = None;
    let tries = (MAX_WALKED / u64::from(case.processed).max(1)).clamp(2, MAX_TRIES as u64);
    for candidate in candidates.into_iter().take(tries as usize) {
        let Some(found) = tried(case, candidate, class) else { continue };
        if found.is_accepted() {
            return Some(found);
        }
        best = best.or(Some(found));
    }
    best
}

/// Verifies a change: what becomes of it when the program comes past what was refused.
fn tried(case: &Case<'_>, candidate: Candidate, class: &Class) -> Option<Suggestion> {
    let program = case.program;
    let (verdict, inserted): (Verdict, Option<(usize, &[Insn])>) = match &candidate.change {
        Change::Insert(at, new) => {
            let edited = Edited::insert(program, *at, new)?;
            (case.verify(&edited.program(program)), Some((*at, new)))
        }
        Change::Keep(start, keep, at, new) => {
            let edited = Edited::insert(program, *at, new)?;
            let with_check = edited.program(program);
            let edited = Edited::insert(&with_check, *start, &[*keep])?;
            (case.verify(&edited.program(program)), Some((*at, new)))
        }
        Change::Between(jump, to, new) => {
            let edited = Edited::insert_between(program, *jump, *to, new)?;
            (case.verify(&edited.program(program)), Some((*to, new)))
        }
        Change::Licence => {
            (case.verify(&Program { gpl_compatible: true, ..program.clone() }), None)
        }
        Change::Sleepable => {
            let flags = program.flags | F_SLEEPABLE;
            (case.verify(&Program { flags, ..program.clone() }), None)
        }
    };
    let then = match &verdict.result {
        Ok(()) => None,
        Err(next) => {
            let (Change::Insert(..) | Change::Licence | Change::Sleepable) = candidate.change
            else {
                return None;
            };
            if next.errno == E2BIG {
                return None;
            }
            // Refused at the same place, or in what was put in: it does not help.
            let slot = next.slot?;
            let count = inserted.map_or(0, |(_, new)| new.len());
            let at = inserted.map_or(0, |(at, _)| at);
            if (at..at + count).contains(&slot) {
                return None;
            }
            let old = if slot >= at + count { slot - count } else { slot };
            let same_class = super::class::of(&next.message).id == class.id;
            // It must not be refused before that, or because of what was put in.
            let is_consequence = matches!(class.shape, Shape::Leak | Shape::Section) && !same_class;
            if Some(old) == case.rejection.slot
                || verdict.stats.processed < case.path.len() as u32
                || is_consequence
            {
                return None;
            }
            Some(next.message.lines().next().unwrap_or_default().to_owned())
        }
    };
    let place = inserted.and_then(|(at, _)| source::place(program, at));
    let inserted = inserted.map(|(at, new)| (at, listed(case, new)));
    Some(Suggestion { text: candidate.text, place, inserted, then })
}

/// Instructions as text.
fn listed(case: &Case<'_>, insns: &[Insn]) -> Vec<String> {
    let text = |insn: &Insn| {
        insn.decode(None).map_or_else(|_| String::new(), |op| op.display(case).to_string())
    };
    insns.iter().map(text).collect()
}

fn candidates(case: &Case<'_>, class: &Class, finding: &Finding) -> Vec<Candidate> {
    let Some(slot) = case.rejection.slot else { return Vec::new() };
    // Tables of places in the code are not mended.
    let has_tables =
        case.program.maps.iter().any(|map| map.map_type == bombus_platform::MapType::InsnArray);
    match class.shape {
        Shape::Licence => {
            let text = "declare the licence: `char _license[] SEC(\"license\") = \"GPL\";`";
            return vec![Candidate { text: text.into(), change: Change::Licence }];
        }
        Shape::Sleep if case.program.flags & F_SLEEPABLE == 0 => {
            let text = "make the program sleepable, by the `.s` of its section's name";
            return vec![Candidate { text: text.into(), change: Change::Sleepable }];
        }
        _ if has_tables => return Vec::new(),
        _ => {}
    }
    let Some(n) = finding.register else {
        return match class.shape {
            Shape::Leak => held::releases(case, finding),
            Shape::Section => held::closings(case, slot),
            _ => Vec::new(),
        };
    };
    let Some(register) = case.register(n) else { return Vec::new() };
    let reg = Reg(n);
    match class.shape {
        Shape::Null => access::null_checks(case, finding, slot, reg),
        Shape::Bounds => access::limits(case, finding),
        Shape::Packet => access::packet_checks(case, finding, slot, reg, &register),
        Shape::StackRead => access::initialisations(case, finding, slot, &register),
        Shape::Length | Shape::Offset => access::lengths(case, finding, slot, reg),
        Shape::Result => access::results(finding, slot),
        Shape::Unset if n <= 9 => {
            let text = match case.op(slot) {
                Some(Op::Exit) => "return a value, 0 say,".to_owned(),
                _ => format!("set `{}`, to 0 say,", finding.name),
            };
            vec![insert(text, slot, vec![Insn::mov_imm(reg, 0)])]
        }
        _ => Vec::new(),
    }
}

fn insert(text: String, at: usize, insns: Vec<Insn>) -> Candidate {
    Candidate { text, change: Change::Insert(at, insns) }
}

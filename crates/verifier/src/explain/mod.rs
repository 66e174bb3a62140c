//! Why a program is refused, in the user's terms: the source line, what would have to be known there,
//! which numbers break it, how it came to that, and a change that was verified to help.
//!
//! The walk knows nothing of this. After a refusal the program is walked again, watched: `record` keeps
//! the path that was refused, `trace` goes back along it from the register that is to blame, `finding`
//! says what is missing, `suggest` tries changes of the code and has each verified.

mod bounds;
mod class;
mod edit;
mod finding;
mod record;
mod source;
mod states;
mod steps;
mod suggest;
mod trace;
mod words;

use bombus_isa::{Op, Resolve};

use crate::code::Code;
use crate::entry::verify_watched;
use crate::facts::Tables;
use crate::maps::Maps;
use crate::program::{Options, Program, Target};
use crate::state::{Register, State};
use crate::types::Types;
use crate::verdict::{Rejection, Verdict};

pub use class::{CLASSES, Class};
pub use source::{Home, Place, Variable};
pub use states::{Listing, Row, Visit, states};

use finding::Finding;

/// Why a program is refused.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What kind of refusal it is: its id stays the same from version to version.
    pub class: &'static Class,
    /// What is wrong, in a line.
    pub message: String,
    /// The slot that is refused, and its instruction as text.
    pub instruction: Option<(usize, String)>,
    /// The source of that instruction.
    pub place: Option<Place>,
    /// What would have to be known: an inequality, where it is one.
    pub needs: Option<String>,
    /// What is known instead.
    pub proven: Option<String>,
    /// Numbers that may occur, as far as the verifier knows, and that break the rule.
    pub witness: Option<String>,
    /// How it comes to that: only what matters, in the order in which it happens.
    pub path: Vec<Step>,
    /// What helps, as a rule.
    pub advice: &'static str,
    /// A change that helps here: it was verified.
    pub suggestion: Option<Suggestion>,
}

/// Something that happens on the way to what is refused.
#[derive(Clone, Debug)]
pub struct Step {
    /// The slot.
    pub slot: usize,
    /// Its source.
    pub place: Option<Place>,
    /// What happens.
    pub text: String,
}

/// A change that was verified: with it the program comes past what is refused.
#[derive(Clone, Debug)]
pub struct Suggestion {
    /// What to change, in source terms.
    pub text: String,
    /// The source before which the change belongs.
    pub place: Option<Place>,
    /// The instructions that were put in, and the slot before which.
    pub inserted: Option<(usize, Vec<String>)>,
    /// What is refused next, in the kernel's words; nothing when the program is accepted.
    pub then: Option<String>,
}

impl Suggestion {
    /// With the change the program is accepted; else something else in it is refused next.
    pub fn is_accepted(&self) -> bool {
        self.then.is_none()
    }
}

/// Why a program is refused; nothing when it is accepted. Walks it again, several times:
/// to be called after a refusal, with the same options.
pub fn explain(
    program: &Program<'_>,
    target: &Target<'_>,
    options: &Options,
    variables: &[Variable],
) -> Option<Explanation> {
    let case = Case::of(program, target, options, variables)?;
    let class = class::of(&case.rejection.message);
    let finding = Finding::of(&case, class);
    let class = finding.class.unwrap_or(class);
    let suggestion = suggest::suggestion(&case, class, &finding);
    let slot = case.rejection.slot.filter(|slot| *slot < program.insns.len());
    let mut place = slot.and_then(|slot| source::place(program, slot));
    if let Some(place) = &mut place {
        place.underline(finding.subject.as_deref().unwrap_or(&finding.name));
    }
    Some(Explanation {
        class,
        message: finding.message.clone(),
        instruction: slot.map(|slot| (slot, case.text(slot))),
        place,
        needs: finding.needs.clone(),
        proven: finding.proven.clone(),
        witness: finding.witness.clone(),
        path: steps::steps(&case, class, &finding),
        advice: class.advice,
        suggestion,
    })
}

/// Nothing is written while looking for reasons.
fn quiet(options: &Options) -> Options {
    Options { log_level: 0, ..*options }
}

/// A refusal with all that is known of it.
struct Case<'a> {
    program: &'a Program<'a>,
    target: &'a Target<'a>,
    options: Options,
    variables: &'a [Variable],
    maps: Maps<'a>,
    types: Types<'a>,
    /// What can be told without walking, unless that was refused.
    code: Option<Code>,
    rejection: Rejection,
    /// Instructions that were walked.
    processed: u32,
    /// What was known before each instruction of the path, the refused one last.
    path: Vec<State>,
}

impl<'a> Case<'a> {
    fn of(
        program: &'a Program<'a>,
        target: &'a Target<'a>,
        options: &Options,
        variables: &'a [Variable],
    ) -> Option<Case<'a>> {
        let options = quiet(options);
        let mut trail = record::Trail::default();
        let verdict = verify_watched(program, target, &options, Some(&mut trail));
        let processed = verdict.stats.processed;
        let rejection = verdict.result.err()?;
        let wanted = trail.path();
        drop(trail);
        let mut path = Vec::new();
        if !wanted.is_empty() {
            let mut snapshots = record::Snapshots::of(&wanted);
            verify_watched(program, target, &options, Some(&mut snapshots));
            path = snapshots.finish();
        }
        // What is refused when a path ends has no place; neither is it about the last instruction.
        if rejection.slot.is_none() {
            path.clear();
        }
        Some(Case { rejection, processed, path, ..Case::bare(program, target, options, variables) })
    }

    /// A program, with nothing known of its walk.
    fn bare(
        program: &'a Program<'a>,
        target: &'a Target<'a>,
        options: Options,
        variables: &'a [Variable],
    ) -> Case<'a> {
        let tables = Tables { program, target, options: &options };
        let code = Code::new(program, target, &options, &tables).ok();
        let mut types = Types::new(target.btf, target.modules, program.btf);
        let maps = Maps::new(program.maps, &mut types);
        Case {
            program,
            target,
            options,
            variables,
            maps,
            types,
            code,
            rejection: Rejection::invalid(None, ""),
            processed: 0,
            path: Vec::new(),
        }
    }

    /// What is known where the program is refused.
    fn last(&self) -> Option<&State> {
        let slot = self.rejection.slot?;
        self.path.last().filter(|state| state.slot == slot)
    }

    /// A register there.
    fn register(&self, n: u8) -> Option<Register> {
        let state = self.last()?;
        state.frame().regs.get(usize::from(n)).copied()
    }

    /// The instruction in a slot.
    fn op(&self, slot: usize) -> Option<Op> {
        let insn = self.program.insns.get(slot)?;
        insn.decode(self.program.insns.get(slot + 1).copied()).ok()
    }

    /// An instruction as text.
    fn text(&self, slot: usize) -> String {
        match self.op(slot) {
            Some(op) => op.display(self).to_string(),
            None => "an instruction that there is not".to_owned(),
        }
    }

    /// What is said of a changed program, unless that takes much longer than the refusal did.
    fn verify(&self, program: &Program<'_>) -> Verdict {
        let most = self.processed.saturating_mul(4).saturating_add(100_000);
        let max_walked = most.min(self.options.max_walked);
        crate::verify(program, self.target, &Options { max_walked, ..self.options })
    }

    /// What the program calls in a slot.
    fn callee(&self, slot: usize) -> Option<String> {
        match self.op(slot)? {
            Op::CallHelper { id } => {
                let name = bombus_platform::HelperNames.helper(id);
                Some(name.map_or_else(|| format!("helper {id}"), |name| format!("{name}()")))
            }
            Op::CallKfunc { id, btf } => Some(format!("{}()", self.kfunc(id, btf)?)),
            Op::CallLocal { off } => {
                let target = usize::try_from(slot as i64 + 1 + i64::from(off)).ok()?;
                let functions = self.code.as_ref()?.functions();
                let callee = functions.iter().find(|function| function.start as usize == target)?;
                Some(format!("{}()", callee.name))
            }
            _ => None,
        }
    }
}

/// Names what instructions refer to.
impl Resolve for Case<'_> {
    fn helper(&self, id: i32) -> Option<&str> {
        bombus_platform::HelperNames.helper(id)
    }

    fn kfunc(&self, id: i32, btf: i16) -> Option<&str> {
        let btf = match usize::try_from(btf).ok()?.checked_sub(1) {
            None => self.target.btf?,
            Some(module) => self.target.modules.get(module)?,
        };
        Some(btf.name(bombus_btf::TypeId(u32::try_from(id).ok()?)))
    }

    fn imm64(&self, _: bombus_isa::Imm64) -> Option<String> {
        None
    }
}

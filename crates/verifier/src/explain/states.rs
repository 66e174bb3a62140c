//! What is known at every instruction, for whoever wants to look at it.

use bombus_isa::Op;

use super::source::{self, Place};
use super::{Case, Variable, quiet, record};
use crate::entry::verify_watched;
use crate::log::registers::write_frame;
use crate::program::{Options, Program, Target};
use crate::walk::{Observer, Walk};

/// Visits of an instruction that are kept at most, beside those of the path that is refused.
const MAX_VISITS: usize = 8;

/// A program with what is known at each instruction.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The instructions.
    pub rows: Vec<Row>,
    /// What is known before instructions: of each the first times that the walk came there, and of
    /// the refused path all.
    pub visits: Vec<Visit>,
    /// The refused path: places in [`Listing::visits`], in the order of walking.
    pub path: Vec<usize>,
}

/// An instruction.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its slot.
    pub slot: usize,
    /// Its text.
    pub text: String,
    /// Its source.
    pub place: Option<Place>,
    /// How often the walk came there.
    pub count: u32,
}

/// What is known before an instruction, once.
#[derive(Clone, Debug)]
pub struct Visit {
    /// The slot of the instruction.
    pub slot: usize,
    /// Registers and stack of each function that runs, the outermost first, as the kernel's log shows
    /// them.
    pub frames: Vec<Vec<(String, String)>>,
}

/// What is known at every instruction.
pub fn states(program: &Program<'_>, target: &Target<'_>, options: &Options) -> Listing {
    let options = quiet(options);
    let mut trail = record::Trail::default();
    let verdict = verify_watched(program, target, &options, Some(&mut trail));
    let path = match verdict.result {
        Err(_) => trail.path(),
        Ok(()) => Vec::new(),
    };
    drop(trail);
    let mut visits = Visits {
        counts: vec![0; program.insns.len()],
        wanted: &path,
        next: 0,
        count: 0,
        visits: Vec::new(),
        path: Vec::new(),
    };
    verify_watched(program, target, &options, Some(&mut visits));
    let Visits { counts, visits, path, .. } = visits;
    let none: &[Variable] = &[];
    let case = Case::bare(program, target, options, none);
    let mut rows = Vec::new();
    let mut slot = 0;
    while slot < program.insns.len() {
        let place = source::place(program, slot);
        rows.push(Row { slot, text: case.text(slot), place, count: counts[slot] });
        slot += case.op(slot).map_or(1, Op::slots);
    }
    Listing { rows, visits, path }
}

struct Visits<'p> {
    counts: Vec<u32>,
    wanted: &'p [u32],
    next: usize,
    count: u32,
    visits: Vec<Visit>,
    path: Vec<usize>,
}

impl Observer for Visits<'_> {
    fn before(&mut self, walk: &Walk<'_>) {
        let number = self.count;
        self.count += 1;
        let is_wanted = self.wanted.get(self.next) == Some(&number);
        let Some(count) = self.counts.get_mut(walk.slot) else { return };
        *count += 1;
        if !is_wanted && *count as usize > MAX_VISITS {
            return;
        }
        if is_wanted {
            self.next += 1;
            self.path.push(self.visits.len());
        }
        let frames = (0..walk.state.frames.len()).map(|frame| shown(walk, frame)).collect();
        self.visits.push(Visit { slot: walk.slot, frames });
    }
}

/// The registers and slots of a frame: name and what is known.
fn shown(walk: &Walk<'_>, frame: usize) -> Vec<(String, String)> {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_frame(&mut text, &walk.state, frame, (u32::MAX, u64::MAX), walk.names());
    let text = text.trim();
    let text = text.strip_prefix(&format!("frame{frame}:")).unwrap_or(text);
    let part = |part: &str| match part.split_once('=') {
        Some((name, known)) => (name.to_owned(), known.to_owned()),
        None => (part.to_owned(), String::new()),
    };
    text.split_whitespace().map(part).collect()
}

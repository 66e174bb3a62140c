//! What remains of a state that is no longer compared with: going back for precision asks only which
//! registers and slots have numbers, and which of these are precise. On a long path most states are such.

use super::keep::Kept;
use crate::state::{FP, Frame, State, bits};

/// Of a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outline {
    callsite: i32,
    /// Registers with numbers, but for the frame pointer: a bit each.
    numbers: u32,
    precise: u32,
    /// Slots that numbers were spilled to: a bit each.
    spills: u64,
    precise_spills: u64,
}

impl Outline {
    fn of(frame: &Frame) -> Outline {
        let spills = frame.stack.spills().filter(|(_, slot)| slot.is_scalar_spill());
        Outline {
            callsite: frame.callsite,
            numbers: registers(frame, |known| known.is_scalar()),
            precise: registers(frame, |known| known.is_scalar() && known.precise),
            spills: spills.fold(0, |spills, (place, _)| spills | 1 << place),
            precise_spills: slots(frame.stack.precise()),
        }
    }
}

/// The registers of which something holds.
fn registers(frame: &Frame, holds: impl Fn(&crate::state::Register) -> bool) -> u32 {
    let found = (0..FP).filter(|register| holds(&frame.regs[*register]));
    found.fold(0, |all, register| all | 1 << register)
}

fn slots(places: impl Iterator<Item = usize>) -> u64 {
    places.fold(0, |all, place| all | 1 << place)
}

impl Kept {
    /// Keeps an outline alone; gives the memory of the rest.
    pub(super) fn reduce(&mut self) -> State {
        self.outline = self.state.frames.iter().map(Outline::of).collect();
        let frames = std::mem::take(&mut self.state.frames);
        let references = std::mem::take(&mut self.state.references);
        State { frames, references, history: Vec::new(), ..self.state }
    }

    /// How many functions are running.
    pub(super) fn depth(&self) -> usize {
        self.state.frames.len().max(self.outline.len())
    }

    /// Where they were called.
    pub(super) fn calls(&self) -> impl Iterator<Item = i32> + Clone {
        let frames = self.state.frames.iter().map(|frame| frame.callsite);
        frames.chain(self.outline.iter().map(|frame| frame.callsite))
    }

    /// The registers of a frame with numbers that are precise, and the slots: a bit each.
    pub(super) fn precise(&self, frame: usize) -> (u32, u64) {
        match self.outline.get(frame) {
            Some(frame) => (frame.precise, frame.precise_spills),
            None => {
                let frame = &self.state.frames[frame];
                let precise = registers(frame, |known| known.is_scalar() && known.precise);
                (precise, slots(frame.stack.precise()))
            }
        }
    }

    /// The number in a register is precise; whether there is one that was not.
    pub(super) fn make_precise(&mut self, frame: usize, register: usize) -> bool {
        match self.outline.get_mut(frame) {
            Some(frame) => {
                let before = frame.precise;
                frame.precise |= frame.numbers & 1 << register;
                frame.precise != before
            }
            None => {
                let known = &mut self.state.frames[frame].regs[register];
                known.is_scalar() && !std::mem::replace(&mut known.precise, true)
            }
        }
    }

    /// The same of a slot.
    pub(super) fn make_slot_precise(&mut self, frame: usize, slot: usize) -> bool {
        match self.outline.get_mut(frame) {
            Some(frame) => {
                let before = frame.precise_spills;
                frame.precise_spills |= frame.spills & 1 << slot;
                frame.precise_spills != before
            }
            None => self.state.frames[frame].stack.make_precise(slot),
        }
    }

    /// The slots of a frame that may have numbers.
    pub(super) fn slots(&self, frame: usize) -> impl Iterator<Item = usize> + use<> {
        bits(match self.outline.get(frame) {
            Some(frame) => frame.spills,
            None => slots(self.state.frames[frame].stack.held()),
        })
    }
}

//! Whether what a run has in its registers and on its stack is in what the verifier knows there.

use std::fmt::Write;
use std::num::Wrapping;

use bombus_platform::MAX_STACK;
use bombus_verifier::domain::Scalar;
use bombus_verifier::embedding::{Held, Known, Place, What, Witness};
use bombus_vm::{Step, address};

use super::world::guest;

/// States of a program that are kept: with more of them it is not looked at.
const MOST: usize = 20_000;
/// Registers of a frame.
const REGISTERS: usize = 11;
/// How far apart frames are.
const FRAME: u64 = 2 * MAX_STACK as u64;

/// What is known of something: of a register, or of bytes of a frame.
#[derive(Clone, Debug)]
struct Fact {
    frame: usize,
    subject: Subject,
    known: Known,
}

#[derive(Clone, Copy, Debug)]
enum Subject {
    Register(usize),
    /// So many bytes from an offset from the frame's start on.
    Bytes(usize, usize),
}

/// What is known before an instruction.
#[derive(Debug)]
struct State {
    slot: usize,
    /// Where each frame but the first was called.
    callsites: Vec<Option<usize>>,
    facts: Vec<Fact>,
}

/// What the verifier knows of a program, and how a run of it agrees.
#[derive(Default)]
pub(super) struct States {
    states: Vec<State>,
    at: Vec<Vec<u32>>,
    is_off: bool,
    /// The state that the last step was in.
    last: usize,
    /// Registers of the functions that wait, and where they called.
    saved: Vec<([u64; REGISTERS], u16, usize)>,
    /// Steps that were checked.
    pub(super) steps: u64,
    /// What does not agree, and where.
    pub(super) violation: Option<String>,
    ties: Vec<(u32, bool, u64)>,
    /// Of all that was ever known: the same for the same.
    pub(super) digest: u64,
}

impl Witness for States {
    fn before(&mut self, place: &Place<'_>) {
        if self.states.len() >= MOST {
            self.is_off = true;
        }
        if self.is_off {
            return;
        }
        let mut facts = Vec::new();
        for frame in 0..place.frames() {
            for (register, known) in place.registers(frame).into_iter().enumerate() {
                if says_something(&known) {
                    facts.push(Fact { frame, subject: Subject::Register(register), known });
                }
            }
            for (offset, held) in place.stack(frame) {
                let at = (MAX_STACK as i32 + offset) as usize;
                let (size, known) = match held {
                    Held::Register(size, known) => (size, known),
                    Held::Zero => (1, zero()),
                };
                if says_something(&known) {
                    facts.push(Fact { frame, subject: Subject::Bytes(at, size), known });
                }
            }
        }
        for fact in &facts {
            let Scalar { bits, range, low } = fact.known.value;
            let halves = u64::from(low.start.0) << 32 | u64::from(low.len.0);
            for number in [bits.value.0, bits.mask.0, range.start.0, range.len.0, halves] {
                self.digest = (self.digest ^ number).wrapping_mul(0x0100_0000_01b3);
            }
        }
        let callsites = (0..place.frames()).map(|frame| place.callsite(frame)).collect();
        let slot = place.slot();
        if self.at.len() <= slot {
            self.at.resize(slot + 1, Vec::new());
        }
        self.at[slot].push(self.states.len() as u32);
        self.states.push(State { slot, callsites, facts });
    }
}

fn zero() -> Known {
    Known {
        what: What::Number,
        may_be_null: false,
        value: Scalar::exact(Wrapping(0)),
        id: 0,
        delta: 0,
        is_low_half: false,
    }
}

fn says_something(known: &Known) -> bool {
    match known.what {
        What::Anything => false,
        What::Number => known.id != 0 || known.value != Scalar::unknown(),
        _ => true,
    }
}

impl States {
    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.states.clear();
        self.at.clear();
        self.is_off = false;
        self.violation = None;
        self.start();
    }

    /// A new run of the same program.
    pub(super) fn start(&mut self) {
        self.last = usize::MAX - 1;
        self.saved.clear();
    }

    /// Nothing is checked.
    pub(super) fn turn_off(&mut self) {
        self.is_off = true;
    }

    /// Checks a step of a run.
    pub(super) fn check(&mut self, step: &Step<'_>) {
        if self.is_off || self.violation.is_some() {
            return;
        }
        self.steps += 1;
        let mut registers = [0; REGISTERS];
        registers.copy_from_slice(&step.registers[..REGISTERS]);
        self.saved.truncate(step.frames.len() - 1);
        self.saved.push((registers, step.set, step.slot));
        let next = self.last + 1;
        if self.states.get(next).is_some_and(|state| state.slot == step.slot)
            && self.holds(next, step)
        {
            self.last = next;
            return;
        }
        let count = self.at.get(step.slot).map_or(0, Vec::len);
        for nth in (0..count).rev() {
            let state = self.at[step.slot][nth] as usize;
            if self.holds(state, step) {
                self.last = state;
                return;
            }
        }
        self.violation = Some(self.describe(step));
    }

    /// Whether a step is in a state.
    fn holds(&mut self, state: usize, step: &Step<'_>) -> bool {
        let mut ties = std::mem::take(&mut self.ties);
        ties.clear();
        let state = &self.states[state];
        let holds = self.is_here(state)
            && state.facts.iter().all(|fact| {
                self.value(fact, step).is_some_and(|value| agrees(fact, value, &mut ties))
            });
        self.ties = ties;
        holds
    }

    /// Whether the calls are the same.
    fn is_here(&self, state: &State) -> bool {
        state.callsites.len() == self.saved.len()
            && state
                .callsites
                .iter()
                .skip(1)
                .zip(&self.saved)
                .all(|(site, (_, _, slot))| site.is_none_or(|site| site == *slot))
    }

    /// What the run has there.
    fn value(&self, fact: &Fact, step: &Step<'_>) -> Option<u64> {
        match fact.subject {
            Subject::Register(register) => {
                let (registers, set, _) = self.saved.get(fact.frame)?;
                (set >> register & 1 != 0).then_some(registers[register])
            }
            Subject::Bytes(at, size) => {
                let bytes = step.frames.get(fact.frame)?.get(at..at + size)?;
                let mut number = [0; 8];
                number[..size].copy_from_slice(bytes);
                Some(u64::from_le_bytes(number))
            }
        }
    }

    fn describe(&self, step: &Step<'_>) -> String {
        let mut text =
            format!("a state that the verifier does not know, before slot {}:\n", step.slot);
        for (frame, (registers, set, slot)) in self.saved.iter().enumerate() {
            let _ = write!(text, "  frame {frame} at {slot}:");
            for (register, value) in registers.iter().enumerate() {
                if set >> register & 1 != 0 {
                    let _ = write!(text, " r{register}={value:#x}");
                }
            }
            text.push('\n');
        }
        let states = self.at.get(step.slot).map_or(&[][..], Vec::as_slice);
        let _ = writeln!(text, "  {} states are known there", states.len());
        for state in states.iter().rev().take(6) {
            let state = &self.states[*state as usize];
            if !self.is_here(state) {
                text += "  one in other calls\n";
                continue;
            }
            let mut ties = Vec::new();
            for fact in &state.facts {
                let value = self.value(fact, step);
                if value.is_none_or(|value| !agrees(fact, value, &mut ties)) {
                    let Known { what, value: known, id, .. } = fact.known;
                    let _ = writeln!(
                        text,
                        "  frame {} {:?} is {value:#x?}, known: {what:?} bits {:#x}/{:#x} range \
                         {:#x}+{:#x} low {:#x}+{:#x} id {id}",
                        fact.frame,
                        fact.subject,
                        known.bits.value,
                        known.bits.mask,
                        known.range.start,
                        known.range.len,
                        known.low.start,
                        known.low.len,
                    );
                    break;
                }
            }
        }
        text
    }
}

/// Whether a value is what is known of it.
fn agrees(fact: &Fact, value: u64, ties: &mut Vec<(u32, bool, u64)>) -> bool {
    let known = &fact.known;
    if known.what != What::Number && known.may_be_null && value == 0 {
        return true;
    }
    let within = |number: u64| {
        let Scalar { bits, range, low } = known.value;
        let number = Wrapping(number);
        bits.contains(number) && range.contains(number) && low.contains(Wrapping(number.0 as u32))
    };
    if let Subject::Bytes(_, size @ ..8) = fact.subject {
        // They are the low bytes of what is known.
        let mask = (1 << (8 * size)) - 1;
        let Scalar { bits, low, .. } = known.value;
        let differ = (bits.value.0 ^ value) & !bits.mask.0 & mask;
        return differ == 0 && (size < 4 || low.contains(Wrapping(value as u32)));
    }
    let (region, number, distance) = guest::place(value);
    let thing =
        |expected: u32| region == expected && number != usize::MAX && within(distance as u64);
    match known.what {
        What::Anything | What::Function(_) | What::Other => true,
        What::Number => within(value) && is_tied(known, value, ties),
        What::Context => within(value.wrapping_sub(address::pack(address::CTX, 0))),
        What::Map(map) => value == address::pack(guest::MAPS, map as u64),
        What::MapValue(map) => thing(guest::VALUES + map as u32),
        What::MapKey(_) => thing(guest::KEYS),
        What::Stack(frame) => {
            let top = address::pack(address::STACK, frame as u64 * FRAME + MAX_STACK as u64);
            within(value.wrapping_sub(top))
        }
        What::Packet(_) => thing(guest::PACKET),
        What::PacketMeta(_) | What::PacketEnd => region == guest::PACKET,
        What::Memory(_) => thing(guest::RING),
    }
}

/// Whether numbers with the same id are the same, but for what is said.
fn is_tied(known: &Known, value: u64, ties: &mut Vec<(u32, bool, u64)>) -> bool {
    if known.id == 0 {
        return true;
    }
    let base = value.wrapping_sub(known.delta as u64);
    let other = ties.iter().find(|(id, _, _)| *id == known.id);
    let agrees = other.is_none_or(|(_, is_low, other)| match *is_low || known.is_low_half {
        true => *other as u32 == base as u32,
        false => *other == base,
    });
    ties.push((known.id, known.is_low_half, base));
    agrees
}

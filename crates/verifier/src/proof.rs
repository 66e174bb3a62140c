//! What an engine need not check of a program that was accepted.
//!
//! What is said of an instruction holds each time that it is run, on every path: joined over all that
//! the walk saw there. The walk sees every path, or one that covers it.

use crate::state::{Base, Register};
use crate::walk::Walk;

/// Where the memory is that an instruction accesses, all of it being there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Memory {
    /// In the stack, of whichever of the functions that are running.
    Stack,
    /// In the packet, between its start and its end.
    Packet,
    /// In a value of the map at this place in [`Program::maps`](crate::Program::maps).
    MapValue(usize),
    /// In a value of one of the maps at these places, a bit each: some of the first 64.
    MapValues(u64),
    /// Anywhere, or not always in the same: engines look for themselves.
    Other,
}

impl Memory {
    /// The one or the other.
    fn or(self, other: Memory) -> Memory {
        match (self.places(), other.places()) {
            _ if self == other => self,
            (Some(places), Some(others)) => Memory::MapValues(places | others),
            _ => Memory::Other,
        }
    }

    /// The maps in whose values it may be, a bit each.
    fn places(self) -> Option<u64> {
        match self {
            Memory::MapValue(place) => 1_u64.checked_shl(u32::try_from(place).ok()?),
            Memory::MapValues(places) => Some(places),
            Memory::Stack | Memory::Packet | Memory::Other => None,
        }
    }
}

/// What is known of an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Known {
    /// Some path comes to it.
    pub is_reached: bool,
    /// What it accesses, when it accesses memory by a pointer.
    pub memory: Option<Memory>,
}

/// What is known of the instructions of a program, by slot; of none of a program that was refused.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Proof(Vec<Known>);

impl Proof {
    /// What is known of the instruction in a slot.
    pub fn at(&self, slot: usize) -> Known {
        self.0.get(slot).copied().unwrap_or(Known { is_reached: true, memory: None })
    }
}

impl Walk<'_> {
    /// Takes note of the pointer that the instruction goes through.
    pub(crate) fn note_memory(&mut self, pointer: &Register) {
        let kind = pointer.kind;
        let memory = match kind.base {
            Base::Stack if kind.is(Base::Stack) => Memory::Stack,
            Base::Packet if kind.is(Base::Packet) => Memory::Packet,
            Base::MapValue if kind.is(Base::MapValue) => {
                let place = pointer.map().and_then(|map| self.maps.place(map));
                place.map_or(Memory::Other, Memory::MapValue)
            }
            _ => Memory::Other,
        };
        let noted = &mut self.notes[self.slot].memory;
        *noted = match *noted {
            Some(before) => Some(before.or(memory)),
            None => Some(memory),
        };
    }

    /// What is known after all paths were walked.
    pub(crate) fn proof(&self) -> Proof {
        let known = |slot: usize| Known {
            is_reached: self.notes[slot].is_seen,
            memory: self.notes[slot].memory,
        };
        Proof((0..self.notes.len()).map(known).collect())
    }
}

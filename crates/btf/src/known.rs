//! What a table has already, found by its bytes. Only places in the table are kept, so that this
//! takes a few bytes for each of them however many there are.

use std::hash::BuildHasher;

use crate::names::NameHash;

/// Places of what is in a table.
#[derive(Clone, Default)]
pub(crate) struct Known {
    /// Each place at the first free slot from that of its hash on, plus one; 0: free. As many as a
    /// power of two, at most three quarters of them taken.
    slots: Vec<u32>,
    taken: usize,
    hash: NameHash,
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Known({})", self.taken)
    }
}

impl Known {
    /// With room for this many, and for half as many more.
    pub(crate) fn with_capacity(places: usize) -> Known {
        Known { slots: vec![0; (places * 2).next_power_of_two()], ..Known::default() }
    }

    /// Where these bytes are; `at` says which bytes are at a place.
    pub(crate) fn find<'t>(&self, bytes: &[u8], at: impl Fn(u32) -> &'t [u8]) -> Option<u32> {
        let places = self.chain(bytes).map_while(|slot| self.slots[slot].checked_sub(1));
        places.into_iter().find(|&place| at(place) == bytes)
    }

    /// Adds the place of bytes that are not there yet.
    pub(crate) fn insert<'t>(&mut self, place: u32, at: impl Fn(u32) -> &'t [u8]) {
        self.find_or_insert(at(place), place, at);
    }

    /// Where these bytes are, or else adds the place that they are going to have.
    pub(crate) fn find_or_insert<'t>(
        &mut self,
        bytes: &[u8],
        place: u32,
        at: impl Fn(u32) -> &'t [u8],
    ) -> Option<u32> {
        if (self.taken + 1) * 4 > self.slots.len() * 3 {
            self.grow(&at);
        }
        for slot in self.chain(bytes) {
            match self.slots[slot].checked_sub(1) {
                Some(place) if at(place) == bytes => return Some(place),
                Some(_) => {}
                None => {
                    self.slots[slot] = place + 1;
                    self.taken += 1;
                    break;
                }
            }
        }
        None
    }

    fn grow<'t>(&mut self, at: impl Fn(u32) -> &'t [u8]) {
        let larger = vec![0; (self.slots.len() * 2).max(16)];
        for place in std::mem::replace(&mut self.slots, larger) {
            if let Some(place) = place.checked_sub(1)
                && let Some(free) = self.chain(at(place)).find(|&slot| self.slots[slot] == 0)
            {
                self.slots[free] = place + 1;
            }
        }
    }

    /// All slots, from that of the hash of these bytes on.
    fn chain(&self, bytes: &[u8]) -> impl Iterator<Item = usize> + use<> {
        let (len, hash) = (self.slots.len(), self.hash.hash_one(bytes) as usize);
        (0..len).map(move |step| hash.wrapping_add(step) & (len - 1))
    }
}

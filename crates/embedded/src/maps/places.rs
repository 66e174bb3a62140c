//! Places in programs, for jumps to one of several (`kernel/bpf/bpf_insn_array.c`).

use bombus_spec::MapSpec;
use bombus_vm::address::{self, CODE};

use super::Errno;

/// `struct bpf_insn_array_value`: the slot, where it is after the verifier's changes, and in machine
/// code.
const VALUE: u32 = 16;

/// A table of places. Programs see a word for each: an address in their code.
#[derive(Debug)]
pub(crate) struct Places {
    slots: Vec<u32>,
    words: Vec<u8>,
}

impl Places {
    /// Creates a table (`insn_array_alloc_check`).
    pub(super) fn new(spec: &MapSpec) -> Result<Places, Errno> {
        const MOST: u32 = 1 << 24;
        if spec.key_size != 4 || spec.value_size != VALUE || spec.max_entries == 0 {
            return Err(libc::EINVAL);
        }
        if spec.max_entries > MOST {
            return Err(libc::E2BIG);
        }
        let count = spec.max_entries as usize;
        let mut places = Places { slots: vec![0; count], words: vec![0; count * 8] };
        (0..count).for_each(|index| places.set(index, 0));
        Ok(places)
    }

    fn set(&mut self, index: usize, slot: u32) {
        self.slots[index] = slot;
        let word = address::pack(CODE, slot.into()).to_le_bytes();
        self.words[index * 8..][..8].copy_from_slice(&word);
    }

    /// Bytes that programs see.
    pub(crate) fn len(&self) -> usize {
        self.words.len()
    }

    pub(crate) fn at(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let start = usize::try_from(offset).ok()?;
        self.words.get(start..start.checked_add(len)?)
    }

    /// What user space has at an index.
    pub(crate) fn lookup(&self, index: usize) -> Option<Vec<u8>> {
        let slot = *self.slots.get(index)?;
        // The verifier here changes nothing, and there is one way to run a place.
        let words = [slot, slot, 0, 0];
        Some(words.iter().flat_map(|word| word.to_ne_bytes()).collect())
    }

    /// What user space has at all of them.
    pub(crate) fn values(&self) -> Vec<u8> {
        (0..self.slots.len()).filter_map(|index| self.lookup(index)).flatten().collect()
    }

    /// `insn_array_update_elem`: only the slot may be given.
    pub(crate) fn update(&mut self, index: usize, value: &[u8]) -> Result<(), Errno> {
        let (words, _) = value.as_chunks::<4>();
        let [slot, rest @ ..] = words else { return Err(libc::EINVAL) };
        if index >= self.slots.len() {
            return Err(libc::E2BIG);
        }
        if rest.iter().any(|word| *word != [0; 4]) {
            return Err(libc::EINVAL);
        }
        self.set(index, u32::from_ne_bytes(*slot));
        Ok(())
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.slots.len()
    }
}

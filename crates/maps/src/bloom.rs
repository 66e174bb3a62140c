//! Bloom filters (`kernel/bpf/bloom_filter.c`): whether a value may have been pushed.

use std::sync::atomic::Ordering;

use crate::Errno;
use crate::hash::key::{Key, whiten};
use crate::region::Region;
use crate::words::Bytes;

/// A bloom filter.
pub(crate) struct Bloom {
    bits: Region,
    /// The number of bits less one.
    mask: u32,
    functions: u32,
    seed: u64,
}

impl Bloom {
    /// Enough bits for so many values and hash functions (0: five) that about half of them are set
    /// when it is full (`bloom_map_alloc`).
    pub(crate) fn new(max_entries: u32, functions: u32, seed: u64) -> Result<Bloom, Errno> {
        let functions = if functions == 0 { 5 } else { functions };
        // The functions over the natural logarithm of 2, which is about 5/7.
        let bits = u64::from(max_entries) * u64::from(functions) * 7 / 5;
        let bits = bits.clamp(64, 1 << 32).next_power_of_two();
        let region = Region::new((bits / 8) as usize)?;
        Ok(Bloom { bits: region, mask: (bits - 1) as u32, functions, seed })
    }

    fn bits_of(&self, value: Bytes<'_>) -> impl Iterator<Item = (usize, u64)> {
        (0..self.functions).map(move |function| {
            let bit = value.hash(whiten(self.seed.wrapping_add(function.into()))) & self.mask;
            ((bit / 64 * 8) as usize, 1 << (bit % 64))
        })
    }

    /// Adds a value. The only flag is `BPF_ANY`.
    pub(crate) fn push(&self, value: Bytes<'_>, flags: u64) -> Result<(), Errno> {
        if flags != 0 {
            return Err(libc::EINVAL);
        }
        for (word, bit) in self.bits_of(value) {
            self.bits.word(word).fetch_or(bit, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Whether it may be there; `ENOENT` when it is not.
    pub(crate) fn peek(&self, value: Bytes<'_>) -> Result<(), Errno> {
        let all = self
            .bits_of(value)
            .all(|(word, bit)| self.bits.word(word).load(Ordering::Relaxed) & bit != 0);
        if all { Ok(()) } else { Err(libc::ENOENT) }
    }
}

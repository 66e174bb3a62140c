//! A set of system call numbers.

use std::fmt;

const WORDS: usize = 16;

/// A set of system call numbers: chosen ones below [`SyscallSet::LIMIT`], or all there are.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct SyscallSet {
    all: bool,
    bits: [u64; WORDS],
}

impl SyscallSet {
    /// Numbers from here on cannot be chosen one by one. (Linux 6.18 has none above 469.)
    pub const LIMIT: u32 = WORDS as u32 * 64;

    /// The empty set.
    pub const NONE: SyscallSet = SyscallSet { all: false, bits: [0; WORDS] };
    /// Every number, also those that no system call has, and other calling conventions.
    pub const ALL: SyscallSet = SyscallSet { all: true, bits: [!0; WORDS] };

    /// Adds a number. One that is out of range makes no difference.
    pub fn insert(&mut self, nr: u32) {
        if nr < Self::LIMIT {
            self.bits[nr as usize / 64] |= 1 << (nr % 64);
        }
    }

    /// Adds every number of another set.
    pub fn extend(&mut self, other: &SyscallSet) {
        self.all |= other.all;
        for (mine, theirs) in self.bits.iter_mut().zip(other.bits) {
            *mine |= theirs;
        }
    }

    /// Whether the number is in it.
    pub fn contains(&self, nr: u32) -> bool {
        self.all || (nr < Self::LIMIT && self.bits[nr as usize / 64] & (1 << (nr % 64)) != 0)
    }

    /// Whether it is [`SyscallSet::ALL`].
    pub fn is_all(&self) -> bool {
        self.all
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        !self.all && self.bits == [0; WORDS]
    }
}

impl FromIterator<u32> for SyscallSet {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> SyscallSet {
        let mut set = SyscallSet::NONE;
        numbers.into_iter().for_each(|nr| set.insert(nr));
        set
    }
}

impl fmt::Debug for SyscallSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.all {
            return f.write_str("all");
        }
        f.debug_set().entries((0..Self::LIMIT).filter(|&nr| self.contains(nr))).finish()
    }
}

//! Which cell belongs to which key: a chained hash table of cell numbers.
//!
//! Cells never move. A cell that was given up is the next one to be taken, as in the kernel's
//! preallocated tables, and walking the cells in order is a walk that deletions do not disturb.

use super::Errno;
use super::cells::Cells;
use super::recency::Recency;

const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
pub(crate) struct HashIndex {
    keys: Cells,
    max_entries: usize,
    /// First cell of each chain; a power of two of them.
    buckets: Vec<u32>,
    /// For every cell: the one after it in its chain.
    next: Vec<u32>,
    /// For every cell: the hash of its key, and whether it is in use.
    hashes: Vec<Option<u32>>,
    free: Vec<u32>,
    len: usize,
    /// For LRU maps, which make room by themselves.
    recency: Option<Recency>,
}

impl HashIndex {
    pub(crate) fn new(key_size: usize, max_entries: usize, lru: bool) -> Result<HashIndex, Errno> {
        Ok(HashIndex {
            keys: Cells::new(key_size, 0)?,
            max_entries,
            buckets: vec![NONE; 64],
            next: Vec::new(),
            hashes: Vec::new(),
            free: Vec::new(),
            len: 0,
            recency: lru.then(Recency::default),
        })
    }

    pub(crate) fn keys(&self) -> &Cells {
        &self.keys
    }

    /// The first cell in use from `cell` on.
    pub(crate) fn used_from(&self, cell: usize) -> Option<usize> {
        let rest = self.hashes.get(cell..)?;
        rest.iter().position(Option::is_some).map(|distance| cell + distance)
    }

    /// The cell of a key.
    #[inline(always)]
    pub(crate) fn find(&self, key: &[u8]) -> Option<usize> {
        if key.len() <= 8 { self.find_word(word(key)) } else { self.find_long(key) }
    }

    #[inline(never)]
    fn find_long(&self, key: &[u8]) -> Option<usize> {
        if self.len == 0 {
            return None;
        }
        let hash = hash(key);
        let mut cell = self.buckets[self.bucket(hash)];
        while cell != NONE {
            let index = cell as usize;
            if self.hashes[index] == Some(hash) && self.keys.get(index) == key {
                return Some(index);
            }
            cell = self.next[index];
        }
        None
    }

    /// The cell of a key of 8 bytes or fewer, as a little-endian number.
    #[inline]
    pub(crate) fn find_word(&self, key: u64) -> Option<usize> {
        if self.len == 0 {
            return None;
        }
        let mut cell = self.buckets[self.bucket(mix(START, key) as u32)];
        while cell != NONE {
            let index = cell as usize;
            if self.keys.word(index) == key {
                return Some(index);
            }
            cell = self.next[index];
        }
        None
    }

    /// Notes that a cell was used.
    #[inline]
    pub(crate) fn touch(&mut self, cell: usize) {
        if let Some(recency) = &mut self.recency {
            recency.touch(cell);
        }
    }

    /// A cell for a key that has none.
    pub(crate) fn insert(&mut self, key: &[u8]) -> Result<usize, Errno> {
        if self.len == self.max_entries {
            let oldest = self.recency.as_ref().and_then(Recency::oldest).ok_or(libc::E2BIG)?;
            self.unlink(oldest);
        }
        let cell = match self.free.pop() {
            Some(cell) => cell as usize,
            None => {
                let cell = self.next.len();
                self.keys.grow(cell + 1)?;
                self.next.push(NONE);
                self.hashes.push(None);
                cell
            }
        };
        if self.len >= self.buckets.len() {
            self.spread();
        }
        self.keys.get_mut(cell).copy_from_slice(key);
        let hash = hash(key);
        self.hashes[cell] = Some(hash);
        self.chain(cell, hash);
        self.len += 1;
        if let Some(recency) = &mut self.recency {
            recency.insert(cell);
        }
        Ok(cell)
    }

    /// Gives up the cell of a key; whether there was one.
    pub(crate) fn remove(&mut self, key: &[u8]) -> bool {
        let found = self.find(key);
        if let Some(cell) = found {
            self.unlink(cell);
        }
        found.is_some()
    }

    fn unlink(&mut self, cell: usize) {
        let Some(hash) = self.hashes[cell].take() else { return };
        let bucket = self.bucket(hash);
        let after = self.next[cell];
        let mut before = self.buckets[bucket];
        if before as usize == cell {
            self.buckets[bucket] = after;
        } else {
            while self.next[before as usize] as usize != cell {
                before = self.next[before as usize];
            }
            self.next[before as usize] = after;
        }
        self.free.push(cell as u32);
        self.len -= 1;
        if let Some(recency) = &mut self.recency {
            recency.remove(cell);
        }
    }

    fn bucket(&self, hash: u32) -> usize {
        hash as usize & (self.buckets.len() - 1)
    }

    fn chain(&mut self, cell: usize, hash: u32) {
        let bucket = self.bucket(hash);
        self.next[cell] = self.buckets[bucket];
        self.buckets[bucket] = cell as u32;
    }

    /// Doubles the number of chains.
    fn spread(&mut self) {
        self.buckets = vec![NONE; self.buckets.len() * 2];
        for cell in 0..self.hashes.len() {
            if let Some(hash) = self.hashes[cell] {
                self.chain(cell, hash);
            }
        }
    }
}

/// What hashes start with.
const START: u64 = 0x2545_f491_4f6c_dd1d;

/// Mixes eight bytes in, by a multiplication whose upper half comes back down.
#[inline]
fn mix(state: u64, word: u64) -> u64 {
    let product = u128::from(state ^ word) * 0x9e37_79b9_7f4a_7c15;
    product as u64 ^ (product >> 64) as u64
}

#[inline]
fn hash(key: &[u8]) -> u32 {
    let (words, rest) = key.as_chunks::<8>();
    let mut state = words.iter().fold(START, |state, word| mix(state, u64::from_le_bytes(*word)));
    if !rest.is_empty() {
        state = mix(state, word(rest));
    }
    state as u32
}

/// At most eight bytes as a little-endian number.
#[inline]
fn word(bytes: &[u8]) -> u64 {
    match *bytes {
        [a] => a.into(),
        [a, b] => u16::from_le_bytes([a, b]).into(),
        [a, b, c, d] => u32::from_le_bytes([a, b, c, d]).into(),
        [a, b, c, d, e, f, g, h] => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    }
}

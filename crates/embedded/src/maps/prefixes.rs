//! Keys with a prefix length (`kernel/bpf/lpm_trie.c`): a look-up finds the longest prefix.
//!
//! The kernel has a tree; here it is a hash table of whole prefixes, asked once for each length that
//! there is, which finds the same.

use super::Errno;
use super::hash_index::HashIndex;

/// Bytes of a key's data: at least, at most (`LPM_DATA_SIZE_MIN`, `LPM_DATA_SIZE_MAX`).
pub(super) const DATA_SIZES: std::ops::RangeInclusive<u32> = 1..=256;

/// Bytes of the length at a key's start.
const LENGTH: usize = 4;

/// Which cell belongs to which prefix.
#[derive(Clone, Debug)]
pub(crate) struct Prefixes {
    index: HashIndex,
    /// How many prefixes there are of each length.
    counts: Vec<u32>,
    /// The lengths that there are, from the longest on.
    lengths: Vec<Length>,
}

/// A length that prefixes have.
#[derive(Clone, Copy, Debug)]
struct Length {
    bits: u32,
    /// The bits of four bytes of data that count.
    of_word: [u8; 4],
}

impl Length {
    fn new(bits: u32) -> Length {
        let whole = u32::MAX.checked_shl(u32::BITS.saturating_sub(bits)).unwrap_or(0);
        Length { bits, of_word: whole.to_be_bytes() }
    }
}

impl Prefixes {
    pub(crate) fn new(key_size: usize, max_entries: usize) -> Result<Prefixes, Errno> {
        let bits = (key_size - LENGTH) * 8;
        Ok(Prefixes {
            index: HashIndex::new(key_size, max_entries, false)?,
            counts: vec![0; bits + 1],
            lengths: Vec::new(),
        })
    }

    pub(crate) fn index(&self) -> &HashIndex {
        &self.index
    }

    /// The prefix length of a key; `None`: it is longer than the data.
    #[inline]
    fn length(&self, key: &[u8]) -> Option<usize> {
        let length = u32::from_ne_bytes(*key.first_chunk()?) as usize;
        (length < self.counts.len()).then_some(length)
    }

    /// The cell of the longest prefix.
    #[inline(always)]
    pub(crate) fn find(&self, key: &[u8]) -> Option<usize> {
        match key.split_first_chunk() {
            Some((length, data)) if data.len() == 4 => {
                self.find_word(*length, *data.first_chunk()?)
            }
            _ => self.find_long(key),
        }
    }

    #[inline(never)]
    fn find_long(&self, key: &[u8]) -> Option<usize> {
        // Those of IPv6 addresses need no more.
        if key.len() <= LENGTH + 16 {
            self.find_in::<{ LENGTH + 16 }>(key)
        } else {
            self.find_in::<{ LENGTH + *DATA_SIZES.end() as usize }>(key)
        }
    }

    /// The same, with room for so many bytes.
    fn find_in<const ROOM: usize>(&self, key: &[u8]) -> Option<usize> {
        let most = self.length(key)?;
        let mut prefix = [0; ROOM];
        let prefix = prefix.get_mut(..key.len())?;
        prefix.copy_from_slice(key);
        self.lengths_from(most).find_map(|length| {
            cut(prefix, length);
            self.index.find(prefix)
        })
    }

    /// The same for four bytes of data, as IPv4 addresses are. (The two are read one by one: programs
    /// write them one by one, and the processor waits for a store that is only part of a load.)
    #[inline(always)]
    fn find_word(&self, length: [u8; LENGTH], data: [u8; 4]) -> Option<usize> {
        let most = self.length(&length)?;
        let data = u32::from_le_bytes(data);
        // (As a chain of iterators it would be a function of its own, and each call of it takes as long
        // as looking up one length.)
        for &Length { bits, of_word } in &self.lengths {
            if bits as usize > most {
                continue;
            }
            let data = data & u32::from_le_bytes(of_word);
            let length = u32::from_le_bytes(bits.to_ne_bytes());
            let cell = self.index.find_word(u64::from(length) | u64::from(data) << 32);
            if cell.is_some() {
                return cell;
            }
        }
        None
    }

    /// The lengths that there are, from the longest that fits on.
    #[inline]
    fn lengths_from(&self, most: usize) -> impl Iterator<Item = usize> {
        let lengths = self.lengths.iter().map(|length| length.bits as usize);
        lengths.skip_while(move |length| *length > most)
    }

    /// Notes which lengths there are.
    fn count(&mut self, length: usize, change: i32) {
        self.counts[length] = self.counts[length].saturating_add_signed(change);
        let there = (0..self.counts.len()).rev().filter(|bits| self.counts[*bits] > 0);
        self.lengths = there.map(|bits| Length::new(bits as u32)).collect();
    }

    /// The cell of this very prefix.
    pub(crate) fn find_exactly(&self, key: &[u8]) -> Result<Option<usize>, Errno> {
        let length = self.length(key).ok_or(libc::EINVAL)?;
        let mut prefix = key.to_vec();
        cut(&mut prefix, length);
        Ok(self.index.find(&prefix))
    }

    /// A new cell for a prefix that has none.
    pub(crate) fn insert(&mut self, key: &[u8]) -> Result<usize, Errno> {
        let length = self.length(key).ok_or(libc::EINVAL)?;
        let mut prefix = key.to_vec();
        cut(&mut prefix, length);
        let cell = self.index.insert(&prefix).map_err(|_| libc::ENOSPC)?;
        self.count(length, 1);
        Ok(cell)
    }

    /// Whether there was this very prefix.
    pub(crate) fn remove(&mut self, key: &[u8]) -> Result<bool, Errno> {
        let length = self.length(key).ok_or(libc::EINVAL)?;
        let mut prefix = key.to_vec();
        cut(&mut prefix, length);
        let found = self.index.remove(&prefix);
        if found {
            self.count(length, -1);
        }
        Ok(found)
    }
}

/// Makes a key one of this prefix length: what is behind it becomes zero.
fn cut(key: &mut [u8], length: usize) {
    let (head, data) = key.split_at_mut(LENGTH);
    head.copy_from_slice(&(length as u32).to_ne_bytes());
    let whole = length / 8;
    if let Some(byte) = data.get_mut(whole) {
        *byte &= !(0xff >> (length % 8));
    }
    data.iter_mut().skip(whole + 1).for_each(|byte| *byte = 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(length: u32, data: [u8; 4]) -> Vec<u8> {
        [length.to_ne_bytes(), data].concat()
    }

    #[test]
    fn the_longest_prefix_wins() {
        let mut prefixes = Prefixes::new(8, 10).unwrap();
        let wide = prefixes.insert(&key(8, [10, 9, 9, 9])).unwrap();
        let narrow = prefixes.insert(&key(23, [10, 1, 2, 0])).unwrap();
        assert_eq!(prefixes.find(&key(32, [10, 1, 3, 7])), Some(narrow));
        assert_eq!(prefixes.find(&key(32, [10, 1, 4, 7])), Some(wide));
        assert_eq!(prefixes.find(&key(16, [10, 1, 2, 0])), Some(wide));
        assert_eq!(prefixes.find(&key(32, [11, 1, 2, 0])), None);
        assert_eq!(prefixes.find(&key(33, [10, 1, 2, 0])), None);
        assert_eq!(prefixes.insert(&key(33, [10, 1, 2, 0])), Err(libc::EINVAL));
        assert_eq!(prefixes.find_exactly(&key(23, [10, 1, 3, 255])), Ok(Some(narrow)));
        assert_eq!(prefixes.remove(&key(24, [10, 1, 2, 0])), Ok(false));
        assert_eq!(prefixes.remove(&key(23, [10, 1, 2, 0])), Ok(true));
        assert_eq!(prefixes.find(&key(32, [10, 1, 3, 7])), Some(wide));
    }
}

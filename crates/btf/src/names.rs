//! From names to types.
//!
//! A name may carry a flavor after a triple underscore (`task_struct___new`), which CO-RE leaves
//! out. Names are found by what stands before it, so that one index serves both questions.

use std::ffi::CStr;
use std::hash::{BuildHasher, Hasher, RandomState};

/// The name without its flavor: what stands before the last triple underscore that has another
/// character on both sides.
pub fn essential(name: &str) -> &str {
    // What follows is an underscore or nothing, so this is a character's end.
    &name[..essential_len(name.as_bytes())]
}

fn essential_len(name: &[u8]) -> usize {
    let separator = name
        .windows(5)
        .rposition(|window| window[0] != b'_' && &window[1..4] == b"___" && window[4] != b'_');
    separator.map_or(name.len(), |at| at + 1)
}

/// How many bytes of a name make its hash. Names that agree so far are told apart by comparing them.
const HASHED: usize = 32;

/// A hash of a name that has no flavor, or has lost it.
pub(crate) fn hash(essential: &str) -> u32 {
    fold(start(essential.as_bytes()))
}

/// The hash of the essential name of what `table` starts with: a string up to its zero byte, in a
/// table of strings. An index asks for tens of thousands, so this looks at sixteen bytes at a time.
pub(crate) fn stored_hash(table: &[u8]) -> u32 {
    let mut words = start(table);
    let mut ended = false;
    let mut look_closer = false;
    let mut before = 0;
    for word in &mut words {
        if ended {
            *word = 0;
            continue;
        }
        let zeros = zero_bytes(*word);
        if zeros != 0 {
            // The flag is the top bit of the zero byte; what is below that byte stays.
            *word &= (1 << (zeros.trailing_zeros() - 7)) - 1;
            ended = true;
        }
        // Three in a row, those at the end of the word before included.
        let underscores = zero_bytes(*word ^ UNDERSCORES);
        let second = (underscores << 8) | (before >> 120);
        let first = (underscores << 16) | (before >> 112);
        look_closer |= first & second & underscores != 0;
        before = underscores;
    }
    // Three in a row that only begin among these bytes.
    look_closer |= !ended && before >> 127 != 0 && table.get(HASHED) == Some(&b'_');
    if look_closer {
        let name = table.split(|&byte| byte == 0).next().unwrap_or_default();
        let name = name.get(..MAX_FLAVORED).unwrap_or(name);
        return fold(start(&name[..essential_len(name)]));
    }
    fold(words)
}

/// Names longer than this are not searched for flavors.
const MAX_FLAVORED: usize = 4096;

const UNDERSCORES: u128 = u128::from_le_bytes([b'_'; 16]);

/// The first bytes, with zeros after them if there are not enough.
fn start(bytes: &[u8]) -> [u128; HASHED / 16] {
    let mut padded = [0; HASHED];
    match bytes.first_chunk() {
        Some(chunk) => padded = *chunk,
        None => padded[..bytes.len()].copy_from_slice(bytes),
    }
    let (one, other) = padded.split_at(16);
    [one, other].map(|word| u128::from_le_bytes(word.try_into().unwrap_or_default()))
}

/// Where the first zero byte is.
#[inline]
pub(crate) fn end(bytes: &[u8]) -> Option<usize> {
    // Most names are short.
    if let Some(end) = bytes.first_chunk().and_then(end_of_short) {
        return Some(end);
    }
    Some(CStr::from_bytes_until_nul(bytes).ok()?.count_bytes())
}

/// How many bytes of a table of strings are looked at for the end of a short one.
const SHORT: usize = 32;

/// Where the first zero byte of these is.
#[inline]
pub(crate) fn end_of_short(bytes: &[u8; SHORT]) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const TOPS: u64 = u64::from_le_bytes([0x80; 8]);
    for (at, word) in bytes.as_chunks::<8>().0.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // A borrow marks bytes that are not zero, but only after one that is.
        let zeros = word.wrapping_sub(ONES) & !word & TOPS;
        if zeros != 0 {
            return Some(at * 8 + zeros.trailing_zeros() as usize / 8);
        }
    }
    None
}

/// The top bit of each byte that is zero.
fn zero_bytes(word: u128) -> u128 {
    const LOW: u128 = u128::from_le_bytes([0x7f; 16]);
    !(((word & LOW) + LOW) | word | LOW)
}

fn fold(words: [u128; HASHED / 16]) -> u32 {
    let halves = words.into_iter().flat_map(|word| [word as u64, (word >> 64) as u64]);
    let hash = halves.fold(0_u64, |hash, word| {
        (hash.rotate_left(29) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    });
    (hash >> 32) as u32
}

/// Hashes names for tables that live as long as a process looks at one blob: quicker than the
/// standard library's hash, and with a key that whoever made the blob does not know.
#[derive(Clone)]
pub(crate) struct NameHash(u64);

impl Default for NameHash {
    fn default() -> NameHash {
        NameHash(RandomState::new().hash_one(0))
    }
}

impl BuildHasher for NameHash {
    type Hasher = NameHasher;

    fn build_hasher(&self) -> NameHasher {
        NameHasher { key: self.0 | 1, state: self.0 }
    }
}

/// See [`NameHash`].
pub(crate) struct NameHasher {
    key: u64,
    state: u64,
}

impl NameHasher {
    fn mix(&mut self, one: u64, other: u64) {
        let product = u128::from(self.state ^ one) * u128::from(self.key ^ other);
        self.state = product as u64 ^ (product >> 64) as u64;
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
        let half = |bytes: &[u8; 4]| u32::from_le_bytes(*bytes).into();
        let mut rest = bytes;
        while let Some((sixteen, more)) = rest.split_first_chunk::<16>() {
            let (one, other) = sixteen.split_at(8);
            self.mix(one.first_chunk().map_or(0, word), other.first_chunk().map_or(0, word));
            rest = more;
        }
        // The words at both ends of what is left overlap; its length is part of the hash.
        if let (Some(first), Some(last)) = (rest.first_chunk(), rest.last_chunk()) {
            self.mix(word(first), word(last));
        } else if let (Some(first), Some(last)) = (rest.first_chunk(), rest.last_chunk()) {
            self.mix(half(first), half(last));
        } else {
            let bytes = rest.iter().fold(0, |bytes, &byte| (bytes << 8) | u64::from(byte));
            self.mix(bytes, 0);
        }
    }

    fn write_usize(&mut self, len: usize) {
        self.state ^= len as u64;
    }

    fn finish(&self) -> u64 {
        self.state
    }
}

/// Numbers of types by the hash of their name.
pub(crate) struct NameIndex {
    /// For each bucket, where its numbers start; one more for the end of the last.
    starts: Vec<u32>,
    ids: Vec<u32>,
}

impl NameIndex {
    /// Of pairs of hash and number. The numbers keep their order.
    pub(crate) fn new(named: &[(u32, u32)]) -> NameIndex {
        let buckets = named.len().next_power_of_two();
        let mut starts = vec![0_u32; buckets + 1];
        let bucket = |hash: u32| hash as usize & (buckets - 1);
        for &(hash, _) in named {
            starts[bucket(hash)] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        // Each start is that of the next bucket now; filling from the end moves it to its own.
        let mut ids = vec![0; named.len()];
        for &(hash, id) in named.iter().rev() {
            let next = &mut starts[bucket(hash)];
            *next -= 1;
            ids[*next as usize] = id;
        }
        NameIndex { starts, ids }
    }

    /// The numbers that may have a name with this hash, in order.
    pub(crate) fn ids(&self, hash: u32) -> impl Iterator<Item = u32> {
        let bucket = hash as usize & (self.starts.len() - 2);
        let range = self.starts[bucket] as usize..self.starts[bucket + 1] as usize;
        self.ids[range].iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::{essential, hash, stored_hash};

    #[test]
    fn flavors() {
        for (name, expected) in [
            ("task_struct", "task_struct"),
            ("task_struct___old", "task_struct"),
            ("a___b___c", "a___b"),
            ("a____b", "a____b"),
            ("___a", "___a"),
            ("a___", "a___"),
            ("a___b_", "a"),
            ("", ""),
            ("a_name_of_thirty_two_bytes_or_so___x", "a_name_of_thirty_two_bytes_or_so"),
            (
                "a_name_that_is_longer_than_what_is_hashed___x",
                "a_name_that_is_longer_than_what_is_hashed",
            ),
            ("a_name_of_thirty_and_one_bytes_s___x", "a_name_of_thirty_and_one_bytes_s"),
            ("a_name_of_twenty_nine_bytes_s___x", "a_name_of_twenty_nine_bytes_s"),
        ] {
            assert_eq!(essential(name), expected, "{name}");
            let terminated = format!("{name}\0___x");
            assert_eq!(stored_hash(terminated.as_bytes()), hash(expected), "{name}");
        }
    }
}

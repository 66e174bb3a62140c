//! From names to types.
//!
//! A name may carry a flavor after a triple underscore (`task_struct___new`), which CO-RE leaves
//! out. Names are found by what stands before it, so that one index serves both questions.

/// The name without its flavor: what stands before the last triple underscore that has another
/// character on both sides.
pub fn essential(name: &str) -> &str {
    let bytes = name.as_bytes();
    let separator = bytes
        .windows(5)
        .rposition(|window| window[0] != b'_' && &window[1..4] == b"___" && window[4] != b'_');
    // The byte after it is an underscore, so this is a character's end.
    separator.map_or(name, |at| &name[..=at])
}

/// FNV-1a, 64 bits.
const START: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

fn step(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(PRIME)
}

fn fold(hash: u64) -> u32 {
    (hash ^ (hash >> 32)) as u32
}

/// A hash of a name that has no flavor, or has lost it.
pub(crate) fn hash(essential: &str) -> u32 {
    fold(essential.bytes().fold(START, step))
}

/// The hash of the essential name of a name that ends at a zero byte, or with the bytes. In one go,
/// because an index asks for tens of thousands.
pub(crate) fn essential_hash(bytes: &[u8]) -> u32 {
    let mut hash = START;
    let mut result = None;
    // The hash before the run of underscores that is being read, and its length.
    let (mut before, mut run) = (hash, usize::MAX);
    for &byte in bytes {
        if byte == b'_' {
            if run == 0 {
                before = hash;
            }
            run = run.saturating_add(1);
        } else {
            if byte == 0 {
                break;
            }
            if run == 3 {
                result = Some(before);
            }
            run = 0;
        }
        hash = step(hash, byte);
    }
    fold(result.unwrap_or(hash))
}

/// Numbers of types by the hash of their name.
pub(crate) struct NameIndex {
    /// For each bucket, where its numbers start; one more for the end of the last.
    starts: Vec<u32>,
    ids: Vec<u32>,
}

impl NameIndex {
    /// Of pairs of hash and number. The numbers keep their order.
    pub(crate) fn new(named: impl Iterator<Item = (u32, u32)>) -> NameIndex {
        let named: Vec<(u32, u32)> = named.collect();
        let buckets = named.len().next_power_of_two();
        let mut starts = vec![0_u32; buckets + 1];
        let bucket = |hash: u32| hash as usize & (buckets - 1);
        for &(hash, _) in &named {
            starts[bucket(hash) + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let mut next = starts.clone();
        let mut ids = vec![0; named.len()];
        for (hash, id) in named {
            let next = &mut next[bucket(hash)];
            ids[*next as usize] = id;
            *next += 1;
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
    use super::{essential, essential_hash, hash};

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
        ] {
            assert_eq!(essential(name), expected, "{name}");
            let terminated = format!("{name}\0___x");
            assert_eq!(essential_hash(terminated.as_bytes()), hash(expected), "{name}");
        }
    }
}

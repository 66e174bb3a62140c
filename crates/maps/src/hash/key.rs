//! Keys on their way into a table: how they are hashed and compared.
//!
//! Keys lie in elements as whole words, zeros after the last byte, so that comparing is comparing
//! words. Short keys are one or two words that fit registers.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::words::{Bytes, Place};

/// A key that somebody looks for.
pub(crate) trait Key: Copy {
    /// Whether a comparison is one atomic load: then it cannot see half of a change.
    const ONE_WORD: bool;

    /// Whether hashes are compared before keys.
    const COMPARES_HASHES: bool = false;

    /// A number that looks random, for a table's secret.
    fn hash(self, seed: u64) -> u32;

    /// Whether an element with that hash may have this key, if that is quicker than to look.
    #[inline(always)]
    fn may_be(self, hash: u32, there: &AtomicU32) -> bool {
        let _ = (hash, there);
        true
    }

    /// Whether this is the key there.
    fn is_at(self, place: Place<'_>) -> bool;

    /// Writes it there. The last word is stored with release, after whatever was written before.
    fn write_to(self, place: Place<'_>);
}

/// Odd numbers without structure (the fractional part of the golden ratio, and of the square root
/// of two).
const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;
const WHITENER: u64 = 0x6a09_e667_f3bc_c909;

/// A table's seed as [`Key::hash`] wants it: small ones, and 0, should be as good as any.
pub(crate) fn whiten(seed: u64) -> u64 {
    seed ^ WHITENER
}

/// A multiplication whose upper half, which all bits have a say in, comes back down.
#[inline(always)]
fn fold(word: u64, other: u64) -> u64 {
    let product = u128::from(word) * u128::from(other);
    product as u64 ^ (product >> 64) as u64
}

/// A key of up to four bytes.
#[derive(Clone, Copy)]
pub(crate) struct Half(pub(crate) u32);

impl Key for Half {
    const ONE_WORD: bool = true;

    #[inline]
    fn hash(self, seed: u64) -> u32 {
        // All its bits have a say in the upper half of the lower half of the product.
        ((u64::from(self.0) ^ seed).wrapping_mul(MULTIPLIER) >> 32) as u32
    }

    #[inline]
    fn is_at(self, place: Place<'_>) -> bool {
        place.first().load(Ordering::Acquire) == u64::from(self.0)
    }

    #[inline]
    fn write_to(self, place: Place<'_>) {
        place.first().store(self.0.into(), Ordering::Release);
    }
}

/// A key of five to eight bytes.
#[derive(Clone, Copy)]
pub(crate) struct Word(pub(crate) u64);

impl Key for Word {
    const ONE_WORD: bool = true;

    #[inline]
    fn hash(self, seed: u64) -> u32 {
        fold(self.0 ^ seed, MULTIPLIER) as u32
    }

    #[inline]
    fn is_at(self, place: Place<'_>) -> bool {
        place.first().load(Ordering::Acquire) == self.0
    }

    #[inline]
    fn write_to(self, place: Place<'_>) {
        place.first().store(self.0, Ordering::Release);
    }
}

/// A key of nine to sixteen bytes.
#[derive(Clone, Copy)]
pub(crate) struct Pair(pub(crate) [u64; 2]);

impl Key for Pair {
    const ONE_WORD: bool = false;

    #[inline]
    fn hash(self, seed: u64) -> u32 {
        let (first, second) =
            (fold(self.0[0] ^ seed, MULTIPLIER), fold(self.0[1] ^ seed, WHITENER));
        (first ^ second.rotate_left(29)) as u32
    }

    #[inline]
    fn is_at(self, place: Place<'_>) -> bool {
        let [first, second] = place.pair();
        // The second word is written last.
        let second = second.load(Ordering::Acquire);
        (first.load(Ordering::Acquire) ^ self.0[0]) | (second ^ self.0[1]) == 0
    }

    #[inline]
    fn write_to(self, place: Place<'_>) {
        let [first, second] = place.pair();
        first.store(self.0[0], Ordering::Release);
        second.store(self.0[1], Ordering::Release);
    }
}

impl Key for Bytes<'_> {
    const ONE_WORD: bool = false;
    const COMPARES_HASHES: bool = true;

    #[inline(always)]
    fn hash(self, seed: u64) -> u32 {
        // Two words a multiplication, in two chains that do not wait for each other.
        let (mut even, mut odd) = (seed, seed.rotate_left(32) ^ MULTIPLIER);
        let mut words = self.whole_words();
        while words.len() >= 4 {
            let [a, b, c, d] = [(); 4].map(|()| words.next().unwrap_or(0));
            even = fold(a ^ even, b ^ MULTIPLIER);
            odd = fold(c ^ odd, d ^ WHITENER);
        }
        for word in words {
            even = fold(word ^ even, MULTIPLIER);
        }
        if !self.len().is_multiple_of(8) {
            even = fold(self.word(self.len() / 8) ^ even, MULTIPLIER);
        }
        fold(even ^ odd.rotate_left(29) ^ self.len() as u64, MULTIPLIER) as u32
    }

    #[inline(always)]
    fn may_be(self, hash: u32, there: &AtomicU32) -> bool {
        there.load(Ordering::Relaxed) == hash
    }

    #[inline(always)]
    fn is_at(self, place: Place<'_>) -> bool {
        let places = place.words(self.len().div_ceil(8));
        let mut difference = 0;
        for (there, word) in places.iter().zip(self.whole_words()) {
            difference |= there.load(Ordering::Acquire) ^ word;
        }
        if let Some(last) = places.get(self.len() / 8) {
            difference |= last.load(Ordering::Acquire) ^ self.word(self.len() / 8);
        }
        difference == 0
    }

    #[inline(always)]
    fn write_to(self, place: Place<'_>) {
        for (index, word) in place.words(self.len().div_ceil(8)).iter().enumerate() {
            word.store(self.word(index), Ordering::Release);
        }
    }
}

/// Does the same with a key of the right kind for its size.
macro_rules! with_key {
    ($bytes:expr, |$key:ident| $do:expr) => {{
        let bytes: $crate::words::Bytes<'_> = $bytes;
        match bytes.len() {
            0..=4 => {
                let $key = $crate::hash::key::Half(bytes.first_u32());
                $do
            }
            5..=8 => {
                let $key = $crate::hash::key::Word(bytes.word(0));
                $do
            }
            9..=16 => {
                let $key = $crate::hash::key::Pair([bytes.word(0), bytes.word(1)]);
                $do
            }
            _ => {
                let $key = bytes;
                $do
            }
        }
    }};
}
pub(crate) use with_key;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_fill_evenly() {
        // Keys that differ in few bits, as counters, addresses and pairs of them do.
        let spread = |hash: &dyn Fn(u64) -> u32| {
            let mut buckets = vec![0u32; 1 << 12];
            for n in 0..1u64 << 12 {
                buckets[(hash(n) & 0xfff) as usize] += 1;
            }
            buckets.iter().copied().max().unwrap_or(0)
        };
        let long = |n: u64, at: usize| {
            let mut key = [7u8; 64];
            key[at..at + 8].copy_from_slice(&n.to_ne_bytes());
            Bytes::from(&key[..]).hash(1)
        };
        let seeds = if cfg!(miri) { &[0][..] } else { &[0, 1, u64::MAX] };
        for seed in seeds.iter().copied().map(whiten) {
            let shifts = if cfg!(miri) { &[3][..] } else { &[0, 3, 12, 32, 52] };
            for &shift in shifts {
                let half = |n: u64| (n << shift.min(20)) as u32;
                let fullest = [
                    spread(&|n| Half(half(n)).hash(seed)),
                    spread(&|n| Word(n << shift).hash(seed)),
                    spread(&|n| Pair([n << shift, 5]).hash(seed)),
                    spread(&|n| Pair([5, n << shift]).hash(seed)),
                    spread(&|n| long(n << shift, 0)),
                    spread(&|n| long(n << shift, 40)),
                ];
                // With a random function the fullest of 4096 has 6 or 7.
                assert!(fullest.iter().all(|&most| most <= 12), "{shift}: {fullest:?}");
            }
        }
    }

    #[test]
    fn seeds_matter() {
        let key = [3u8; 33];
        assert_ne!(Word(3).hash(1), Word(3).hash(2));
        assert_ne!(Pair([3, 4]).hash(1), Pair([3, 4]).hash(2));
        assert_ne!(Bytes::from(&key[..]).hash(1), Bytes::from(&key[..]).hash(2));
    }
}

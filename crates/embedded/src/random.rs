//! Numbers that look random: SplitMix64 (Steele, Lea, Flood, OOPSLA 2014). Not for secrets.

use std::hash::{BuildHasher, RandomState};

/// The next 64 bits.
pub(crate) fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A start that differs from run to run.
pub(crate) fn seed() -> u64 {
    RandomState::new().hash_one(0)
}

//! Sets of stack slots of 4 bytes.

use std::fmt::{self, Write};
use std::ops::{BitAnd, BitOr, BitOrAssign, Not};

/// A set of 4-byte slots of a frame's stack: bit 0 is the slot at -4, bit 1 the one at -8, and so on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StackSlots(pub u128);

/// Bytes of a slot.
const SLOT: i64 = 4;

impl StackSlots {
    /// None.
    pub const NONE: StackSlots = StackSlots(0);
    /// All of them.
    pub const ALL: StackSlots = StackSlots(u128::MAX);

    /// Whether there are none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the slot at `-4 * (slot + 1)` is among them.
    pub const fn has(self, slot: usize) -> bool {
        slot < 128 && self.0 >> slot & 1 != 0
    }

    /// Whether the half of an 8-byte slot nearest to the frame pointer is among them, and the other.
    pub const fn halves(self, place: usize) -> (bool, bool) {
        (self.has(place * 2), self.has(place * 2 + 1))
    }

    /// The 8-byte slots of which both halves are among them, a bit each.
    pub const fn whole(self) -> u64 {
        let both = self.0 & self.0 >> 1;
        every_second_bit(both as u64) | every_second_bit((both >> 64) as u64) << 32
    }

    /// Those that have one of `bytes` bytes from `off` on, at the end of the stack at most.
    pub(super) fn touched(off: i64, bytes: i64) -> StackSlots {
        if off >= 0 {
            return StackSlots::NONE;
        }
        StackSlots::range(((-off - bytes) / SLOT).max(0), (-off - 1) / SLOT)
    }

    /// Those that lie in these bytes with all of theirs.
    pub(super) fn covered(off: i64, bytes: i64) -> StackSlots {
        if off >= 0 {
            return StackSlots::NONE;
        }
        StackSlots::range(((-off - bytes + SLOT - 1) / SLOT).max(0), -off / SLOT - 1)
    }

    fn range(first: i64, last: i64) -> StackSlots {
        if first > last || first > 127 {
            return StackSlots::NONE;
        }
        let from_first = u128::MAX << first;
        StackSlots(from_first & u128::MAX >> (127 - last.min(127)))
    }
}

/// Bits 0, 2, 4 and so on, side by side.
const fn every_second_bit(bits: u64) -> u64 {
    let bits = bits & 0x5555_5555_5555_5555;
    let bits = (bits | bits >> 1) & 0x3333_3333_3333_3333;
    let bits = (bits | bits >> 2) & 0x0f0f_0f0f_0f0f_0f0f;
    let bits = (bits | bits >> 4) & 0x00ff_00ff_00ff_00ff;
    let bits = (bits | bits >> 8) & 0x0000_ffff_0000_ffff;
    (bits | bits >> 16) & 0xffff_ffff
}

impl BitOr for StackSlots {
    type Output = StackSlots;

    fn bitor(self, other: StackSlots) -> StackSlots {
        StackSlots(self.0 | other.0)
    }
}

impl BitOrAssign for StackSlots {
    fn bitor_assign(&mut self, other: StackSlots) {
        self.0 |= other.0;
    }
}

impl BitAnd for StackSlots {
    type Output = StackSlots;

    fn bitand(self, other: StackSlots) -> StackSlots {
        StackSlots(self.0 & other.0)
    }
}

impl Not for StackSlots {
    type Output = StackSlots;

    fn not(self) -> StackSlots {
        StackSlots(!self.0)
    }
}

/// As the log names them (`fmt_spis_mask`, `kernel/bpf/liveness.c`): `fp0-8`, an upper or lower half
/// as `fp0-4h` or `fp0-8h`, three and more in a row as `fp0-8..-24`.
pub(super) struct InFrame(pub(super) usize, pub(super) StackSlots);

impl fmt::Display for InFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InFrame(frame, slots) = *self;
        let offset = |pair: usize| -(pair as i64 + 1) * 8;
        let is_whole = |pair: usize| slots.has(2 * pair) && slots.has(2 * pair + 1);
        let mut pair = 0;
        let mut first = true;
        while pair < 64 {
            let (upper, lower) = (slots.has(2 * pair), slots.has(2 * pair + 1));
            if !upper && !lower {
                pair += 1;
                continue;
            }
            if !std::mem::take(&mut first) {
                f.write_char(' ')?;
            }
            write!(f, "fp{frame}{}", offset(pair) + if upper && !lower { 4 } else { 0 })?;
            if !(upper && lower) {
                f.write_char('h')?;
            } else if is_whole(pair + 1) && is_whole(pair + 2) {
                while is_whole(pair + 1) {
                    pair += 1;
                }
                write!(f, "..{}", offset(pair))?;
            }
            pair += 1;
        }
        Ok(())
    }
}

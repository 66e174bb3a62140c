//! Circular ranges: from a start on so many numbers further, around the end of the words if need be.
//! One of them says what a signed and an unsigned range say, and more (`kernel/bpf/cnum.c` of Linux
//! 7.3 has the idea; Gange et al., "Interval Analysis and Machine Arithmetic: Why Signedness Ignorance
//! Is Bliss", TOPLAS 2014).

use super::{Tnum, Word};

/// The numbers `start`, `start + 1`, up to `start + len`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range<T> {
    /// The first.
    pub start: T,
    /// How many follow it.
    pub len: T,
}

impl<T: Word> Range<T> {
    /// This number.
    pub fn exact(start: T) -> Range<T> {
        Range { start, len: T::zero() }
    }

    /// Any number.
    pub fn full() -> Range<T> {
        Range { start: T::zero(), len: T::ones() }
    }

    /// From `first` up to `last`, around the end if need be.
    pub fn between(first: T, last: T) -> Range<T> {
        Range { start: first, len: last - first }
    }

    /// The last number.
    pub fn end(self) -> T {
        self.start + self.len
    }

    /// Whether the number is in it.
    pub fn contains(self, number: T) -> T::Truth {
        (number - self.start).le(self.len)
    }

    /// One of two.
    pub fn select(condition: T::Truth, yes: Range<T>, no: Range<T>) -> Range<T> {
        Range {
            start: T::select(condition, yes.start, no.start),
            len: T::select(condition, yes.len, no.len),
        }
    }

    /// Whether it goes on from the greatest unsigned number to zero.
    fn wraps(self) -> T::Truth {
        (!self.len).lt(self.start)
    }

    /// Whether it goes on from the greatest signed number to the least.
    fn wraps_signed(self) -> T::Truth {
        (!self.len).lt(self.start ^ T::sign())
    }

    /// The least number, unsigned.
    pub fn umin(self) -> T {
        T::select(self.wraps(), T::zero(), self.start)
    }

    /// The greatest number, unsigned.
    pub fn umax(self) -> T {
        T::select(self.wraps(), T::ones(), self.end())
    }

    /// The least number, signed.
    pub fn smin(self) -> T {
        T::select(self.wraps_signed(), T::sign(), self.start)
    }

    /// The greatest number, signed.
    pub fn smax(self) -> T {
        T::select(self.wraps_signed(), !T::sign(), self.end())
    }

    /// `self + other`.
    pub fn plus(self, other: Range<T>) -> Range<T> {
        let len = self.len + other.len;
        let len = T::select(len.lt(self.len), T::ones(), len);
        Range { start: self.start + other.start, len }
    }

    /// `self - other`.
    pub fn minus(self, other: Range<T>) -> Range<T> {
        self.plus(Range { start: -other.end(), len: other.len })
    }

    /// What is in both, and whether there is nothing. When that is two pieces, the smaller of the
    /// operands is what is said of it.
    pub fn meet(self, other: Range<T>) -> (Range<T>, T::Truth) {
        let distance = other.start - self.start;
        let begins_inside = distance.le(self.len);
        // `other` comes round to where `self` starts, and this far.
        let comes_round = (!other.len).lt(distance);
        let reach = distance + other.len;
        let is_ours = !begins_inside | (comes_round & self.len.le(other.len));
        // (Counted from where `self` starts, which solvers find easy.)
        let start = self.start + T::select(is_ours, T::zero(), distance);
        let head = self.len.min(reach);
        let tail = (self.len - distance).min(other.len);
        let smaller = self.len.min(other.len);
        let inside = T::select(comes_round, smaller, tail);
        let len = T::select(begins_inside, inside, head);
        (Range { start, len }, !begins_inside & !comes_round)
    }

    /// The smallest range that has all of both.
    pub fn join(self, other: Range<T>) -> Range<T> {
        let distance = other.start - self.start;
        let ours = hull(self.len, distance, other.len);
        let theirs = hull(other.len, -distance, self.len);
        let is_ours = ours.le(theirs);
        let start = self.start + T::select(is_ours, T::zero(), distance);
        Range { start, len: T::select(is_ours, ours, theirs) }
    }

    /// What it says together with what is known of the bits, and whether that is a contradiction.
    pub fn meet_bits(self, bits: Tnum<T>) -> (Range<T>, T::Truth) {
        let (met, empty) = self.meet(Range::between(bits.min(), bits.max()));
        let (smin, smax) = bits.signed_limits();
        let (met, also) = met.meet(Range::between(smin, smax));
        (met, empty | also)
    }
}

/// How far a range has to go so as to have all of another, which starts at this distance.
fn hull<T: Word>(len: T, distance: T, other: T) -> T {
    let comes_round = (!other).lt(distance);
    T::select(comes_round, T::ones(), len.max(distance + other))
}

//! Bits and range of a number together, and what instructions do to them.

use bombus_isa::AluOp;

use super::{Range, Tnum, Word};

/// What is known of a number of one width.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Value<T> {
    /// Which bits.
    pub bits: Tnum<T>,
    /// In which range.
    pub range: Range<T>,
}

impl<T: Word> Value<T> {
    /// This number.
    pub fn exact(number: T) -> Value<T> {
        Value { bits: Tnum::exact(number), range: Range::exact(number) }
    }

    /// Any number.
    pub fn unknown() -> Value<T> {
        Value { bits: Tnum::unknown(), range: Range::full() }
    }

    /// Whether it can be this number.
    pub fn contains(self, number: T) -> T::Truth {
        self.bits.contains(number) & self.range.contains(number)
    }

    /// One of two.
    pub fn select(condition: T::Truth, yes: Value<T>, no: Value<T>) -> Value<T> {
        Value {
            bits: Tnum::select(condition, yes.bits, no.bits),
            range: Range::select(condition, yes.range, no.range),
        }
    }

    /// Whether there is but one number that it can be.
    pub fn is_exact(self) -> T::Truth {
        self.range.len.eq(T::zero())
    }

    /// Whether its range goes from the least to the greatest that its bits can be: neither has more to
    /// say of the other.
    pub(super) fn is_tight(self) -> T::Truth {
        self.range.start.eq(self.bits.min()) & self.range.len.eq(self.bits.mask)
    }

    /// Whether its range has the least and the greatest that its bits can be, and these are two.
    pub(super) fn has_both_ends(self) -> T::Truth {
        let all = self.range.umin().le(self.bits.min()) & self.bits.max().le(self.range.umax());
        all & !self.bits.is_exact()
    }

    /// Whether the same is known.
    pub(super) fn is_same(self, other: Value<T>) -> T::Truth {
        self.bits.value.eq(other.bits.value)
            & self.bits.mask.eq(other.bits.mask)
            & self.range.start.eq(other.range.start)
            & self.range.len.eq(other.range.len)
    }

    /// With what bits and range say of each other, and whether they contradict each other.
    pub fn reduced(self) -> (Value<T>, T::Truth) {
        if holds::<T>(self.is_tight()) {
            return (self, T::zero().eq(T::one()));
        }
        if holds::<T>(self.bits.is_exact()) {
            let number = self.bits.value;
            return (Value::exact(number), !self.range.contains(number));
        }
        if holds::<T>((!self.bits.mask).eq(T::zero())) {
            let bits = Tnum::of_unsigned(self.range.umin(), self.range.umax());
            return (Value { bits, ..self }, T::zero().eq(T::one()));
        }
        let (range, empty) = self.range.meet_bits(self.bits);
        let (bits, also) = self.bits.meet(Tnum::of_unsigned(range.umin(), range.umax()));
        let (range, too) = range.meet_bits(bits);
        (Value { bits, range }, empty | also | too)
    }

    /// What both say, and whether they contradict each other.
    pub fn meet(self, other: Value<T>) -> (Value<T>, T::Truth) {
        let (bits, empty) = self.bits.meet(other.bits);
        let (range, also) = self.range.meet(other.range);
        let (value, too) = Value { bits, range }.reduced();
        (value, empty | also | too)
    }

    /// What holds of either.
    pub fn join(self, other: Value<T>) -> Value<T> {
        Value { bits: self.bits.join(other.bits), range: self.range.join(other.range) }
    }
}

/// Whether something is known to hold at once.
pub(super) fn holds<T: Word>(truth: T::Truth) -> bool {
    T::decided(truth) == Some(true)
}

/// What `a op b` can be, where `a` is what is in the destination (RFC 9669 section 4.1).
pub fn alu<T: Word>(op: AluOp, a: Value<T>, b: Value<T>) -> Value<T> {
    computed(op, a, b).reduced().0
}

/// The same, without what bits and range say of each other.
pub fn computed<T: Word>(op: AluOp, a: Value<T>, b: Value<T>) -> Value<T> {
    match op {
        AluOp::Add => a.plus(b),
        AluOp::Sub => a.minus(b),
        AluOp::Mul => a.times(b),
        AluOp::Div => a.divided(b),
        AluOp::Sdiv => a.divided_signed(b),
        AluOp::Mod => a.modulo(b),
        AluOp::Smod => a.modulo_signed(b),
        AluOp::Or => a.or(b),
        AluOp::And => a.and(b),
        AluOp::Xor => a.xor(b),
        AluOp::Lsh => a.shifted_left(b),
        AluOp::Rsh => a.shifted_right(b),
        AluOp::Arsh => a.shifted_right_signed(b),
        AluOp::Mov => b,
    }
}

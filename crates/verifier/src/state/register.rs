//! What is known of a register (`struct bpf_reg_state`, `include/linux/bpf_verifier.h`).

use std::num::Wrapping;

use super::{Base, Flags, Kind};
use crate::domain::{Range, Scalar, Tnum, Word};

/// The words of registers.
pub(crate) type Number = Wrapping<u64>;

/// Offsets of pointers, and sizes, stay below this (`BPF_MAX_VAR_OFF`).
pub(crate) const MAX_OFFSET: i64 = 1 << 29;

/// The number is another's, plus a constant, as a whole (`BPF_ADD_CONST64`). Stands in an id.
pub(crate) const ADD_CONST64: u32 = 1 << 31;
/// The number's low half is another's, plus a constant, and the rest zero (`BPF_ADD_CONST32`).
pub(crate) const ADD_CONST32: u32 = 1 << 30;
/// Either.
pub(crate) const ADD_CONST: u32 = ADD_CONST64 | ADD_CONST32;

/// A packet pointer that is the packet's end, as a range (`AT_PKT_END`).
pub(crate) const AT_PACKET_END: i32 = -1;
/// A packet pointer that is beyond the packet's end, as a range (`BEYOND_PKT_END`).
pub(crate) const BEYOND_PACKET_END: i32 = -2;

/// A map, by its place in [`crate::maps::Maps`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MapRef(pub u32);

/// A type, by which BTF has it (see [`crate::types::Types`]) and its number there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TypeRef {
    /// Which BTF.
    pub btf: u8,
    /// Which type.
    pub id: u32,
}

/// What memory a dynptr is over (`enum bpf_dynptr_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DynptrKind {
    /// Memory of the program.
    Local,
    /// A record of a ring buffer.
    Ringbuf,
    /// A socket buffer.
    Skb,
    /// An XDP packet.
    Xdp,
    /// A socket buffer's metadata.
    SkbMeta,
    /// A file.
    File,
}

/// How far an iterator is (`enum bpf_iter_state`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum IterState {
    /// It may give more.
    Active,
    /// It gave null.
    Drained,
}

/// What a pointer points to, where its kind does not say all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Object {
    /// Its kind says all.
    #[default]
    None,
    /// A map, or what is in it.
    Map(MapRef),
    /// The stack of the frame with this number.
    Frame(u8),
    /// A packet: so many bytes from its start are there, or [`AT_PACKET_END`],
    /// [`BEYOND_PACKET_END`].
    Range(i32),
    /// Memory of this size in bytes.
    Size(u32),
    /// An object of this type.
    Type(TypeRef),
    /// The function with this number.
    Function(u32),
    /// A dynptr, of which this slot is the first or the second.
    Dynptr(DynptrKind, bool),
    /// An iterator: its type, how far it is, how many times it was advanced.
    Iter(TypeRef, IterState, u32),
    /// Saved interrupt flags: whether a lock's kfunc saved them.
    Irq(bool),
}

/// What is known of a register, or of a stack slot that one was spilled to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Register {
    /// Number, or pointer to what.
    pub kind: Kind,
    /// To which.
    pub object: Object,
    /// The number; of a pointer, the offset from what it points to.
    pub value: Scalar<Number>,
    /// Numbers with the same id are the same, or differ by [`Register::delta`]; pointers with the
    /// same id came from the same place, are null together, or own the same reference.
    pub id: u32,
    /// What the number is more than that with the same id and no [`ADD_CONST`].
    pub delta: i32,
    /// The id of what it goes with when that is released.
    pub parent_id: u32,
    /// Which look-up of an inner map it came from.
    pub map_uid: u32,
    /// Whether the number matters: a state with another number is another state.
    pub precise: bool,
}

impl Register {
    /// Nothing that may be read.
    pub(crate) const NOT_INIT: Register = Register {
        kind: Kind { base: Base::NotInit, flags: Flags::NONE },
        object: Object::None,
        value: Scalar {
            bits: Tnum { value: Wrapping(0), mask: Wrapping(u64::MAX) },
            range: Range { start: Wrapping(0), len: Wrapping(u64::MAX) },
            low: Range { start: Wrapping(0), len: Wrapping(u32::MAX) },
        },
        id: 0,
        delta: 0,
        parent_id: 0,
        map_uid: 0,
        precise: false,
    };

    /// Any number.
    pub(crate) const UNKNOWN: Register =
        Register { kind: Kind { base: Base::Scalar, flags: Flags::NONE }, ..Register::NOT_INIT };

    /// This number.
    pub(crate) fn constant(number: u64) -> Register {
        Register { value: Scalar::exact(Wrapping(number)), ..Register::UNKNOWN }
    }

    /// A pointer to the start of something.
    pub(crate) fn pointer(kind: impl Into<Kind>, object: Object) -> Register {
        Register { kind: kind.into(), object, ..Register::constant(0) }
    }

    /// Whether it is a number.
    pub(crate) fn is_scalar(&self) -> bool {
        self.kind.is(Base::Scalar)
    }

    /// The number or offset when all of its bits are known.
    pub(crate) fn known(&self) -> Option<u64> {
        (self.value.bits.mask.0 == 0).then_some(self.value.bits.value.0)
    }

    /// The number, when it is one and known.
    pub(crate) fn number(&self) -> Option<u64> {
        self.known().filter(|_| self.is_scalar())
    }

    /// The low half of the number, when it is one and that is known.
    pub(crate) fn low_number(&self) -> Option<u32> {
        let bits = self.value.half().bits;
        (self.is_scalar() && bits.mask.0 == 0).then_some(bits.value.0)
    }

    /// Whether it is the number 0 (`bpf_register_is_null`).
    pub(crate) fn is_null(&self) -> bool {
        self.number() == Some(0)
    }

    /// The least number, signed.
    pub(crate) fn smin(&self) -> i64 {
        self.value.range.smin().0 as i64
    }

    /// The greatest number, signed.
    pub(crate) fn smax(&self) -> i64 {
        self.value.range.smax().0 as i64
    }

    /// The least number, unsigned.
    pub(crate) fn umin(&self) -> u64 {
        self.value.range.umin().0
    }

    /// The greatest number, unsigned.
    pub(crate) fn umax(&self) -> u64 {
        self.value.range.umax().0
    }

    /// The least low half, signed.
    pub(crate) fn smin32(&self) -> i32 {
        self.value.low.smin().0 as i32
    }

    /// The greatest low half, signed.
    pub(crate) fn smax32(&self) -> i32 {
        self.value.low.smax().0 as i32
    }

    /// The least low half, unsigned.
    pub(crate) fn umin32(&self) -> u32 {
        self.value.low.umin().0
    }

    /// The greatest low half, unsigned.
    pub(crate) fn umax32(&self) -> u32 {
        self.value.low.umax().0
    }

    /// How many bits the number takes at most.
    pub(crate) fn width(&self) -> u32 {
        64 - self.umax().leading_zeros()
    }

    /// The id without what says how it differs from others with it.
    pub(crate) fn base_id(&self) -> u32 {
        self.id & !ADD_CONST
    }

    /// No longer the same as any other number.
    pub(crate) fn forget_id(&mut self) {
        (self.id, self.delta) = (0, 0);
    }

    /// The map that it is, or points into.
    pub(crate) fn map(&self) -> Option<MapRef> {
        match self.object {
            Object::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The type of the object that it points to.
    pub(crate) fn object_type(&self) -> Option<TypeRef> {
        match self.object {
            Object::Type(of) => Some(of),
            _ => None,
        }
    }

    /// The frame whose stack it points to.
    pub(crate) fn frame(&self) -> usize {
        match self.object {
            Object::Frame(frame) => frame.into(),
            _ => 0,
        }
    }

    /// How many bytes of the packet are known to be there.
    pub(crate) fn range(&self) -> i32 {
        match self.object {
            Object::Range(range) => range,
            _ => 0,
        }
    }

    /// The size of the memory that it points to.
    pub(crate) fn size(&self) -> u32 {
        match self.object {
            Object::Size(size) => size,
            _ => 0,
        }
    }

    /// A pointer to the packet as the context gave it (`reg_is_init_pkt_pointer`).
    pub(crate) fn is_packet_start(&self, base: Base) -> bool {
        self.kind.is(base) && self.id == 0 && self.known() == Some(0)
    }

    /// With the flag that it may be null taken away.
    pub(crate) fn set_not_null(&mut self) {
        self.kind.flags = self.kind.flags.without(Flags::MAYBE_NULL);
    }

    /// Adds a constant to the number or offset.
    pub(crate) fn add(&mut self, number: i64) {
        if number != 0 {
            let number = Scalar::exact(Wrapping(number as u64));
            self.value = self.value.alu(bombus_isa::AluOp::Add, bombus_isa::Width::W64, number);
        }
    }

    /// Cuts the number to its low `bytes` (`coerce_reg_to_size`).
    pub(crate) fn truncate(&mut self, bytes: usize) {
        if bytes >= 8 {
            return;
        }
        let mask = (1u64 << (bytes * 8)) - 1;
        if self.value == Scalar::unknown() {
            // As memory is read that nothing is known of.
            let bits = Tnum { value: Wrapping(0), mask: Wrapping(mask) };
            let range = Range::between(Wrapping(0), Wrapping(mask));
            let low = Range::between(Wrapping(0), Wrapping(mask as u32));
            self.value = Scalar { bits, range, low };
            return;
        }
        let (min, max) = (self.umin(), self.umax());
        let same_above = min & !mask == max & !mask;
        let range = if same_above { (min & mask, max & mask) } else { (0, mask) };
        let bits = self.value.bits;
        let bits =
            Tnum { value: Wrapping(bits.value.0 & mask), mask: Wrapping(bits.mask.0 & mask) };
        let low = if bytes < 4 { Range::full() } else { self.value.low };
        let range = Range::between(Wrapping(range.0), Wrapping(range.1));
        self.value = Scalar { bits, range, low }.reduced().0;
    }

    /// Both within these limits, as a whole and in its low half.
    pub(crate) fn limit_signed(&mut self, min: i32, max: i32) {
        let whole =
            Range::between(Wrapping(i64::from(min) as u64), Wrapping(i64::from(max) as u64));
        let half = Range::between(Wrapping(min as u32), Wrapping(max as u32));
        let (range, _) = self.value.range.meet(whole);
        let (low, _) = self.value.low.meet(half);
        self.value = Scalar { bits: self.value.bits, range, low }.reduced().0;
    }

    /// Whether every number that `other` can be is one that this can be.
    pub(crate) fn covers(&self, other: &Register) -> bool {
        is_subset(self.value.range, other.value.range)
            && is_subset(self.value.low, other.value.low)
            && bits_cover(self.value.bits, other.value.bits)
    }
}

/// Whether all numbers of `inner` are in `outer` (`cnum64_is_subset`).
fn is_subset<T: Word<Truth = bool>>(outer: Range<T>, inner: Range<T>) -> bool {
    let start = inner.start - outer.start;
    let reaches = start.le(outer.len) & inner.len.le(outer.len - start);
    reaches | outer.len.eq(T::ones())
}

/// Whether all numbers of `inner` are of `outer` (`tnum_in`).
fn bits_cover<T: Word<Truth = bool>>(outer: Tnum<T>, inner: Tnum<T>) -> bool {
    (inner.mask & !outer.mask).eq(T::zero()) & outer.value.eq(inner.value & !outer.mask)
}

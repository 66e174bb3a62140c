//! The stack of a frame: what each byte of it holds (`struct bpf_stack_state`).

use super::{Base, Register};

/// Bytes of a slot.
pub(crate) const SLOT: usize = 8;

/// What a byte of the stack holds (`enum bpf_stack_slot_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Byte {
    /// Nothing was stored.
    #[default]
    Invalid,
    /// Part of a spilled register.
    Spill,
    /// Some data.
    Misc,
    /// Zero.
    Zero,
    /// Part of a dynptr.
    Dynptr,
    /// Part of an iterator.
    Iter,
    /// Part of saved interrupt flags.
    IrqFlag,
    /// Nothing reads it any more.
    Poison,
}

impl Byte {
    /// The kernel's sign for it in logs.
    pub(crate) const fn sign(self) -> char {
        match self {
            Byte::Invalid => '?',
            Byte::Spill => 'r',
            Byte::Misc => 'm',
            Byte::Zero => '0',
            Byte::Dynptr => 'd',
            Byte::Iter => 'i',
            Byte::IrqFlag => 'f',
            Byte::Poison => 'p',
        }
    }

    /// Whether nothing is there.
    pub(crate) const fn is_empty(self) -> bool {
        matches!(self, Byte::Invalid | Byte::Poison)
    }
}

/// Eight bytes of the stack. Byte 0 is nearest to the frame pointer, byte 7 has the lowest address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Slot {
    /// What each byte holds.
    pub bytes: [Byte; SLOT],
    /// The register that was spilled here, or what is known of the object that is here.
    pub register: Register,
}

impl Slot {
    /// One that nothing was stored in.
    pub(crate) fn empty() -> Slot {
        Slot { bytes: [Byte::Invalid; SLOT], register: Register::not_init() }
    }

    /// What the byte with the lowest address holds, which says what the slot is.
    pub(crate) fn lowest(&self) -> Byte {
        self.bytes[SLOT - 1]
    }

    /// Whether a register was spilled here.
    pub(crate) fn is_spill(&self) -> bool {
        self.lowest() == Byte::Spill
    }

    /// Whether a number was spilled here.
    pub(crate) fn is_scalar_spill(&self) -> bool {
        self.is_spill() && self.register.kind.is(Base::Scalar)
    }

    /// Whether anything but data is here (`is_stack_slot_special`).
    pub(crate) fn is_special(&self) -> bool {
        matches!(self.lowest(), Byte::Spill | Byte::Dynptr | Byte::Iter | Byte::IrqFlag)
    }

    /// Spilled bytes become data (`scrub_spilled_slot`).
    pub(crate) fn scrub(&mut self) {
        for byte in &mut self.bytes {
            if !byte.is_empty() {
                *byte = Byte::Misc;
            }
        }
    }

    /// How many bytes of the register were spilled, from the lowest address on.
    pub(crate) fn spill_size(&self) -> usize {
        self.bytes.iter().rev().take_while(|byte| **byte == Byte::Spill).count()
    }
}

/// The slot and the byte in it of an offset from the frame pointer, which is below 0.
pub(crate) fn place(offset: i64) -> (usize, usize) {
    let distance = (-offset - 1) as usize;
    (distance / SLOT, distance % SLOT)
}

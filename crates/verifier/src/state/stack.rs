//! The stack of a frame: what each byte of it holds (`struct bpf_stack_state`).

use std::ops::{Deref, Index, IndexMut};
use std::rc::Rc;

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
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Slot {
    /// What each byte holds.
    pub bytes: [Byte; SLOT],
    /// The register that was spilled here, or what is known of the object that is here. States share
    /// it until one of them learns something. (Whether it is precise stands in the stack.)
    held: Option<Rc<Register>>,
}

impl Slot {
    /// One that nothing was stored in.
    pub(crate) fn empty() -> Slot {
        Slot { bytes: [Byte::Invalid; SLOT], held: None }
    }

    /// One that something is in, all of it.
    pub(crate) fn of(byte: Byte, register: Register) -> Slot {
        Slot { bytes: [byte; SLOT], held: Some(Rc::new(register)) }
    }

    /// The register that was spilled here, or what is known of the object that is here; but for whether
    /// it is precise: [`Stack::is_precise`].
    pub(crate) fn register(&self) -> &Register {
        self.held.as_deref().unwrap_or(&Register::NOT_INIT)
    }

    /// The same, to be changed in this state alone.
    pub(crate) fn register_mut(&mut self) -> &mut Register {
        Rc::make_mut(self.held.get_or_insert_with(|| Rc::new(Register::NOT_INIT)))
    }

    fn set_register(&mut self, register: Register) {
        if *self.register() == register {
            return;
        }
        match self.held.as_mut().and_then(Rc::get_mut) {
            Some(held) => *held = register,
            None => self.held = Some(Rc::new(register)),
        }
    }

    /// Nothing is known of what is here.
    pub(crate) fn forget_register(&mut self) {
        self.held = None;
    }

    /// What all of its bytes hold, when that is the same.
    pub(crate) fn whole(&self) -> Option<Byte> {
        // (As one number, which is one load.)
        let bytes = u64::from_le_bytes(self.bytes.map(|byte| byte as u8));
        (bytes == (bytes & 0xff) * 0x0101_0101_0101_0101).then_some(self.bytes[0])
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
        self.is_spill() && self.register().kind.is(Base::Scalar)
    }

    /// Whether anything but data is here (`is_stack_slot_special`).
    pub(crate) fn is_special(&self) -> bool {
        matches!(self.lowest(), Byte::Spill | Byte::Dynptr | Byte::Iter | Byte::IrqFlag)
    }

    /// Forgets what nothing reads: of the half nearest to the frame pointer, and of the other.
    pub(crate) fn clean(&mut self, near: bool, far: bool) {
        let stays = |lives: bool, half: &[Byte]| lives || half == [Byte::Poison; 4];
        if stays(near, &self.bytes[..4]) && stays(far, &self.bytes[4..]) {
            return;
        }
        // Overwriting these means something, whether they are read or not.
        if matches!(self.lowest(), Byte::Dynptr | Byte::Iter | Byte::IrqFlag) {
            return;
        }
        if near && self.is_spill() {
            // Half of a pointer is none; half of a zero would have to be precise.
            if !self.register().is_scalar() || self.register().is_null() {
                return;
            }
            for byte in &mut self.bytes[..4] {
                if *byte == Byte::Spill {
                    *byte = Byte::Misc;
                }
            }
        }
        if !far {
            self.forget_register();
        }
        match (near, far) {
            (false, false) => self.bytes = [Byte::Poison; SLOT],
            (false, true) => self.bytes[..4].fill(Byte::Poison),
            _ => self.bytes[4..].fill(Byte::Poison),
        }
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

/// The stack of a frame, from the frame pointer down.
#[derive(Debug, Default)]
pub(crate) struct Stack {
    slots: Vec<Slot>,
    /// Slots that nothing reads any more, and that nothing was stored in since: a bit each.
    poisoned: u64,
    /// Slots whose number is precise, where one was spilled to them: a bit each. It changes far more
    /// often than the rest, and not where the rest does.
    precise: u64,
}

impl Stack {
    /// Room for so many slots.
    pub(crate) fn grow(&mut self, slots: usize) {
        if self.slots.len() < slots {
            self.slots.resize(slots, Slot::empty());
        }
    }

    /// The slots that may hold something.
    pub(crate) fn held(&self) -> impl Iterator<Item = usize> + use<> {
        self.held_but(0)
    }

    /// The same, without these: a bit each.
    pub(crate) fn held_but(&self, but: u64) -> impl Iterator<Item = usize> + use<> {
        let all = u64::MAX.checked_shl(self.slots.len() as u32).map_or(u64::MAX, |beyond| !beyond);
        bits(all & !self.poisoned & !but)
    }

    /// The slots that a register was spilled to.
    pub(crate) fn spills(&self) -> impl Iterator<Item = (usize, &Slot)> {
        self.held().map(|place| (place, &self.slots[place])).filter(|(_, slot)| slot.is_spill())
    }

    /// The register that was spilled to a slot, or what is known of the object that is there.
    pub(crate) fn register(&self, place: usize) -> Register {
        Register { precise: self.is_precise(place), ..*self.slots[place].register() }
    }

    /// Something else is known of what is in a slot.
    pub(crate) fn set_register(&mut self, place: usize, register: Register) {
        self.precise = self.precise & !(1 << place) | u64::from(register.precise) << place;
        self[place].set_register(Register { precise: false, ..register });
    }

    /// Changes what is known of what is in a slot, if anything changes.
    pub(crate) fn update(&mut self, place: usize, change: impl FnOnce(&mut Register)) {
        let before = self.register(place);
        let mut after = before;
        change(&mut after);
        if after != before {
            self.set_register(place, after);
        }
    }

    /// Whether the number that was spilled to a slot is precise.
    pub(crate) fn is_precise(&self, place: usize) -> bool {
        self.precise & 1 << place != 0
    }

    /// The slots with numbers that are precise.
    pub(crate) fn precise(&self) -> impl Iterator<Item = usize> {
        bits(self.precise).filter(|place| self.slots[*place].is_scalar_spill())
    }

    /// The number that was spilled to a slot is precise; whether there is one that was not.
    pub(crate) fn make_precise(&mut self, place: usize) -> bool {
        let was = self.precise;
        if self.slots.get(place).is_some_and(Slot::is_scalar_spill) {
            self.precise |= 1 << place;
        }
        self.precise != was
    }

    /// No number is precise.
    pub(crate) fn forget_precision(&mut self) {
        self.precise = 0;
    }

    /// Nothing reads these halves of a slot any more: that nearest to the frame pointer, and the other.
    pub(crate) fn clean(&mut self, place: usize, near: bool, far: bool) {
        self.slots[place].clean(near, far);
        if self.slots[place].bytes == [Byte::Poison; SLOT] {
            self.poisoned |= 1 << place;
        }
    }
}

impl Clone for Stack {
    fn clone(&self) -> Stack {
        Stack { slots: self.slots.clone(), ..*self }
    }

    fn clone_from(&mut self, other: &Stack) {
        self.slots.clone_from(&other.slots);
        (self.poisoned, self.precise) = (other.poisoned, other.precise);
    }
}

impl Deref for Stack {
    type Target = [Slot];
    fn deref(&self) -> &[Slot] {
        &self.slots
    }
}

impl Index<usize> for Stack {
    type Output = Slot;
    fn index(&self, place: usize) -> &Slot {
        &self.slots[place]
    }
}

impl IndexMut<usize> for Stack {
    fn index_mut(&mut self, place: usize) -> &mut Slot {
        self.poisoned &= !(1 << place);
        &mut self.slots[place]
    }
}

/// The bits that are set.
pub(crate) fn bits(mut set: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let lowest = (set != 0).then(|| set.trailing_zeros() as usize);
        set &= set.wrapping_sub(1);
        lowest
    })
}

/// The slot and the byte in it of an offset from the frame pointer, which is below 0.
pub(crate) fn place(offset: i64) -> (usize, usize) {
    let distance = (-offset - 1) as usize;
    (distance / SLOT, distance % SLOT)
}

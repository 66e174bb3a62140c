//! What an update is: the new value, whose values it sets, and what must be so.

use std::sync::atomic::Ordering;

use crate::Errno;
use crate::hash::elements::Element;
use crate::spin;
use crate::words::{Bytes, Place};

/// `BPF_ANY`: whether the key exists or not.
pub const ANY: u64 = 0;
/// `BPF_NOEXIST`: only a new key.
pub const NOEXIST: u64 = 1;
/// `BPF_EXIST`: only a key that there is.
pub const EXIST: u64 = 2;
/// `BPF_F_LOCK`: the value's spin lock is taken while it is copied.
pub const LOCK: u64 = 4;

/// Whose values an update sets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose {
    /// A program sets its CPU's; those that a new element has for the others are zeros
    /// (`pcpu_init_value`, `kernel/bpf/hashtab.c`).
    One(u32),
    /// User space gives those of all CPUs, each rounded up to eight bytes.
    All,
}

/// A value to be stored.
#[derive(Clone, Copy)]
pub(crate) struct Update<'a> {
    pub(crate) value: Bytes<'a>,
    pub(crate) whose: Whose,
    pub(crate) flags: u64,
    /// Bytes of one CPU's value.
    pub(crate) size: usize,
    /// Where the value has a `struct bpf_spin_lock`.
    pub(crate) spin_lock: Option<usize>,
}

/// A change of an element, as a table sees it.
pub(crate) trait Change {
    /// The checks that come first.
    fn check(&self) -> Result<(), Errno>;

    /// Whether there must be the key already.
    fn must_exist(&self) -> bool;

    /// Whether there must not be the key yet.
    fn must_not_exist(&self) -> bool;

    /// Whether what is there is written over instead of replaced.
    fn in_place(&self) -> bool;

    /// Writes the value into an element that nobody sees yet.
    fn write_new(&self, element: Element<'_>);

    /// Writes the value into an element that others see.
    fn write_over(&self, element: Element<'_>);
}

impl Change for Update<'_> {
    #[inline]
    fn check(&self) -> Result<(), Errno> {
        if self.flags <= EXIST {
            return Ok(());
        }
        self.check_lock()
    }

    #[inline]
    fn must_exist(&self) -> bool {
        self.flags & !LOCK == EXIST
    }

    #[inline]
    fn must_not_exist(&self) -> bool {
        self.flags & !LOCK == NOEXIST
    }

    #[inline]
    fn in_place(&self) -> bool {
        self.flags & LOCK != 0
    }

    #[inline(always)]
    fn write_new(&self, element: Element<'_>) {
        match self.whose {
            Whose::One(cpu) if element.is_per_cpu() => self.write_one(element, cpu),
            Whose::One(_) => self.write(element.shared_value(), self.value),
            Whose::All => self.write_all(element),
        }
    }

    #[inline]
    fn write_over(&self, element: Element<'_>) {
        match self.whose {
            Whose::One(cpu) => self.write_in_place(element.value(cpu)),
            Whose::All if self.in_place() => self.write_in_place(element.value(0)),
            Whose::All => self.write_all(element),
        }
    }
}

impl Update<'_> {
    #[cold]
    fn check_lock(&self) -> Result<(), Errno> {
        let known = self.flags & !LOCK <= EXIST && self.spin_lock.is_some();
        if known { Ok(()) } else { Err(libc::EINVAL) }
    }

    /// Writes one value over another. A spin lock in it stays as it is.
    #[inline]
    pub(crate) fn write_in_place(&self, place: Place<'_>) {
        match self.spin_lock {
            None => place.store(self.value),
            Some(offset) if self.in_place() => {
                spin::with(place, offset, || spin::store_around(place, self.value, offset));
            }
            Some(offset) => spin::store_around(place, self.value, offset),
        }
    }

    /// Writes a new element's value of one CPU, and zeros for the others.
    #[inline(never)]
    fn write_one(&self, element: Element<'_>, cpu: u32) {
        for other in (0..element.cpus()).filter(|&other| other != cpu) {
            element.value(other).clear();
        }
        self.write(element.value(cpu), self.value);
    }

    #[inline(never)]
    fn write_all(&self, element: Element<'_>) {
        let rounded = self.size.next_multiple_of(8);
        for cpu in 0..element.cpus() {
            let part = self.value.part(cpu as usize * rounded, self.size);
            self.write(element.value(cpu), part);
        }
    }

    /// Writes a value where nobody sees it yet.
    #[inline(always)]
    pub(crate) fn write(&self, place: Place<'_>, value: Bytes<'_>) {
        place.store(value);
        if let Some(offset) = self.spin_lock {
            place.half(offset).store(0, Ordering::Relaxed);
        }
    }
}

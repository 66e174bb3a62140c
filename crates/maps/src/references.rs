//! Maps that hold programs, maps, perf events or cgroups.
//!
//! What these are is the owner's business: a slot has a number that is not zero, for example an
//! index, or a pointer to what the owner keeps alive as long as somebody may have read it. Machine
//! code finds the slots of an array at [`crate::ArrayLayout`], eight bytes each, zero for none.

use std::cell::Cell;
use std::num::NonZeroU64;
use std::sync::atomic::Ordering;

use crate::hash::elements::Element;
use crate::hash::key::with_key;
use crate::map::{Kind, Map};
use crate::update::Change;
use crate::words::Place;
use crate::{ENOTSUPP, EXIST, Errno};

/// A reference to be stored in a hash table of maps.
struct Store<'a> {
    reference: NonZeroU64,
    flags: u64,
    old: &'a Cell<Option<NonZeroU64>>,
}

impl Store<'_> {
    fn exchange(&self, place: Place<'_>) {
        let old = place.first().swap(self.reference.get(), Ordering::AcqRel);
        self.old.set(NonZeroU64::new(old));
    }
}

impl Change for Store<'_> {
    fn check(&self) -> Result<(), Errno> {
        if self.flags <= EXIST { Ok(()) } else { Err(libc::EINVAL) }
    }

    fn must_exist(&self) -> bool {
        self.flags == EXIST
    }

    fn must_not_exist(&self) -> bool {
        self.flags == crate::NOEXIST
    }

    /// References are exchanged in their places, so that none is lost.
    fn in_place(&self) -> bool {
        true
    }

    fn write_new(&self, element: Element<'_>) {
        element.value(0).first().store(self.reference.get(), Ordering::Release);
    }

    fn write_over(&self, element: Element<'_>) {
        self.exchange(element.value(0));
    }
}

impl Map {
    /// Whether it holds references instead of values.
    pub fn holds_references(&self) -> bool {
        matches!(self.kind, Kind::References(_) | Kind::HashOfReferences(_))
    }

    /// The reference that a key has.
    pub fn reference(&self, key: &[u8]) -> Result<NonZeroU64, Errno> {
        let key = self.key(key.into())?;
        let place = match &self.kind {
            Kind::References(slots) => slots.value(key.first_u32(), 0),
            Kind::HashOfReferences(table) => {
                with_key!(key, |key| table.get(key)).map(|element| element.value(0))
            }
            _ => return Err(ENOTSUPP),
        };
        let number = place.map_or(0, |place| place.first().load(Ordering::Acquire));
        NonZeroU64::new(number).ok_or(libc::ENOENT)
    }

    /// Stores a reference; gives the one that was there (`bpf_fd_array_map_update_elem`,
    /// `bpf_fd_htab_map_update_elem`).
    pub fn set_reference(
        &self,
        key: &[u8],
        reference: NonZeroU64,
        flags: u64,
    ) -> Result<Option<NonZeroU64>, Errno> {
        self.may_write()?;
        let key = self.key(key.into())?;
        let old = Cell::new(None);
        let store = Store { reference, flags, old: &old };
        match &self.kind {
            Kind::References(slots) => {
                if flags != crate::ANY {
                    return Err(libc::EINVAL);
                }
                store.exchange(slots.value(key.first_u32(), 0).ok_or(libc::E2BIG)?);
            }
            Kind::HashOfReferences(table) => with_key!(key, |key| table.update(key, &store))?,
            _ => return Err(ENOTSUPP),
        }
        Ok(old.get())
    }

    /// Takes a reference out.
    pub fn take_reference(&self, key: &[u8]) -> Result<NonZeroU64, Errno> {
        self.may_write()?;
        let key = self.key(key.into())?;
        let old = match &self.kind {
            Kind::References(slots) => {
                let place = slots.value(key.first_u32(), 0).ok_or(libc::E2BIG)?;
                place.first().swap(0, Ordering::AcqRel)
            }
            Kind::HashOfReferences(table) => with_key!(key, |key| {
                table.delete(key, |element| element.value(0).first().load(Ordering::Acquire))
            })?,
            _ => return Err(ENOTSUPP),
        };
        NonZeroU64::new(old).ok_or(libc::ENOENT)
    }
}

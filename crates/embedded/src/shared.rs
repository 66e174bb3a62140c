//! Memory of maps that user space has mapped.

use std::cell::RefCell;
use std::rc::Rc;

use bombus_kernel::{Error, MapFd, MapMemory, Result};

use crate::core::Core;
use crate::kernel::index;
use crate::maps::Arena;

/// The memory of an arena.
pub(crate) struct Shared {
    pub(crate) core: Rc<RefCell<Core>>,
    pub(crate) map: MapFd,
}

impl Shared {
    fn with<R>(&self, f: impl FnOnce(&mut Arena) -> Option<R>) -> Result<R> {
        let core = &mut *self.core.borrow_mut();
        let map = index(self.map.0).and_then(|index| core.maps.get_mut(index));
        let done = map.and_then(|map| map.arena_mut()).and_then(f);
        done.ok_or_else(|| Error::os("use the memory of a map", libc::EFAULT))
    }
}

impl MapMemory for Shared {
    fn size(&self) -> usize {
        self.with(|arena| Some(arena.len())).unwrap_or(0)
    }

    fn is_writable(&self) -> bool {
        true
    }

    fn read(&self, offset: usize, to: &mut [u8]) -> Result<()> {
        self.with(|arena| {
            to.copy_from_slice(arena.user_bytes(offset..offset.checked_add(to.len())?)?);
            Some(())
        })
    }

    fn write(&self, offset: usize, from: &[u8]) -> Result<()> {
        self.with(|arena| {
            arena.user_bytes(offset..offset.checked_add(from.len())?)?.copy_from_slice(from);
            Some(())
        })
    }

    fn fetch_add(&self, offset: usize, value: u64) -> Result<u64> {
        if !offset.is_multiple_of(8) {
            return Err(Error::os("use the memory of a map", libc::EINVAL));
        }
        self.with(|arena| {
            let word = arena.user_bytes(offset..offset.checked_add(8)?)?.first_chunk_mut::<8>()?;
            let before = u64::from_ne_bytes(*word);
            *word = before.wrapping_add(value).to_ne_bytes();
            Some(before)
        })
    }
}

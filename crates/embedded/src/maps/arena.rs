//! Arenas: memory that programs and user space share by pages (`kernel/bpf/arena.c`).
//!
//! User space has an arena at addresses within one stretch of 4 GiB, and programs name its bytes by
//! the lower halves of these. What a program reads where there is no page is zero, and what it writes
//! there is lost, as after a fault in the kernel.

use std::ops::Range;

use bombus_maps::pages::{PAGE, Pages};
use bombus_spec::MapSpec;

use super::{Errno, flag};

/// Where user space has an arena that does not say: the upper half of its addresses, less the map's
/// number.
const USER: u64 = 0x6a00_0000_0000;
/// The lower half: not zero, so that the first page is no null pointer, where there is room.
const USER_LOW: u64 = 1 << 16;
/// The most that an arena can have.
const LONGEST: u64 = 1 << 32;

/// An arena.
#[derive(Debug)]
pub(crate) struct Arena {
    memory: Pages,
    /// Whether each page may be handed out; those that may not are there or reserved.
    free: Vec<bool>,
    present: Vec<bool>,
    user: u64,
    converts: bool,
    /// What is written where there is no page.
    lost: [u8; 8],
}

impl Arena {
    /// Creates one (`arena_map_alloc`). `number` is the map's.
    pub(crate) fn new(spec: &MapSpec, number: usize) -> Result<Arena, Errno> {
        let known = flag::SEGV_ON_FAULT | flag::MMAPABLE | flag::NO_USER_CONV;
        let shape = spec.key_size != 0 || spec.value_size != 0 || spec.max_entries == 0;
        if shape || spec.flags & flag::MMAPABLE == 0 || spec.flags & !known != 0 {
            return Err(libc::EINVAL);
        }
        if !spec.extra.is_multiple_of(PAGE as u64) {
            return Err(libc::EINVAL);
        }
        let count = spec.max_entries as usize;
        let len = count as u64 * PAGE as u64;
        if len > LONGEST {
            return Err(libc::E2BIG);
        }
        if spec.extra >> 32 != spec.extra.wrapping_add(len - 1) >> 32 {
            return Err(libc::ERANGE);
        }
        let low = if len + USER_LOW <= LONGEST { USER_LOW } else { 0 };
        let user = if spec.extra == 0 { USER + ((number as u64) << 32) + low } else { spec.extra };
        let converts = spec.flags & flag::NO_USER_CONV == 0;
        let memory = Pages::new(count)?;
        let (free, present) = (vec![true; count], vec![false; count]);
        Ok(Arena { memory, free, present, user, converts, lost: [0; 8] })
    }

    /// Where user space has it.
    pub(crate) fn user(&self) -> u64 {
        self.user
    }

    /// Whether its addresses get an upper half when they are made those of user space.
    pub(crate) fn converts(&self) -> bool {
        self.converts
    }

    /// Its length in bytes.
    pub(crate) fn len(&self) -> usize {
        self.memory.bytes().len()
    }

    /// Where in its memory the lower half of an address is.
    fn offset(&self, low: u32) -> usize {
        low.wrapping_sub(self.user as u32) as usize
    }

    fn pages(&self, address: u64, count: u64) -> Option<Range<usize>> {
        let first = self.offset(address as u32) / PAGE;
        let end = first.checked_add(usize::try_from(count).ok()?)?;
        (end <= self.free.len()).then_some(first..end)
    }

    /// Where all of so many bytes are, if there are pages.
    fn there(&self, low: u32, len: usize) -> Option<Range<usize>> {
        let start = self.offset(low);
        let end = start.checked_add(len)?;
        let pages = self.present.get(start / PAGE..end.div_ceil(PAGE))?;
        pages.iter().all(|present| *present).then_some(start..end)
    }

    /// The bytes at the lower half of an address.
    pub(crate) fn at(&self, low: u32, len: usize) -> Option<&[u8]> {
        match self.there(low, len) {
            Some(range) => self.memory.bytes().get(range),
            None => NOTHING.get(..len),
        }
    }

    /// The same, to be written.
    pub(crate) fn at_mut(&mut self, low: u32, len: usize) -> Option<&mut [u8]> {
        match self.there(low, len) {
            Some(range) => self.memory.bytes_mut().get_mut(range),
            None => {
                self.lost = [0; 8];
                self.lost.get_mut(..len)
            }
        }
    }

    /// `arena_alloc_pages`: pages of zeros at this address of user space, or anywhere when it is
    /// null; gives the address.
    pub(crate) fn allocate(&mut self, address: u64, count: u32) -> Option<u64> {
        let count = u64::from(count);
        if !address.is_multiple_of(PAGE as u64) {
            return None;
        }
        let pages =
            if address == 0 { self.room(count as usize)? } else { self.pages(address, count)? };
        let free = self.free.get_mut(pages.clone())?;
        if count == 0 || !free.iter().all(|free| *free) {
            return None;
        }
        free.fill(false);
        self.present[pages.clone()].fill(true);
        self.memory.bytes_mut()[pages.start * PAGE..pages.end * PAGE].fill(0);
        Some(self.user + (pages.start * PAGE) as u64)
    }

    /// The smallest stretch of free pages that is large enough (`range_tree_find`).
    fn room(&self, count: usize) -> Option<Range<usize>> {
        let (mut best, mut start): (Option<Range<usize>>, usize) = (None, 0);
        for stretch in self.free.chunk_by(|a, b| a == b) {
            let smaller = best.as_ref().is_none_or(|best| stretch.len() < best.len());
            if stretch.first() == Some(&true) && stretch.len() >= count && smaller {
                best = Some(start..start + stretch.len());
            }
            start += stretch.len();
        }
        best.map(|best| best.start..best.start + count)
    }

    /// `arena_free_pages`.
    pub(crate) fn release(&mut self, address: u64, count: u32) {
        let low = address & 0xffff_ffff & !(PAGE as u64 - 1);
        let start = self.user & !0xffff_ffff | low;
        let end = (self.user + self.len() as u64).min(start + u64::from(count) * PAGE as u64);
        if start < self.user || start >= end {
            return;
        }
        if let Some(pages) = self.pages(start, (end - start) / PAGE as u64) {
            self.free[pages.clone()].fill(true);
            self.present[pages].fill(false);
        }
    }

    /// `arena_reserve_pages`: nobody gets these.
    pub(crate) fn reserve(&mut self, address: u64, count: u32) -> Result<(), Errno> {
        let pages = self.pages(address, count.into()).ok_or(libc::EINVAL)?;
        let free = &mut self.free[pages];
        if !free.iter().all(|free| *free) {
            return Err(libc::EBUSY);
        }
        free.fill(false);
        Ok(())
    }

    /// The bytes of user space: pages that nobody has become its own when it touches them
    /// (`arena_vm_fault`).
    pub(crate) fn user_bytes(&mut self, range: Range<usize>) -> Option<&mut [u8]> {
        let pages = range.start / PAGE..range.end.div_ceil(PAGE);
        self.present.get_mut(pages.clone())?.fill(true);
        self.free.get_mut(pages)?.fill(false);
        self.memory.bytes_mut().get_mut(range)
    }
}

/// What is read where there is no page.
static NOTHING: [u8; 8] = [0; 8];

//! Address space for a map's memory, of which only what is touched costs anything.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::Errno;
use crate::words::Place;

/// Bytes that one region may span: an offset in it fits the addresses of the checked interpreter.
const LONGEST: usize = 1 << 39;

/// A part of the address space, zero at first. It never moves.
#[derive(Debug)]
pub(crate) struct Region {
    start: *mut u8,
    len: usize,
}

// SAFETY: a region is memory that is only accessed by atomic operations and by programs.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Reserves `len` bytes: `ENOMEM` when that is more than there is memory, as the kernel's
    /// allocator answers (`__vmalloc_node_range`, `mm/vmalloc.c`).
    pub(crate) fn new(len: usize) -> Result<Region, Errno> {
        if len > memory_of_machine() { Err(libc::ENOMEM) } else { Region::sparse(len) }
    }

    /// Reserves `len` bytes of which few may ever be used.
    pub(crate) fn sparse(len: usize) -> Result<Region, Errno> {
        let len = len.max(1).checked_next_multiple_of(4096).filter(|&len| len <= LONGEST);
        let len = len.ok_or(libc::ENOMEM)?;
        #[cfg(miri)]
        return Region::allocated(len);
        #[cfg(not(miri))]
        Region::mapped(len)
    }

    #[cfg(not(miri))]
    fn mapped(len: usize) -> Result<Region, Errno> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, at an address that the system chooses.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, access, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(libc::ENOMEM);
        }
        Ok(Region { start: start.cast(), len })
    }

    /// The same for Miri, which has no address space that costs nothing.
    #[cfg(miri)]
    fn allocated(len: usize) -> Result<Region, Errno> {
        if len > 1 << 24 {
            return Err(libc::ENOMEM);
        }
        let layout = std::alloc::Layout::from_size_align(len, 4096).map_err(|_| libc::ENOMEM)?;
        // SAFETY: `len` is not zero.
        Ok(Region { start: unsafe { std::alloc::alloc_zeroed(layout) }, len })
    }

    /// Bytes that it spans.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where it starts.
    #[inline]
    pub(crate) fn start(&self) -> *mut u8 {
        self.start
    }

    /// Words at an offset that is a multiple of eight.
    #[inline]
    pub(crate) fn place(&self, offset: usize, bytes: usize) -> Place<'_> {
        assert!(
            bytes > 0
                && bytes <= self.len
                && offset <= self.len - bytes
                && offset.is_multiple_of(8)
        );
        // SAFETY: the bytes lie within the region, which is aligned to pages; the last word of a
        // place is whole, since the region's length is a multiple of eight.
        unsafe { Place::from_raw(self.start.add(offset), bytes.div_ceil(8)) }
    }

    /// The 32-bit word at a multiple of four.
    #[inline]
    pub(crate) fn half(&self, offset: usize) -> &AtomicU32 {
        assert!(offset + 4 <= self.len && offset.is_multiple_of(4));
        // SAFETY: the word lies within the region, and is aligned.
        unsafe { AtomicU32::from_ptr(self.start.add(offset).cast()) }
    }

    /// The word at a multiple of eight.
    #[inline]
    pub(crate) fn word(&self, offset: usize) -> &AtomicU64 {
        assert!(offset + 8 <= self.len && offset.is_multiple_of(8));
        // SAFETY: the word lies within the region, and is aligned.
        unsafe { AtomicU64::from_ptr(self.start.add(offset).cast()) }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        #[cfg(miri)]
        // SAFETY: it was allocated with this size and alignment.
        unsafe {
            std::alloc::dealloc(
                self.start,
                std::alloc::Layout::from_size_align_unchecked(self.len, 4096),
            );
        }
        #[cfg(not(miri))]
        // SAFETY: the mapping is ours, and whoever holds pointers into it holds the map.
        unsafe {
            libc::munmap(self.start.cast(), self.len)
        };
    }
}

/// What a [`Region`] is seen as: rows of `T`, which are structures of atomic words.
pub(crate) struct Rows<T> {
    region: Region,
    count: usize,
    holds: PhantomData<T>,
}

/// Structures of which all bytes may be zero, and that only consist of atomic integers.
///
/// # Safety
/// Every bit pattern is a value, and every field may be changed through a shared reference.
pub(crate) unsafe trait AtomicRow: Sync {}

impl<T: AtomicRow> Rows<T> {
    /// `count` of them, zero.
    pub(crate) fn new(count: usize) -> Result<Rows<T>, Errno> {
        let len = count.checked_mul(size_of::<T>()).ok_or(libc::ENOMEM)?;
        Ok(Rows { region: Region::sparse(len)?, count, holds: PhantomData })
    }

    /// One of them.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> &T {
        assert!(index < self.count);
        // SAFETY: the row lies within the region, whose pages are aligned well enough; `T` says
        // that any bytes are a value, and they are only accessed through it.
        unsafe { &*self.region.start.cast::<T>().add(index) }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.count
    }
}

/// A power of two of rows, which are found by the low bits of a number.
pub(crate) struct MaskedRows<T> {
    start: *const T,
    mask: u32,
    rows: Rows<T>,
}

// SAFETY: `start` is that of `rows`.
unsafe impl<T: AtomicRow> Send for MaskedRows<T> {}
// SAFETY: as above.
unsafe impl<T: AtomicRow> Sync for MaskedRows<T> {}

impl<T: AtomicRow> MaskedRows<T> {
    /// `count` of them, zero; a power of two.
    pub(crate) fn new(count: u32) -> Result<MaskedRows<T>, Errno> {
        assert!(count.is_power_of_two());
        let rows = Rows::new(count as usize)?;
        Ok(MaskedRows { start: rows.region.start.cast(), mask: count - 1, rows })
    }

    /// The one that a number stands for.
    #[inline(always)]
    pub(crate) fn get(&self, number: u32) -> &T {
        // SAFETY: `Rows::new` made `mask + 1` rows, see `Rows::get`.
        unsafe { &*self.start.add((number & self.mask) as usize) }
    }

    /// Where one of them stands in the row.
    pub(crate) fn number_of(&self, row: &T) -> usize {
        (&raw const *row as usize - self.start as usize) / size_of::<T>()
    }

    /// Which one a number stands for.
    pub(crate) fn index(&self, number: u32) -> u32 {
        number & self.mask
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }
}

/// Bytes of memory that the machine has.
fn memory_of_machine() -> usize {
    if cfg!(miri) {
        return 1 << 24;
    }
    // SAFETY: it only asks.
    let (pages, size) =
        unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
    usize::try_from(pages).unwrap_or(0).saturating_mul(usize::try_from(size).unwrap_or(0))
}

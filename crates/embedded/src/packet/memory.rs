//! The memory of a packet: its own, or, until somebody writes to it, that of whoever has the packet.
#![allow(unsafe_code, reason = "borrows a packet for one run; each block says why it is sound")]

use std::ops::Range;
use std::ptr::NonNull;

use crate::maps::Errno;
use crate::os::LowMemory;

/// Memory that programs address by offsets from where the own memory starts.
#[derive(Debug)]
pub(super) struct Memory {
    own: LowMemory,
    /// What is not copied yet, and its offset.
    lent: Option<(usize, NonNull<[u8]>)>,
}

impl Memory {
    pub(super) fn new(len: usize) -> Result<Memory, Errno> {
        Ok(Memory { own: LowMemory::new(len)?, lent: None })
    }

    /// Where it starts, for programs.
    #[inline]
    pub(super) fn address(&self) -> u32 {
        self.own.address()
    }

    /// Makes it this large at least; it may move.
    #[inline]
    pub(super) fn grow(&mut self, len: usize) -> Result<(), Errno> {
        if self.own.len() < len { self.move_to_larger(len) } else { Ok(()) }
    }

    #[cold]
    fn move_to_larger(&mut self, len: usize) -> Result<(), Errno> {
        let mut larger = LowMemory::new(len.next_power_of_two())?;
        larger[..self.own.len()].copy_from_slice(&self.own);
        self.own = larger;
        Ok(())
    }

    /// Has the bytes from an offset on be those of somebody else.
    ///
    /// # Safety
    ///
    /// They must stay as they are until [`Memory::take_back`], or until this memory is gone.
    #[inline]
    pub(super) unsafe fn lend(&mut self, offset: usize, bytes: &[u8]) {
        self.lent = Some((offset, bytes.into()));
    }

    /// Forgets what was lent; whether it was still in use.
    #[inline]
    pub(super) fn take_back(&mut self) -> bool {
        self.lent.take().is_some()
    }

    fn lent(&self) -> Option<(usize, &[u8])> {
        // SAFETY: whoever lent it keeps it as it is.
        self.lent.map(|(offset, bytes)| (offset, unsafe { bytes.as_ref() }))
    }

    /// What is lent, if it is just these bytes.
    #[inline]
    fn lent_whole(&self, range: &Range<usize>) -> Option<&[u8]> {
        let (offset, bytes) = self.lent()?;
        (*range == (offset..offset + bytes.len())).then_some(bytes)
    }

    /// Bytes to read. Of lent memory there is nothing beside the packet.
    #[inline]
    pub(super) fn get(&self, range: Range<usize>) -> Option<&[u8]> {
        match self.lent() {
            Some((offset, bytes)) => {
                bytes.get(range.start.checked_sub(offset)?..range.end.checked_sub(offset)?)
            }
            None => self.own.get(range),
        }
    }

    /// Bytes to read that are there.
    #[inline]
    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        match self.lent_whole(&range) {
            Some(bytes) => bytes,
            None => self.get(range).unwrap_or_default(),
        }
    }

    /// All of it, to change it.
    #[inline]
    pub(super) fn own(&mut self) -> &mut [u8] {
        if self.lent.is_some() {
            self.copy();
        }
        &mut self.own
    }

    /// Whether it is not lent.
    #[inline]
    pub(super) fn is_own(&self) -> bool {
        self.lent.is_none()
    }

    #[cold]
    fn copy(&mut self) {
        if let Some((offset, bytes)) = self.lent.take() {
            // SAFETY: whoever lent it keeps it as it is.
            let bytes = unsafe { bytes.as_ref() };
            self.own[offset..offset + bytes.len()].copy_from_slice(bytes);
        }
    }
}

//! Memory by pages, of which only what is touched costs anything, as plain bytes of one owner.

use crate::Errno;
use crate::region::Region;

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// Pages of zeros.
#[derive(Debug)]
pub struct Pages(Region);

impl Pages {
    /// So many of them: `ENOMEM` when there is no room in the address space.
    pub fn new(count: usize) -> Result<Pages, Errno> {
        Region::sparse(count.checked_mul(PAGE).ok_or(libc::ENOMEM)?).map(Pages)
    }

    /// Their bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the region is initialized memory of this length, and nobody else has it.
        unsafe { std::slice::from_raw_parts(self.0.start(), self.0.len()) }
    }

    /// Their bytes, to be changed.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.0.start(), self.0.len()) }
    }
}

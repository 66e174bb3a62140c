//! Fixed-size cells in one block of memory, and their guest addresses.

use std::ops::Range;

use super::Errno;

/// Cells of one size. In guest offsets they are a power of two apart, so that an access which
/// leaves its cell is noticed even when there is another cell after it.
#[derive(Clone, Debug)]
pub(crate) struct Cells {
    bytes: Vec<u8>,
    size: usize,
    stride: usize,
    shift: u32,
}

impl Cells {
    /// `count` cells of zeros.
    pub(crate) fn new(size: usize, count: usize) -> Result<Cells, Errno> {
        let stride = size.next_multiple_of(8);
        let shift = stride.next_power_of_two().trailing_zeros();
        let mut cells = Cells { bytes: Vec::new(), size, stride, shift };
        cells.bytes = vec![0; cells.checked_len(count)?];
        Ok(cells)
    }

    /// Bytes of `count` cells, when memory and guest offsets allow that many.
    fn checked_len(&self, count: usize) -> Result<usize, Errno> {
        let guest = (count as u64).checked_shl(self.shift).filter(|_| count < 1 << 32);
        match (guest, count.checked_mul(self.stride)) {
            (Some(guest), Some(len)) if guest < 1 << 39 && len < super::MAX_MEMORY => Ok(len),
            _ => Err(libc::ENOMEM),
        }
    }

    /// Makes sure that there are at least `count` cells; new ones are zeros.
    pub(crate) fn grow(&mut self, count: usize) -> Result<(), Errno> {
        let len = self.checked_len(count)?;
        if len > self.bytes.len() {
            self.bytes.try_reserve(len - self.bytes.len()).map_err(|_| libc::ENOMEM)?;
            self.bytes.resize(len, 0);
        }
        Ok(())
    }

    /// Bytes of a cell.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    #[inline]
    fn range(&self, cell: usize) -> Range<usize> {
        cell * self.stride..cell * self.stride + self.size
    }

    /// A cell that there is.
    #[inline]
    pub(crate) fn get(&self, cell: usize) -> &[u8] {
        &self.bytes[self.range(cell)]
    }

    /// A cell that there is, of 8 bytes or fewer, as a little-endian number.
    #[inline]
    pub(crate) fn word(&self, cell: usize) -> u64 {
        let (words, _) = self.bytes.as_chunks();
        u64::from_le_bytes(words[cell])
    }

    /// A cell that there is.
    #[inline]
    pub(crate) fn get_mut(&mut self, cell: usize) -> &mut [u8] {
        let range = self.range(cell);
        &mut self.bytes[range]
    }

    /// Where a cell starts in guest offsets.
    #[inline]
    pub(crate) fn offset_of(&self, cell: usize) -> u64 {
        (cell as u64) << self.shift
    }

    fn locate(&self, offset: u64, len: usize) -> Option<Range<usize>> {
        let cell = (offset >> self.shift) as usize;
        let at = (offset & ((1 << self.shift) - 1)) as usize;
        let start = cell.checked_mul(self.stride)?.checked_add(at)?;
        (len <= self.size && at + len <= self.size).then(|| start..start + len)
    }

    /// Where the first cell is, when cells lie there as far apart as in guest offsets.
    #[inline]
    pub(crate) fn block(&mut self) -> Option<*mut u8> {
        self.is_plain().then_some(self.bytes.as_mut_ptr())
    }

    /// Whether cells lie in memory as far apart as in guest offsets.
    pub(crate) fn is_plain(&self) -> bool {
        self.stride == 1 << self.shift
    }

    /// The number of the cell that a guest offset is in, and where it starts in guest offsets.
    pub(crate) fn cell_at(&self, offset: u64) -> (usize, u64) {
        let cell = (offset >> self.shift) as usize;
        (cell, self.offset_of(cell))
    }

    /// The cell that a guest offset is in, and where it starts in guest offsets.
    #[inline]
    pub(crate) fn around(&mut self, offset: u64) -> Option<(u64, &mut [u8])> {
        let cell = (offset >> self.shift) as usize;
        let start = cell.checked_mul(self.stride)?;
        let end = start.checked_add(self.size)?;
        Some((self.offset_of(cell), self.bytes.get_mut(start..end)?))
    }

    /// The bytes at a guest offset, when they lie in one cell.
    pub(crate) fn at(&self, offset: u64, len: usize) -> Option<&[u8]> {
        self.bytes.get(self.locate(offset, len)?)
    }

    /// The bytes at a guest offset, when they lie in one cell.
    pub(crate) fn at_mut(&mut self, offset: u64, len: usize) -> Option<&mut [u8]> {
        let range = self.locate(offset, len)?;
        self.bytes.get_mut(range)
    }
}

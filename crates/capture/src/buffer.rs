//! A window on a stream: as many bytes as are asked for, one after the other in memory.

use std::io::{self, Read};

/// Bytes to read at a time: few enough that they are still in the processor's cache when their turn
/// comes.
const CHUNK: usize = 1 << 18;

/// A stream with its window.
#[derive(Debug)]
pub(crate) struct Buffer<R> {
    from: R,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Position of the window's start in the stream.
    offset: u64,
}

impl<R: Read> Buffer<R> {
    pub(crate) fn new(from: R) -> Buffer<R> {
        Buffer { from, bytes: vec![0; CHUNK], start: 0, end: 0, offset: 0 }
    }

    /// Position in the stream.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Makes `len` bytes visible, fewer only when the stream ends; gives how many there are.
    #[inline]
    pub(crate) fn fill(&mut self, len: usize) -> io::Result<usize> {
        let have = self.end - self.start;
        if have >= len { Ok(len) } else { self.fill_slowly(len) }
    }

    #[cold]
    fn fill_slowly(&mut self, len: usize) -> io::Result<usize> {
        self.bytes.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        while self.end < len {
            // A length that is a lie takes no more memory than there are bytes.
            if self.end == self.bytes.len() {
                self.bytes.resize(2 * self.bytes.len(), 0);
            }
            match self.from.read(&mut self.bytes[self.end..]) {
                Ok(0) => break,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.end.min(len))
    }

    /// The bytes that are visible.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Goes on by `len` visible bytes, which are given.
    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> &[u8] {
        let start = self.start;
        self.start = (start + len).min(self.end);
        self.offset += (self.start - start) as u64;
        &self.bytes[start..self.start]
    }
}

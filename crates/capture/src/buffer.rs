//! A window on a stream: as many bytes as are asked for, one after the other in memory.

use std::io::{self, Read};

/// Bytes to read at a time: few enough that they are still in the processor's cache when their turn
/// comes.
const CHUNK: usize = 1 << 18;

/// What is read is read to the beginning of a page, in whole pages: the kernel copies these the fastest.
const PAGE: usize = 4096;

/// Bytes that may be left of what was read before: a packet has fewer, if it is none that the kernel has
/// put together of several.
const LEFT: usize = 1 << 16;

/// A stream with its window.
#[derive(Debug)]
pub(crate) struct Buffer<R> {
    from: R,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Position in the stream of what is at the end.
    end_offset: u64,
}

impl<R: Read> Buffer<R> {
    pub(crate) fn new(from: R) -> Buffer<R> {
        Buffer { from, bytes: vec![0; PAGE + LEFT + CHUNK], start: 0, end: 0, end_offset: 0 }
    }

    /// Position in the stream.
    pub(crate) fn offset(&self) -> u64 {
        self.end_offset - (self.end - self.start) as u64
    }

    /// Makes `len` bytes visible, fewer only when the stream ends; gives how many there are.
    #[inline]
    pub(crate) fn fill(&mut self, len: usize) -> io::Result<usize> {
        let have = self.end - self.start;
        if have >= len { Ok(len) } else { self.fill_slowly(len) }
    }

    #[cold]
    fn fill_slowly(&mut self, len: usize) -> io::Result<usize> {
        self.make_room();
        while self.end - self.start < len {
            // A length that is a lie takes no more memory than there are bytes.
            if self.end == self.bytes.len() {
                self.bytes.resize(2 * self.bytes.len(), 0);
            }
            let most = self.bytes.len().min(self.end + CHUNK);
            match self.from.read(&mut self.bytes[self.end..most]) {
                Ok(0) => break,
                Ok(count) => {
                    self.end += count;
                    self.end_offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(len.min(self.end - self.start))
    }

    /// Moves what is visible to the front, to where its end is the beginning of a page.
    fn make_room(&mut self) {
        let first = self.bytes.as_ptr().align_offset(PAGE);
        let have = self.end - self.start;
        let end = first + have.next_multiple_of(PAGE);
        if end <= self.bytes.len() {
            self.bytes.copy_within(self.start..self.end, end - have);
            (self.start, self.end) = (end - have, end);
        }
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
        &self.bytes[start..self.start]
    }
}

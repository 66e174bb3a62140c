//! Ring buffers (`kernel/bpf/ringbuf.c`): records in the order in which they were reserved.

use std::time::Instant;

use super::Errno;

/// Bytes before each record.
const HEADER: usize = 8;
/// Bits of the header: reserved and not yet given up; given up without being sent
/// (`include/uapi/linux/bpf.h`).
const BUSY: u32 = 1 << 31;
const DISCARD: u32 = 1 << 30;

/// A ring buffer.
#[derive(Clone, Debug)]
pub(crate) struct Ringbuf {
    /// Twice the size: a record that starts before the end runs on without a break, as in the
    /// kernel, which maps the pages twice.
    data: Vec<u8>,
    size: usize,
    /// Positions count up for ever.
    producer: u64,
    consumer: u64,
    /// Start in `data` and length of the records that a program holds.
    reserved: Vec<(usize, usize)>,
    /// Since when there is something to read.
    unread_since: Option<Instant>,
}

impl Ringbuf {
    pub(crate) fn new(size: u32) -> Result<Ringbuf, Errno> {
        let size = size as usize;
        if 2 * size > super::MAX_MEMORY {
            return Err(libc::ENOMEM);
        }
        let data = vec![0; 2 * size];
        let (producer, consumer, reserved) = (0, 0, Vec::new());
        Ok(Ringbuf { data, size, producer, consumer, reserved, unread_since: None })
    }

    fn position(&self, count: u64) -> usize {
        (count % self.size as u64) as usize
    }

    /// Makes room for a record; where it starts in `data`. `None` when it does not fit.
    pub(crate) fn reserve(&mut self, len: u64) -> Option<u64> {
        let len = usize::try_from(len).ok().filter(|&len| len < self.size)?;
        let end = self.producer + (len + HEADER).next_multiple_of(8) as u64;
        if end - self.consumer > self.size as u64 - 1 {
            return None;
        }
        let header = self.position(self.producer);
        self.set_header(header, len as u32 | BUSY);
        self.producer = end;
        self.reserved.push((header + HEADER, len));
        Some((header + HEADER) as u64)
    }

    /// Sends or drops a reserved record; false when there is no such one.
    pub(crate) fn finish(&mut self, start: u64, discard: bool) -> bool {
        let held = self.reserved.iter().position(|&(at, _)| at as u64 == start);
        let Some(held) = held else { return false };
        let (at, len) = self.reserved.swap_remove(held);
        self.set_header(at - HEADER, len as u32 | if discard { DISCARD } else { 0 });
        if !discard && self.unread_since.is_none() {
            self.unread_since = Some(Instant::now());
        }
        true
    }

    /// Drops the records that a program left behind.
    pub(crate) fn finish_run(&mut self) {
        while let Some(&(at, _)) = self.reserved.last() {
            self.finish(at as u64, true);
        }
    }

    /// Copies a record in; false when it does not fit.
    pub(crate) fn output(&mut self, record: &[u8]) -> bool {
        let Some(start) = self.reserve(record.len() as u64) else { return false };
        self.data[start as usize..start as usize + record.len()].copy_from_slice(record);
        self.finish(start, false)
    }

    /// Takes out all records that are complete, up to the first that is not: the bytes as they
    /// stand in the ring, headers included. [`records`] takes them apart.
    pub(crate) fn take(&mut self, into: &mut Vec<u8>) {
        into.clear();
        while self.consumer < self.producer {
            let at = self.position(self.consumer);
            let header = self.header(at);
            if header & BUSY != 0 {
                break;
            }
            let len = (header & !DISCARD) as usize;
            let total = (len + HEADER).next_multiple_of(8);
            if header & DISCARD == 0 {
                into.extend_from_slice(&self.data[at..at + total]);
            }
            self.consumer += total as u64;
        }
        self.unread_since = None;
    }

    fn header(&self, at: usize) -> u32 {
        let bytes = &self.data[at..at + 4];
        u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
    }

    fn set_header(&mut self, at: usize, header: u32) {
        self.data[at..at + 4].copy_from_slice(&header.to_ne_bytes());
    }

    /// The bytes at an offset, when they lie in a record that a program holds.
    pub(crate) fn at(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let start = self.held(offset, len)?;
        self.data.get(start..start + len)
    }

    /// The bytes at an offset, when they lie in a record that a program holds.
    pub(crate) fn at_mut(&mut self, offset: u64, len: usize) -> Option<&mut [u8]> {
        let start = self.held(offset, len)?;
        self.data.get_mut(start..start + len)
    }

    fn held(&self, offset: u64, len: usize) -> Option<usize> {
        let offset = usize::try_from(offset).ok()?;
        let end = offset.checked_add(len)?;
        let inside = |&(at, size): &(usize, usize)| at <= offset && end <= at + size;
        self.reserved.iter().any(inside).then_some(offset)
    }

    /// Answers `bpf_ringbuf_query`.
    pub(crate) fn query(&self, what: u64) -> u64 {
        match what {
            0 => self.producer - self.consumer,
            1 => self.size as u64,
            2 => self.consumer,
            3 => self.producer,
            _ => 0,
        }
    }

    /// Since when there is something to read, if there is.
    pub(crate) fn unread_since(&self) -> Option<Instant> {
        self.unread_since
    }

    /// Whether more than half of it is used.
    pub(crate) fn is_half_full(&self) -> bool {
        self.producer - self.consumer > self.size as u64 / 2
    }
}

/// The records in what [`Ringbuf::take`] gave.
pub(crate) fn records(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (header, rest) = bytes.split_first_chunk::<HEADER>()?;
        let len = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        bytes = rest.get(len.next_multiple_of(8)..)?;
        rest.get(..len)
    })
}

//! The reader's side of a perf event's ring buffer (`struct perf_event_mmap_page`,
//! `include/uapi/linux/perf_event.h`).

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Errno;
use super::mapping::{Mapping, page_size};
use super::perf::{RECORD_HEADER as HEADER, RECORD_LOST, RECORD_SAMPLE};

/// Where in the first page the kernel says up to where it has written (`data_head`).
const DATA_HEAD: usize = 1024;
/// Where we say up to where we have read (`data_tail`).
const DATA_TAIL: usize = 1032;

/// A page of control, and a power of two of data.
pub(crate) struct PerfRing {
    mapping: Mapping,
    page: usize,
    size: usize,
    /// A record that wraps around, put together.
    record: Vec<u8>,
}

/// A record.
pub(crate) enum Record<'a> {
    /// What a program wrote, rounded up by the kernel.
    Sample(&'a [u8]),
    /// So many there was no room for.
    Lost(u64),
}

impl PerfRing {
    /// Maps the event's buffer, with so many pages of data (a power of two).
    pub(crate) fn new(event: BorrowedFd<'_>, pages: usize) -> Result<PerfRing, Errno> {
        let page = page_size();
        let size = pages * page;
        let mapping = Mapping::new(page + size, true, Some((event, 0)))?;
        mapping.keep_from_children();
        Ok(PerfRing { mapping, page, size, record: Vec::new() })
    }

    /// A position in the first page.
    fn position(&self, offset: usize) -> &AtomicU64 {
        // SAFETY: the first page has aligned words there that kernel and user access atomically.
        unsafe { AtomicU64::from_ptr(self.mapping.start.as_ptr().add(offset).cast()) }
    }

    /// Copies `len` bytes, at most all, from a position of the data to `record`.
    fn copy(&mut self, position: u64, len: usize) {
        let offset = position as usize & (self.size - 1);
        let first = len.min(self.size - offset);
        self.record.resize(len, 0);
        // SAFETY: `offset + first` and `len - first` are at most the size of the data, which
        // starts a page into the mapping. The kernel does not write to what lies between
        // `data_tail` and `data_head`, and nobody else writes at all.
        unsafe {
            let data = self.mapping.start.as_ptr().add(self.page);
            let to = self.record.as_mut_ptr();
            std::ptr::copy_nonoverlapping(data.add(offset), to, first);
            std::ptr::copy_nonoverlapping(data, to.add(first), len - first);
        }
    }

    /// Gives what programs sent (events without time) to `each`, in order; returns how many.
    pub(crate) fn consume(&mut self, each: &mut dyn FnMut(Record<'_>)) -> usize {
        let mut samples = 0;
        self.records(&mut |kind, body| match kind {
            // A sample has its size before it.
            RECORD_SAMPLE => {
                let len = word(body, 0) as usize;
                let data = body.get(4..).unwrap_or_default();
                each(Record::Sample(&data[..len.min(data.len())]));
                samples += 1;
            }
            // The number of the event, how many.
            RECORD_LOST => {
                each(Record::Lost(u64::from(word(body, 8)) | u64::from(word(body, 12)) << 32));
            }
            _ => {}
        });
        samples
    }

    /// Gives every record that is ready to `each`, in order: its type, what follows its header.
    pub(crate) fn records(&mut self, each: &mut dyn FnMut(u32, &[u8])) {
        let head = self.position(DATA_HEAD).load(Ordering::Acquire);
        let mut tail = self.position(DATA_TAIL).load(Ordering::Relaxed);
        while tail < head {
            self.copy(tail, HEADER);
            let kind = word(&self.record, 0);
            let size = (word(&self.record, 4) >> 16) as usize;
            // The kernel writes whole records only.
            if size < HEADER || size as u64 > head - tail || size > self.size {
                self.position(DATA_TAIL).store(head, Ordering::Release);
                break;
            }
            self.copy(tail, size);
            each(kind, &self.record[HEADER..]);
            tail += size as u64;
            self.position(DATA_TAIL).store(tail, Ordering::Release);
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..at + 4).and_then(|word| word.try_into().ok());
    word.map_or(0, u32::from_ne_bytes)
}

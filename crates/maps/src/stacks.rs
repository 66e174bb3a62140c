//! Stack traces (`kernel/bpf/stackmap.c`): traces by numbers that come from their hashes.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::Errno;
use crate::hash::key::{Key, whiten};
use crate::lock::SequenceLock;
use crate::region::Region;
use crate::words::{Bytes, Place};

/// `BPF_F_FAST_STACK_CMP`: traces with the same hash are taken to be the same.
const FAST_STACK_CMP: u64 = 1 << 9;
/// `BPF_F_REUSE_STACKID`: a trace takes the place of another with the same number.
const REUSE_STACKID: u64 = 1 << 10;

/// Bytes of a trace before its frames: hash, length.
const HEADER: usize = 8;

/// A map of stack traces.
pub(crate) struct Stacks {
    /// For every number: the trace, or 0.
    buckets: Region,
    count: u32,
    traces: Region,
    stride: usize,
    value_size: usize,
    max_entries: u32,
    lock: SequenceLock,
    fresh: AtomicU32,
    free: AtomicU32,
}

impl Stacks {
    pub(crate) fn new(max_entries: u32, value_size: usize) -> Result<Stacks, Errno> {
        let count = max_entries.checked_next_power_of_two().ok_or(libc::E2BIG)?;
        let stride = HEADER + value_size;
        let len = stride.checked_mul(max_entries as usize + 1).ok_or(libc::ENOMEM)?;
        Ok(Stacks {
            buckets: Region::new(count as usize * 4)?,
            count,
            traces: Region::new(len)?,
            stride,
            value_size,
            max_entries,
            lock: SequenceLock::default(),
            fresh: AtomicU32::new(0),
            free: AtomicU32::new(0),
        })
    }

    fn bucket(&self, id: u32) -> &AtomicU32 {
        self.buckets.half(id as usize * 4)
    }

    fn hash(&self, trace: u32) -> &AtomicU32 {
        self.traces.half(trace as usize * self.stride)
    }

    /// Bytes of a trace that are used.
    fn len(&self, trace: u32) -> &AtomicU32 {
        self.traces.half(trace as usize * self.stride + 4)
    }

    fn frames(&self, trace: u32) -> Place<'_> {
        self.traces.place(trace as usize * self.stride + HEADER, self.value_size)
    }

    fn take(&self) -> Option<u32> {
        let free = self.free.load(Ordering::Relaxed);
        if free != 0 {
            self.free.store(self.hash(free).load(Ordering::Relaxed), Ordering::Relaxed);
            return Some(free);
        }
        let fresh = self.fresh.load(Ordering::Relaxed);
        (fresh < self.max_entries).then(|| {
            self.fresh.store(fresh + 1, Ordering::Relaxed);
            fresh + 1
        })
    }

    fn give(&self, trace: u32) {
        if trace != 0 {
            self.hash(trace).store(self.free.load(Ordering::Relaxed), Ordering::Relaxed);
            self.free.store(trace, Ordering::Relaxed);
        }
    }

    fn is_same(&self, trace: u32, frames: Bytes<'_>) -> bool {
        self.len(trace).load(Ordering::Relaxed) as usize == frames.len()
            && frames.is_at(self.frames(trace))
    }

    /// The number of a trace, which is kept (`__bpf_get_stackid`). Frames beyond the map's value
    /// size are left out.
    pub(crate) fn put(&self, frames: Bytes<'_>, flags: u64) -> Result<u32, Errno> {
        let frames = frames.part(0, self.value_size);
        let hash = frames.hash(whiten(0));
        let id = hash & (self.count - 1);
        let _held = self.lock.lock();
        let old = self.bucket(id).load(Ordering::Relaxed);
        let same_hash = old != 0 && self.hash(old).load(Ordering::Relaxed) == hash;
        if same_hash && (flags & FAST_STACK_CMP != 0 || self.is_same(old, frames)) {
            return Ok(id);
        }
        if old != 0 && flags & REUSE_STACKID == 0 {
            return Err(libc::EEXIST);
        }
        let new = self.take().ok_or(libc::ENOMEM)?;
        self.frames(new).store(frames);
        self.hash(new).store(hash, Ordering::Relaxed);
        self.len(new).store(frames.len() as u32, Ordering::Relaxed);
        self.bucket(id).store(new, Ordering::Release);
        self.give(old);
        Ok(id)
    }

    /// Copies a trace out; zeros follow the last frame (`bpf_stackmap_extract`).
    pub(crate) fn read(&self, id: u32, into: &mut [u8]) -> Result<(), Errno> {
        if id >= self.count {
            return Err(libc::ENOENT);
        }
        let _held = self.lock.lock();
        let trace = self.bucket(id).load(Ordering::Relaxed);
        if trace == 0 {
            return Err(libc::ENOENT);
        }
        let len = (self.len(trace).load(Ordering::Relaxed) as usize).min(into.len());
        self.frames(trace).load(&mut into[..len]);
        into[len..].fill(0);
        Ok(())
    }

    /// Drops a trace (`stack_map_delete_elem`).
    pub(crate) fn delete(&self, id: u32) -> Result<(), Errno> {
        if id >= self.count {
            return Err(libc::E2BIG);
        }
        let _held = self.lock.lock();
        let old = self.bucket(id).swap(0, Ordering::Relaxed);
        self.give(old);
        if old == 0 { Err(libc::ENOENT) } else { Ok(()) }
    }

    /// The next number that has a trace; the first one after one that has none
    /// (`stack_map_get_next_key`).
    pub(crate) fn after(&self, id: Option<u32>) -> Option<u32> {
        let has = |id: &u32| self.bucket(*id).load(Ordering::Relaxed) != 0;
        let from = id.filter(|id| *id < self.count && has(id)).map_or(0, |id| id + 1);
        (from..self.count).find(has)
    }
}

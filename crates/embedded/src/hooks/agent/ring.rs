//! The memory that traced processes write their records to.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::rc::Rc;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a ring: its length so far in the first word, then records from the second one on.
pub(super) const SIZE: usize = 32 << 10;
/// Bytes of a record, and of what comes before the first.
pub(super) const RECORD: usize = 64;
/// Rings. The first is always full: who has none writes there.
pub(super) const COUNT: usize = 256;

const WORD: usize = size_of::<u64>();

/// All rings.
#[derive(Debug)]
pub(super) struct Rings {
    fd: OwnedFd,
    words: &'static [AtomicU64],
    free: RefCell<Vec<usize>>,
}

/// A record: the number of the system call, and its arguments.
pub(super) type Record = [u64; 7];

impl Rings {
    /// Fresh memory. It costs what is written to.
    pub(super) fn new() -> io::Result<Rings> {
        let flags = libc::MFD_CLOEXEC;
        // SAFETY: the name is a constant string; the new descriptor is nobody else's.
        let fd = unsafe {
            match libc::memfd_create(c"bombus-rings".as_ptr(), flags) {
                -1 => return Err(io::Error::last_os_error()),
                fd => OwnedFd::from_raw_fd(fd),
            }
        };
        // SAFETY: passes numbers.
        if unsafe { libc::ftruncate(fd.as_raw_fd(), (SIZE * COUNT) as libc::off_t) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a new mapping at an address that the kernel chooses. It is never unmapped: there
        // is one for the life of this process. Others write to it at any time, so it is only looked
        // at as atomics.
        let words = unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let length = SIZE * COUNT;
            let shared = libc::MAP_SHARED;
            match libc::mmap(ptr::null_mut(), length, protection, shared, fd.as_raw_fd(), 0) {
                libc::MAP_FAILED => return Err(io::Error::last_os_error()),
                memory => slice::from_raw_parts(memory.cast::<AtomicU64>(), length / WORD),
            }
        };
        words[0].store(SIZE as u64, Ordering::Relaxed);
        Ok(Rings { fd, words, free: RefCell::new((1..COUNT).rev().collect()) })
    }

    /// The file as other processes of the user can open it.
    pub(super) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.fd.as_raw_fd())
    }

    /// An empty ring; `None` when all are in use.
    pub(super) fn lease(self: &Rc<Rings>) -> Option<Lease> {
        let index = self.free.borrow_mut().pop()?;
        let lease = Lease { rings: Rc::clone(self), index };
        lease.empty();
        Some(lease)
    }
}

/// A ring in use.
#[derive(Debug)]
pub(super) struct Lease {
    rings: Rc<Rings>,
    index: usize,
}

impl Lease {
    /// Where it is in a traced process.
    pub(super) fn address(&self) -> u64 {
        super::RINGS + (self.index * SIZE) as u64
    }

    fn words(&self) -> &[AtomicU64] {
        &self.rings.words[self.index * SIZE / WORD..][..SIZE / WORD]
    }

    /// Forgets what is in it. The writer must stand still.
    pub(super) fn empty(&self) {
        self.words()[0].store(RECORD as u64, Ordering::Relaxed);
    }

    /// The records behind the first `from` bytes, and how many bytes there are now. The process
    /// may have written anything: that is the caller's to check.
    pub(super) fn read(&self, from: usize) -> (Vec<Record>, usize) {
        let words = self.words();
        // The record was written before its length (x86 keeps the order of stores).
        let length = words[0].load(Ordering::Acquire).min(SIZE as u64) as usize;
        let from = from.max(RECORD);
        let Some(new) = words.get(from / WORD..length / WORD) else { return (vec![], from) };
        let (records, _) = new.as_chunks::<{ RECORD / WORD }>();
        let record = |words: &[AtomicU64; RECORD / WORD]| -> Record {
            std::array::from_fn(|index| words[index].load(Ordering::Relaxed))
        };
        (records.iter().map(record).collect(), length)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.rings.free.borrow_mut().push(self.index);
    }
}

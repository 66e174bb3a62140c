//! Memory for machine code, never writable and executable at one address.
//!
//! As the kernel packs programs into shared pages (`bpf_prog_pack_alloc`, `kernel/bpf/core.c`),
//! programs here share chunks of one memory file, each mapped twice: code is written through one
//! mapping and runs in the other. So a program costs no system call, and no page of its own.

#![allow(unsafe_code, reason = "maps memory, and copies code into it")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

/// Bytes of a chunk, unless a program needs more.
const CHUNK: usize = 1 << 20;
/// Programs start at multiples of this, a cache line, so that what stands before one does not change how
/// fast it is.
const ALIGN: usize = 64;
/// What is between programs: `int3`.
const TRAP: u8 = 0xcc;

/// A memory file, mapped twice.
#[derive(Debug)]
struct Chunk {
    writable: NonNull<u8>,
    executable: NonNull<u8>,
    size: usize,
    /// Bytes in use from the start.
    used: Mutex<usize>,
}

// SAFETY: the mappings belong to the chunk alone. Each byte is written once, before the allocation
// that it lies in is handed out; `used` is behind a lock.
unsafe impl Send for Chunk {}
// SAFETY: as above.
unsafe impl Sync for Chunk {}

impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: both were mapped with this size, and no allocation is left (they keep the chunk).
        unsafe {
            libc::munmap(self.writable.as_ptr().cast(), self.size);
            libc::munmap(self.executable.as_ptr().cast(), self.size);
        }
    }
}

/// The chunk that has room.
static CURRENT: Mutex<Option<Arc<Chunk>>> = Mutex::new(None);

/// Code that can be run. Its chunk goes when all code in it is gone.
#[derive(Debug)]
pub(super) struct CodeMemory {
    chunk: Arc<Chunk>,
    start: usize,
}

impl CodeMemory {
    /// Has `emit` make the code, given the address where it will stand; a second time if that turns
    /// out not to have the room.
    pub(super) fn place(mut emit: impl FnMut(u64) -> Vec<u8>) -> io::Result<CodeMemory> {
        let mut current = CURRENT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let mut needed = CHUNK;
        loop {
            let chunk = match current.take() {
                Some(chunk) => chunk,
                None => Arc::new(Chunk::map(needed.next_multiple_of(CHUNK))?),
            };
            let start = *chunk.used.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            let code = emit(chunk.executable.as_ptr() as u64 + start as u64);
            if chunk.append(&code) {
                *current = Some(Arc::clone(&chunk));
                return Ok(CodeMemory { chunk, start });
            }
            needed = code.len();
        }
    }

    /// The address of the first byte.
    #[inline]
    pub(super) fn address(&self) -> u64 {
        self.chunk.executable.as_ptr() as u64 + self.start as u64
    }
}

impl Chunk {
    /// Puts code after what is there; false if it does not fit.
    fn append(&self, code: &[u8]) -> bool {
        let mut used = self.used.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let end = (*used + code.len()).next_multiple_of(ALIGN);
        if end > self.size {
            return false;
        }
        // SAFETY: `end` is inside the mapping, nothing else writes here while the lock is held, and
        // nothing runs here yet.
        unsafe {
            let to = self.writable.as_ptr().add(*used);
            to.copy_from_nonoverlapping(code.as_ptr(), code.len());
            to.add(code.len()).write_bytes(TRAP, end - *used - code.len());
        }
        *used = end;
        true
    }

    fn map(size: usize) -> io::Result<Chunk> {
        let file = memory_file(size)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let writable = map(&file, size, protection, std::ptr::null_mut())?;
        let chunk = |executable| Chunk { writable, executable, size, used: Mutex::new(0) };
        let protection = libc::PROT_READ | libc::PROT_EXEC;
        match map(&file, size, protection, near_text(size)) {
            Ok(executable) => Ok(chunk(executable)),
            Err(error) => {
                // SAFETY: as above, and nobody has it.
                unsafe { libc::munmap(writable.as_ptr().cast(), size) };
                Err(error)
            }
        }
    }
}

/// A place that calls reach the program's own functions from: the kernel takes it as a wish.
fn near_text(size: usize) -> *mut libc::c_void {
    /// Beyond what the program's own sections take.
    const DISTANCE: usize = 256 << 20;
    let here = near_text as *const () as usize;
    let place = here.saturating_sub(DISTANCE + size) & !(CHUNK - 1);
    place as *mut libc::c_void
}

fn memory_file(size: usize) -> io::Result<OwnedFd> {
    /// `MFD_EXEC` (Linux 6.3): the wish to run it; older kernels refuse the flag.
    const EXEC: libc::c_uint = 0x10;
    let create = |flags| {
        // SAFETY: the name is a C string; nothing else is passed.
        unsafe { libc::memfd_create(c"bombus-jit".as_ptr(), flags) }
    };
    let mut fd = create(libc::MFD_CLOEXEC | EXEC);
    if fd < 0 {
        fd = create(libc::MFD_CLOEXEC);
    }
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is a new descriptor, and nobody else's.
    let file = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: plain system call on an own descriptor.
    if unsafe { libc::ftruncate(file.as_raw_fd(), size as libc::off_t) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(file)
}

fn map(
    file: &OwnedFd,
    size: usize,
    protection: libc::c_int,
    hint: *mut libc::c_void,
) -> io::Result<NonNull<u8>> {
    // SAFETY: a new mapping, at a place of the kernel's choice.
    let address =
        unsafe { libc::mmap(hint, size, protection, libc::MAP_SHARED, file.as_raw_fd(), 0) };
    match NonNull::new(address.cast()) {
        Some(start) if address != libc::MAP_FAILED => Ok(start),
        _ => Err(io::Error::last_os_error()),
    }
}

//! `struct bpf_spin_lock` in values: four bytes that programs and `BPF_F_LOCK` take.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::lock::wait;
use crate::words::{Bytes, Place};

/// Takes the lock for a program (`bpf_spin_lock`).
pub fn lock(lock: &AtomicU32) {
    let mut round = 0;
    while lock.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_err() {
        wait(&mut round);
    }
}

/// Gives it back (`bpf_spin_unlock`).
pub fn unlock(lock: &AtomicU32) {
    lock.store(0, Ordering::Release);
}

/// Does something while the lock at an offset of a value is held.
pub(crate) fn with<R>(value: Place<'_>, offset: usize, act: impl FnOnce() -> R) -> R {
    let word = value.half(offset);
    lock(word);
    let result = act();
    unlock(word);
    result
}

/// Copies a value in, all but the lock.
pub(crate) fn store_around(value: Place<'_>, bytes: Bytes<'_>, offset: usize) {
    for index in 0..bytes.len().div_ceil(4) {
        let at = index * 4;
        if at == offset {
            continue;
        }
        let mut part = bytes.part(at, 4).first_u32();
        if bytes.len() - at < 4 {
            part = bytes.part(at, 4).word(0) as u32;
        }
        value.half(at).store(part, Ordering::Relaxed);
    }
}

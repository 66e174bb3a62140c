//! Numbers of threads: small, and each belongs to one living thread, so that what a table keeps for
//! a number needs no lock. They do for a table what CPU numbers do in the kernel.

use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many numbers there are. The last one is shared by all threads that came too late.
pub(crate) const NUMBERS: usize = 128;
/// The number that belongs to nobody.
pub(crate) const SHARED: usize = NUMBERS - 1;

/// Numbers that living threads have, a bit each.
static TAKEN: Mutex<u128> = Mutex::new(1 << SHARED);
/// One more than the highest number ever taken, `SHARED` aside.
static HIGHEST: AtomicU32 = AtomicU32::new(0);

const UNKNOWN: usize = usize::MAX;

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(UNKNOWN) };
    /// Gives the number back when the thread ends.
    static KEEPER: Keeper = const { Keeper(Cell::new(SHARED)) };
}

struct Keeper(Cell<usize>);

impl Drop for Keeper {
    fn drop(&mut self) {
        let number = self.0.get();
        NUMBER.set(SHARED);
        if number != SHARED {
            *TAKEN.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) &= !(1 << number);
        }
    }
}

/// The number of the calling thread.
#[inline]
pub(crate) fn number() -> usize {
    match NUMBER.get() {
        UNKNOWN => take(),
        number => number,
    }
}

/// Numbers that may ever have been used, `SHARED` last.
pub(crate) fn used() -> impl Iterator<Item = usize> {
    (0..HIGHEST.load(Ordering::Acquire) as usize).chain([SHARED])
}

#[cold]
fn take() -> usize {
    let mut taken = TAKEN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let free = (!*taken).trailing_zeros() as usize;
    // A thread that is about to end has no place for the keeper any more.
    let number = match KEEPER.try_with(|keeper| keeper.0.set(free.min(SHARED))) {
        Ok(()) => free.min(SHARED),
        Err(_) => SHARED,
    };
    if number != SHARED {
        *taken |= 1 << number;
        HIGHEST.fetch_max(number as u32 + 1, Ordering::Release);
    }
    NUMBER.set(number);
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn living_threads_have_numbers_of_their_own() {
        let own = number();
        let other = std::thread::spawn(|| (number(), number())).join();
        let (first, second) = other.expect("the thread does not panic");
        assert_eq!(first, second);
        assert_ne!(first, own);
        assert_eq!(number(), own);
        assert!(used().any(|each| each == own));
    }
}

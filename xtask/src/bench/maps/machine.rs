//! What the machine itself can do: loops that have nothing to do with maps, measured in the same
//! way, for the figures of the maps to be read by.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{ARRAY, HOT, Keys, Operation, Subject, timing::Figures};

/// The loop around all operations, and nothing in it: two threads have nothing in common.
struct Loop;

impl Subject for Loop {
    fn work(&self, _: Operation, keys: &mut Keys, _: u32, times: u32) {
        let mut key = [0u64; 8];
        let mut sum = 0;
        keys.each(times, |number| {
            key[0] = number;
            // SAFETY: it is a live local.
            sum += unsafe { key.as_ptr().read_volatile() };
        });
        black_box(sum);
    }
}

/// A locked addition to one of a few words, each in a cache line of its own.
struct Additions(Vec<Line>);

#[derive(Default)]
#[repr(align(128))]
struct Line(AtomicU64);

impl Subject for Additions {
    fn work(&self, _: Operation, keys: &mut Keys, _: u32, times: u32) {
        keys.each(times, |number| {
            self.0[number as usize % self.0.len()].0.fetch_add(1, Ordering::Relaxed);
        });
    }
}

/// A plain store to one of as many words in a row as the arrays that are measured have.
struct Stores(Vec<AtomicU64>);

impl Subject for Stores {
    fn work(&self, _: Operation, keys: &mut Keys, _: u32, times: u32) {
        keys.each(times, |number| {
            self.0[number as usize % self.0.len()].store(number, Ordering::Relaxed);
        });
    }
}

/// What was measured.
#[derive(Default)]
pub(super) struct Machine {
    /// The empty loop.
    pub(super) alone: Figures,
    /// Locked additions to words that two threads share.
    pub(super) shared: Figures,
    /// Plain stores to words that two threads share.
    pub(super) stores: Figures,
}

impl Machine {
    pub(super) fn turn(&mut self) {
        self.alone.turn(&Loop, Operation::Lookup, HOT);
        let lines = (0..HOT).map(|_| Line::default()).collect();
        self.shared.turn(&Additions(lines), Operation::Update, HOT);
        let words = (0..ARRAY).map(|_| AtomicU64::new(0)).collect();
        self.stores.turn(&Stores(words), Operation::Update, ARRAY);
    }
}

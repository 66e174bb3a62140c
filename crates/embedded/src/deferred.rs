//! Work that programs put off: timers (`bpf_timer`) and work queues (`bpf_wq`), `struct bpf_async_kern` of
//! `kernel/bpf/helpers.c`.
//!
//! A value names its work by number. Work that its value names no more is gone: the element was deleted,
//! or has got another value.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::os::Clock;

/// A function of a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Callback {
    /// Which program.
    pub(crate) program: u32,
    /// Its guest address.
    pub(crate) function: u64,
}

/// Work of one value.
#[derive(Debug)]
pub(crate) struct Work {
    /// Where the value names it: a guest address.
    place: u64,
    /// What absolute times are told by.
    pub(crate) clock: Clock,
    pub(crate) callback: Option<Callback>,
    due: Option<Instant>,
}

/// Work whose time has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    pub(crate) number: u64,
    pub(crate) place: u64,
    pub(crate) callback: Callback,
}

/// All work.
#[derive(Debug, Default)]
pub(crate) struct Deferred {
    all: BTreeMap<u64, Work>,
    /// What waits for its time: times, numbers.
    queue: BTreeSet<(Instant, u64)>,
    /// The last number that was given.
    last: u64,
    /// What is being done.
    running: Option<u64>,
}

impl Deferred {
    /// New work, which nothing is known of but where its number will stand; gives the number, never 0.
    pub(crate) fn add(&mut self, place: u64, clock: Clock) -> u64 {
        self.last += 1;
        self.all.insert(self.last, Work { place, clock, callback: None, due: None });
        self.last
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut Work> {
        self.all.get_mut(&number)
    }

    /// Sets when it is to be done. False when there is no such work, or nothing to do.
    pub(crate) fn start(&mut self, number: u64, due: Instant) -> bool {
        let Some(work) = self.all.get_mut(&number).filter(|work| work.callback.is_some()) else {
            return false;
        };
        if let Some(before) = work.due.replace(due) {
            self.queue.remove(&(before, number));
        }
        self.queue.insert((due, number));
        true
    }

    /// It is not to be done; whether it was.
    pub(crate) fn stop(&mut self, number: u64) -> bool {
        let due = self.all.get_mut(&number).and_then(|work| work.due.take());
        due.is_some_and(|due| self.queue.remove(&(due, number)))
    }

    /// None of it is to be done.
    pub(crate) fn stop_all(&mut self) {
        self.queue.clear();
        self.all.values_mut().for_each(|work| work.due = None);
    }

    /// It is gone.
    pub(crate) fn remove(&mut self, number: u64) {
        self.stop(number);
        self.all.remove(&number);
    }

    /// Whether this is what is being done.
    pub(crate) fn is_running(&self, number: u64) -> bool {
        self.running == Some(number)
    }

    /// When the next is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.queue.first().map(|&(due, _)| due)
    }

    /// Begins with what is due, the oldest first.
    pub(crate) fn begin(&mut self, now: Instant) -> Option<Due> {
        while self.next_due().is_some_and(|due| due <= now) {
            let (_, number) = self.queue.pop_first()?;
            let Some(work) = self.all.get_mut(&number) else { continue };
            work.due = None;
            if let Some(callback) = work.callback {
                self.running = Some(number);
                return Some(Due { number, place: work.place, callback });
            }
        }
        None
    }

    /// It is done.
    pub(crate) fn end(&mut self) {
        self.running = None;
    }
}

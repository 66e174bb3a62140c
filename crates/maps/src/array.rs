//! Arrays (`kernel/bpf/arraymap.c`): all elements are always there.
//!
//! Updates of values that all CPUs share take a lock, though nothing needs it: two threads whose
//! stores take the same cache lines from each other again and again are slower together than one of
//! them alone, and by the lock they take turns.

use std::sync::atomic::Ordering;

use crate::Errno;
use crate::bias::{BiasedLock, PATIENCE};
use crate::hash::elements::Layout;
use crate::region::Region;
use crate::threads::OfProcess;
use crate::update::{Change, Update, Whose};
use crate::words::Place;

/// An array, with a value for each index or one for each CPU as well.
pub(crate) struct Array {
    region: Region,
    max_entries: u32,
    value_size: usize,
    stride: usize,
    cpus: u32,
    cpu_stride: usize,
    turns: Turns,
}

/// The lock of updates, in a cache line of its own.
#[derive(Default)]
#[repr(align(64))]
struct Turns(BiasedLock);

const THREADS: OfProcess = OfProcess { biased: true };

/// Where an array's values are, for code that finds them by itself: the value of `index` on `cpu`
/// is at `base + index * stride + cpu * cpu_stride` for an index less than `max_entries`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ArrayLayout {
    /// The first value.
    pub base: *mut u8,
    /// Bytes from one value to the next.
    pub stride: usize,
    /// How many there are.
    pub max_entries: u32,
    /// Bytes from a CPU's values to the next CPU's; 0 when there is one for all.
    pub cpu_stride: usize,
}

impl Array {
    pub(crate) fn new(
        max_entries: u32,
        value_size: usize,
        cpus: Option<u32>,
    ) -> Result<Array, Errno> {
        let stride = value_size.next_multiple_of(8);
        let plane = stride.checked_mul(max_entries as usize).ok_or(libc::ENOMEM)?;
        let (cpu_stride, len) = match cpus {
            None => (0, plane),
            // CPUs share no page, and so no cache line.
            Some(cpus) => {
                let distance = plane.checked_next_multiple_of(4096).ok_or(libc::ENOMEM)?;
                (distance, distance.checked_mul(cpus as usize).ok_or(libc::ENOMEM)?)
            }
        };
        let region = Region::new(len)?;
        let cpus = cpus.unwrap_or(1);
        let turns = Turns::default();
        Ok(Array { region, max_entries, value_size, stride, cpus, cpu_stride, turns })
    }

    pub(crate) fn layout(&self) -> ArrayLayout {
        let &Array { stride, max_entries, cpu_stride, .. } = self;
        ArrayLayout { base: self.region.start(), stride, max_entries, cpu_stride }
    }

    pub(crate) fn values(&self) -> Layout {
        let &Array { stride, cpu_stride, cpus, value_size, .. } = self;
        let (base, count) = (self.region.start(), self.max_entries as usize);
        Layout { base, stride, size: value_size, count, cpu_stride, cpus }
    }

    pub(crate) fn cpus(&self) -> u32 {
        self.cpus
    }

    pub(crate) fn len(&self) -> u32 {
        self.max_entries
    }

    /// The value of an index.
    #[inline]
    pub(crate) fn value(&self, index: u32, cpu: u32) -> Option<Place<'_>> {
        if index >= self.max_entries {
            return None;
        }
        let plane = if cpu < self.cpus { cpu as usize * self.cpu_stride } else { 0 };
        Some(self.region.place(plane + index as usize * self.stride, self.stride))
    }

    /// Stores a value (`array_map_update_elem`, `bpf_percpu_array_update`).
    #[inline]
    pub(crate) fn update(&self, index: u32, update: &Update<'_>) -> Result<(), Errno> {
        update.check()?;
        let first = self.value(index, 0).ok_or(libc::E2BIG)?;
        if update.must_not_exist() {
            return Err(libc::EEXIST);
        }
        match update.whose {
            Whose::One(cpu) if self.cpu_stride != 0 => {
                update.write_in_place(self.value(index, cpu).unwrap_or(first));
            }
            Whose::One(_) => {
                self.turns.0.with(&THREADS, PATIENCE, || update.write_in_place(first));
            }
            Whose::All => {
                let rounded = self.value_size.next_multiple_of(8);
                for cpu in 0..self.cpus {
                    let value = update.value.part(cpu as usize * rounded, self.value_size);
                    let one = Update { value, ..*update };
                    one.write_in_place(self.value(index, cpu).unwrap_or(first));
                }
            }
        }
        Ok(())
    }

    /// Stores a value of eight bytes that all CPUs share, if it is this thread's turn. `false`: it is
    /// not as simple as that, and nothing was done.
    #[inline(always)]
    pub(crate) fn try_update(&self, index: u32, value: u64) -> bool {
        let Some(held) = THREADS.known().and_then(|this| self.turns.0.enter(this)) else {
            return false;
        };
        let place = self.value(index, 0);
        if let Some(place) = place {
            place.first().store(value, Ordering::Relaxed);
        }
        self.turns.0.unlock(held);
        place.is_some()
    }
}

//! The elements of a hash table in one region, in which they never move.
//!
//! An element is a header of four 32-bit words, the key, and the value, or for maps with a value a
//! CPU one unused word: those stand in planes, one a CPU, so that CPUs share no cache line. Elements are
//! named by links: their offset divided by sixteen, so that following one takes no multiplication.
//! Zero names none.

use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;

use super::chain::Node;
use crate::Errno;
use crate::region::Region;
use crate::words::Place;

/// Bytes that a link counts.
const UNIT: usize = 16;
/// Bytes before the key.
const HEADER: usize = 16;
/// Where the first element starts; a cache line further than the link that names none.
const FIRST: usize = 64;

/// Elements and the values of the CPUs.
#[derive(Debug)]
pub(crate) struct Elements {
    region: Region,
    stride: usize,
    /// Bits of a link. The region is long enough for an element at each of them: whatever link
    /// there is, it names memory of this table, and following it takes no comparison.
    mask: u32,
    /// What makes an element's number of its link, see [`Elements::number`].
    twos: u32,
    inverse: u32,
    key_words: usize,
    value_offset: usize,
    value_words: usize,
    /// Words of a value that stand in the element.
    shared_words: usize,
    count: usize,
    planes: Option<Planes>,
}

/// Values of CPUs.
#[derive(Debug)]
struct Planes {
    region: Region,
    cpus: u32,
    /// Bytes from one CPU's values to the next one's.
    distance: usize,
}

/// Where values or keys lie in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// The first one.
    pub base: *mut u8,
    /// Bytes from one to the next.
    pub stride: usize,
    /// Bytes of one.
    pub size: usize,
    /// How many there may be.
    pub count: usize,
    /// Bytes from a CPU's value to that of the next CPU; 0 when there is one for all.
    pub cpu_stride: usize,
    /// Values of an element.
    pub cpus: u32,
}

impl Elements {
    /// Room for `count` elements. `sparse` says that few of them may ever be used.
    pub(crate) fn new(
        (key_size, value_size): (usize, usize),
        count: usize,
        cpus: Option<u32>,
        sparse: bool,
    ) -> Result<Elements, Errno> {
        let reserve = |len| if sparse { Region::sparse(len) } else { Region::new(len) };
        let (key_words, value_words) = (key_size.div_ceil(8), value_size.div_ceil(8));
        let value_offset = HEADER + key_words * 8;
        let shared_words = if cpus.is_some() { 1 } else { value_words };
        let stride = (value_offset + shared_words * 8).next_multiple_of(UNIT);
        let len = stride.checked_mul(count).and_then(|len| len.checked_add(FIRST));
        // Links have 32 bits.
        let len = len.filter(|&len| len / UNIT <= u32::MAX as usize).ok_or(libc::ENOMEM)?;
        let planes = match cpus {
            None => None,
            Some(cpus) => {
                let distance = (value_words * 8).checked_mul(count).ok_or(libc::ENOMEM)?;
                let distance = distance.next_multiple_of(4096);
                let len = distance.checked_mul(cpus as usize).ok_or(libc::ENOMEM)?;
                Some(Planes { region: reserve(len)?, cpus, distance })
            }
        };
        let mask = u32::MAX >> ((len - stride) / UNIT).leading_zeros().saturating_sub(32);
        reserve(len)?;
        let region = Region::sparse((mask as usize + 1) * UNIT + stride)?;
        let units = (stride / UNIT) as u32;
        let twos = units.trailing_zeros();
        Ok(Elements {
            region,
            stride,
            mask,
            twos,
            inverse: inverse(units >> twos),
            key_words,
            value_offset,
            value_words,
            shared_words,
            count,
            planes,
        })
    }

    /// How many elements `Elements::new` may be asked for with these sizes, so that links suffice.
    pub(crate) fn most(key_size: usize, value_size: usize) -> usize {
        let stride = HEADER + key_size.next_multiple_of(8) + value_size.next_multiple_of(8);
        ((1 << 36) / stride.next_multiple_of(UNIT)).saturating_sub(1)
    }

    /// The link of the element of a number less than `count`.
    #[inline]
    pub(crate) fn link(&self, number: usize) -> u32 {
        debug_assert!(number < self.count);
        ((FIRST + number * self.stride) / UNIT) as u32
    }

    /// The number of the element of a link. The division has no remainder, so it is a shift and
    /// a multiplication by the inverse modulo 2^32.
    #[inline]
    pub(crate) fn number(&self, link: u32) -> usize {
        let units = link.wrapping_sub((FIRST / UNIT) as u32);
        (units >> self.twos).wrapping_mul(self.inverse) as usize
    }

    /// The element of a link that is not zero.
    #[inline(always)]
    pub(crate) fn get(&self, link: u32) -> Element<'_> {
        let offset = (link & self.mask) as usize * UNIT;
        // SAFETY: the region, which is not at address 0, has `stride` bytes after the greatest
        // offset.
        let start = unsafe { NonNull::new_unchecked(self.region.start().add(offset)) };
        Element { start, elements: self }
    }

    /// Whether each CPU has a value.
    pub(crate) fn is_per_cpu(&self) -> bool {
        self.planes.is_some()
    }

    /// Values of an element.
    pub(crate) fn cpus(&self) -> u32 {
        self.planes.as_ref().map_or(1, |planes| planes.cpus)
    }

    /// Where the keys lie.
    pub(crate) fn keys(&self, size: usize) -> Layout {
        let base = self.region.start().wrapping_add(FIRST + HEADER);
        Layout { base, stride: self.stride, size, count: self.count, cpu_stride: 0, cpus: 1 }
    }

    /// Where the values lie.
    pub(crate) fn values(&self, size: usize) -> Layout {
        match &self.planes {
            None => {
                let base = self.region.start().wrapping_add(FIRST + self.value_offset);
                let (stride, count) = (self.stride, self.count);
                Layout { base, stride, size, count, cpu_stride: 0, cpus: 1 }
            }
            Some(planes) => Layout {
                base: planes.region.start(),
                stride: self.value_words * 8,
                size,
                count: self.count,
                cpu_stride: planes.distance,
                cpus: planes.cpus,
            },
        }
    }
}

/// The inverse of an odd number modulo 2^32, by Newton's method: each step doubles the right bits.
fn inverse(odd: u32) -> u32 {
    let mut inverse = odd;
    for _ in 0..5 {
        inverse = inverse.wrapping_mul(2u32.wrapping_sub(odd.wrapping_mul(inverse)));
    }
    inverse
}

/// One element. It is part of its table's memory, whatever the table takes it for at the time.
#[derive(Clone, Copy)]
pub(crate) struct Element<'a> {
    start: NonNull<u8>,
    elements: &'a Elements,
}

impl<'a> Element<'a> {
    #[inline]
    fn half(self, index: usize) -> &'a AtomicU32 {
        debug_assert!(index < HEADER / 4);
        // SAFETY: the header is part of every element, which is aligned to sixteen bytes.
        unsafe { AtomicU32::from_ptr(self.start.as_ptr().cast::<u32>().add(index)) }
    }

    /// Hash of the key.
    #[inline]
    pub(crate) fn hash(self) -> &'a AtomicU32 {
        self.half(1)
    }

    /// The next one that is free.
    #[inline]
    pub(crate) fn next_free(self) -> &'a AtomicU32 {
        self.half(2)
    }

    /// What the clock of an LRU map has to know.
    #[inline]
    pub(crate) fn mark(self) -> &'a AtomicU32 {
        self.half(3)
    }

    /// Whether each CPU has a value.
    #[inline]
    pub(crate) fn is_per_cpu(self) -> bool {
        self.elements.is_per_cpu()
    }

    /// How many values it has.
    pub(crate) fn cpus(self) -> u32 {
        self.elements.cpus()
    }

    /// The key.
    #[inline]
    pub(crate) fn key(self) -> Place<'a> {
        // SAFETY: the key follows the header in the element, aligned to eight bytes.
        unsafe { Place::from_raw(self.start.as_ptr().add(HEADER), self.elements.key_words) }
    }

    /// The value that all CPUs share, where no CPU has its own.
    #[inline]
    pub(crate) fn shared_value(self) -> Place<'a> {
        // SAFETY: these words, one at least, follow the key in the element.
        unsafe {
            let start = self.start.as_ptr().add(self.elements.value_offset);
            Place::from_raw(start, self.elements.shared_words)
        }
    }

    /// Where the shared value starts, if the key has so many words.
    #[inline(always)]
    pub(crate) fn after_key(self, words: usize) -> *mut u8 {
        self.start.as_ptr().wrapping_add(HEADER + words * 8)
    }

    /// The value, of one CPU where each has one. A CPU that there is not gets the first one's.
    #[inline]
    pub(crate) fn value(self, cpu: u32) -> Place<'a> {
        let Some(planes) = &self.elements.planes else { return self.shared_value() };
        let size = self.elements.value_words * 8;
        let plane = if cpu < planes.cpus { cpu as usize * planes.distance } else { 0 };
        planes.region.place(plane + self.elements.number(self.link()) * size, size)
    }
}

impl<'a> Node<'a> for Element<'a> {
    #[inline]
    fn link(self) -> u32 {
        let region = self.elements.region.start();
        ((self.start.as_ptr() as usize - region as usize) / UNIT) as u32
    }

    #[inline]
    fn next(self) -> &'a AtomicU32 {
        self.half(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_have_numbers() {
        for (key_size, value_size) in [(1, 1), (8, 8), (5, 40), (64, 100), (4, 4096)] {
            for cpus in [None, Some(3)] {
                let elements = Elements::new((key_size, value_size), 1000, cpus, false);
                let elements = elements.expect("there is memory");
                for number in 0..1000 {
                    assert_eq!(elements.number(elements.link(number)), number);
                }
            }
        }
    }
}

//! Memory that several threads, and programs, read and write at the same time.
//!
//! The memory model. A program holds pointers to values and accesses them as it likes, as it does
//! in the kernel: machine code that no lock stops. So nothing here makes a Rust reference to the
//! bytes of a key or a value. All accesses are relaxed atomic operations on aligned words of eight
//! bytes (a plain `mov` on x86-64), and what is not known to be aligned is read by volatile loads.
//! A copy that races with a write mixes words of before and after; a single aligned word is never
//! torn. This is what the kernel promises (`bpf_long_memcpy`, `include/linux/bpf.h`). What orders
//! accesses are the links and locks of the tables, by acquire and release.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Bytes that are read once and that somebody else may be writing: a key or a value on its way in.
#[derive(Clone, Copy)]
pub struct Bytes<'a> {
    start: *const u8,
    len: usize,
    lives: PhantomData<&'a ()>,
}

/// A word anywhere in memory.
#[repr(C, packed)]
#[derive(Clone, Copy)]
struct Unaligned<T>(T);

impl<'a> Bytes<'a> {
    /// The bytes that a program points to.
    ///
    /// # Safety
    /// `len` bytes from `start` on can be read for the lifetime.
    #[inline]
    pub unsafe fn from_raw(start: *const u8, len: usize) -> Bytes<'a> {
        Bytes { start, len, lives: PhantomData }
    }

    /// How many.
    #[inline]
    pub fn len(self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The `index`-th word of eight bytes in the machine's order; zeros follow the last byte.
    #[inline]
    pub(crate) fn word(self, index: usize) -> u64 {
        let at = index * 8;
        if at + 8 <= self.len {
            // SAFETY: the eight bytes lie within what `from_raw` was promised.
            return unsafe { self.start.add(at).cast::<Unaligned<u64>>().read_volatile() }.0;
        }
        let mut word = [0; 8];
        for (offset, byte) in word.iter_mut().enumerate().take(self.len.saturating_sub(at)) {
            // SAFETY: `at + offset` is less than `len`.
            *byte = unsafe { self.start.add(at + offset).read_volatile() };
        }
        u64::from_ne_bytes(word)
    }

    /// The words all of whose bytes there are, in order.
    #[inline(always)]
    pub(crate) fn whole_words(self) -> impl ExactSizeIterator<Item = u64> {
        (0..self.len / 8).map(move |index| {
            // SAFETY: the eight bytes lie within what `from_raw` was promised.
            unsafe { self.start.add(index * 8).cast::<Unaligned<u64>>().read_volatile() }.0
        })
    }

    /// What follows the whole words, and zeros.
    #[inline]
    fn rest(self) -> u64 {
        if self.len == 4 { self.first_u32().into() } else { self.word(self.len / 8) }
    }

    /// The first four bytes; zeros follow the last.
    #[inline]
    pub(crate) fn first_u32(self) -> u32 {
        if self.len >= 4 {
            // SAFETY: four bytes lie within what `from_raw` was promised.
            return unsafe { self.start.cast::<Unaligned<u32>>().read_volatile() }.0;
        }
        self.word(0) as u32
    }

    /// A part of them; the rest when there are fewer.
    pub(crate) fn part(self, from: usize, len: usize) -> Bytes<'a> {
        let from = from.min(self.len);
        // SAFETY: the part lies within the bytes.
        unsafe { Bytes::from_raw(self.start.add(from), len.min(self.len - from)) }
    }

    /// A copy.
    pub fn to_vec(self) -> Vec<u8> {
        let mut copy = vec![0; self.len];
        for (index, chunk) in copy.chunks_mut(8).enumerate() {
            chunk.copy_from_slice(&self.word(index).to_ne_bytes()[..chunk.len()]);
        }
        copy
    }
}

impl<'a> From<&'a [u8]> for Bytes<'a> {
    #[inline]
    fn from(slice: &'a [u8]) -> Bytes<'a> {
        // SAFETY: the slice's bytes can be read for its lifetime.
        unsafe { Bytes::from_raw(slice.as_ptr(), slice.len()) }
    }
}

/// Words of a map's memory: a key or a value in its place.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    start: *mut u8,
    words: usize,
    lives: PhantomData<&'a ()>,
}

impl<'a> Place<'a> {
    /// # Safety
    /// `words * 8` bytes from `start` on, and at least eight, can be read and written for the
    /// lifetime, by atomic operations and those of programs only, and `start` is a multiple of
    /// eight.
    #[inline]
    pub(crate) unsafe fn from_raw(start: *mut u8, words: usize) -> Place<'a> {
        Place { start, words, lives: PhantomData }
    }

    /// Where it starts.
    #[inline]
    pub(crate) fn start(self) -> *mut u8 {
        self.start
    }

    /// The first word, which there always is.
    #[inline]
    pub(crate) fn first(self) -> &'a AtomicU64 {
        // SAFETY: `from_raw` was promised one word.
        unsafe { AtomicU64::from_ptr(self.start.cast()) }
    }

    /// The first two words, which there must be.
    #[inline(always)]
    pub(crate) fn pair(self) -> &'a [AtomicU64; 2] {
        assert!(self.words >= 2);
        // SAFETY: two words lie within the place, which is aligned, and are only used atomically.
        unsafe { &*self.start.cast() }
    }

    /// So many words, which there must be.
    #[inline(always)]
    pub(crate) fn words(self, count: usize) -> &'a [AtomicU64] {
        assert!(count <= self.words);
        // SAFETY: the words lie within the place, which is aligned, and are only used atomically.
        unsafe { std::slice::from_raw_parts(self.start.cast(), count) }
    }

    /// The 32-bit word at a multiple of four.
    pub(crate) fn half(self, offset: usize) -> &'a AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.words * 8);
        // SAFETY: the half word lies within the place, and is aligned.
        unsafe { AtomicU32::from_ptr(self.start.add(offset).cast::<u32>()) }
    }

    /// Copies bytes in; the rest of the last word becomes zero.
    #[inline(always)]
    pub(crate) fn store(self, bytes: Bytes<'_>) {
        if bytes.len() == 8 {
            self.first().store(bytes.word(0), Ordering::Relaxed);
        } else {
            self.store_any(bytes);
        }
    }

    #[inline(never)]
    fn store_any(self, bytes: Bytes<'_>) {
        let whole = bytes.len() / 8;
        let words = self.words(bytes.len().div_ceil(8));
        for (to, word) in words.iter().zip(bytes.whole_words()) {
            to.store(word, Ordering::Relaxed);
        }
        if let Some(last) = words.get(whole) {
            last.store(bytes.rest(), Ordering::Relaxed);
        }
    }

    /// Fills it with zeros.
    pub(crate) fn clear(self) {
        self.words(self.words).iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    /// Copies bytes out, as many as `into` has.
    pub(crate) fn load(self, into: &mut [u8]) {
        let words = self.words(into.len().div_ceil(8));
        for (word, chunk) in words.iter().zip(into.chunks_mut(8)) {
            let bytes = word.load(Ordering::Relaxed).to_ne_bytes();
            chunk.copy_from_slice(&bytes[..chunk.len()]);
        }
    }
}

//! Atomic operations, on memory that other threads and other programs see.
//!
//! They are rare and cost more than a call, so each is a function of its own.

use std::ptr::with_exposed_provenance_mut;
use std::sync::atomic::Ordering::{Acquire, Release, SeqCst};
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

use bombus_isa::{AtomicOp, Op, Reg, Size};

use super::step::{Fields, Registers};

/// Performs an operation. The address is that of an aligned number that the program may write.
pub(super) type Perform = unsafe fn(&mut Registers, Fields);

/// An operation on the number that `$fields.dst` and `$fields.off` point to.
macro_rules! on {
    ($type:ident, |$number:ident, $registers:ident, $fields:ident| $body:expr) => {
        |$registers: &mut Registers, $fields: Fields| {
            let address = $registers.get($fields.dst).wrapping_add($fields.off as u64);
            // SAFETY: `Perform` says what the address is.
            let $number = unsafe { $type::from_ptr(with_exposed_provenance_mut(address as usize)) };
            $body
        }
    };
}

/// Read, modify, write; with and without the old value.
macro_rules! modify {
    ($type:ident $int:ident, $op:ident, $fetch:ident) => {
        match ($op, $fetch) {
            (AtomicOp::Add, false) => {
                on!($type, |n, r, at| _ = n.fetch_add(r.get(at.src) as $int, SeqCst))
            }
            (AtomicOp::Or, false) => {
                on!($type, |n, r, at| _ = n.fetch_or(r.get(at.src) as $int, SeqCst))
            }
            (AtomicOp::And, false) => {
                on!($type, |n, r, at| _ = n.fetch_and(r.get(at.src) as $int, SeqCst))
            }
            (AtomicOp::Xor, false) => {
                on!($type, |n, r, at| _ = n.fetch_xor(r.get(at.src) as $int, SeqCst))
            }
            (AtomicOp::Add, true) => on!($type, |n, r, at| r
                .set(at.src, n.fetch_add(r.get(at.src) as $int, SeqCst).into())),
            (AtomicOp::Or, true) => on!($type, |n, r, at| r
                .set(at.src, n.fetch_or(r.get(at.src) as $int, SeqCst).into())),
            (AtomicOp::And, true) => on!($type, |n, r, at| r
                .set(at.src, n.fetch_and(r.get(at.src) as $int, SeqCst).into())),
            (AtomicOp::Xor, true) => on!($type, |n, r, at| r
                .set(at.src, n.fetch_xor(r.get(at.src) as $int, SeqCst).into())),
            (AtomicOp::Xchg, _) => {
                on!($type, |n, r, at| r.set(at.src, n.swap(r.get(at.src) as $int, SeqCst).into()))
            }
            (AtomicOp::Cmpxchg, _) => on!($type, |n, r, at| {
                let expected = r.get(Reg::R0.0) as $int;
                let old = n.compare_exchange(expected, r.get(at.src) as $int, SeqCst, SeqCst);
                r.set(Reg::R0.0, old.unwrap_or_else(|old| old).into());
            }),
        }
    };
}

/// The function that performs an atomic instruction; `None` for others.
pub(super) fn perform(op: Op) -> Option<Perform> {
    Some(match op {
        Op::Atomic { size: Size::W, op, fetch, .. } => modify!(AtomicU32 u32, op, fetch),
        Op::Atomic { size: Size::Dw, op, fetch, .. } => modify!(AtomicU64 u64, op, fetch),
        Op::LoadAcquire { size, .. } => match size {
            Size::B => on!(AtomicU8, |n, r, at| r.set(at.src, n.load(Acquire).into())),
            Size::H => on!(AtomicU16, |n, r, at| r.set(at.src, n.load(Acquire).into())),
            Size::W => on!(AtomicU32, |n, r, at| r.set(at.src, n.load(Acquire).into())),
            Size::Dw => on!(AtomicU64, |n, r, at| r.set(at.src, n.load(Acquire))),
        },
        Op::StoreRelease { size, .. } => match size {
            Size::B => on!(AtomicU8, |n, r, at| n.store(r.get(at.src) as u8, Release)),
            Size::H => on!(AtomicU16, |n, r, at| n.store(r.get(at.src) as u16, Release)),
            Size::W => on!(AtomicU32, |n, r, at| n.store(r.get(at.src) as u32, Release)),
            Size::Dw => on!(AtomicU64, |n, r, at| n.store(r.get(at.src), Release)),
        },
        _ => return None,
    })
}

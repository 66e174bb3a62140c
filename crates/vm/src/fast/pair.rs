//! Two instructions under one number.
//!
//! Finding out what to do next costs more than most instructions do. So a step whose instruction is
//! common, and is followed by one that is, has the number of both, and performs both. The second step
//! stays what it was: who jumps there finds it whole. The second often works on what the first has
//! just computed; where the numbers say so, the value stays in a register of the machine.

use std::marker::PhantomData;

use super::instruction::*;
use super::step::{Registers, Step, number};

/// Which field of the second instruction is the first one's result.
pub(super) const NEITHER: u16 = 0;
/// `dst`.
pub(super) const DST: u16 = 1;
/// `src`.
pub(super) const SRC: u16 = 2;

/// An instruction that is common enough.
pub(super) trait Common: Instruction {
    /// Its place among them.
    const INDEX: u16;
}

/// Both, one after the other.
pub(super) struct Pair<A, B>(PhantomData<(A, B)>);

impl<A: Common, B: Common> Pair<A, B> {
    /// The number of the pair when the second works on something else.
    pub(super) const NEITHER: u16 = code_of(A::INDEX, B::INDEX, NEITHER);
    /// The number of the pair when `dst` of both is one register.
    pub(super) const DST: u16 = code_of(A::INDEX, B::INDEX, DST);
    /// The number of the pair when `src` of the second is `dst` of the first.
    pub(super) const SRC: u16 = code_of(A::INDEX, B::INDEX, SRC);

    /// Performs both; gives the next step.
    ///
    /// # Safety
    ///
    /// As [`Instruction::perform`]; the two instructions stand at `at`, and `LINK` is true of them.
    #[inline(always)]
    pub(super) unsafe fn perform<const LINK: u16>(
        registers: &mut Registers,
        at: *const Step,
    ) -> *const Step {
        // SAFETY: a first step of a pair is never the last of the program; the rest is the caller's.
        unsafe {
            let (first, mut second) = ((*at).fields, (*at.add(1)).fields);
            if A::perform(registers, first) {
                return at.byte_offset(first.off as isize);
            }
            match LINK {
                DST => second.dst = first.dst,
                SRC => second.src = first.dst,
                _ => {}
            }
            if B::perform(registers, second) {
                return at.add(1).byte_offset(second.off as isize);
            }
            at.add(2)
        }
    }
}

const fn code_of(first: u16, second: u16, link: u16) -> u16 {
    number::FIRST_PAIR + (first * COMMON + second) * 3 + link
}

macro_rules! define {
    (producers: $($producer:ident)*; others: $($other:ident)*;) => {
        #[repr(u16)]
        enum Index {
            $($producer,)*
            $($other,)*
            End,
        }

        const COMMON: u16 = Index::End as u16;

        $(impl Common for $producer { const INDEX: u16 = Index::$producer as u16; })*
        $(impl Common for $other { const INDEX: u16 = Index::$other as u16; })*

        /// Its place among the common instructions, and whether it computes something.
        fn index(code: u16) -> Option<(u16, bool)> {
            match code {
                $($producer::CODE => Some(($producer::INDEX, true)),)*
                $($other::CODE => Some(($other::INDEX, false)),)*
                _ => None,
            }
        }
    };
}

/// Hands the common instructions to a macro: those that compute something, and the others.
macro_rules! common {
    ($then:ident $($state:tt)*) => {
        $then! {
            $($state)*
            producers:
                MovX AddX AddK AndK OrX XorX LshK RshK
                Mov32X Add32X Add32K And32K Xor32X
                LdB LdH LdW LdDw;
            others:
                StXB StXDw
                JneX JltX JeqK JneK JgtK
                Jeq32K Jne32K;
        }
    };
}
pub(super) use common;
common!(define);

/// The number of the pair that these steps make, if they are to be one.
pub(super) fn code(first: &Step, second: &Step) -> Option<u16> {
    let ((a, true), (b, _)) = (index(first.code)?, index(second.code)?) else { return None };
    let link = if first.fields.dst == second.fields.dst {
        DST
    } else if first.fields.dst == second.fields.src {
        SRC
    } else {
        NEITHER
    };
    Some(code_of(a, b, link))
}

//! The loop.

use std::mem::{MaybeUninit, transmute};
use std::ptr::with_exposed_provenance;

use bombus_platform::MAX_STACK;

use super::instruction::*;
use super::pair::{self, Pair, common};
use super::step::{Fields, NO_REGISTER, Registers, Step, Steps, number};
use super::{atomic, enter};
use crate::MAX_FRAMES;
use crate::MAX_LOOPS;
use crate::native::{Environment, NativeHelper};

/// What a call leaves behind.
struct Frame {
    /// `r6` to `r9`, and the frame pointer.
    registers: [u64; 5],
    back: *const Step,
    loops: u32,
}

/// Stack memory of a run.
#[repr(align(16))]
struct Stack(MaybeUninit<[[u8; MAX_STACK]; MAX_FRAMES]>);

/// An exit, for functions that end otherwise.
static RETURN: Step = Step {
    code: number::EXIT,
    fields: Fields { dst: NO_REGISTER, src: NO_REGISTER, off: 0, imm: 0 },
};

/// Makes the pairs of the common instructions, the first of which computes something, and calls
/// `$then` with the table's instructions and with the pairs.
macro_rules! pairs {
    ($then:ident $table:tt producers: $($a:ident)*; others: $($b:ident)*;) => {
        pairs! { @ $then $table [$($a)* $($b)*] [] [$($a)*] }
    };
    (@ $then:ident $table:tt [$($b:ident)*] [$($done:ident)*] [$a:ident $($more:ident)*]) => {
        pairs! { @ $then $table [$($b)*] [$($done)* $($a $b)*] [$($more)*] }
    };
    (@ $then:ident $table:tt $all:tt $done:tt []) => {
        $then! { $table $done }
    };
}

/// Defines the loop with an arm for each instruction of the table and each pair.
macro_rules! define {
    ($($name:ident = $shape:ident($($part:tt),*),)*) => {
        common! { pairs define_loop [$($name)*] }
    };
}

macro_rules! define_loop {
    ([$($name:ident)*] [$($a:ident $b:ident)*]) => {
        /// Runs a function from the step with number `first` until it returns.
        ///
        /// # Safety
        ///
        /// As [`super::FastProgram::run`].
        pub(super) unsafe fn execute(
            program: &Steps,
            first: usize,
            args: &[u64; 5],
            env: &mut Environment,
        ) -> u64 {
            // Neither the stack nor the frames are cleared.
            let mut stack = Stack(MaybeUninit::uninit());
            let mut frames = [const { MaybeUninit::<Frame>::uninit() }; MAX_FRAMES - 1];
            let mut depth = 0;
            let mut loops = MAX_LOOPS;
            let mut registers = Registers([0; _]);
            registers.0[1..6].copy_from_slice(args);
            registers.0[10] = stack.0.as_mut_ptr().expose_provenance() as u64 + MAX_STACK as u64;
            // SAFETY: the caller vouches for what the program does with addresses; `translate` has
            // put a step wherever it goes on or jumps to.
            unsafe {
                let mut at = program.first().add(first);
                loop {
                    match (*at).code {
                        $($name::CODE => at = single::<$name>(&mut registers, at),)*
                        $(
                            Pair::<$a, $b>::NEITHER => {
                                at = Pair::<$a, $b>::perform::<{ pair::NEITHER }>(&mut registers, at);
                            }
                            Pair::<$a, $b>::DST => {
                                at = Pair::<$a, $b>::perform::<{ pair::DST }>(&mut registers, at);
                            }
                            Pair::<$a, $b>::SRC => {
                                at = Pair::<$a, $b>::perform::<{ pair::SRC }>(&mut registers, at);
                            }
                        )*
                        number::HELPER => {
                            registers.0[0] = call((*at).fields.imm, &registers, env);
                            at = at.add(1);
                        }
                        number::ELEMENT => {
                            registers.0[0] = element(registers.0[2], (*at).fields, (*at.add(1)).fields);
                            at = at.add(2);
                        }
                        number::CALL => {
                            let Some(frame) = frames.get_mut(depth) else { return 0 };
                            let saved = [6, 7, 8, 9, 10].map(|number| registers.0[number]);
                            frame.write(Frame { registers: saved, back: at.add(1), loops });
                            depth += 1;
                            registers.0[10] += MAX_STACK as u64;
                            loops = MAX_LOOPS;
                            at = at.byte_offset((*at).fields.off as isize);
                        }
                        number::EXIT => {
                            if depth == 0 {
                                return registers.0[0];
                            }
                            depth -= 1;
                            let frame = frames.get_unchecked(depth).assume_init_ref();
                            registers.0[6..11].copy_from_slice(&frame.registers);
                            (at, loops) = (frame.back, frame.loops);
                        }
                        number::MAY_GOTO => match loops.checked_sub(1) {
                            Some(left) => {
                                loops = left;
                                at = at.add(1);
                            }
                            None => at = at.byte_offset((*at).fields.off as isize),
                        },
                        number::ATOMIC => {
                            let perform = transmute::<i64, atomic::Perform>((*at).fields.imm);
                            perform(&mut registers, (*at).fields);
                            at = at.add(1);
                        }
                        number::LOAD_PACKET => {
                            registers.0[0] = load_packet((*at).fields, &registers, env);
                            at = at.add(1);
                            if (registers.0[0] as i64) < 0 {
                                registers.0[0] = 0;
                                at = &raw const RETURN;
                            }
                        }
                        number::TAIL_CALL => match call((*at).fields.imm, &registers, env) {
                            0 => {
                                registers.0[0] = 0;
                                at = at.add(1);
                            }
                            entry if depth == 0 => {
                                let next = with_exposed_provenance::<Steps>(entry as usize);
                                env.interpreter = Some((super::call_back, next.cast()));
                                at = (*next).first();
                                loops = MAX_LOOPS;
                            }
                            // The function that called this one is to go on in this program.
                            entry => {
                                let next = with_exposed_provenance::<Steps>(entry as usize);
                                let context = [registers.0[1], 0, 0, 0, 0];
                                registers.0[0] = enter(&*next, 0, &context, env);
                                at = &raw const RETURN;
                            }
                        },
                        // `translate` writes no other number.
                        _ => std::hint::unreachable_unchecked(),
                    }
                }
            }
        }
    };
}
instructions!(define);

/// Performs one instruction; gives the next step.
///
/// # Safety
///
/// As [`Instruction::perform`]; the instruction stands at `at`.
#[inline(always)]
unsafe fn single<I: Instruction>(registers: &mut Registers, at: *const Step) -> *const Step {
    // SAFETY: as this function's; the last step of a program does not go on.
    unsafe {
        let fields = (*at).fields;
        if I::perform(registers, fields) { at.byte_offset(fields.off as isize) } else { at.add(1) }
    }
}

/// Calls a helper with `r1` to `r5`.
///
/// # Safety
///
/// As [`NativeHelper`]; `function` is one.
#[inline(always)]
unsafe fn call(function: i64, registers: &Registers, env: &mut Environment) -> u64 {
    let [_, a, b, c, d, e, ..] = registers.0;
    // SAFETY: `translate` put a helper there; the arguments are the caller's matter.
    unsafe {
        let helper =
            transmute::<*const (), NativeHelper>(with_exposed_provenance(function as usize));
        helper(a, b, c, d, e, env)
    }
}

/// Has a number of the packet loaded, for the context in `r6`.
///
/// # Safety
///
/// `imm` is what [`crate::native::Linker::load_packet`] gave, `r6` what it takes.
#[inline(always)]
unsafe fn load_packet(fields: Fields, registers: &Registers, env: &mut Environment) -> u64 {
    let offset = (fields.off as u64).wrapping_add(registers.get(fields.src));
    // SAFETY: as this function's.
    unsafe {
        let helper =
            transmute::<*const (), NativeHelper>(with_exposed_provenance(fields.imm as usize));
        helper(registers.0[6], offset, fields.dst.into(), 0, 0, env)
    }
}

/// The address of the element whose index stands at `key`, or 0.
///
/// # Safety
///
/// There must be four bytes to read at `key`.
#[inline(always)]
unsafe fn element(key: u64, array: Fields, more: Fields) -> u64 {
    // SAFETY: the caller's.
    let index = unsafe { with_exposed_provenance::<u32>(key as usize).read_unaligned() };
    if index < more.off as u32 {
        (array.imm as u64).wrapping_add(u64::from(index).wrapping_mul(more.imm as u64))
    } else {
        0
    }
}

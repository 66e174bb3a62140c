//! The fast interpreter: runs proved programs on addresses of this process, and checks nothing.
//!
//! A program is translated into steps of fixed size ([`step`]), each with a number that says what to
//! do; two neighbours that are common together become one number, so that they cost one indirect jump
//! ([`pair`]). What the numbers mean stands in one table ([`instruction`]), which leads every one of
//! them back to [`crate::semantics`].

#![allow(unsafe_code, reason = "runs programs that hold addresses")]

mod atomic;
mod execute;
mod instruction;
mod pair;
mod step;
mod translate;

use std::ffi::c_void;

use crate::native::{Environment, LinkError, Linker};
use crate::{Program, address};
use step::Steps;

/// A program, translated for the fast interpreter.
#[derive(Debug)]
pub struct FastProgram {
    /// Boxed, because its address is what tail calls and callbacks know the program by.
    steps: Box<Steps>,
}

impl FastProgram {
    /// Translates a program. The linker's functions become part of it.
    pub fn compile(program: &Program, linker: &dyn Linker) -> Result<FastProgram, LinkError> {
        Ok(FastProgram { steps: Box::new(translate::translate(program, linker)?) })
    }

    /// Runs the program from its first instruction to its end; gives `r0`. `args` are `r1` to `r5`.
    ///
    /// More than [`crate::MAX_FRAMES`] nested functions, which no proved program has, end the run
    /// with 0.
    ///
    /// # Safety
    ///
    /// Somebody must have proved that the program, started with these arguments, only touches memory
    /// that it may touch, hands helpers what they take, and ends. What it tail-calls must still be
    /// there.
    pub unsafe fn run(&self, args: [u64; 5], env: &mut Environment) -> u64 {
        // SAFETY: the caller vouches for the program; the steps were made by `translate`.
        unsafe { enter(&self.steps, 0, &args, env) }
    }

    /// What a [`crate::native::Callee::TailCall`] function gives for this program. Valid as long as
    /// the program is there.
    pub fn entry(&self) -> u64 {
        std::ptr::from_ref::<Steps>(&self.steps).expose_provenance() as u64
    }
}

/// Runs a function of a program, with the environment's callbacks going to this program meanwhile.
///
/// # Safety
///
/// As [`FastProgram::run`]; `first` is the number of a function's first step.
unsafe fn enter(steps: &Steps, first: usize, args: &[u64; 5], env: &mut Environment) -> u64 {
    let before = env.interpreter.replace((call_back, std::ptr::from_ref(steps).cast()));
    // SAFETY: as this function's.
    let value = unsafe { execute::execute(steps, first, args, env) };
    env.interpreter = before;
    value
}

/// What [`Environment::call_back`] calls.
///
/// # Safety
///
/// As [`FastProgram::run`]; `program` comes from [`enter`], and `first` from [`function_number`].
unsafe fn call_back(
    program: *const c_void,
    first: u64,
    args: &[u64; 5],
    env: &mut Environment,
) -> u64 {
    // SAFETY: `enter` put the address of a program there that runs right now.
    unsafe { enter(&*program.cast::<Steps>(), first as usize, args, env) }
}

/// What a program gets for one of its functions: the number of its first step, dressed as the
/// checked interpreter's addresses of functions are.
fn function_number(first: usize) -> u64 {
    address::pack(address::CODE, first as u64)
}

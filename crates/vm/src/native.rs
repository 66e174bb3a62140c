//! What the fast engines share: programs that hold addresses of this process.
//!
//! The fast interpreter and machine code check nothing. They are
//! for programs that somebody has proved safe: a pointer that such a program follows is a pointer.
//! Helpers are plain functions in the C calling convention, with what surrounds the program as sixth
//! argument, so that machine code calls them without moving a register.
//!
//! Functions of the program (`ld_imm64` with [`bombus_isa::Imm64::Func`], for helpers that take
//! callbacks) are opaque numbers; [`Environment::call_back`] calls them, whichever engine runs.

#![allow(unsafe_code, reason = "calls what programs hand over as functions")]

use std::ffi::c_void;
use std::fmt;

use crate::address;

/// A helper: gets `r1` to `r5`, gives `r0`.
///
/// # Safety
///
/// The arguments must be what the helper takes, which the verifier has proved.
pub type NativeHelper = unsafe extern "C" fn(u64, u64, u64, u64, u64, &mut Environment) -> u64;

/// What a run has beside its context. Helpers may do with it as they like; machine code only hands it
/// on.
#[repr(C)]
#[derive(Debug)]
pub struct Environment {
    /// The owner's own, for its helpers.
    pub host: *mut c_void,
    /// Tail calls that are left (33 at the start: `MAX_TAIL_CALL_CNT`, `include/linux/bpf.h`).
    pub tail_calls: u32,
    /// The function that calls functions of the program that runs in the interpreter, and the
    /// program. (A program in machine code gives helpers plain addresses.)
    pub(crate) interpreter: Option<(Interpret, *const c_void)>,
}

/// Calls a function of an interpreted program by the number that the interpreter gave it.
pub(crate) type Interpret =
    unsafe fn(*const c_void, function: u64, args: &[u64; 5], &mut Environment) -> u64;

impl Environment {
    /// The surroundings of one run.
    pub fn new(host: *mut c_void) -> Environment {
        let tail_calls = bombus_platform::MAX_TAIL_CALLS;
        Environment { host, tail_calls, interpreter: None }
    }

    /// Calls a function of the program, for helpers that take callbacks; gives its `r0`.
    ///
    /// # Safety
    ///
    /// `function` must be what the program that is running right now was given for one of its
    /// functions, and the arguments what the function takes.
    pub unsafe fn call_back(&mut self, function: u64, args: [u64; 5]) -> u64 {
        match self.interpreter {
            Some((interpret, program)) => {
                // SAFETY: the interpreter has set both, and the caller vouches for the function.
                unsafe { interpret(program, address::offset(function), &args, self) }
            }
            None => {
                let [a, b, c, d, e] = args;
                // SAFETY: machine code gives addresses of entries in this very convention.
                unsafe {
                    let function = std::mem::transmute::<usize, NativeHelper>(function as usize);
                    function(a, b, c, d, e, self)
                }
            }
        }
    }

    /// Takes one of the run's tail calls; false when it has had them all.
    pub fn take_tail_call(&mut self) -> bool {
        let left = self.tail_calls.checked_sub(1);
        self.tail_calls = left.unwrap_or(0);
        left.is_some()
    }
}

/// What a `call` of a helper becomes.
#[derive(Clone, Copy, Debug)]
pub enum Callee {
    /// A call of this function.
    Helper(NativeHelper),
    /// `bpf_tail_call(ctx, map, index)`. This function finds the program to go on with: it gets the
    /// same arguments and gives the address of the program's entry in the
    /// engine that runs, or 0 to go on with the next instruction.
    TailCall(NativeHelper),
}

/// What a look-up in a map that is known when the program is compiled becomes.
#[derive(Clone, Copy, Debug)]
pub enum Lookup {
    /// An array: the element's address is computed in line.
    Array {
        /// Address of the first element.
        base: u64,
        /// Bytes from one element to the next.
        stride: u32,
        /// Elements.
        len: u32,
    },
    /// A call of this function in place of the helper, with the same arguments.
    Function(NativeHelper),
}

/// What a program is linked with. Asked while a program is compiled, never while it runs.
pub trait Linker {
    /// What a helper's number stands for.
    fn helper(&self, id: i32) -> Option<Callee>;

    /// What loads a number of the packet, for legacy packet access. It gets what the program has in
    /// `r6`, the offset (its lower 32 bits count) and how many bytes: 1, 2 or 4. It gives the number
    /// in host byte order; a negative one ends the function with 0.
    fn load_packet(&self) -> Option<NativeHelper> {
        None
    }

    /// A quicker way than the helper to look up elements of the map at this address, if there is
    /// one.
    fn lookup(&self, map: u64) -> Option<Lookup> {
        let _ = map;
        None
    }
}

/// Why a program cannot be linked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkError {
    /// It calls a helper that the linker does not have.
    UnknownHelper {
        /// Slot of the call.
        pc: usize,
        /// The helper's number.
        id: i32,
    },
    /// It has an instruction that the engine does not have.
    Unsupported {
        /// Slot of the instruction.
        pc: usize,
    },
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LinkError::UnknownHelper { pc, id } => {
                write!(f, "insn {pc}: invalid func unknown#{id}")
            }
            LinkError::Unsupported { pc } => {
                write!(f, "insn {pc}: this instruction is not supported")
            }
        }
    }
}

impl std::error::Error for LinkError {}

/// No helpers, no maps.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unlinked;

impl Linker for Unlinked {
    fn helper(&self, _: i32) -> Option<Callee> {
        None
    }
}

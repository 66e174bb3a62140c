//! Guarded machine code: what the checked interpreter does, compiled.
//!
//! Programs hold the same guest addresses as in the interpreter, and every access is checked. What
//! can be known beforehand is checked when the program is compiled ([`facts`]): that a register holds
//! something, that an access through the frame pointer stays in the frame. Other accesses look
//! through two windows, in a few instructions: memory that the host says programs look at (a packet,
//! the context, the element of a map that was used last). Where somebody has proved that an access stays inside
//! ([`Proven`]) nothing is looked at: all that is needed is how far host addresses are from guest
//! addresses, which is the same for the whole packet, stack or table. What is seen through neither is left to
//! the interpreter's own functions, as calls of helpers are; so nothing is written twice, and runs
//! stop where and why they stop there. Helpers that look up a key of the frame in a table that the
//! program names are called with less ado ([`Tables`]): they cannot stop the run, and only move the
//! second window.
//!
//! Programs that nobody has proved are as safe here as there. Those with something that there is no
//! code for (a register that holds something on one path only and is read all the same; tail calls
//! of functions) stay with the interpreter.

mod environment;
mod facts;
mod proven;
mod tables;
mod view;

use std::rc::Rc;

use bombus_isa::Op;
use bombus_platform::MAX_STACK;

use super::memory::CodeMemory;
use super::x64::X64;
use crate::address::{self, STACK};
use crate::{Execution, Host, Program, Trap, TrapKind};
pub(crate) use environment::{
    End, Environment, MAX_BLOCKS, OUT_OF_FUEL, Pair, Pane, Place, Reached, Run, STOPPED,
    TOO_MANY_FRAMES, UNSET, Wanted, Windows,
};
pub(crate) use facts::{Facts, Registers, Step, Value, jump};
pub use proven::{Block, Known, Layout, Proven};
pub use tables::{Lookup, Tables};
pub(crate) use view::Parts;
pub use view::View;

/// There is no guarded code for a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct NotTaken;

/// What a program is compiled for.
#[derive(Clone, Copy)]
pub struct Guests<'a> {
    /// How many arguments it is given: `r1` is the context, if there is one.
    pub args: usize,
    /// Whether a program may read so many bytes at an offset of the context as they are, if the host
    /// shows them ([`View::fields`]).
    pub field: &'a dyn Fn(u64, usize) -> bool,
    /// What a helper does that is given a number of the program's in `r1`, if it is a look-up in what
    /// the host shows ([`View::tables`]).
    pub lookup: &'a dyn Fn(i32, u64) -> Option<Lookup>,
    /// Whether a helper may go on as another program.
    pub may_tail_call: &'a dyn Fn(i32) -> bool,
    /// What need not be checked, when somebody has proved the program.
    pub proven: Option<Proven<'a>>,
}

impl Guests<'_> {
    /// What is known of the instruction in a slot.
    pub(crate) fn known(&self, pc: usize) -> Known {
        self.proven.map_or(Known::Nothing, |proven| (proven.known)(pc))
    }
}

/// A program in guarded machine code.
#[derive(Debug)]
pub(crate) struct GuardedCode {
    code: CodeMemory,
    args: usize,
    /// What the bytes do not say.
    reach: Reach,
}

/// What guarded code uses without asking.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    /// Bytes of the context that it reads.
    pub(crate) fields: usize,
    /// Whether it makes look-ups.
    pub(crate) tables: bool,
    /// Tables whose elements it reaches by itself.
    pub(crate) blocks: Vec<Reached>,
    /// Which windows it looks through.
    pub(crate) windows: Windows,
    /// Whether it reaches what the program is about by itself.
    pub(crate) subject: bool,
    /// Where in the first frame it begins to write.
    pub(crate) frame: usize,
    /// What of it the host must show.
    pub(crate) needs: Parts,
}

/// The entry: `r1` to `r5`, and the environment.
type Entry = unsafe extern "C" fn(u64, u64, u64, u64, u64, *mut Environment) -> Pair;

/// How a run ended.
pub(crate) enum Ended {
    Value(u64),
    /// The program to go on with, and its context.
    TailCall(Rc<Program>, u64),
}

impl GuardedCode {
    pub(crate) fn compile(program: &Program, guests: &Guests<'_>) -> Result<GuardedCode, NotTaken> {
        // (A packet access can end the function, for which there is no code here.)
        let without_code = |op: &Op| {
            matches!(op, Op::LoadPacket { .. } | Op::AddrSpaceCast { .. } | Op::GotoRegister { .. })
        };
        let has_all = !program.ops().iter().any(without_code);
        if !cfg!(target_arch = "x86_64") || !(1..=5).contains(&guests.args) || !has_all {
            return Err(NotTaken);
        }
        let facts = Facts::new(program, guests)?;
        let (bytes, mut reach) = X64::of_this_machine().emit_guarded(program, &facts, guests);
        reach.needs = Parts::needed(&reach);
        // It has no addresses in it.
        let code = CodeMemory::place(|_| bytes.clone()).map_err(|_| NotTaken)?;
        Ok(GuardedCode { code, args: guests.args, reach })
    }

    /// How many arguments it takes.
    pub(crate) fn args(&self) -> usize {
        self.args
    }

    /// Runs it as the outermost function; `None`: the host does not show what it wants to see.
    ///
    /// `again`: the last thing that was done with this stack was a run of this code to its end, and all
    /// that the host showed then is still there, but for what the program is about.
    #[inline(always)]
    pub(crate) fn run<H: Host>(
        &self,
        execution: &mut Execution<'_>,
        program: &Rc<Program>,
        args: &[u64],
        host: &mut H,
        again: bool,
    ) -> Option<Result<Ended, Trap>> {
        let fuel = execution.fuel;
        let (stack, environment) = execution.open_first_frame(self.reach.frame);
        let wanted = Wanted { context: args[0], reach: &self.reach, has_elements: false };
        let mut run = Run { execution, program, host, wanted, end: None };
        {
            // SAFETY: it is the execution's, which does not use it.
            let environment = unsafe { &mut *environment };
            let stack = stack.expose_provenance() as u64;
            environment.fuel = fuel;
            environment.depth = 1;
            if !again {
                environment.frames = stack.wrapping_sub(address::pack(STACK, 0));
                environment.stack_distance = address::pack(STACK, 0).wrapping_sub(stack);
                environment.frame = stack + MAX_STACK as u64;
                environment.call = environment::call::<H> as *const () as u64;
                environment.access = environment::access::<H> as *const () as u64;
            }
            environment.run = (&raw mut run).cast();
            let is_shown = again && run.look_at_subject(environment);
            if !is_shown && !run.look(environment, 0) {
                run.execution.depth = 0;
                return None;
            }
        }
        // (Not through an array: it would be read before it is written.)
        let arg = |index: usize| args.get(index).copied().unwrap_or(0);
        // SAFETY: the code was made for this convention and is alive as long as `self`. It reads and
        // writes the environment, the open frames of the stack, and what the windows and fields
        // show: these are borrowed from the execution and the host, which `run` holds, and are
        // looked at anew whenever one of the two was used.
        let Pair(value, status) = unsafe {
            let entry = std::mem::transmute::<usize, Entry>(self.code.address() as usize);
            entry(arg(0), arg(1), arg(2), arg(3), arg(4), environment)
        };
        // SAFETY: as above; the code has come back.
        run.execution.fuel = unsafe { (*environment).fuel };
        run.execution.depth = 0;
        Some(if status == 0 {
            Ok(Ended::Value(value))
        } else {
            ended(program, value, status, run.end)
        })
    }
}

/// How a run ended that did not come to its `exit`.
#[cold]
fn ended(program: &Program, value: u64, status: u64, end: Option<End>) -> Result<Ended, Trap> {
    let trap = |kind| Err(Trap { program: program.id(), pc: value as usize, kind });
    match (status, end) {
        (OUT_OF_FUEL, _) => trap(TrapKind::OutOfFuel),
        (TOO_MANY_FRAMES, _) => trap(TrapKind::TooManyFrames),
        (_, Some(End::Trap(trap))) => Err(trap),
        (_, Some(End::TailCall(next, context))) => Ok(Ended::TailCall(next, context)),
        (unset, None) => trap(TrapKind::UninitializedRegister(unset.wrapping_sub(UNSET) as u8)),
    }
}

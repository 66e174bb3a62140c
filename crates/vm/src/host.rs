//! What surrounds a program: helpers, and memory that is neither stack nor context.

use std::rc::Rc;

use bombus_isa::Size;

use crate::address::FRAME_STRIDE;
use crate::{Execution, Program, TrapKind, View};

/// A call of a helper.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The helper's number.
    pub helper: i32,
    /// `r1` to `r5`. Registers that hold nothing come as 0.
    pub args: [u64; 5],
    /// The caller; callbacks run in it.
    pub program: &'a Rc<Program>,
}

/// What a helper gives.
#[derive(Clone, Debug)]
pub enum Return {
    /// `r0`.
    Value(u64),
    /// The program goes on as this one, with the context in `r1` that the call had there.
    TailCall(Rc<Program>),
}

/// Where a run of the interpreter is: before an instruction.
#[derive(Clone, Copy, Debug)]
pub struct Step<'a> {
    /// The slot of the instruction.
    pub slot: usize,
    /// The registers of the function that is running.
    pub registers: &'a [u64],
    /// Which of them hold something, a bit each.
    pub set: u16,
    /// The stack frames that are open, the innermost last; the frame pointer of each stands
    /// [`MAX_STACK`](bombus_platform::MAX_STACK) bytes after its start.
    pub frames: &'a [[u8; FRAME_STRIDE as usize]],
}

/// What surrounds a program. What a host does not say is not there.
pub trait Host {
    /// Performs a helper call. `execution` is the way to the caller's stack and context, and to its
    /// functions.
    fn call(&mut self, execution: &mut Execution<'_>, call: &Call<'_>) -> Result<Return, TrapKind> {
        let _ = execution;
        Err(TrapKind::UnknownHelper(call.helper))
    }

    /// The interpreter is about to do an instruction. Machine code does not say.
    #[inline(always)]
    fn follow(&mut self, step: &Step<'_>) {
        let _ = step;
    }

    /// The `len` bytes at a guest address in one of the host's regions, for reading.
    fn memory(&mut self, address: u64, len: usize) -> Option<&[u8]> {
        let _ = (address, len);
        None
    }

    /// The same for writing.
    fn memory_mut(&mut self, address: u64, len: usize) -> Option<&mut [u8]> {
        let _ = (address, len);
        None
    }

    /// Shows memory that may be used without asking; `recent` is what a helper just gave, or an
    /// address that was just asked for.
    #[inline]
    fn show<'a>(&'a mut self, recent: u64, view: &mut View<'_, 'a>) {
        let _ = (recent, view);
    }

    /// Shows what the program is about, and [the same tables](View::same_tables), when all else is as
    /// it was shown last; nothing: [`Host::show`] is asked. See [`Series`](crate::Series).
    #[inline]
    fn show_subject<'a>(&'a mut self, view: &mut View<'_, 'a>) {
        let _ = view;
    }

    /// A number of the packet, from network to host byte order, for legacy packet access (RFC 9669,
    /// section 5.5). `context` is what the program has in `r6`. `None`: the packet does not have
    /// these bytes, and the function ends with 0.
    ///
    /// Negative offsets count from headers, as in the kernel (`SKF_NET_OFF`, `SKF_LL_OFF`).
    fn load_packet(
        &mut self,
        execution: &Execution<'_>,
        context: u64,
        offset: i32,
        size: Size,
    ) -> Result<Option<u32>, TrapKind> {
        let _ = (execution, context, offset, size);
        Err(TrapKind::Unsupported)
    }
}

/// Nothing surrounds the program: it has its stack and its context.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Nothing;

impl Host for Nothing {}

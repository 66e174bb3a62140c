//! What guarded machine code has in reach, and the way back to the host.

use std::ffi::c_void;
use std::mem::offset_of;
use std::rc::Rc;

use bombus_isa::{Op, Size};

use super::Reach;
use super::view::View;
use crate::{Call, Context, Execution, Host, Program, Return, Trap, TrapKind};

/// A window in the form that machine code looks into: an access of a size may start at up to so many
/// bytes from the start, less one.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Pane {
    /// Guest address.
    pub(crate) start: u64,
    /// Where it is.
    host: u64,
    /// By size: 1, 2, 4, 8 bytes.
    readable: [u64; 4],
    writable: [u64; 4],
    len: usize,
    is_writable: bool,
}

/// Where some memory starts, for machine code.
#[inline]
pub(crate) fn start(bytes: &Context<'_>) -> u64 {
    let start = match bytes {
        Context::ReadOnly(bytes) => bytes.as_ptr(),
        Context::Writable(bytes) => bytes.as_ptr(),
    };
    start.expose_provenance() as u64
}

impl Pane {
    /// Shows some memory.
    #[inline]
    pub(crate) fn show(&mut self, address: u64, bytes: Context<'_>) {
        let (start, len, is_writable) = match bytes {
            Context::ReadOnly(bytes) => (bytes.as_ptr().cast_mut(), bytes.len(), false),
            Context::Writable(bytes) => (bytes.as_mut_ptr(), bytes.len(), true),
        };
        (self.start, self.host) = (address, start.expose_provenance() as u64);
        if (len, is_writable) != (self.len, self.is_writable) {
            (self.len, self.is_writable) = (len, is_writable);
            let len = len as u64;
            let limits = [len, len.saturating_sub(1), len.saturating_sub(3), len.saturating_sub(7)];
            self.readable = limits;
            self.writable = if is_writable { limits } else { [0; 4] };
        }
    }

    /// Shows nothing. (Whether something was shown before nobody can foretell: it is not looked at.)
    #[inline]
    pub(super) fn hide(&mut self) {
        *self = Pane::default();
    }

    /// Offset of the host's address.
    pub(crate) const HOST: usize = offset_of!(Pane, host);

    /// Offset of the limit for accesses.
    pub(crate) const fn limit(size: Size, writes: bool) -> usize {
        let limits = if writes { offset_of!(Pane, writable) } else { offset_of!(Pane, readable) };
        let index = match size {
            Size::B => 0,
            Size::H => 1,
            Size::W => 2,
            Size::Dw => 3,
        };
        limits + 8 * index
    }
}

/// Tables that code reaches by itself, at most.
pub(crate) const MAX_BLOCKS: usize = 8;

/// Windows that code looks through.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Windows {
    pub(crate) subject: bool,
    pub(crate) recent: bool,
}

/// A table that code reaches by itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reached {
    pub(crate) table: usize,
    /// Elements are found in line; or are where a look-up says.
    pub(crate) is_array: bool,
}

/// A [`Block`](super::Block), as machine code needs it.
#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Place {
    pub(crate) first: u64,
    /// Host addresses less guest addresses.
    pub(crate) distance: u64,
}

/// What machine code has in reach.
#[repr(C)]
#[derive(Clone, Debug)]
pub(crate) struct Environment {
    /// Instructions that are left.
    pub(crate) fuel: u64,
    /// Guest addresses of the stack less its own.
    pub(crate) stack_distance: u64,
    /// The other way round.
    pub(crate) frames: u64,
    /// Addresses in what the program is about, less guest addresses.
    pub(crate) distance: u64,
    /// The tables that code reaches by itself.
    pub(crate) blocks: [Place; MAX_BLOCKS],
    /// Where the first frame ends.
    pub(crate) frame: u64,
    /// The native stack at the start, for the way out.
    pub(crate) native_stack: u64,
    /// What `r1` points to, where its fields can be read as they are.
    pub(crate) fields: u64,
    /// [`call`] and [`access`] for the host of the run.
    pub(crate) call: u64,
    pub(crate) access: u64,
    /// The tables that the host shows, and [`look_up`](super::tables::look_up) for them.
    pub(crate) tables: *mut c_void,
    pub(crate) look_up: u64,
    /// Frames that are open.
    pub(crate) depth: u64,
    /// What the program is about.
    pub(crate) subject: Pane,
    /// What was used last beside it.
    pub(crate) recent: Pane,
    /// Slot of the call that is being made.
    pub(crate) pc: u64,
    /// The [`Run`].
    pub(crate) run: *mut c_void,
}

impl Default for Environment {
    fn default() -> Environment {
        Environment {
            fuel: 0,
            depth: 0,
            stack_distance: 0,
            frames: 0,
            distance: 0,
            blocks: [Place::default(); MAX_BLOCKS],
            frame: 0,
            native_stack: 0,
            fields: 0,
            call: 0,
            access: 0,
            tables: std::ptr::null_mut(),
            look_up: 0,
            subject: Pane::default(),
            recent: Pane::default(),
            pc: 0,
            run: std::ptr::null_mut(),
        }
    }
}

/// Two registers: a value, and why the run ended (0: it goes on, or ended as it should).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pair(pub(crate) u64, pub(crate) u64);

/// Why machine code came back before its end. The value is the slot, except for [`STOPPED`].
pub(crate) const OUT_OF_FUEL: u64 = 1;
pub(crate) const TOO_MANY_FRAMES: u64 = 2;
/// It is in [`Run::end`].
pub(crate) const STOPPED: u64 = 3;
/// This and a register's number: it held nothing.
pub(crate) const UNSET: u64 = 16;

/// How a run ended that did not come to its `exit`.
pub(crate) enum End {
    Trap(Trap),
    /// The program to go on with, and its context.
    TailCall(Rc<Program>, u64),
}

/// What code uses without asking, and a host must show.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'r> {
    /// Address of the context.
    pub(crate) context: u64,
    pub(crate) reach: &'r Reach,
    /// Whether the program may have elements of tables that it has looked up.
    pub(crate) has_elements: bool,
}

/// A run, as the functions that machine code calls see it.
pub(crate) struct Run<'r, 'a, H> {
    pub(crate) execution: &'r mut Execution<'a>,
    pub(crate) program: &'r Rc<Program>,
    pub(crate) host: &'r mut H,
    pub(crate) wanted: Wanted<'r>,
    pub(crate) end: Option<End>,
}

impl<H: Host> Run<'_, '_, H> {
    /// Brings the windows up to date, after the host may have moved things. False: what the code reads
    /// unasked is not there.
    #[inline(always)]
    pub(super) fn look(&mut self, environment: &mut Environment, recent: u64) -> bool {
        let mut view = View::new(environment, &self.wanted);
        self.host.show(recent, &mut view);
        view.finish(self.execution)
    }

    /// The same when only what the program is about may be another.
    #[inline(always)]
    pub(super) fn look_at_subject(&mut self, environment: &mut Environment) -> bool {
        let mut view = View::new(environment, &self.wanted);
        self.host.show_subject(&mut view);
        view.finish(self.execution)
    }

    /// The same in the middle of a run.
    #[inline(never)]
    fn look_again(&mut self, environment: &mut Environment, recent: u64) -> bool {
        self.wanted.has_elements = true;
        self.look(environment, recent)
    }

    /// Leaves the run: the trap is that of a callback, or happened here.
    #[cold]
    fn trap(&mut self, pc: u64, kind: TrapKind) -> Pair {
        let here = Trap { program: self.program.id(), pc: pc as usize, kind };
        let trap = self.execution.stopped_inside.take().unwrap_or(here);
        self.end = Some(End::Trap(trap));
        Pair(0, STOPPED)
    }

    #[inline]
    fn enter(&mut self, environment: &Environment) {
        self.execution.fuel = environment.fuel;
        self.execution.depth = environment.depth as usize;
    }
}

/// The environment of a run, and the run.
///
/// # Safety
///
/// It must be the environment of a run of this host's, whose code is waiting for the function that
/// asks.
#[inline]
unsafe fn both<'r, 'a, H>(
    environment: *mut Environment,
) -> (&'r mut Environment, &'r mut Run<'r, 'a, H>) {
    // SAFETY: the caller's: while the code waits, nobody else has the two.
    unsafe {
        let environment = &mut *environment;
        let run = &mut *environment.run.cast::<Run<'r, 'a, H>>();
        (environment, run)
    }
}

/// Calls a helper.
///
/// # Safety
///
/// As [`both`].
pub(super) unsafe extern "C" fn call<H: Host>(
    a: u64,
    b: u64,
    c: u64,
    d: u64,
    e: u64,
    environment: *mut Environment,
) -> Pair {
    // SAFETY: the caller's.
    let (environment, run) = unsafe { both::<H>(environment) };
    run.enter(environment);
    let pc = environment.pc;
    let Op::CallHelper { id } = run.program.ops()[pc as usize] else {
        return run.trap(pc, TrapKind::Unsupported);
    };
    let call = Call { helper: id, args: [a, b, c, d, e], program: run.program };
    match run.host.call(run.execution, &call) {
        Ok(Return::Value(value)) => {
            environment.fuel = run.execution.fuel;
            if run.look_again(environment, value) {
                Pair(value, 0)
            } else {
                run.trap(pc, TrapKind::Unsupported)
            }
        }
        // What was called goes on as another program and returns here: its compiler was told that
        // this does not happen.
        Ok(Return::TailCall(_)) if environment.depth > 1 => run.trap(pc, TrapKind::Unsupported),
        Ok(Return::TailCall(next)) => {
            environment.fuel = run.execution.fuel;
            run.end = Some(End::TailCall(next, a));
            Pair(0, STOPPED)
        }
        Err(kind) => run.trap(pc, kind),
    }
}

/// Carries out an instruction that accesses memory which is in no window; gives what it read.
///
/// # Safety
///
/// As [`both`].
pub(super) unsafe extern "C" fn access<H: Host>(
    environment: *mut Environment,
    address: u64,
    pc: u64,
    value: u64,
    expected: u64,
) -> Pair {
    // SAFETY: the caller's.
    let (environment, run) = unsafe { both::<H>(environment) };
    run.enter(environment);
    let op = run.program.ops()[pc as usize];
    match run.execution.access(run.host, op, address, value, expected) {
        Ok(value) => {
            if run.look_again(environment, address) {
                Pair(value, 0)
            } else {
                run.trap(pc, TrapKind::Unsupported)
            }
        }
        Err(kind) => run.trap(pc, kind),
    }
}

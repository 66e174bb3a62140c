//! The state of one run that outlives an instruction: stack, context, fuel.

use std::rc::Rc;

use bombus_platform::{MAX_STACK, MAX_TAIL_CALLS};

use crate::address::{self, CTX, FRAME_STRIDE, STACK};
use crate::interpreter::Args;
use crate::jit::guarded::{Ended, Environment};
use crate::{DEFAULT_FUEL, Host, MAX_FRAMES, Program, Trap, TrapKind};

/// Stack memory, kept between runs so that a run allocates nothing.
#[derive(Clone, Debug)]
pub struct Stack {
    /// As far apart as in guest addresses; only the first half is used.
    frames: Vec<[u8; FRAME_STRIDE as usize]>,
    /// From here on there may be something in the first frame.
    used: usize,
    /// One, for machine code.
    environment: Vec<Environment>,
}

impl Default for Stack {
    fn default() -> Stack {
        let frames = vec![[0; FRAME_STRIDE as usize]; MAX_FRAMES];
        Stack { frames, used: MAX_STACK, environment: vec![Environment::default()] }
    }
}

/// What `r1` points to when the program starts.
#[derive(Debug)]
pub enum Context<'a> {
    /// The program can only read it.
    ReadOnly(&'a [u8]),
    /// The program may change it.
    Writable(&'a mut [u8]),
}

impl Context<'_> {
    fn bytes(&self) -> &[u8] {
        match self {
            Context::ReadOnly(bytes) => bytes,
            Context::Writable(bytes) => bytes,
        }
    }
}

/// One run. Helpers get it to reach the memory and the functions of their caller.
#[derive(Debug)]
pub struct Execution<'a> {
    stack: &'a mut Stack,
    context: Context<'a>,
    /// Frames that are open.
    pub(crate) depth: usize,
    pub(crate) fuel: u64,
    /// Tail calls that are left.
    tail_calls: u32,
    /// What stopped the callback of a helper, until the helper's caller has noticed.
    pub(crate) stopped_inside: Option<Trap>,
}

impl<'a> Execution<'a> {
    /// A run that has not started.
    #[inline]
    pub fn new(stack: &'a mut Stack, context: Context<'a>) -> Execution<'a> {
        let (fuel, tail_calls) = (DEFAULT_FUEL, MAX_TAIL_CALLS);
        Execution { stack, context, depth: 0, fuel, tail_calls, stopped_inside: None }
    }

    /// Sets how many instructions the run may take. (Backward jumps are charged with the
    /// instructions that they jump over, which bounds the number of instructions executed.)
    pub fn with_fuel(mut self, fuel: u64) -> Execution<'a> {
        self.fuel = fuel;
        self
    }

    /// Runs a program from its first instruction to its end; gives `r0`. Second argument of the
    /// program is the context's length, which the kernel leaves undefined for most program types.
    pub fn run<H: Host>(&mut self, program: &Rc<Program>, host: &mut H) -> Result<u64, Trap> {
        let args = [address::pack(CTX, 0), self.context.bytes().len() as u64];
        self.run_with(program, &args, host)
    }

    /// The same with these arguments in `r1` and on.
    #[inline]
    pub fn run_with<H: Host>(
        &mut self,
        program: &Rc<Program>,
        args: &[u64],
        host: &mut H,
    ) -> Result<u64, Trap> {
        self.run_first(program, args, host, &mut false)
    }

    /// The same. Says whether the next one may be a run again: see [`GuardedCode::run`].
    pub(crate) fn run_first<H: Host>(
        &mut self,
        program: &Rc<Program>,
        args: &[u64],
        host: &mut H,
        again: &mut bool,
    ) -> Result<u64, Trap> {
        let depth = self.depth;
        let code = program.code().filter(|code| depth == 0 && code.args() == args.len());
        let result = match code.and_then(|code| code.run(self, program, args, host, false)) {
            Some(Ok(Ended::Value(value))) => {
                *again = true;
                return Ok(value);
            }
            Some(ended) => return self.go_on(ended, host),
            // The outermost function has a value, or traps.
            None => self.enter(program, 0, Args::new(args), host).map(Option::unwrap_or_default),
        };
        self.caught(result, depth)
    }

    /// Goes on after machine code that was the outermost function.
    #[cold]
    pub(crate) fn go_on<H: Host>(
        &mut self,
        ended: Result<Ended, Trap>,
        host: &mut H,
    ) -> Result<u64, Trap> {
        match ended {
            Ok(Ended::Value(value)) => Ok(value),
            Ok(Ended::TailCall(next, context)) => self.run_with(&next, &[context], host),
            Err(trap) => self.caught(Err(trap), 0),
        }
    }

    /// The value of a program that has thrown one.
    fn caught(&mut self, result: Result<u64, Trap>, depth: usize) -> Result<u64, Trap> {
        match result {
            Err(Trap { kind: TrapKind::Thrown(value), .. }) => {
                self.depth = depth;
                Ok(value)
            }
            result => result,
        }
    }

    /// Is as new.
    #[inline]
    pub(crate) fn restart(&mut self, fuel: u64) {
        (self.fuel, self.tail_calls) = (fuel, MAX_TAIL_CALLS);
        (self.depth, self.stopped_inside) = (0, None);
    }

    /// Calls a function of `program` by its guest address, for helpers that take callbacks.
    pub fn callback<H: Host>(
        &mut self,
        program: &Rc<Program>,
        function: u64,
        args: &[u64],
        host: &mut H,
    ) -> Result<u64, TrapKind> {
        let entry = program.function_at(function).ok_or(TrapKind::BadFunction(function))?;
        match self.enter(program, entry, Args::new(args), host) {
            Ok(value) => value.ok_or(TrapKind::UninitializedRegister(0)),
            Err(trap) => {
                let kind = trap.kind.clone();
                self.stopped_inside = Some(trap);
                Err(kind)
            }
        }
    }

    /// Calls a function of `program` by its guest address as the outermost one: what was put off.
    pub fn call<H: Host>(
        &mut self,
        program: &Rc<Program>,
        function: u64,
        args: &[u64],
        host: &mut H,
    ) -> Result<u64, Trap> {
        let trap = |kind| Trap { program: program.id(), pc: 0, kind };
        let entry = program.function_at(function);
        let entry = entry.ok_or_else(|| trap(TrapKind::BadFunction(function)))?;
        match self.enter(program, entry, Args::new(args), host) {
            Err(Trap { kind: TrapKind::Thrown(value), .. }) => {
                self.depth = 0;
                Ok(value)
            }
            result => Ok(result?.unwrap_or_default()),
        }
    }

    /// The `len` bytes at a guest address, wherever they are, for reading.
    #[inline]
    pub fn read<'b, H: Host>(
        &'b self,
        host: &'b mut H,
        address: u64,
        len: usize,
    ) -> Result<&'b [u8], TrapKind> {
        let offset = address::offset(address);
        let found = match address::region(address) {
            STACK => self.on_stack(address, len),
            CTX => usize::try_from(offset)
                .ok()
                .and_then(|at| self.context.bytes().get(at..at.checked_add(len)?)),
            _ => host.memory(address, len),
        };
        found.ok_or(TrapKind::BadRead { address, len })
    }

    /// The `len` bytes at a guest address, if that is on the stack.
    #[inline]
    pub fn on_stack(&self, address: u64, len: usize) -> Option<&[u8]> {
        let (frame, at) = slot(address::offset(address), len, self.depth)?;
        let found = self.stack.frames.get(frame)?.get(at..at + len);
        found.filter(|_| address::region(address) == STACK)
    }

    /// The `len` bytes at a guest address, wherever they are, for writing.
    #[inline]
    pub fn write<'b, H: Host>(
        &'b mut self,
        host: &'b mut H,
        address: u64,
        len: usize,
    ) -> Result<&'b mut [u8], TrapKind> {
        let offset = address::offset(address);
        let found = match address::region(address) {
            STACK => slot(offset, len, self.depth).and_then(|(frame, at)| {
                if frame == 0 {
                    self.stack.used = self.stack.used.min(at);
                }
                self.stack.frames.get_mut(frame)?.get_mut(at..at + len)
            }),
            CTX => match &mut self.context {
                Context::ReadOnly(_) => None,
                Context::Writable(bytes) => usize::try_from(offset)
                    .ok()
                    .and_then(|at| bytes.get_mut(at..at.checked_add(len)?)),
            },
            _ => host.memory_mut(address, len),
        };
        found.ok_or(TrapKind::BadWrite { address, len })
    }

    /// Takes one of the run's tail calls; false when it has had them all.
    pub fn take_tail_call(&mut self) -> bool {
        let left = self.tail_calls.checked_sub(1);
        self.tail_calls = left.unwrap_or(0);
        left.is_some()
    }

    /// Opens a frame of zeros; gives its frame pointer.
    pub(crate) fn push_frame(&mut self) -> Result<u64, TrapKind> {
        let frame = self.stack.frames.get_mut(self.depth).ok_or(TrapKind::TooManyFrames)?;
        if self.depth == 0 {
            self.stack.used = 0;
        }
        frame[..MAX_STACK].fill(0);
        self.depth += 1;
        Ok(address::pack(STACK, (self.depth as u64 - 1) * FRAME_STRIDE + MAX_STACK as u64))
    }

    /// The frames that are open, the innermost last.
    #[inline(always)]
    pub(crate) fn open_frames(&self) -> &[[u8; FRAME_STRIDE as usize]] {
        self.stack.frames.get(..self.depth).unwrap_or_default()
    }

    /// Opens the first frame for machine code that by itself writes from an offset on; gives where the
    /// frames start, and the environment.
    #[inline]
    pub(crate) fn open_first_frame(&mut self, writes_from: usize) -> (*mut u8, *mut Environment) {
        let Stack { frames, used, environment } = &mut *self.stack;
        // By blocks, which are a few instructions each.
        const BLOCK: usize = 64;
        if let Some(frame) = frames.first_mut() {
            let (blocks, _) = frame.as_chunks_mut::<BLOCK>();
            let used = blocks.get_mut(*used / BLOCK..MAX_STACK / BLOCK);
            if let Some([more @ .., last]) = used {
                *last = [0; BLOCK];
                // (Most do not use more, and a call takes its time.)
                if !more.is_empty() {
                    clear(more);
                }
            }
        }
        *used = writes_from;
        self.depth = 1;
        (frames.as_mut_ptr().cast(), environment.as_mut_ptr())
    }

    /// What `r1` points to when the program starts.
    pub(crate) fn context(&mut self) -> Context<'_> {
        match &mut self.context {
            Context::ReadOnly(bytes) => Context::ReadOnly(bytes),
            Context::Writable(bytes) => Context::Writable(bytes),
        }
    }

    /// Pays for `instructions`.
    #[inline]
    pub(crate) fn burn(&mut self, instructions: u64) -> Result<(), TrapKind> {
        self.fuel = self.fuel.checked_sub(instructions).ok_or(TrapKind::OutOfFuel)?;
        Ok(())
    }
}

#[cold]
fn clear<const N: usize>(blocks: &mut [[u8; N]]) {
    blocks.fill([0; N]);
}

/// Frame and position in it of a stack offset, when all `len` bytes lie in one open frame.
#[inline]
fn slot(offset: u64, len: usize, depth: usize) -> Option<(usize, usize)> {
    let (frame, at) = ((offset / FRAME_STRIDE) as usize, (offset % FRAME_STRIDE) as usize);
    let fits = frame < depth && len <= MAX_STACK && at + len <= MAX_STACK;
    fits.then_some((frame, at))
}

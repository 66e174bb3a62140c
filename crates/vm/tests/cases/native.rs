//! The engines that run programs on addresses of this process.

#![allow(unsafe_code, reason = "they are told that the cases are sound")]

use std::ffi::c_void;

use bombus_isa::asm;
use bombus_vm::Program;
use bombus_vm::fast::FastProgram;
#[cfg(target_arch = "x86_64")]
use bombus_vm::jit::{JitProgram, x64::X64};
use bombus_vm::native::{Callee, Environment, Linker, NativeHelper};
use libtest_mimic::Failed;

use crate::case::Case;

/// A program as an engine has it.
trait Compiled: Sized {
    fn compile(program: &Program, linker: &dyn Linker) -> Result<Self, Failed>;
    fn entry(&self) -> u64;
    /// # Safety
    ///
    /// The program must be sound.
    unsafe fn run(&self, args: [u64; 5], env: &mut Environment) -> u64;
}

macro_rules! compiled {
    ($engine:ident) => {
        impl Compiled for $engine {
            fn compile(program: &Program, linker: &dyn Linker) -> Result<Self, Failed> {
                Ok($engine::compile(program, linker)?)
            }

            fn entry(&self) -> u64 {
                self.entry()
            }

            unsafe fn run(&self, args: [u64; 5], env: &mut Environment) -> u64 {
                // SAFETY: as this function's.
                unsafe { self.run(args, env) }
            }
        }
    };
}
compiled!(FastProgram);
#[cfg(target_arch = "x86_64")]
compiled!(JitProgram);

#[cfg(target_arch = "x86_64")]
struct Optimised(JitProgram);

#[cfg(target_arch = "x86_64")]
impl Compiled for Optimised {
    fn compile(program: &Program, linker: &dyn Linker) -> Result<Self, Failed> {
        let target = X64 { optimise: true, ..X64::of_this_machine() };
        Ok(Optimised(JitProgram::compile_for(&target, program, linker)?))
    }

    fn entry(&self) -> u64 {
        self.0.entry()
    }

    unsafe fn run(&self, args: [u64; 5], env: &mut Environment) -> u64 {
        // SAFETY: as this function's.
        unsafe { self.0.run(args, env) }
    }
}

/// The fast interpreter.
pub(crate) fn interp(case: &Case) -> Result<String, Failed> {
    run::<FastProgram>(case)
}

/// Machine code.
#[cfg(target_arch = "x86_64")]
pub(crate) fn jit(case: &Case) -> Result<String, Failed> {
    run::<JitProgram>(case)
}

/// Machine code of the second tier.
#[cfg(target_arch = "x86_64")]
pub(crate) fn optimised(case: &Case) -> Result<String, Failed> {
    run::<Optimised>(case)
}

/// What the helpers reach through the environment.
struct TestHost {
    entries: Vec<u64>,
    memory: [u8; 16],
    /// Address and length of the context.
    context: [u64; 2],
}

/// The host of a run.
///
/// # Safety
///
/// `env` must be that of [`run`], and nobody else must hold its host.
unsafe fn host(env: &mut Environment) -> &mut TestHost {
    // SAFETY: the caller's.
    unsafe { &mut *env.host.cast::<TestHost>() }
}

/// Digits of the arguments.
unsafe extern "C" fn digits(a: u64, b: u64, c: u64, d: u64, e: u64, _: &mut Environment) -> u64 {
    [a, b, c, d, e].iter().fold(0, |sum, arg| sum * 10 + arg)
}

/// Calls the function `r1` with `r2` and `r3`.
unsafe extern "C" fn callback(
    function: u64,
    a: u64,
    b: u64,
    _: u64,
    _: u64,
    env: &mut Environment,
) -> u64 {
    // SAFETY: the case hands over one of its functions.
    unsafe { env.call_back(function, [a, b, 0, 0, 0]) }
}

unsafe extern "C" fn memory(_: u64, _: u64, _: u64, _: u64, _: u64, env: &mut Environment) -> u64 {
    // SAFETY: helpers only run inside `run`, one at a time.
    unsafe { host(env) }.memory.as_mut_ptr().expose_provenance() as u64
}

/// Goes on as program `r3`.
unsafe extern "C" fn tail_call(
    _: u64,
    _: u64,
    index: u64,
    _: u64,
    _: u64,
    env: &mut Environment,
) -> u64 {
    // SAFETY: as `memory`.
    match unsafe { host(env) }.entries.get(index as usize).copied() {
        Some(entry) if env.take_tail_call() => entry,
        _ => 0,
    }
}

/// Adds 1 to `r2` bytes at `r1`.
unsafe extern "C" fn increment(
    at: u64,
    len: u64,
    _: u64,
    _: u64,
    _: u64,
    _: &mut Environment,
) -> u64 {
    let start = std::ptr::with_exposed_provenance_mut::<u8>(at as usize);
    // SAFETY: the case hands over memory of its own.
    let bytes = unsafe { std::slice::from_raw_parts_mut(start, len as usize) };
    bytes.iter_mut().for_each(|byte| *byte += 1);
    0
}

/// Loads `r3` bytes from offset `r2` of the context at `r1`.
unsafe extern "C" fn load_packet(
    context: u64,
    offset: u64,
    bytes: u64,
    _: u64,
    _: u64,
    env: &mut Environment,
) -> u64 {
    // SAFETY: as `memory`.
    let [start, len] = unsafe { host(env) }.context;
    let offset = i64::from(offset as i32);
    assert_eq!(context, start);
    if offset < 0 || offset as u64 + bytes > len {
        return -i64::from(libc::EFAULT) as u64;
    }
    let start = std::ptr::with_exposed_provenance::<u8>(start as usize);
    // SAFETY: these bytes are inside of the context.
    let found = unsafe { std::slice::from_raw_parts(start.add(offset as usize), bytes as usize) };
    found.iter().fold(0, |sum, &byte| sum << 8 | u64::from(byte))
}

struct Helpers;

impl Linker for Helpers {
    fn helper(&self, id: i32) -> Option<Callee> {
        Some(Callee::Helper(match id {
            1 => digits as NativeHelper,
            2 => callback,
            3 => memory,
            4 => return Some(Callee::TailCall(tail_call)),
            5 => increment,
            _ => return None,
        }))
    }

    fn load_packet(&self) -> Option<NativeHelper> {
        Some(load_packet)
    }
}

fn run<E: Compiled>(case: &Case) -> Result<String, Failed> {
    let mut programs = Vec::new();
    for text in &case.programs {
        let program = Program::new(&asm(text)?, 0, &mut |_| None)?;
        programs.push(E::compile(&program, &Helpers)?);
    }
    let entries = programs.iter().map(E::entry).collect();
    let mut context = case.context.as_ref().map(|(bytes, _)| bytes.clone()).unwrap_or_default();
    let args = [context.as_mut_ptr().expose_provenance() as u64, context.len() as u64, 0, 0, 0];
    let memory = *b"0123456789abcdef";
    let mut host = TestHost { entries, memory, context: [args[0], args[1]] };
    let mut env = Environment::new((&raw mut host).cast::<c_void>());
    // SAFETY: the checked interpreter runs every case, and finds nothing wrong with these.
    let value = unsafe { programs[0].run(args, &mut env) };
    Ok(case.show(format!("{value:#x}"), &context))
}

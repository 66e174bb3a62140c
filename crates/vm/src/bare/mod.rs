//! Bare programs: instructions and a block of memory, without a kernel, maps or a verifier. Test
//! suites of the instruction set run programs so.
//!
//! `r1` is the memory, `r2` its length. There is one helper, when asked for: number 5 gives back its
//! first argument, and ends the program with 0 when that is 0 (the unwind function of uBPF's tools).
//! It ends the function that calls it, so it belongs into the outermost one.
//!
//! Nobody has proved these programs. The checked interpreter and guarded machine code do not mind; the
//! other engines run them in a process of their own, so that what they break is not ours.

#![allow(unsafe_code, reason = "runs programs that nobody has proved, in a child")]

mod checked;
mod child;
mod native;

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use bombus_isa::Insn;

use crate::jit::JitError;
use crate::native::LinkError;
use crate::{InvalidProgram, Program, Trap};
pub use child::Fault;

/// Number of the helper.
const UNWIND: i32 = 5;

/// What runs programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Engine {
    /// Every access is checked.
    Checked,
    /// Machine code that checks every access.
    Guarded,
    /// The fast interpreter.
    Interp,
    /// Machine code.
    Jit,
}

impl Engine {
    /// All of them.
    pub const ALL: [Engine; 4] = [Engine::Checked, Engine::Guarded, Engine::Interp, Engine::Jit];

    /// Its name on command lines.
    pub const fn name(self) -> &'static str {
        match self {
            Engine::Checked => "checked",
            Engine::Guarded => "guarded",
            Engine::Interp => "interp",
            Engine::Jit => "jit",
        }
    }

    /// The engine of a name.
    pub fn from_name(name: &str) -> Option<Engine> {
        Engine::ALL.into_iter().find(|engine| engine.name() == name)
    }
}

/// A program and what it is run with.
#[derive(Clone, Debug)]
pub struct Bare<'a> {
    /// Its instructions.
    pub code: &'a [Insn],
    /// What `r1` points to.
    pub memory: &'a [u8],
    /// How often it is run, at least once, on the same memory.
    pub repeat: u32,
    /// Whether there is a helper 5.
    pub unwind: bool,
}

/// What a program gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// `r0` of the first run.
    pub value: u64,
    /// What a run took in the mean, without making the program ready.
    pub time: Duration,
}

/// Why a program gave nothing.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// It is no program.
    Invalid(InvalidProgram),
    /// It was stopped.
    Trap(Trap),
    /// There is no guarded machine code for it.
    NotGuarded,
    /// It calls a helper that is not there.
    Link(LinkError),
    /// It cannot be compiled here.
    Jit(JitError),
    /// It broke its process.
    Fault(Fault),
    /// There is no process for it.
    Process(std::io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Invalid(error) => error.fmt(f),
            Failure::Trap(trap) => trap.fmt(f),
            Failure::NotGuarded => {
                write!(f, "there is no guarded machine code for it, only the checked interpreter")
            }
            Failure::Link(error) => error.fmt(f),
            Failure::Jit(error) => error.fmt(f),
            Failure::Fault(fault) => fault.fmt(f),
            Failure::Process(error) => write!(f, "no process for the program: {error}"),
        }
    }
}

impl std::error::Error for Failure {}

impl Bare<'_> {
    /// Runs it.
    pub fn run(&self, engine: Engine) -> Result<Outcome, Failure> {
        let program = program(self.code)?;
        match engine {
            Engine::Checked => checked::run(self, &program),
            Engine::Guarded if !checked::compile(&program) => Err(Failure::NotGuarded),
            Engine::Guarded => checked::run(self, &program),
            Engine::Interp => native::interp(self, &program),
            Engine::Jit => native::jit(self, &program),
        }
    }
}

fn program(code: &[Insn]) -> Result<Rc<Program>, Failure> {
    Program::new(code, 0, &mut |_| None).map_err(Failure::Invalid)
}

/// What the program goes on as when it unwinds.
fn unwound() -> Result<Rc<Program>, Failure> {
    program(&[Insn::mov_imm(bombus_isa::Reg::R0, 0), Insn::exit()])
}

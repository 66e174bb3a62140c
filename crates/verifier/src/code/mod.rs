//! A program before it is walked through: everything that can be told of it without following its
//! paths, in the order in which the kernel looks (`bpf_check`, `kernel/bpf/verifier.c`).
//!
//! [`Code::new`] refuses what is wrong in form, and otherwise keeps what the walk asks for at each
//! slot. Tables are dense: one entry a slot.

mod callee;
mod debug_info;
mod functions;
mod instruction;
mod resolve;

use bombus_isa::Insn;

pub use callee::{Access, Callback, Callee, Extent, Facts, KernelFunction};
pub use functions::Function;
pub use instruction::Instruction;

use crate::{Options, Program, Rejection, Target};

/// A program whose form is right, and what can be told of it without following its paths.
#[derive(Debug)]
pub struct Code {
    insns: Vec<Insn>,
    instructions: Vec<Instruction>,
    functions: Vec<Function>,
    /// Which of the functions each slot is in.
    function_of: Vec<u16>,
}

impl Code {
    /// Looks at a program. What is refused is refused with the kernel's error number and words.
    pub fn new(
        program: &Program<'_>,
        target: &Target<'_>,
        options: &Options,
        facts: &dyn Facts,
    ) -> Result<Code, Rejection> {
        check_length(program, options)?;
        debug_info::check_records(program)?;
        let mut functions = functions::discover(program, options.privileges)?;
        functions::check_layout(program.insns, &mut functions)?;
        debug_info::apply(program, &mut functions)?;
        let instructions = resolve::instructions(program, target, options, facts)?;
        let mut function_of = vec![0; program.insns.len()];
        for (index, function) in functions.iter().enumerate() {
            function_of[function.slots()].fill(index as u16);
        }
        Ok(Code { insns: program.insns.to_vec(), instructions, functions, function_of })
    }

    /// How many slots there are.
    pub fn len(&self) -> usize {
        self.instructions.len()
    }

    /// Never: a program has a slot at least.
    pub fn is_empty(&self) -> bool {
        self.instructions.is_empty()
    }

    /// The slot as it was loaded; a branch that is always or never taken as the `goto` that it
    /// amounts to.
    pub fn insn(&self, slot: usize) -> Insn {
        self.insns[slot]
    }

    /// What the slot says.
    pub fn instruction(&self, slot: usize) -> Instruction {
        self.instructions[slot]
    }

    /// The functions, in the order of their slots; the first is the entry.
    pub fn functions(&self) -> &[Function] {
        &self.functions
    }

    /// The place in [`Code::functions`] of the function that the slot is in.
    pub fn function_of(&self, slot: usize) -> usize {
        self.function_of[slot].into()
    }

    /// The place in [`Code::functions`] of the function that starts in the slot.
    pub fn function_at(&self, slot: usize) -> Option<usize> {
        let function = usize::from(*self.function_of.get(slot)?);
        (self.functions[function].start as usize == slot).then_some(function)
    }
}

/// `bpf_prog_load` bounds the length, and `bpf_check` wants room for the second half of the last
/// instruction.
fn check_length(program: &Program<'_>, options: &Options) -> Result<(), Rejection> {
    const MAX_UNPRIVILEGED: usize = 4096;
    const MAX: usize = 1_000_000;
    const LOAD_IMM64: u8 = 0x18;
    let max = if options.privileges.bpf { MAX } else { MAX_UNPRIVILEGED };
    let len = program.insns.len();
    if len == 0 || len > max {
        return Err(refuse(7, None, ""));
    }
    if program.insns[len - 1].code == LOAD_IMM64 {
        return Err(Rejection::invalid(len - 1, "invalid bpf_ld_imm64 insn"));
    }
    Ok(())
}

/// A rejection with an error number of its own.
fn refuse(errno: i32, slot: impl Into<Option<usize>>, message: impl Into<String>) -> Rejection {
    Rejection { errno, ..Rejection::invalid(slot, message) }
}

//! Bare programs in the engines that check nothing.

use super::{Bare, Failure, Outcome, UNWIND, child, unwound};
use crate::Program;
use crate::fast::FastProgram;
use crate::jit::{JitError, JitProgram};
use crate::native::{Callee, Environment, Linker};

/// The helper, or none.
struct Helpers {
    unwind: bool,
}

impl Linker for Helpers {
    fn helper(&self, id: i32) -> Option<Callee> {
        (self.unwind && id == UNWIND).then_some(Callee::TailCall(unwind))
    }
}

/// The entry of the program that ends with 0, which is the environment's host, when the first
/// argument is 0.
unsafe extern "C" fn unwind(
    value: u64,
    _: u64,
    _: u64,
    _: u64,
    _: u64,
    env: &mut Environment,
) -> u64 {
    if value == 0 { env.host.expose_provenance() as u64 } else { 0 }
}

pub(super) fn interp(bare: &Bare<'_>, program: &Program) -> Result<Outcome, Failure> {
    let compile = |program: &Program, linker: &Helpers| {
        FastProgram::compile(program, linker).map_err(Failure::Link)
    };
    let linker = Helpers { unwind: bare.unwind };
    let (program, end) = (compile(program, &linker)?, compile(&*unwound()?, &linker)?);
    // SAFETY: the child is there to be broken.
    in_child(bare, end.entry(), |args, env| unsafe { program.run(args, env) })
}

pub(super) fn jit(bare: &Bare<'_>, program: &Program) -> Result<Outcome, Failure> {
    let compile = |program: &Program, linker: &Helpers| {
        JitProgram::compile(program, linker).map_err(|error| match error {
            JitError::Link(error) => Failure::Link(error),
            error => Failure::Jit(error),
        })
    };
    let linker = Helpers { unwind: bare.unwind };
    let (program, end) = (compile(program, &linker)?, compile(&*unwound()?, &linker)?);
    // SAFETY: the child is there to be broken.
    in_child(bare, end.entry(), |args, env| unsafe { program.run(args, env) })
}

/// Runs it as often as asked for, in a child.
fn in_child(
    bare: &Bare<'_>,
    end: u64,
    run: impl Fn([u64; 5], &mut Environment) -> u64,
) -> Result<Outcome, Failure> {
    let mut memory = bare.memory.to_vec();
    let args = [memory.as_mut_ptr().expose_provenance() as u64, memory.len() as u64, 0, 0, 0];
    let once = || {
        let host = std::ptr::with_exposed_provenance_mut(end as usize);
        run(args, &mut Environment::new(host))
    };
    child::time(bare.repeat, &once)
}

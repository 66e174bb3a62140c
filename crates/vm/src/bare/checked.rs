//! Bare programs in the checked interpreter, and in guarded machine code.

use std::rc::Rc;
use std::time::Instant;

use super::{Bare, Failure, Outcome, UNWIND, unwound};
use crate::{Call, Context, Execution, Guests, Host, Program, Return, Stack, TrapKind};

/// Instructions that a run may take: a few seconds.
const FUEL: u64 = 1_000_000_000;

/// The surroundings: no memory, one helper at most.
struct Unwinder {
    unwound: Option<Rc<Program>>,
}

impl Host for Unwinder {
    fn call(&mut self, _: &mut Execution<'_>, call: &Call<'_>) -> Result<Return, TrapKind> {
        match &self.unwound {
            Some(unwound) if call.helper == UNWIND => Ok(match call.args[0] {
                0 => Return::TailCall(unwound.clone()),
                value => Return::Value(value),
            }),
            _ => Err(TrapKind::UnknownHelper(call.helper)),
        }
    }
}

/// Has a program run in machine code; false: there is none for it.
pub(super) fn compile(program: &Program) -> bool {
    program.compile(&Guests {
        args: 2,
        field: &|_, _| false,
        lookup: &|_, _| None,
        may_tail_call: &|helper| helper == UNWIND,
        proven: None,
    })
}

pub(super) fn run(bare: &Bare<'_>, program: &Rc<Program>) -> Result<Outcome, Failure> {
    let mut host = Unwinder { unwound: bare.unwind.then(unwound).transpose()? };
    let mut memory = bare.memory.to_vec();
    let mut stack = Stack::default();
    let mut once = || {
        let context = Context::Writable(&mut memory);
        Execution::new(&mut stack, context).with_fuel(FUEL).run(program, &mut host)
    };
    let start = Instant::now();
    let value = once().map_err(Failure::Trap)?;
    for _ in 1..bare.repeat {
        once().map_err(Failure::Trap)?;
    }
    Ok(Outcome { value, time: start.elapsed() / bare.repeat.max(1) })
}

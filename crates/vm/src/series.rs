//! Runs of one program, one after the other, about something that is another each time.

use std::rc::Rc;

use crate::jit::guarded::Ended;
use crate::{Execution, Host, Program, Trap};

/// Runs of one program. What a host shows to machine code is looked at once, and then only when it may
/// be another.
#[derive(Debug)]
pub struct Series<'s, H> {
    execution: Execution<'s>,
    program: &'s Rc<Program>,
    args: [u64; 1],
    host: H,
    /// What each run may take.
    fuel: u64,
    /// The last run was one in machine code, to its end, and nobody has used the host since.
    is_shown: bool,
}

impl<'s, H: Host> Series<'s, H> {
    /// Runs with this in `r1` that are as the execution is now, which has not started.
    pub fn new(
        execution: Execution<'s>,
        program: &'s Rc<Program>,
        context: u64,
        host: H,
    ) -> Series<'s, H> {
        let fuel = execution.fuel;
        Series { execution, program, args: [context], host, fuel, is_shown: false }
    }

    /// The host, to do anything with it between two runs.
    #[inline]
    pub fn host(&mut self) -> &mut H {
        self.is_shown = false;
        &mut self.host
    }

    /// The host, to change what the program is about.
    ///
    /// # Safety
    ///
    /// The elements of the host's tables must stay where they are.
    #[inline]
    #[expect(unsafe_code, reason = "the next run does not ask where elements are")]
    pub unsafe fn subject(&mut self) -> &mut H {
        &mut self.host
    }

    /// Makes the next run.
    #[inline]
    pub fn run(&mut self) -> Result<u64, Trap> {
        let Series { execution, program, args, host, fuel, is_shown } = self;
        execution.restart(*fuel);
        if std::mem::take(is_shown)
            && let Some(code) = program.code()
            && let Some(ended) = code.run(execution, program, args, host, true)
        {
            if let Ok(Ended::Value(value)) = ended {
                *is_shown = true;
                return Ok(value);
            }
            return execution.go_on(ended, host);
        }
        execution.run_first(program, args, host, is_shown)
    }
}

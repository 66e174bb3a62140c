//! What the walk asks of the code beside what it keeps.

use bombus_isa::Op;
use bombus_platform::Helper;

use crate::code::{Caller, Code, LiveStack};
use crate::state::State;

impl Code {
    /// The plain instruction in a slot.
    pub(crate) fn op(&self, slot: usize) -> Option<Op> {
        if slot < self.len() { self.instruction(slot).op() } else { None }
    }

    /// Whether a function is proved on its own.
    pub(super) fn is_global(&self, function: usize) -> bool {
        self.functions().get(function).is_some_and(|function| function.is_global())
    }

    /// The function of the program that a slot calls.
    pub(super) fn called_function(&self, slot: usize) -> Option<usize> {
        let Some(Op::CallLocal { off }) = self.op(slot) else { return None };
        let target = usize::try_from(slot as i64 + 1 + i64::from(off)).ok()?;
        self.function_at(target)
    }

    /// Whether a slot makes a tail call.
    pub(super) fn is_tail_call(&self, slot: usize) -> bool {
        matches!(self.op(slot), Some(Op::CallHelper { id }) if id == Helper::TailCall.id())
    }

    /// Whether a slot is a store or load of an argument that has no register.
    pub(super) fn is_argument_access(&self, slot: usize) -> bool {
        use crate::code::Instruction;
        slot < self.len()
            && matches!(
                self.instruction(slot),
                Instruction::StoreArgument { .. } | Instruction::LoadArgument { .. }
            )
    }

    /// What of the stack of each frame of a state may still be read.
    pub(crate) fn live_stacks(&self, state: &State) -> LiveStack<'_> {
        let callers = state.frames.iter().map(|frame| Caller {
            function: frame.function as usize,
            callsite: frame.callsite.max(0) as usize,
        });
        self.stack_at(callers, state.slot)
    }
}

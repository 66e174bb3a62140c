//! The end of functions and of the program (`prepare_func_exit`, `check_return_code`,
//! `kernel/bpf/verifier.c`).

use bombus_isa::Reg;
use bombus_platform::{AttachType, ProgType};

use crate::state::{Base, Register, ReturnRange};
use crate::walk::errno::EINVAL;
use crate::walk::{Check, Next, Walk, refuse};

impl Walk<'_> {
    /// `exit`, or (`throws`) the end by an exception.
    pub(crate) fn exit(&mut self, throws: bool) -> Check<Next> {
        let is_outermost = self.state.top() == 0;
        let what = if throws { "bpf_throw" } else { "BPF_EXIT instruction in main prog" };
        self.check_leaks(throws, throws || is_outermost, what)?;
        if throws {
            return Ok(Next::End);
        }
        if !is_outermost {
            return self.leave_function().map(Next::At);
        }
        let frame = self.state.frame();
        let is_plain = !frame.in_async_callback && !frame.in_exception_callback;
        if frame.function != 0 && is_plain {
            self.check_global_result()?;
        } else {
            self.check_result(0, "R0")?;
        }
        Ok(Next::End)
    }

    /// Back to where a function was called: the slot that the walk goes on at.
    pub(crate) fn leave_function(&mut self) -> Check<usize> {
        let result = self.state.frame().regs[0];
        if result.kind.is(Base::Stack) {
            refuse!(self, EINVAL, "cannot return stack pointer to the caller");
        }
        let (in_callback, range, callsite) = {
            let callee = self.state.frame();
            (callee.in_callback, callee.callback_range, callee.callsite.max(0) as usize)
        };
        if in_callback {
            if !result.is_scalar() {
                refuse!(self, EACCES, "R0 not a scalar value");
            }
            self.mark_precise(0)?;
            if !range.holds(&result) {
                return Err(self.out_of_range(&result, range, "At callback return", "R0"));
            }
        } else {
            let caller = self.state.top() - 1;
            self.state.frames[caller].regs[0] = result;
        }
        let to = if in_callback { callsite } else { callsite + 1 };
        let callee = self.state.top();
        let title = format!("to caller at {to}:");
        self.report_call(("returning from callee:", callee), (&title, callee - 1));
        self.count_function();
        self.state.frames.pop();
        self.note_function_left();
        if in_callback {
            // Rounds become alike.
            let previous = self.previous_round(to);
            let state = self.copy_state();
            self.state = self.widened(previous, state);
        }
        Ok(to)
    }

    /// What is wrong with a number that is not in a range (`verbose_invalid_scalar`).
    pub(crate) fn out_of_range(
        &self,
        register: &Register,
        range: ReturnRange,
        when: &str,
        name: &str,
    ) -> crate::Rejection {
        let mut known = String::new();
        if register.smin() > i64::MIN {
            known += &format!(" smin={}", register.smin());
        }
        if register.smax() < i64::MAX {
            known += &format!(" smax={}", register.smax());
        }
        if known.is_empty() {
            known += " unknown scalar value";
        }
        let ReturnRange { min, max, .. } = range;
        let message =
            format!("{when} the register {name} has{known} should have been in [{min}, {max}]");
        self.rejection(EINVAL, message)
    }

    /// What a global function returns is a number.
    fn check_global_result(&mut self) -> Check {
        if self.returns_void(self.state.frame().function as usize) {
            return Ok(());
        }
        let result = self.read(Reg::R0)?;
        if result.kind.is(Base::Arena) {
            return Ok(());
        }
        if self.leaks(&result) {
            refuse!(self, EACCES, "R0 leaks addr as return value");
        }
        if !result.is_scalar() {
            let kind = result.kind;
            refuse!(
                self,
                EINVAL,
                "At subprogram exit the register R0 is not a scalar value ({kind})"
            );
        }
        Ok(())
    }

    /// What the program returns (`check_return_code`).
    pub(crate) fn check_result(&mut self, n: u8, name: &str) -> Check {
        let is_async = self.state.frames[0].in_async_callback;
        let prog_type = self.prog_type();
        let returns_void = !is_async && self.program_returns_void();
        if returns_void {
            return Ok(());
        }
        let register = self.state.frame().regs[usize::from(n)];
        let is_struct_ops = prog_type == ProgType::StructOps;
        let returned = self.attach_result();
        if is_struct_ops
            && let Some(wanted) = returned.structure
            && register.object_type().is_some_and(|of| self.same_type(of, wanted))
            && self.state.has_reference(register.id)
        {
            return self.check_fixed(&register, n, false);
        }
        self.read(Reg(n))?;
        if self.leaks(&register) {
            refuse!(self, EACCES, "R{n} leaks addr as return value");
        }
        let when = if is_async { "At async callback return" } else { "At program exit" };
        let range = if is_async {
            self.state.frames[0].callback_range
        } else if is_struct_ops && returned.structure.is_none() {
            return Ok(());
        } else {
            match self.result_range() {
                Ok(Some(range)) => range,
                Ok(None) | Err(crate::facts::NotRead) => return Ok(()),
            }
        };
        if !register.is_scalar() {
            let kind = register.kind;
            refuse!(self, EINVAL, "{when} the register R{n} is not a known value ({kind})");
        }
        self.mark_precise(n.into())?;
        if !range.holds(&register) {
            let mut rejection = self.out_of_range(&register, range, when, name);
            if prog_type == ProgType::Lsm
                && self.program.attach_type == AttachType::LsmCgroup
                && returned.is_void
            {
                rejection.message += "\nNote, BPF_LSM_CGROUP that attach to void LSM hooks can't modify return value!";
            }
            return Err(rejection);
        }
        Ok(())
    }

    /// Whether what the program attaches to returns nothing (`program_returns_void`).
    fn program_returns_void(&self) -> bool {
        match self.program.prog_type {
            ProgType::Lsm => {
                self.program.attach_type != AttachType::LsmCgroup && self.attach_result().is_void
            }
            ProgType::StructOps => self.attach_result().is_void,
            ProgType::Ext => self.returns_void(0),
            _ => false,
        }
    }
}

//! Calls of the program's own functions (`check_func_call`, `kernel/bpf/verifier.c`).

use bombus_isa::Op;

use super::helper::helper_name;
use super::memory::At;
use super::signature::Argument;
use super::stack::Access;
use crate::state::{
    Base, Flags, Frame, Kind, MAX_FRAMES, Object, Register, ReturnRange, State, TypeRef,
};
use crate::walk::errno::{E2BIG, EFAULT, EINVAL};
use crate::walk::{Check, Next, Walk, refuse};

impl Walk<'_> {
    /// A call.
    pub(crate) fn call(&mut self, op: Op) -> Check<Next> {
        if self.state.locks > 0 {
            let allowed = match op {
                Op::CallHelper { id } => {
                    ["bpf_spin_unlock", "bpf_kptr_xchg"].contains(&helper_name(id).as_str())
                }
                Op::CallKfunc { id, btf } => self.kfunc_allowed_under_lock(id, btf),
                _ => true,
            };
            if !allowed {
                refuse!(self, EINVAL, "function calls are not allowed while holding a lock");
            }
        }
        self.touch_register(0);
        match op {
            Op::CallLocal { off } => self.call_function(self.target(off)),
            Op::CallKfunc { id, btf } => self.call_kfunc(id, btf),
            Op::CallHelper { id } => self.call_helper(id),
            _ => Ok(Next::After),
        }
    }

    fn call_function(&mut self, target: usize) -> Check<Next> {
        let Some(function) = self.code.function_at(target) else {
            refuse!(self, EFAULT, "target of func call at insn {target} is not a program");
        };
        let arguments = self.check_arguments(function);
        if let Err(rejection) = &arguments
            && rejection.errno == EFAULT
        {
            return arguments.map(|()| Next::After);
        }
        if self.code.functions()[function].is_global() {
            return self.call_global(function, arguments);
        }
        if let Err(rejection) = arguments
            && !rejection.message.is_empty()
        {
            self.log.say(format_args!("{}\n", rejection.message));
        }
        let callsite = self.slot as i32;
        let caller = self.state.top();
        let mut frame = self.new_frame(&self.state, callsite, function)?;
        frame.regs[1..=5].copy_from_slice(&self.state.regs()[1..=5]);
        self.clear_arguments();
        self.state.frames.push(frame);
        self.show_all();
        self.report_call(("caller:", caller), ("callee:", caller + 1));
        Ok(Next::At(target))
    }

    /// The frame of a function that is called from a state.
    pub(crate) fn new_frame(&self, state: &State, callsite: i32, function: usize) -> Check<Frame> {
        let count = state.frames.len();
        if count >= MAX_FRAMES {
            let message = format!("the call stack of {} frames is too deep", count + 1);
            return Err(self.rejection(E2BIG, message));
        }
        let mut frame = Frame::new(callsite, count, function as u32);
        let precise = !self.allowed.bpf;
        frame.regs[..crate::state::FP].iter_mut().for_each(|register| register.precise = precise);
        Ok(frame)
    }

    /// A global function is proved on its own: what it does is what its types say.
    fn call_global(&mut self, function: usize, arguments: Check) -> Check<Next> {
        let (name, might_sleep, changes_packet, might_throw) = {
            let callee = &self.code.functions()[function];
            (callee.name.clone(), callee.might_sleep, callee.changes_packet, callee.might_throw)
        };
        if self.state.locks > 0 {
            refuse!(
                self,
                EINVAL,
                "global function calls are not allowed while holding a lock,\nuse static function instead"
            );
        }
        if might_sleep && !self.may_sleep_here() {
            let place = self.why_no_sleep();
            refuse!(self, EINVAL, "sleepable global function {name}() called in {place}");
        }
        if let Err(mut rejection) = arguments {
            let said = match rejection.message.is_empty() {
                true => String::new(),
                false => rejection.message + "\n",
            };
            rejection.message =
                format!("{said}Caller passes invalid args into func#{function} ('{name}')");
            return Err(rejection);
        }
        if self.log.tells() {
            self.log.say(format_args!("Func#{function} ('{name}') is global and assumed valid.\n"));
        }
        let sleepable = self.may_sleep_here();
        self.functions[function].called[usize::from(sleepable)] = true;
        if changes_packet {
            self.forget_packets();
        }
        self.clear_arguments();
        if !self.returns_void(function) {
            self.state.regs()[0] = self.unknown();
        }
        if might_throw {
            self.push_path(self.slot + 1, false)?;
            return self.exit(true);
        }
        Ok(Next::After)
    }

    /// Whether what is in the registers is what a function's types say
    /// (`btf_check_subprog_call`).
    pub(crate) fn check_arguments(&mut self, function: usize) -> Check {
        if self.functions[function].is_unreliable || self.program.functions.is_empty() {
            return Err(self.rejection(EINVAL, String::new()));
        }
        let result = self.match_arguments(function);
        if result.is_err() {
            self.functions[function].is_unreliable = true;
        }
        result
    }

    fn match_arguments(&mut self, function: usize) -> Check {
        let arguments = self.arguments(function)?;
        let mut source = 0;
        for (index, argument) in arguments.into_iter().enumerate() {
            let n = index as u8 + 1;
            let Some(register) = self.state.frame().regs.get(usize::from(n)).copied() else {
                continue;
            };
            self.match_argument(function, n, &register, argument, &mut source)?;
        }
        Ok(())
    }

    fn match_argument(
        &mut self,
        function: usize,
        n: u8,
        register: &Register,
        argument: Argument,
        source: &mut u32,
    ) -> Check {
        match argument {
            Argument::Number => {
                if !register.is_scalar() {
                    refuse!(self, EINVAL, "R{n} is not a scalar");
                }
                Ok(())
            }
            Argument::Memory(_, flags) | Argument::Object(_, flags)
                if flags.has(Flags::UNTRUSTED) =>
            {
                // Anything may be in it: reads are caught.
                Ok(())
            }
            Argument::Context => {
                self.check_argument_offset(register, n, true)?;
                if !register.kind.is(Base::Ctx) {
                    refuse!(self, EINVAL, "R{n} expects pointer to ctx");
                }
                Ok(())
            }
            Argument::Memory(size, flags) => {
                self.check_argument_offset(register, n, false)?;
                if let Err(mut rejection) = self.check_whole(register, n, size, false) {
                    rejection.errno = EINVAL;
                    return Err(rejection);
                }
                let packet = register.kind.is_packet_any() || register.kind.is_packet_slice();
                if packet && self.code.functions()[function].changes_packet {
                    refuse!(
                        self,
                        EINVAL,
                        "R{n} is a packet pointer, but func#{function} may change packet data"
                    );
                }
                let null = register.kind.may_be_null() || register.is_null();
                if !flags.has(Flags::MAYBE_NULL) && null {
                    refuse!(self, EINVAL, "R{n} is expected to be non-NULL");
                }
                Ok(())
            }
            Argument::Arena => {
                if !register.kind.is(Base::Arena) && !register.is_scalar() {
                    refuse!(self, EINVAL, "R{n} is not a pointer to arena or scalar.");
                }
                Ok(())
            }
            Argument::Dynptr => {
                self.check_argument_offset(register, n, false)?;
                self.use_dynptr(register, n, None, false).map(|dynptr| {
                    *source = dynptr.parent_id;
                })
            }
            Argument::Object(of, flags) => {
                if register.is_null() && flags.has(Flags::MAYBE_NULL) {
                    return self.mark_precise(n.into());
                }
                self.check_object(register, n, of, flags)?;
                self.check_argument_offset(register, n, false)
            }
        }
    }

    /// A trusted pointer to an object, as a function's types ask for it.
    fn check_object(&mut self, register: &Register, n: u8, of: TypeRef, flags: Flags) -> Check {
        let kind = register.kind;
        let plain = match flags.has(Flags::MAYBE_NULL) {
            true => Kind::new(kind.base, kind.flags.without(Flags::MAYBE_NULL)),
            false => kind,
        };
        let accepted = [Flags::NONE, Flags::TRUSTED, Flags::RCU];
        if plain.base != Base::BtfId || !accepted.contains(&plain.flags) {
            refuse!(self, EACCES, "R{n} type={kind} expected=ptr_, trusted_ptr_, rcu_ptr_");
        }
        let Some(given) = register.object_type() else { return Ok(()) };
        self.check_fixed(register, n, true)?;
        let offset = register.known().unwrap_or(0) as i64;
        if !self.is_type(given, offset, of, false, true) {
            let (given, wanted) = (self.types.name(given), self.types.name(of));
            refuse!(self, EACCES, "R{n} is of type {given} but {wanted} is expected");
        }
        Ok(())
    }

    /// The offset that a pointer may have when it is passed on (`check_func_arg_reg_off`).
    pub(crate) fn check_argument_offset(
        &self,
        register: &Register,
        n: u8,
        as_context: bool,
    ) -> Check {
        let Kind { base, flags } = register.kind;
        let moved = match base {
            Base::Stack
            | Base::Packet
            | Base::PacketMeta
            | Base::MapKey
            | Base::MapValue
            | Base::Arena
            | Base::Scalar
                if flags == Flags::NONE =>
            {
                return Ok(());
            }
            Base::Mem if [Flags::NONE, Flags::RDONLY, Flags::RINGBUF].contains(&flags) => {
                return Ok(());
            }
            Base::Buf if [Flags::NONE, Flags::RDONLY].contains(&flags) => return Ok(()),
            Base::BtfId => {
                let rest = flags.without(Flags::NON_OWN_REF);
                [Flags::NONE, Flags::ALLOC, Flags::TRUSTED, Flags::RCU, Flags::ALLOC | Flags::RCU]
                    .contains(&rest)
            }
            Base::Ctx if !as_context && self.context_may_move() => return Ok(()),
            _ => false,
        };
        self.check_fixed(register, n, moved)
    }

    /// Memory of so many bytes, all of it read and written (`check_mem_reg`).
    pub(crate) fn check_whole(
        &mut self,
        register: &Register,
        n: u8,
        size: u32,
        known: bool,
    ) -> Check {
        if register.is_null() {
            return self.mark_precise(n.into());
        }
        let Ok(size) = i32::try_from(size) else {
            refuse!(self, EACCES, "R{n} memory size {size} is too large");
        };
        // Of what is on the stack not all need be there: the function may only write it.
        let size = match !known && register.kind.is(Base::Stack) {
            true => -i64::from(size),
            false => i64::from(size),
        };
        let mut pointer = *register;
        pointer.kind.flags = pointer.kind.flags.without(Flags::MAYBE_NULL);
        let at = |pointer| (pointer, n, size);
        self.check_helper_memory(at(&pointer), Access::Read, true, None)?;
        self.check_helper_memory(at(&pointer), Access::Write, true, None)
    }

    /// A callback is walked, from here (`push_callback_call`): what it starts with is set by
    /// `enter`.
    pub(crate) fn call_back(
        &mut self,
        function: usize,
        is_async: Option<bool>,
        range: ReturnRange,
        registers: [Option<Register>; 5],
    ) -> Check {
        if let Err(rejection) = self.check_arguments(function)
            && rejection.errno == EFAULT
        {
            return Err(rejection);
        }
        let callsite = self.slot as i32;
        let start = self.code.functions()[function].start as usize;
        self.functions[function].is_callback = true;
        let set = |frame: &mut Frame, walk: &Self| {
            for (index, register) in registers.iter().enumerate() {
                let empty = Register { precise: !walk.allowed.bpf, ..Register::NOT_INIT };
                frame.regs[index + 1] = register.unwrap_or(empty);
            }
            frame.callback_range = range;
        };
        if let Some(sleepable) = is_async {
            self.functions[function].is_async_callback = true;
            let entries = self.state.frame().async_entries + 1;
            let mut state = State::new(function as u32, start, sleepable);
            let frame = state.frame_mut();
            frame.async_entries = entries;
            frame.in_async_callback = true;
            set(frame, self);
            self.queue(state, start)?;
            return Ok(());
        }
        let mut state = self.copy_state();
        let mut frame = self.new_frame(&state, callsite, function)?;
        set(&mut frame, self);
        frame.in_callback = true;
        let caller = state.frame_mut();
        caller.callback_depth += 1;
        state.frames.push(frame);
        state.callback_unrolls += 1;
        self.push_state(state, start)?;
        self.state.frame_mut().callback_depth = 0;
        Ok(())
    }

    /// Why sleeping is not allowed here (`non_sleepable_context_description`).
    pub(crate) fn why_no_sleep(&self) -> &'static str {
        let state = &self.state;
        if state.rcu > 0 {
            "rcu_read_lock region"
        } else if state.preempt_off > 0 {
            "non-preemptible region"
        } else if state.irq_id != 0 {
            "IRQ-disabled region"
        } else if state.locks > 0 {
            "lock region"
        } else {
            "non-sleepable prog"
        }
    }

    /// A pointer to what an argument of a function is.
    pub(crate) fn argument_register(&mut self, argument: Argument) -> Register {
        match argument {
            Argument::Number | Argument::Arena => self.unknown(),
            Argument::Context => Register::pointer(Base::Ctx, Object::None),
            Argument::Memory(size, flags) => {
                let kept = flags & (Flags::MAYBE_NULL | Flags::UNTRUSTED | Flags::RDONLY);
                let mut register =
                    Register::pointer(Kind::new(Base::Mem, kept), Object::Size(size));
                if kept.has(Flags::MAYBE_NULL) {
                    register.id = self.new_id();
                }
                register
            }
            Argument::Object(of, flags) => {
                let kind = Kind::new(Base::BtfId, flags);
                Register { id: self.new_id(), ..Register::pointer(kind, Object::Type(of)) }
            }
            Argument::Dynptr => {
                let object = Object::Dynptr(crate::state::DynptrKind::Local, true);
                Register { id: self.new_id(), ..Register::pointer(Base::Dynptr, object) }
            }
        }
    }

    /// Reads that a helper does one byte after the other.
    pub(crate) fn write_bytes(&mut self, register: &Register, n: u8, size: i64) -> Check {
        for off in 0..size {
            let at = At { pointer: register, n, off, size: 1 };
            self.store_to(at, super::stack::Stored::Unknown, false)?;
        }
        Ok(())
    }
}

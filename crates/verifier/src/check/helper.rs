//! Calls of helpers (`check_helper_call`, `kernel/bpf/verifier.c`).

use bombus_isa::Reg;
use bombus_platform::attach::helper_is_allowed;
use bombus_platform::proto::{Proto, ProtoFlags, TypeFlags};
use bombus_platform::{AttachType, HELPER_NAMES, Helper, MapType, ProgType, helper_since};

use super::args::Call;
use super::helper_result::MAX_ERRNO;
use crate::state::{Base, DynptrKind, Flags, MapRef, Object, Register, ReturnRange};
use crate::walk::{Check, Next, Walk, refuse};

/// The name of a helper as the log has it (`func_id_name`).
pub(crate) fn helper_name(id: i32) -> String {
    let name = usize::try_from(id).ok().and_then(|id| HELPER_NAMES.get(id));
    name.map_or_else(|| format!("unknown#{id}"), |name| format!("bpf_{name}"))
}

impl Walk<'_> {
    /// A call of a helper.
    pub(crate) fn call_helper(&mut self, id: i32) -> Check<Next> {
        let name = || helper_name(id);
        let since = u32::try_from(id).ok().and_then(helper_since);
        if since.is_none_or(|since| since > self.version) {
            refuse!(self, EINVAL, "invalid func unknown#{id}");
        }
        let Some(proto) = self.helper_proto(id) else {
            refuse!(self, EINVAL, "program of this type cannot use helper {}#{id}", name());
        };
        if !self.program.gpl_compatible && proto.has(ProtoFlags::GPL_ONLY) {
            refuse!(
                self,
                EINVAL,
                "cannot call GPL-restricted function from non-GPL compatible program"
            );
        }
        if !self.helper_is_allowed_here(proto) {
            refuse!(self, EINVAL, "helper call is not allowed in probe");
        }
        if proto.has(ProtoFlags::MIGHT_SLEEP) && !self.may_sleep_here() {
            let place = self.why_no_sleep();
            refuse!(self, EINVAL, "sleepable helper {}#{id} in {place}", name());
        }
        let mut call = Call::new(id, proto);
        for index in 0..proto.args.len().min(5) {
            self.check_argument(&mut call, index)?;
        }
        self.check_map_write(&call)?;
        self.check_tail_call_key(&call)?;
        if let Some(raw) = call.raw.take() {
            let register = self.state.frame().regs[usize::from(raw.register)];
            self.write_bytes(&register, raw.register, raw.size)?;
        }
        if let Some(index) = proto.releases() {
            self.release_argument(&call, index as u8 + 1)?;
        }
        self.do_special(&mut call)?;
        self.finish_call(call)
    }

    /// What the call takes over is gone.
    fn release_argument(&mut self, call: &Call, n: u8) -> Check {
        let register = self.state.frame().regs[usize::from(n)];
        if register.is_null() {
            return Ok(());
        }
        if let Some(dynptr) = call.dynptr {
            let id = match super::resources::is_referenced(dynptr.object) {
                true => dynptr.parent_id,
                false => dynptr.id,
            };
            return self.release(id);
        }
        let flags = register.kind.flags;
        let keeps = call.proto.name() == "kptr_xchg"
            && !self.may_sleep_here()
            && flags.has(Flags::ALLOC)
            && flags.has(Flags::PERCPU);
        if keeps {
            return self.convert_to_rcu(register.id);
        }
        if !self.state.has_reference(register.id) {
            refuse!(self, EINVAL, "");
        }
        self.release(register.id)
    }

    /// What the program allocated for each CPU is kept by a map now, and lives as long as the RCU
    /// section (`ref_convert_alloc_rcu_protected`).
    fn convert_to_rcu(&mut self, id: u32) -> Check {
        if !self.drop_reference(id) {
            refuse!(self, EINVAL, "");
        }
        self.state.each_register(|register| {
            let flags = register.kind.flags;
            if register.id == id && flags.has(Flags::ALLOC) && flags.has(Flags::PERCPU) {
                register.id = 0;
                register.kind.flags = flags.without(Flags::ALLOC) | Flags::RCU;
            }
        });
        Ok(())
    }

    /// Read-only maps are not written to (`record_func_map`).
    fn check_map_write(&self, call: &Call) -> Check {
        let writes = ["map_delete_elem", "map_update_elem", "map_push_elem", "map_pop_elem"];
        if let Some((map, _)) = call.map
            && !self.maps.get(map).may_write()
            && writes.contains(&call.proto.name())
        {
            refuse!(self, EACCES, "write into map forbidden");
        }
        Ok(())
    }

    /// A tail call whose place is known (`record_func_key`).
    fn check_tail_call_key(&mut self, call: &Call) -> Check {
        if call.id != Helper::TailCall.id() {
            return Ok(());
        }
        let Some((map, _)) =
            call.map.filter(|(map, _)| self.maps.get(*map).map_type == MapType::ProgArray)
        else {
            refuse!(self, EINVAL, "expected prog array map for tail call");
        };
        if !self.allowed.spec_v1 {
            let known = self.tail_calls.entry(self.slot).or_insert((map, false));
            known.1 |= known.0 != map;
        }
        let entries = u64::from(self.maps.get(map).max_entries);
        if self.state.frame().regs[3].number().is_some_and(|key| key < entries) {
            self.mark_precise(3)?;
        }
        Ok(())
    }

    /// What some helpers do beside what their prototypes say.
    fn do_special(&mut self, call: &mut Call) -> Check {
        let regs = self.state.frame().regs;
        let range = ReturnRange::new(0, 1);
        let function = call.function.map_or(0, |function| function as usize);
        let value = |map: (MapRef, u32), base: Base| Register {
            map_uid: map.1,
            ..Register::pointer(base, Object::Map(map.0))
        };
        match call.proto.name() {
            "tail_call" => self.check_leaks(false, true, "tail_call")?,
            "get_local_storage" => {
                if !regs[2].is_null() {
                    refuse!(self, EINVAL, "get_local_storage() doesn't support non-zero flags");
                }
                self.mark_precise(2)?;
            }
            "for_each_map_elem" => {
                let Some(map) = call.map else { return Ok(()) };
                if !iterates(self.maps.get(map.0).map_type) {
                    refuse!(self, ENOTSUPP, "callback function not allowed for map");
                }
                let id = self.new_id();
                let registers = [
                    Some(regs[1]),
                    Some(value(map, Base::MapKey)),
                    Some(Register { id, ..value(map, Base::MapValue) }),
                    Some(regs[3]),
                    None,
                ];
                self.call_back(function, None, range, registers)?;
            }
            "timer_set_callback" => {
                let Some(map) = regs[1].map() else { return Ok(()) };
                let registers = self.element_registers((map, regs[1].map_uid));
                self.call_back(function, Some(false), ReturnRange::new(0, 0), registers)?;
            }
            "find_vma" => {
                let Some(vma) = self.types.kernel_struct("vm_area_struct") else { return Ok(()) };
                let vma = Register::pointer(Base::BtfId, Object::Type(vma));
                let registers = [Some(regs[1]), Some(vma), Some(regs[4]), None, None];
                self.call_back(function, None, range, registers)?;
            }
            "user_ringbuf_drain" => {
                let object = Object::Dynptr(DynptrKind::Local, true);
                let id = self.new_id();
                let dynptr = Register { id, ..Register::pointer(Base::Dynptr, object) };
                let registers = [Some(dynptr), Some(regs[3]), None, None, None];
                self.call_back(function, None, range, registers)?;
            }
            "loop" => self.call_loop(function)?,
            "snprintf" => self.check_format(3, 5)?,
            "dynptr_from_mem" if !regs[1].kind.is(Base::MapValue) => {
                let kind = regs[1].kind;
                refuse!(self, EACCES, "Unsupported reg type {kind} for bpf_dynptr_from_mem data");
            }
            "set_retval" => self.check_set_retval(&regs[1])?,
            "dynptr_write" => {
                if let Some(Object::Dynptr(kind, _)) = call.dynptr.map(|dynptr| dynptr.object) {
                    call.changes_packet |= matches!(kind, DynptrKind::Skb | DynptrKind::SkbMeta);
                }
            }
            "per_cpu_ptr" | "this_cpu_ptr" => {
                call.returns_allocated = regs[1].kind.flags.has(Flags::RCU);
            }
            _ => {}
        }
        Ok(())
    }

    /// The registers of a callback for an element of a map.
    pub(crate) fn element_registers(&mut self, map: (MapRef, u32)) -> [Option<Register>; 5] {
        let id = self.new_id();
        let pointer =
            |base: Base| Register { map_uid: map.1, ..Register::pointer(base, Object::Map(map.0)) };
        let value = Register { id, ..pointer(Base::MapValue) };
        [Some(pointer(Base::MapPtr)), Some(pointer(Base::MapKey)), Some(value), None, None]
    }

    fn call_loop(&mut self, function: usize) -> Check {
        let regs = self.state.frame().regs;
        // The kernel makes a loop of it where the flags are always 0 and the callback always the
        // same (`update_loop_inline_state`).
        let known = self.loops.get(&self.slot).copied();
        if known.is_none_or(|(becomes_loop, _)| becomes_loop) {
            if regs[4].is_null() {
                self.mark_precise(4)?;
            }
            let same = known.is_none_or(|(_, callback)| callback == function);
            let callback = known.map_or(function, |(_, callback)| callback);
            self.loops.insert(self.slot, (regs[4].is_null() && same, callback));
        }
        self.mark_precise(1)?;
        if u64::from(self.state.frame().callback_depth) < regs[1].umax() {
            let registers = [Some(self.unknown()), Some(regs[3]), None, None, None];
            return self.call_back(function, None, ReturnRange::new(0, 1), registers);
        }
        self.state.frame_mut().callback_depth = 0;
        if self.log.tells_all() {
            let frame = self.state.top();
            self.log.say(format_args!("frame{frame} bpf_loop iteration limit reached\n"));
        }
        Ok(())
    }

    /// A format and the number of its arguments (`check_bpf_snprintf_call`).
    fn check_format(&mut self, format: usize, size: usize) -> Check {
        let regs = self.state.frame().regs;
        let bytes = regs[size].value.bits.value.0;
        if !bytes.is_multiple_of(8) {
            refuse!(self, EINVAL, "");
        }
        let text = regs[format].map().and_then(|map| {
            let start = regs[format].known()? as usize;
            self.maps.get(map).constant()?.get(start..)
        });
        let Some(text) = text else { return Ok(()) };
        let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
        if !crate::facts::format_is_valid(text, (bytes / 8) as usize) {
            refuse!(self, EINVAL, "Invalid format string");
        }
        Ok(())
    }

    fn check_set_retval(&mut self, value: &Register) -> Check {
        if !value.is_scalar() {
            refuse!(self, EINVAL, "R1 is not a scalar");
        }
        let (prog_type, attach_type) = (self.prog_type(), self.program.attach_type);
        if prog_type == ProgType::CgroupSockopt && attach_type == AttachType::CgroupGetsockopt {
            return Ok(());
        }
        let mut range = ReturnRange { low_half: true, ..ReturnRange::new(-(MAX_ERRNO as i32), 0) };
        if prog_type == ProgType::Lsm && attach_type == AttachType::LsmCgroup {
            if self.attach_result().is_void {
                refuse!(
                    self,
                    EINVAL,
                    "BPF_LSM_CGROUP that attach to void LSM hooks can't modify return value!"
                );
            }
            if let Some(hook) = self.hook_range() {
                range = ReturnRange { low_half: true, ..hook };
            }
        }
        self.mark_precise(1)?;
        if !range.holds(value) {
            return Err(self.out_of_range(value, range, "At bpf_set_retval", "R1"));
        }
        Ok(())
    }

    /// Helpers that only some programs may call.
    pub(super) fn check_callers(&self, call: &Call) -> Check {
        if call.proto.name() != "get_func_ip" {
            return Ok(());
        }
        let (id, prog_type) = (call.id, self.prog_type());
        match prog_type {
            ProgType::Kprobe => Ok(()),
            ProgType::Tracing if self.has_trampoline() => Ok(()),
            ProgType::Tracing => refuse!(
                self,
                ENOTSUPP,
                "func bpf_get_func_ip#{id} supported only for fentry/fexit/fsession/fmod_ret programs"
            ),
            _ => {
                let number = prog_type as u32;
                refuse!(
                    self,
                    ENOTSUPP,
                    "func bpf_get_func_ip#{id} not supported for program type {number}"
                )
            }
        }
    }

    /// Legacy access to a packet (`check_ld_abs`).
    pub(crate) fn load_packet(&mut self, index: Option<Reg>) -> Check<Next> {
        if !matches!(
            self.prog_type(),
            ProgType::SocketFilter | ProgType::SchedCls | ProgType::SchedAct
        ) {
            refuse!(
                self,
                EINVAL,
                "BPF_LD_[ABS|IND] instructions not allowed for this program type"
            );
        }
        if self.state.frames[1..].iter().any(|frame| frame.in_callback) {
            refuse!(self, EINVAL, "cannot use BPF_LD_[ABS|IND] within callback");
        }
        let context = self.read(Reg(6))?;
        self.check_leaks(false, true, "BPF_LD_[ABS|IND]")?;
        if !context.kind.is(Base::Ctx) {
            refuse!(self, EINVAL, "at the time of BPF_LD_ABS|IND R6 != pointer to skb");
        }
        if let Some(index) = index {
            self.read(index)?;
        }
        self.check_fixed(&context, 6, false)?;
        self.clear_arguments();
        self.state.regs()[0] = self.unknown();
        if self.state.top() == 0 {
            return Ok(Next::After);
        }
        // Where the packet ends, so does the function.
        self.push_path(self.slot + 1, false)?;
        self.state.regs()[0] = Register::constant(0);
        self.leave_function().map(Next::At)
    }

    /// Whether a helper that is not for all places may be called here (`allowed` of its prototype).
    fn helper_is_allowed_here(&self, proto: &Proto) -> bool {
        helper_is_allowed(&crate::facts::caller(self.program, self.options), proto)
    }

    /// A helper's prototype, as this program has it.
    fn helper_proto(&self, id: i32) -> Option<&'static Proto> {
        crate::facts::proto(self.program, self.options, id)
    }
}

/// Whether a map's elements can be gone through (`map_for_each_callback`).
fn iterates(map_type: MapType) -> bool {
    use MapType as M;
    matches!(
        map_type,
        M::Hash
            | M::PercpuHash
            | M::LruHash
            | M::LruPercpuHash
            | M::Array
            | M::PercpuArray
            | M::Rhash
    )
}

/// What prototypes say of results, as registers have it.
pub(crate) fn flags_of(said: TypeFlags) -> Flags {
    let mut flags = Flags::NONE;
    for (is, then) in [
        (TypeFlags::MAYBE_NULL, Flags::MAYBE_NULL),
        (TypeFlags::RDONLY, Flags::RDONLY),
        (TypeFlags::RINGBUF, Flags::RINGBUF),
        (TypeFlags::TRUSTED, Flags::TRUSTED),
    ] {
        if said.has(is) {
            flags |= then;
        }
    }
    flags
}

//! The arguments of helpers (`check_func_arg`, `kernel/bpf/verifier.c`).

use bombus_platform::proto::{ArgKind, DynptrKind as Wanted, Proto, ProtoFlags, TypeFlags};
use bombus_platform::{Helper, MapType};

use super::helper::helper_name;
use super::memory::At;
use super::stack::Access;
use crate::fields::{Field, FieldKind};
use crate::state::{Base, DynptrKind, Flags, Kind, MapRef, Object, Register, TypeRef};
use crate::walk::{Check, Walk, refuse};

/// Memory on the stack that a call will write, and need not be there before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw {
    /// The register that points to it.
    pub register: u8,
    /// Its bytes.
    pub size: i64,
}

/// What the arguments of a call say (`struct bpf_call_arg_meta`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// The helper.
    pub id: i32,
    /// Its prototype.
    pub proto: &'static Proto,
    /// The map, and which look-up it came from.
    pub map: Option<(MapRef, u32)>,
    /// The key, when it is known.
    pub key: Option<u64>,
    /// The function that is called back.
    pub function: Option<u32>,
    /// The dynptr that is used.
    pub dynptr: Option<Register>,
    /// The id of what is held and was passed.
    pub held: u32,
    /// Bytes of the memory that the call gives.
    pub memory: Option<u32>,
    /// The type of a variable that each CPU has.
    pub percpu: Option<TypeRef>,
    /// Whether what it gives was allocated by the program.
    pub returns_allocated: bool,
    /// Where a pointer is kept.
    pub field: Option<Field>,
    /// What need not be there before.
    pub raw: Option<Raw>,
    /// The register of the memory that need not be there before.
    pub raw_register: Option<u8>,
    /// The greatest size that was passed.
    pub most: u64,
    /// Pointers into packets are void after it.
    pub changes_packet: bool,
}

impl Call {
    pub(crate) fn new(id: i32, proto: &'static Proto) -> Call {
        let is_raw = |flags: TypeFlags| flags.has(TypeFlags::UNINIT) && flags.has(TypeFlags::WRITE);
        let raw = proto.args.iter().position(|arg| {
            is_raw(arg.flags)
                && matches!(arg.kind, ArgKind::Mem | ArgKind::FixedMem(_) | ArgKind::MapValue)
        });
        Call {
            id,
            proto,
            map: None,
            key: None,
            function: None,
            dynptr: None,
            held: 0,
            memory: None,
            percpu: None,
            returns_allocated: false,
            field: None,
            raw: None,
            raw_register: raw.map(|index| index as u8 + 1),
            most: 0,
            changes_packet: proto.has(ProtoFlags::CHANGES_PACKET),
        }
    }
}

impl Walk<'_> {
    /// One argument.
    pub(super) fn check_argument(&mut self, call: &mut Call, index: usize) -> Check {
        let argument = call.proto.args[index];
        let n = index as u8 + 1;
        let register = self.read(bombus_isa::Reg(n))?;
        let (mut kind, flags) = (argument.kind, argument.flags);
        if kind == ArgKind::Anything {
            if self.leaks(&register) {
                refuse!(self, EACCES, "R{n} leaks addr into helper function");
            }
            return Ok(());
        }
        if register.kind.is_packet() && !self.may_touch_packet(Some(call.proto), Access::Read) {
            refuse!(self, EACCES, "helper access to the packet is not allowed");
        }
        if kind == ArgKind::MapValue
            && let Some((map, _)) = call.map
            && matches!(self.maps.get(map).map_type, MapType::Sockmap | MapType::Sockhash)
        {
            kind = ArgKind::BtfIdSockCommon;
        }
        let may_be_null = flags.has(TypeFlags::MAYBE_NULL);
        if register.is_null() && may_be_null {
            self.mark_precise(n.into())?;
        } else {
            self.check_kind(call, &register, n, kind, flags)?;
            if flags.has(TypeFlags::RELEASE) {
                let on_stack = matches!(kind, ArgKind::Dynptr(_)) && register.kind.is(Base::Stack);
                if !on_stack && register.known() != Some(0) {
                    refuse!(
                        self,
                        EINVAL,
                        "R{n} must have zero offset when passed to release func or trusted arg to kfunc"
                    );
                }
            }
            let on_stack = flags.has(TypeFlags::RELEASE) && register.kind.is(Base::Stack);
            if !on_stack {
                self.check_argument_offset(&register, n, kind == ArgKind::Ctx)?;
            }
        }
        let is_dynptr = matches!(kind, ArgKind::Dynptr(_));
        if flags.has(TypeFlags::RELEASE)
            && !is_dynptr
            && !self.state.has_reference(register.id)
            && !register.is_null()
        {
            let name = helper_name(call.id);
            refuse!(
                self,
                EINVAL,
                "release helper {name} expects referenced PTR_TO_BTF_ID passed to R{n}"
            );
        }
        if self.state.has_reference(register.id) {
            call.held = register.id;
        }
        self.check_use(call, &register, n, kind, flags)
    }

    /// What the argument is used for.
    fn check_use(
        &mut self,
        call: &mut Call,
        register: &Register,
        n: u8,
        kind: ArgKind,
        flags: TypeFlags,
    ) -> Check {
        let access = if flags.has(TypeFlags::WRITE) { Access::Write } else { Access::Read };
        match kind {
            ArgKind::ConstMapPtr => {
                call.map = self.check_map_argument(call.map, register, n)?;
                Ok(())
            }
            ArgKind::MapKey => {
                let Some((map, _)) = call.map else { return Ok(()) };
                let (key_size, knows) =
                    (self.maps.get(map).key_size, self.maps.get(map).has_every_key());
                let at = (register, n, i64::from(key_size));
                self.check_helper_memory(at, Access::Read, false, None)?;
                if knows {
                    call.key = self.constant_key(register, key_size as usize)?;
                }
                Ok(())
            }
            ArgKind::MapValue => {
                if register.is_null() && flags.has(TypeFlags::MAYBE_NULL) {
                    return Ok(());
                }
                let Some((map, _)) = call.map else { return Ok(()) };
                let is_bloom = self.maps.get(map).map_type == MapType::BloomFilter;
                // What is peeked for in a bloom filter is read.
                let access = if is_bloom { Access::Read } else { access };
                if is_bloom {
                    call.raw_register = None;
                }
                let size = i64::from(self.maps.get(map).value_size);
                self.check_helper_memory((register, n, size), access, false, Some(call))
            }
            ArgKind::PercpuBtfId => {
                let Some(of) = register.object_type() else {
                    refuse!(self, EACCES, "Helper has invalid btf_id in R{n}");
                };
                call.percpu = Some(of);
                Ok(())
            }
            ArgKind::SpinLock => {
                if self.in_tree_callback() {
                    refuse!(self, EACCES, "can't spin_{{lock,unlock}} in rbtree cb");
                }
                let takes = call.id == Helper::SpinLock.id();
                self.use_lock(register, n, takes, crate::state::LockKind::Spin)
            }
            ArgKind::Timer => {
                let map = self.check_map_field(
                    register,
                    n,
                    |kind| kind == FieldKind::Timer,
                    "bpf_timer",
                )?;
                call.map = Some(map);
                Ok(())
            }
            ArgKind::Func => {
                if let Object::Function(function) = register.object {
                    call.function = Some(function);
                }
                Ok(())
            }
            ArgKind::FixedMem(size) => {
                if register.is_null() {
                    return self.mark_precise(n.into());
                }
                let at = (register, n, i64::from(size));
                self.check_helper_memory(at, access, true, Some(call))?;
                if flags.has(TypeFlags::ALIGNED) {
                    let at = At { pointer: register, n, off: 0, size: size as usize };
                    self.check_alignment(at, true)?;
                }
                Ok(())
            }
            ArgKind::MemSize | ArgKind::MemSizeOrZero => {
                let memory = self.state.frame().regs[usize::from(n) - 1];
                let index = usize::from(n) - 2;
                let writes = call.proto.args[index].flags.has(TypeFlags::WRITE);
                let access = if writes { Access::Write } else { Access::Read };
                let zero = kind == ArgKind::MemSizeOrZero;
                call.most = register.umax();
                self.check_sized(&memory, register, n, access, zero, Some(call))
            }
            ArgKind::Dynptr(wanted) => {
                let is_new = flags.has(TypeFlags::UNINIT);
                let wanted = match wanted {
                    Wanted::Any => None,
                    Wanted::Local => Some(DynptrKind::Local),
                    Wanted::Ringbuf => Some(DynptrKind::Ringbuf),
                    Wanted::Skb => Some(DynptrKind::Skb),
                    Wanted::Xdp => Some(DynptrKind::Xdp),
                    Wanted::SkbMeta => Some(DynptrKind::SkbMeta),
                    Wanted::File => Some(DynptrKind::File),
                };
                if is_new {
                    let kind = wanted.unwrap_or(DynptrKind::Local);
                    let parent = call.dynptr.map(|dynptr| dynptr.parent_id);
                    return self.build_dynptr(register, n, kind, parent, call.held);
                }
                let release = flags.has(TypeFlags::RELEASE);
                call.dynptr = Some(self.use_dynptr(register, n, wanted, release)?);
                Ok(())
            }
            ArgKind::ConstAllocSizeOrZero => {
                let Some(size) = register.known() else {
                    refuse!(self, EINVAL, "R{n} is not a const");
                };
                let Ok(size) = u32::try_from(size) else {
                    refuse!(self, EINVAL, "R{n} allocation size exceeds u32 max");
                };
                self.mark_precise(n.into())?;
                call.memory = Some(size);
                Ok(())
            }
            ArgKind::ConstStr => self.check_constant_string(register, n),
            ArgKind::KptrXchgDest => {
                call.field = Some(self.kept_field(register, n)?);
                if let Some(map) = register.map() {
                    call.map = Some((map, register.map_uid));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A map, the same as one that was passed before (`process_map_ptr_arg`): that one, now.
    pub(crate) fn check_map_argument(
        &self,
        before: Option<(MapRef, u32)>,
        register: &Register,
        n: u8,
    ) -> Check<Option<(MapRef, u32)>> {
        let Some(map) = register.map() else { return Ok(before) };
        let now = register.map_uid;
        if let Some((before, uid)) = before
            && (before, uid) != (map, now)
        {
            let record = &self.maps.get(before).record;
            let object = if record.has(|kind| kind == FieldKind::Timer) {
                "timer"
            } else if record.has(|kind| kind == FieldKind::TaskWork) {
                "bpf_task_work"
            } else {
                "workqueue"
            };
            let other = n - 1;
            refuse!(
                self,
                EINVAL,
                "{object} pointer in R{other} map_uid={uid} doesn't match map pointer in R{n} map_uid={now}"
            );
        }
        Ok(Some((map, now)))
    }

    /// Whether a register is what an argument has to be (`check_reg_type`).
    fn check_kind(
        &self,
        call: &Call,
        register: &Register,
        n: u8,
        wanted: ArgKind,
        said: TypeFlags,
    ) -> Check {
        let accepted = accepted(wanted);
        let mut kind = register.kind;
        if said.has(TypeFlags::RDONLY) {
            kind.flags = kind.flags.without(Flags::RDONLY);
        }
        if said.has(TypeFlags::MAYBE_NULL) {
            kind.flags = kind.flags.without(Flags::MAYBE_NULL);
        }
        if matches!(wanted, ArgKind::Mem | ArgKind::FixedMem(_)) {
            kind.flags = kind.flags.without(Flags::DYNPTR_ANY);
        }
        if wanted == ArgKind::Kptr && kind.is_allocated() {
            kind.flags = kind.flags.without(Flags::ALLOC | Flags::PERCPU);
        }
        if !accepted.contains(&kind) {
            let given = register.kind;
            let list: Vec<String> = accepted.iter().map(Kind::to_string).collect();
            let list = list.join(", ");
            refuse!(self, EACCES, "R{n} type={given} expected={list}");
        }
        if register.kind.base != Base::BtfId {
            return Ok(());
        }
        if accepted.len() > 8 {
            // Memory: the kernel's own objects are only read.
            if !said.has(TypeFlags::RDONLY) {
                let (name, given) = (helper_name(call.id), register.kind);
                refuse!(
                    self,
                    EACCES,
                    "{name}() may write into memory pointed by R{n} type={given}"
                );
            }
            return Ok(());
        }
        self.check_object_kind(call, register, n, wanted, said)
    }

    fn check_object_kind(
        &self,
        call: &Call,
        register: &Register,
        n: u8,
        wanted: ArgKind,
        said: TypeFlags,
    ) -> Check {
        let flags = register.kind.flags;
        let is_kept = call.proto.name() == "kptr_xchg";
        let releases = said.has(TypeFlags::RELEASE);
        if flags.has(Flags::ALLOC) {
            if is_kept
                && n == 2
                && let Some(field) = call.field
            {
                return self.check_kept(field.kind, register, n);
            }
            return Ok(());
        }
        if flags.has(Flags::PERCPU) {
            return Ok(());
        }
        if register.kind.may_be_null() && (!said.has(TypeFlags::MAYBE_NULL) || releases) {
            refuse!(self, EACCES, "Possibly NULL pointer passed to helper R{n}");
        }
        if is_kept {
            return match call.field {
                Some(field) => self.check_kept(field.kind, register, n),
                None => Ok(()),
            };
        }
        let name = match wanted {
            ArgKind::BtfId(name) => name,
            ArgKind::BtfIdSockCommon => "sock_common",
            _ => return Ok(()),
        };
        self.check_fixed(register, n, true)?;
        let (Some(of), Some(needed)) = (register.object_type(), self.types.kernel_struct(name))
        else {
            return Ok(());
        };
        let offset = register.known().unwrap_or(0) as i64;
        let strict = releases && call.proto.name() != "sk_release";
        if !self.is_type(of, offset, needed, strict, !register.kind.is_allocated()) {
            let given = self.types.name(of);
            refuse!(self, EACCES, "R{n} is of type {given} but {name} is expected");
        }
        Ok(())
    }

    /// Maps that a helper works on, and helpers that work on a map
    /// (`check_map_func_compatibility`).
    pub(super) fn check_map_compatibility(&self, call: &Call) -> Check {
        let Some((map, _)) = call.map else { return Ok(()) };
        let map_type = self.maps.get(map).map_type;
        let result = crate::facts::map_and_helper(self.program, self.options, map_type, call.id);
        if let Err(more) = result {
            let (number, name, id) = (map_type as u32, helper_name(call.id), call.id);
            refuse!(self, EINVAL, "{more}cannot pass map_type {number} into func {name}#{id}");
        }
        Ok(())
    }
}

/// What registers an argument accepts (`compatible_reg_types`).
fn accepted(wanted: ArgKind) -> Vec<Kind> {
    let of = |bases: &[Base]| bases.iter().copied().map(Kind::from).collect::<Vec<_>>();
    let objects = |flags: &[Flags]| {
        flags.iter().map(|flags| Kind::new(Base::BtfId, *flags)).collect::<Vec<_>>()
    };
    match wanted {
        ArgKind::MapKey | ArgKind::MapValue | ArgKind::Mem | ArgKind::FixedMem(_) => vec![
            Base::Stack.into(),
            Base::Packet.into(),
            Base::PacketMeta.into(),
            Base::MapKey.into(),
            Base::MapValue.into(),
            Base::Mem.into(),
            Kind::new(Base::Mem, Flags::RINGBUF),
            Base::Buf.into(),
            Kind::new(Base::BtfId, Flags::TRUSTED),
            Base::Ctx.into(),
        ],
        ArgKind::Scalar
        | ArgKind::MemSize
        | ArgKind::MemSizeOrZero
        | ArgKind::ConstAllocSizeOrZero => of(&[Base::Scalar]),
        ArgKind::ConstMapPtr => of(&[Base::MapPtr]),
        ArgKind::Ctx => of(&[Base::Ctx]),
        ArgKind::SockCommon => of(&[Base::SockCommon, Base::Socket, Base::TcpSock, Base::XdpSock]),
        ArgKind::BtfIdSockCommon => {
            let mut all = of(&[Base::SockCommon, Base::Socket, Base::TcpSock, Base::XdpSock]);
            all.extend(objects(&[Flags::NONE, Flags::TRUSTED]));
            all
        }
        ArgKind::Socket => of(&[Base::Socket]),
        ArgKind::BtfId(_) | ArgKind::Kptr => objects(&[Flags::NONE, Flags::TRUSTED, Flags::RCU]),
        ArgKind::SpinLock => {
            vec![Base::MapValue.into(), Kind::new(Base::BtfId, Flags::ALLOC)]
        }
        ArgKind::RingbufMem => vec![Kind::new(Base::Mem, Flags::RINGBUF)],
        ArgKind::PercpuBtfId => {
            objects(&[Flags::PERCPU, Flags::PERCPU | Flags::RCU, Flags::PERCPU | Flags::TRUSTED])
        }
        ArgKind::Func => of(&[Base::Func]),
        ArgKind::Stack => of(&[Base::Stack]),
        ArgKind::ConstStr | ArgKind::Timer => of(&[Base::MapValue]),
        ArgKind::KptrXchgDest => vec![
            Base::MapValue.into(),
            Kind::new(Base::BtfId, Flags::ALLOC),
            Kind::new(Base::BtfId, Flags::ALLOC | Flags::NON_OWN_REF),
            Kind::new(Base::BtfId, Flags::ALLOC | Flags::NON_OWN_REF | Flags::RCU),
        ],
        ArgKind::Dynptr(_) => of(&[Base::Stack, Base::Dynptr]),
        ArgKind::Anything => Vec::new(),
    }
}

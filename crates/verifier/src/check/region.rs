//! Map values, packets, flow keys and sockets (`check_map_access`, `check_packet_access`,
//! `kernel/bpf/verifier.c`).

use bombus_platform::proto::{Proto, ProtoFlags};
use bombus_platform::{FLOW_KEYS_SIZE, MapType, ProgType, SocketKind, socket_access};

use super::memory::At;
use super::stack::{Access, Stored};
use crate::fields::{Field, FieldKind};
use crate::log::show_bits;
use crate::state::{Base, Flags, Kind, Object, Register, TypeRef};
use crate::walk::{Check, Walk, refuse};

impl Walk<'_> {
    /// An access to a map's value (`check_map_access`).
    pub(crate) fn check_map_access(
        &self,
        pointer: &Register,
        n: u8,
        off: i64,
        size: i64,
        zero_size_allowed: bool,
        by_helper: bool,
    ) -> Check {
        let Some(map) = pointer.map() else { return Ok(()) };
        let map = self.maps.get(map);
        self.check_region(pointer, n, off, size, map.memory(), zero_size_allowed)?;
        for field in &map.record.fields {
            let (start, end) = (i64::from(field.offset), i64::from(field.end()));
            let touches = pointer.smin() + off < end
                && start < (pointer.umax() as i64).saturating_add(off + size);
            if !touches {
                continue;
            }
            let name = field.kind.name();
            if field.kind.pointee().is_none() {
                refuse!(self, EACCES, "{name} cannot be accessed directly by load/store");
            }
            if by_helper {
                refuse!(self, EACCES, "{name} cannot be accessed indirectly by helper");
            }
            let Some(known) = pointer.known().map(|known| known as i64) else {
                refuse!(self, EACCES, "{name} access cannot have variable offset");
            };
            if start != off + known {
                let at = off + known;
                refuse!(self, EACCES, "{name} access misaligned expected={start} off={at}");
            }
            if size != 8 {
                refuse!(self, EACCES, "{name} access size must be BPF_DW");
            }
        }
        Ok(())
    }

    /// Whether programs may read or write such maps (`check_map_access_type`).
    pub(crate) fn check_map_allows(
        &self,
        pointer: &Register,
        off: i64,
        size: i64,
        access: Access,
    ) -> Check {
        let Some(map) = pointer.map() else { return Ok(()) };
        let map = self.maps.get(map);
        let (value_size, at) = (map.value_size, pointer.smin().wrapping_add(off));
        if access == Access::Write && !map.may_write() {
            refuse!(
                self,
                EACCES,
                "write into map forbidden, value_size={value_size} off={at} size={size}"
            );
        }
        if access == Access::Read && !map.may_read() {
            refuse!(
                self,
                EACCES,
                "read from map forbidden, value_size={value_size} off={at} size={size}"
            );
        }
        Ok(())
    }

    /// The kept pointer that an access is to.
    fn kept_pointer(&self, at: At<'_>) -> Option<Field> {
        let map = self.maps.get(at.pointer.map()?);
        let known = at.pointer.known()? as i64;
        map.record.at(known + at.off).filter(|field| field.kind.pointee().is_some())
    }

    /// A load from a map's value.
    pub(super) fn load_map_value(&mut self, at: At<'_>, dst: Option<usize>) -> Check {
        let At { pointer, n, off, size } = at;
        self.check_map_allows(pointer, off, size as i64, Access::Read)?;
        self.check_map_access(pointer, n, off, size as i64, false, false)?;
        if let Some(field) = self.kept_pointer(at) {
            return self.load_kept(field, dst);
        }
        let (Some(dst), Some(map)) = (dst, pointer.map()) else { return Ok(()) };
        let map = self.maps.get(map);
        if map.map_type == MapType::InsnArray {
            if size != 8 {
                refuse!(self, EACCES, "Invalid read of {size} bytes from insn_array");
            }
            let mut place = Register { kind: Base::Insn.into(), ..*pointer };
            place.add(off);
            self.state.regs()[dst] = place;
            return Ok(());
        }
        let known = pointer.known().map(|known| known as i64 + off);
        let constant = known.and_then(|known| {
            let start = usize::try_from(known).ok()?;
            map.constant()?.get(start..start.checked_add(size)?)
        });
        let is_array = map.map_type != MapType::PercpuArray;
        self.state.regs()[dst] = match constant.filter(|_| is_array) {
            Some(bytes) => Register::constant(number(bytes)),
            None => self.unknown(),
        };
        Ok(())
    }

    /// A store to a map's value.
    pub(super) fn store_map_value(
        &mut self,
        at: At<'_>,
        stored: Stored,
        leak: Option<usize>,
    ) -> Check {
        let At { pointer, n, off, size } = at;
        if let Some(leak) = leak {
            refuse!(self, EACCES, "R{leak} leaks addr into map");
        }
        self.check_map_allows(pointer, off, size as i64, Access::Write)?;
        self.check_map_access(pointer, n, off, size as i64, false, false)?;
        match self.kept_pointer(at) {
            Some(field) => self.store_kept(field, stored),
            None => Ok(()),
        }
    }

    /// A load of a kept pointer (`check_map_kptr_access`).
    fn load_kept(&mut self, field: Field, dst: Option<usize>) -> Check {
        let plain = matches!(self.op(), Some(bombus_isa::Op::Load { signed: false, .. }));
        let Some(of) = field.kind.pointee().filter(|_| plain) else {
            refuse!(
                self,
                EACCES,
                "kptr in map can only be accessed using BPF_MEM instruction mode"
            );
        };
        let Some(dst) = dst else { return Ok(()) };
        if matches!(field.kind, FieldKind::Uptr(_)) {
            let size = self.types.size(of).unwrap_or(0);
            let register = self.maybe_null(Base::Mem, Flags::NONE, Object::Size(size));
            self.state.regs()[dst] = register;
            return Ok(());
        }
        let flags = self.kept_flags(field.kind, of);
        let register = self.maybe_null(Base::BtfId, flags, Object::Type(of));
        self.state.regs()[dst] = register;
        Ok(())
    }

    /// What is said of a pointer that was kept (`btf_ld_kptr_type`).
    fn kept_flags(&self, kind: FieldKind, of: TypeRef) -> Flags {
        let is_kernel = self.types.is_kernel(of.btf);
        let is_percpu = matches!(kind, FieldKind::KptrPercpu(_));
        let is_safe = is_percpu
            || matches!(kind, FieldKind::KptrRef(_)) && (!is_kernel || self.is_rcu_protected(of));
        if !is_safe || self.may_sleep_here() {
            return Flags::UNTRUSTED;
        }
        let mut flags = Flags::RCU;
        if is_percpu {
            flags |= Flags::PERCPU;
        } else if !is_kernel {
            flags |= Flags::ALLOC;
        }
        let is_node = |kind| matches!(kind, FieldKind::ListNode | FieldKind::RbNode);
        if !is_kernel && self.record_of(of).has(is_node) {
            flags |= Flags::NON_OWN_REF;
        }
        flags
    }

    /// Objects that live as long as RCU sections (`rcu_protected_types`).
    pub(crate) fn is_rcu_protected(&self, of: TypeRef) -> bool {
        !self.types.is_kernel(of.btf)
            || bombus_platform::RCU_PROTECTED.contains(&self.types.name(of))
    }

    /// A store of a pointer that is kept.
    fn store_kept(&mut self, field: Field, stored: Stored) -> Check {
        use bombus_isa::Op;
        if !matches!(self.op(), Some(Op::Store { .. })) {
            refuse!(
                self,
                EACCES,
                "kptr in map can only be accessed using BPF_MEM instruction mode"
            );
        }
        match field.kind {
            FieldKind::KptrRef(_) | FieldKind::KptrPercpu(_) => {
                refuse!(self, EACCES, "store to referenced kptr disallowed")
            }
            FieldKind::Uptr(_) => refuse!(self, EACCES, "store to uptr disallowed"),
            _ => {}
        }
        match stored {
            Stored::Register(register) => {
                let value = self.state.regs()[register];
                if value.is_null() {
                    return self.mark_precise(register);
                }
                self.check_kept(field.kind, &value, register as u8).map_err(|mut rejection| {
                    rejection.errno = crate::walk::errno::EACCES;
                    rejection
                })
            }
            Stored::Constant(0) | Stored::Unknown => Ok(()),
            Stored::Constant(_) => {
                let offset = field.offset;
                refuse!(self, EACCES, "BPF_ST imm must be 0 when storing to kptr at off={offset}")
            }
        }
    }

    /// Whether a pointer is one of those that are kept here (`map_kptr_match_type`).
    pub(crate) fn check_kept(&self, kind: FieldKind, value: &Register, n: u8) -> Check {
        let Some(of) = kind.pointee() else { return Ok(()) };
        let is_plain = matches!(kind, FieldKind::KptrUnref(_));
        let is_percpu = matches!(kind, FieldKind::KptrPercpu(_));
        let bad = |walk: &Self, name: &str| -> Check {
            let (given, wanted) = (value.kind, walk.types.name(of));
            let or = if is_plain { format!(" or untrusted_ptr_{wanted}") } else { String::new() };
            refuse!(
                walk,
                EINVAL,
                "invalid kptr access, R{n} type={given}{name} expected=ptr_{wanted}{or}"
            );
        };
        let Some(given) = value.object_type().filter(|_| value.kind.base == Base::BtfId) else {
            return bad(self, "");
        };
        let mut allowed = match self.types.is_kernel(given.btf) {
            true => Flags::MAYBE_NULL | Flags::TRUSTED | Flags::RCU,
            false => Flags::MAYBE_NULL | Flags::ALLOC,
        };
        if self.types.is_kernel(given.btf) && is_plain {
            allowed |= Flags::UNTRUSTED;
        }
        if !self.types.is_kernel(given.btf) && is_percpu {
            allowed |= Flags::PERCPU;
        }
        if value.kind.flags.without(allowed) != Flags::NONE
            || is_percpu != value.kind.flags.has(Flags::PERCPU)
        {
            return bad(self, "");
        }
        let name = self.types.name(given);
        self.check_fixed(value, n, true)?;
        let offset = value.known().unwrap_or(0) as i64;
        if !self.is_type(given, offset, of, !is_plain, !value.kind.is_allocated()) {
            return bad(self, name);
        }
        Ok(())
    }

    /// Whether such programs may touch packets: by an instruction, or by a helper
    /// (`may_access_direct_pkt_data`).
    pub(crate) fn may_touch_packet(&self, helper: Option<&Proto>, access: Access) -> bool {
        use ProgType as P;
        match self.prog_type() {
            P::LwtIn
            | P::LwtOut
            | P::LwtSeg6local
            | P::SkReuseport
            | P::FlowDissector
            | P::CgroupSkb
                if access == Access::Write =>
            {
                false
            }
            P::LwtIn
            | P::LwtOut
            | P::LwtSeg6local
            | P::SkReuseport
            | P::FlowDissector
            | P::CgroupSkb
            | P::SchedCls
            | P::SchedAct
            | P::Xdp
            | P::LwtXmit
            | P::SkSkb
            | P::SkMsg => helper.is_none_or(|helper| helper.has(ProtoFlags::PKT_ACCESS)),
            P::CgroupSockopt => true,
            _ => false,
        }
    }

    /// An access to a packet (`check_packet_access`).
    pub(crate) fn check_packet(
        &self,
        pointer: &Register,
        n: u8,
        off: i64,
        size: i64,
        zero_size_allowed: bool,
    ) -> Check {
        if pointer.range() < 0 {
            refuse!(self, EINVAL, "R{n} offset is outside of the packet");
        }
        self.check_region(pointer, n, off, size, pointer.range() as u32, zero_size_allowed)
    }

    pub(super) fn check_flow_keys(&self, pointer: &Register, n: u8, off: i64, size: i64) -> Check {
        let Some(known) = pointer.known().map(|known| known as i64) else {
            let bits = show_bits(pointer.value.bits);
            refuse!(
                self,
                EACCES,
                "R{n} invalid variable offset to flow keys: off={off}, var_off={bits}"
            );
        };
        let off = off + known;
        if off < 0 || off + size > FLOW_KEYS_SIZE as i64 {
            refuse!(self, EACCES, "invalid access to flow keys off={off} size={size}");
        }
        Ok(())
    }

    /// A read of a socket (`check_sock_access`).
    pub(super) fn check_socket(&self, pointer: &Register, n: u8, off: i64, size: i64) -> Check {
        if pointer.smin() < 0 {
            refuse!(
                self,
                EACCES,
                "R{n} min value is negative, either use unsigned index or do a if (index >=0) check."
            );
        }
        let socket = match pointer.kind.base {
            Base::SockCommon => SocketKind::Common,
            Base::TcpSock => SocketKind::Tcp,
            Base::XdpSock => SocketKind::Xdp,
            _ => SocketKind::Whole,
        };
        let place = i32::try_from(off).ok().filter(|_| pointer.known() == Some(0));
        if place.is_some_and(|off| socket_access(socket, off, size as u32).is_some()) {
            return Ok(());
        }
        let kind = pointer.kind;
        refuse!(self, EACCES, "R{n} invalid {kind} access off={off} size={size}");
    }

    /// The type of the program; of one that replaces a function of another, the other's.
    pub(crate) fn prog_type(&self) -> ProgType {
        match self.program.attach_to {
            crate::AttachTarget::Program { prog_type, .. }
                if self.program.prog_type == ProgType::Ext =>
            {
                prog_type
            }
            _ => self.program.prog_type,
        }
    }

    /// Whether sleeping is allowed here: not in critical sections (`in_rcu_cs`).
    pub(crate) fn may_sleep_here(&self) -> bool {
        let state = &self.state;
        state.rcu == 0
            && state.preempt_off == 0
            && state.locks == 0
            && state.irq_id == 0
            && state.sleepable
    }

    /// Whether a pointer is to a living object (`is_trusted_reg`).
    pub(crate) fn is_trusted(&self, register: &Register) -> bool {
        if self.state.has_reference(register.id) {
            return true;
        }
        let Kind { base, flags } = register.kind;
        let is_known =
            matches!(base, Base::Socket | Base::SockCommon | Base::TcpSock | Base::MapPtr);
        if is_known && !register.kind.is_unsafe() {
            return true;
        }
        flags.has(Flags::TRUSTED_MODIFIERS) && !register.kind.is_unsafe()
    }
}

/// The bytes as a number; it is cut to its size, and its sign extended, as any that is loaded.
fn number(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    let len = bytes.len().min(8);
    word[..len].copy_from_slice(&bytes[..len]);
    u64::from_le_bytes(word)
}

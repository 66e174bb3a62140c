//! Loads, stores and atomic operations (`check_mem_access`, `kernel/bpf/verifier.c`).

use std::num::Wrapping;

use bombus_isa::{AtomicOp, Operand, Reg, Size};
use bombus_platform::MapType;

use super::stack::{Access, Stored};
use crate::log::show_bits;
use crate::state::{Base, Flags, Kind, MAX_OFFSET, Object, Register};
use crate::walk::{Check, Walk, refuse};

/// An access to memory by an instruction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At<'r> {
    /// What the address register holds.
    pub pointer: &'r Register,
    /// Which register that is.
    pub n: u8,
    /// Bytes added to it.
    pub off: i64,
    /// Bytes that are accessed.
    pub size: usize,
}

impl Walk<'_> {
    /// `dst = *(size *)(base + off)`.
    pub(crate) fn load(
        &mut self,
        dst: Reg,
        base: Reg,
        off: i16,
        size: Size,
        signed: bool,
        strict: bool,
    ) -> Check {
        let pointer = self.read(base)?;
        let dst = self.written(dst)?;
        let at = At { pointer: &pointer, n: base.0, off: off.into(), size: size.bytes() };
        self.load_from(at, Some(dst), signed, strict)?;
        self.note_pointer(&pointer, !strict)
    }

    /// `dst = load_acquire((size *)(base + off))`.
    pub(crate) fn load_acquire(&mut self, dst: Reg, base: Reg, off: i16, size: Size) -> Check {
        let pointer = self.read(base)?;
        if !self.allows_atomic(&pointer, true) {
            let kind = pointer.kind;
            refuse!(self, EACCES, "BPF_ATOMIC loads from R{} {kind} is not allowed", base.0);
        }
        self.load(dst, base, off, size, false, true)
    }

    /// `*(size *)(base + off) = src`.
    pub(crate) fn store(
        &mut self,
        base: Reg,
        off: i16,
        size: Size,
        src: Operand,
        strict: bool,
    ) -> Check {
        if let Operand::Reg(src) = src {
            self.read(src)?;
        }
        let pointer = self.read(base)?;
        let at = At { pointer: &pointer, n: base.0, off: off.into(), size: size.bytes() };
        self.store_to(at, src.into(), strict)?;
        self.note_pointer(&pointer, false)
    }

    /// `store_release((size *)(base + off), src)`.
    pub(crate) fn store_release(&mut self, base: Reg, off: i16, size: Size, src: Reg) -> Check {
        self.store(base, off, size, Operand::Reg(src), true)?;
        let pointer = self.state.regs()[usize::from(base.0)];
        if !self.allows_atomic(&pointer, false) {
            let kind = pointer.kind;
            refuse!(self, EACCES, "BPF_ATOMIC stores into R{} {kind} is not allowed", base.0);
        }
        Ok(())
    }

    /// `lock *(size *)(base + off) op= src` (`check_atomic_rmw`).
    pub(crate) fn atomic(
        &mut self,
        size: Size,
        op: AtomicOp,
        fetch: bool,
        base: Reg,
        off: i16,
        src: Reg,
    ) -> Check {
        if !matches!(size, Size::W | Size::Dw) {
            refuse!(self, EINVAL, "invalid atomic operand size");
        }
        let value = self.read(src)?;
        let pointer = self.read(base)?;
        if op == AtomicOp::Cmpxchg {
            let expected = self.read(Reg::R0)?;
            if self.leaks(&expected) {
                refuse!(self, EACCES, "R0 leaks addr into mem");
            }
        }
        if self.leaks(&value) {
            refuse!(self, EACCES, "R{} leaks addr into mem", src.0);
        }
        if !self.allows_atomic(&pointer, false) {
            let kind = pointer.kind;
            refuse!(self, EACCES, "BPF_ATOMIC stores into R{} {kind} is not allowed", base.0);
        }
        let loaded = match (op, fetch) {
            (AtomicOp::Cmpxchg, _) => Some(Reg::R0),
            (_, true) => Some(src),
            (_, false) => None,
        };
        if let Some(loaded) = loaded {
            let loaded = self.written(loaded)?;
            self.state.regs()[loaded] = self.unknown();
        }
        let at = At { pointer: &pointer, n: base.0, off: off.into(), size: size.bytes() };
        self.load_from(at, None, false, true)?;
        if let Some(loaded) = loaded {
            self.load_from(at, Some(loaded.0.into()), false, true)?;
        }
        self.note_pointer(&pointer, false)?;
        self.store_to(at, Stored::Unknown, true)
    }

    /// Whether atomic operations are done through such a pointer (`atomic_ptr_type_ok`).
    fn allows_atomic(&self, pointer: &Register, loads: bool) -> bool {
        let kind = pointer.kind;
        !(kind.is(Base::Ctx)
            || kind.is_packet()
            || kind.is(Base::FlowKeys)
            || kind.is_socket()
            || loads && kind.may_fault())
    }

    /// The same instruction goes through the same kind of pointer on every path
    /// (`save_aux_ptr_type`).
    fn note_pointer(&mut self, pointer: &Register, merges: bool) -> Check {
        self.note_memory(pointer);
        let kind = pointer.kind;
        let noted = self.notes[self.slot].pointer;
        if noted == Kind::default() {
            self.notes[self.slot].pointer = kind;
            return Ok(());
        }
        if kind == noted || (may_differ(kind) && may_differ(noted)) {
            return Ok(());
        }
        let merges_kind = |kind: Kind| matches!(kind.base, Base::Mem | Base::BtfId);
        if !merges || !merges_kind(kind) || !merges_kind(noted) {
            refuse!(self, EINVAL, "same insn cannot be used with different pointers");
        }
        let to_memory = kind.base == Base::Mem || noted.base == Base::Mem;
        let base = if to_memory { Base::Mem } else { Base::BtfId };
        let flags = if kind.may_fault() || noted.may_fault() {
            if to_memory { Flags::RDONLY | Flags::UNTRUSTED } else { Flags::UNTRUSTED }
        } else {
            (kind.flags | noted.flags) & Flags::RDONLY
        };
        self.notes[self.slot].pointer = Kind::new(base, flags);
        Ok(())
    }

    /// A load: into a register, or only to see that it may be done.
    pub(crate) fn load_from(
        &mut self,
        at: At<'_>,
        dst: Option<usize>,
        signed: bool,
        strict: bool,
    ) -> Check {
        self.check_alignment(at, strict)?;
        let At { pointer, n, off, size } = at;
        let kind = pointer.kind;
        match kind.base {
            Base::Stack if kind.is(Base::Stack) => {
                self.load_stack(pointer, n, off, size, dst)?;
                return self.cut(dst, size, signed);
            }
            Base::MapValue if kind.is(Base::MapValue) => {
                self.load_map_value(at, dst)?;
                return self.cut(dst, size, signed);
            }
            Base::Ctx if kind.is(Base::Ctx) => {
                self.load_context(at, dst, signed)?;
                return self.cut(dst, size, signed);
            }
            Base::BtfId if !kind.may_be_null() => {
                self.access_object(at, Access::Read, dst)?;
                return self.cut(dst, size, signed);
            }
            Base::MapPtr if kind.is(Base::MapPtr) => {
                self.access_map(at, Access::Read, dst)?;
                return self.cut(dst, size, signed);
            }
            _ => self.check_access(at, Access::Read, None)?,
        }
        if let Some(dst) = dst {
            self.state.regs()[dst] = self.unknown();
        }
        self.cut(dst, size, signed)
    }

    /// A store.
    pub(crate) fn store_to(&mut self, at: At<'_>, stored: Stored, strict: bool) -> Check {
        self.check_alignment(at, strict)?;
        let At { pointer, n, off, size } = at;
        let kind = pointer.kind;
        let leak = match stored {
            Stored::Register(register) => {
                let value = self.state.regs()[register];
                self.leaks(&value).then_some(register)
            }
            _ => None,
        };
        match kind.base {
            Base::Stack if kind.is(Base::Stack) => self.store_stack(pointer, n, off, size, stored),
            Base::MapValue if kind.is(Base::MapValue) => self.store_map_value(at, stored, leak),
            Base::BtfId if !kind.may_be_null() => self.access_object(at, Access::Write, None),
            Base::MapPtr if kind.is(Base::MapPtr) => self.access_map(at, Access::Write, None),
            _ => {
                self.check_access(at, Access::Write, leak)?;
                // Memory that cannot be written was refused.
                Ok(())
            }
        }
    }

    /// A shorter number than the register has.
    fn cut(&mut self, dst: Option<usize>, size: usize, signed: bool) -> Check {
        let Some(dst) = dst else { return Ok(()) };
        let register = &mut self.state.regs()[dst];
        if size >= 8 || !register.is_scalar() {
            return Ok(());
        }
        if signed {
            let same = register.umax() < 1 << (size * 8 - 1);
            register.value =
                register.value.sign_extended_from(size as u32 * 8, bombus_isa::Width::W64);
            if !same {
                register.forget_id();
            }
        } else {
            register.truncate(size);
        }
        Ok(())
    }

    /// An access to what is neither stack, map value nor typed: whether it may be done.
    fn check_access(&mut self, at: At<'_>, access: Access, leak: Option<usize>) -> Check {
        let At { pointer, n, off, size } = at;
        let kind = pointer.kind;
        let writes = access == Access::Write;
        let size = size as i64;
        let may_leak = |walk: &Self, into: &str| -> Check {
            if let Some(leak) = leak {
                refuse!(walk, EACCES, "R{leak} leaks addr into {into}");
            }
            Ok(())
        };
        match kind.base {
            Base::MapKey if kind.is(Base::MapKey) => {
                if writes {
                    refuse!(self, EACCES, "write to change key R{n} not allowed");
                }
                let key_size = pointer.map().map_or(0, |map| self.maps.get(map).key_size);
                self.check_region(pointer, n, off, size, key_size, false)
            }
            Base::Mem => {
                let untrusted = kind.is_read_only() && kind.flags.has(Flags::UNTRUSTED);
                if kind.may_be_null() {
                    refuse!(self, EACCES, "R{n} invalid mem access '{kind}'");
                }
                if writes && kind.is_read_only() {
                    refuse!(self, EACCES, "R{n} cannot write into {kind}");
                }
                may_leak(self, "mem")?;
                if untrusted && !self.allowed.pointer_leaks {
                    refuse!(
                        self,
                        EPERM,
                        "{kind} access is allowed only to CAP_PERFMON and CAP_SYS_ADMIN"
                    );
                }
                if untrusted {
                    return Ok(());
                }
                self.check_region(pointer, n, off, size, pointer.size(), false)
            }
            Base::Ctx if kind.is(Base::Ctx) => {
                may_leak(self, "ctx")?;
                self.check_context(at, access, false).map(|_| ())
            }
            Base::Packet | Base::PacketMeta if kind.is_packet() => {
                if writes && !self.may_touch_packet(None, Access::Write) {
                    refuse!(self, EACCES, "cannot write into packet");
                }
                may_leak(self, "packet")?;
                self.check_packet(pointer, n, off, size, false)
            }
            Base::FlowKeys if kind.is(Base::FlowKeys) => {
                may_leak(self, "flow keys")?;
                self.check_flow_keys(pointer, n, off, size)
            }
            Base::Socket | Base::SockCommon | Base::TcpSock | Base::XdpSock if kind.is_socket() => {
                if writes {
                    refuse!(self, EACCES, "R{n} cannot write into {kind}");
                }
                self.check_socket(pointer, n, off, size)
            }
            Base::TpBuffer if kind.is(Base::TpBuffer) => {
                self.check_buffer("tracepoint", pointer, n, off).map(|_| ())
            }
            Base::Buf if !kind.may_be_null() => {
                if writes && kind.is_read_only() {
                    refuse!(self, EACCES, "R{n} cannot write into {kind}");
                }
                let name = if kind.is_read_only() { "rdonly" } else { "rdwr" };
                self.check_buffer(name, pointer, n, off).map(|_| ())
            }
            Base::Arena if kind.is(Base::Arena) => Ok(()),
            _ => refuse!(self, EACCES, "R{n} invalid mem access '{kind}'"),
        }
    }

    /// Memory of a known size (`check_mem_region_access`).
    pub(crate) fn check_region(
        &self,
        pointer: &Register,
        n: u8,
        off: i64,
        size: i64,
        memory: u32,
        zero_size_allowed: bool,
    ) -> Check {
        let least = pointer.smin();
        let fits = |number: i64| i32::try_from(number).is_ok();
        if least < 0
            && (least == i64::MIN || !fits(off.wrapping_add(least)) || least.wrapping_add(off) < 0)
        {
            refuse!(
                self,
                EACCES,
                "R{n} min value is negative, either use unsigned index or do a if (index >=0) check."
            );
        }
        let outside = |walk: &Self, at: i64, which: &str| -> Check {
            if at >= 0
                && (size > 0 || size == 0 && zero_size_allowed)
                && at.saturating_add(size) <= i64::from(memory)
            {
                return Ok(());
            }
            let what = walk.describe_outside(pointer, n, at, size, memory);
            refuse!(
                walk,
                EACCES,
                "{what}\nR{n} {which} value is outside of the allowed memory range"
            );
        };
        outside(self, i64::from(least.wrapping_add(off) as i32), "min")?;
        if pointer.umax() >= MAX_OFFSET as u64 {
            refuse!(
                self,
                EACCES,
                "R{n} unbounded memory access, make sure to bounds check any such access"
            );
        }
        outside(self, pointer.umax() as i64 + off, "max")
    }

    /// What is wrong with an access outside memory (`__check_mem_access`).
    fn describe_outside(
        &self,
        pointer: &Register,
        n: u8,
        off: i64,
        size: i64,
        memory: u32,
    ) -> String {
        match pointer.kind.base {
            Base::MapKey if pointer.kind.is(Base::MapKey) => {
                format!("invalid access to map key, key_size={memory} off={off} size={size}")
            }
            Base::MapValue if pointer.kind.is(Base::MapValue) => {
                format!("invalid access to map value, value_size={memory} off={off} size={size}")
            }
            _ if pointer.kind.is_packet_any() => {
                let id = pointer.id;
                let memory = memory as i32;
                format!(
                    "invalid access to packet, off={off} size={size}, R{n}(id={id},off={off},r={memory})"
                )
            }
            Base::Ctx if pointer.kind.is(Base::Ctx) => {
                format!("invalid access to context, ctx_size={memory} off={off} size={size}")
            }
            _ => format!("invalid access to memory, mem_size={memory} off={off} size={size}"),
        }
    }

    /// A buffer of which only the furthest access is known (`__check_buffer_access`): where this
    /// one starts.
    pub(crate) fn check_buffer(
        &self,
        name: &str,
        pointer: &Register,
        n: u8,
        off: i64,
    ) -> Check<i64> {
        let Some(known) = pointer.known().map(|known| known as i64) else {
            let bits = show_bits(pointer.value.bits);
            refuse!(self, EACCES, "R{n} invalid variable buffer offset: off={off}, var_off={bits}");
        };
        let start = known.wrapping_add(off);
        if start < 0 {
            refuse!(
                self,
                EACCES,
                "R{n} invalid negative {name} buffer offset: off={off}, var_off={known}"
            );
        }
        Ok(start)
    }

    /// A pointer whose offset must be known (`__check_ptr_off_reg`).
    pub(crate) fn check_fixed(&self, pointer: &Register, n: u8, moved: bool) -> Check {
        let kind = pointer.kind;
        let Some(known) = pointer.known().map(|known| known as i64) else {
            let bits = show_bits(pointer.value.bits);
            refuse!(self, EACCES, "variable {kind} access var_off={bits} disallowed");
        };
        if pointer.smin() < 0 {
            refuse!(self, EACCES, "negative offset {kind} ptr R{n} off={known} disallowed");
        }
        if !moved && known != 0 {
            refuse!(self, EACCES, "dereference of modified {kind} ptr R{n} off={known} disallowed");
        }
        Ok(())
    }

    /// The alignment of an access (`check_ptr_alignment`).
    pub(crate) fn check_alignment(&self, at: At<'_>, strict: bool) -> Check {
        let At { pointer, off, size, .. } = at;
        let kind = pointer.kind;
        let strict = self.strict_alignment || strict;
        let plain = kind.flags == Flags::NONE;
        let (what, strict) = match kind.base {
            Base::Arena => return Ok(()),
            Base::FlowKeys if plain => ("flow keys ", strict),
            Base::MapKey if plain => ("key ", strict),
            Base::MapValue if plain => {
                let is_places = pointer
                    .map()
                    .is_some_and(|map| self.maps.get(map).map_type == MapType::InsnArray);
                ("value ", strict || is_places)
            }
            Base::Ctx if plain => ("context ", strict),
            Base::Stack if plain => ("stack ", true),
            Base::Socket if plain => ("sock ", strict),
            Base::SockCommon if plain => ("sock_common ", strict),
            Base::TcpSock if plain => ("tcp_sock ", strict),
            Base::XdpSock if plain => ("xdp_sock ", strict),
            _ => ("", strict),
        };
        if !strict || size == 1 {
            return Ok(());
        }
        let aligned = |offset: i64| {
            let sum = pointer.value.bits.plus(crate::domain::Tnum::exact(Wrapping(offset as u64)));
            (sum.value.0 | sum.mask.0) & (size as u64 - 1) == 0
        };
        let bits = show_bits(pointer.value.bits);
        if kind.is_packet() {
            // What stands before the IP header moves it off by two (`NET_IP_ALIGN`).
            if !aligned(2 + off) {
                refuse!(self, EACCES, "misaligned packet access off 2+{bits}+{off} size {size}");
            }
            return Ok(());
        }
        if !aligned(off) {
            refuse!(self, EACCES, "misaligned {what}access off {bits}+{off} size {size}");
        }
        Ok(())
    }

    /// The registers that calls leave without a value (`clear_caller_saved_regs`).
    pub(crate) fn clear_arguments(&mut self) {
        let empty = Register { precise: !self.allowed.bpf, ..Register::NOT_INIT };
        for register in 0..=5 {
            self.state.regs()[register] = empty;
            self.touch_register(register);
        }
    }

    /// A pointer to the start of something, that may be null.
    pub(crate) fn maybe_null(&mut self, base: Base, flags: Flags, object: Object) -> Register {
        let kind = Kind::new(base, flags | Flags::MAYBE_NULL);
        Register { id: self.new_id(), ..Register::pointer(kind, object) }
    }
}

/// Whether one instruction may go through such pointers on one path and others on another
/// (`reg_type_mismatch_ok`).
fn may_differ(kind: Kind) -> bool {
    match kind.base {
        Base::Ctx
        | Base::Socket
        | Base::SockCommon
        | Base::TcpSock
        | Base::XdpSock
        | Base::BtfId
        | Base::Arena => false,
        Base::Mem => !kind.may_fault(),
        _ => true,
    }
}

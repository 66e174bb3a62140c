//! Memory that helpers are given: a pointer and a size, or text that nobody can change
//! (`check_mem_size_reg`, `check_arg_const_str`, `kernel/bpf/verifier.c`).

use bombus_platform::MapType;

use super::args::{Call, Raw};
use super::memory::At;
use super::stack::Access;
use crate::state::{Base, Byte, MAX_OFFSET, Register, place};
use crate::walk::{Check, Walk, refuse};

impl Walk<'_> {
    /// Memory that a helper works on (`check_helper_mem_access`): pointer, its register, bytes.
    pub(crate) fn check_helper_memory(
        &mut self,
        (pointer, n, size): (&Register, u8, i64),
        access: Access,
        zero_size_allowed: bool,
        call: Option<&mut Call>,
    ) -> Check {
        let kind = pointer.kind;
        let writes = access == Access::Write;
        let whole = size.abs();
        match kind.base {
            Base::Packet | Base::PacketMeta => {
                self.check_packet(pointer, n, 0, whole, zero_size_allowed)
            }
            Base::MapKey => {
                if writes {
                    refuse!(self, EACCES, "R{n} cannot write into {kind}");
                }
                let key_size = pointer.map().map_or(0, |map| self.maps.get(map).key_size);
                self.check_region(pointer, n, 0, whole, key_size, false)
            }
            Base::MapValue => {
                self.check_map_allows(pointer, 0, whole, access)?;
                self.check_map_access(pointer, n, 0, whole, zero_size_allowed, true)
            }
            Base::Mem => {
                if writes && kind.is_read_only() {
                    refuse!(self, EACCES, "R{n} cannot write into {kind}");
                }
                self.check_region(pointer, n, 0, whole, pointer.size(), zero_size_allowed)
            }
            Base::Buf => {
                if writes && kind.is_read_only() {
                    refuse!(self, EACCES, "R{n} cannot write into {kind}");
                }
                let name = if kind.is_read_only() { "rdonly" } else { "rdwr" };
                self.check_buffer(name, pointer, n, 0).map(|_| ())
            }
            Base::Stack => {
                let raw = call.filter(|call| call.raw_register == Some(n));
                match raw {
                    // It will be written, whatever is there.
                    Some(call) if pointer.known().is_some() => {
                        if whole == 0 && !zero_size_allowed {
                            refuse!(self, EACCES, "invalid zero-sized read");
                        }
                        self.stack_range(pointer, n, 0, whole, access)?;
                        call.raw = Some(Raw { register: n, size: whole });
                        Ok(())
                    }
                    _ => {
                        self.check_stack_initialized(pointer, n, 0, size, zero_size_allowed, access)
                    }
                }
            }
            Base::BtfId => {
                let at = At { pointer, n, off: 0, size: whole as usize };
                self.access_object(at, access, None)
            }
            Base::Ctx if self.context_may_move() => {
                self.check_region(pointer, n, 0, whole, u16::MAX.into(), zero_size_allowed)
            }
            _ => {
                if zero_size_allowed && size == 0 && pointer.is_null() {
                    return Ok(());
                }
                refuse!(self, EACCES, "R{n} type={kind} expected=fp");
            }
        }
    }

    /// Memory and its size (`check_mem_size_reg`).
    pub(crate) fn check_sized(
        &mut self,
        memory: &Register,
        size: &Register,
        n: u8,
        access: Access,
        zero_size_allowed: bool,
        call: Option<&mut Call>,
    ) -> Check {
        if size.smin() < 0 {
            refuse!(
                self,
                EACCES,
                "R{n} min value is negative, either use unsigned or 'var &= const'"
            );
        }
        if size.umin() == 0 && !zero_size_allowed {
            let (min, max) = (size.umin() as i64, size.umax() as i64);
            refuse!(self, EACCES, "R{n} invalid zero-sized read: u64=[{min},{max}]");
        }
        if size.umax() >= MAX_OFFSET as u64 {
            refuse!(
                self,
                EACCES,
                "R{n} unbounded memory access, use 'var &= const' or 'if (var < const)'"
            );
        }
        // Of a size that is not known all that can be must be there.
        let call = call.filter(|_| size.known().is_some());
        let at = (memory, n - 1, size.umax() as i64);
        self.check_helper_memory(at, access, zero_size_allowed, call)?;
        self.mark_precise(n.into())
    }

    /// A key on the stack that is known (`get_constant_map_key`).
    pub(super) fn constant_key(&mut self, key: &Register, size: usize) -> Check<Option<u64>> {
        let offset = key.known().map(|offset| offset as i64);
        let (true, true, Some(offset)) = (self.allowed.bpf, key.kind.is(Base::Stack), offset)
        else {
            return Ok(None);
        };
        if offset >= 0 {
            return Ok(None);
        }
        let (index, byte) = place(offset);
        let frame = key.frame().min(self.state.top());
        let Some(slot) = self.state.frames[frame].stack.get(index).cloned() else {
            return Ok(None);
        };
        let run =
            |held: Byte| slot.bytes[..=byte].iter().rev().take_while(|each| **each == held).count();
        if run(Byte::Zero) >= size {
            return Ok(Some(0));
        }
        if !slot.is_scalar_spill() || run(Byte::Spill) != size {
            return Ok(None);
        }
        let known = slot.register().known();
        if known.is_some() {
            self.mark_slots_precise(frame, 1 << index)?;
        }
        Ok(known)
    }

    /// A string that nobody can change (`check_arg_const_str`).
    pub(crate) fn check_constant_string(&mut self, register: &Register, n: u8) -> Check {
        let Some(map) = register.map().filter(|_| register.kind.is(Base::MapValue)) else {
            refuse!(self, EINVAL, "");
        };
        let entry = self.maps.get(map);
        match entry.map_type {
            MapType::InsnArray => refuse!(
                self,
                EACCES,
                "R{n} points to insn_array map which cannot be used as const string"
            ),
            MapType::PercpuArray => refuse!(
                self,
                EACCES,
                "R{n} points to percpu_array map which cannot be used as const string"
            ),
            _ => {}
        }
        let Some(text) = entry.constant() else {
            refuse!(self, EACCES, "R{n} does not point to a readonly map'");
        };
        let Some(start) = register.known() else {
            refuse!(self, EACCES, "R{n} is not a constant address'");
        };
        let size = i64::from(entry.value_size) - start as i64;
        self.check_map_access(register, n, 0, size, false, true)?;
        if !text.iter().skip(start as usize).any(|byte| *byte == 0) {
            refuse!(self, EINVAL, "string is not zero-terminated");
        }
        Ok(())
    }
}

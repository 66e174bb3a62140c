//! Loads from the stack and stores to it (`check_stack_read`, `check_stack_write`,
//! `kernel/bpf/verifier.c`).

use bombus_isa::{Op, Operand};

use crate::log::show_bits;
use crate::state::{Base, Byte, MAX_OFFSET, MAX_STACK, Register, SLOT, Slot, Stack, place};
use crate::walk::history::{Links, Touch};
use crate::walk::{Check, Walk, refuse};

/// Whether memory is read or written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    Read,
    Write,
}

/// What is stored: a register, a constant, or something that is not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stored {
    Register(usize),
    Constant(i32),
    Unknown,
}

impl From<Operand> for Stored {
    fn from(src: Operand) -> Stored {
        match src {
            Operand::Reg(src) => Stored::Register(src.0.into()),
            Operand::Imm(number) => Stored::Constant(number),
        }
    }
}

impl Walk<'_> {
    /// The offsets of an access through a stack pointer, in bounds: the first byte of the lowest,
    /// and the first of the highest (`check_stack_access_within_bounds`).
    pub(super) fn stack_range(
        &mut self,
        pointer: &Register,
        n: u8,
        off: i64,
        size: i64,
        access: Access,
    ) -> Check<(i64, i64)> {
        let doing = if access == Access::Read { " read from" } else { " write to" };
        let known = pointer.known().map(|known| known as i64);
        let (low, high) = match known {
            Some(known) => (known.wrapping_add(off), known.wrapping_add(off)),
            None => {
                if pointer.smax() >= MAX_OFFSET || pointer.smin() <= -MAX_OFFSET {
                    refuse!(self, EACCES, "invalid unbounded variable-offset{doing} stack R{n}");
                }
                (pointer.smin() + off, pointer.smax() + off)
            }
        };
        let frame = pointer.frame().min(self.state.top());
        let least = match access == Access::Write || self.allowed.uninit_stack {
            true => -MAX_STACK,
            false => -self.state.frames[frame].depth(),
        };
        let end = high.saturating_add(size);
        let errno = if low < least || low > -1 {
            crate::walk::errno::EACCES
        } else if end > 0 {
            crate::walk::errno::EINVAL
        } else if size < 0 {
            crate::walk::errno::EFAULT
        } else {
            self.state.frames[frame].grow(low);
            let slots = self.state.frames[frame].stack.len() as u32 * SLOT as u32;
            let function = self.state.frames[frame].function as usize;
            let used = &mut self.functions[function].stats.stack;
            *used = (*used).max(slots);
            return Ok((low, high));
        };
        let message = match known {
            Some(_) => format!("invalid{doing} stack R{n} off={low} size={size}"),
            None => {
                let bits = show_bits(pointer.value.bits);
                format!(
                    "invalid variable-offset{doing} stack R{n} var_off={bits} off={off} size={size}"
                )
            }
        };
        Err(self.rejection(errno, message))
    }

    /// Saves around calls stay where something else uses their stack
    /// (`check_fastcall_stack_contract`).
    fn touch_fastcalls(&mut self, low: i64) {
        let function = self.state.frame().function as usize;
        let slots = self.code.functions()[function].slots();
        self.fastcalls.touch(function, slots, self.slot, low as i32);
    }

    /// Stores to the stack.
    pub(super) fn store_stack(
        &mut self,
        pointer: &Register,
        n: u8,
        off: i64,
        size: usize,
        stored: Stored,
    ) -> Check {
        let (low, high) = self.stack_range(pointer, n, off, size as i64, Access::Write)?;
        self.touch_fastcalls(low);
        let frame = pointer.frame().min(self.state.top());
        match pointer.known() {
            Some(_) => self.store_at(frame, low, size, stored),
            None => self.store_somewhere(frame, low, high + size as i64, stored),
        }
    }

    /// A store whose place is known (`check_stack_write_fixed_off`).
    fn store_at(&mut self, frame: usize, offset: i64, size: usize, stored: Stored) -> Check {
        let (index, byte) = place(offset);
        let slot = self.state.frames[frame].stack[index].clone();
        if !self.allowed.pointer_leaks && slot.is_spill() && !slot.is_scalar_spill() && size != SLOT
        {
            refuse!(self, EACCES, "attempt to corrupt spilled pointer on stack");
        }
        let mut value = match stored {
            Stored::Register(register) => Some(self.state.regs()[register]),
            Stored::Constant(_) | Stored::Unknown => None,
        };
        if !self.allowed.spec_v4 {
            let mut held = (0..size).map(|i| slot.bytes[(byte + SLOT - i) % SLOT]);
            let is_data = |byte: Byte| matches!(byte, Byte::Misc | Byte::Zero);
            let is_pointer = value.is_some_and(|value| value.kind.is_pointer());
            if is_pointer || !held.all(is_data) {
                self.notes[self.slot].no_speculative_result = true;
            }
        }
        self.destroy_dynptr(frame, index)?;
        self.touch_slot(index);
        let aligned = offset % SLOT as i64 == 0;
        let touch = Touch { stack: Some((frame as u8, index as u8)), ..Touch::default() };
        let spilled = match (value.as_mut(), stored) {
            (Some(value), Stored::Register(register))
                if aligned && value.is_scalar() && self.allowed.bpf =>
            {
                let fits = value.width() as usize <= size * 8;
                if fits {
                    *value = self.share_id(*value);
                    self.state.regs()[register] = *value;
                }
                let mut spilled = *value;
                if !fits {
                    spilled.forget_id();
                }
                Some(spilled)
            }
            (None, Stored::Constant(number)) if aligned && self.allowed.bpf => {
                Some(Register::constant(number as i64 as u64))
            }
            (Some(value), _) if value.kind.is_pointer() => {
                if size != SLOT {
                    refuse!(self, EACCES, "invalid size of register spill");
                }
                if frame != self.state.top() && value.kind.is(Base::Stack) {
                    refuse!(
                        self,
                        EINVAL,
                        "cannot spill pointers to stack into stack frame of the caller"
                    );
                }
                Some(*value)
            }
            _ => None,
        };
        if let Some(spilled) = spilled {
            save(&mut self.state.frames[frame].stack, index, spilled, size);
            self.note_jump(touch, Links::default());
            return Ok(());
        }
        let is_zero = match stored {
            Stored::Register(_) => value.is_some_and(|value| value.is_null()),
            Stored::Constant(number) => number == 0,
            Stored::Unknown => false,
        };
        let slot = &mut self.state.frames[frame].stack[index];
        if slot.is_special() {
            slot.scrub();
        }
        slot.forget_register();
        let mut held = Byte::Misc;
        if is_zero {
            // That it is zero counts.
            if let Stored::Register(register) = stored {
                self.mark_precise(register)?;
            }
            held = Byte::Zero;
        }
        let slot = &mut self.state.frames[frame].stack[index];
        for i in 0..size {
            slot.bytes[(byte + SLOT - i) % SLOT] = held;
        }
        Ok(())
    }

    /// A store of which only the range of places is known (`check_stack_write_var_off`).
    fn store_somewhere(&mut self, frame: usize, low: i64, end: i64, stored: Stored) -> Check {
        let is_zero = match stored {
            Stored::Register(register) => self.state.regs()[register].is_null(),
            Stored::Constant(number) => number == 0,
            Stored::Unknown => false,
        };
        for offset in low..end {
            self.destroy_dynptr(frame, place(offset).0)?;
        }
        let mut zero_counts = false;
        for offset in low..end {
            let (index, byte) = place(offset);
            self.touch_slot(index);
            let slot = &mut self.state.frames[frame].stack[index];
            let held = slot.bytes[byte];
            if !self.allowed.pointer_leaks && !matches!(held, Byte::Misc | Byte::Zero) {
                let insn = self.slot;
                refuse!(
                    self,
                    EINVAL,
                    "spilled ptr in range of var-offset stack write; insn {insn}, ptr off: {offset}"
                );
            }
            if is_zero && held == Byte::Spill && slot.is_spill() && slot.register().is_null() {
                zero_counts = true;
                continue;
            }
            if slot.is_special() {
                slot.scrub();
            }
            slot.forget_register();
            let held = slot.bytes[byte];
            let stays_zero = is_zero && held == Byte::Zero;
            zero_counts |= stays_zero;
            if held.is_empty() && !self.allowed.uninit_stack {
                let insn = self.slot;
                refuse!(
                    self,
                    EINVAL,
                    "uninit stack in range of var-offset write prohibited for !root; insn {insn}, off: {offset}"
                );
            }
            slot.bytes[byte] = if stays_zero { Byte::Zero } else { Byte::Misc };
        }
        if let (true, Stored::Register(register)) = (zero_counts, stored) {
            self.mark_precise(register)?;
        }
        Ok(())
    }

    /// Loads from the stack into a register (`None`: what is read does not matter).
    pub(super) fn load_stack(
        &mut self,
        pointer: &Register,
        n: u8,
        off: i64,
        size: usize,
        dst: Option<usize>,
    ) -> Check {
        let (low, high) = self.stack_range(pointer, n, off, size as i64, Access::Read)?;
        self.touch_fastcalls(low);
        let frame = pointer.frame().min(self.state.top());
        if pointer.known().is_some() {
            return self.load_at(frame, low, size, dst);
        }
        let Some(dst) = dst else {
            let bits = show_bits(pointer.value.bits);
            refuse!(
                self,
                EACCES,
                "variable offset stack pointer cannot be passed into helper function; var_off={bits} off={off} size={size}"
            );
        };
        self.check_stack_initialized(pointer, n, off, size as i64, false, Access::Read)?;
        self.load_bytes(frame, low, high + size as i64, dst)
    }

    /// A load whose place is known (`check_stack_read_fixed_off`).
    fn load_at(&mut self, frame: usize, offset: i64, size: usize, dst: Option<usize>) -> Check {
        let (index, byte) = place(offset);
        let slot = self.state.frames[frame].stack[index].clone();
        self.touch_slot(index);
        let touch = Touch { stack: Some((frame as u8, index as u8)), ..Touch::default() };
        if !slot.is_spill() {
            self.check_bytes(&slot, byte, offset, size)?;
            return match dst {
                Some(dst) => self.load_bytes(frame, offset, offset + size as i64, dst),
                None => Ok(()),
            };
        }
        let mut value = self.state.frames[frame].stack.register(index);
        let spill_size = slot.spill_size();
        if size == SLOT && spill_size == SLOT {
            let Some(dst) = dst else {
                if self.leaks(&value) {
                    refuse!(self, EACCES, "leaking pointer from stack off {offset}");
                }
                self.note_jump(touch, Links::default());
                return Ok(());
            };
            if self.allowed.bpf {
                value = self.share_id(value);
                self.state.frames[frame].stack.set_register(index, value);
            }
            self.state.regs()[dst] = value;
            self.note_jump(touch, Links::default());
            return Ok(());
        }
        if !value.is_scalar() {
            refuse!(self, EACCES, "invalid size of register fill");
        }
        let Some(dst) = dst else { return Ok(()) };
        // The low bytes of the number have the lowest addresses.
        if size <= spill_size && offset.rem_euclid(SLOT as i64) == 0 {
            if self.allowed.bpf && size == 4 && spill_size == 4 && value.width() <= 32 {
                value = self.share_id(value);
                self.state.frames[frame].stack.set_register(index, value);
            }
            if value.width() as usize > size * 8 {
                value.forget_id();
            }
            self.state.regs()[dst] = value;
            self.note_jump(touch, Links::default());
            return Ok(());
        }
        let held = self.check_bytes(&slot, byte, offset, size)?;
        let zero = Register { precise: !self.allowed.bpf, ..Register::constant(0) };
        if held.0 == size && value.known() == Some(0) {
            self.state.regs()[dst] = zero;
            self.note_jump(touch, Links::default());
        } else if held.1 == size {
            self.state.regs()[dst] = zero;
        } else {
            self.load_bytes(frame, offset, offset + size as i64, dst)?;
        }
        Ok(())
    }

    /// Whether bytes may be read; how many are of a spilled register, and how many are zero.
    fn check_bytes(
        &self,
        slot: &Slot,
        byte: usize,
        offset: i64,
        size: usize,
    ) -> Check<(usize, usize)> {
        let (mut spilled, mut zeroes) = (0, 0);
        for i in 0..size {
            match slot.bytes[(byte + SLOT - i) % SLOT] {
                Byte::Spill if slot.is_spill() => spilled += 1,
                Byte::Misc => {}
                Byte::Zero => zeroes += 1,
                Byte::Invalid if self.allowed.uninit_stack => {}
                Byte::Poison => refuse!(
                    self,
                    EACCES,
                    "reading from stack off {offset}+{i} size {size}, slot poisoned by dead code elimination"
                ),
                _ => refuse!(self, EACCES, "invalid read from stack off {offset}+{i} size {size}"),
            }
        }
        Ok((spilled, zeroes))
    }

    /// What bytes of the stack hold as a number (`mark_reg_stack_read`).
    fn load_bytes(&mut self, frame: usize, low: i64, end: i64, dst: usize) -> Check {
        let mut zero_spills = 0u64;
        let mut all_zero = true;
        for offset in low..end {
            let (index, byte) = place(offset);
            self.touch_slot(index);
            let slot = &self.state.frames[frame].stack[index];
            match slot.bytes[byte] {
                Byte::Zero => {}
                Byte::Spill if slot.register().is_null() => zero_spills |= 1 << index,
                _ => {
                    all_zero = false;
                    break;
                }
            }
        }
        let precise = !self.allowed.bpf;
        self.state.regs()[dst] = match all_zero {
            true => Register { precise, ..Register::constant(0) },
            false => self.unknown(),
        };
        if all_zero && zero_spills != 0 {
            self.mark_slots_precise(frame, zero_spills)?;
        }
        Ok(())
    }

    /// Memory on the stack that a helper works on (`check_stack_range_initialized`). A size below 0:
    /// bytes that nothing reads later may be missing.
    pub(super) fn check_stack_initialized(
        &mut self,
        pointer: &Register,
        n: u8,
        off: i64,
        size: i64,
        zero_size_allowed: bool,
        access: Access,
    ) -> Check {
        let clobbers = access == Access::Write;
        let allows_poison = size < 0 || clobbers;
        let size = size.abs();
        if size == 0 && !zero_size_allowed {
            refuse!(self, EACCES, "invalid zero-sized read");
        }
        let (low, high) = self.stack_range(pointer, n, off, size, access)?;
        if pointer.known().is_none() && !self.allowed.spec_v1 {
            let bits = show_bits(pointer.value.bits);
            refuse!(
                self,
                EACCES,
                "R{n} variable offset stack access prohibited for !root, var_off={bits}"
            );
        }
        let frame = pointer.frame().min(self.state.top());
        let (uninit, leaks) = (self.allowed.uninit_stack, self.allowed.pointer_leaks);
        for offset in low..high + size {
            let (index, byte) = place(offset);
            let slot = &mut self.state.frames[frame].stack[index];
            match slot.bytes[byte] {
                Byte::Misc => continue,
                Byte::Zero => {
                    if clobbers {
                        slot.bytes[byte] = Byte::Misc;
                    }
                    continue;
                }
                Byte::Invalid if uninit => {
                    if clobbers {
                        slot.bytes[byte] = Byte::Misc;
                    }
                    continue;
                }
                _ => {}
            }
            if slot.is_spill() && (slot.register().is_scalar() || leaks) {
                if clobbers {
                    slot.forget_register();
                    slot.scrub();
                }
                continue;
            }
            let at = offset - low;
            if slot.bytes[byte] == Byte::Poison {
                if allows_poison {
                    continue;
                }
                refuse!(
                    self,
                    EACCES,
                    "reading from stack R{n} off {low}+{at} size {size}, slot poisoned by dead code elimination"
                );
            }
            match pointer.known() {
                Some(_) => {
                    refuse!(self, EACCES, "invalid read from stack R{n} off {low}+{at} size {size}")
                }
                None => {
                    let bits = show_bits(pointer.value.bits);
                    refuse!(
                        self,
                        EACCES,
                        "invalid read from stack R{n} var_off {bits}+{at} size {size}"
                    )
                }
            }
        }
        Ok(())
    }

    /// The operation at hand.
    pub(crate) fn op(&self) -> Option<Op> {
        self.code.op(self.slot)
    }
}

/// Keeps a register in a slot (`save_register_state`).
fn save(stack: &mut Stack, place: usize, register: Register, size: usize) {
    stack.set_register(place, register);
    let slot = &mut stack[place];
    for byte in &mut slot.bytes[SLOT - size..] {
        *byte = Byte::Spill;
    }
    for byte in &mut slot.bytes[..SLOT - size] {
        if !matches!(byte, Byte::Zero | Byte::Invalid | Byte::Poison) {
            *byte = Byte::Misc;
        }
    }
}

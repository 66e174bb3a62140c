//! Pointers that carry their bounds (`kernel/bpf/helpers.c`, `kernel/bpf/ringbuf.c`). A program keeps
//! one in 16 bytes of its stack that it cannot look at: address, size, offset.

use bombus_vm::TrapKind;

use super::{Context, failure, status};
use crate::maps::Errno;
use crate::run::memory::{value_address, value_location};

/// `struct bpf_dynptr`.
pub(super) const SIZE: usize = 16;
/// The largest memory (`DYNPTR_MAX_SIZE`).
const MOST: u64 = (1 << 24) - 1;

/// Memory that such a pointer stands for; nothing when the address is 0.
#[derive(Clone, Copy, Default)]
struct Dynptr {
    address: u64,
    size: u32,
}

impl Dynptr {
    /// Where `len` bytes from `offset` on are.
    fn part(self, offset: u32, len: u32) -> Result<u64, Errno> {
        if self.address == 0 {
            return Err(libc::EINVAL);
        }
        match self.size.checked_sub(offset).and_then(|rest| rest.checked_sub(len)) {
            Some(_) => Ok(self.address.wrapping_add(offset.into())),
            None => Err(libc::E2BIG),
        }
    }
}

impl Context<'_, '_, '_> {
    /// The pointer that argument `index` points to.
    fn dynptr(&mut self, index: usize) -> Result<Dynptr, TrapKind> {
        let bytes = self.vm.read(self.run, self.arg(index), SIZE)?;
        let (words, _) = bytes.as_chunks::<4>();
        let word = |at: usize| u32::from_le_bytes(words[at]);
        Ok(Dynptr { address: u64::from(word(0)) | u64::from(word(1)) << 32, size: word(2) })
    }

    fn set_dynptr(&mut self, at: u64, to: Dynptr) -> Result<(), TrapKind> {
        let bytes = self.vm.write(self.run, at, SIZE)?;
        bytes[..8].copy_from_slice(&to.address.to_le_bytes());
        bytes[8..].copy_from_slice(&u64::from(to.size).to_le_bytes());
        Ok(())
    }

    /// Sets the pointer, or clears it.
    fn made(&mut self, index: usize, made: Result<Dynptr, Errno>) -> Result<u64, TrapKind> {
        self.set_dynptr(self.arg(index), made.unwrap_or_default())?;
        Ok(status(made.map(drop)))
    }
}

/// Makes such a pointer at an address.
pub(super) fn make(
    context: &mut Context<'_, '_, '_>,
    at: u64,
    address: u64,
    size: u32,
) -> Result<(), TrapKind> {
    context.set_dynptr(at, Dynptr { address, size })
}

/// `dynptr_from_mem(data, size, flags, ptr)`.
pub(super) fn from_mem(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (address, size, flags) = (context.arg(0), context.arg(1) as u32, context.arg(2));
    let made = match (u64::from(size) > MOST, flags) {
        (true, _) => Err(libc::E2BIG),
        (false, 0) => Ok(Dynptr { address, size }),
        _ => Err(libc::EINVAL),
    };
    context.made(3, made)
}

/// `dynptr_read(to, len, ptr, offset, flags)`.
pub(super) fn read(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (to, len, offset) = (context.arg(0), context.size(1)?, context.arg(3) as u32);
    if context.arg(4) != 0 {
        return Ok(failure(libc::EINVAL));
    }
    let from = match context.dynptr(2)?.part(offset, len as u32) {
        Ok(from) => from,
        Err(errno) => return Ok(failure(errno)),
    };
    copy(context, from, to, len)
}

/// `dynptr_write(ptr, offset, from, len, flags)`.
pub(super) fn write(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (offset, from, len) = (context.arg(1) as u32, context.arg(2), context.size(3)?);
    if context.arg(4) != 0 {
        return Ok(failure(libc::EINVAL));
    }
    let to = match context.dynptr(0)?.part(offset, len as u32) {
        Ok(to) => to,
        Err(errno) => return Ok(failure(errno)),
    };
    copy(context, from, to, len)
}

fn copy(
    context: &mut Context<'_, '_, '_>,
    from: u64,
    to: u64,
    len: usize,
) -> Result<u64, TrapKind> {
    let mut bytes = std::mem::take(&mut context.run.buffers.value);
    context.copy(from, len, &mut bytes)?;
    context.vm.write(context.run, to, len)?.copy_from_slice(&bytes);
    context.run.buffers.value = bytes;
    Ok(0)
}

/// `dynptr_data(ptr, offset, len)`.
pub(super) fn data(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (offset, len) = (context.arg(1) as u32, context.arg(2) as u32);
    Ok(context.dynptr(0)?.part(offset, len).unwrap_or(0))
}

/// `ringbuf_reserve_dynptr(ringbuf, size, flags, ptr)`.
pub(super) fn reserve(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (size, flags) = (context.arg(1) as u32, context.arg(2));
    let (map, ring) = context.ring()?;
    let made = match (flags, u64::from(size) > MOST) {
        (0, false) => ring.reserve(size.into()).ok_or(libc::EINVAL),
        (0, true) => Err(libc::E2BIG),
        _ => Err(libc::EINVAL),
    };
    let made = made.map(|start| {
        context.run.held_records += 1;
        Dynptr { address: value_address(map, start), size }
    });
    context.made(3, made)
}

/// `ringbuf_submit_dynptr(ptr, flags)`.
pub(super) fn submit(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    finish(context, false)
}

/// `ringbuf_discard_dynptr(ptr, flags)`.
pub(super) fn discard(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    finish(context, true)
}

/// Gives up the record, if there is one.
fn finish(context: &mut Context<'_, '_, '_>, discard: bool) -> Result<u64, TrapKind> {
    let Dynptr { address, .. } = context.dynptr(0)?;
    if address != 0 {
        context.give_up(value_location(address), discard)?;
        context.set_dynptr(context.arg(0), Dynptr::default())?;
    }
    Ok(0)
}

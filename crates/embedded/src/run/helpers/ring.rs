//! Ring buffers (`kernel/bpf/ringbuf.c`).

use bombus_vm::TrapKind;

use super::{Context, failure, status};
use crate::maps::Ringbuf;
use crate::run::memory::{value_address, value_location};

/// `BPF_RB_NO_WAKEUP | BPF_RB_FORCE_WAKEUP`.
const WAKEUP_FLAGS: u64 = 3;

impl Context<'_, '_, '_> {
    /// The ring buffer that argument 0 names, with its map's number.
    pub(super) fn ring(&mut self) -> Result<(usize, &mut Ringbuf), TrapKind> {
        let map = self.map(0)?;
        let no_ring = self.bad_argument(0, "is no ring buffer");
        Ok((map, self.run.maps[map].ringbuf_mut().ok_or(no_ring)?))
    }

    /// Sends or drops the record at a map's offset.
    pub(super) fn give_up(
        &mut self,
        location: Option<(usize, u64)>,
        discard: bool,
    ) -> Result<u64, TrapKind> {
        let ring = location.and_then(|(map, at)| Some((self.run.maps.get_mut(map)?, at)));
        let done = ring.and_then(|(map, at)| Some(map.ringbuf_mut()?.finish(at, discard)));
        match done {
            Some(true) => {
                self.run.held_records -= 1;
                Ok(0)
            }
            _ => Err(self.bad_argument(0, "is no reserved record")),
        }
    }
}

/// `ringbuf_output(ringbuf, data, size, flags)`.
pub(super) fn output(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (map, _) = context.ring()?;
    if context.arg(3) & !WAKEUP_FLAGS != 0 {
        return Ok(failure(libc::EINVAL));
    }
    let len = context.size(2)?;
    let mut record = std::mem::take(&mut context.run.buffers.value);
    context.copy(context.arg(1), len, &mut record)?;
    let sent = context.map_mut(map).ringbuf_mut().is_some_and(|ring| ring.output(&record));
    context.run.buffers.value = record;
    Ok(status(if sent { Ok(()) } else { Err(libc::EAGAIN) }))
}

/// `ringbuf_reserve(ringbuf, size, flags)`.
pub(super) fn reserve(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (len, flags) = (context.arg(1), context.arg(2));
    let (map, ring) = context.ring()?;
    let start = if flags == 0 { ring.reserve(len) } else { None };
    let Some(start) = start else { return Ok(0) };
    context.run.held_records += 1;
    Ok(value_address(map, start))
}

/// `ringbuf_submit(data, flags)`.
pub(super) fn submit(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    context.give_up(value_location(context.arg(0)), false)
}

/// `ringbuf_discard(data, flags)`.
pub(super) fn discard(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    context.give_up(value_location(context.arg(0)), true)
}

/// `ringbuf_query(ringbuf, what)`.
pub(super) fn query(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let what = context.arg(1);
    let (_, ring) = context.ring()?;
    Ok(ring.query(what))
}

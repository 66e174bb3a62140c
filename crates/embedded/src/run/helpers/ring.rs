//! Ring buffers (`kernel/bpf/ringbuf.c`).

use std::rc::Rc;

use bombus_vm::TrapKind;

use super::{Context, dynptr, failure, status};
use crate::maps::{Ringbuf, Storage};
use crate::run::memory::{object_address, value_address, value_location};

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

/// `user_ringbuf_drain(ringbuf, function, ctx, flags)`: has a function look at each record through a
/// bounded pointer; gives how many there were.
pub(super) fn drain(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (map, function, ctx) = (context.map(0)?, context.arg(1), context.arg(2));
    if context.arg(3) & !WAKEUP_FLAGS != 0 {
        return Ok(failure(libc::EINVAL));
    }
    let not_one = context.bad_argument(0, "is no user ring buffer");
    let Storage::Keyless(ring) = &context.run.maps[map].storage else { return Err(not_one) };
    let ring = ring.0.clone();
    let mut stopped = Ok(());
    let drained = ring.user_ringbuf().ok_or(not_one)?.drain(|record| {
        let shown = record_shown(context, &record.to_vec(), function, ctx);
        let is_done = !matches!(shown, Ok(true));
        stopped = shown.map(drop);
        is_done
    });
    stopped?;
    Ok(drained.unwrap_or_else(failure))
}

/// Shows a record to a function; whether it wants more.
fn record_shown(
    context: &mut Context<'_, '_, '_>,
    record: &[u8],
    function: u64,
    ctx: u64,
) -> Result<bool, TrapKind> {
    let objects = &mut context.run.objects;
    let (Some(bytes), Some(pointer)) =
        (objects.allocate(record.len(), Rc::new([])), objects.allocate(dynptr::SIZE, Rc::new([])))
    else {
        return Ok(false);
    };
    if let Some(copy) = objects.at_mut(bytes, record.len()) {
        copy.copy_from_slice(record);
    }
    let pointer_at = object_address(pointer);
    dynptr::make(context, pointer_at, object_address(bytes), record.len() as u32)?;
    let program = context.call.program;
    let given = context.vm.callback(program, function, &[pointer_at, ctx], context.run);
    context.run.objects.release(bytes);
    context.run.objects.release(pointer);
    Ok(given? == 0)
}

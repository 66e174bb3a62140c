//! Perf buffers (`kernel/trace/bpf_trace.c`, `net/core/filter.c`).

use bombus_vm::TrapKind;

use super::{Context, failure, status};

/// `BPF_F_INDEX_MASK`, and its value for the CPU that the program runs on (`BPF_F_CURRENT_CPU`).
const INDEX: u64 = 0xffff_ffff;
/// Bytes of the packet that go behind the record (`BPF_F_CTXLEN_MASK`).
const CONTEXT_LEN: u64 = 0xf_ffff << 32;

/// `perf_event_output(ctx, map, flags, data, size)`.
pub(super) fn output(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (map, flags, address) = (context.map(1)?, context.arg(2), context.arg(3));
    let len = context.size(4)?;
    let has_packet = context.run.packet.is_some();
    let allowed = if has_packet { INDEX | CONTEXT_LEN } else { INDEX };
    if flags & !allowed != 0 {
        return Ok(failure(libc::EINVAL));
    }
    let mut record = Vec::with_capacity(len);
    context.copy(address, len, &mut record)?;
    let more = (flags >> 32) as usize;
    if more > 0
        && let Some(packet) = context.run.packet.as_deref()
    {
        // (`bpf_xdp_event_output`, `bpf_skb_event_output`)
        let Some(bytes) = packet.data().get(..more) else { return Ok(failure(libc::EFAULT)) };
        record.extend_from_slice(bytes);
    }
    let cpu = context.run.occasion.cpu;
    let index = if flags & INDEX == INDEX { cpu } else { flags as u32 };
    let not_one = context.bad_argument(1, "is no perf event array");
    let array = context.map_mut(map).perf_mut().ok_or(not_one)?;
    Ok(status(array.output(index, cpu, record)))
}

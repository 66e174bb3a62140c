//! Streams of a program, which user space reads (`kernel/bpf/stream.c`).

use bombus_vm::TrapKind;

use super::{Context, failure};

/// `BPF_STDOUT` and `BPF_STDERR`.
const STREAMS: std::ops::RangeInclusive<u64> = 1..=2;
/// Bytes that a stream keeps (`BPF_STREAM_MAX_CAPACITY`).
const MOST: usize = 100_000;

/// What programs wrote to streams that nobody has read.
pub(crate) type Streams = std::collections::BTreeMap<(u32, u32), Vec<u8>>;

/// `stream_vprintk(stream, fmt, data, data_size)`.
pub(super) fn vprintk(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (stream, size) = (context.arg(0), context.arg(3) as u32 as usize);
    if !STREAMS.contains(&stream) {
        return Ok(failure(libc::ENOENT));
    }
    let text = match context.formatted(context.arg(1), context.arg(2), size)? {
        Ok(text) => text,
        Err(errno) => return Ok(failure(errno)),
    };
    Ok(context.write_stream(stream, &text))
}

/// `stream_print_stack(stream)`: who runs.
pub(super) fn print_stack(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let stream = context.arg(0);
    if !STREAMS.contains(&stream) {
        return Ok(failure(libc::ENOENT));
    }
    let program = context.call.program.id();
    let name = context.run.programs.get(program as usize).map_or("", |loaded| &loaded.name);
    let (uid, _) = context.run.task.uid_gid();
    let comm = context.run.task.comm();
    let text = format!(
        "CPU: {} UID: {uid} PID: {} Comm: {}\nCall trace:\n{name}\n",
        context.run.occasion.cpu,
        context.run.task.pid(),
        String::from_utf8_lossy(&comm).trim_end_matches('\0')
    );
    Ok(context.write_stream(stream, &text))
}

impl Context<'_, '_, '_> {
    fn write_stream(&mut self, stream: u64, text: &str) -> u64 {
        let program = self.call.program.id();
        let kept = self.run.streams.entry((program, stream as u32)).or_default();
        if kept.len() + text.len() > MOST {
            return failure(libc::ENOSPC);
        }
        kept.extend_from_slice(text.as_bytes());
        0
    }
}

//! Helpers that decide what runs next: callbacks and tail calls.

use bombus_vm::{Return, TrapKind};

use super::{Context, failure};
use crate::maps::Storage;
use crate::run::memory::value_address;

/// Iterations that `bpf_loop` takes (`BPF_MAX_LOOPS`, `include/linux/bpf.h`).
const MAX_LOOPS: u32 = 8 * 1024 * 1024;

impl Context<'_, '_, '_> {
    /// Calls the function that argument 1 names; whether it wants to go on.
    fn call_back(&mut self, args: &[u64]) -> Result<bool, TrapKind> {
        let function = self.arg(1);
        Ok(self.vm.callback(self.call.program, function, args, self.run)? == 0)
    }
}

/// `for_each_map_elem(map, function, ctx, flags)`: gives how many elements were visited.
pub(super) fn for_each_map_elem(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (map, ctx) = (context.map(0)?, context.arg(2));
    if context.arg(3) != 0 {
        return Ok(failure(libc::EINVAL));
    }
    let cpu = context.run.occasion.cpu;
    let (mut visited, mut next) = (0, 0);
    loop {
        let Some(table) = context.run.maps[map].table() else {
            return Err(context.bad_argument(0, "has no elements to visit"));
        };
        let Some(element) = table.used_from(next) else { break };
        let value = value_address(map, table.value_offset(element, cpu));
        let depth = context.run.buffers.array_keys.len();
        let key = context.run.key_at(map, element).unwrap_or_default();
        visited += 1;
        next = element + 1;
        let go_on = context.call_back(&[context.arg(0), key, value, ctx])?;
        context.run.buffers.array_keys.truncate(depth);
        if !go_on {
            break;
        }
    }
    Ok(visited)
}

/// `loop(iterations, function, ctx, flags)`: gives how many iterations there were.
pub(super) fn repeat(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (iterations, ctx) = (context.arg(0) as u32, context.arg(2));
    if context.arg(3) != 0 {
        return Ok(failure(libc::EINVAL));
    }
    if iterations > MAX_LOOPS {
        return Ok(failure(libc::E2BIG));
    }
    for iteration in 0..u64::from(iterations) {
        if !context.call_back(&[iteration, ctx])? {
            return Ok(iteration + 1);
        }
    }
    Ok(iterations.into())
}

/// `tail_call(ctx, prog_array, index)`. When there is no such program, or there were too many tail
/// calls, the caller goes on.
pub(super) fn tail_call(context: &mut Context<'_, '_, '_>) -> Result<Return, TrapKind> {
    let (map, index) = (context.map(1)?, context.arg(2) as u32 as usize);
    let program = match &context.run.maps[map].storage {
        Storage::Programs(programs) => programs.get(index).copied().flatten(),
        _ => return Err(context.bad_argument(1, "is no array of programs")),
    };
    let loaded = program.and_then(|program| context.run.programs.get(program as usize));
    match loaded {
        Some(loaded) if context.vm.take_tail_call() => {
            loaded.about_to_run(1);
            Ok(Return::TailCall(loaded.program.clone()))
        }
        _ => Ok(Return::Value(failure(libc::ENOENT))),
    }
}

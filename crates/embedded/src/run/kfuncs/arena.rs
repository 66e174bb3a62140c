//! Pages of arenas (`kernel/bpf/arena.c`).

use bombus_vm::TrapKind;

use super::{Context, failure, status};
use crate::maps::Arena;

impl Context<'_, '_, '_> {
    fn arena(&mut self) -> Result<&mut Arena, TrapKind> {
        let map = self.map(0)?;
        let not_one = self.bad_argument(0, "is no arena");
        self.run.maps[map].arena_mut().ok_or(not_one)
    }
}

/// `arena_alloc_pages(map, address, count, node, flags)`.
pub(super) fn alloc_pages(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (address, count, flags) = (context.arg(1), context.arg(2) as u32, context.arg(4));
    let node = context.arg(3) as u32 as i32;
    // (`NUMA_NO_NODE`; a node that is there.)
    if flags != 0 || count == 0 || !(-1..=0).contains(&node) {
        return Ok(0);
    }
    Ok(context.arena()?.allocate(address, count).unwrap_or(0))
}

/// `arena_free_pages(map, address, count)`.
pub(super) fn free_pages(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (address, count) = (context.arg(1), context.arg(2) as u32);
    let arena = context.arena()?;
    if address != 0 && count != 0 {
        arena.release(address, count);
    }
    Ok(0)
}

/// `arena_reserve_pages(map, address, count)`.
pub(super) fn reserve_pages(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (address, count) = (context.arg(1), context.arg(2) as u32);
    let reserved = match context.arena() {
        Ok(arena) if count != 0 => arena.reserve(address, count),
        Ok(_) => Ok(()),
        Err(_) => return Ok(failure(libc::EINVAL)),
    };
    Ok(status(reserved))
}

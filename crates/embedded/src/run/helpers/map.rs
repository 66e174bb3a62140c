//! Maps, element by element.

use bombus_vm::{Call, Execution, TrapKind};

use super::{Context, failure, status};
use crate::kernel::index;
use crate::maps::{ENOTSUPP, Errno, Map, Storage, Table};
use crate::run::Run;
use crate::run::memory::{map_address, map_at, value_address};

/// `map_lookup_elem(map, key)` where nothing is out of the ordinary: the map has elements, and the key
/// is on the stack, where it stays.
#[inline]
pub(in crate::run) fn plain_lookup(
    run: &mut Run<'_>,
    vm: &Execution<'_>,
    call: &Call<'_>,
) -> Option<u64> {
    let map = map_at(call.args[0])?;
    let Map { key_size, storage: Storage::Table(table), .. } = run.maps.get_mut(map)? else {
        return None;
    };
    let found = table.lookup(vm.on_stack(call.args[1], *key_size)?, run.occasion.cpu);
    Some(found.map_or(0, |offset| value_address(map, offset)))
}

/// `map_lookup_elem(map, key)`.
pub(super) fn lookup(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let cpu = context.run.occasion.cpu;
    context.with_key(|context, map, key| {
        if let Storage::Maps(table) = &context.run.maps[map].storage {
            let held = table.lookup_all(key).and_then(|handle| handle.try_into().ok());
            return Ok(held
                .and_then(|handle| index(u32::from_ne_bytes(handle)))
                .map_or(0, map_address));
        }
        let table = context.map_mut(map).table_mut();
        let found = table.and_then(|table| table.lookup(key, cpu));
        Ok(found.map_or(0, |offset| value_address(map, offset)))
    })
}

/// `map_lookup_percpu_elem(map, key, cpu)`.
pub(super) fn lookup_percpu(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let cpu = context.arg(2) as u32;
    context.with_key(|context, map, key| {
        let table = context.map_mut(map).table_mut().filter(|table| cpu < table.copies());
        let found = table.and_then(|table| table.lookup(key, cpu));
        Ok(found.map_or(0, |offset| value_address(map, offset)))
    })
}

/// `map_update_elem(map, key, value, flags)`.
pub(super) fn update(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (cpu, address, flags) = (context.run.occasion.cpu, context.arg(2), context.arg(3));
    context.with_key(|context, map, key| {
        let len = context.map_mut(map).value_size;
        let mut value = std::mem::take(&mut context.run.buffers.value);
        context.copy(address, len, &mut value)?;
        let result = match context.map_mut(map).table_mut() {
            Some(table) => table.update(key, &value, flags, cpu),
            None => Err(ENOTSUPP),
        };
        context.forget_work(map);
        context.run.buffers.value = value;
        Ok(status(result))
    })
}

impl Context<'_, '_, '_> {
    /// What values of the map put off, and name no more, is gone.
    fn forget_work(&mut self, map: usize) {
        let table = self.run.maps[map].table_mut();
        let gone = table.map(Table::take_forgotten).unwrap_or_default();
        gone.into_iter().for_each(|number| self.run.deferred.remove(number));
    }
}

/// `map_delete_elem(map, key)`.
pub(super) fn delete(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    context.with_key(|context, map, key| {
        let result: Result<bool, Errno> = match context.map_mut(map).table_mut() {
            Some(table) => table.delete(key),
            None => Err(ENOTSUPP),
        };
        context.forget_work(map);
        Ok(match result {
            Ok(true) => 0,
            Ok(false) => failure(libc::ENOENT),
            Err(errno) => failure(errno),
        })
    })
}

/// `map_push_elem(map, value, flags)`.
pub(super) fn push(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (map, flags) = (context.map(0)?, context.arg(2));
    let mut value = std::mem::take(&mut context.run.buffers.value);
    let len = context.map_mut(map).value_size;
    context.copy(context.arg(1), len, &mut value)?;
    let pushed = match context.map_mut(map).keyless() {
        Some(map) => map.push(&value[..], flags),
        None => Err(ENOTSUPP),
    };
    context.run.buffers.value = value;
    Ok(status(pushed))
}

/// `map_pop_elem(map, value)`.
pub(super) fn pop(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    next(context, bombus_maps::Map::pop)
}

/// `map_peek_elem(map, value)`: a bloom filter is asked for the value.
pub(super) fn peek(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    next(context, bombus_maps::Map::peek)
}

fn next(
    context: &mut Context<'_, '_, '_>,
    take: impl FnOnce(&bombus_maps::Map, &mut [u8]) -> Result<(), Errno>,
) -> Result<u64, TrapKind> {
    let map = context.map(0)?;
    let mut value = std::mem::take(&mut context.run.buffers.value);
    let (address, len) = (context.arg(1), context.map_mut(map).value_size);
    context.copy(address, len, &mut value)?;
    let taken = match context.map_mut(map).keyless() {
        Some(map) => take(map, &mut value),
        None => Err(ENOTSUPP),
    };
    context.vm.write(context.run, address, len)?.copy_from_slice(&value);
    context.run.buffers.value = value;
    Ok(status(taken))
}

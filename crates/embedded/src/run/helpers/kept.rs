//! What values keep, and values that belong to something else than a key.

use std::rc::Rc;

use bombus_vm::TrapKind;

use super::{Context, failure};
use crate::maps::Storage;
use crate::run::memory::object_address;

/// `BPF_SK_STORAGE_GET_F_CREATE`.
const CREATE: u64 = 1;

/// `kptr_xchg(place, object)`: gives what was kept there.
pub(super) fn exchange(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (place, object) = (context.arg(0), context.arg(1));
    let bytes = context.vm.write(context.run, place, 8)?;
    let before = bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
    bytes.copy_from_slice(&object.to_le_bytes());
    Ok(before)
}

impl Context<'_, '_, '_> {
    /// The value that belongs to an owner, which may be made; the others are zeros.
    fn owned(&mut self, owner: u64, initial: u64, create: bool) -> Result<u64, TrapKind> {
        let map = self.map(0)?;
        let len = self.run.maps[map].value_size;
        let not_one = self.bad_argument(0, "has no values that belong to something");
        let Storage::Owned(values) = &self.run.maps[map].storage else { return Err(not_one) };
        if let Some(offset) = values.get(&owner) {
            return Ok(object_address(*offset));
        }
        if !create {
            return Ok(0);
        }
        let Some(offset) = self.run.objects.allocate(len, Rc::new([])) else { return Ok(0) };
        if initial != 0 {
            let bytes = self.vm.read(self.run, initial, len)?.to_vec();
            if let Some(value) = self.run.objects.at_mut(offset, len) {
                value.copy_from_slice(&bytes);
            }
        }
        if let Storage::Owned(values) = &mut self.run.maps[map].storage {
            values.insert(owner, offset);
        }
        Ok(object_address(offset))
    }
}

/// `sk_storage_get(map, sk, value, flags)`.
pub(super) fn sk_storage_get(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (socket, initial, flags) = (context.arg(1), context.arg(2), context.arg(3));
    if socket == 0 || flags > CREATE {
        return Ok(0);
    }
    context.owned(socket, initial, flags == CREATE)
}

/// `sk_storage_delete(map, sk)`.
pub(super) fn sk_storage_delete(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (map, socket) = (context.map(0)?, context.arg(1));
    let Storage::Owned(values) = &mut context.run.maps[map].storage else {
        return Err(context.bad_argument(0, "has no values that belong to something"));
    };
    match values.remove(&socket) {
        Some(offset) => {
            context.run.objects.release(offset);
            Ok(0)
        }
        None => Ok(failure(libc::ENOENT)),
    }
}

/// `get_local_storage(map, flags)`: of the cgroup, of which there is one here.
pub(super) fn get_local_storage(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    context.owned(0, 0, true)
}

//! Guest addresses of what belongs to the embedded kernel.

use bombus_platform::pt_regs;
use bombus_vm::View;
use bombus_vm::address::{self, FIRST_HOST_REGION};

use super::Run;
use crate::maps::Storage;

/// Maps themselves: opaque, the offset is the number.
const MAPS: u32 = FIRST_HOST_REGION;
/// `struct task_struct`: opaque.
const TASKS: u32 = FIRST_HOST_REGION + 1;
/// The current task's registers.
const REGISTERS: u32 = FIRST_HOST_REGION + 2;
/// Keys of array elements that callbacks are given; the offset counts from the first call.
const ARRAY_KEYS: u32 = FIRST_HOST_REGION + 3;
/// The context of a packet's program.
const PACKET: u32 = FIRST_HOST_REGION + 4;
/// Values and records, a region a map.
const VALUES: u32 = 0x90_0000;
/// Keys of hash tables, a region a map.
const KEYS: u32 = 0xa0_0000;
/// Maps that there are regions for.
pub(crate) const MAX_MAPS: usize = 1 << 20;

/// Distance between tasks: more than the size of the kernel's structure.
const TASK_STRIDE: u64 = 1 << 14;

/// The address of the context of a packet's program.
pub(crate) const PACKET_CONTEXT: u64 = address::pack(PACKET, 0);

/// What a program holds to name a map.
pub(crate) const fn map_address(map: usize) -> u64 {
    address::pack(MAPS, map as u64)
}

/// The map that such an address names.
pub(super) fn map_at(address: u64) -> Option<usize> {
    (address::region(address) == MAPS).then_some(address::offset(address) as usize)
}

/// An address in a map's values or records.
pub(crate) const fn value_address(map: usize, offset: u64) -> u64 {
    address::pack(VALUES + map as u32, offset)
}

/// The map and the offset of such an address.
pub(super) fn value_location(address: u64) -> Option<(usize, u64)> {
    Some((map_of(address::region(address), VALUES)?, address::offset(address)))
}

/// An address in a hash table's keys.
pub(super) const fn key_address(map: usize, offset: u64) -> u64 {
    address::pack(KEYS + map as u32, offset)
}

/// The address of an entry of `Buffers::array_keys`.
pub(super) const fn array_key_address(entry: usize) -> u64 {
    address::pack(ARRAY_KEYS, entry as u64 * 8)
}

/// What stands for the `struct task_struct` of a thread.
pub(super) const fn task_address(tid: u32) -> u64 {
    address::pack(TASKS, tid as u64 * TASK_STRIDE)
}

/// The address of the current task's registers.
pub(crate) const REGISTERS_ADDRESS: u64 = address::pack(REGISTERS, 0);

/// The map of an address in the regions from `base` on.
fn map_of(region: u32, base: u32) -> Option<usize> {
    region.checked_sub(base).map(|map| map as usize).filter(|&map| map < MAX_MAPS)
}

impl Run<'_> {
    #[inline]
    pub(super) fn readable(&mut self, address: u64, len: usize) -> Option<&[u8]> {
        let (region, offset) = (address::region(address), address::offset(address));
        if let Some(map) = map_of(region, VALUES) {
            return match &self.maps.get(map)?.storage {
                Storage::Table(table) => table.values().at(offset, len),
                Storage::Ringbuf(ring) => ring.at(offset, len),
                Storage::Programs(_) | Storage::Keyless(_) | Storage::Perf(_) => None,
            };
        }
        if let Some(map) = map_of(region, KEYS) {
            return self.maps.get(map)?.table()?.keys()?.at(offset, len);
        }
        match region {
            // Packets lie below 4 GiB.
            0 => self.packet.as_deref()?.at(address, len),
            PACKET => self.packet.as_deref_mut()?.context(offset, len),
            REGISTERS => {
                let start = usize::try_from(offset).ok()?;
                let end = start.checked_add(len).filter(|&end| end <= pt_regs::SIZE)?;
                self.registers()?.get(start..end)
            }
            ARRAY_KEYS => {
                let key = self.buffers.array_keys.get((offset / 8) as usize)?;
                let start = (offset % 8) as usize;
                key.get(start..start.checked_add(len)?)
            }
            _ => None,
        }
    }

    #[inline]
    pub(super) fn writable(&mut self, address: u64, len: usize) -> Option<&mut [u8]> {
        let (region, offset) = (address::region(address), address::offset(address));
        match region {
            0 => return self.packet.as_deref_mut()?.at_mut(address, len),
            PACKET => return self.packet.as_deref_mut()?.context_mut(offset, len),
            _ => {}
        }
        let map = self.maps.get_mut(map_of(region, VALUES)?)?;
        match &mut map.storage {
            Storage::Table(_) if map.read_only => None,
            Storage::Table(table) => table.values_mut().at_mut(offset, len),
            Storage::Ringbuf(ring) => ring.at_mut(offset, len),
            Storage::Programs(_) | Storage::Keyless(_) | Storage::Perf(_) => None,
        }
    }

    /// Shows what the program may use without asking: the packet, and the value at an address.
    #[inline(always)]
    pub(super) fn visible<'v>(&'v mut self, recent: u64, view: &mut View<'_, 'v>) {
        if let Some(packet) = self.packet.as_deref_mut() {
            packet.show(PACKET_CONTEXT, view);
        }
        view.tables(recent, &mut self.maps);
    }
}

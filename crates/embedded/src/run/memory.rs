//! Guest addresses of what belongs to the embedded kernel.

use bombus_platform::pt_regs;
use bombus_vm::View;
use bombus_vm::address::{self, FIRST_HOST_REGION, OFFSET_BITS};

use super::Run;
use crate::maps::{Arena, Storage};

/// Maps themselves, so far apart; what is shown of each is [`Map::shown`](crate::maps::Map::shown).
const MAPS: u32 = FIRST_HOST_REGION;
/// `struct task_struct`: opaque.
const TASKS: u32 = FIRST_HOST_REGION + 1;
/// The current task's registers.
const REGISTERS: u32 = FIRST_HOST_REGION + 2;
/// Keys of array elements that callbacks are given; the offset counts from the first call.
const ARRAY_KEYS: u32 = FIRST_HOST_REGION + 3;
/// The context of a packet's program.
const PACKET: u32 = FIRST_HOST_REGION + 4;
/// Objects that programs allocated.
const OBJECTS: u32 = FIRST_HOST_REGION + 5;
/// The socket of a test run's packet.
const SOCKETS: u32 = FIRST_HOST_REGION + 6;
/// Arenas, a region a map.
const ARENAS: u32 = 0x82_0000;
/// The region of small negative numbers.
const BELOW_NULL: u32 = 0xff_ffff;
/// Values and records, a region a map.
const VALUES: u32 = 0x90_0000;
/// Keys of hash tables, a region a map.
const KEYS: u32 = 0xa0_0000;
/// Maps that there are regions for.
pub(crate) const MAX_MAPS: usize = (VALUES - ARENAS) as usize;

/// Distance between maps: more than the size of the kernel's structures.
const MAP_STRIDE: u64 = 1 << 12;
/// Distance between tasks: more than the size of the kernel's structure.
const TASK_STRIDE: u64 = 1 << 14;

/// The address of the context of a packet's program. No lower half of an address is a small number,
/// as in the kernel.
pub(crate) const PACKET_CONTEXT: u64 = address::pack(PACKET, CONTEXT);
const CONTEXT: u64 = 1 << 30;

/// The address of the socket of a test run's packet.
pub(crate) const SOCKET: u64 = address::pack(SOCKETS, 1 << 30);

/// What a program holds to name a map.
pub(crate) const fn map_address(map: usize) -> u64 {
    address::pack(MAPS, map as u64 * MAP_STRIDE)
}

/// The map that such an address names.
pub(super) fn map_at(address: u64) -> Option<usize> {
    let offset = address::offset(address);
    let is_map = address::region(address) == MAPS && offset.is_multiple_of(MAP_STRIDE);
    is_map.then_some((offset / MAP_STRIDE) as usize)
}

/// Where a program has an arena: in the middle of its region, for sums may be out of it as long as
/// only their lower halves count.
pub(crate) const fn arena_address(map: usize) -> u64 {
    address::pack(ARENAS + map as u32, 1 << (OFFSET_BITS - 1))
}

/// The address of an object's byte.
pub(super) const fn object_address(offset: u64) -> u64 {
    address::pack(OBJECTS, offset)
}

/// The offset of such an address.
pub(super) fn object_offset(address: u64) -> Option<u64> {
    (address::region(address) == OBJECTS).then_some(address::offset(address))
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
                Storage::Places(places) => places.at(offset, len),
                _ => None,
            };
        }
        if let Some(map) = map_of(region, KEYS) {
            return self.maps.get(map)?.table()?.keys()?.at(offset, len);
        }
        match region {
            // Packets lie below 4 GiB.
            0 => {
                let in_packet = self.packet.as_deref().and_then(|packet| packet.at(address, len));
                in_packet.or_else(|| self.null_arena()?.at(address as u32, len))
            }
            BELOW_NULL => self.null_arena()?.at(address as u32, len),
            PACKET => self.packet.as_deref_mut()?.context(offset.checked_sub(CONTEXT)?, len),
            SOCKETS => {
                let start = address.checked_sub(SOCKET)? as usize;
                self.packet.as_deref()?.socket()?.get(start..start.checked_add(len)?)
            }
            OBJECTS => self.objects.at(offset, len),
            MAPS => self.shown_map(offset, len),
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
            _ => self.maps.get(map_of(region, ARENAS)?)?.arena()?.at(address as u32, len),
        }
    }

    /// The arena of the program, whose null pointers point into it, too.
    fn null_arena(&self) -> Option<&Arena> {
        self.maps.get(self.arena?)?.arena()
    }

    /// What is shown of the kernel's structure for a map.
    fn shown_map(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let start = (offset % MAP_STRIDE) as usize;
        let map = self.maps.get((offset / MAP_STRIDE) as usize)?;
        map.shown.get(start..start.checked_add(len)?)
    }

    #[inline]
    pub(super) fn writable(&mut self, address: u64, len: usize) -> Option<&mut [u8]> {
        let (region, offset) = (address::region(address), address::offset(address));
        match region {
            0 => {
                if let Some(packet) = self.packet.as_deref_mut()
                    && let Some(bytes) = packet.at_mut(address, len)
                {
                    return Some(bytes);
                }
                let arena = self.maps.get_mut(self.arena?)?.arena_mut()?;
                return arena.at_mut(address as u32, len);
            }
            PACKET => {
                let packet = self.packet.as_deref_mut()?;
                return packet.context_mut(offset.checked_sub(CONTEXT)?, len);
            }
            BELOW_NULL => {
                let arena = self.maps.get_mut(self.arena?)?.arena_mut()?;
                return arena.at_mut(address as u32, len);
            }
            OBJECTS => return self.objects.at_mut(offset, len),
            _ => {}
        }
        if let Some(map) = map_of(region, ARENAS) {
            return self.maps.get_mut(map)?.arena_mut()?.at_mut(address as u32, len);
        }
        let map = self.maps.get_mut(map_of(region, VALUES)?)?;
        match &mut map.storage {
            Storage::Table(_) if map.read_only => None,
            Storage::Table(table) => table.values_mut().at_mut(offset, len),
            Storage::Ringbuf(ring) => ring.at_mut(offset, len),
            _ => None,
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

    /// The same when only the packet may be another, or may lie elsewhere.
    #[inline(always)]
    pub(super) fn visible_again<'v>(&'v mut self, view: &mut View<'_, 'v>) {
        let Some(packet) = self.packet.as_deref_mut() else { return };
        packet.show(PACKET_CONTEXT, view);
        view.same_tables(&mut self.maps);
    }
}

//! Which stack slots an instruction reads and which it always overwrites
//! (`record_load_store_access`, `record_call_access` of `kernel/bpf/liveness.c`,
//! `bpf_helper_stack_access_bytes` of `kernel/bpf/verifier.c`).

use bombus_isa::opcode::atomic;
use bombus_isa::{Op, Reg, Size};
use bombus_platform::MAX_STACK;

use super::super::calls::Known;
use super::super::constants::Constant;
use super::super::{Access, Extent, Instruction};
use super::Analysis;
use super::instance::Instance;
use super::origin::Origin;
use super::slots::StackSlots;
use super::track::Origins;

/// What an instruction does with memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bytes {
    /// Nobody knows how much of it it reads.
    Unknown,
    Reads(i64),
    Writes(i64),
}

/// Arguments of a call of which nothing is known.
const ARGUMENTS: usize = 5;

impl Analysis<'_> {
    /// Notes what the instruction does to stack slots.
    pub(super) fn record(&self, instance: &mut Instance, origins: &Origins, slot: usize) {
        let (base, off, size, writes) = match self.instructions[slot] {
            Instruction::Op(op) => match op {
                Op::Load { size, base, off, .. } | Op::LoadAcquire { size, base, off, .. } => {
                    (base, off, size, false)
                }
                Op::Store { size, base, off, .. } | Op::StoreRelease { size, base, off, .. } => {
                    (base, off, size, true)
                }
                Op::Atomic { size, base, off, .. } => (base, off, size, false),
                Op::CallHelper { .. } | Op::CallKfunc { .. } => {
                    return self.record_call(instance, origins, slot);
                }
                _ => return,
            },
            Instruction::InvalidAtomic => {
                let insn = self.insns[slot];
                debug_assert_ne!(insn.imm, atomic::LOAD_ACQ);
                (insn.dst, insn.off, Size::from_bits(insn.code), false)
            }
            _ => return,
        };
        let bytes = size.bytes() as i64;
        let bytes = if writes { Bytes::Writes(bytes) } else { Bytes::Reads(bytes) };
        let origin = origins.register(base);
        if base <= Reg::FP && !origin.is_none() {
            note(instance, slot, origin, off, bytes);
        }
    }

    fn record_call(&self, instance: &mut Instance, origins: &Origins, slot: usize) {
        let known = self.calls.at(slot);
        let arguments = known.map_or(ARGUMENTS, |known| known.callee.arguments.len());
        for index in 0..arguments {
            let origin = origins.argument(index);
            if origin.is_none() {
                continue;
            }
            let bytes = match known {
                Some(known) => self.bytes(known, slot, index),
                None => Some(Bytes::Unknown),
            };
            if let Some(bytes) = bytes {
                note(instance, slot, origin, 0, bytes);
            }
        }
    }

    /// What a call does with the memory that an argument points to; `None`: nothing.
    fn bytes(&self, known: &Known, slot: usize, index: usize) -> Option<Bytes> {
        let (extent, writes) = match known.callee.arguments.get(index).copied() {
            None | Some(Access::Unknown) => return Some(Bytes::Unknown),
            Some(Access::Nothing) => return None,
            Some(Access::Reads(extent)) => (extent, false),
            Some(Access::Writes(extent)) => (extent, true),
        };
        let bytes = match extent {
            Extent::Bytes(bytes) => bytes,
            Extent::Key { map } | Extent::Value { map } => {
                let is_key = matches!(extent, Extent::Key { .. });
                match self.sizes(slot, map, is_key) {
                    Some(bytes) => bytes,
                    None => return Some(Bytes::Unknown),
                }
            }
            Extent::Next => match self.arguments.at(slot, index + 1).number() {
                Some(bytes) => bytes,
                // It is a constant on each path, or the walk refuses the call.
                None if writes && !known.is_kernel_function => return None,
                None => return Some(Bytes::Reads(MAX_STACK as i64)),
            },
        };
        let bytes = i64::from(bytes);
        match bytes {
            0 => None,
            _ if writes => Some(Bytes::Writes(bytes)),
            _ => Some(Bytes::Reads(bytes)),
        }
    }

    /// Bytes of a key or value of the map that the call gets; the most of any map of the program
    /// when it is not the same on all paths.
    fn sizes(&self, slot: usize, map: Option<u8>, is_key: bool) -> Option<u32> {
        let size = |map: &crate::Map| if is_key { map.key_size } else { map.value_size };
        let maps = self.program.maps;
        if let Some(argument) = map
            && let Constant::Map(index) = self.arguments.at(slot, argument.into())
        {
            return maps.get(index as usize).map(|map| size(map));
        }
        let used = self.used_maps.iter().filter_map(|&index| maps.get(index));
        let with_inner =
            used.flat_map(|map| [Some(&**map), map.inner.as_deref()]).flatten().map(size);
        with_inner.max().filter(|&size| size > 0)
    }
}

/// Notes an access through a pointer.
fn note(instance: &mut Instance, slot: usize, origin: Origin, off: i16, bytes: Bytes) {
    let (frame, offsets) = match origin {
        Origin::None => return,
        Origin::Frames(frames) => {
            for frame in (0..=instance.depth).filter(|frame| frames >> frame & 1 != 0) {
                instance.read(frame, slot, StackSlots::ALL);
            }
            return;
        }
        Origin::Frame(frame, offsets) if frame <= instance.depth => (frame, offsets),
        Origin::Frame(..) => return,
    };
    let offsets = offsets.plus(off.into());
    match (offsets.get(), bytes) {
        ([], Bytes::Writes(_)) => {}
        ([], _) => instance.read(frame, slot, StackSlots::ALL),
        (&[offset], Bytes::Writes(bytes)) => {
            instance.write(frame, slot, StackSlots::covered(offset.into(), bytes));
        }
        // Only one of them is written: that is not for sure.
        (_, Bytes::Writes(_)) => {}
        (offsets, Bytes::Reads(bytes)) => {
            for &offset in offsets {
                instance.read(frame, slot, StackSlots::touched(offset.into(), bytes));
            }
        }
        (offsets, Bytes::Unknown) => {
            for &offset in offsets {
                let offset = i64::from(offset);
                instance.read(frame, slot, StackSlots::touched(offset, -offset));
            }
        }
    }
}

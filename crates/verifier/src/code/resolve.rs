//! What `ld_imm64` names: maps, places in their values, kernel variables (`check_and_resolve_insns`,
//! `check_map_prog_compatibility`, `check_pseudo_btf_id` of `kernel/bpf/verifier.c`).

use bombus_btf::Kind;
use bombus_isa::opcode::{class, mode, size};
use bombus_isa::{Imm64, Insn, Op};
use bombus_platform::{MapType, sleepable_takes_map};

use super::{Facts, Instruction, instruction, refuse};
use crate::{F_SLEEPABLE, Map, Options, Program, Rejection, Target};

/// Maps of a program at most (`MAX_USED_MAPS`).
const MAX_MAPS: usize = 64;

/// All slots, decoded, and the maps that they name.
pub(super) struct Resolved {
    pub(super) instructions: Vec<Instruction>,
    /// Places in [`Program::maps`], in the order in which they are first named.
    pub(super) maps: Vec<usize>,
}

/// Decodes all slots and checks what each names.
pub(super) fn instructions(
    program: &Program<'_>,
    target: &Target<'_>,
    options: &Options,
    facts: &dyn Facts,
) -> Result<Resolved, Rejection> {
    let mut resolver = Resolver { program, target, options, facts, used: Vec::new() };
    let mut instructions = Vec::with_capacity(program.insns.len());
    while instructions.len() < program.insns.len() {
        let slot = instructions.len();
        let next = program.insns.get(slot + 1).copied();
        let instruction = match program.insns[slot].decode(next) {
            Ok(Op::GotoRegister { dst }) => Instruction::GotoRegister { dst },
            Ok(op) => Instruction::Op(op),
            Err(_) => instruction::decode(program.insns, slot)?,
        };
        instructions.push(instruction);
        if let Instruction::Op(Op::LoadImm64 { imm, .. }) = instruction {
            resolver.check(slot, imm)?;
            instructions.push(Instruction::Second);
        }
    }
    Ok(Resolved { instructions, maps: resolver.used })
}

/// The place in [`Program::maps`] of the map that is named, and the offset in its value.
pub(super) const fn map_of(imm: Imm64) -> Option<(usize, Option<u32>)> {
    match imm {
        Imm64::MapFd(index) | Imm64::MapIdx(index) => Some((index as usize, None)),
        Imm64::MapValue { fd: index, offset } | Imm64::MapIdxValue { index, offset } => {
            Some((index as usize, Some(offset)))
        }
        _ => None,
    }
}

struct Resolver<'a> {
    program: &'a Program<'a>,
    target: &'a Target<'a>,
    options: &'a Options,
    facts: &'a dyn Facts,
    /// In the order in which they are first named.
    used: Vec<usize>,
}

impl Resolver<'_> {
    fn check(&mut self, slot: usize, imm: Imm64) -> Result<(), Rejection> {
        if let Imm64::BtfId { id, btf_fd } = imm {
            return self.check_variable(slot, id, btf_fd);
        }
        let Some((index, offset)) = map_of(imm) else { return Ok(()) };
        let Some(map) = self.program.maps.get(index) else {
            let message = format!("fd {} is not pointing to valid bpf_map", index as i32);
            return Err(refuse(9, slot, message));
        };
        self.bind(slot, index, map)?;
        match offset {
            Some(offset) => check_place(map, offset, slot),
            None => Ok(()),
        }
    }

    /// The first time that a map is named.
    fn bind(&mut self, slot: usize, index: usize, map: &Map) -> Result<(), Rejection> {
        if self.used.contains(&index) {
            return Ok(());
        }
        if self.used.len() >= MAX_MAPS {
            let message =
                format!("The total number of maps per program has reached the limit of {MAX_MAPS}");
            return Err(refuse(7, slot, message));
        }
        self.facts.map(index)?;
        self.check_type(slot, map)?;
        self.used.push(index);
        if map.map_type == MapType::InsnArray && !has_valid_places(map, self.program.insns) {
            return Err(Rejection::invalid(slot, "Failed to properly initialize insn array"));
        }
        Ok(())
    }

    fn check_type(&self, slot: usize, map: &Map) -> Result<(), Rejection> {
        let another = |types: &[MapType]| {
            let mut used = self.used.iter().filter_map(|&index| self.program.maps.get(index));
            used.any(|map| types.contains(&map.map_type))
        };
        let refused = match map.map_type {
            MapType::StructOps => (22, "bpf_struct_ops map cannot be used in prog"),
            other if self.program.flags & F_SLEEPABLE != 0 && !sleepable_takes_map(other) => {
                (22, "Sleepable programs can only use array, hash, ringbuf and local storage maps")
            }
            storage @ (MapType::CgroupStorage | MapType::PercpuCgroupStorage)
                if another(&[storage]) =>
            {
                (16, "only one cgroup storage of each type is allowed")
            }
            MapType::Arena if another(&[MapType::Arena]) => (16, "Only one arena per program"),
            MapType::Arena if !self.options.privileges.perfmon || !self.options.privileges.bpf => {
                (1, "CAP_BPF and CAP_PERFMON are required to use arena")
            }
            MapType::Arena if map.extra == 0 => {
                (22, "arena's user address must be set via map_extra or mmap()")
            }
            _ => return Ok(()),
        };
        Err(refuse(refused.0, slot, refused.1))
    }

    fn check_variable(&self, slot: usize, id: i32, module: i32) -> Result<(), Rejection> {
        let btf = match module {
            0 => self.target.btf.ok_or(
                "kernel is missing BTF, make sure CONFIG_DEBUG_INFO_BTF=y is specified in Kconfig.",
            ),
            _ => usize::try_from(module)
                .ok()
                .and_then(|module| self.target.modules.get(module - 1).copied())
                .ok_or("invalid module BTF object FD specified."),
        };
        let btf = btf.map_err(|message| Rejection::invalid(slot, message))?;
        match btf.kind(bombus_btf::TypeId(id as u32)) {
            None => Err(refuse(2, slot, format!("ldimm64 insn specifies invalid btf_id {id}."))),
            Some(Kind::Var | Kind::Func) => Ok(()),
            Some(_) => {
                let message = format!("pseudo btf_id {id} in ldimm64 isn't KIND_VAR or KIND_FUNC");
                Err(Rejection::invalid(slot, message))
            }
        }
    }
}

/// Whether there is such a place in the map's value (the maps' `map_direct_value_addr`).
fn check_place(map: &Map, offset: u32, slot: usize) -> Result<(), Rejection> {
    const ENOTSUPP: i32 = 524;
    const EOPNOTSUPP: i32 = 95;
    const PAGE: u64 = 4096;
    let errno = match map.map_type {
        MapType::Array | MapType::PercpuArray if map.max_entries != 1 => {
            if map.map_type == MapType::Array { ENOTSUPP } else { EOPNOTSUPP }
        }
        MapType::Array | MapType::PercpuArray if offset >= map.value_size => 22,
        MapType::Arena if u64::from(offset) >= u64::from(map.max_entries) * PAGE => 34,
        MapType::InsnArray if !offset.is_multiple_of(8) || offset / 8 >= map.max_entries => 13,
        MapType::Array | MapType::PercpuArray | MapType::Arena | MapType::InsnArray => {
            return Ok(());
        }
        _ => {
            let message = "no direct value access support for this map type";
            return Err(Rejection::invalid(slot, message));
        }
    };
    let message =
        format!("invalid access to map value pointer, value_size={} off={offset}", map.value_size);
    Err(refuse(errno, slot, message))
}

/// The slots that a frozen instruction array names (`orig_off` of `struct bpf_insn_array_value`,
/// its first word).
pub(super) fn places(map: &Map) -> Option<Vec<u32>> {
    let values = map.constant.as_deref()?.chunks_exact((map.value_size as usize).max(4));
    let places: Vec<u32> = values
        .take(map.max_entries as usize)
        .filter_map(|value| value.first_chunk().copied().map(u32::from_le_bytes))
        .collect();
    (places.len() == map.max_entries as usize && !places.is_empty()).then_some(places)
}

/// Whether an instruction array is frozen and names instructions (`bpf_insn_array_init`).
fn has_valid_places(map: &Map, insns: &[Insn]) -> bool {
    const WIDE: u8 = class::LD | mode::IMM | size::DW;
    let is_start = |place: u32| {
        let before = (place as usize).checked_sub(1);
        (place as usize) < insns.len() && before.is_none_or(|before| insns[before].code != WIDE)
    };
    places(map).is_some_and(|places| places.into_iter().all(is_start))
}

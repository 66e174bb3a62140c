//! The code of a program, fitted to a target.
//!
//! First everything that depends on types, symbols and configuration; maps are named by their
//! index (`BPF_PSEUDO_MAP_IDX`). Then, once they exist, by their handles.

use bombus_isa::opcode::{call, class, jmp, pseudo};
use bombus_isa::{Insn, Reg};
use bombus_spec::{MapSpec, ObjectSpec, ProgramSpec, Reference, SourceLine};

use super::core_relocations::Relocator;
use super::externs::{Externs, Resolved};
use crate::{Error, MapFd, Result};

/// Numbers of helpers that do not exist. Calls of them stand for what the kernel does not have, so
/// that the verifier refuses them where they can be reached, and only there. libbpf uses the same.
pub(super) mod poison {
    /// A field, type or enumerator.
    pub(in crate::loader) const CORE: i32 = bombus_btf::relocate::POISON;
    /// A map: this and its index.
    pub(in crate::loader) const MAP: i32 = 2_001_000_000;
    /// A function of the kernel's: this and its index among the externs.
    pub(in crate::loader) const KFUNC: i32 = 2_002_000_000;
}

/// Code whose maps are named by index.
pub(super) struct Fitted {
    pub(super) insns: Vec<Insn>,
    /// What is not there, by slot. It matters only where it can be reached.
    pub(super) missing: Vec<(u32, Missing)>,
}

/// What a program refers to and does not get.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Missing {
    /// A field, type, enumerator or function of the kernel's, in words.
    InKernel(String),
    /// A map that is not created.
    Map(String),
}

/// The code of a program for this target.
pub(super) fn fit(
    object: &ObjectSpec,
    program: &ProgramSpec,
    externs: &Externs,
    relocator: &mut Relocator<'_>,
) -> Result<Fitted> {
    let mut insns: Vec<Insn> = program.insns.iter().map(|slot| slot.insn).collect();
    let mut missing = relocator.apply(program, &mut insns)?;
    for (slot, spec) in program.insns.iter().enumerate() {
        let Some(reference) = spec.reference else { continue };
        let refused = || dangling(program, slot, reference);
        match reference {
            Reference::Map(index) => {
                check_map(object, index, &refused)?;
                patch(&mut insns, slot, pseudo::MAP_IDX, index as i32, 0).ok_or_else(refused)?;
            }
            Reference::MapValue { map, offset } => {
                check_map(object, map, &refused)?;
                patch(&mut insns, slot, pseudo::MAP_IDX_VALUE, map as i32, offset as i32)
                    .ok_or_else(refused)?;
            }
            Reference::Function(index) => {
                let function = program.functions.get(index as usize).ok_or_else(refused)?;
                // The distance counts from the next slot, as a call's does.
                let distance = i64::from(function.start) - (slot as i64 + 1);
                patch(&mut insns, slot, pseudo::FUNC, distance as i32, 0).ok_or_else(refused)?;
            }
            Reference::Extern(index) => {
                let resolved = externs.get(index).ok_or_else(refused)?;
                let resolved = resolved.map_err(|error| at_line(program, slot, error))?;
                extern_at(&mut insns, slot, index, resolved).ok_or_else(refused)?;
                if resolved == Resolved::Absent && !insns[slot].is_wide() {
                    let name = object.externs.get(index as usize).map_or("", |each| each.name());
                    missing.push((slot as u32, Missing::InKernel(format!("function {name}"))));
                }
            }
        }
    }
    Ok(Fitted { insns, missing })
}

impl Fitted {
    /// Whether the code loads the address of this map.
    pub(super) fn uses_map(&self, map: usize) -> bool {
        let loads = self.insns.iter().filter(|insn| insn.is_wide());
        let mut maps =
            loads.filter(|insn| matches!(insn.src.0, pseudo::MAP_IDX | pseudo::MAP_IDX_VALUE));
        maps.any(|insn| insn.imm as u32 as usize == map)
    }

    /// Puts the handles of maps into code that names them by index. The load of one that does not
    /// exist is refused where it can be reached.
    pub(super) fn name_maps(&mut self, maps: &[Option<MapFd>], specs: &[MapSpec]) {
        let mut slot = 0;
        while slot < self.insns.len() {
            let insn = self.insns[slot];
            let width = if insn.is_wide() { 2 } else { 1 };
            let by_handle = match insn.src.0 {
                pseudo::MAP_IDX if insn.is_wide() => Some(pseudo::MAP_FD),
                pseudo::MAP_IDX_VALUE if insn.is_wide() => Some(pseudo::MAP_VALUE),
                _ => None,
            };
            let index = insn.imm as u32 as usize;
            if let (Some(src), Some(map)) = (by_handle, maps.get(index)) {
                if let Some(map) = map {
                    self.insns[slot] = Insn { src: Reg(src), imm: map.0 as i32, ..insn };
                } else {
                    let call = Insn::call_helper(poison::MAP.wrapping_add(index as i32));
                    self.insns[slot..].iter_mut().take(width).for_each(|insn| *insn = call);
                    let name = specs.get(index).map_or("", |spec| &spec.name);
                    self.missing.push((slot as u32, Missing::Map(name.to_owned())));
                }
            }
            slot += width;
        }
    }
}

/// The source line of a slot: its own, or that of the last one before it that has one.
pub(super) fn line_at(program: &ProgramSpec, slot: usize) -> Option<&SourceLine> {
    let slots = program.insns.get(..=slot)?;
    let line = slots.iter().rev().find_map(|slot| slot.line)?;
    program.lines.get(line as usize)
}

/// Sets a `ld_imm64`; `None` when there is none at this slot.
fn patch(insns: &mut [Insn], slot: usize, src: u8, low: i32, high: i32) -> Option<()> {
    let Some([first, second]) = insns.get_mut(slot..slot + 2) else { return None };
    if !first.is_wide() {
        return None;
    }
    *first = Insn { src: Reg(src), imm: low, ..*first };
    second.imm = high;
    Some(())
}

fn extern_at(insns: &mut [Insn], slot: usize, index: u32, resolved: Resolved) -> Option<()> {
    let insn = *insns.get(slot)?;
    if insn.code == class::JMP | jmp::CALL {
        insns[slot] = match resolved {
            Resolved::Typed { id, place, .. } => {
                Insn { src: Reg(call::KFUNC), off: place, imm: id.0 as i32, ..insn }
            }
            Resolved::Absent => Insn::call_helper(poison::KFUNC.wrapping_add(index as i32)),
            Resolved::Value { .. } | Resolved::Address(_) => return None,
        };
        return Some(());
    }
    match resolved {
        Resolved::Value { map, offset } => {
            patch(insns, slot, pseudo::MAP_IDX_VALUE, map as i32, offset as i32)
        }
        Resolved::Address(address) => patch(insns, slot, 0, address as i32, (address >> 32) as i32),
        Resolved::Typed { id, module, .. } => {
            patch(insns, slot, pseudo::BTF_ID, id.0 as i32, module as i32)
        }
        Resolved::Absent => patch(insns, slot, 0, 0, 0),
    }
}

fn check_map(object: &ObjectSpec, index: u32, refused: &dyn Fn() -> Error) -> Result<()> {
    if (index as usize) < object.maps.len() { Ok(()) } else { Err(refused()) }
}

/// An error about an extern, with the program and the line that want it.
fn at_line(program: &ProgramSpec, slot: usize, error: Error) -> Error {
    let place = line_at(program, slot)
        .map(|line| format!(" ({}:{}: {})", line.file, line.line, line.text.trim()))
        .unwrap_or_default();
    match error {
        Error::Unsupported { what, help } => {
            Error::Unsupported { what: format!("program {}: {what}{place}", program.name), help }
        }
        error => error,
    }
}

fn dangling(program: &ProgramSpec, slot: usize, reference: Reference) -> Error {
    const EINVAL: i32 = 22;
    let what = match reference {
        Reference::Map(index) | Reference::MapValue { map: index, .. } => format!("map {index}"),
        Reference::Function(index) => format!("function {index}"),
        Reference::Extern(index) => format!("extern {index}"),
    };
    Error::Os {
        doing: format!("load program {}", program.name),
        errno: EINVAL,
        help: Some(format!("slot {slot} cannot refer to {what}")),
    }
}

//! What the places that are to be relocated stand for.
//!
//! As in libbpf, the instruction and the symbol decide; the type of the relocation says nothing
//! more (`R_BPF_64_64` for `ld_imm64`, `R_BPF_64_32` for calls, `R_BPF_64_ABS64` in data).

use std::collections::HashMap;

use bombus_isa::{Insn, opcode};
use object::elf;

use crate::code::{Functions, SLOT};
use crate::elf::{Elf, Place, Relocation, Role};
use crate::error::{Error, Result};
use crate::externs::Externs;

/// What a slot of code refers to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// A call of a subprogram; bytes from the start of `.text`, to which the call's own distance is
    /// added.
    Call(u64),
    /// The address of a subprogram; the same.
    Function(u64),
    /// The map with this index.
    Map(u32),
    /// The value of the map with this index; bytes from its start, to which the load's own number
    /// is added.
    Value(u32, u32),
    /// The extern with this index.
    Extern(u32),
    /// A table of places in the code: bytes from the start of the section, bytes.
    JumpTable(u64, u64),
}

/// Which map stands for which variables.
#[derive(Clone, Debug, Default)]
pub(crate) struct MapPlaces {
    /// Index of the section of definitions.
    pub(crate) definitions: Option<usize>,
    /// Maps by the start of their definition.
    pub(crate) by_definition: HashMap<u64, u32>,
    /// Maps by the section whose variables they hold.
    pub(crate) by_section: HashMap<usize, u32>,
}

/// The targets of all slots, by section; each section's by slot.
pub(crate) type Targets = HashMap<usize, Vec<(u32, Target)>>;

/// The target of every slot of code that is relocated.
pub(crate) fn collect(
    elf: &Elf<'_>,
    functions: &Functions<'_>,
    externs: &Externs,
    maps: &MapPlaces,
) -> Result<Targets> {
    let mut targets = Targets::new();
    for table in &elf.relocations {
        let Some(section) = elf.sections.get(table.target) else { continue };
        if section.role != Role::Code {
            continue;
        }
        let found = targets.entry(table.target).or_default();
        for relocation in elf.relocations(table) {
            let relocation = relocation?;
            let slot = relocation.offset / SLOT;
            if relocation.offset % SLOT != 0 || relocation.offset >= section.size {
                let reason =
                    format!("there is nothing to relocate at byte {:#x}", relocation.offset);
                return Err(Error::new(reason).in_section(section.name));
            }
            // Code that no function has is what a linker left of an overridden one.
            let Some(index) = functions.at(table.target, slot) else { continue };
            let function = &functions.all()[index];
            let Some(insn) = function.insn(slot as u32 - function.start) else { continue };
            let target = target(elf, functions, externs, maps, &relocation, insn);
            let within = |error: Error| {
                let place = slot as u32 - function.start;
                let reason = format!("instruction {place}: {}", error.reason);
                Error { reason, ..error }.in_section(section.name).at(function.name)
            };
            found.push((slot as u32, target.map_err(within)?));
        }
    }
    for found in targets.values_mut() {
        found.sort_by_key(|(slot, _)| *slot);
    }
    Ok(targets)
}

fn target(
    elf: &Elf<'_>,
    functions: &Functions<'_>,
    externs: &Externs,
    maps: &MapPlaces,
    relocation: &Relocation<'_, '_>,
    insn: Insn,
) -> Result<Target> {
    let symbol = relocation.symbol;
    let name = elf.symbol_name(symbol);
    let is_call = insn.code == opcode::class::JMP | opcode::jmp::CALL;
    if !is_call && !insn.is_wide() {
        return Err(Error::new(format!(
            "it refers to `{name}`, but is no call and loads no address"
        )));
    }
    if let Some(index) = externs.by_symbol(relocation.index) {
        return Ok(Target::Extern(index));
    }
    let Place::Section(section) = symbol.place else {
        return Err(Error::new(format!("it refers to `{name}`, which is not defined"))
            .help("a global variable has to be initialized, or declared in a section of data"));
    };
    let in_text = functions.text() == Some(section);
    if is_call {
        if insn.src.0 != opcode::call::LOCAL {
            return Err(Error::new(format!(
                "it calls `{name}`, but not as a function of the program"
            )));
        }
        if !in_text || !symbol.value.is_multiple_of(SLOT) {
            return Err(Error::new(format!(
                "it calls `{name}` in section {}",
                elf.section_name(section)
            ))
            .help("functions without SEC(...) can be called, programs cannot"));
        }
        return Ok(Target::Call(symbol.value));
    }
    if in_text && (symbol.kind == elf::STT_SECTION || symbol.kind == elf::STT_FUNC) {
        return Ok(Target::Function(symbol.value));
    }
    if let Some(&map) = maps.by_section.get(&section) {
        // Addresses inside a value have 32 bits.
        return Ok(Target::Value(map, symbol.value as u32));
    }
    let role = elf.sections.get(section).map_or(Role::Other, |section| section.role);
    if maps.definitions == Some(section) {
        let map = maps.by_definition.get(&symbol.value).ok_or_else(|| {
            Error::new(format!("it refers to `{name}` in .maps, where no map is defined"))
        })?;
        return Ok(Target::Map(*map));
    }
    match role {
        Role::JumpTables => Ok(Target::JumpTable(symbol.value, symbol.size)),
        Role::Arena => Err(Error::new(format!("it refers to `{name}`, which is for an arena"))
            .help("define an arena in .maps")),
        Role::Code => Err(Error::new(format!(
            "it takes the address of `{name}`, which is a program in section {}",
            elf.section_name(section)
        ))
        .help("only functions without SEC(...) have addresses")),
        _ => Err(Error::new(format!(
            "it refers to `{name}` in section {}, which no map is made of",
            elf.section_name(section)
        ))
        .help("variables can stand in .data, .rodata, .bss and sections that start so")),
    }
}

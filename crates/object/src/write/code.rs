//! Programs, each in the section that it names, and their functions in `.text`: programs that call
//! the same function share it again.

use std::collections::HashMap;
use std::ops::Range;

use bombus_btf::relocate::Relocation;
use bombus_btf::{FuncInfo, LineInfo, Linkage, TypeId};
use bombus_isa::{Insn, Reg, opcode};
use bombus_platform::SECTIONS;
use bombus_spec::{CoreRelocation, Extern, MapRole, ProgramSpec, Reference, SpecInsn};
use object::elf;

use super::{CALL, File, LOAD};
use crate::code::SLOT;
use crate::error::{Error, Result};
use crate::image::Symbol;

/// The section of functions that are no programs.
const TEXT: &str = ".text";

/// Where everything is.
#[derive(Default)]
pub(super) struct Code {
    /// By program and function.
    placed: Vec<Vec<Placed>>,
    /// The symbol of `.text` itself.
    text: Option<usize>,
}

impl Code {
    /// The symbol of a program.
    pub(super) fn entry(&self, program: u32) -> Option<usize> {
        Some(self.placed.get(program as usize)?.first()?.symbol)
    }
}

/// Where a function is.
#[derive(Clone, Copy)]
struct Placed {
    section: usize,
    /// Slot of its first instruction.
    start: u32,
    symbol: usize,
    /// Others can see it: it is named by its own symbol.
    is_global: bool,
}

/// A function of a program, by their indices.
type Which = (usize, usize);

impl File<'_> {
    /// Adds all code and what belongs to it.
    pub(super) fn code(&mut self) -> Result<Code> {
        let mut code = Code::default();
        let order = self.place(&mut code)?;
        for (program, function) in order {
            let spec = &self.spec.programs[program];
            let at = |error: Error| error.at(&spec.name);
            self.emit(&code, program, function).map_err(at)?;
        }
        Ok(code)
    }

    /// Decides where each function goes; those that are to be written, in order of their places.
    fn place(&mut self, code: &mut Code) -> Result<Vec<Which>> {
        let spec = self.spec;
        let mut sections: HashMap<String, usize> = HashMap::new();
        let mut shared: HashMap<&str, Vec<Which>> = HashMap::new();
        let mut order = Vec::new();
        for (number, program) in spec.programs.iter().enumerate() {
            let at = |error: Error| error.at(&program.name);
            if program.functions.first().is_none_or(|entry| entry.start != 0) {
                return Err(at(Error::new("the program has no function to start with")));
            }
            let name = section_name(program).map_err(at)?;
            let mut placed = Vec::with_capacity(program.functions.len());
            for (index, function) in program.functions.iter().enumerate() {
                let known =
                    shared.get(function.name.as_str()).into_iter().flatten().find(|known| {
                        let is_other = index > 0 && known.0 != number;
                        is_other && Same::new(&spec.programs).holds((number, index), **known)
                    });
                if let Some(&(program, index)) = known {
                    placed.push(code.placed[program][index]);
                    continue;
                }
                let name = if index == 0 { name.as_str() } else { TEXT };
                let section = match sections.get(name) {
                    Some(&section) => section,
                    None => {
                        let flags = elf::SHF_ALLOC.0 | elf::SHF_EXECINSTR.0;
                        let section = self.section(name, flags, SLOT, Vec::new());
                        sections.insert(name.to_owned(), section);
                        section
                    }
                };
                let len = slots(program, index).ok_or_else(|| {
                    at(Error::new(format!("its function {} has no code", function.name)))
                })?;
                let start = self.image.sections[section].data.len() as u64;
                let size = len.len() as u64 * SLOT;
                let is_global =
                    index == 0 || self.types.linkage(function.type_id) == Linkage::Global;
                let symbol = self.symbol(Symbol {
                    name: if index == 0 { program.name.clone() } else { function.name.clone() },
                    section: Some(section),
                    value: start,
                    size,
                    kind: elf::STT_FUNC,
                    bind: if is_global { elf::STB_GLOBAL } else { elf::STB_LOCAL },
                    hidden: false,
                });
                let data = &mut self.image.sections[section].data;
                data.resize((start + size) as usize, 0);
                self.image.sections[section].size = start + size;
                let start = (start / SLOT) as u32;
                placed.push(Placed { section, start, symbol, is_global });
                order.push((number, index));
                if index > 0 {
                    shared.entry(function.name.as_str()).or_default().push((number, index));
                }
            }
            code.placed.push(placed);
        }
        code.text = sections.get(TEXT).map(|&section| self.section_symbol(section));
        // A section's records have to come together, and in order.
        order.sort_by_key(|&(program, function)| {
            let placed = code.placed[program][function];
            (placed.section, placed.start)
        });
        Ok(order)
    }

    /// Writes a function's slots and what is known of them.
    fn emit(&mut self, code: &Code, number: usize, index: usize) -> Result<()> {
        let program = &self.spec.programs[number];
        let placed = code.placed[number][index];
        let Some(range) = slots(program, index) else { return Ok(()) };
        let first = range.start;
        let section = self.image.sections[placed.section].name.clone();
        let moved = |slot: usize| placed.start + (slot - first) as u32;
        let function = &program.functions[index];
        let builder = &mut self.types.builder;
        if function.type_id != 0 {
            let func = FuncInfo { insn: placed.start, func: TypeId(function.type_id) };
            self.ext.func(builder, &section, func);
        }
        let mut last = None;
        for slot in range.clone() {
            let line = program.insns[slot].line;
            if line.is_none() || line == last {
                continue;
            }
            last = line;
            let source = line.and_then(|line| program.lines.get(line as usize));
            if let Some(source) = source {
                let (file, text) = (builder.string(&source.file), builder.string(&source.text));
                let (line, column) = (source.line, source.column);
                let info = LineInfo { insn: moved(slot), file, text, line, column };
                self.ext.line(builder, &section, info);
            }
        }
        for each in relocations(program, &range) {
            let relocation = Relocation {
                insn_offset: moved(each.slot as usize) * SLOT as u32,
                type_id: TypeId(each.type_id),
                access: each.access.clone(),
                kind: each.kind,
            };
            self.ext.relocation(builder, &section, &relocation);
        }
        for slot in range {
            let insn = self.slot(code, number, slot, placed.section, moved(slot))?;
            let offset = (u64::from(moved(slot)) * SLOT) as usize;
            let data = &mut self.image.sections[placed.section].data;
            if let Some(bytes) = data.get_mut(offset..offset + SLOT as usize) {
                bytes.copy_from_slice(&insn.to_bytes());
            }
        }
        Ok(())
    }

    /// A slot as it stands in the file, and its relocation.
    fn slot(
        &mut self,
        code: &Code,
        number: usize,
        slot: usize,
        section: usize,
        place: u32,
    ) -> Result<Insn> {
        let program = &self.spec.programs[number];
        let SpecInsn { insn, reference, .. } = program.insns[slot];
        let offset = u64::from(place) * SLOT;
        let missing = |what: &str| {
            Error::new(format!("instruction {slot} refers to {what} that there is not"))
        };
        let loaded = |imm: u32| Insn { src: Reg(0), imm: imm as i32, ..insn };
        let Some(reference) = reference else {
            let Some(callee) = callee(program, slot) else { return Ok(insn) };
            let callee = callee.ok_or_else(|| missing("a function"))?;
            let target = code.placed[number][callee];
            // A static function is named by its place in the section.
            let (symbol, imm) = match (target.is_global, code.text) {
                (false, Some(text)) => (text, target.start as i32 - 1),
                _ => (target.symbol, -1),
            };
            self.relocate(section, offset, symbol, CALL);
            return Ok(Insn { imm, ..insn });
        };
        let map_symbol = |map: u32| self.map_symbols.get(map as usize).copied().flatten();
        let (symbol, imm) = match reference {
            Reference::Map(map) => (map_symbol(map).ok_or_else(|| missing("a map"))?, 0),
            Reference::MapValue { map, offset } => {
                match self.spec.maps.get(map as usize).map(|map| &map.role) {
                    Some(MapRole::Kconfig) => {
                        let option = self.option(offset).ok_or_else(|| missing("an option"))?;
                        (option, 0)
                    }
                    _ => (self.value(map).ok_or_else(|| missing("a variable"))?, offset),
                }
            }
            Reference::Function(function) => {
                let target = code.placed[number].get(function as usize).filter(|_| function > 0);
                let target = target.ok_or_else(|| missing("a function"))?;
                match (target.is_global, code.text) {
                    (false, Some(text)) => (text, target.start * SLOT as u32),
                    _ => (target.symbol, 0),
                }
            }
            Reference::Extern(number) => {
                let symbol = self.extern_symbols.get(number as usize).copied();
                let symbol = symbol.ok_or_else(|| missing("an extern"))?;
                if !insn.is_wide() {
                    self.relocate(section, offset, symbol, CALL);
                    return Ok(Insn { src: Reg(opcode::call::LOCAL), imm: -1, ..insn });
                }
                (symbol, 0)
            }
        };
        self.relocate(section, offset, symbol, LOAD);
        Ok(loaded(imm))
    }

    /// The symbol of the option of the configuration at this place.
    fn option(&self, place: u32) -> Option<usize> {
        let index =
            self.spec.externs.iter().position(
                |each| matches!(each, Extern::Kconfig { offset, .. } if *offset == place),
            )?;
        self.extern_symbols.get(index).copied()
    }

    /// The symbol of the section whose variables a map holds.
    fn value(&self, map: u32) -> Option<usize> {
        let spec = self.spec.maps.get(map as usize)?;
        let MapRole::Data { section: name, .. } = &spec.role else { return None };
        let section = self.image.sections.iter().position(|section| section.name == *name)?;
        self.image
            .symbols
            .iter()
            .position(|symbol| symbol.section == Some(section) && symbol.kind == elf::STT_SECTION)
    }
}

/// What the section of a program is called.
fn section_name(program: &ProgramSpec) -> Result<String> {
    let name = if program.section.is_empty() {
        let row = SECTIONS.iter().find(|row| {
            row.prog_type == program.prog_type
                && row.attach_type == program.attach_type
                && row.prog_flags() == program.flags
        });
        let row = row.ok_or_else(|| Error::new("no section is for programs of its type"))?;
        let name = row.pattern.trim_end_matches('+');
        match &program.attach_to {
            Some(target) => format!("{name}/{target}"),
            None => name.to_owned(),
        }
    } else {
        program.section.clone()
    };
    Ok(if program.autoload { name } else { format!("?{name}") })
}

/// The slots of a function, of which there is one at least.
fn slots(program: &ProgramSpec, index: usize) -> Option<Range<usize>> {
    let start = program.functions.get(index)?.start as usize;
    let next = program.functions.get(index + 1).map(|next| next.start as usize);
    let range = start..next.unwrap_or(program.insns.len());
    (range.start < range.end && range.end <= program.insns.len()).then_some(range)
}

/// The CO-RE relocations of these slots.
fn relocations<'p>(
    program: &'p ProgramSpec,
    slots: &Range<usize>,
) -> impl Iterator<Item = &'p CoreRelocation> {
    let slots = slots.clone();
    program.core_relocations.iter().filter(move |each| slots.contains(&(each.slot as usize)))
}

/// The function that a slot calls, if it is such a call; `None` inside: there is none.
fn callee(program: &ProgramSpec, slot: usize) -> Option<Option<usize>> {
    let insn = program.insns[slot].insn;
    let is_call =
        insn.code == opcode::class::JMP | opcode::jmp::CALL && insn.src.0 == opcode::call::LOCAL;
    let second = slot > 0 && program.insns[slot - 1].insn.is_wide();
    let target = slot as i64 + 1 + i64::from(insn.imm);
    let starts = |function: &bombus_spec::Function| i64::from(function.start) == target;
    (is_call && !second)
        .then(|| program.functions.iter().position(starts).filter(|&callee| callee > 0))
}

/// Whether functions of two programs are one function of the source.
struct Same<'s> {
    programs: &'s [ProgramSpec],
    /// Pairs that have been compared, or are being.
    seen: Vec<(Which, Which)>,
}

impl<'s> Same<'s> {
    fn new(programs: &'s [ProgramSpec]) -> Same<'s> {
        Same { programs, seen: Vec::new() }
    }

    /// Compares them and all that they call.
    fn holds(&mut self, first: Which, second: Which) -> bool {
        let mut pending = vec![(first, second)];
        while let Some(pair) = pending.pop() {
            if pair.0 == pair.1 || self.seen.contains(&pair) {
                continue;
            }
            self.seen.push(pair);
            match self.compare(pair) {
                Some(callees) => pending.extend(callees),
                None => return false,
            }
        }
        true
    }

    /// What has to be the same, too, when these are.
    fn compare(&self, (first, second): (Which, Which)) -> Option<Vec<(Which, Which)>> {
        let (a, b) = (&self.programs[first.0], &self.programs[second.0]);
        let (at, bt) = (a.functions.get(first.1)?, b.functions.get(second.1)?);
        let (ar, br) = (slots(a, first.1)?, slots(b, second.1)?);
        if at.name != bt.name || at.type_id != bt.type_id || ar.len() != br.len() {
            return None;
        }
        let mut callees = Vec::new();
        for (slot, other) in ar.clone().zip(br.clone()) {
            let (x, y) = (a.insns[slot], b.insns[other]);
            match (callee(a, slot), callee(b, other)) {
                (Some(f), Some(g)) => {
                    callees.push(((first.0, f?), (second.0, g?)));
                    continue;
                }
                (None, None) => {}
                _ => return None,
            }
            if x.insn != y.insn {
                return None;
            }
            match (x.reference, y.reference) {
                (Some(Reference::Function(f)), Some(Reference::Function(g))) => {
                    callees.push(((first.0, f as usize), (second.0, g as usize)));
                }
                (f, g) if f == g => {}
                _ => return None,
            }
        }
        let from = |each: &CoreRelocation, start: usize| {
            (each.slot as usize - start, each.kind, each.type_id, each.access.clone())
        };
        let same = relocations(a, &ar)
            .map(|each| from(each, ar.start))
            .eq(relocations(b, &br).map(|each| from(each, br.start)));
        same.then_some(callees)
    }
}

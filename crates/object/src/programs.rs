//! Programs: each function of a section that is not `.text`, with the subprograms that it calls.
//!
//! Subprograms are appended in libbpf's order: when a call of one that is not there yet is met, it
//! is appended and gone through before the caller goes on. So the slots are libbpf's, one by one.

use std::collections::HashMap;
use std::sync::Arc;

use bombus_btf::{Btf, BtfExt, LineInfo, Type, TypeId};
use bombus_isa::{Insn, Reg, opcode};
use bombus_platform::{AttachType, ProgType, find_section};
use bombus_spec::{CoreRelocation, ProgramSpec, Reference, SourceLine, SpecInsn};

use crate::code::Functions;
use crate::elf::Elf;
use crate::error::{Error, Result};
use crate::externs::{Externs, What};
use crate::targets::{Target, Targets};

/// Slots that all programs together may have for each slot of the file: subprograms are in every
/// program that calls them.
const SLOTS_PER_SLOT: usize = 64;
/// And what a file may have anyhow.
const SLOTS: usize = 1 << 20;

/// What programs are made from.
pub(crate) struct Source<'s, 'a> {
    pub(crate) elf: &'s Elf<'a>,
    pub(crate) functions: &'s Functions<'a>,
    pub(crate) targets: &'s Targets,
    pub(crate) externs: &'s Externs,
    pub(crate) btf: Option<&'s Btf>,
    /// The map of the kernel's configuration.
    pub(crate) kconfig: Option<u32>,
    pub(crate) license: &'s str,
    /// The type of all programs, instead of what their sections say.
    pub(crate) prog_type: Option<(ProgType, AttachType)>,
}

/// A table of places that a program has, which becomes a map of its own.
#[derive(Clone, Debug)]
pub(crate) struct JumpTable {
    /// Index of the program.
    pub(crate) program: usize,
    /// Bytes from the start of the section of tables, bytes.
    pub(crate) place: (u64, u64),
    /// Slots of the program, one for each entry.
    pub(crate) slots: Vec<u32>,
    /// The slots that load its address.
    pub(crate) loads: Vec<u32>,
}

/// All programs, by section and place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Programs {
    pub(crate) all: Vec<ProgramSpec>,
    /// Indices of programs by those of their functions.
    pub(crate) by_function: HashMap<usize, u32>,
    /// Tables of places, by program.
    pub(crate) jump_tables: Vec<JumpTable>,
}

impl Programs {
    pub(crate) fn collect(source: &Source<'_, '_>, ext: Option<&BtfExt<'_>>) -> Result<Programs> {
        let info = Info::new(source, ext)?;
        let callbacks = exception_callbacks(source);
        let slots: usize = source.functions.all().iter().map(|f| f.len as usize).sum();
        let mut left = SLOTS + slots.saturating_mul(SLOTS_PER_SLOT);
        let mut programs = Programs::default();
        for (index, function) in source.functions.all().iter().enumerate() {
            if source.functions.is_subprogram(function) {
                continue;
            }
            let section = source.elf.section_name(function.section);
            let at = |error: Error| error.in_section(section).at(function.name);
            let spec = declared(source, function.name, section);
            let mut assembly = Assembly::new(source, &info, spec, left);
            assembly.assemble(index).map_err(at)?;
            if let Some(&Some(callback)) = callbacks.get(function.name)
                && !assembly.starts.contains_key(&callback)
            {
                assembly.assemble(callback).map_err(at)?;
            }
            left = left.saturating_sub(assembly.spec.insns.len());
            let program = programs.all.len();
            for table in assembly.jump_tables {
                programs.jump_tables.push(JumpTable { program, ..table });
            }
            programs.by_function.insert(index, program as u32);
            programs.all.push(assembly.spec);
        }
        Ok(programs)
    }
}

/// What is known of a program without its code.
fn declared(source: &Source<'_, '_>, name: &str, section: &str) -> ProgramSpec {
    let (autoload, section) = match section.strip_prefix('?') {
        Some(section) => (false, section),
        None => (true, section),
    };
    let found = find_section(section);
    let mut spec = ProgramSpec {
        name: name.to_owned(),
        license: source.license.to_owned(),
        section: section.to_owned(),
        autoload,
        ..ProgramSpec::default()
    };
    match (found, source.prog_type) {
        (_, Some((prog_type, attach_type))) => {
            (spec.prog_type, spec.attach_type) = (prog_type, attach_type);
        }
        (Some((row, target)), None) => {
            (spec.prog_type, spec.attach_type) = (row.prog_type, row.attach_type);
            spec.flags = row.prog_flags();
            spec.attach_to = target.filter(|_| row.attaches_by_btf()).map(str::to_owned);
        }
        // As libbpf does: whoever loads it may know better.
        (None, None) => spec.prog_type = ProgType::Unspecified,
    }
    spec
}

/// Subprograms that programs name as their handlers of exceptions, by the programs' names
/// (`btf_decl_tag("exception_callback:NAME")`). Nothing calls them, but they belong to the program.
/// A program that names several has none: the verifier will say what is wrong.
fn exception_callbacks<'s>(source: &Source<'s, '_>) -> HashMap<&'s str, Option<usize>> {
    let mut callbacks = HashMap::new();
    let Some(btf) = source.btf else { return callbacks };
    let mut subprograms = None;
    for (_, ty) in btf.types() {
        let Type::DeclTag { tag, ty, component: None } = ty else { continue };
        let Some(callback) = tag.strip_prefix("exception_callback:") else { continue };
        let Some(Type::Func { name, .. }) = btf.ty(ty) else { continue };
        let subprograms = subprograms.get_or_insert_with(|| {
            let all = source.functions.all().iter().enumerate();
            let all = all.filter(|(_, function)| source.functions.is_subprogram(function));
            all.map(|(index, function)| (function.name, index)).collect::<HashMap<_, _>>()
        });
        let callback = subprograms.get(callback).copied();
        callbacks.entry(name).and_modify(|known| *known = None).or_insert(callback);
    }
    callbacks
}

/// Records of `.BTF.ext`, by the section's index; each section's by slot.
struct Info {
    functions: HashMap<usize, Vec<(u32, TypeId)>>,
    lines: HashMap<usize, Vec<LineInfo>>,
    relocations: HashMap<usize, Vec<CoreRelocation>>,
    /// Strings that lines name, by offset.
    strings: HashMap<u32, Arc<str>>,
}

impl Info {
    fn new(source: &Source<'_, '_>, ext: Option<&BtfExt<'_>>) -> Result<Info> {
        let mut info = Info {
            functions: HashMap::new(),
            lines: HashMap::new(),
            relocations: HashMap::new(),
            strings: HashMap::new(),
        };
        let Some((ext, btf)) = ext.zip(source.btf) else { return Ok(info) };
        for name in ext.sections() {
            let Some((index, _)) = source.elf.named(name) else { continue };
            let mut functions: Vec<_> = ext.funcs(name).map(|f| (f.insn, f.func)).collect();
            functions.sort_by_key(|(slot, _)| *slot);
            info.functions.insert(index, functions);
            let mut lines: Vec<LineInfo> = ext.lines(name).collect();
            lines.sort_by_key(|line| line.insn);
            info.strings(&lines, btf)?;
            info.lines.insert(index, lines);
            let relocations = ext.relocations(name).map(|relocation| CoreRelocation {
                slot: relocation.insn_offset / 8,
                kind: relocation.kind,
                type_id: relocation.type_id.0,
                access: relocation.access,
            });
            let mut relocations: Vec<CoreRelocation> = relocations.collect();
            relocations.sort_by_key(|relocation| relocation.slot);
            info.relocations.insert(index, relocations);
        }
        Ok(info)
    }

    /// Keeps the strings that lines name. Honest ones are apart from each other in the table.
    fn strings(&mut self, lines: &[LineInfo], btf: &Btf) -> Result<()> {
        let mut left = btf.bytes().len() * 2;
        for offset in lines.iter().flat_map(|line| [line.file, line.text]) {
            if self.strings.contains_key(&offset) {
                continue;
            }
            let text = String::from_utf8_lossy(btf.string(offset).unwrap_or_default());
            left = left
                .checked_sub(text.len())
                .ok_or_else(|| Error::new("lines of source overlap").in_section(".BTF.ext"))?;
            self.strings.insert(offset, text.into());
        }
        Ok(())
    }
}

/// What of a list that is sorted by slot lies in these slots.
fn between<T>(list: &[T], slot: impl Fn(&T) -> u32, start: u32, len: u32) -> &[T] {
    let first = list.partition_point(|each| slot(each) < start);
    let end = list.partition_point(|each| slot(each) < start.saturating_add(len));
    &list[first..end.max(first)]
}

/// A program that is being put together.
struct Assembly<'p, 's, 'a> {
    source: &'p Source<'s, 'a>,
    info: &'p Info,
    spec: ProgramSpec,
    /// Slot and place in the list of functions, by index in [`Functions`].
    starts: HashMap<usize, (u32, u32)>,
    /// Places in the list of lines.
    lines: HashMap<(u32, u32, u32, u32), u32>,
    jump_tables: Vec<JumpTable>,
    /// How many slots more there may be.
    left: usize,
}

impl<'p, 's, 'a> Assembly<'p, 's, 'a> {
    fn new(
        source: &'p Source<'s, 'a>,
        info: &'p Info,
        spec: ProgramSpec,
        left: usize,
    ) -> Assembly<'p, 's, 'a> {
        let (starts, lines, jump_tables) = (HashMap::new(), HashMap::new(), Vec::new());
        Assembly { source, info, spec, starts, lines, jump_tables, left }
    }

    /// Appends a function and all that it calls.
    fn assemble(&mut self, function: usize) -> Result<()> {
        self.append(function)?;
        // Who is on hold, and where it goes on.
        let mut stack = vec![(function, 0)];
        while let Some((function, slot)) = stack.pop() {
            let function_len = self.source.functions.all()[function].len;
            for slot in slot..function_len {
                let Some(callee) = self.relocate(function, slot)? else { continue };
                if !self.starts.contains_key(&callee) {
                    self.append(callee)?;
                    // The caller meets the same instruction again, with the callee in place.
                    stack.push((function, slot));
                    stack.push((callee, 0));
                    break;
                }
            }
        }
        Ok(())
    }

    /// Appends the slots of a function, and what is known of them.
    fn append(&mut self, index: usize) -> Result<()> {
        let function = &self.source.functions.all()[index];
        let start = self.spec.insns.len() as u32;
        self.left = self.left.checked_sub(function.len as usize).ok_or_else(|| {
            Error::new("the programs are too large together with the functions that they call")
        })?;
        self.starts.insert(index, (start, self.spec.functions.len() as u32));
        let (len, more) = (self.spec.insns.len(), function.len as usize);
        if self.spec.insns.capacity() - len < more {
            // Twice as much as before, which a vector takes by itself, is a lot for large programs.
            self.spec.insns.reserve_exact(more.max(len / 4));
        }
        self.spec.insns.extend(function.insns().map(SpecInsn::from));
        self.lines(index, start);
        let rebased = |slot: u32| slot - function.start + start;
        let types = self.info.functions.get(&function.section).map_or(&[][..], Vec::as_slice);
        let types = between(types, |(slot, _)| *slot, function.start, function.len);
        let type_id = types.first().map_or(TypeId::VOID, |(_, id)| *id);
        let args = self.arguments(type_id).unwrap_or(if start == 0 { 1 } else { 5 });
        let name = function.name.to_owned();
        self.spec.functions.push(bombus_spec::Function { name, start, args, type_id: type_id.0 });
        let relocations = self.info.relocations.get(&function.section);
        let relocations = relocations.map_or(&[][..], Vec::as_slice);
        for each in between(relocations, |each| each.slot, function.start, function.len) {
            let slot = rebased(each.slot);
            self.spec.core_relocations.push(CoreRelocation { slot, ..each.clone() });
        }
        Ok(())
    }

    fn arguments(&self, function: TypeId) -> Option<u32> {
        let btf = self.source.btf?;
        let Type::Func { proto, .. } = btf.ty(function)? else { return None };
        let Type::FuncProto { params, .. } = btf.ty(proto)? else { return None };
        Some(params.len() as u32)
    }

    /// Says of each slot of an appended function from which line it came.
    fn lines(&mut self, index: usize, start: u32) {
        let function = &self.source.functions.all()[index];
        let info = self.info;
        let Some(lines) = info.lines.get(&function.section) else { return };
        let lines = between(lines, |line| line.insn, function.start, function.len);
        let ends = lines.iter().skip(1).map(|line| line.insn);
        let ends = ends.chain([function.start + function.len]);
        for (line, end) in lines.iter().zip(ends) {
            let place = (line.file, line.text, line.line, line.column);
            let table = &mut self.spec.lines;
            let number = *self.lines.entry(place).or_insert_with(|| {
                let string = |offset| info.strings.get(&offset).cloned().unwrap_or_default();
                let (file, text) = (string(line.file), string(line.text));
                table.push(SourceLine { file, line: line.line, column: line.column, text });
                table.len() as u32 - 1
            });
            let from = (line.insn - function.start + start) as usize;
            let to = (end - function.start + start) as usize;
            for slot in self.spec.insns.get_mut(from..to).unwrap_or_default() {
                slot.line = Some(number);
            }
        }
    }

    /// Relocates one slot of an appended function; the function that it needs, which may not be
    /// there yet. Then nothing is done.
    fn relocate(&mut self, index: usize, slot: u32) -> Result<Option<usize>> {
        let function = &self.source.functions.all()[index];
        let Some(&(start, _)) = self.starts.get(&index) else { return Ok(None) };
        let Some(original) = function.insn(slot) else { return Ok(None) };
        let place = (start + slot) as usize;
        let targets = self.source.targets.get(&function.section).map_or(&[][..], Vec::as_slice);
        let target = between(targets, |(slot, _)| *slot, function.start + slot, 1).first();
        let Some(&(_, target)) = target else { return self.unrelocated(index, slot, original) };
        let value = |offset: u32| offset.wrapping_add(original.imm as u32);
        let (insn, reference) = match target {
            Target::Call(offset) => {
                let slot = (offset / 8).wrapping_add_signed(i64::from(original.imm) + 1);
                let callee = self.subprogram(slot)?;
                self.call(place, callee);
                return Ok(Some(callee));
            }
            Target::Function(offset) => {
                let offset = offset.wrapping_add_signed(original.imm.into());
                if offset % 8 != 0 {
                    return Err(Error::new("it takes the address of the middle of an instruction"));
                }
                let callee = self.subprogram(offset / 8)?;
                if let Some(&(_, number)) = self.starts.get(&callee) {
                    self.load(place, opcode::pseudo::FUNC, Reference::Function(number))?;
                }
                return Ok(Some(callee));
            }
            Target::Map(map) => (opcode::pseudo::MAP_FD, Reference::Map(map)),
            Target::Value(map, offset) => {
                let offset = value(offset);
                (opcode::pseudo::MAP_VALUE, Reference::MapValue { map, offset })
            }
            Target::Extern(number) => match self.source.externs.all.get(number as usize) {
                Some(each) => match (each.what, self.source.kconfig) {
                    (What::Kconfig { offset, .. }, Some(map)) if original.is_wide() => {
                        (opcode::pseudo::MAP_VALUE, Reference::MapValue { map, offset })
                    }
                    (What::Kconfig { .. }, _) => {
                        return Err(Error::new(format!("`{}` is no function", each.name)));
                    }
                    _ if original.is_wide() => (0, Reference::Extern(number)),
                    _ => return self.call_extern(place, number),
                },
                None => return Ok(None),
            },
            Target::JumpTable(offset, size) => {
                return self.jump_table(index, slot, (offset, size));
            }
        };
        self.load(place, insn, reference)?;
        Ok(None)
    }

    /// Calls of static functions in the same section are right already, but for what was appended
    /// in between.
    fn unrelocated(&mut self, index: usize, slot: u32, insn: Insn) -> Result<Option<usize>> {
        let function = &self.source.functions.all()[index];
        let is_call = insn.code == opcode::class::JMP | opcode::jmp::CALL
            && insn.src.0 == opcode::call::LOCAL
            && (insn.dst.0, insn.off) == (0, 0);
        if insn.is_wide() && insn.src.0 == opcode::pseudo::FUNC {
            let reason = format!("instruction {slot}: the address of a function has no relocation");
            return Err(Error::new(reason));
        }
        if !is_call {
            return Ok(None);
        }
        if !self.source.functions.is_subprogram(function) {
            let reason = format!("instruction {slot}: it calls a program, or a part of one");
            return Err(Error::new(reason).help("only functions without SEC(...) can be called"));
        }
        let target = u64::from(function.start + slot).wrapping_add_signed(i64::from(insn.imm) + 1);
        let callee = self.subprogram(target)?;
        if let Some(&(start, _)) = self.starts.get(&index) {
            self.call((start + slot) as usize, callee);
        }
        Ok(Some(callee))
    }

    fn subprogram(&self, slot: u64) -> Result<usize> {
        self.source
            .functions
            .subprogram_at(slot)
            .ok_or_else(|| Error::new("it refers to a function in .text, where there is none"))
    }

    /// Gives a call its distance, once the callee is there.
    fn call(&mut self, place: usize, callee: usize) {
        let Some(&(start, _)) = self.starts.get(&callee) else { return };
        if let Some(slot) = self.spec.insns.get_mut(place) {
            // Programs have fewer slots than 2^31.
            slot.insn.imm = (i64::from(start) - place as i64 - 1) as i32;
        }
    }

    fn call_extern(&mut self, place: usize, number: u32) -> Result<Option<usize>> {
        if let Some(slot) = self.spec.insns.get_mut(place) {
            slot.insn = Insn { src: Reg(opcode::call::KFUNC), imm: 0, off: 0, ..slot.insn };
            slot.reference = Some(Reference::Extern(number));
        }
        Ok(None)
    }

    fn load(&mut self, place: usize, pseudo: u8, reference: Reference) -> Result<()> {
        let Some([first, second]) =
            self.spec.insns.get_mut(place..).and_then(|slots| slots.first_chunk_mut())
        else {
            return Err(Error::new("the program ends inside of its last instruction"));
        };
        if !first.insn.is_wide() {
            return Err(Error::new("an address is taken by what loads none"));
        }
        first.insn = Insn { src: Reg(pseudo), imm: 0, ..first.insn };
        second.insn.imm = 0;
        first.reference = Some(reference);
        Ok(())
    }

    /// Notes the table that a slot refers to; the reference is made when it has a map.
    fn jump_table(&mut self, index: usize, slot: u32, place: (u64, u64)) -> Result<Option<usize>> {
        let function = &self.source.functions.all()[index];
        let start = self.starts.get(&index).map_or(0, |&(start, _)| start);
        if let Some(table) = self.jump_tables.iter_mut().find(|table| table.place == place) {
            table.loads.push(start + slot);
            return Ok(None);
        }
        let wrong = || {
            Error::new(format!("instruction {slot}: its table of places is outside of .jumptables"))
        };
        let data = self.source.elf.with_role(crate::elf::Role::JumpTables).next();
        let data = data.map_or(&[][..], |(_, section)| section.data);
        let entries = usize::try_from(place.0).ok().and_then(|from| {
            let to = from.checked_add(place.1.try_into().ok()?)?;
            data.get(from..to).filter(|entries| from % 8 == 0 && entries.len() % 8 == 0)
        });
        let slots = entries.ok_or_else(wrong)?.chunks_exact(8).map(|entry| {
            let bytes = u64::from_le_bytes(entry.try_into().unwrap_or_default());
            // Whether it is inside of the function is for the verifier to say.
            let slot = (bytes / 8).checked_sub(function.start.into());
            let slot = slot.and_then(|slot| slot.checked_add(start.into())?.try_into().ok());
            slot.ok_or_else(wrong)
        });
        let slots = slots.collect::<Result<Vec<u32>>>()?;
        self.jump_tables.push(JumpTable { program: 0, place, slots, loads: vec![start + slot] });
        Ok(None)
    }
}

//! One blob of types for all objects, and what belongs to the instructions.

use std::collections::HashMap;

use bombus_btf::{
    Btf, Builder, ExtBuilder, FuncInfo, IdMap, Kind, LineInfo, Linkage, SectionVar, Type, TypeId,
};
use object::elf;

use super::Input;
use super::symbols::Symbols;
use crate::code::SLOT;
use crate::error::{Error, Result};
use crate::externs::{KCONFIG, KSYMS};
use crate::image::{Image, Section};

/// Adds `.BTF` and `.BTF.ext` to the result.
pub(super) fn unite(image: &mut Image, inputs: &[Input<'_>], symbols: &Symbols<'_>) -> Result<()> {
    if inputs.iter().all(|input| input.btf.is_none()) {
        return Ok(());
    }
    let mut numbers: Vec<Numbers> = number(inputs, symbols);
    let mut builder = Builder::new();
    for (input, own) in inputs.iter().zip(&numbers) {
        let Some(btf) = &input.btf else { continue };
        for (id, entry) in btf.ids().zip(&own.types).filter(|(_, entry)| entry.is_here) {
            // What the first object only declares is as the one that defines it has it.
            let (btf, id, numbers) = match entry.defined {
                Some((from, defined)) => match &inputs[from].btf {
                    Some(other) => (other, defined, &numbers[from]),
                    None => (btf, id, own),
                },
                None => (btf, id, own),
            };
            builder.add_type(btf, id, |old| numbers.get(old));
        }
    }
    sections(image, inputs, &numbers, &mut builder)?;
    let united = builder.dedup();
    numbers.iter_mut().for_each(|numbers| numbers.follow(&united));
    let ext = instructions(image, inputs, &numbers, &mut builder)?;
    let ext = (!ext.is_empty()).then(|| (".BTF.ext", ext.finish()));
    for (name, data) in [(".BTF", builder.finish())].into_iter().chain(ext) {
        image.sections.push(Section {
            name: name.to_owned(),
            kind: elf::SHT_PROGBITS,
            flags: 0,
            align: 4,
            size: data.len() as u64,
            data,
            relocations: Vec::new(),
        });
    }
    Ok(())
}

/// What the types of one object are called in the result, by number from 1.
struct Numbers {
    types: Vec<Entry>,
}

/// One type of an object.
#[derive(Clone, Copy)]
struct Entry {
    /// What it is called in the result.
    new: TypeId,
    /// Whether it takes its place in the result from this object.
    is_here: bool,
    /// For a global function or variable: the object and type that define it, or the first that
    /// declare it.
    defined: Option<(usize, TypeId)>,
}

impl Numbers {
    fn get(&self, old: TypeId) -> TypeId {
        self.entry(old).map_or(TypeId::VOID, |entry| entry.new)
    }

    /// Types have other numbers now.
    fn follow(&mut self, map: &IdMap) {
        self.types.iter_mut().for_each(|entry| entry.new = map.get(entry.new));
    }

    fn entry(&self, old: TypeId) -> Option<&Entry> {
        self.types.get((old.0 as usize).checked_sub(1)?)
    }
}

/// A global function or variable: whether it is a function, and its name.
type Global<'a> = (bool, &'a str);

/// The name of a global function or variable, defined or not.
fn global(btf: &Btf, id: TypeId) -> Option<Global<'_>> {
    match btf.ty(id)? {
        Type::Func { name, linkage, .. } if linkage != Linkage::Static => Some((true, name)),
        Type::Var { name, linkage, .. } if linkage != Linkage::Static => Some((false, name)),
        _ => None,
    }
}

/// Numbers all types of the result: those of the objects in order, but sections, which are made
/// anew, and global functions and variables only once, where the first object has them.
fn number(inputs: &[Input<'_>], symbols: &Symbols<'_>) -> Vec<Numbers> {
    let mut globals: HashMap<Global<'_>, GlobalTypes> = HashMap::new();
    for (index, input) in inputs.iter().enumerate() {
        let Some(btf) = &input.btf else { continue };
        for id in btf.ids() {
            let Some(global) = global(btf, id) else { continue };
            let place = (index, id);
            let known =
                globals.entry(global).or_insert(GlobalTypes { first: place, defined: place });
            if symbols.definer.get(global.1) == Some(&index) && known.defined.0 != index {
                known.defined = place;
            }
        }
    }
    let mut next = 1;
    let mut numbers: Vec<Numbers> = Vec::with_capacity(inputs.len());
    for (index, input) in inputs.iter().enumerate() {
        let mut types = Vec::new();
        for (btf, id) in input.btf.iter().flat_map(|btf| btf.ids().map(move |id| (btf, id))) {
            let global = global(btf, id).and_then(|global| globals.get(&global));
            let is_here = btf.kind(id) != Some(Kind::Datasec)
                && global.is_none_or(|global| global.first == (index, id));
            let new = match global.map(|global| global.first) {
                _ if is_here => TypeId(next),
                // An object before this one, or this one before.
                Some((from, id)) if from == index => {
                    types.get(id.0 as usize - 1).map_or(TypeId::VOID, |entry: &Entry| entry.new)
                }
                Some((from, id)) => numbers.get(from).map_or(TypeId::VOID, |other| other.get(id)),
                None => TypeId::VOID,
            };
            next += u32::from(is_here);
            types.push(Entry { new, is_here, defined: global.map(|global| global.defined) });
        }
        numbers.push(Numbers { types });
    }
    // Declarations leave out the names of arguments.
    let proto = |(from, id): (usize, TypeId)| match inputs[from].btf.as_ref()?.ty(id)? {
        Type::Func { proto, .. } => Some((from, proto)),
        _ => None,
    };
    for global in globals.values().filter(|global| global.first != global.defined) {
        if let (Some((from, first)), Some(defined)) = (proto(global.first), proto(global.defined))
            && let Some(entry) = numbers[from].types.get_mut((first.0 as usize).wrapping_sub(1))
        {
            entry.defined = Some(defined);
        }
    }
    numbers
}

/// The types of a global function or variable, by object and number.
struct GlobalTypes {
    first: (usize, TypeId),
    /// In the object that defines it, or the first.
    defined: (usize, TypeId),
}

/// Makes the sections' types: the variables of all objects at their places in the result.
fn sections(
    image: &Image,
    inputs: &[Input<'_>],
    numbers: &[Numbers],
    builder: &mut Builder,
) -> Result<()> {
    let mut order: Vec<&str> = Vec::new();
    let mut members: HashMap<&str, Vec<SectionVar>> = HashMap::new();
    for (index, (input, numbers)) in inputs.iter().zip(numbers).enumerate() {
        let Some(btf) = &input.btf else { continue };
        let values: HashMap<&str, u64> = input
            .elf
            .symbols
            .iter()
            .filter(|symbol| symbol.global && symbol.kind == elf::STT_OBJECT)
            .map(|symbol| (symbol.name, symbol.value))
            .collect();
        // In the order of the file's sections; those of externs are none.
        let mut ids: Vec<TypeId> =
            btf.ids().filter(|&id| btf.kind(id) == Some(Kind::Datasec)).collect();
        let section = |id| input.elf.named(btf.name(id)).map(|(section, _)| section);
        ids.sort_by_key(|&id| section(id).unwrap_or(usize::MAX));
        for id in ids {
            let Some(Type::Datasec { name, size, vars }) = btf.ty(id) else { continue };
            let externs = name == KCONFIG || name == KSYMS;
            let place = section(id).and_then(|section| input.places[section]);
            // A licence that is in another object already.
            if place.is_none() && !externs {
                continue;
            }
            if !members.contains_key(name) {
                order.push(name);
            }
            let members = members.entry(name).or_default();
            for mut var in vars {
                let Some(entry) = numbers.entry(var.ty) else { continue };
                // Another object's definition goes before this one.
                if entry.defined.is_some_and(|defined| defined != (index, var.ty)) {
                    continue;
                }
                let within = match btf.ty(var.ty) {
                    Some(Type::Var { name, linkage: Linkage::Global, .. }) if size == 0 => {
                        values.get(name).copied().unwrap_or_default()
                    }
                    _ => var.offset.into(),
                };
                let start = place.map_or(0, |(_, start)| start);
                let offset = within.checked_add(start).and_then(|offset| offset.try_into().ok());
                let far = || Error::new("it becomes too large").in_section(name);
                var.offset = if externs { 0 } else { offset.ok_or_else(far)? };
                members.push(SectionVar { ty: numbers.get(var.ty), ..var });
            }
        }
    }
    for name in order {
        let mut members = members.remove(name).unwrap_or_default();
        members.sort_by_key(|var| var.offset);
        let section = image.sections.iter().find(|section| section.name == name);
        let size = section.map_or(0, |section| u32::try_from(section.size).unwrap_or(u32::MAX));
        builder.datasec(name, size, &members);
    }
    Ok(())
}

/// Functions, lines and CO-RE relocations of all objects, section by section.
fn instructions(
    image: &Image,
    inputs: &[Input<'_>],
    numbers: &[Numbers],
    builder: &mut Builder,
) -> Result<ExtBuilder> {
    let mut ext = ExtBuilder::new();
    let exts = inputs.iter().map(Input::ext).collect::<Result<Vec<_>>>()?;
    let mut texts: Vec<Texts> = inputs.iter().map(|_| Texts::default()).collect();
    for section in &image.sections {
        let name = section.name.as_str();
        for (((input, numbers), own), texts) in
            inputs.iter().zip(numbers).zip(&exts).zip(&mut texts)
        {
            let place = input.elf.named(name).and_then(|(index, _)| input.places[index]);
            let (Some((_, start)), Some(own), Some(btf)) = (place, own, &input.btf) else {
                continue;
            };
            let moved = (start / SLOT) as u32;
            for FuncInfo { insn, func } in own.funcs(name) {
                let func = numbers.get(func);
                ext.func(builder, name, FuncInfo { insn: insn.wrapping_add(moved), func });
            }
            for line in own.lines(name) {
                let (file, text) =
                    (texts.get(builder, btf, line.file)?, texts.get(builder, btf, line.text)?);
                let insn = line.insn.wrapping_add(moved);
                ext.line(builder, name, LineInfo { insn, file, text, ..line });
            }
            for mut relocation in own.relocations(name) {
                relocation.insn_offset = relocation.insn_offset.wrapping_add(moved * SLOT as u32);
                relocation.type_id = numbers.get(relocation.type_id);
                ext.relocation(builder, name, &relocation);
            }
        }
    }
    Ok(ext)
}

/// Names of files and lines of source, each taken over once.
#[derive(Default)]
struct Texts {
    /// Offsets in the result, by those in the object.
    known: HashMap<u32, u32>,
    /// Bytes taken over.
    len: usize,
}

impl Texts {
    fn get(&mut self, builder: &mut Builder, btf: &Btf, offset: u32) -> Result<u32> {
        if let Some(&known) = self.known.get(&offset) {
            return Ok(known);
        }
        let text = String::from_utf8_lossy(btf.string(offset).unwrap_or_default());
        self.len += text.len();
        if self.len > 2 * btf.bytes().len() {
            return Err(Error::new("lines of source overlap").in_section(".BTF.ext"));
        }
        let new = builder.string(&text);
        self.known.insert(offset, new);
        Ok(new)
    }
}

//! Where the source's variables are, as the compiler's notes for debuggers (DWARF) say: for whoever
//! explains code in the source's terms.

use std::collections::HashMap;

use gimli::{
    AttributeValue, DebuggingInformationEntry, Dwarf, DwarfSections, EndianSlice, LittleEndian,
    Operation, SectionId, Unit,
};
use object::{Object, ObjectSection, ObjectSymbol, RelocationFlags, RelocationTarget};

/// Variables of a file at most.
const MAX_VARIABLES: usize = 1 << 20;
/// Sections of code are this far apart, so that an address names one.
const SECTION: u64 = 1 << 32;
/// Bytes of an instruction slot.
const SLOT: u64 = 8;

/// A variable of the source while it is in one place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalVariable {
    /// The function whose code it is, by its symbol.
    pub function: String,
    /// The variable.
    pub name: String,
    /// The first slot where it is there, from the function's start on.
    pub start: u32,
    /// The slot after the last.
    pub end: u32,
    /// Where it is.
    pub home: Home,
}

/// Where a variable is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Home {
    /// In this register.
    Register(u8),
    /// On the stack, from so many bytes off the frame pointer on.
    Stack(i64),
}

type Slice<'d> = EndianSlice<'d, LittleEndian>;

/// The variables of a file's functions. None where the file has no such notes, or they are broken.
pub fn local_variables(bytes: &[u8]) -> Vec<LocalVariable> {
    let mut found = Vec::new();
    // What was read before something broken is good.
    let _ = collect(bytes, &mut found);
    found
}

fn collect(bytes: &[u8], found: &mut Vec<LocalVariable>) -> Option<()> {
    let file = object::File::parse(bytes).ok()?;
    let sections = DwarfSections::load(|id| Ok::<_, ()>(section(&file, id).unwrap_or_default()));
    let sections = sections.ok()?;
    let dwarf = sections.borrow(|bytes| EndianSlice::new(bytes, LittleEndian));
    let mut units = dwarf.units();
    while let Some(header) = units.next().ok()? {
        let unit = dwarf.unit(header).ok()?;
        Reader { dwarf: &dwarf, unit: &unit, found }.read()?;
    }
    Some(())
}

/// A section with its relocations applied.
fn section(file: &object::File<'_>, id: SectionId) -> Option<Vec<u8>> {
    let section = file.section_by_name(id.name())?;
    let mut data = section.data().ok()?.to_vec();
    for (at, relocation) in section.relocations() {
        let RelocationFlags::Elf { r_type } = relocation.flags() else { continue };
        let RelocationTarget::Symbol(symbol) = relocation.target() else { continue };
        let Ok(symbol) = file.symbol_by_index(symbol) else { continue };
        let is_code = symbol.section_index().is_some_and(|index| {
            let section = file.section_by_index(index);
            section.is_ok_and(|section| section.kind() == object::SectionKind::Text)
        });
        let base = symbol
            .section_index()
            .filter(|_| is_code)
            .map_or(0, |index| (index.0 as u64).wrapping_mul(SECTION));
        let value = base.wrapping_add(symbol.address());
        // `R_BPF_64_ABS64`; `R_BPF_64_ABS32`, `R_BPF_64_NODYLD32`. What is there is added.
        let size = match r_type.0 {
            2 => 8,
            3 | 4 => 4,
            _ => continue,
        };
        let start = usize::try_from(at).ok()?;
        let Some(place) = start.checked_add(size).and_then(|end| data.get_mut(start..end)) else {
            continue;
        };
        let mut number = [0; 8];
        number[..size].copy_from_slice(place);
        let number = u64::from_le_bytes(number).wrapping_add(value).to_le_bytes();
        place.copy_from_slice(&number[..size]);
    }
    Some(data)
}

struct Reader<'r, 'd> {
    dwarf: &'r Dwarf<Slice<'d>>,
    unit: &'r Unit<Slice<'d>>,
    found: &'r mut Vec<LocalVariable>,
}

/// A function that has code.
struct Function {
    name: String,
    start: u64,
    end: u64,
    depth: isize,
}

impl<'d> Reader<'_, 'd> {
    fn read(&mut self) -> Option<()> {
        let mut names = HashMap::new();
        let mut function: Option<Function> = None;
        let mut entries = self.unit.entries();
        let mut depth = 0;
        while let Some((delta, entry)) = entries.next_dfs().ok()? {
            depth += delta;
            if function.as_ref().is_some_and(|function| depth <= function.depth) {
                function = None;
            }
            match entry.tag() {
                gimli::DW_TAG_subprogram => function = self.function(entry, depth),
                gimli::DW_TAG_variable | gimli::DW_TAG_formal_parameter => {
                    let Some(function) = &function else { continue };
                    let offset = entry.offset();
                    let name = match self.origin(entry) {
                        Some(origin) => names
                            .entry(origin)
                            .or_insert_with(|| self.name(&self.unit.entry(origin).ok()?))
                            .clone(),
                        None => names.entry(offset).or_insert_with(|| self.name(entry)).clone(),
                    };
                    if let Some(name) = name {
                        self.places(entry, function, &name);
                    }
                }
                _ => {}
            }
            if self.found.len() > MAX_VARIABLES {
                return None;
            }
        }
        Some(())
    }

    fn origin(
        &self,
        entry: &DebuggingInformationEntry<'_, '_, Slice<'d>>,
    ) -> Option<gimli::UnitOffset> {
        match entry.attr_value(gimli::DW_AT_abstract_origin).ok()?? {
            AttributeValue::UnitRef(offset) => Some(offset),
            _ => None,
        }
    }

    fn name(&self, entry: &DebuggingInformationEntry<'_, '_, Slice<'d>>) -> Option<String> {
        let name = entry.attr_value(gimli::DW_AT_name).ok()??;
        let name = self.dwarf.attr_string(self.unit, name).ok()?;
        Some(name.to_string_lossy().into_owned()).filter(|name| !name.is_empty())
    }

    fn function(
        &self,
        entry: &DebuggingInformationEntry<'_, '_, Slice<'d>>,
        depth: isize,
    ) -> Option<Function> {
        let start = entry.attr_value(gimli::DW_AT_low_pc).ok()??;
        let start = self.dwarf.attr_address(self.unit, start).ok()??;
        let end = entry.attr_value(gimli::DW_AT_high_pc).ok()??;
        let end = match end.udata_value() {
            Some(size) => start.checked_add(size)?,
            None => self.dwarf.attr_address(self.unit, end).ok()??,
        };
        let name = match self.origin(entry) {
            Some(origin) => self.name(&self.unit.entry(origin).ok()?)?,
            None => self.name(entry)?,
        };
        Some(Function { name, start, end, depth })
    }

    /// Where a variable is, at which instructions.
    fn places(
        &mut self,
        entry: &DebuggingInformationEntry<'_, '_, Slice<'d>>,
        function: &Function,
        name: &str,
    ) -> Option<()> {
        let location = entry.attr_value(gimli::DW_AT_location).ok()??;
        if let AttributeValue::Exprloc(expression) = location {
            self.place(expression, function.start..function.end, function, name);
            return Some(());
        }
        let mut list = self.dwarf.attr_locations(self.unit, location).ok()??;
        while let Some(part) = list.next().ok()? {
            self.place(part.data, part.range.begin..part.range.end, function, name);
        }
        Some(())
    }

    fn place(
        &mut self,
        expression: gimli::Expression<Slice<'d>>,
        range: std::ops::Range<u64>,
        function: &Function,
        name: &str,
    ) -> Option<()> {
        let mut operations = expression.operations(self.unit.encoding());
        let home = match operations.next().ok()?? {
            Operation::Register { register } => Home::Register(u8::try_from(register.0).ok()?),
            // (LLVM counts offsets in the frame from its end, and does not say where that is.)
            Operation::RegisterOffset { register: gimli::Register(10), offset, .. } => {
                Home::Stack(offset)
            }
            _ => return None,
        };
        // A part of the variable, or a number that is made of the register, is not it.
        if operations.next().ok()?.is_some() {
            return None;
        }
        let slot = |address: u64| {
            let inside = address.clamp(function.start, function.end) - function.start;
            u32::try_from(inside / SLOT).ok()
        };
        let (start, end) = (slot(range.start)?, slot(range.end)?);
        if start < end {
            let (function, name) = (function.name.clone(), name.to_owned());
            self.found.push(LocalVariable { function, name, start, end, home });
        }
        Some(())
    }
}

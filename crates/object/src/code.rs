//! Functions: where each stands in its section.
//!
//! Those in `.text` are subprograms, which are copied into every program that calls them; those in
//! all other sections are programs.

use bombus_isa::Insn;
use object::elf;

use crate::elf::{Elf, Place, Role, Section, Symbol};
use crate::error::{Error, Result};

/// Bytes of an instruction slot.
pub(crate) const SLOT: u64 = 8;
/// Bytes of a name that the kernel takes (`KSYM_NAME_LEN`, `include/linux/kallsyms.h`).
pub(crate) const MAX_NAME: usize = 511;

/// A function.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Function<'a> {
    pub(crate) name: &'a str,
    /// Index of its section.
    pub(crate) section: usize,
    /// Slot of its first instruction, from the start of the section.
    pub(crate) start: u32,
    /// Slots.
    pub(crate) len: u32,
    /// Its slots.
    pub(crate) code: &'a [u8],
    /// Visible to other files.
    pub(crate) global: bool,
    /// Visible to the files that it is linked with only: the verifier treats it as static.
    pub(crate) hidden: bool,
}

impl Function<'_> {
    /// Its slots, decoded one by one.
    pub(crate) fn insns(&self) -> impl Iterator<Item = Insn> {
        let slots = self.code.chunks_exact(SLOT as usize);
        slots.filter_map(|slot| Some(Insn::from_bytes(slot.try_into().ok()?)))
    }

    /// A slot, counted from its start.
    pub(crate) fn insn(&self, slot: u32) -> Option<Insn> {
        let start = slot as usize * SLOT as usize;
        let bytes = self.code.get(start..start + SLOT as usize)?;
        Some(Insn::from_bytes(bytes.try_into().ok()?))
    }
}

/// The functions of an object, by section and place.
#[derive(Clone, Debug)]
pub(crate) struct Functions<'a> {
    all: Vec<Function<'a>>,
    /// The section of subprograms.
    text: Option<usize>,
}

impl<'a> Functions<'a> {
    pub(crate) fn collect(elf: &Elf<'a>) -> Result<Functions<'a>> {
        let text = elf.with_role(Role::Code).find(|(_, section)| section.name == ".text");
        let text = text.map(|(index, _)| index);
        let mut all = Vec::new();
        for symbol in &elf.symbols {
            let Place::Section(index) = symbol.place else { continue };
            if symbol.kind != elf::STT_FUNC {
                continue;
            }
            let Some(section) = elf.sections.get(index).filter(|s| s.role == Role::Code) else {
                continue;
            };
            let function = function(symbol, index, section, text == Some(index));
            all.push(function.map_err(|error| error.in_section(section.name).at(symbol.name))?);
        }
        all.sort_by_key(|function| (function.section, function.start));
        Ok(Functions { all, text })
    }

    /// All of them, by section and place.
    pub(crate) fn all(&self) -> &[Function<'a>] {
        &self.all
    }

    /// Whether it is copied into programs and not one itself.
    pub(crate) fn is_subprogram(&self, function: &Function<'_>) -> bool {
        self.text == Some(function.section)
    }

    /// The index of the function that this slot of a section belongs to.
    pub(crate) fn at(&self, section: usize, slot: u64) -> Option<usize> {
        let after = self.all.partition_point(|function| {
            (function.section, u64::from(function.start)) <= (section, slot)
        });
        let index = after.checked_sub(1)?;
        let function = self.all.get(index)?;
        let inside = function.section == section
            && slot < u64::from(function.start) + u64::from(function.len);
        inside.then_some(index)
    }

    /// The same for subprograms.
    pub(crate) fn subprogram_at(&self, slot: u64) -> Option<usize> {
        self.at(self.text?, slot)
    }

    /// The section of subprograms.
    pub(crate) fn text(&self) -> Option<usize> {
        self.text
    }
}

fn function<'a>(
    symbol: &Symbol<'a>,
    section_index: usize,
    section: &Section<'a>,
    subprogram: bool,
) -> Result<Function<'a>> {
    let broken = |reason: &str| Err(Error::new(reason));
    if symbol.name.is_empty() || symbol.name.len() > MAX_NAME {
        return broken("a function has no name, or none that the kernel takes");
    }
    if symbol.size == 0 || !symbol.size.is_multiple_of(SLOT) || !symbol.value.is_multiple_of(SLOT) {
        return broken("the function does not consist of whole instructions");
    }
    if !subprogram && !symbol.global {
        return Err(Error::new("a program cannot be static")
            .help("drop `static`, or if it is only called by others, its SEC(...)"));
    }
    let end = symbol.value.checked_add(symbol.size);
    let range = end.and_then(|end| Some(symbol.value.try_into().ok()?..end.try_into().ok()?));
    let (Some(code), Ok(start), Ok(len)) = (
        range.and_then(|range: std::ops::Range<usize>| section.data.get(range)),
        u32::try_from(symbol.value / SLOT),
        u32::try_from(symbol.size / SLOT),
    ) else {
        return broken("the function goes on after the end of its section");
    };
    Ok(Function {
        name: symbol.name,
        section: section_index,
        start,
        len,
        code,
        global: symbol.global,
        hidden: symbol.hidden,
    })
}

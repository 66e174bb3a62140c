//! Links several objects into one, as `bpftool gen object` does: sections of one name are put after
//! each other, externs find their definitions, weak definitions give way, types are united.

mod symbols;
mod types;

use bombus_btf::{Btf, BtfExt};
use object::elf as format;

use self::symbols::Symbols;
use crate::code::SLOT;
use crate::elf::{Elf, Role};
use crate::error::{Error, Result};
use crate::image::{Image, Relocation, Section};

/// A file that is to be linked with others.
#[derive(Clone, Copy, Debug)]
pub struct ObjectFile<'a> {
    /// What messages call it.
    pub name: &'a str,
    /// The file.
    pub bytes: &'a [u8],
}

/// One object that has all that these have, as a file.
pub fn link(files: &[ObjectFile<'_>]) -> Result<Vec<u8>> {
    let mut inputs = Vec::with_capacity(files.len());
    for file in files {
        let input = Input::parse(file).map_err(|error| in_file(error, file.name))?;
        inputs.push(input);
    }
    let mut image = Image::default();
    for input in &mut inputs {
        place_sections(&mut image, input)?;
    }
    let symbols = Symbols::resolve(&mut image, &inputs)?;
    for (input, numbers) in inputs.iter().zip(&symbols.numbers) {
        relocate(&mut image, input, numbers).map_err(|error| in_file(error, input.name))?;
    }
    types::unite(&mut image, &inputs, &symbols)?;
    Ok(image.finish())
}

fn in_file(error: Error, file: &str) -> Error {
    let reason = format!("{file}: {}", error.reason);
    Error { reason, ..error }
}

/// One of the objects.
struct Input<'a> {
    name: &'a str,
    elf: Elf<'a>,
    btf: Option<Btf>,
    /// By section: the section of the result that it is a part of, and from which byte on.
    places: Vec<Option<(usize, u64)>>,
}

impl<'a> Input<'a> {
    fn parse(file: &ObjectFile<'a>) -> Result<Input<'a>> {
        let elf = Elf::parse(file.bytes)?;
        let types = elf.with_role(Role::Btf).next().map(|(_, section)| section.data.to_vec());
        let wrong = |error: bombus_btf::ParseError| Error::new(error.to_string());
        let btf = types.map(|bytes| Btf::parse(bytes).map_err(|e| wrong(e).in_section(".BTF")));
        let places = vec![None; elf.sections.len()];
        Ok(Input { name: file.name, btf: btf.transpose()?, elf, places })
    }

    /// What belongs to the instructions.
    fn ext(&self) -> Result<Option<BtfExt<'_>>> {
        let section = self.elf.with_role(Role::BtfExt).next();
        let Some(((_, section), btf)) = section.zip(self.btf.as_ref()) else { return Ok(None) };
        BtfExt::parse(section.data, btf)
            .map(Some)
            .map_err(|error| Error::new(format!("{}: {error}", self.name)).in_section(".BTF.ext"))
    }
}

/// Appends an object's sections to those of the result.
fn place_sections(image: &mut Image, input: &mut Input<'_>) -> Result<()> {
    for (index, section) in input.elf.sections.iter().enumerate() {
        let bits = section.kind == format::SHT_PROGBITS || section.kind == format::SHT_NOBITS;
        let types = matches!(section.role, Role::Btf | Role::BtfExt);
        if !bits || types || section.size == 0 || section.name.starts_with(".debug_") {
            continue;
        }
        let known = image.sections.iter().position(|known| known.name == section.name);
        let Some(place) = known else {
            input.places[index] = Some((image.sections.len(), 0));
            image.sections.push(Section {
                name: section.name.to_owned(),
                kind: section.kind,
                flags: section.flags,
                align: section.align.max(1),
                data: section.data.to_vec(),
                size: section.size,
                relocations: Vec::new(),
            });
            continue;
        };
        let merged = &mut image.sections[place];
        if matches!(section.role, Role::License | Role::Version) {
            if merged.data != section.data {
                return Err(Error::new(format!(
                    "{} says something else than the others",
                    input.name
                ))
                .in_section(section.name)
                .help("all objects need the same one"));
            }
            continue;
        }
        if merged.kind != section.kind || merged.flags != section.flags {
            return Err(Error::new(format!("it is of another kind in {}", input.name))
                .in_section(section.name));
        }
        merged.align = merged.align.max(section.align);
        let too_large = || Error::new("it becomes too large").in_section(section.name);
        let start = merged.size.checked_next_multiple_of(section.align.max(1));
        let start = start.ok_or_else(too_large)?;
        merged.size = start.checked_add(section.size).ok_or_else(too_large)?;
        if section.kind == format::SHT_PROGBITS {
            // An alignment that a forged file asks for is not worth its zeroes.
            let start =
                usize::try_from(start).ok().filter(|start| start - merged.data.len() < 1 << 16);
            merged.data.resize(start.ok_or_else(too_large)?, 0);
            merged.data.extend(section.data);
        }
        input.places[index] = Some((place, start));
    }
    Ok(())
}

/// Takes over an object's relocations; `numbers` says what its symbols are in the result.
fn relocate(image: &mut Image, input: &Input<'_>, numbers: &[Option<usize>]) -> Result<()> {
    for table in &input.elf.relocations {
        let Some(Some((place, start))) = input.places.get(table.target).copied() else { continue };
        let code = input.elf.sections.get(table.target).is_some_and(|s| s.role == Role::Code);
        for relocation in input.elf.relocations(table) {
            let relocation = relocation?;
            let section = &mut image.sections[place];
            let at = |error: Error| error.in_section(&section.name);
            let symbol = numbers.get(relocation.index).copied().flatten().ok_or_else(|| {
                let name = input.elf.symbol_name(relocation.symbol);
                at(Error::new(format!("it refers to `{name}`, which is not part of the result")))
            })?;
            let offset = start.checked_add(relocation.offset).filter(|&end| end < section.size);
            let offset =
                offset.ok_or_else(|| at(Error::new("it is to be relocated after its end")))?;
            if relocation.symbol.kind == format::STT_SECTION {
                // Static functions and variables are named by their place in the section, which is
                // in the instruction, and is another one now.
                let moved = match relocation.symbol.place {
                    crate::elf::Place::Section(index) => input.places.get(index).copied().flatten(),
                    _ => None,
                };
                let moved = moved.map_or(0, |(_, start)| start);
                if !code && moved != 0 {
                    return Err(at(Error::new("data refers to something static"))
                        .help("make it global; it can be hidden"));
                }
                move_static(&mut section.data, offset, moved).map_err(at)?;
            }
            section.relocations.push(Relocation { offset, symbol, kind: relocation.kind });
        }
    }
    Ok(())
}

/// Adds to the number of an instruction how far its target has moved: a call counts slots, a load
/// bytes.
fn move_static(data: &mut [u8], offset: u64, moved: u64) -> Result<()> {
    let wrong = || Error::new("it is to be relocated where there is no instruction");
    if moved == 0 {
        return Ok(());
    }
    let start = usize::try_from(offset).map_err(|_| wrong())?;
    let slot =
        data.get_mut(start..).and_then(|rest| rest.first_chunk_mut::<8>()).ok_or_else(wrong)?;
    let mut insn = bombus_isa::Insn::from_bytes(*slot);
    let moved = if insn.is_wide() { moved } else { moved / SLOT };
    insn.imm = insn.imm.wrapping_add(moved as i32);
    *slot = insn.to_bytes();
    Ok(())
}

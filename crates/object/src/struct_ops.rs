//! Structures of kernel callbacks: each variable of `.struct_ops` and its kin is a map.

use std::ops::Range;

use bombus_btf::{Btf, Kind, Type, TypeId};
use bombus_platform::{MapType, ProgType};
use bombus_spec::{MapRole, MapSpec, ProgramSpec};

use crate::code::{Functions, SLOT};
use crate::elf::{Elf, Place, Relocation, Role, Section};
use crate::error::{Error, Result};

/// `BPF_F_LINK`: attached by a link.
const LINK: u32 = 1 << 13;

/// Where a structure is.
#[derive(Clone, Debug)]
pub(crate) struct Structure {
    /// Index of its section.
    pub(crate) section: usize,
    /// Bytes from the start of the section.
    pub(crate) bytes: Range<u64>,
}

/// The maps of all such sections, in order.
pub(crate) fn defined(elf: &Elf<'_>, btf: Option<&Btf>) -> Result<Vec<(MapSpec, Structure)>> {
    let mut maps = Vec::new();
    for (index, section) in elf.sections.iter().enumerate() {
        let Role::StructOps { link, autocreate } = section.role else { continue };
        let found = in_section(btf, section, link, autocreate, index);
        maps.extend(found.map_err(|error| error.in_section(section.name))?);
    }
    Ok(maps)
}

fn in_section(
    btf: Option<&Btf>,
    section: &Section<'_>,
    link: bool,
    autocreate: bool,
    index: usize,
) -> Result<Vec<(MapSpec, Structure)>> {
    let needs_types = || {
        Error::new("structures of callbacks need BTF, and the file has none for them")
            .help("compile with `-g`")
    };
    let btf = btf.ok_or_else(needs_types)?;
    let datasec = btf.find(Kind::Datasec, section.name).and_then(|id| btf.ty(id));
    let Some(Type::Datasec { vars, .. }) = datasec else { return Err(needs_types()) };
    let mut maps = Vec::with_capacity(vars.len());
    let mut end = 0;
    for var in vars {
        let Some(Type::Var { name, ty, .. }) = btf.ty(var.ty) else { continue };
        let id = btf.resolve(ty).unwrap_or_default();
        let (size, named) = match btf.ty(id) {
            Some(Type::Struct(structure)) => (structure.size, !structure.name.is_empty()),
            _ => (0, false),
        };
        if !named {
            return Err(
                Error::new("only a structure that has a name can be one of callbacks").at(name)
            );
        }
        let bytes = u64::from(var.offset)..u64::from(var.offset) + u64::from(size);
        let data = section.data.get(bytes.start as usize..bytes.end as usize);
        // They are in order, and honest ones do not overlap.
        let data = data.filter(|_| bytes.start >= end).ok_or_else(|| {
            Error::new("the variable goes on after the end of its section").at(name)
        })?;
        end = bytes.end;
        let spec = MapSpec {
            name: name.chars().take(crate::code::MAX_NAME).collect(),
            map_type: MapType::StructOps,
            key_size: 4,
            value_size: size,
            max_entries: 1,
            flags: if link { LINK } else { 0 },
            contents: vec![(vec![0; 4], data.to_vec())],
            autocreate,
            role: MapRole::StructOps { type_id: id.0, link, functions: Vec::new() },
            ..MapSpec::default()
        };
        maps.push((spec, Structure { section: index, bytes }));
    }
    Ok(maps)
}

/// Which member a relocation sets to which program: byte offset in the structure, index of the
/// function.
pub(crate) fn member(
    btf: &Btf,
    functions: &Functions<'_>,
    relocation: &Relocation<'_, '_>,
    structure: &Structure,
    type_id: u32,
) -> Result<(u32, usize)> {
    let Some(Type::Struct(definition)) = btf.ty(TypeId(type_id)) else {
        return Err(Error::new("the structure has no type"));
    };
    let offset = relocation.offset - structure.bytes.start;
    let mut members = definition.members;
    let member = members.find(|member| u64::from(member.bit_offset) == offset * 8);
    let member = member.ok_or_else(|| {
        Error::new(format!("no member starts at byte {offset}, which is to be set"))
    })?;
    let is_callback = matches!(btf.resolved(member.ty), Some(Type::Ptr(to))
        if matches!(btf.resolved(to), Some(Type::FuncProto { .. })));
    if !is_callback {
        return Err(Error::new(format!(
            "the member {} is not a pointer to a function",
            member.name
        ))
        .help("structures of callbacks cannot hold other addresses"));
    }
    let symbol = relocation.symbol;
    let function = match symbol.place {
        Place::Section(section) if symbol.value.is_multiple_of(SLOT) => {
            functions.at(section, symbol.value / SLOT)
        }
        _ => None,
    };
    let function = function.filter(|&index| !functions.is_subprogram(&functions.all()[index]));
    let function = function.ok_or_else(|| {
        Error::new(format!("the member {} is set to something that is no program", member.name))
            .help("give the function SEC(\"struct_ops\")")
    })?;
    Ok((offset as u32, function))
}

/// Callbacks can only be programs made for it.
pub(crate) fn check(program: &ProgramSpec) -> Result<()> {
    if program.prog_type == ProgType::StructOps {
        return Ok(());
    }
    Err(Error::new(format!(
        "the program {} is set as a callback, but not made as one",
        program.name
    ))
    .help("give it SEC(\"struct_ops\")"))
}

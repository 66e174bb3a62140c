//! Global variables: each section of them becomes an array map with one value.

use bombus_btf::{Btf, Kind, Linkage, Type};
use bombus_platform::MapType;
use bombus_spec::{MapRole, MapSpec, Variable};

use crate::elf::{Role, Section};
use crate::error::{Error, Result};
use crate::externs::KCONFIG;

/// `BPF_F_RDONLY_PROG`: programs cannot write to it.
const RDONLY_PROG: u32 = 1 << 7;
/// `BPF_F_MMAPABLE`: user space can map it.
const MMAPABLE: u32 = 1 << 10;
/// Bytes of a map's name in the kernel (`BPF_OBJ_NAME_LEN` without the closing zero).
const NAME_LEN: usize = 15;

/// What an object calls itself in the names of its maps: the file's name up to its first dot.
pub(crate) fn object_name(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or_default();
    let name = &name[..name.floor_char_boundary(NAME_LEN)];
    name.split('.').next().unwrap_or_default()
}

/// The map for a section of variables.
pub(crate) fn map(object: &str, btf: Option<&Btf>, section: &Section<'_>) -> Result<MapSpec> {
    let read_only = section.role == Role::Rodata;
    let size = u32::try_from(section.size).map_err(|_| {
        Error::new("there are more variables than a map can hold").in_section(section.name)
    })?;
    let contents = match section.role {
        Role::Bss => Vec::new(),
        _ => vec![(vec![0; 4], section.data.to_vec())],
    };
    let role = MapRole::Data { section: section.name.to_owned(), read_only };
    Ok(MapSpec { contents, ..internal(object, btf, section.name, size, read_only, role) })
}

/// The map for the options of the kernel's configuration, which the loader fills in.
pub(crate) fn kconfig(object: &str, btf: &Btf, size: u32) -> MapSpec {
    internal(object, Some(btf), KCONFIG, size, true, MapRole::Kconfig)
}

fn internal(
    object: &str,
    btf: Option<&Btf>,
    section: &str,
    size: u32,
    read_only: bool,
    role: MapRole,
) -> MapSpec {
    let datasec = btf.and_then(|btf| btf.find(Kind::Datasec, section));
    let visible = btf.zip(datasec).is_some_and(|(btf, id)| match btf.ty(id) {
        Some(Type::Datasec { mut vars, .. }) => vars.any(|var| is_visible(btf, var.ty)),
        _ => false,
    });
    MapSpec {
        name: map_name(object, section),
        map_type: MapType::Array,
        key_size: 4,
        value_size: size,
        max_entries: 1,
        flags: if read_only { RDONLY_PROG } else { 0 } | if visible { MMAPABLE } else { 0 },
        value_type: datasec.map_or(0, |id| id.0),
        role,
        ..MapSpec::default()
    }
}

/// A section with nothing but static variables is nobody else's business.
fn is_visible(btf: &Btf, id: bombus_btf::TypeId) -> bool {
    matches!(btf.ty(id), Some(Type::Var { linkage: Linkage::Global | Linkage::Extern, .. }))
}

/// As libbpf names it, which keeps room for seven characters of the section's name: `object.rodata`,
/// `object.bss` with no more of `object` than the former, `.data.custom` as it is.
fn map_name(object: &str, section: &str) -> String {
    let suffix = section.len().clamp(7, NAME_LEN);
    let custom = section.get(1..).is_some_and(|rest| rest.contains('.'));
    let prefix = if custom { 0 } else { (NAME_LEN - suffix).min(object.len()) };
    let prefix = &object.as_bytes()[..prefix];
    let suffix = &section.as_bytes()[..suffix.min(section.len())];
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
    let bytes = prefix.iter().chain(suffix);
    bytes.map(|&byte| if allowed(byte) { byte.into() } else { '_' }).collect()
}

/// The variables in a section that is the value of the map with this index.
pub(crate) fn variables(btf: &Btf, section: &str, map: u32, size: u32) -> Result<Vec<Variable>> {
    let datasec = btf.find(Kind::Datasec, section).and_then(|id| btf.ty(id));
    let Some(Type::Datasec { vars, .. }) = datasec else { return Ok(Vec::new()) };
    let mut variables = Vec::with_capacity(vars.len());
    for var in vars {
        let Some(Type::Var { name, ty, linkage }) = btf.ty(var.ty) else { continue };
        if linkage == Linkage::Extern {
            continue;
        }
        if var.offset.checked_add(var.size).is_none_or(|end| end > size) {
            let reason = "the variable goes on after the end of its section";
            return Err(Error::new(reason).in_section(section).at(name));
        }
        let name = name.chars().take(crate::code::MAX_NAME).collect();
        variables.push(Variable { name, map, offset: var.offset, size: var.size, type_id: ty.0 });
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use super::{map_name, object_name};

    /// Names as libbpf gives them (`internal_map_name`).
    #[test]
    fn names() {
        for (file, section, expected) in [
            ("my_object_name.bpf.o", ".rodata", "my_objec.rodata"),
            ("my_object_name.bpf.o", ".bss", "my_objec.bss"),
            ("my_object_name.bpf.o", ".kconfig", "my_obje.kconfig"),
            ("my_object_name.bpf.o", ".rodata.abracadabra", ".rodata.abracad"),
            ("my_object_name.bpf.o", ".data.x", ".data.x"),
            ("dir/a-b.o", ".data", "a_b.data"),
            ("", ".data", ".data"),
        ] {
            assert_eq!(map_name(object_name(file), section), expected, "{file} {section}");
        }
    }
}

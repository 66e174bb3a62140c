//! The kernel's structure for a map, as far as programs may look into it (`struct bpf_map`,
//! `include/linux/bpf.h`).

use bombus_btf::{Btf, Kind, Type};
use bombus_spec::MapSpec;

use super::Map;
use crate::run::map_address;

/// The structure of a map, laid out as these types say; fields that say nothing here are zero.
pub(crate) fn shown(map: &Map, number: usize, spec: &MapSpec, types: &Btf) -> Option<Box<[u8]>> {
    let general = [
        ("ops", map_address(number)),
        ("map_type", u64::from(spec.map_type as u32)),
        ("key_size", spec.key_size.into()),
        ("value_size", spec.value_size.into()),
        ("max_entries", spec.max_entries.into()),
        ("map_extra", spec.extra),
        ("map_flags", spec.flags.into()),
        ("id", number as u64 + 1),
    ];
    let mut bytes = Vec::new();
    if let Some(arena) = map.arena() {
        let end = arena.user() + arena.len() as u64;
        set(
            &mut bytes,
            types,
            "bpf_arena",
            &[("user_vm_start", arena.user()), ("user_vm_end", end)],
        )?;
    }
    // (It is the first member of all others.)
    set(&mut bytes, types, "bpf_map", &general)?;
    Some(bytes.into())
}

/// Sets fields of a structure by their names.
fn set(bytes: &mut Vec<u8>, types: &Btf, name: &str, values: &[(&str, u64)]) -> Option<()> {
    let id = types.find(Kind::Struct, name)?;
    let Some(Type::Struct(structure)) = types.ty(id) else { return None };
    if bytes.len() < structure.size as usize {
        bytes.resize(structure.size as usize, 0);
    }
    for member in structure.members.iter() {
        let value = values.iter().find(|(name, _)| *name == member.name);
        let Some((_, value)) = value else { continue };
        let size = types.size_of(member.ty)?.min(8) as usize;
        let at = member.bit_offset as usize / 8;
        bytes.get_mut(at..at + size)?.copy_from_slice(&value.to_le_bytes()[..size]);
    }
    Some(())
}

//! The running kernel's types.
#![allow(dead_code, reason = "every test uses a part")]

use std::collections::HashMap;

use bombus_btf::{Btf, Kind, Type, TypeId};

/// The kernel's types; `None`, and a line that says so, when it shows none.
pub(crate) fn types() -> Option<Btf> {
    const PATH: &str = "/sys/kernel/btf/vmlinux";
    let Ok(blob) = std::fs::read(PATH) else {
        println!("skipped: {PATH} cannot be read");
        return None;
    };
    Some(Btf::parse(blob).unwrap())
}

/// Offset and size of every member of a structure, those of nameless parts, too; none if there is no
/// such structure.
pub(crate) fn members(types: &Btf, structure: &str) -> HashMap<String, (u32, u32)> {
    let mut found = HashMap::new();
    if let Some(id) = types.find(Kind::Struct, structure) {
        collect(types, id, 0, &mut found);
    }
    found
}

fn collect(types: &Btf, id: TypeId, at: u32, found: &mut HashMap<String, (u32, u32)>) {
    let Some(Type::Struct(composite) | Type::Union(composite)) = types.resolved(id) else { return };
    for member in composite.members.iter() {
        let at = at + member.bit_offset / 8;
        if member.name.is_empty() {
            collect(types, member.ty, at, found);
        } else {
            let size = types.size_of(member.ty).unwrap_or_default();
            found.insert(member.name.to_owned(), (at, size));
        }
    }
}

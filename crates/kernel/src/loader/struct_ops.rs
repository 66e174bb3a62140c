//! Structures of kernel callbacks: from the object's layout to that of the kernel.
//!
//! The kernel wraps a structure `X` into `bpf_struct_ops_X`, which is the value of the map. Members
//! are matched by name, as libbpf does; the kernel's structure may have more, and fewer when the
//! object leaves those zero.

use std::collections::HashMap;

use bombus_btf::{Btf, Kind, Member, Type, TypeId, essential};
use bombus_platform::ProgType;
use bombus_spec::{MapRole, MapSpec, ObjectSpec};

use super::target::Target;
use crate::{BtfFd, Error, ProgFd, Result};

/// A structure in the kernel's layout.
#[derive(Clone, Debug)]
pub(super) struct Structure {
    /// `bpf_struct_ops_X`, in the kernel's types.
    pub(super) value_type: u32,
    /// The types of the module that has it.
    pub(super) module: Option<BtfFd>,
    /// The value, with zeros where programs go.
    pub(super) value: Vec<u8>,
    /// Where programs go: bytes from the start of the value, index of the program.
    functions: Vec<(usize, u32)>,
    /// What the programs are.
    members: Vec<(u32, CallbackOf)>,
}

/// Which callback a program is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct CallbackOf {
    /// The structure, in the kernel's types.
    pub(super) structure: u32,
    /// Which member, from 0.
    pub(super) member: u32,
    /// The types of the module that has the structure.
    pub(super) module: Option<BtfFd>,
}

impl Structure {
    /// The value with the handles of its programs.
    pub(super) fn with_programs(&self, programs: &[Option<ProgFd>]) -> Vec<u8> {
        let mut value = self.value.clone();
        for &(offset, program) in &self.functions {
            let handle = programs.get(program as usize).copied().flatten();
            if let (Some(handle), Some(bytes)) = (handle, value.get_mut(offset..offset + 8)) {
                bytes.copy_from_slice(&u64::from(handle.0).to_le_bytes());
            }
        }
        value
    }
}

/// The structures of an object that are created, by index of the map.
pub(super) fn translate(
    object: &ObjectSpec,
    types: Option<&Btf>,
    target: &Target<'_>,
    is_created: impl Fn(usize) -> bool,
) -> Result<HashMap<u32, Structure>> {
    let mut structures = HashMap::new();
    for (index, map) in object.maps.iter().enumerate() {
        let MapRole::StructOps { type_id, functions, .. } = &map.role else { continue };
        if !is_created(index) {
            continue;
        }
        let local = types.ok_or_else(|| wrong(map, "the object has no types".into()))?;
        let structure = structure(object, map, local, TypeId(*type_id), functions, target)?;
        structures.insert(index as u32, structure);
    }
    Ok(structures)
}

/// Which callback each struct_ops program is, by index of the program. One program may be in
/// several structures, as the same member of the same structure.
pub(super) fn callbacks(
    object: &ObjectSpec,
    structures: &HashMap<u32, Structure>,
) -> Result<HashMap<u32, CallbackOf>> {
    let mut callbacks = HashMap::new();
    for &(program, callback) in structures.values().flat_map(|structure| &structure.members) {
        if *callbacks.entry(program).or_insert(callback) != callback {
            let name = object.programs.get(program as usize).map_or("", |program| &program.name);
            return Err(Error::invalid(format!(
                "program {name} cannot be two different members of structures of callbacks"
            )));
        }
    }
    Ok(callbacks)
}

fn wrong(map: &MapSpec, why: String) -> Error {
    Error::invalid(format!("structure {}: {why}", map.name))
}

fn structure(
    object: &ObjectSpec,
    map: &MapSpec,
    local: &Btf,
    local_id: TypeId,
    functions: &[(u32, u32)],
    target: &Target<'_>,
) -> Result<Structure> {
    let Some(Type::Struct(declared)) = local.resolved(local_id) else {
        return Err(wrong(map, format!("type {} is not a structure", local_id.0)));
    };
    let name = essential(declared.name);
    let unknown = || Error::Unsupported {
        what: format!("{} has no structure of callbacks {name}", target.name()),
        help: None,
    };
    let value_name = format!("bpf_struct_ops_{name}");
    let value = target.find(Kind::Struct, &value_name)?.ok_or_else(unknown)?;
    let kernel = value.types;
    let id = kernel.find(Kind::Struct, name).ok_or_else(unknown)?;
    let (Some(Type::Struct(value_type)), Some(Type::Struct(wanted))) =
        (kernel.ty(value.id), kernel.ty(id))
    else {
        return Err(unknown());
    };
    let data = value_type.members.into_iter().find(|member| member.ty == id).ok_or_else(unknown)?;
    let data = data.bit_offset as usize / 8;
    let module = match value.module {
        Some(index) => target.modules()?.get(index).and_then(|module| module.fd),
        None => None,
    };
    let mut made = Structure {
        value_type: value.id.0,
        module,
        value: vec![0; value_type.size as usize],
        functions: Vec::new(),
        members: Vec::new(),
    };
    let bytes = map.contents.first().map_or(&[][..], |(_, value)| value);
    for member in declared.members {
        let from = member.bit_offset as usize / 8;
        let function = functions.iter().find(|&&(offset, _)| offset as usize == from);
        let size = local.size_of(member.ty).unwrap_or(0) as usize;
        let content = bytes.get(from..from + size).unwrap_or_default();
        let is_zero = content.iter().all(|&byte| byte == 0);
        let theirs = wanted.members.into_iter().enumerate().find(|(_, m)| m.name == member.name);
        let Some((place, theirs)) = theirs else {
            // A program for a member that the kernel does not have is left out with it.
            if is_zero {
                continue;
            }
            return Err(wrong(
                map,
                format!("{} has no member {} of struct {name}", target.name(), member.name),
            ));
        };
        let to = data + theirs.bit_offset as usize / 8;
        check_alike(map, local, &member, kernel, &theirs, target)?;
        if let Some(&(_, program)) = function {
            let is_callback =
                object.programs.get(program as usize).map(|program| program.prog_type);
            if is_callback != Some(ProgType::StructOps) {
                return Err(wrong(
                    map,
                    format!("member {} is not given a struct_ops program", member.name),
                ));
            }
            made.functions.push((to, program));
            let callback = CallbackOf { structure: id.0, member: place as u32, module };
            made.members.push((program, callback));
        } else if !matches!(local.resolved(member.ty), Some(Type::Ptr(_))) {
            let their_size = kernel.size_of(theirs.ty).unwrap_or(0) as usize;
            if their_size != size {
                return Err(wrong(
                    map,
                    format!(
                        "member {} has {size} bytes here and {their_size} in {}",
                        member.name,
                        target.name()
                    ),
                ));
            }
            if let Some(place) = made.value.get_mut(to..to + content.len()) {
                place.copy_from_slice(content);
            }
        }
    }
    Ok(made)
}

fn check_alike(
    map: &MapSpec,
    local: &Btf,
    ours: &Member<'_>,
    kernel: &Btf,
    theirs: &Member<'_>,
    target: &Target<'_>,
) -> Result<()> {
    if ours.bit_size != 0 || theirs.bit_size != 0 {
        return Err(wrong(map, format!("member {} is a bit field", ours.name)));
    }
    let kind = |types: &Btf, id| types.resolved(id).map(|ty| ty.kind());
    if kind(local, ours.ty) == kind(kernel, theirs.ty) {
        return Ok(());
    }
    Err(wrong(map, format!("member {} is of another kind in {}", ours.name, target.name())))
}

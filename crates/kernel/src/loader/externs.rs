//! What the code takes from the kernel: configuration, variables, functions.

use std::collections::HashMap;

use bombus_btf::relocate::compatible;
use bombus_btf::{Btf, Kind, Type, TypeId, essential};
use bombus_spec::{Extern, ObjectSpec};

use super::kconfig;
use super::target::{Found, Target};
use crate::{BtfFd, Error, Result};

/// What stands for an extern in the code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Resolved {
    /// A place in the map of configuration values.
    Value {
        /// The map's index.
        map: u32,
        /// Bytes from the start of its value.
        offset: u32,
    },
    /// An address.
    Address(u64),
    /// A variable or function by its type.
    Typed {
        /// Its type.
        id: TypeId,
        /// The handle of the module's types; 0: the kernel's own, or not known.
        module: u32,
        /// The module's place in [`Externs::modules`], from 1; 0: the kernel itself.
        place: i16,
    },
    /// Nothing: it is weak, and the kernel does not have it.
    Absent,
}

/// What each extern of an object is on one target.
pub(super) struct Externs {
    /// In the order of the object. An error matters only to those who refer to the extern.
    all: Vec<Result<Resolved>>,
    /// The types of modules that functions are called of, in the order of their places.
    pub(super) modules: Vec<BtfFd>,
    /// Configuration values: map, bytes from the start of its value, bytes.
    pub(super) values: Vec<(u32, u32, Vec<u8>)>,
}

impl Externs {
    pub(super) fn resolve(
        object: &ObjectSpec,
        types: Option<&Btf>,
        target: &Target<'_>,
    ) -> Result<Externs> {
        let mut externs = Externs { all: Vec::new(), modules: Vec::new(), values: Vec::new() };
        let mut places = HashMap::new();
        for each in &object.externs {
            let resolved = match each {
                Extern::Kconfig { name, type_id, map, offset, size, weak } => {
                    let (type_id, size, weak) = (*type_id, *size, *weak);
                    let variable = kconfig::Variable { name, type_id, size, weak };
                    let bytes = kconfig::value(types, &variable, target)?;
                    externs.values.push((*map, *offset, bytes));
                    Ok(Resolved::Value { map: *map, offset: *offset })
                }
                Extern::Ksym { name, type_id: 0, weak } => address(name, *weak, target),
                Extern::Ksym { name, type_id, weak } => {
                    let local = (types, TypeId(*type_id));
                    typed(Kind::Var, name, local, *weak, target)
                        .and_then(|found| externs.place(found, target, &mut places))
                }
                Extern::Kfunc { name, type_id, weak } => {
                    let local = (types, TypeId(*type_id));
                    typed(Kind::Func, essential(name), local, *weak, target)
                        .and_then(|found| externs.place(found, target, &mut places))
                }
            };
            externs.all.push(resolved);
        }
        Ok(externs)
    }

    /// What stands for the extern with this index; `None` when there is no such extern.
    pub(super) fn get(&self, index: u32) -> Option<Result<Resolved>> {
        self.all.get(index as usize).cloned()
    }

    /// Gives the module that has it a place in the list.
    fn place(
        &mut self,
        found: Option<Found<'_>>,
        target: &Target<'_>,
        places: &mut HashMap<usize, i16>,
    ) -> Result<Resolved> {
        let Some(Found { id, module, .. }) = found else { return Ok(Resolved::Absent) };
        let Some(index) = module else {
            return Ok(Resolved::Typed { id, module: 0, place: 0 });
        };
        let fd = target.modules()?.get(index).and_then(|module| module.fd);
        // A module that is only described has no handle, and nobody loads code that names it.
        let handle = fd.unwrap_or(BtfFd(0));
        let next = i16::try_from(self.modules.len() + 1)
            .map_err(|_| Error::invalid("functions of too many modules are called"))?;
        let place = *places.entry(index).or_insert_with(|| {
            self.modules.push(handle);
            next
        });
        Ok(Resolved::Typed { id, module: handle.0, place })
    }
}

fn address(name: &str, weak: bool, target: &Target<'_>) -> Result<Resolved> {
    match target.symbol(name)? {
        Some(address) => Ok(Resolved::Address(address)),
        None if weak => Ok(Resolved::Absent),
        None if target.has_symbols() => Err(Error::Unsupported {
            what: format!("{} has no symbol {name}", target.name()),
            help: Some("declare it __weak to get a null address instead".into()),
        }),
        None => Err(Error::Unsupported {
            what: format!("the address of {name} is known only to the kernel that runs"),
            help: None,
        }),
    }
}

/// The variable or function of the target; `None` for a weak one that is not there. (A weak
/// function that is declared differently counts as not there, as with libbpf.)
fn typed<'t>(
    kind: Kind,
    name: &str,
    (local, local_id): (Option<&Btf>, TypeId),
    weak: bool,
    target: &'t Target<'_>,
) -> Result<Option<Found<'t>>> {
    let what = if kind == Kind::Func { "function" } else { "variable" };
    let Some(found) = target.find(kind, name)? else {
        return if weak {
            Ok(None)
        } else {
            Err(Error::Unsupported {
                what: format!("{} has no {what} {name} in its types", target.name()),
                help: Some("declare it __weak and ask bpf_ksym_exists() first".into()),
            })
        };
    };
    let Some(local) = local else {
        return Err(Error::invalid(format!("extern {name} has a type, but there are no types")));
    };
    let declared = match found.types.ty(found.id) {
        Some(Type::Var { ty, .. }) => ty,
        Some(Type::Func { proto, .. }) => proto,
        _ => TypeId::VOID,
    };
    let plain = |types: &Btf, id| types.resolve(id).unwrap_or(id);
    let (ours, theirs) = (plain(local, local_id), plain(found.types, declared));
    if compatible(local, ours, found.types, theirs) {
        Ok(Some(found))
    } else if weak && kind == Kind::Func {
        Ok(None)
    } else {
        Err(Error::Unsupported {
            what: format!(
                "{what} {name} has another type in {} than in this object",
                target.name()
            ),
            help: None,
        })
    }
}

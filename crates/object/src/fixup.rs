//! Puts the types right that a compiler leaves half done, so that the kernel takes them.
//!
//! The compiler does not know where variables come to stand, and it says of externs that they are
//! extern, which no type of the kernel's may be. What is done about it is what libbpf does; numbers
//! of types and offsets of strings stay as they are.

use std::collections::{HashMap, HashSet};

use bombus_btf::{Btf, Builder, Kind, Linkage, SectionVar, Type, TypeId};
use object::elf;

use crate::code::Functions;
use crate::elf::{Elf, Symbol};
use crate::error::{Error, Result};
use crate::externs::{Externs, KCONFIG, KSYMS, What};

/// What an entry of the section of kernel symbols is called that was a function.
const DUMMY: &str = "dummy_ksym";

/// The types, put right.
pub(crate) fn fix_up(
    elf: &Elf<'_>,
    btf: &Btf,
    functions: &Functions<'_>,
    externs: &Externs,
) -> Result<Vec<u8>> {
    let mut fixed = Builder::from_btf(btf);
    let variables = Variables::new(elf);
    for id in btf.ids().filter(|&id| btf.kind(id) == Some(Kind::Datasec)) {
        let Some(Type::Datasec { name, .. }) = btf.ty(id) else { continue };
        match name {
            KCONFIG if externs.kconfig_size != 0 => kconfig(btf, &mut fixed, id, externs),
            KSYMS if externs.all.iter().any(|each| !matches!(each.what, What::Kconfig { .. })) => {
                ksyms(btf, &mut fixed, id, externs)
            }
            KCONFIG | KSYMS => Ok(()),
            _ => section(elf, btf, &mut fixed, id, &variables),
        }
        .map_err(|error| error.in_section(name))?;
    }
    hidden_functions(btf, &mut fixed, functions);
    Ok(fixed.finish())
}

/// The symbols of variables that others can see, by name.
struct Variables<'e, 'a>(HashMap<&'a str, &'e Symbol<'a>>);

impl<'e, 'a> Variables<'e, 'a> {
    fn new(elf: &'e Elf<'a>) -> Variables<'e, 'a> {
        let mut by_name = HashMap::new();
        for symbol in &elf.symbols {
            if symbol.kind == elf::STT_OBJECT && symbol.global {
                by_name.entry(symbol.name).or_insert(symbol);
            }
        }
        Variables(by_name)
    }
}

/// Sets size and places, unless a linker did already, and makes hidden variables static.
fn section(
    elf: &Elf<'_>,
    btf: &Btf,
    fixed: &mut Builder,
    id: TypeId,
    variables: &Variables<'_, '_>,
) -> Result<()> {
    let Some(Type::Datasec { name, size, vars }) = btf.ty(id) else { return Ok(()) };
    let linked = size != 0;
    let size = if linked {
        size
    } else {
        let size = elf.named(name).map_or(0, |(_, section)| section.size);
        u32::try_from(size).ok().filter(|&size| size != 0).ok_or_else(|| {
            Error::new("its variables have types, but there is no such section, or it is empty")
        })?
    };
    let mut placed = Vec::with_capacity(vars.len());
    for mut var in vars {
        let Some(Type::Var { name, linkage, .. }) = btf.ty(var.ty) else {
            return Err(Error::new(format!("type {} in it is not a variable", var.ty)));
        };
        if linkage == Linkage::Global {
            let missing = || Error::new("the variable has a type, but no symbol").at(name);
            let symbol = variables.0.get(name).ok_or_else(missing)?;
            if !linked {
                var.offset = symbol.value.try_into().map_err(|_| missing())?;
            }
            if symbol.hidden {
                fixed.set_linkage(var.ty, Linkage::Static);
            }
        }
        placed.push(var);
    }
    set_section(fixed, id, size, placed);
    Ok(())
}

/// Writes the variables back in the order of their places, as the kernel wants them.
fn set_section(fixed: &mut Builder, id: TypeId, size: u32, mut placed: Vec<SectionVar>) {
    placed.sort_by_key(|var| var.offset);
    let mut placed = placed.into_iter();
    fixed.set_section(id, size, |var| placed.next().unwrap_or(var));
}

/// The options of the configuration are variables of the map `.kconfig`.
fn kconfig(btf: &Btf, fixed: &mut Builder, id: TypeId, externs: &Externs) -> Result<()> {
    let offsets: HashMap<TypeId, u32> = externs
        .all
        .iter()
        .filter_map(|each| match each.what {
            What::Kconfig { offset, .. } => Some((each.declaration, offset)),
            _ => None,
        })
        .collect();
    let Some(Type::Datasec { vars, .. }) = btf.ty(id) else { return Ok(()) };
    let mut placed = Vec::with_capacity(vars.len());
    for mut var in vars {
        var.offset = *offsets.get(&var.ty).ok_or_else(|| unused(btf, var.ty))?;
        fixed.set_linkage(var.ty, Linkage::Global);
        placed.push(var);
    }
    set_section(fixed, id, externs.kconfig_size, placed);
    Ok(())
}

/// The kernel's symbols pretend to be variables of 4 bytes each, and its functions to be defined.
fn ksyms(btf: &Btf, fixed: &mut Builder, id: TypeId, externs: &Externs) -> Result<()> {
    let Some(Type::Datasec { vars, .. }) = btf.ty(id) else { return Ok(()) };
    let known: HashSet<TypeId> = externs.all.iter().map(|each| each.declaration).collect();
    if let Some(var) = vars.iter().find(|var| !known.contains(&var.ty)) {
        return Err(unused(btf, var.ty));
    }
    let is_int = |id: &TypeId| matches!(btf.ty(*id), Some(Type::Int(int)) if int.bits == 32);
    let int = btf.ids().find(is_int).unwrap_or_else(|| fixed.int("int", 4, true));
    let dummy = fixed.var(DUMMY, int, Linkage::Global);
    let mut placed = Vec::with_capacity(vars.len());
    for (place, mut var) in vars.enumerate() {
        match btf.ty(var.ty) {
            Some(Type::Func { proto, .. }) => {
                let named = name_arguments(btf, fixed, proto);
                fixed.set_type(var.ty, named);
                fixed.set_linkage(var.ty, Linkage::Global);
                var.ty = dummy;
            }
            _ => {
                fixed.set_linkage(var.ty, Linkage::Global);
                fixed.set_type(var.ty, int);
            }
        }
        placed.push(SectionVar { offset: place as u32 * 4, size: 4, ..var });
    }
    let size = placed.len() as u32 * 4;
    set_section(fixed, id, size, placed);
    Ok(())
}

fn unused(btf: &Btf, id: TypeId) -> Error {
    Error::new("the declaration has a type, but no symbol").at(btf.name(id))
}

/// A prototype with a name for each argument, which declarations may lack and the kernel demands.
fn name_arguments(btf: &Btf, fixed: &mut Builder, proto: TypeId) -> TypeId {
    let Some(Type::FuncProto { ret, params }) = btf.ty(proto) else { return proto };
    let lacks_name =
        |param: &bombus_btf::Param<'_>| param.name.is_empty() && param.ty != TypeId::VOID;
    if !params.iter().any(|param| lacks_name(&param)) {
        return proto;
    }
    let name = |param: bombus_btf::Param<'_>| match lacks_name(&param) {
        true => (DUMMY.to_owned(), param.ty),
        false => (param.name.to_owned(), param.ty),
    };
    let named: Vec<(String, TypeId)> = params.map(name).collect();
    let named: Vec<(&str, TypeId)> = named.iter().map(|(name, ty)| (name.as_str(), *ty)).collect();
    fixed.func_proto(ret, &named)
}

/// Hidden functions are static ones for the verifier: it follows their callers' values into them.
fn hidden_functions(btf: &Btf, fixed: &mut Builder, functions: &Functions<'_>) {
    let hidden = functions.all().iter().filter(|f| functions.is_subprogram(f));
    for function in hidden.filter(|function| function.global && function.hidden) {
        if let Some(id) = btf.find(Kind::Func, function.name)
            && matches!(btf.ty(id), Some(Type::Func { linkage: Linkage::Global, .. }))
        {
            fixed.set_linkage(id, Linkage::Static);
        }
    }
}

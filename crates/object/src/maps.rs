//! Maps that BTF defines: each variable of `.maps` is one, and the members of its structure are its
//! attributes. A number is the length of an array that a member points to (`__uint`), a type is what
//! a member points to (`__type`).

use bombus_btf::{Btf, Kind, Linkage, Type, TypeId};
use bombus_platform::MapType;
use bombus_spec::MapSpec;

use crate::code::MAX_NAME;
use crate::elf::{Elf, Role};
use crate::error::{Error, Result};

/// The section's name.
pub(crate) const MAPS: &str = ".maps";

/// A map's place among the definitions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defined {
    /// Bytes from the start of the section.
    pub(crate) offset: u32,
    /// Bytes.
    pub(crate) size: u32,
    /// Bytes from the start of the definition to what it holds at first (`values`).
    pub(crate) values: Option<u32>,
}

/// The maps that `.maps` defines, in order.
pub(crate) fn defined(elf: &Elf<'_>, btf: Option<&Btf>) -> Result<Vec<(MapSpec, Defined)>> {
    if let Some((_, section)) = elf.with_role(Role::LegacyMaps).next() {
        return Err(Error::new("maps without BTF have not been supported since libbpf 1.0")
            .in_section(section.name)
            .help("define them in SEC(\".maps\")"));
    }
    let Some((_, section)) = elf.with_role(Role::Maps).next() else { return Ok(Vec::new()) };
    let needs_types = || {
        Error::new("maps are defined by BTF, and the file has none for them")
            .in_section(MAPS)
            .help("compile with `-g`")
    };
    let btf = btf.ok_or_else(needs_types)?;
    let datasec = btf.find(Kind::Datasec, MAPS).and_then(|id| btf.ty(id));
    let Some(Type::Datasec { vars, .. }) = datasec else { return Err(needs_types()) };
    let mut maps = Vec::with_capacity(vars.len());
    for var in vars {
        let name = btf.name(var.ty);
        let at = |error: Error| error.in_section(MAPS).at(name);
        if u64::from(var.offset) + u64::from(var.size) > section.size {
            return Err(at(Error::new("the definition goes on after the end of the section")));
        }
        let (spec, values) = variable(btf, var.ty, var.size).map_err(at)?;
        maps.push((spec, Defined { offset: var.offset, size: var.size, values }));
    }
    Ok(maps)
}

fn variable(btf: &Btf, id: TypeId, size: u32) -> Result<(MapSpec, Option<u32>)> {
    let Some(Type::Var { name, ty, linkage }) = btf.ty(id) else {
        return Err(Error::new("this is no variable"));
    };
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(Error::new("a map has no name, or none that the kernel takes"));
    }
    if linkage != Linkage::Global {
        return Err(Error::new("a map cannot be static or extern").help(
            "drop `static`; a map that another object defines has to be linked with this one",
        ));
    }
    let id = btf.resolve(ty).unwrap_or_default();
    match btf.ty(id) {
        Some(Type::Struct(definition)) if definition.size <= size => parse(btf, id, name, false),
        _ => Err(Error::new("a map is defined by a structure")
            .help("write `struct { __uint(type, ...); ... } name SEC(\".maps\")`")),
    }
}

/// A definition, and where in it `values` is.
fn parse(btf: &Btf, id: TypeId, name: &str, inner: bool) -> Result<(MapSpec, Option<u32>)> {
    let Some(Type::Struct(definition)) = btf.ty(id) else {
        return Err(Error::new("a map is defined by a structure"));
    };
    let mut map = MapSpec { name: name.to_owned(), ..MapSpec::default() };
    let mut map_type = None;
    let mut sizes = Sizes::default();
    let mut values = None;
    let last = definition.members.len().saturating_sub(1);
    for (place, member) in definition.members.enumerate() {
        let attribute = Attribute { btf, name: member.name, ty: member.ty };
        match member.name {
            "type" => map_type = Some(attribute.number()?),
            "max_entries" => map.max_entries = attribute.number()?,
            "map_flags" => map.flags = attribute.number()?,
            "numa_node" => map.numa_node = Some(attribute.number()?),
            "map_extra" => map.extra = attribute.long()?,
            "key_size" => sizes.key(attribute.number()?)?,
            "value_size" => sizes.value(attribute.number()?)?,
            "key" => {
                let (id, size) = attribute.sized_type()?;
                sizes.key(size)?;
                map.key_type = id.0;
            }
            "value" => {
                let (id, size) = attribute.sized_type()?;
                sizes.value(size)?;
                map.value_type = id.0;
            }
            "pinning" if inner => return Err(Error::new("an inner map cannot be pinned")),
            "pinning" => map.pin_by_name = attribute.pinning()?,
            "values" if inner => {
                return Err(Error::new("a map inside a map cannot hold maps itself"));
            }
            "values" if place != last => return Err(Error::new("`values` has to come last")),
            "values" => {
                sizes.value(4)?;
                let holder = map_type.and_then(MapType::from_number);
                map.inner = attribute.values(holder, name)?.map(Box::new);
                values = Some(member.bit_offset / 8);
            }
            other => {
                return Err(Error::new(format!("there is no attribute `{other}`")).help(
                    "attributes are type, key, value, key_size, value_size, max_entries, \
                     map_flags, numa_node, pinning, map_extra and values",
                ));
            }
        }
    }
    let number = map_type.filter(|&number| number != 0);
    let number = number.ok_or_else(|| {
        Error::new("the map's type is missing").help("add `__uint(type, BPF_MAP_TYPE_...)`")
    })?;
    map.map_type = MapType::from_number(number)
        .ok_or_else(|| Error::new(format!("there is no map type {number}")))?;
    map.key_size = sizes.key;
    map.value_size = sizes.value;
    Ok((map, values))
}

/// Sizes that may be given as a number and as a type, if they agree.
#[derive(Default)]
struct Sizes {
    key: u32,
    value: u32,
}

impl Sizes {
    fn key(&mut self, size: u32) -> Result<()> {
        agree("key", &mut self.key, size)
    }

    fn value(&mut self, size: u32) -> Result<()> {
        agree("value", &mut self.value, size)
    }
}

fn agree(what: &str, known: &mut u32, size: u32) -> Result<()> {
    if *known != 0 && *known != size {
        let reason = format!("the {what} has {known} bytes and {size} bytes");
        return Err(Error::new(reason).help("say it once"));
    }
    *known = size;
    Ok(())
}

/// A member of a definition.
struct Attribute<'a> {
    btf: &'a Btf,
    name: &'a str,
    ty: TypeId,
}

impl Attribute<'_> {
    fn wrong(&self, help: &str) -> Error {
        Error::new(format!("the attribute `{}` is not of the right form", self.name)).help(help)
    }

    fn number(&self) -> Result<u32> {
        if let Some(Type::Ptr(to)) = self.btf.resolved(self.ty)
            && let Some(Type::Array { len, .. }) = self.btf.ty(to)
        {
            return Ok(len);
        }
        Err(self.wrong(&format!("write `__uint({}, NUMBER)`", self.name)))
    }

    /// A number of 64 bits: the only value of an enumeration (`__ulong`).
    fn long(&self) -> Result<u64> {
        match self.btf.resolved(self.ty) {
            Some(Type::Enum(values) | Type::Enum64(values)) if values.values.len() == 1 => {
                let value = values.values.get(0).map_or(0, |value| value.value);
                // One of 32 bits is not extended by its sign.
                Ok(if values.size == 8 { value as u64 } else { u64::from(value as u32) })
            }
            _ => self.number().map(u64::from),
        }
    }

    fn sized_type(&self) -> Result<(TypeId, u32)> {
        if let Some(Type::Ptr(to)) = self.btf.ty(self.ty)
            && let Some(size) = self.btf.size_of(to)
        {
            return Ok((to, size));
        }
        Err(self.wrong(&format!("write `__type({}, TYPE)` with a type that has a size", self.name)))
    }

    fn pinning(&self) -> Result<bool> {
        match self.number()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.wrong("it is LIBBPF_PIN_NONE or LIBBPF_PIN_BY_NAME")),
        }
    }

    /// What a map of maps holds is defined by the element of an array of pointers; of a table of
    /// programs nothing but that is known.
    fn values(&self, holder: Option<MapType>, name: &str) -> Result<Option<MapSpec>> {
        let wrong = || self.wrong("write `__array(values, TYPE)`");
        let Some(Type::Array { element, len: 0, .. }) = self.btf.ty(self.ty) else {
            return Err(wrong());
        };
        let Some(Type::Ptr(to)) = self.btf.resolved(element) else { return Err(wrong()) };
        let to = self.btf.resolve(to).unwrap_or_default();
        match (holder, self.btf.kind(to)) {
            (Some(MapType::ArrayOfMaps | MapType::HashOfMaps), Some(Kind::Struct)) => {
                Ok(Some(parse(self.btf, to, &format!("{name}.inner"), true)?.0))
            }
            (Some(MapType::ProgArray), Some(Kind::FuncProto)) => Ok(None),
            (Some(MapType::ArrayOfMaps | MapType::HashOfMaps | MapType::ProgArray), _) => {
                Err(wrong())
            }
            _ => Err(Error::new("only maps of maps and tables of programs have `values`")
                .help("say the type first")),
        }
    }
}

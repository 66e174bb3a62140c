//! Definitions of maps in `.maps`, and what they hold at first.

use bombus_btf::{Linkage, Member, SectionVar, TypeId};
use bombus_platform::MapType;
use bombus_spec::{MapSpec, Slot};
use object::elf;

use super::code::Code;
use super::{ADDRESS, File, is_defined};
use crate::error::{Error, Result};
use crate::maps::MAPS;

/// Bytes of a pointer.
const POINTER: u32 = 8;
/// `LIBBPF_PIN_BY_NAME`.
const PIN_BY_NAME: u32 = 1;

impl File<'_> {
    /// Defines the maps that no section of variables stands for.
    pub(super) fn maps(&mut self) -> Result<()> {
        let mut vars = Vec::new();
        let mut size = 0;
        for (index, map) in self.spec.maps.iter().enumerate().filter(|(_, map)| is_defined(map)) {
            let (definition, bytes) = self.definition(map, &map.name);
            let var = self.types.variable(MAPS, &map.name, definition, Linkage::Global);
            self.map_values[index] = u64::from(size + bytes);
            let held = map.slots.iter().map(|(key, _)| u64::from(*key) + 1).max().unwrap_or(0);
            let whole = u32::try_from(held * u64::from(POINTER)).ok();
            let end = whole.and_then(|held| size.checked_add(bytes)?.checked_add(held));
            let end = end.filter(|&end| end < 1 << 24).ok_or_else(|| {
                Error::new("it holds more than a file can say").in_section(MAPS).at(&map.name)
            })?;
            vars.push(SectionVar { ty: var, offset: size, size: end - size });
            size = end;
        }
        if vars.is_empty() {
            return Ok(());
        }
        let flags = elf::SHF_ALLOC.0 | elf::SHF_WRITE.0;
        let section = self.section(MAPS, flags, POINTER.into(), vec![0; size as usize]);
        let defined = self.spec.maps.iter().enumerate().filter(|(_, map)| is_defined(map));
        for ((index, map), var) in defined.zip(&vars) {
            let symbol = self.object(&map.name, section, var.offset.into(), var.size.into());
            self.map_symbols[index] = Some(symbol);
        }
        self.types.section(MAPS, size, &vars);
        Ok(())
    }

    /// The structure that defines a map, and its size.
    fn definition(&mut self, map: &MapSpec, name: &str) -> (TypeId, u32) {
        let is_inner = map.name != name;
        let mut members = Vec::new();
        members.push(("type", self.number(map.map_type as u32)));
        if map.key_type != 0 {
            members.push(("key", self.types.builder.ptr(TypeId(map.key_type))));
        } else if map.key_size != 0 {
            members.push(("key_size", self.number(map.key_size)));
        }
        let has_values = map.inner.is_some() || !map.slots.is_empty();
        if map.value_type != 0 {
            members.push(("value", self.types.builder.ptr(TypeId(map.value_type))));
        } else if map.value_size != 0 && !has_values {
            members.push(("value_size", self.number(map.value_size)));
        }
        if map.max_entries != 0 {
            members.push(("max_entries", self.number(map.max_entries)));
        }
        if map.flags != 0 {
            members.push(("map_flags", self.number(map.flags)));
        }
        if let Some(node) = map.numa_node {
            members.push(("numa_node", self.number(node)));
        }
        if map.extra != 0 {
            let extra = self.long(map.extra);
            members.push(("map_extra", extra));
        }
        if map.pin_by_name && !is_inner {
            members.push(("pinning", self.number(PIN_BY_NAME)));
        }
        let size = members.len() as u32 * POINTER;
        if has_values {
            let held = match &map.inner {
                Some(inner) => self.definition(inner, "").0,
                None => self.types.builder.func_proto(TypeId::VOID, &[]),
            };
            let (pointer, index) = (self.types.builder.ptr(held), self.types.int());
            members.push(("values", self.types.builder.array(pointer, index, 0)));
        }
        let members: Vec<Member<'_>> = (0..)
            .zip(&members)
            .map(|(place, &(name, ty))| Member {
                name,
                ty,
                bit_offset: place * POINTER * 8,
                bit_size: 0,
            })
            .collect();
        (self.types.builder.structure("", size, &members), size)
    }

    /// `__uint`: the length of an array that a member points to.
    fn number(&mut self, number: u32) -> TypeId {
        let int = self.types.int();
        let array = self.types.builder.array(int, int, number);
        self.types.builder.ptr(array)
    }

    /// `__ulong`: the only value of an enumeration, when it has more than 32 bits.
    fn long(&mut self, number: u64) -> TypeId {
        match u32::try_from(number) {
            Ok(number) => self.number(number),
            Err(_) => {
                let value = ("map_extra", number as i64);
                self.types.builder.enumeration64("", POINTER, false, &[value])
            }
        }
    }

    /// What maps of maps and tables of programs hold at first.
    pub(super) fn slots(&mut self, code: &Code) -> Result<()> {
        let spec = self.spec;
        let section = self.image.sections.iter().position(|section| section.name == MAPS);
        for (map, &start) in spec.maps.iter().zip(&self.map_values.clone()) {
            for &(key, slot) in &map.slots {
                let wrong = || Error::new("it holds what the object does not have").at(&map.name);
                let symbol = match slot {
                    Slot::Map(held) => self.map_symbols.get(held as usize).copied().flatten(),
                    Slot::Program(held) if map.map_type == MapType::ProgArray => code.entry(held),
                    Slot::Program(_) => None,
                };
                let (symbol, section) = symbol.zip(section).ok_or_else(wrong)?;
                self.relocate(section, start + u64::from(key * POINTER), symbol, ADDRESS);
            }
        }
        Ok(())
    }
}

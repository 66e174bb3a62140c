//! Global variables and structures of kernel callbacks.

use bombus_btf::{Linkage, SectionVar, Type, TypeId};
use bombus_spec::{MapRole, MapSpec};
use object::elf;

use super::code::Code;
use super::{ADDRESS, File};
use crate::error::{Error, Result};

/// Largest alignment that a variable has.
const ALIGN: u64 = 8;

impl File<'_> {
    /// The sections of variables.
    pub(super) fn data(&mut self) -> Result<()> {
        let spec = self.spec;
        for (index, map) in spec.maps.iter().enumerate() {
            let MapRole::Data { section: name, read_only } = &map.role else { continue };
            if name == ".jumptables" {
                return Err(Error::new("tables of places in the code cannot be written yet")
                    .in_section(name));
            }
            let bytes = map.contents.first().map_or(&[][..], |(_, value)| value);
            let is_arena = super::is_defined(map);
            let size = if is_arena { bytes.len() } else { map.value_size as usize };
            let mut data = bytes.to_vec();
            data.resize(size, 0);
            let write = if *read_only { 0 } else { elf::SHF_WRITE.0 };
            let section = self.section(name, elf::SHF_ALLOC.0 | write, ALIGN, data);
            if name == ".bss" || name.starts_with(".bss.") {
                self.image.sections[section].kind = elf::SHT_NOBITS;
                self.image.sections[section].data.clear();
            }
            let vars = self.variables(index as u32, name, size as u32);
            for (name, var) in vars {
                self.object(&name, section, var.offset.into(), var.size.into());
            }
            let symbol = self.section_symbol(section);
            if !is_arena {
                self.map_symbols[index] = Some(symbol);
            }
        }
        Ok(())
    }

    /// The variables of a section that others can see, whose types are there afterwards.
    fn variables(&mut self, map: u32, section: &str, size: u32) -> Vec<(String, SectionVar)> {
        if let Some((btf, vars)) = self.types.given_section(section) {
            let visible = vars.into_iter().filter_map(|var| match btf.ty(var.ty)? {
                Type::Var { name, linkage: Linkage::Global, .. } => Some((name.to_owned(), var)),
                _ => None,
            });
            return visible.collect();
        }
        let mut variables: Vec<_> =
            self.spec.variables.iter().filter(|variable| variable.map == map).collect();
        variables.sort_by_key(|variable| variable.offset);
        let mut named = Vec::with_capacity(variables.len());
        for variable in variables {
            let ty = match variable.type_id {
                0 => self.types.bytes(variable.size),
                id => TypeId(id),
            };
            let ty = self.types.variable(section, &variable.name, ty, Linkage::Global);
            let var = SectionVar { ty, offset: variable.offset, size: variable.size };
            named.push((variable.name.clone(), var));
        }
        if !named.is_empty() {
            let vars: Vec<SectionVar> = named.iter().map(|(_, var)| *var).collect();
            self.types.section(section, size, &vars);
        }
        named
    }

    /// The structures of callbacks.
    pub(super) fn structures(&mut self, code: &Code) -> Result<()> {
        let spec = self.spec;
        // Those of one section follow each other.
        let mut sections: Vec<(&str, Vec<&MapSpec>)> = Vec::new();
        for map in &spec.maps {
            let MapRole::StructOps { link, .. } = map.role else { continue };
            let name = match (map.autocreate, link) {
                (true, false) => ".struct_ops",
                (true, true) => ".struct_ops.link",
                (false, false) => "?.struct_ops",
                (false, true) => "?.struct_ops.link",
            };
            match sections.iter_mut().find(|(known, _)| *known == name) {
                Some((_, maps)) => maps.push(map),
                None => sections.push((name, vec![map])),
            }
        }
        for (name, maps) in sections {
            let flags = elf::SHF_ALLOC.0 | elf::SHF_WRITE.0;
            let section = self.section(name, flags, ALIGN, Vec::new());
            let (mut data, mut vars) = (Vec::<u8>::new(), Vec::new());
            for map in maps {
                let MapRole::StructOps { type_id, functions, .. } = &map.role else { continue };
                data.resize(data.len().next_multiple_of(ALIGN as usize), 0);
                let start = data.len();
                data.extend(map.contents.first().map_or(&[][..], |(_, value)| value));
                data.resize(start + map.value_size as usize, 0);
                let ty = TypeId(*type_id);
                let ty = self.types.variable(name, &map.name, ty, Linkage::Global);
                let (offset, size) = (start as u32, map.value_size);
                vars.push(SectionVar { ty, offset, size });
                self.object(&map.name, section, offset.into(), size.into());
                for &(member, program) in functions {
                    let symbol = code.entry(program).ok_or_else(|| {
                        Error::new("a callback of it is a program that there is not").at(&map.name)
                    })?;
                    self.relocate(section, start as u64 + u64::from(member), symbol, ADDRESS);
                }
            }
            self.types.section(name, data.len() as u32, &vars);
            self.image.sections[section].size = data.len() as u64;
            self.image.sections[section].data = data;
        }
        Ok(())
    }
}

//! From a file to what it specifies.

use std::sync::Arc;

use bombus_btf::{Btf, BtfExt};
use bombus_platform::{AttachType, MapType, ProgType};
use bombus_spec::{Extern, MapRole, MapSpec, ObjectSpec, Reference, Slot, Variable};

use crate::code::Functions;
use crate::elf::{Elf, Place, Role};
use crate::error::{Error, Result};
use crate::externs::{Externs, What};
use crate::maps::{Defined, MAPS};
use crate::programs::{Programs, Source};
use crate::struct_ops::Structure;
use crate::targets::{self, MapPlaces};
use crate::{data, fixup, maps, struct_ops};

/// Characters of a licence that libbpf and the kernel read.
const LICENSE_LEN: usize = 63;

/// What the file alone does not say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// The file's name. The maps of global variables are named for it: `name.rodata`.
    pub name: &'a str,
    /// What all programs are, whatever their sections are called.
    pub prog_type: Option<(ProgType, AttachType)>,
}

/// What the object file `bytes` specifies. Its maps of global variables have no prefix.
pub fn open(bytes: &[u8]) -> Result<ObjectSpec> {
    open_with(bytes, &Options::default())
}

/// The same for a file of this name, which may have directories in front.
pub fn open_named(bytes: &[u8], name: &str) -> Result<ObjectSpec> {
    open_with(bytes, &Options { name, ..Options::default() })
}

/// The same with options.
pub fn open_with(bytes: &[u8], options: &Options<'_>) -> Result<ObjectSpec> {
    let elf = Elf::parse(bytes)?;
    let license = license(&elf);
    let kernel_version = kernel_version(&elf)?;
    let functions = Functions::collect(&elf)?;
    let types = types(&elf)?;
    let externs = Externs::collect(&elf, types.as_ref())?;
    let fixed = types.as_ref().map(|btf| fixup::fix_up(&elf, btf, &functions, &externs));
    let fixed: Option<Arc<[u8]>> = fixed.transpose()?.map(Arc::from);
    let btf = fixed.clone().map(parse_types).transpose()?;
    let ext = elf.with_role(Role::BtfExt).next().zip(btf.as_ref());
    let ext = ext.map(|((_, section), btf)| {
        let wrong = |error: bombus_btf::ExtError| Error::new(error.to_string());
        BtfExt::parse(section.data, btf).map_err(|error| wrong(error).in_section(section.name))
    });
    let ext = ext.transpose()?;

    let mut layout = Layout::new(&elf, btf.as_ref(), options, &externs)?;
    let targets = targets::collect(&elf, &functions, &externs, &layout.places)?;
    let source = Source {
        elf: &elf,
        functions: &functions,
        targets: &targets,
        externs: &externs,
        btf: btf.as_ref(),
        kconfig: layout.kconfig,
        license: &license,
        prog_type: options.prog_type,
    };
    let mut programs = Programs::collect(&source, ext.as_ref())?;
    layout.relocate(&elf, btf.as_ref(), &functions, &programs)?;
    layout.add_jump_tables(&mut programs);
    Ok(ObjectSpec {
        externs: layout.externs(&externs),
        maps: layout.maps,
        programs: programs.all,
        variables: layout.variables,
        btf: fixed,
        kernel_version,
    })
}

/// Up to the first zero.
fn license(elf: &Elf<'_>) -> String {
    let data = elf.with_role(Role::License).last().map_or(&[][..], |(_, section)| section.data);
    let text = data.split(|&byte| byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(&text[..text.len().min(LICENSE_LEN)]).into_owned()
}

fn kernel_version(elf: &Elf<'_>) -> Result<u32> {
    let Some((_, section)) = elf.with_role(Role::Version).next() else { return Ok(0) };
    let version = section.data.try_into().map(u32::from_le_bytes);
    version
        .map_err(|_| Error::new("the version is not a number of 32 bits").in_section(section.name))
}

fn types(elf: &Elf<'_>) -> Result<Option<Btf>> {
    let section = elf.with_role(Role::Btf).next();
    section.map(|(_, section)| parse_types(Arc::from(section.data))).transpose()
}

fn parse_types(blob: Arc<[u8]>) -> Result<Btf> {
    Btf::parse(blob).map_err(|error| Error::new(error.to_string()).in_section(".BTF"))
}

/// The maps, and where they come from.
struct Layout {
    maps: Vec<MapSpec>,
    variables: Vec<Variable>,
    places: MapPlaces,
    /// By index: where the first maps are defined.
    defined: Vec<Defined>,
    /// Maps of callbacks by index.
    structures: Vec<(u32, Structure)>,
    kconfig: Option<u32>,
}

impl Layout {
    /// All maps in libbpf's order: those of `.maps`, of global variables, of the configuration, of
    /// callbacks.
    fn new(
        elf: &Elf<'_>,
        btf: Option<&Btf>,
        options: &Options<'_>,
        externs: &Externs,
    ) -> Result<Layout> {
        let object = data::object_name(options.name);
        let (maps, defined) = maps::defined(elf, btf)?.into_iter().unzip();
        let mut layout = Layout {
            maps,
            variables: Vec::new(),
            places: MapPlaces::default(),
            defined,
            structures: Vec::new(),
            kconfig: None,
        };
        layout.places.definitions = elf.with_role(Role::Maps).next().map(|(index, _)| index);
        for (defined, index) in layout.defined.iter().zip(0..) {
            layout.places.by_definition.entry(defined.offset.into()).or_insert(index);
        }
        layout.arena(elf, btf)?;
        for (index, section) in elf.sections.iter().enumerate() {
            if matches!(section.role, Role::Data | Role::Rodata | Role::Bss) && section.size != 0 {
                let spec = data::map(object, btf, section)?;
                let map = layout.push(spec);
                layout.places.by_section.insert(index, map);
                layout.variables(btf, section.name, map, section.size as u32)?;
            }
        }
        if let Some(btf) = btf.filter(|_| externs.kconfig_size != 0) {
            layout.kconfig = Some(layout.push(data::kconfig(object, btf, externs.kconfig_size)));
        }
        for (spec, structure) in struct_ops::defined(elf, btf)? {
            let map = layout.push(spec);
            layout.structures.push((map, structure));
        }
        Ok(layout)
    }

    fn push(&mut self, spec: MapSpec) -> u32 {
        self.maps.push(spec);
        self.maps.len() as u32 - 1
    }

    fn variables(&mut self, btf: Option<&Btf>, section: &str, map: u32, size: u32) -> Result<()> {
        if let Some(btf) = btf {
            self.variables.extend(data::variables(btf, section, map, size)?);
        }
        Ok(())
    }

    /// Variables in the arena are what its memory starts with.
    fn arena(&mut self, elf: &Elf<'_>, btf: Option<&Btf>) -> Result<()> {
        let mut arenas =
            self.maps.iter_mut().zip(0..).filter(|(m, _)| m.map_type == MapType::Arena);
        let (first, second) = (arenas.next(), arenas.next());
        if let Some((map, _)) = second {
            return Err(Error::new("there is an arena already").in_section(MAPS).at(&map.name));
        }
        let Some((index, section)) = elf.with_role(Role::Arena).next() else { return Ok(()) };
        let Some((map, number)) = first else {
            return Err(Error::new("there are variables for an arena, but no arena")
                .in_section(section.name)
                .help("define a map of type BPF_MAP_TYPE_ARENA in .maps"));
        };
        const PAGE: u64 = 4096;
        if section.size > u64::from(map.max_entries) * PAGE {
            return Err(Error::new("the variables do not fit into the arena")
                .in_section(section.name)
                .help("raise its max_entries, which counts pages"));
        }
        map.contents = vec![(vec![0; 4], section.data.to_vec())];
        map.role = MapRole::Data { section: section.name.to_owned(), read_only: false };
        self.places.by_section.insert(index, number);
        self.variables(btf, section.name, number, section.size.try_into().unwrap_or(u32::MAX))
    }

    fn externs(&self, externs: &Externs) -> Vec<Extern> {
        let map = self.kconfig.unwrap_or_default();
        let describe = |each: &crate::externs::Extern| {
            let (name, weak) = (each.name.clone(), each.weak);
            match each.what {
                What::Kconfig { ty, size, offset, .. } => {
                    Extern::Kconfig { name, type_id: ty.0, map, offset, size, weak }
                }
                What::Ksym(ty) => Extern::Ksym { name, type_id: ty.0, weak },
                What::Kfunc(proto) => Extern::Kfunc { name, type_id: proto.0, weak },
            }
        };
        externs.all.iter().map(describe).collect()
    }

    /// What maps hold before any program runs: other maps and programs.
    fn relocate(
        &mut self,
        elf: &Elf<'_>,
        btf: Option<&Btf>,
        functions: &Functions<'_>,
        programs: &Programs,
    ) -> Result<()> {
        for table in &elf.relocations {
            let Some(section) = elf.sections.get(table.target) else { continue };
            for relocation in elf.relocations(table) {
                let relocation = relocation?;
                match section.role {
                    Role::Maps => self.slot(elf, functions, programs, &relocation),
                    Role::StructOps { .. } => {
                        self.callback(btf, functions, programs, table.target, &relocation)
                    }
                    _ => continue,
                }
                .map_err(|error| error.in_section(section.name))?;
            }
        }
        for map in &mut self.maps {
            map.slots.sort_by_key(|(key, _)| *key);
            map.slots.dedup_by_key(|(key, _)| *key);
        }
        Ok(())
    }

    /// A member of `values` of a map.
    fn slot(
        &mut self,
        elf: &Elf<'_>,
        functions: &Functions<'_>,
        programs: &Programs,
        relocation: &crate::elf::Relocation<'_, '_>,
    ) -> Result<()> {
        const POINTER: u64 = 8;
        let after = self.defined.partition_point(|d| u64::from(d.offset) <= relocation.offset);
        let holder = after.checked_sub(1).and_then(|index| Some((index, self.defined.get(index)?)));
        let values = holder.and_then(|(index, defined)| {
            let inside = relocation.offset - u64::from(defined.offset);
            let place = inside.checked_sub(defined.values?.into())?;
            let fits = inside + POINTER <= defined.size.into() && place % POINTER == 0;
            fits.then_some((index, (place / POINTER) as u32))
        });
        let (index, key) = values.ok_or_else(|| {
            Error::new(format!(
                "no map has a value at byte {:#x}, which is to be set",
                relocation.offset
            ))
        })?;
        let symbol = relocation.symbol;
        let name = elf.symbol_name(symbol);
        let map = &self.maps[index];
        let (map_type, map_name, key_size) = (map.map_type, map.name.clone(), map.key_size);
        let slot = match (map_type, symbol.place) {
            (MapType::HashOfMaps, _) if key_size != 4 => {
                return Err(
                    Error::new("a hash of maps with `values` has keys of 4 bytes").at(&map_name)
                );
            }
            (MapType::ArrayOfMaps | MapType::HashOfMaps, Place::Section(section))
                if self.places.definitions == Some(section) =>
            {
                self.places.by_definition.get(&symbol.value).map(|&map| Slot::Map(map))
            }
            (MapType::ProgArray, Place::Section(section)) => functions
                .at(section, symbol.value / crate::code::SLOT)
                .filter(|&index| {
                    let start = u64::from(functions.all()[index].start) * crate::code::SLOT;
                    start == symbol.value
                })
                .and_then(|index| programs.by_function.get(&index))
                .map(|&program| Slot::Program(program)),
            _ => None,
        };
        let slot = slot.ok_or_else(|| {
            Error::new(format!("it is to hold `{name}`, which is not what it can hold"))
                .at(&map_name)
                .help("maps of maps hold maps of this file, tables of programs its programs")
        })?;
        self.maps[index].slots.push((key, slot));
        Ok(())
    }

    /// A member of a structure of callbacks.
    fn callback(
        &mut self,
        btf: Option<&Btf>,
        functions: &Functions<'_>,
        programs: &Programs,
        section: usize,
        relocation: &crate::elf::Relocation<'_, '_>,
    ) -> Result<()> {
        let found = self.structures.iter().find(|(_, structure)| {
            structure.section == section && structure.bytes.contains(&relocation.offset)
        });
        let Some(((map, structure), btf)) = found.zip(btf) else {
            return Err(Error::new(format!("no structure is at byte {:#x}", relocation.offset)));
        };
        let Some(spec) = self.maps.get_mut(*map as usize) else { return Ok(()) };
        let MapRole::StructOps { type_id, functions: members, .. } = &mut spec.role else {
            return Ok(());
        };
        let at = |error: Error| error.at(&spec.name);
        let (offset, function) =
            struct_ops::member(btf, functions, relocation, structure, *type_id).map_err(at)?;
        let Some(&program) = programs.by_function.get(&function) else { return Ok(()) };
        if let Some(program) = programs.all.get(program as usize) {
            struct_ops::check(program).map_err(at)?;
        }
        members.push((offset, program));
        Ok(())
    }

    /// Each program has its own map for a table of places in its code.
    fn add_jump_tables(&mut self, programs: &mut Programs) {
        for table in &programs.jump_tables {
            let contents = table.slots.iter().zip(0_u32..).map(|(slot, key)| {
                // `struct bpf_insn_array_value`: the slot, and what the kernel fills in.
                let mut value = vec![0; 16];
                value[..4].copy_from_slice(&slot.to_le_bytes());
                (key.to_le_bytes().to_vec(), value)
            });
            let spec = MapSpec {
                name: ".jumptables".to_owned(),
                map_type: MapType::InsnArray,
                key_size: 4,
                value_size: 16,
                max_entries: table.slots.len() as u32,
                contents: contents.collect(),
                role: MapRole::Data { section: ".jumptables".to_owned(), read_only: true },
                ..MapSpec::default()
            };
            self.maps.push(spec);
            let map = self.maps.len() as u32 - 1;
            let Some(program) = programs.all.get_mut(table.program) else { continue };
            for &load in &table.loads {
                let Some([first, second]) = program
                    .insns
                    .get_mut(load as usize..)
                    .and_then(|slots| slots.first_chunk_mut::<2>())
                else {
                    continue;
                };
                // The kernel wants an offset of zero, or one of a later entry.
                let offset = second.insn.imm as u32;
                first.insn.src = bombus_isa::Reg(bombus_isa::opcode::pseudo::MAP_VALUE);
                first.insn.imm = 0;
                first.insn.off = 0;
                second.insn.imm = 0;
                first.reference = Some(Reference::MapValue { map, offset });
            }
        }
    }
}

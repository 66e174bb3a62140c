//! From what is specified to a file: what [`crate::open`] reads, in the other direction. Loaders that
//! know nothing of this project open it, too.
//!
//! Types keep their numbers. What the file needs beside them (definitions of maps, declarations of
//! externs and variables) takes the place of what the types already have of that name, or comes
//! after them.

mod code;
mod data;
mod maps;
mod types;

use bombus_btf::ExtBuilder;
use bombus_spec::{Extern, MapRole, MapSpec, ObjectSpec};
use object::elf;

use self::types::Types;
use crate::error::{Error, Result};
use crate::image::{Image, Relocation, Section, Symbol};

/// `R_BPF_64_64`: the address that a `ld_imm64` loads.
const LOAD: u32 = 1;
/// `R_BPF_64_ABS64`: an address in data.
const ADDRESS: u32 = 2;
/// `R_BPF_64_32`: the distance of a call.
const CALL: u32 = 10;

/// An object file that specifies this.
///
/// Fails for what a file cannot say: programs with different licences, programs without a section
/// whose type no section has, tables of places in code.
pub fn write(spec: &ObjectSpec) -> Result<Vec<u8>> {
    let mut file = File::new(spec)?;
    file.license()?;
    file.externs()?;
    file.maps()?;
    file.data()?;
    let code = file.code()?;
    file.structures(&code)?;
    file.slots(&code)?;
    Ok(file.finish())
}

/// The file so far.
struct File<'s> {
    spec: &'s ObjectSpec,
    image: Image,
    types: Types,
    ext: ExtBuilder,
    /// Symbols of maps, by index: of the definition, or of the section of variables.
    map_symbols: Vec<Option<usize>>,
    /// Where each map's `values` start in `.maps`.
    map_values: Vec<u64>,
    /// Symbols of externs, by index.
    extern_symbols: Vec<usize>,
}

impl<'s> File<'s> {
    fn new(spec: &'s ObjectSpec) -> Result<File<'s>> {
        let maps = spec.maps.len();
        Ok(File {
            spec,
            image: Image::default(),
            types: Types::new(spec.btf.clone())?,
            ext: ExtBuilder::new(),
            map_symbols: vec![None; maps],
            map_values: vec![0; maps],
            extern_symbols: Vec::new(),
        })
    }

    /// The licence, and the version that kprobes are for.
    fn license(&mut self) -> Result<()> {
        let mut licenses = self.spec.programs.iter().map(|program| program.license.as_str());
        let license = licenses.next().unwrap_or_default();
        if licenses.any(|other| other != license) {
            return Err(Error::new("its programs have several licences, and a file has one"));
        }
        let version = self.spec.kernel_version;
        let license = [license.as_bytes(), &[0]].concat();
        for (section, variable, data) in [
            ("license", "_license", if license.len() > 1 { license } else { Vec::new() }),
            (
                "version",
                "_version",
                if version == 0 { vec![] } else { version.to_le_bytes().into() },
            ),
        ] {
            if data.is_empty() {
                continue;
            }
            let given = self.types.given_section(section);
            let given = given.and_then(|(btf, vars)| Some(btf.name(vars.first()?.ty).to_owned()));
            let (name, size) = (given.unwrap_or_else(|| variable.to_owned()), data.len() as u64);
            let section = self.section(section, elf::SHF_ALLOC.0 | elf::SHF_WRITE.0, 4, data);
            self.object(&name, section, 0, size);
        }
        Ok(())
    }

    /// Symbols that are not defined, and what declares them.
    fn externs(&mut self) -> Result<()> {
        for each in &self.spec.externs {
            let (Extern::Kconfig { weak, .. }
            | Extern::Ksym { weak, .. }
            | Extern::Kfunc { weak, .. }) = *each;
            let symbol = self.symbol(Symbol {
                name: each.name().to_owned(),
                section: None,
                value: 0,
                size: 0,
                kind: elf::STT_NOTYPE,
                bind: if weak { elf::STB_WEAK } else { elf::STB_GLOBAL },
                hidden: false,
            });
            self.extern_symbols.push(symbol);
        }
        self.types.externs(&self.spec.externs);
        Ok(())
    }

    /// Adds a section of bytes.
    fn section(&mut self, name: &str, flags: u64, align: u64, data: Vec<u8>) -> usize {
        self.image.sections.push(Section {
            name: name.to_owned(),
            kind: elf::SHT_PROGBITS,
            flags,
            align,
            size: data.len() as u64,
            data,
            relocations: Vec::new(),
        });
        self.image.sections.len() - 1
    }

    fn symbol(&mut self, symbol: Symbol) -> usize {
        self.image.symbols.push(symbol);
        self.image.symbols.len() - 1
    }

    /// A global variable.
    fn object(&mut self, name: &str, section: usize, value: u64, size: u64) -> usize {
        self.symbol(Symbol {
            name: name.to_owned(),
            section: Some(section),
            value,
            size,
            kind: elf::STT_OBJECT,
            bind: elf::STB_GLOBAL,
            hidden: false,
        })
    }

    /// What stands for a section itself.
    fn section_symbol(&mut self, section: usize) -> usize {
        self.symbol(Symbol::of_section(section))
    }

    fn relocate(&mut self, section: usize, offset: u64, symbol: usize, kind: u32) {
        self.image.sections[section].relocations.push(Relocation { offset, symbol, kind });
    }

    fn finish(mut self) -> Vec<u8> {
        let sections = &self.image.sections;
        self.types.forget_sections(|name| sections.iter().any(|section| section.name == name));
        if let Some(types) = self.types.finish() {
            self.section(".BTF", 0, 4, types);
            if !self.ext.is_empty() {
                let ext = self.ext.finish();
                self.section(".BTF.ext", 0, 4, ext);
            }
        }
        self.image.finish()
    }
}

/// Whether a map is defined in `.maps`, and not by a section of its own.
fn is_defined(map: &MapSpec) -> bool {
    match &map.role {
        MapRole::Ordinary => true,
        MapRole::Data { .. } => map.map_type == bombus_platform::MapType::Arena,
        MapRole::Kconfig | MapRole::StructOps { .. } => false,
    }
}

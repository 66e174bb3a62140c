//! The ELF file: sections, symbols and relocations, checked once and then plain data.

use object::LittleEndian;
use object::elf::{self, FileHeader64, Rel64};
use object::read::SectionIndex;
use object::read::elf::{FileHeader, SectionHeader, SectionTable, Sym};

use crate::error::{Error, Result};

/// What a section's name says that is in it (libbpf's conventions).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// Instructions.
    Code,
    /// The licence.
    License,
    /// The kernel's version.
    Version,
    /// Maps as BTF defines them.
    Maps,
    /// Maps as they were defined before BTF.
    LegacyMaps,
    /// Types.
    Btf,
    /// What belongs to instructions: lines, functions, CO-RE relocations.
    BtfExt,
    /// Variables with values.
    Data,
    /// Constants.
    Rodata,
    /// Variables that start as zero.
    Bss,
    /// Variables in an arena.
    Arena,
    /// Tables of places in the code.
    JumpTables,
    /// Structures of kernel callbacks.
    StructOps {
        /// Attached by a link.
        link: bool,
        /// Created with the object.
        autocreate: bool,
    },
    /// Nothing that is for the kernel.
    Other,
}

/// A section.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Section<'a> {
    pub(crate) name: &'a str,
    pub(crate) role: Role,
    pub(crate) kind: elf::SectionType,
    pub(crate) flags: u64,
    pub(crate) align: u64,
    /// Bytes, also of what has none in the file.
    pub(crate) size: u64,
    pub(crate) data: &'a [u8],
}

/// Where a symbol is defined.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// In another file, or in the kernel.
    Undefined,
    /// In the section with this index.
    Section(usize),
    /// Nowhere: a plain number, a common variable.
    Special,
}

/// A symbol.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Symbol<'a> {
    pub(crate) name: &'a str,
    pub(crate) place: Place,
    pub(crate) value: u64,
    pub(crate) size: u64,
    pub(crate) kind: elf::SymbolType,
    /// Visible to other files.
    pub(crate) global: bool,
    /// May be missing, or be replaced by another file's.
    pub(crate) weak: bool,
    /// Visible to other files that it is linked with, but not in the result.
    pub(crate) hidden: bool,
}

impl Symbol<'_> {
    /// Whether it is something that the kernel or another file has to give.
    pub(crate) fn is_extern(&self) -> bool {
        self.place == Place::Undefined && self.global && self.kind == elf::STT_NOTYPE
    }
}

/// Relocations of one section.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relocations<'a> {
    /// Index of the section that is to be relocated.
    pub(crate) target: usize,
    records: &'a [Rel64<LittleEndian>],
}

/// A place to be filled in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relocation<'e, 'a> {
    /// Bytes from the start of the section.
    pub(crate) offset: u64,
    pub(crate) symbol: &'e Symbol<'a>,
    /// The symbol's index.
    pub(crate) index: usize,
    /// `R_BPF_*`.
    pub(crate) kind: u32,
}

/// The file.
#[derive(Clone, Debug)]
pub(crate) struct Elf<'a> {
    /// By index; the first is empty.
    pub(crate) sections: Vec<Section<'a>>,
    /// By index; the first is empty.
    pub(crate) symbols: Vec<Symbol<'a>>,
    /// In the order of the file.
    pub(crate) relocations: Vec<Relocations<'a>>,
}

impl<'a> Elf<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Elf<'a>> {
        check_ident(bytes)?;
        let endian = LittleEndian;
        let header = FileHeader64::<LittleEndian>::parse(bytes).map_err(broken)?;
        // Old LLVM said no machine.
        let machine = header.e_machine(endian);
        if header.e_type(endian) != elf::ET_REL || (machine != elf::EM_BPF && machine.0 != 0) {
            return Err(Error::new("this is an ELF file, but no BPF object")
                .help("compile with `clang -target bpf -c`"));
        }
        let table = header.sections(endian, bytes).map_err(broken)?;
        let sections = sections(&table, bytes)?;
        let symbols = symbols(&table, bytes)?;
        let relocations = relocations(&table, bytes, &sections)?;
        Ok(Elf { sections, symbols, relocations })
    }

    /// The sections of this role with their indices.
    pub(crate) fn with_role(&self, role: Role) -> impl Iterator<Item = (usize, &Section<'a>)> {
        self.sections.iter().enumerate().filter(move |(_, section)| section.role == role)
    }

    /// The first section of this name, with its index.
    pub(crate) fn named(&self, name: &str) -> Option<(usize, &Section<'a>)> {
        self.sections.iter().enumerate().skip(1).find(|(_, section)| section.name == name)
    }

    /// The name of a section that somebody refers to.
    pub(crate) fn section_name(&self, index: usize) -> &'a str {
        self.sections.get(index).map_or("", |section| section.name)
    }

    /// The relocations of a table, each with its symbol.
    pub(crate) fn relocations<'e>(
        &'e self,
        table: &Relocations<'a>,
    ) -> impl Iterator<Item = Result<Relocation<'e, 'a>>> + use<'e, 'a> {
        let section = self.section_name(table.target);
        table.records.iter().map(move |record| {
            let index = record.r_sym(LittleEndian) as usize;
            let offset = record.r_offset.get(LittleEndian);
            let kind = record.r_type(LittleEndian).0;
            let symbol = self.symbols.get(index).ok_or_else(|| {
                let reason = format!("the relocation of byte {offset:#x} has no symbol {index}");
                Error::new(reason).in_section(section)
            })?;
            Ok(Relocation { offset, symbol, index, kind })
        })
    }

    /// What a symbol is called; one that stands for a section has its name.
    pub(crate) fn symbol_name(&self, symbol: &Symbol<'a>) -> &'a str {
        match symbol.place {
            Place::Section(index) if symbol.name.is_empty() => self.section_name(index),
            _ => symbol.name,
        }
    }
}

/// What is wrong with files that are not of this kind at all.
fn check_ident(bytes: &[u8]) -> Result<()> {
    const CLASS: usize = 4;
    const DATA: usize = 5;
    if !bytes.starts_with(&elf::ELFMAG) {
        return Err(Error::new("this is no ELF file"));
    }
    let byte = |at| bytes.get(at).copied().unwrap_or_default();
    if byte(CLASS) != elf::ELFCLASS64.0 {
        return Err(Error::new("this is an ELF file of 32 bits, and no BPF object")
            .help("compile with `clang -target bpf -c`"));
    }
    if byte(DATA) != elf::ELFDATA2LSB.0 {
        return Err(Error::new("this object is for big-endian machines")
            .help("compile with `clang -target bpfel -c`"));
    }
    Ok(())
}

fn broken(error: object::read::Error) -> Error {
    Error::new(format!("the ELF file is broken: {error}"))
}

type Table<'a> = SectionTable<'a, FileHeader64<LittleEndian>>;

fn sections<'a>(table: &Table<'a>, bytes: &'a [u8]) -> Result<Vec<Section<'a>>> {
    let endian = LittleEndian;
    // What honest sections take together; those of a forged file can all be the whole file.
    let mut left = bytes.len();
    let mut sections = Vec::with_capacity(table.len());
    for (index, header) in table.enumerate() {
        let name = table.section_name(endian, header).map_err(broken)?;
        let name = str::from_utf8(name)
            .map_err(|_| Error::new(format!("the name of section {} is not UTF-8", index.0)))?;
        let kind = header.sh_type(endian);
        let wrong = |error| broken(error).in_section(name);
        let data =
            if kind == elf::SHT_NULL { &[] } else { header.data(endian, bytes).map_err(wrong)? };
        left = left.checked_sub(data.len()).ok_or_else(|| {
            Error::new("the ELF file is broken: sections overlap").in_section(name)
        })?;
        let size = header.sh_size(endian);
        let flags = header.sh_flags(endian);
        let role = role(name, kind, flags.contains(elf::SHF_EXECINSTR), size);
        let align = header.sh_addralign(endian);
        sections.push(Section { name, role, kind, flags: flags.0, align, size, data });
    }
    Ok(sections)
}

fn role(name: &str, kind: elf::SectionType, code: bool, size: u64) -> Role {
    let is = |stem: &str| {
        name.strip_prefix(stem).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let (autocreate, bare) = match name.strip_prefix('?') {
        Some(bare) => (false, bare),
        None => (true, name),
    };
    match name {
        _ if kind == elf::SHT_NOBITS => {
            return if is(".bss") { Role::Bss } else { Role::Other };
        }
        _ if kind != elf::SHT_PROGBITS => return Role::Other,
        "license" => return Role::License,
        "version" => return Role::Version,
        "maps" => return Role::LegacyMaps,
        ".maps" => return Role::Maps,
        ".BTF" => return Role::Btf,
        ".BTF.ext" => return Role::BtfExt,
        _ if size == 0 => return Role::Other,
        _ if code => return Role::Code,
        ".addr_space.1" => return Role::Arena,
        ".jumptables" => return Role::JumpTables,
        _ => {}
    }
    match bare {
        ".struct_ops" => Role::StructOps { link: false, autocreate },
        ".struct_ops.link" => Role::StructOps { link: true, autocreate },
        _ if is(".data") => Role::Data,
        _ if is(".rodata") => Role::Rodata,
        _ => Role::Other,
    }
}

fn symbols<'a>(table: &Table<'a>, bytes: &'a [u8]) -> Result<Vec<Symbol<'a>>> {
    let endian = LittleEndian;
    let mut tables = table.enumerate().filter(|(_, h)| h.sh_type(endian) == elf::SHT_SYMTAB);
    let (Some((index, _)), None) = (tables.next(), tables.next()) else {
        return Err(Error::new("the file has no table of symbols, or more than one")
            .help("do not strip it but for its DWARF (`llvm-strip -g`)"));
    };
    let symbols = table.symbol_table_by_index(endian, bytes, index).map_err(broken)?;
    let read = |symbol: &elf::Sym64<LittleEndian>| {
        let name = symbol.name(endian, symbols.strings()).map_err(broken)?;
        let section = symbol.st_shndx(endian).0;
        let visibility = symbol.st_visibility();
        Ok(Symbol {
            // One that is not UTF-8 can be nobody's.
            name: str::from_utf8(name).unwrap_or_default(),
            place: match section {
                0 => Place::Undefined,
                index if index < elf::SHN_LORESERVE => Place::Section(index.into()),
                _ => Place::Special,
            },
            value: symbol.st_value(endian),
            size: symbol.st_size(endian),
            kind: symbol.st_type(),
            global: symbol.st_bind() != elf::STB_LOCAL,
            weak: symbol.st_bind() == elf::STB_WEAK,
            hidden: visibility == elf::STV_HIDDEN || visibility == elf::STV_INTERNAL,
        })
    };
    symbols.iter().map(read).collect()
}

fn relocations<'a>(
    table: &Table<'a>,
    bytes: &'a [u8],
    sections: &[Section<'a>],
) -> Result<Vec<Relocations<'a>>> {
    let endian = LittleEndian;
    let mut relocations = Vec::new();
    for (_, header) in table.enumerate() {
        let kind = header.sh_type(endian);
        if kind != elf::SHT_REL && kind != elf::SHT_RELA {
            continue;
        }
        let target: SectionIndex = header.info_link(endian);
        let Some(section) = sections.get(target.0) else {
            return Err(Error::new("the ELF file is broken: relocations of no section"));
        };
        // DWARF and BTF are relocated by nobody.
        if matches!(section.role, Role::Other | Role::Btf | Role::BtfExt) {
            continue;
        }
        let records = header.rel(endian, bytes).map_err(|e| broken(e).in_section(section.name))?;
        let Some((records, _)) = records else {
            return Err(Error::new("relocations with addends (RELA) are not for BPF")
                .in_section(section.name));
        };
        relocations.push(Relocations { target: target.0, records });
    }
    Ok(relocations)
}

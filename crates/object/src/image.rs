//! Writes ELF files: sections, symbols and relocations in, bytes out.

use object::elf;

/// A section that is to be written.
#[derive(Clone, Debug)]
pub(crate) struct Section {
    pub(crate) name: String,
    /// `SHT_PROGBITS` or `SHT_NOBITS`.
    pub(crate) kind: elf::SectionType,
    /// `SHF_*`.
    pub(crate) flags: u64,
    pub(crate) align: u64,
    pub(crate) data: Vec<u8>,
    /// Bytes, also of what has none in the file.
    pub(crate) size: u64,
    pub(crate) relocations: Vec<Relocation>,
}

/// A place that is to be relocated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Relocation {
    /// Bytes from the start of the section.
    pub(crate) offset: u64,
    /// Index in [`Image::symbols`].
    pub(crate) symbol: usize,
    /// `R_BPF_*`.
    pub(crate) kind: u32,
}

/// A symbol that is to be written.
#[derive(Clone, Debug)]
pub(crate) struct Symbol {
    pub(crate) name: String,
    /// Index in [`Image::sections`]; `None`: not defined.
    pub(crate) section: Option<usize>,
    pub(crate) value: u64,
    pub(crate) size: u64,
    pub(crate) kind: elf::SymbolType,
    pub(crate) bind: elf::SymbolBind,
    pub(crate) hidden: bool,
}

impl Symbol {
    /// What stands for a section itself.
    pub(crate) fn of_section(section: usize) -> Symbol {
        Symbol {
            name: String::new(),
            section: Some(section),
            value: 0,
            size: 0,
            kind: elf::STT_SECTION,
            bind: elf::STB_LOCAL,
            hidden: false,
        }
    }
}

/// A file that is to be written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Image {
    pub(crate) sections: Vec<Section>,
    pub(crate) symbols: Vec<Symbol>,
}

/// Bytes of the file's header, of a section's, of a symbol, of a relocation.
const FILE_HEADER: u64 = 64;
const SECTION_HEADER: u16 = 64;
const SYMBOL: u64 = 24;
const RELOCATION: u64 = 16;

/// A section's header, as far as it is not the same for all.
struct Header {
    name: u32,
    kind: elf::SectionType,
    flags: u64,
    offset: u64,
    size: u64,
    link: u32,
    info: u32,
    align: u64,
    entry: u64,
}

impl Image {
    /// The file. Sections are numbered from 1 in their order; then come relocations, symbols, names.
    pub(crate) fn finish(&self) -> Vec<u8> {
        let mut names = Names::default();
        let mut body = vec![0; FILE_HEADER as usize];
        let relocated = self.sections.iter().filter(|section| !section.relocations.is_empty());
        let symbol_table = 1 + self.sections.len() + relocated.count();
        let mut headers = Vec::with_capacity(symbol_table + 2);
        for section in &self.sections {
            headers.push(Header {
                name: names.offset(&section.name),
                kind: section.kind,
                flags: section.flags,
                offset: append(&mut body, &section.data, section.align),
                size: section.size,
                link: 0,
                info: 0,
                align: section.align,
                entry: 0,
            });
        }
        let (symbols, numbers, locals) = self.symbol_table(&mut names);
        for (section, index) in self.sections.iter().zip(1..) {
            if section.relocations.is_empty() {
                continue;
            }
            let mut data = Vec::new();
            for relocation in &section.relocations {
                let symbol = numbers.get(relocation.symbol).copied().unwrap_or_default();
                let info = (u64::from(symbol) << 32) | u64::from(relocation.kind);
                data.extend(relocation.offset.to_le_bytes());
                data.extend(info.to_le_bytes());
            }
            headers.push(Header {
                name: names.offset(&format!(".rel{}", section.name)),
                kind: elf::SHT_REL,
                flags: elf::SHF_INFO_LINK.0,
                offset: append(&mut body, &data, 8),
                size: data.len() as u64,
                link: symbol_table as u32,
                info: index,
                align: 8,
                entry: RELOCATION,
            });
        }
        headers.push(Header {
            name: names.offset(".symtab"),
            kind: elf::SHT_SYMTAB,
            flags: 0,
            offset: append(&mut body, &symbols, 8),
            size: symbols.len() as u64,
            link: symbol_table as u32 + 1,
            info: locals,
            align: 8,
            entry: SYMBOL,
        });
        let name = names.offset(".strtab");
        headers.push(Header {
            name,
            kind: elf::SHT_STRTAB,
            flags: 0,
            offset: append(&mut body, &names.bytes, 1),
            size: names.bytes.len() as u64,
            link: 0,
            info: 0,
            align: 1,
            entry: 0,
        });
        let table = append(&mut body, &[0; SECTION_HEADER as usize], 8);
        for header in &headers {
            header.write(&mut body);
        }
        let header = file_header(table, headers.len() as u16 + 1);
        body[..header.len()].copy_from_slice(&header);
        body
    }

    /// The table's bytes, each symbol's number, and how many come before the first global one, to
    /// which all local ones have to.
    fn symbol_table(&self, names: &mut Names) -> (Vec<u8>, Vec<u32>, u32) {
        let is_local = |symbol: &Symbol| symbol.bind == elf::STB_LOCAL;
        let mut order: Vec<usize> = (0..self.symbols.len()).collect();
        order.sort_by_key(|&index| !is_local(&self.symbols[index]));
        let locals = self.symbols.iter().filter(|symbol| is_local(symbol)).count() as u32 + 1;
        let mut bytes = vec![0; SYMBOL as usize];
        let mut numbers = vec![0; self.symbols.len()];
        for (index, number) in order.into_iter().zip(1..) {
            let symbol = &self.symbols[index];
            numbers[index] = number;
            bytes.extend(names.offset(&symbol.name).to_le_bytes());
            bytes.push((symbol.bind.0 << 4) | (symbol.kind.0 & 0xf));
            bytes.push(if symbol.hidden { elf::STV_HIDDEN.0 } else { elf::STV_DEFAULT.0 });
            let section = symbol.section.map_or(0, |section| section as u16 + 1);
            bytes.extend(section.to_le_bytes());
            bytes.extend(symbol.value.to_le_bytes());
            bytes.extend(symbol.size.to_le_bytes());
        }
        (bytes, numbers, locals)
    }
}

/// Appends at the next multiple of `align`; where that is.
fn append(body: &mut Vec<u8>, data: &[u8], align: u64) -> u64 {
    body.resize(body.len().next_multiple_of(align.clamp(1, 4096) as usize), 0);
    let offset = body.len() as u64;
    body.extend(data);
    offset
}

impl Header {
    fn write(&self, body: &mut Vec<u8>) {
        body.extend(self.name.to_le_bytes());
        body.extend(self.kind.0.to_le_bytes());
        // Nothing is loaded to an address.
        for number in [self.flags, 0, self.offset, self.size] {
            body.extend(number.to_le_bytes());
        }
        body.extend(self.link.to_le_bytes());
        body.extend(self.info.to_le_bytes());
        body.extend(self.align.to_le_bytes());
        body.extend(self.entry.to_le_bytes());
    }
}

fn file_header(sections: u64, count: u16) -> Vec<u8> {
    let mut bytes = elf::ELFMAG.to_vec();
    // 64 bits, little-endian, version 1, no particular system.
    bytes.extend([elf::ELFCLASS64.0, elf::ELFDATA2LSB.0, 1, 0]);
    bytes.extend([0; 8]);
    bytes.extend(elf::ET_REL.0.to_le_bytes());
    bytes.extend(elf::EM_BPF.0.to_le_bytes());
    bytes.extend(1_u32.to_le_bytes());
    // No entry point, no segments.
    for number in [0, 0, sections] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(0_u32.to_le_bytes());
    // The names of sections are the last section.
    for number in [FILE_HEADER as u16, 0, 0, SECTION_HEADER, count, count - 1] {
        bytes.extend(number.to_le_bytes());
    }
    bytes
}

/// A table of names.
struct Names {
    bytes: Vec<u8>,
    offsets: std::collections::HashMap<String, u32>,
}

impl Default for Names {
    fn default() -> Names {
        Names { bytes: vec![0], offsets: Default::default() }
    }
}

impl Names {
    fn offset(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        if let Some(&offset) = self.offsets.get(name) {
            return offset;
        }
        let offset = self.bytes.len() as u32;
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.offsets.insert(name.to_owned(), offset);
        offset
    }
}

//! `.BTF.ext`: what belongs to the instructions of each section of an object file - functions,
//! source lines, CO-RE relocations (`struct btf_ext_header` and its kin in libbpf and LLVM; the
//! kernel has no part in it).

use std::fmt;

use crate::record::u32_at;
use crate::relocate::Relocation;
use crate::{Btf, Builder, FuncInfo, LineInfo, MAGIC, RelocationKind, TypeId, VERSION};

/// Bytes of the header with and without CO-RE relocations.
const HEADER_SIZE: usize = 32;
const OLD_HEADER_SIZE: usize = 24;
/// Bytes of an instruction slot; offsets in object files count bytes.
const SLOT: u32 = 8;
/// The longest way of a relocation. What compilers write has a dozen characters.
const MAX_ACCESS: usize = 256;

/// Why bytes are not `.BTF.ext`.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ExtError {
    /// The first two bytes are not the magic number.
    NotBtfExt,
    /// The magic number, with its bytes swapped.
    BigEndian,
    /// Another version than 1.
    Version(u8),
    /// A part goes on after the end of the data.
    Truncated,
    /// Records of this many bytes are not known.
    RecordSize {
        /// What the records are of.
        what: &'static str,
        /// Bytes.
        size: u32,
    },
    /// A section without name or records.
    Section(&'static str),
    /// A record for what is not the start of an instruction.
    Offset {
        /// What the record is of.
        what: &'static str,
        /// Bytes from the start of the section.
        offset: u32,
    },
    /// A relocation of a kind that is not known.
    Kind(u32),
    /// A relocation whose way is no string, or far too long.
    Access {
        /// Bytes from the start of the section.
        offset: u32,
    },
}

impl fmt::Display for ExtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExtError::NotBtfExt => write!(f, "this is not .BTF.ext"),
            ExtError::BigEndian => write!(
                f,
                "this .BTF.ext is for a big-endian machine; only little-endian ones are supported"
            ),
            ExtError::Version(version) => write!(f, ".BTF.ext version {version} is not known"),
            ExtError::Truncated => write!(f, "the .BTF.ext ends early"),
            ExtError::RecordSize { what, size } => {
                write!(f, "the .BTF.ext has records of {size} bytes for its {what}")
            }
            ExtError::Section(what) => {
                write!(f, "the .BTF.ext has {what} of a section without name or records")
            }
            ExtError::Offset { what, offset } => write!(
                f,
                "the .BTF.ext has {what} for byte {offset} of a section, where no instruction starts"
            ),
            ExtError::Kind(kind) => {
                write!(f, "the .BTF.ext has a CO-RE relocation of kind {kind}, which is not known")
            }
            ExtError::Access { offset } => write!(
                f,
                "the CO-RE relocation for byte {offset} of a section does not say which field it is for"
            ),
        }
    }
}

impl std::error::Error for ExtError {}

/// The three tables.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Table {
    Funcs,
    Lines,
    Relocations,
}

impl Table {
    const ALL: [Table; 3] = [Table::Funcs, Table::Lines, Table::Relocations];

    const fn what(self) -> &'static str {
        match self {
            Table::Funcs => "functions",
            Table::Lines => "lines",
            Table::Relocations => "CO-RE relocations",
        }
    }

    /// Bytes of a record, as far as they are known.
    const fn record_size(self) -> usize {
        match self {
            Table::Funcs => 8,
            Table::Lines | Table::Relocations => 16,
        }
    }
}

/// The records of one section in one table.
#[derive(Clone, Copy, Debug)]
struct Group<'a> {
    section: &'a str,
    table: Table,
    /// Bytes of each record.
    stride: u32,
    records: &'a [u8],
}

impl<'a> Group<'a> {
    fn records(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.records.chunks_exact(self.stride as usize)
    }
}

/// What belongs to the instructions of an object file. Records are decoded when their turn comes.
#[derive(Clone, Debug)]
pub struct BtfExt<'a> {
    btf: &'a Btf,
    /// In the order of the file.
    groups: Vec<Group<'a>>,
    /// Places in `groups`, by name.
    order: Vec<u32>,
}

impl<'a> BtfExt<'a> {
    /// Checks the section's data; `btf` is the types of the same file, whose strings it uses.
    pub fn parse(bytes: &'a [u8], btf: &'a Btf) -> Result<BtfExt<'a>, ExtError> {
        let magic = bytes.first_chunk::<2>().ok_or(ExtError::Truncated)?;
        match u16::from_le_bytes(*magic) {
            MAGIC => {}
            swapped if swapped == MAGIC.swap_bytes() => return Err(ExtError::BigEndian),
            _ => return Err(ExtError::NotBtfExt),
        }
        let version = *bytes.get(2).ok_or(ExtError::Truncated)?;
        if version != VERSION {
            return Err(ExtError::Version(version));
        }
        let word = |at| u32_at(bytes, at).map(|word| word as usize).ok_or(ExtError::Truncated);
        let header = word(4)?;
        if header < OLD_HEADER_SIZE {
            return Err(ExtError::Truncated);
        }
        let mut ext = BtfExt { btf, groups: Vec::new(), order: Vec::new() };
        for (index, table) in Table::ALL.into_iter().enumerate() {
            let at = 8 + index * 8;
            if at + 8 > header {
                break;
            }
            let start = header.checked_add(word(at)?).ok_or(ExtError::Truncated)?;
            let end = start.checked_add(word(at + 4)?).ok_or(ExtError::Truncated)?;
            ext.parse_table(table, bytes.get(start..end).ok_or(ExtError::Truncated)?)?;
        }
        let mut order: Vec<u32> = (0..ext.groups.len() as u32).collect();
        // Stable: of the same name in the order of the file.
        order.sort_by_key(|&at| ext.groups[at as usize].section);
        ext.order = order;
        Ok(ext)
    }

    fn parse_table(&mut self, table: Table, bytes: &'a [u8]) -> Result<(), ExtError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let stride = u32_at(bytes, 0).ok_or(ExtError::Truncated)?;
        if (stride as usize) < table.record_size() || stride % 4 != 0 {
            return Err(ExtError::RecordSize { what: table.what(), size: stride });
        }
        let mut rest = &bytes[4..];
        while !rest.is_empty() {
            let name = u32_at(rest, 0).ok_or(ExtError::Truncated)?;
            let count = u32_at(rest, 4).ok_or(ExtError::Truncated)?;
            let section = self.btf.name_at(name);
            if section.is_empty() || count == 0 {
                return Err(ExtError::Section(table.what()));
            }
            let len = (count as usize).checked_mul(stride as usize).ok_or(ExtError::Truncated)?;
            let (records, after) = rest[8..].split_at_checked(len).ok_or(ExtError::Truncated)?;
            let group = Group { section, table, stride, records };
            for record in group.records() {
                self.check(table, record)?;
            }
            self.groups.push(group);
            rest = after;
        }
        Ok(())
    }

    fn check(&self, table: Table, record: &[u8]) -> Result<(), ExtError> {
        let offset = u32_at(record, 0).ok_or(ExtError::Truncated)?;
        if offset % SLOT != 0 {
            return Err(ExtError::Offset { what: table.what(), offset });
        }
        if table == Table::Relocations {
            let kind = u32_at(record, 12).ok_or(ExtError::Truncated)?;
            RelocationKind::from_number(kind).ok_or(ExtError::Kind(kind))?;
            let access = u32_at(record, 8).and_then(|at| self.btf.string_within(at, MAX_ACCESS));
            access.filter(|access| access.is_ascii()).ok_or(ExtError::Access { offset })?;
        }
        Ok(())
    }

    /// The sections that have records, in the order of the file, each once.
    pub fn sections(&self) -> impl Iterator<Item = &'a str> {
        let first_of_name =
            |at: usize| self.named(self.groups[at].section).first() == Some(&(at as u32));
        (0..self.groups.len())
            .filter(move |&at| first_of_name(at))
            .map(|at| self.groups[at].section)
    }

    /// Where the functions of a section start, with their types.
    pub fn funcs(&self, section: &str) -> impl Iterator<Item = FuncInfo> {
        self.records(section, Table::Funcs).map(|record| {
            let word = |at| u32_at(record, at).unwrap_or_default();
            FuncInfo { insn: word(0) / SLOT, func: TypeId(word(4)) }
        })
    }

    /// The source lines of a section's instructions. Names and texts are offsets in the strings of
    /// the file's types.
    pub fn lines(&self, section: &str) -> impl Iterator<Item = LineInfo> {
        self.records(section, Table::Lines).map(|record| {
            let word = |at| u32_at(record, at).unwrap_or_default();
            LineInfo {
                insn: word(0) / SLOT,
                file: word(4),
                text: word(8),
                line: word(12) >> 10,
                column: word(12) & 0x3ff,
            }
        })
    }

    /// The CO-RE relocations of a section's instructions, in order.
    pub fn relocations(&self, section: &str) -> impl Iterator<Item = Relocation> {
        self.records(section, Table::Relocations).filter_map(|record| {
            Some(Relocation {
                insn_offset: u32_at(record, 0)?,
                type_id: TypeId(u32_at(record, 4)?),
                access: self.btf.name_at(u32_at(record, 8)?).to_owned(),
                kind: RelocationKind::from_number(u32_at(record, 12)?)?,
            })
        })
    }

    fn records(&self, section: &str, table: Table) -> impl Iterator<Item = &'a [u8]> {
        let groups = self.named(section).iter().map(|&at| self.groups[at as usize]);
        groups.filter(move |group| group.table == table).flat_map(|group| group.records())
    }

    /// Places in `groups` of those with this name.
    fn named(&self, section: &str) -> &[u32] {
        let name = |at: &u32| self.groups[*at as usize].section;
        let start = self.order.partition_point(|at| name(at) < section);
        let len = self.order[start..].partition_point(|at| name(at) == section);
        &self.order[start..start + len]
    }
}

/// Makes the data of a `.BTF.ext` section. Strings go into the builder of the file's types.
#[derive(Clone, Debug, Default)]
pub struct ExtBuilder {
    /// For each table, the sections with their records.
    tables: [Vec<(u32, Vec<u8>)>; 3],
}

impl ExtBuilder {
    /// One without records.
    pub fn new() -> ExtBuilder {
        ExtBuilder::default()
    }

    /// Whether it has no records. libbpf refuses a section without.
    pub fn is_empty(&self) -> bool {
        self.tables.iter().all(Vec::is_empty)
    }

    /// Adds the start of a function of `section`.
    pub fn func(&mut self, btf: &mut Builder, section: &str, func: FuncInfo) {
        let FuncInfo { insn, func } = func;
        self.add(btf, section, Table::Funcs, &[insn.wrapping_mul(SLOT), func.0]);
    }

    /// Adds a source line of `section`, with offsets in the strings of `btf`.
    pub fn line(&mut self, btf: &mut Builder, section: &str, line: LineInfo) {
        let words = [line.insn.wrapping_mul(SLOT), line.file, line.text, line.line_column()];
        self.add(btf, section, Table::Lines, &words);
    }

    /// Adds a relocation of `section`.
    pub fn relocation(&mut self, btf: &mut Builder, section: &str, relocation: &Relocation) {
        let Relocation { insn_offset, type_id, ref access, kind } = *relocation;
        let words = [insn_offset, type_id.0, btf.string(access), kind as u32];
        self.add(btf, section, Table::Relocations, &words);
    }

    fn add(&mut self, btf: &mut Builder, section: &str, table: Table, words: &[u32]) {
        let name = btf.string(section);
        let sections = &mut self.tables[table as usize];
        if sections.last().is_none_or(|(last, _)| *last != name) {
            sections.push((name, Vec::new()));
        }
        if let Some((_, records)) = sections.last_mut() {
            records.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        }
    }

    /// The section's data.
    pub fn finish(&self) -> Vec<u8> {
        let tables: Vec<Vec<u8>> = Table::ALL
            .into_iter()
            .zip(&self.tables)
            .map(|(t, sections)| table(t, sections))
            .collect();
        let mut bytes = Vec::new();
        bytes.extend(MAGIC.to_le_bytes());
        bytes.extend([VERSION, 0]);
        bytes.extend((HEADER_SIZE as u32).to_le_bytes());
        let mut offset = 0;
        for table in &tables {
            bytes.extend((offset as u32).to_le_bytes());
            bytes.extend((table.len() as u32).to_le_bytes());
            offset += table.len();
        }
        bytes.extend(tables.concat());
        bytes
    }
}

/// A table: the size of its records, then each section's.
fn table(table: Table, sections: &[(u32, Vec<u8>)]) -> Vec<u8> {
    if sections.is_empty() && table == Table::Relocations {
        return Vec::new();
    }
    let size = table.record_size();
    let mut bytes = (size as u32).to_le_bytes().to_vec();
    for (name, records) in sections {
        bytes.extend(name.to_le_bytes());
        bytes.extend(((records.len() / size) as u32).to_le_bytes());
        bytes.extend(records);
    }
    bytes
}

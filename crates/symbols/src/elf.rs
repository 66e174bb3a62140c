//! Functions of an ELF file, as offsets in the file.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use bombus_kernel::catalog::Symbol;
use object::elf;
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader, SectionTable, Sym};
use object::{Endianness, FileKind, ReadCache, ReadRef};

/// The functions of a file, sorted by name, one for each name.
pub(crate) fn functions(path: &Path) -> Result<Vec<Symbol>, String> {
    let functions = read(path)?;
    let symbols = functions.by_name.into_iter();
    Ok(symbols
        .map(|(name, found)| Symbol { name, offset: found.offset, size: found.size })
        .collect())
}

fn read(path: &Path) -> Result<Functions, String> {
    let failed = |reason: String| format!("{}: {reason}", path.display());
    let with_file = |path: &Path, functions: &mut Functions| {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let data = ReadCache::new(file);
        match FileKind::parse(&data) {
            Ok(FileKind::Elf64) => {
                functions.add::<elf::FileHeader64<Endianness>, _>(&data).map_err(|e| e.to_string())
            }
            Ok(FileKind::Elf32) => {
                functions.add::<elf::FileHeader32<Endianness>, _>(&data).map_err(|e| e.to_string())
            }
            _ => Err("not an ELF file".to_owned()),
        }
    };
    let mut functions = Functions::default();
    with_file(path, &mut functions).map_err(failed)?;
    if let Some(debug) = functions.debug_file.take() {
        // Half a debug file is no reason to do without what the file itself has.
        let _ = with_file(&debug, &mut functions);
    }
    Ok(functions)
}

/// Where in a file the code at this address lies; `None` when the file cannot be read, or has no
/// code there.
pub(crate) fn code_offset(path: &Path, address: u64) -> Option<u64> {
    let data = ReadCache::new(File::open(path).ok()?);
    let segments = match FileKind::parse(&data).ok()? {
        FileKind::Elf64 => segments::<elf::FileHeader64<Endianness>, _>(&data).ok()?,
        FileKind::Elf32 => segments::<elf::FileHeader32<Endianness>, _>(&data).ok()?,
        _ => return None,
    };
    segments.iter().filter(|segment| segment.is_code).find_map(|segment| segment.offset_of(address))
}

/// A part of the file that is loaded into memory.
pub(crate) struct Segment {
    address: u64,
    offset: u64,
    size: u64,
    pub(crate) is_code: bool,
}

impl Segment {
    /// Where in the file this address lies, if it is one of the segment's.
    pub(crate) fn offset_of(&self, address: u64) -> Option<u64> {
        let distance = address.checked_sub(self.address).filter(|&at| at < self.size)?;
        self.offset.checked_add(distance)
    }
}

pub(crate) fn segments<'data, Elf, R>(data: R) -> object::read::Result<Vec<Segment>>
where
    Elf: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let header = Elf::parse(data)?;
    let endian = header.endian()?;
    let loaded = header.program_headers(endian, data)?.iter();
    let loaded = loaded.filter(|segment| segment.p_type(endian) == elf::PT_LOAD);
    let segments = loaded.map(|segment| Segment {
        address: segment.p_vaddr(endian).into(),
        offset: segment.p_offset(endian).into(),
        size: segment.p_filesz(endian).into(),
        is_code: segment.p_flags(endian).contains(elf::PF_X),
    });
    Ok(segments.collect())
}

/// Why a function of several with one name is preferred, best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Visible to others, in its default version.
    Global,
    /// An old version that new programs do not link against.
    OldVersion,
    /// Known in its own file only.
    Local,
}

struct Found {
    rank: Rank,
    offset: u64,
    size: u64,
}

#[derive(Default)]
struct Functions {
    /// Of the first file: that of debug symbols has no contents to load.
    segments: Option<Vec<Segment>>,
    by_name: BTreeMap<String, Found>,
    /// Where the symbols are that are missing here.
    debug_file: Option<PathBuf>,
}

/// A version that is not the default one (`VERSYM_HIDDEN`).
const HIDDEN_VERSION: u16 = 1 << 15;

impl Functions {
    fn add<'data, Elf, R>(&mut self, data: R) -> object::read::Result<()>
    where
        Elf: FileHeader<Endian = Endianness>,
        R: ReadRef<'data>,
    {
        let header = Elf::parse(data)?;
        let endian = header.endian()?;
        let sections = header.sections(endian, data)?;
        let first = self.segments.is_none();
        if first {
            self.segments = Some(segments::<Elf, R>(data)?);
        }
        let mut full = false;
        for kind in [elf::SHT_SYMTAB, elf::SHT_DYNSYM] {
            let symbols = sections.symbols(endian, data, kind)?;
            full |= kind == elf::SHT_SYMTAB && !symbols.is_empty();
            let Ok(strings) = sections.section(symbols.string_section()) else { continue };
            // Read at one go: name by name would be a system call each.
            let strings = strings.data(endian, data)?;
            let versions = match kind {
                elf::SHT_DYNSYM => versions(&sections, endian, data),
                _ => None,
            };
            for (index, symbol) in symbols.iter().enumerate() {
                let version = versions
                    .and_then(|bytes| bytes.get(2 * index..2 * index + 2)?.try_into().ok())
                    .map_or(0, |bytes| read_u16(endian, bytes));
                self.add_symbol(symbol, endian, strings, version & HIDDEN_VERSION != 0);
            }
        }
        if first && !full {
            self.debug_file = build_id(&sections, endian, data).and_then(|id| debug_file(&id));
        }
        Ok(())
    }

    fn add_symbol<S: Sym<Endian = Endianness>>(
        &mut self,
        symbol: &S,
        endian: Endianness,
        strings: &[u8],
        old: bool,
    ) {
        // A function that is chosen at load time is known by the one that chooses.
        let is_function = matches!(symbol.st_type(), elf::STT_FUNC | elf::STT_GNU_IFUNC);
        if !is_function || symbol.is_undefined(endian) {
            return;
        }
        let Some(offset) = self.file_offset(symbol.st_value(endian).into()) else { return };
        let Some(name) = strings.get(symbol.st_name(endian) as usize..) else { return };
        let name = &name[..name.iter().position(|&byte| byte == 0).unwrap_or(0)];
        let Ok(name) = std::str::from_utf8(name) else { return };
        // In `.symtab` the linker writes versions into the names: `name@@DEFAULT`, `name@OLD`.
        let (name, old) = match name.split_once('@') {
            Some((name, version)) => (name, !version.starts_with('@')),
            None => (name, old),
        };
        if name.is_empty() {
            return;
        }
        let rank = match symbol.st_bind() {
            elf::STB_LOCAL => Rank::Local,
            _ if old => Rank::OldVersion,
            _ => Rank::Global,
        };
        let found = Found { rank, offset, size: symbol.st_size(endian).into() };
        match self.by_name.get_mut(name) {
            None => drop(self.by_name.insert(name.to_owned(), found)),
            Some(known) if rank < known.rank => *known = found,
            Some(_) => {}
        }
    }

    fn file_offset(&self, address: u64) -> Option<u64> {
        self.segments.iter().flatten().find_map(|segment| segment.offset_of(address))
    }
}

fn read_u16(endian: Endianness, bytes: [u8; 2]) -> u16 {
    match endian {
        Endianness::Little => u16::from_le_bytes(bytes),
        Endianness::Big => u16::from_be_bytes(bytes),
    }
}

/// One `u16` for each symbol of `.dynsym`.
fn versions<'data, Elf: FileHeader<Endian = Endianness>, R: ReadRef<'data>>(
    sections: &SectionTable<'data, Elf, R>,
    endian: Endianness,
    data: R,
) -> Option<&'data [u8]> {
    let section = sections.iter().find(|section| section.sh_type(endian) == elf::SHT_GNU_VERSYM)?;
    section.data(endian, data).ok()
}

/// What identifies the build that a file comes from.
fn build_id<'data, Elf: FileHeader<Endian = Endianness>, R: ReadRef<'data>>(
    sections: &SectionTable<'data, Elf, R>,
    endian: Endianness,
    data: R,
) -> Option<Vec<u8>> {
    for section in sections.iter() {
        let Ok(Some(mut notes)) = section.notes(endian, data) else { continue };
        while let Ok(Some(note)) = notes.next() {
            if note.name() == elf::ELF_NOTE_GNU && note.n_type(endian) == elf::NT_GNU_BUILD_ID {
                return Some(note.desc().to_vec());
            }
        }
    }
    None
}

/// Where distributions install the debug symbols of a build.
fn debug_file(build_id: &[u8]) -> Option<PathBuf> {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (first, rest) = build_id.split_at_checked(1)?;
    let path = format!("/usr/lib/debug/.build-id/{}/{}.debug", hex(first), hex(rest));
    let path = PathBuf::from(path);
    path.exists().then_some(path)
}

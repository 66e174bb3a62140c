//! Static probes (USDT): the notes that `<sys/sdt.h>` leaves in a file, one for each place.
//!
//! A note has three addresses as the linker gave them (of the probe's instruction, of the section
//! `.stapsdt.base`, of the semaphore or 0), then three strings: provider, name and where the
//! arguments are. The notes are no part of the program, so whoever moves a linked program
//! (`prelink`) leaves them as they are; how far it was moved shows in the address of
//! `.stapsdt.base`. (systemtap's UserSpaceProbeImplementation.)

use std::fs::File;
use std::path::Path;

use bombus_kernel::catalog::StaticProbe;
use object::elf;
use object::read::elf::{FileHeader, SectionHeader};
use object::{Endianness, FileKind, ReadCache, ReadRef};

use crate::elf::{Segment, segments};

/// Owner and type of a note about a probe.
const OWNER: &[u8] = b"stapsdt";
const PROBE: elf::NoteType = elf::NoteType(3);

/// Sections by name.
const NOTES: &[u8] = b".note.stapsdt";
const BASE: &[u8] = b".stapsdt.base";

/// The places of the probe of this provider and name, in the order of the notes.
pub(crate) fn find(path: &Path, provider: &str, name: &str) -> Result<Vec<StaticProbe>, String> {
    let wanted = [provider.as_bytes(), name.as_bytes()];
    let found = File::open(path).map_err(|error| error.to_string()).and_then(|file| {
        let data = ReadCache::new(file);
        match FileKind::parse(&data) {
            Ok(FileKind::Elf64) => read::<elf::FileHeader64<Endianness>, _>(&data, wanted),
            Ok(FileKind::Elf32) => read::<elf::FileHeader32<Endianness>, _>(&data, wanted),
            _ => Err("not an ELF file".to_owned()),
        }
    });
    found.map_err(|reason| format!("{}: {reason}", path.display()))
}

fn read<'data, Elf, R>(data: R, wanted: [&[u8]; 2]) -> Result<Vec<StaticProbe>, String>
where
    Elf: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let broken = |error: object::Error| error.to_string();
    let header = Elf::parse(data).map_err(broken)?;
    let endian = header.endian().map_err(broken)?;
    let sections = header.sections(endian, data).map_err(broken)?;
    let Some((_, section)) = sections.section_by_name(endian, NOTES) else {
        return Ok(Vec::new());
    };
    let base = sections.section_by_name(endian, BASE);
    let file = Places {
        endian,
        is_64: header.is_type_64(),
        relocatable: header.e_type(endian) == elf::ET_DYN,
        base: base.map_or(0, |(_, section)| section.sh_addr(endian).into()),
        segments: segments::<Elf, R>(data).map_err(broken)?,
    };
    let mut probes = Vec::new();
    let Some(mut notes) = section.notes(endian, data).map_err(broken)? else { return Ok(probes) };
    while let Some(note) = notes.next().map_err(broken)? {
        if note.name() != OWNER || note.n_type(endian) != PROBE {
            continue;
        }
        let note = file.note(note.desc()).ok_or("a note about a static probe is malformed")?;
        if [note.provider, note.name] == wanted {
            probes.push(file.place(&note)?);
        }
    }
    Ok(probes)
}

/// A note as it stands in the file.
struct Note<'n> {
    address: u64,
    base: u64,
    semaphore: u64,
    provider: &'n [u8],
    name: &'n [u8],
    arguments: &'n [u8],
}

/// What the addresses of notes mean.
struct Places {
    endian: Endianness,
    is_64: bool,
    relocatable: bool,
    /// Where `.stapsdt.base` is now; 0: there is none.
    base: u64,
    segments: Vec<Segment>,
}

impl Places {
    fn note<'n>(&self, bytes: &'n [u8]) -> Option<Note<'n>> {
        let mut rest = bytes;
        let [address, base, semaphore] =
            [self.address(&mut rest)?, self.address(&mut rest)?, self.address(&mut rest)?];
        let [provider, name, arguments] =
            [text(&mut rest)?, text(&mut rest)?, text(&mut rest).unwrap_or(rest)];
        (!name.is_empty()).then_some(Note { address, base, semaphore, provider, name, arguments })
    }

    /// Takes an address from the front.
    fn address(&self, bytes: &mut &[u8]) -> Option<u64> {
        let little = self.endian == Endianness::Little;
        if self.is_64 {
            let (address, rest) = bytes.split_first_chunk()?;
            *bytes = rest;
            return Some(if little {
                u64::from_le_bytes(*address)
            } else {
                u64::from_be_bytes(*address)
            });
        }
        let (address, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        let address =
            if little { u32::from_le_bytes(*address) } else { u32::from_be_bytes(*address) };
        Some(address.into())
    }

    fn place(&self, note: &Note<'_>) -> Result<StaticProbe, String> {
        let moved = match (self.base, note.base) {
            (0, _) | (_, 0) => 0,
            (now, linked) => now.wrapping_sub(linked),
        };
        let address = note.address.wrapping_add(moved);
        let offset = self.offset(address, true);
        let offset = offset.ok_or_else(|| format!("there is no code at {address:#x}"))?;
        let semaphore = match note.semaphore {
            0 => 0,
            semaphore => {
                let semaphore = semaphore.wrapping_add(moved);
                let offset = self.offset(semaphore, false);
                offset.ok_or_else(|| format!("there is no semaphore at {semaphore:#x}"))?
            }
        };
        let arguments = String::from_utf8_lossy(note.arguments);
        // What a compiler writes for no arguments at all.
        let arguments = if arguments.starts_with(':') { "" } else { &arguments };
        let (relocatable, arguments) = (self.relocatable, arguments.to_owned());
        Ok(StaticProbe { offset, address, relocatable, semaphore, arguments })
    }

    /// Where an address is in the file.
    fn offset(&self, address: u64, is_code: bool) -> Option<u64> {
        let mut segments = self.segments.iter().filter(|segment| segment.is_code == is_code);
        segments.find_map(|segment| segment.offset_of(address))
    }
}

/// Takes a string from the front, up to its zero.
fn text<'n>(bytes: &mut &'n [u8]) -> Option<&'n [u8]> {
    let end = bytes.iter().position(|&byte| byte == 0)?;
    let (text, rest) = bytes.split_at(end);
    *bytes = &rest[1..];
    Some(text)
}

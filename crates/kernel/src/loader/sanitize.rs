//! Types as far as a kernel takes them.
//!
//! Kernels learned the kinds of types one after the other, and refuse a blob for one that they do
//! not know. Each has a stand-in of the same length that older kernels take (they are libbpf's), so
//! that no type changes its number.

use bombus_btf::Kind;

use crate::BtfSupport;

/// Bytes of `struct btf_type`, before what follows it.
const HEADER: usize = 12;
/// Where `struct btf_header` has its own length.
const HEADER_LEN: usize = 4;
/// Where it has the place of the types, and their length.
const TYPES: usize = 8;
const TYPES_LEN: usize = 12;
/// Where it has the place of the strings.
const STRINGS: usize = 16;

/// Replaces what this kernel does not take. A blob that is malformed stays as it is: the kernel will
/// say so.
pub(super) fn sanitize(blob: &mut [u8], support: &BtfSupport) {
    if *support != BtfSupport::FULL {
        // What stands behind the place where the blob is malformed stays.
        let _ = replace_all(blob, support);
    }
}

fn replace_all(blob: &mut [u8], support: &BtfSupport) -> Option<()> {
    let body = word(blob, HEADER_LEN)? as usize;
    let strings = body.checked_add(word(blob, STRINGS)? as usize)?;
    let mut at = body.checked_add(word(blob, TYPES)? as usize)?;
    let end = at.checked_add(word(blob, TYPES_LEN)? as usize)?;
    // Where each type starts, for the names of variables.
    let mut starts = vec![at];
    while at < end {
        let info = word(blob, at + 4)?;
        let (kind, count) = (Kind::from_number((info >> 24) as u8 & 0x1f)?, info & 0xffff);
        let next = at + HEADER + kind.extra_bytes(count as usize);
        blob.get(at..next)?;
        starts.push(at);
        at = next;
    }
    for &at in &starts[1..] {
        replace(blob, at, strings, &starts, support)?;
    }
    Some(())
}

fn replace(
    blob: &mut [u8],
    at: usize,
    strings: usize,
    starts: &[usize],
    support: &BtfSupport,
) -> Option<()> {
    let info = word(blob, at + 4)?;
    let count = info & 0xffff;
    let become_kind = |blob: &mut [u8], kind: Kind, count: u32| {
        set(blob, at + 4, ((kind as u32) << 24) | count);
    };
    let extra = at + HEADER;
    match Kind::from_number((info >> 24) as u8 & 0x1f)? {
        Kind::Var if !support.datasec => byte_sized_int(blob, at),
        Kind::DeclTag if !support.decl_tag => byte_sized_int(blob, at),
        Kind::Datasec if !support.datasec => {
            rename(blob, strings + word(blob, at)? as usize, b".?");
            become_kind(blob, Kind::Struct, count);
            for member in (0..count as usize).map(|index| extra + index * 12) {
                // Type, offset in bytes, size: becomes name, type, offset in bits.
                let (ty, offset) = (word(blob, member)?, word(blob, member + 4)?);
                let name = starts.get(ty as usize).and_then(|&var| word(blob, var)).unwrap_or(0);
                set(blob, member, name);
                set(blob, member + 4, ty);
                set(blob, member + 8, offset.wrapping_mul(8));
            }
        }
        Kind::Datasec if !support.question_mark => {
            rename(blob, strings + word(blob, at)? as usize, b"?");
        }
        Kind::FuncProto if !support.func => {
            become_kind(blob, Kind::Enum, count);
            set(blob, at + 8, 4);
        }
        Kind::Func if !support.func => become_kind(blob, Kind::Typedef, 0),
        // Static: known from the start.
        Kind::Func if !support.func_global => become_kind(blob, Kind::Func, 0),
        Kind::Float if !support.float => become_kind(blob, Kind::Struct, 0),
        Kind::TypeTag if !support.type_tag => {
            set(blob, at, 0);
            become_kind(blob, Kind::Const, 0);
        }
        Kind::Enum64 if !support.enum64 => {
            become_kind(blob, Kind::Union, count);
            for value in (0..count as usize).map(|index| extra + index * 12) {
                // Name and value become a member of that name, of the smallest integer there is.
                set(blob, value + 4, smallest_int(blob, starts)?);
                set(blob, value + 8, 0);
            }
        }
        // The flag of signed enumerators is as new.
        Kind::Enum if !support.enum64 => become_kind(blob, Kind::Enum, count),
        _ => {}
    }
    Some(())
}

/// A variable or attribute as an integer of one byte.
fn byte_sized_int(blob: &mut [u8], at: usize) {
    set(blob, at + 4, (Kind::Int as u32) << 24);
    set(blob, at + 8, 1);
    set(blob, at + HEADER, 8);
}

/// The number of an integer type that fits wherever an enumeration did.
fn smallest_int(blob: &[u8], starts: &[usize]) -> Option<u32> {
    let ints = starts.iter().enumerate().skip(1).filter_map(|(id, &at)| {
        let is_int = (word(blob, at + 4)? >> 24) & 0x1f == Kind::Int as u32;
        is_int.then_some((word(blob, at + 8)?, id as u32))
    });
    ints.min().map(|(_, id)| id)
}

/// Puts `_` for these characters of a string.
fn rename(blob: &mut [u8], at: usize, unwanted: &[u8]) {
    let text = blob.get_mut(at..).unwrap_or_default();
    text.iter_mut()
        .take_while(|byte| **byte != 0)
        .filter(|byte| unwanted.contains(byte))
        .for_each(|byte| *byte = b'_');
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|word| u32::from_le_bytes(*word))
}

fn set(bytes: &mut [u8], at: usize, value: u32) {
    if let Some(word) = bytes.get_mut(at..at + 4) {
        word.copy_from_slice(&value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use bombus_btf::{Btf, Builder, Linkage, SectionVar};

    use super::*;

    fn blob() -> Vec<u8> {
        let mut types = Builder::new();
        let int = types.int("int", 4, true);
        let proto = types.func_proto(int, &[("x", int)]);
        types.func("f", proto, Linkage::Global);
        let var = types.var("v", int, Linkage::Global);
        types.datasec("?.data", 4, &[SectionVar { ty: var, offset: 4, size: 4 }]);
        types.float("double", 8);
        types.decl_tag("tag", var, None);
        types.type_tag("user", int);
        types.enumeration64("e", 8, true, &[("A", -1)]);
        types.enumeration("s", 4, true, &[("B", -1)]);
        types.finish()
    }

    fn kinds(support: &BtfSupport) -> String {
        let mut blob = blob();
        sanitize(&mut blob, support);
        let types = Btf::parse(blob).unwrap();
        let text =
            |(_, ty): (_, bombus_btf::Type<'_>)| format!("{} {}", ty.kind().name(), ty.name());
        types.types().map(text).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn every_kernel_gets_what_it_takes() {
        assert_eq!(
            kinds(&BtfSupport::FULL),
            "INT int, FUNC_PROTO , FUNC f, VAR v, DATASEC ?.data, FLOAT double, DECL_TAG tag, \
             TYPE_TAG user, ENUM64 e, ENUM s"
        );
        let linux_6_1 = BtfSupport { question_mark: false, ..BtfSupport::FULL };
        assert_eq!(
            kinds(&linux_6_1),
            "INT int, FUNC_PROTO , FUNC f, VAR v, DATASEC _.data, FLOAT double, DECL_TAG tag, \
             TYPE_TAG user, ENUM64 e, ENUM s"
        );
        assert_eq!(
            kinds(&BtfSupport { base: true, ..BtfSupport::default() }),
            "INT int, ENUM , TYPEDEF f, INT v, STRUCT __data, STRUCT double, INT tag, CONST , \
             UNION e, ENUM s"
        );
    }

    #[test]
    fn broken_blobs() {
        let whole = blob();
        for len in 0..whole.len() {
            let mut cut = whole[..len].to_vec();
            sanitize(&mut cut, &BtfSupport::default());
        }
    }
}

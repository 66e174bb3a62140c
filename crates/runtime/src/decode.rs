//! From bytes in memory to values that can be shown.

use std::cell::OnceCell;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use bombus_report::Value;
use bombus_script::types::Type;

use crate::os::Clock;

/// What stands after a string that filled its place to the last byte.
const TRUNCATED: &[u8] = b"..";

/// Decodes values of one plan. What comes from the host (user names, the time of boot) is looked
/// up when first needed.
#[derive(Debug)]
pub struct Decoder<'a> {
    strings: &'a [String],
    users: OnceCell<HashMap<u64, String>>,
    clock: OnceCell<Clock>,
}

impl<'a> Decoder<'a> {
    /// `strings` are the plan's.
    pub fn new(strings: &'a [String]) -> Decoder<'a> {
        Decoder { strings, users: OnceCell::new(), clock: OnceCell::new() }
    }

    /// The value in `bytes`. Bytes that are missing count as zero.
    pub fn value(&self, ty: &Type, bytes: &[u8]) -> Value {
        match ty {
            Type::None | Type::Struct(_) | Type::Stack { .. } => Value::None,
            Type::Int { size, signed: true } => Value::Int(signed(bytes, *size)),
            Type::Int { size, signed: false } => Value::Uint(unsigned(bytes, *size)),
            Type::Bool => Value::Bool(unsigned(bytes, 1) != 0),
            Type::Str { size } => Value::Str(string(bytes, *size as usize)),
            Type::Buf { size } => {
                let length = unsigned(bytes, 4).min(u64::from(*size)) as usize;
                Value::Buffer(slice(bytes, 4, length).to_vec())
            }
            Type::Tuple(parts) => Value::Tuple(
                parts
                    .iter()
                    .zip(ty.offsets())
                    .map(|(part, offset)| self.part(part, bytes, offset))
                    .collect(),
            ),
            Type::Record(parts) => Value::Record(
                parts
                    .iter()
                    .zip(ty.offsets())
                    .map(|((name, part), offset)| (name.clone(), self.part(part, bytes, offset)))
                    .collect(),
            ),
            Type::Array { element, len } => Value::Array(
                (0..*len).map(|index| self.part(element, bytes, index * element.size())).collect(),
            ),
            Type::Pointer { .. } | Type::Symbol { .. } => Value::pointer(unsigned(bytes, 8)),
            Type::Inet => Value::text(address(bytes)),
            Type::Timestamp => self.timestamp(unsigned(bytes, 8), unsigned(slice(bytes, 8, 8), 8)),
            Type::Username => Value::text(self.user(unsigned(bytes, 8))),
            Type::StringIndex => Value::text(self.string(unsigned(bytes, 8))),
            Type::MacAddr => {
                let bytes: Vec<_> = slice(bytes, 0, 6).iter().map(|b| format!("{b:02X}")).collect();
                Value::text(bytes.join(":"))
            }
        }
    }

    fn part(&self, ty: &Type, bytes: &[u8], offset: u32) -> Value {
        self.value(ty, slice(bytes, offset as usize, ty.size() as usize))
    }

    fn string(&self, index: u64) -> &'a str {
        usize::try_from(index).ok().and_then(|index| self.strings.get(index)).map_or("", |s| s)
    }

    fn timestamp(&self, format: u64, nanoseconds: u64) -> Value {
        let clock = self.clock.get_or_init(Clock::now);
        let text = clock.format_since_boot(self.string(format), nanoseconds);
        Value::Str(text.unwrap_or_else(|| b"(?)".to_vec()))
    }

    /// The name of a user in `/etc/passwd`; nothing when there is none.
    fn user(&self, uid: u64) -> String {
        let users = self.users.get_or_init(|| {
            let file = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
            let mut users = HashMap::new();
            for line in file.lines() {
                let mut fields = line.split(':');
                if let (Some(name), Some(_), Some(Ok(uid))) =
                    (fields.next(), fields.next(), fields.next().map(str::parse))
                {
                    users.entry(uid).or_insert_with(|| name.to_owned());
                }
            }
            users
        });
        users.get(&uid).cloned().unwrap_or_default()
    }
}

/// Compares two keys the way bpftrace orders maps whose values have no order of their own:
/// integers as signed whatever their type, strings by their bytes.
pub(crate) fn compare(ty: &Type, a: &[u8], b: &[u8]) -> Ordering {
    let part = |part: &Type, offset: u32| {
        let (offset, size) = (offset as usize, part.size() as usize);
        compare(part, slice(a, offset, size), slice(b, offset, size))
    };
    match ty {
        Type::Int { size, .. } => signed(a, *size).cmp(&signed(b, *size)),
        // The format, then the time.
        Type::Timestamp => {
            let time = |bytes| unsigned(slice(bytes, 8, 8), 8);
            time(a).cmp(&time(b))
        }
        Type::Str { size } => string(a, *size as usize).cmp(&string(b, *size as usize)),
        Type::Tuple(parts) => parts
            .iter()
            .zip(ty.offsets())
            .map(|(ty, offset)| part(ty, offset))
            .fold(Ordering::Equal, Ordering::then),
        Type::Record(parts) => parts
            .iter()
            .zip(ty.offsets())
            .map(|((_, ty), offset)| part(ty, offset))
            .fold(Ordering::Equal, Ordering::then),
        _ => a.cmp(b),
    }
}

/// As much of `bytes[start..start + length]` as there is.
pub(crate) fn slice(bytes: &[u8], start: usize, length: usize) -> &[u8] {
    let start = start.min(bytes.len());
    &bytes[start..start.saturating_add(length).min(bytes.len())]
}

pub(crate) fn unsigned(bytes: &[u8], size: u8) -> u64 {
    let mut word = [0; 8];
    let bytes = slice(bytes, 0, usize::from(size.min(8)));
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

pub(crate) fn signed(bytes: &[u8], size: u8) -> i64 {
    let unused = 64 - 8 * u32::from(size.clamp(1, 8));
    ((unsigned(bytes, size) << unused) as i64) >> unused
}

fn string(bytes: &[u8], size: usize) -> Vec<u8> {
    let bytes = slice(bytes, 0, size);
    match bytes.iter().position(|&byte| byte == 0) {
        Some(end) => bytes[..end].to_vec(),
        // A string that fits has its closing zero.
        None if bytes.len() == size && size > 0 => [bytes, TRUNCATED].concat(),
        None => bytes.to_vec(),
    }
}

fn address(bytes: &[u8]) -> String {
    const INET: u64 = 2;
    const INET6: u64 = 10;
    let mut octets = [0; 16];
    let given = slice(bytes, 8, 16);
    octets[..given.len()].copy_from_slice(given);
    match unsigned(bytes, 8) {
        INET => Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]).to_string(),
        INET6 => Ipv6Addr::from(octets).to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(ty: &Type, bytes: &[u8]) -> String {
        let strings = ["%Y".to_owned(), "BEGIN".to_owned()];
        let value = Decoder::new(&strings).value(ty, bytes);
        String::from_utf8(bombus_report::value_text(&value)).expect("text")
    }

    #[test]
    fn every_type() {
        let int = |size, signed| Type::Int { size, signed };
        assert_eq!(text(&int(1, true), &[0xff]), "-1");
        assert_eq!(text(&int(1, false), &[0xff]), "255");
        assert_eq!(text(&int(4, true), &[0, 0, 0, 0x80]), "-2147483648");
        assert_eq!(text(&int(8, false), &[0xff; 8]), "18446744073709551615");
        assert_eq!(text(&Type::Bool, &[1]), "true");
        assert_eq!(text(&Type::Str { size: 4 }, b"ab\0\0"), "ab");
        assert_eq!(text(&Type::Str { size: 2 }, b"ab"), "ab..");
        assert_eq!(text(&Type::Buf { size: 4 }, b"\x02\0\0\0a\x01zz"), "a\\x01");
        assert_eq!(text(&Type::Buf { size: 1 }, b"\xff\xff\xff\xffa"), "a");
        let tuple = Type::Tuple(vec![int(1, true), Type::I64, Type::Bool]);
        let bytes = [&[5u8, 0, 0, 0, 0, 0, 0, 0][..], &7u64.to_le_bytes(), &[0]].concat();
        assert_eq!(text(&tuple, &bytes), "(5, 7, false)");
        let record = Type::Record(vec![("a".into(), int(1, true)), ("b".into(), Type::Bool)]);
        assert_eq!(text(&record, &[1, 1]), "{ .a = 1, .b = true }");
        let array = Type::Array { element: Box::new(int(2, true)), len: 2 };
        assert_eq!(text(&array, &[1, 0, 0xff, 0xff]), "[1,-1]");
        let pointer = Type::Pointer { to: Box::new(Type::None), user: true };
        assert_eq!(text(&pointer, &0x1234u64.to_le_bytes()), "0x1234");
        let inet = |family: u64, octets: &[u8]| [&family.to_le_bytes()[..], octets].concat();
        assert_eq!(text(&Type::Inet, &inet(2, &[127, 0, 0, 1])), "127.0.0.1");
        assert_eq!(text(&Type::Inet, &inet(10, &[0; 16])), "::");
        assert_eq!(text(&Type::Inet, &inet(1, &[])), "");
        assert_eq!(text(&Type::Username, &[0; 8]), "root");
        assert_eq!(text(&Type::StringIndex, &[1]), "BEGIN");
        assert_eq!(text(&Type::StringIndex, &[9]), "");
        assert_eq!(text(&Type::MacAddr, &[1, 2, 0xab, 4, 5, 6]), "01:02:AB:04:05:06");
        assert_eq!(text(&Type::Timestamp, &[0; 16]).len(), 4);
        assert_eq!(text(&Type::Timestamp, &[9; 16]), "(?)");
    }

    #[test]
    fn missing_bytes_are_zero() {
        assert_eq!(text(&Type::U64, &[]), "0");
        assert_eq!(text(&Type::Buf { size: 9 }, &[5]), "");
        assert_eq!(text(&Type::Tuple(vec![Type::U64, Type::Bool]), &[1]), "(1, false)");
    }

    #[test]
    fn keys_compare_as_signed_numbers_and_strings() {
        let key = Type::Tuple(vec![Type::Int { size: 4, signed: false }, Type::Str { size: 4 }]);
        let make = |number: i32, text: &[u8; 4]| [&number.to_le_bytes()[..], text].concat();
        assert_eq!(compare(&key, &make(-1, b"b\0\0\0"), &make(1, b"a\0\0\0")), Ordering::Less);
        assert_eq!(compare(&key, &make(1, b"b\0\0\0"), &make(1, b"a\0zz")), Ordering::Greater);
        assert_eq!(compare(&key, &make(256, b"b\0xx"), &make(256, b"b\0yy")), Ordering::Equal);
    }
}

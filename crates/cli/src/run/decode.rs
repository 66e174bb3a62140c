//! What bytes mean by their type: as JSON, and as text for people.

use bombus_btf::{Btf, Composite, Int, Type, TypeId};
use serde_json::{Map, Number, Value, json};

/// Types inside types beyond this depth are shown as bytes: forged types may be endless.
const MAX_DEPTH: u32 = 32;

/// The value of a type. What lies beyond the end of `bytes`, or has no type, is `null`.
pub(crate) fn value(btf: &Btf, id: TypeId, bytes: &[u8]) -> Value {
    Decoder { btf }.value(id, bytes, 0)
}

/// The value of bytes that have no type: an integer when they are as many as one has, else
/// hexadecimal digits.
pub(crate) fn untyped(bytes: &[u8]) -> Value {
    match bytes.len() {
        1 | 2 | 4 | 8 => unsigned(bytes).into(),
        _ => hex(bytes).into(),
    }
}

/// Two digits a byte, with spaces between.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// As C would initialise it: `{pid: 1, comm: "sh", ports: [80, 443]}`.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| format!("{name}: {}", text(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
        Value::Array(elements) => {
            format!("[{}]", elements.iter().map(text).collect::<Vec<_>>().join(", "))
        }
        Value::Null => "?".to_owned(),
        other => other.to_string(),
    }
}

struct Decoder<'a> {
    btf: &'a Btf,
}

impl Decoder<'_> {
    fn value(&self, id: TypeId, bytes: &[u8], depth: u32) -> Value {
        let Some(ty) = self.btf.resolved(id).filter(|_| depth < MAX_DEPTH) else {
            return hex(bytes).into();
        };
        let sized = |size: u32| bytes.get(..size as usize);
        match ty {
            Type::Int(int) => sized(int.size).map_or(Value::Null, |bytes| integer(&int, bytes)),
            Type::Ptr(_) => sized(8).map_or(Value::Null, |bytes| address(unsigned(bytes))),
            Type::Float(_, size) => sized(size).map_or(Value::Null, float),
            Type::Enum(of) | Type::Enum64(of) => sized(of.size).map_or(Value::Null, |bytes| {
                let number = if of.signed { signed(bytes) } else { unsigned(bytes) as i64 };
                let named = of.values.iter().find(|each| each.value == number);
                named.map_or_else(|| number.into(), |each| each.name.into())
            }),
            Type::Array { element, len, .. } => self.array(element, len, bytes, depth),
            Type::Struct(of) => self.members(&of, bytes, depth, false),
            Type::Union(of) => self.members(&of, bytes, depth, true),
            _ => hex(bytes).into(),
        }
    }

    fn array(&self, element: TypeId, len: u32, bytes: &[u8], depth: u32) -> Value {
        let Some(size) = self.btf.size_of(element).filter(|&size| size > 0) else {
            return hex(bytes).into();
        };
        let is_char = matches!(self.btf.resolved(element), Some(Type::Int(int))
            if int.size == 1 && (int.name == "char" || int.encoding & Int::CHAR != 0));
        // The last member of a structure may have as many elements as there are bytes.
        let bytes = if len == 0 {
            bytes
        } else {
            let whole = size as usize * len as usize;
            bytes.get(..whole).unwrap_or(bytes)
        };
        if is_char {
            let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default();
            return String::from_utf8_lossy(text).into_owned().into();
        }
        bytes.chunks(size as usize).map(|each| self.value(element, each, depth + 1)).collect()
    }

    /// The members by name. Those of an anonymous member stand among them, as in C. Of a union that
    /// is inside of something only the first is shown: the others are the same bytes.
    fn members(&self, of: &Composite<'_>, bytes: &[u8], depth: u32, union: bool) -> Value {
        let mut members = Map::new();
        for (index, member) in of.members.iter().enumerate() {
            if union && depth > 0 && index > 0 {
                break;
            }
            let start = (member.bit_offset / 8) as usize;
            let value = if member.bit_size > 0 {
                self.bit_field(member.ty, member.bit_offset, member.bit_size, bytes)
            } else {
                match bytes.get(start..) {
                    Some(bytes) => self.value(member.ty, bytes, depth + 1),
                    None => Value::Null,
                }
            };
            match value {
                Value::Object(inner) if member.name.is_empty() => members.extend(inner),
                value => {
                    members.insert(member.name.to_owned(), value);
                }
            }
        }
        Value::Object(members)
    }

    fn bit_field(&self, ty: TypeId, offset: u32, bits: u8, bytes: &[u8]) -> Value {
        let (first, shift) = ((offset / 8) as usize, offset % 8);
        let bits = u32::from(bits).min(64);
        let needed = (shift + bits).div_ceil(8) as usize;
        let Some(bytes) = bytes.get(first..first + needed) else { return Value::Null };
        let mut word = [0; 16];
        word[..needed].copy_from_slice(bytes);
        let number = (u128::from_le_bytes(word) >> shift) & ((1 << bits) - 1);
        match self.btf.resolved(ty) {
            Some(Type::Int(int)) if int.is_bool() => (number != 0).into(),
            Some(Type::Int(int)) if int.is_signed() => {
                (((number << (128 - bits)) as i128 >> (128 - bits)) as i64).into()
            }
            Some(Type::Enum(of) | Type::Enum64(of)) => {
                let named = of.values.iter().find(|each| each.value == number as i64);
                named.map_or_else(|| (number as u64).into(), |each| each.name.into())
            }
            _ => (number as u64).into(),
        }
    }
}

fn integer(int: &Int<'_>, bytes: &[u8]) -> Value {
    match (int.is_bool(), int.is_signed(), bytes.len()) {
        (true, ..) => bytes.iter().any(|&byte| byte != 0).into(),
        (_, _, 9..) => {
            let number =
                bytes.iter().rev().fold(0_u128, |sum, &byte| (sum << 8) | u128::from(byte));
            json!(format!("0x{number:x}"))
        }
        (_, true, _) => signed(bytes).into(),
        _ => unsigned(bytes).into(),
    }
}

fn float(bytes: &[u8]) -> Value {
    let number = match *bytes {
        [a, b, c, d] => f64::from(f32::from_le_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => f64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => return hex(bytes).into(),
    };
    Number::from_f64(number).map_or_else(|| number.to_string().into(), Value::Number)
}

fn address(address: u64) -> Value {
    format!("0x{address:x}").into()
}

/// A little-endian number of at most eight bytes.
pub(crate) fn unsigned(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |sum, &byte| (sum << 8) | u64::from(byte))
}

fn signed(bytes: &[u8]) -> i64 {
    let unused = 64 - 8 * bytes.len().clamp(1, 8) as u32;
    ((unsigned(bytes) << unused) as i64) >> unused
}

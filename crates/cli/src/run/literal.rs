//! Values of `--set`: text to bytes, by the variable's type.

use bombus_btf::{Btf, Composite, Enumeration, Int, Type, TypeId};
use bombus_kernel::nearest;
use serde_json::Value;

/// The bytes of a value that is written `5`, `-1`, `0x1f`, `true`, `'c'`, `ENUMERATOR`, `some text`,
/// `[1, 2]` or `{"member": 1}`. What an array or structure does not say is zero.
pub(crate) fn bytes(btf: &Btf, id: TypeId, text: &str) -> Result<Vec<u8>, String> {
    let value = match text.trim_start().as_bytes().first() {
        Some(b'[' | b'{') => serde_json::from_str(text).map_err(|error| format!("{error}"))?,
        _ => Value::String(text.to_owned()),
    };
    let size = btf.size_of(id).ok_or("its type has no size")?;
    let mut bytes = vec![0; size as usize];
    Encoder { btf }.store(id, &value, &mut bytes)?;
    Ok(bytes)
}

/// The bytes of a variable of unknown type: an integer.
pub(crate) fn untyped(size: usize, text: &str) -> Result<Vec<u8>, String> {
    if !matches!(size, 1 | 2 | 4 | 8) {
        return Err(format!("it has {size} bytes and no type"));
    }
    let mut bytes = vec![0; size];
    store_integer(number(text)?, size, &mut bytes, text)?;
    Ok(bytes)
}

struct Encoder<'a> {
    btf: &'a Btf,
}

impl Encoder<'_> {
    /// Stores a value. `to` has as many bytes as the type.
    fn store(&self, id: TypeId, value: &Value, to: &mut [u8]) -> Result<(), String> {
        match self.btf.resolved(id).ok_or("its type is unknown")? {
            Type::Int(int) => integer(&int, value, to),
            Type::Ptr(_) => store_integer(number(&word(value)?)?, 8, to, &word(value)?),
            Type::Float(..) => float(value, to),
            Type::Enum(of) | Type::Enum64(of) => enumerator(&of, value, to),
            Type::Array { element, len, .. } => self.array(element, len, value, to),
            Type::Struct(of) | Type::Union(of) => self.members(&of, value, to),
            _ => Err("its type has no values".to_owned()),
        }
    }

    fn array(&self, id: TypeId, len: u32, value: &Value, to: &mut [u8]) -> Result<(), String> {
        if let Value::String(text) = value {
            let is_byte = matches!(self.btf.resolved(id), Some(Type::Int(int)) if int.size == 1);
            return match (is_byte, unquoted(text)) {
                (false, _) => Err(format!("it is an array: [{text}]")),
                // The zero at the end has to fit.
                (true, text) if text.len() >= to.len() => Err(format!(
                    "the text has {} bytes, there is room for {}",
                    text.len(),
                    to.len().saturating_sub(1)
                )),
                (true, text) => {
                    to[..text.len()].copy_from_slice(text.as_bytes());
                    Ok(())
                }
            };
        }
        let Value::Array(elements) = value else { return Err("it is an array: [...]".to_owned()) };
        if elements.len() > len as usize {
            return Err(format!("it has {len} elements, not {}", elements.len()));
        }
        let size =
            self.btf.size_of(id).filter(|&size| size > 0).ok_or("its elements have no size")?;
        let places = to.chunks_exact_mut(size as usize);
        elements.iter().zip(places).try_for_each(|(value, to)| self.store(id, value, to))
    }

    fn members(&self, of: &Composite<'_>, value: &Value, to: &mut [u8]) -> Result<(), String> {
        let Value::Object(values) = value else {
            return Err("it is a structure: {\"member\": value}".to_owned());
        };
        for (name, value) in values {
            let member = of.members.iter().find(|member| member.name == name);
            let member = member.ok_or_else(|| {
                let names = of.members.iter().map(|member| member.name);
                with_nearest(&format!("it has no member {name}"), name, names)
            })?;
            if member.bit_size > 0 {
                return Err(format!("bit field {name} cannot be set"));
            }
            let start = (member.bit_offset / 8) as usize;
            let size = self.btf.size_of(member.ty).unwrap_or(0) as usize;
            let place = to.get_mut(start..start.saturating_add(size));
            let place = place.ok_or_else(|| format!("member {name} lies outside"))?;
            self.store(member.ty, value, place).map_err(|why| format!("{name}: {why}"))?;
        }
        Ok(())
    }
}

fn integer(int: &Int<'_>, value: &Value, to: &mut [u8]) -> Result<(), String> {
    let text = word(value)?;
    if int.is_bool() {
        let bit = match text.as_str() {
            "true" | "1" => 1,
            "false" | "0" => 0,
            _ => return Err(format!("{text} is neither true nor false")),
        };
        to.fill(0);
        to.first_mut().into_iter().for_each(|byte| *byte = bit);
        return Ok(());
    }
    let number = match text.as_bytes() {
        &[b'\'', char, b'\''] => i128::from(char),
        _ => number(&text)?,
    };
    if !int.is_signed() && number < 0 {
        return Err(format!("{text} is below zero, {} is not", int.name));
    }
    let bits = 8 * to.len().min(8) as u32;
    if int.is_signed() && number >= 1 << (bits - 1) {
        return Err(too_large(&text, to.len()));
    }
    store_integer(number, to.len(), to, &text)
}

/// Stores a number where it fits, as signed or as unsigned.
fn store_integer(number: i128, size: usize, to: &mut [u8], text: &str) -> Result<(), String> {
    let bits = 8 * size.min(8) as u32;
    if !(-(1_i128 << (bits - 1))..1_i128 << bits).contains(&number) {
        return Err(too_large(text, size));
    }
    let bytes = number.to_le_bytes();
    to.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    Ok(())
}

fn too_large(text: &str, size: usize) -> String {
    format!("{text} does not fit into {size} byte{}", if size == 1 { "" } else { "s" })
}

fn float(value: &Value, to: &mut [u8]) -> Result<(), String> {
    let text = word(value)?;
    let number: f64 = text.parse().map_err(|_| format!("{text} is not a number"))?;
    match to.len() {
        4 => to.copy_from_slice(&(number as f32).to_le_bytes()),
        8 => to.copy_from_slice(&number.to_le_bytes()),
        size => return Err(format!("floats of {size} bytes cannot be set")),
    }
    Ok(())
}

fn enumerator(of: &Enumeration<'_>, value: &Value, to: &mut [u8]) -> Result<(), String> {
    let text = word(value)?;
    let named = of.values.iter().find(|each| each.name == text);
    let size = to.len();
    match named {
        Some(each) if of.signed => store_integer(i128::from(each.value), size, to, &text),
        Some(each) => store_integer(i128::from(each.value as u64), size, to, &text),
        None => {
            let number = number(&text).map_err(|_| {
                let names = of.values.iter().map(|each| each.name);
                with_nearest(&format!("there is no {text}"), &text, names)
            })?;
            store_integer(number, size, to, &text)
        }
    }
}

/// A single value as text, whichever way JSON has it.
fn word(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(bool) => Ok(bool.to_string()),
        _ => Err("it is a single value".to_owned()),
    }
}

/// Without the quotes around it, if there are.
fn unquoted(text: &str) -> &str {
    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text)
}

/// An integer in decimal, hexadecimal (`0x`), octal (`0`, as in C) or binary (`0b`) form.
fn number(text: &str) -> Result<i128, String> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    // At most 64 bits and a sign: that leaves room for the product.
    match u64::from_str_radix(digits, radix) {
        Ok(number) if !digits.starts_with('+') => Ok(sign * i128::from(number)),
        _ => Err(format!("{text} is not an integer of at most 64 bits")),
    }
}

/// A complaint about a name, with the one that it was most likely meant to be.
pub(crate) fn with_nearest<'a>(
    complaint: &str,
    name: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> String {
    match nearest(name, names) {
        Some(near) => format!("{complaint}; did you mean {near}?"),
        None => complaint.to_owned(),
    }
}

//! Walks over a value along its type. What is shown and how is bpftool's choice (`btf_dumper.c` of
//! bpftool 7.1), so that scripts that read its output go on to work.

use std::fmt::Write;

use super::text::Punctuation;
use super::{Style, ValueError};
use crate::{Btf, Enumeration, Int, Kind, Member, Type, TypeId};

type Result = std::result::Result<(), ValueError>;

/// How deep values nest.
const MAX_DEPTH: u32 = 64;
/// Parts of a value, for each byte and in all: bit fields have several in a byte, and some
/// structures have parts of no size.
const PARTS_PER_BYTE: usize = 16;
const PARTS: usize = 1 << 16;

pub(super) struct Printer<'a, 'w, W> {
    btf: &'a Btf,
    data: &'a [u8],
    text: Punctuation<'w, W>,
    parts_left: usize,
}

impl<'a, 'w, W: Write> Printer<'a, 'w, W> {
    pub(super) fn new(btf: &'a Btf, data: &'a [u8], style: Style, out: &'w mut W) -> Self {
        let parts_left = PARTS + data.len().saturating_mul(PARTS_PER_BYTE);
        Printer { btf, data, text: Punctuation::new(out, style), parts_left }
    }

    /// Writes the value that starts at this bit of the data.
    pub(super) fn value(&mut self, ty: TypeId, bit: u64, depth: u32) -> Result {
        if depth > MAX_DEPTH || self.parts_left == 0 {
            return Err(ValueError::TooComplex(ty));
        }
        self.parts_left -= 1;
        let id = self.btf.resolve(ty).ok_or(ValueError::NoValue(ty))?;
        let start = bit / 8;
        match self.btf.ty(id).ok_or(ValueError::NoValue(ty))? {
            Type::Int(int) => self.int(&int, bit),
            Type::Enum(enumeration) => self.enumeration(id, &enumeration, false, start),
            Type::Enum64(enumeration) => self.enumeration(id, &enumeration, true, start),
            Type::Ptr(_) => self.pointer(start),
            Type::Float(_, size) => self.float(id, size, start),
            Type::Array { element, len, .. } => self.array(element, len, start, depth),
            Type::Struct(composite) | Type::Union(composite) => {
                self.text.open('{')?;
                for member in composite.members {
                    self.text.name(member.name)?;
                    self.member(&member, bit, depth)?;
                }
                Ok(self.text.close('}')?)
            }
            Type::Var { name, ty, .. } => {
                self.text.open('{')?;
                self.text.name(name)?;
                self.value(ty, bit, depth + 1)?;
                Ok(self.text.close('}')?)
            }
            Type::Datasec { name, vars, .. } => {
                self.text.open('{')?;
                self.text.name(name)?;
                self.text.open('[')?;
                for var in vars {
                    self.value(var.ty, bit + u64::from(var.offset) * 8, depth + 1)?;
                }
                self.text.close(']')?;
                Ok(self.text.close('}')?)
            }
            Type::Fwd { .. }
            | Type::Func { .. }
            | Type::FuncProto { .. }
            | Type::DeclTag { .. }
            | Type::Typedef(..)
            | Type::Volatile(_)
            | Type::Const(_)
            | Type::Restrict(_)
            | Type::TypeTag(..) => Err(ValueError::NoValue(ty)),
        }
    }

    fn member(&mut self, member: &Member<'_>, bit: u64, depth: u32) -> Result {
        let at = bit + u64::from(member.bit_offset);
        if member.bit_size == 0 {
            return self.value(member.ty, at, depth + 1);
        }
        let ty = self.btf.resolved(member.ty);
        let signed = match ty {
            Some(Type::Int(int)) => int.is_signed(),
            Some(Type::Enum(enumeration) | Type::Enum64(enumeration)) => enumeration.signed,
            _ => false,
        };
        self.bits(at, member.bit_size.into(), signed)
    }

    /// The bytes from `start` on.
    fn bytes(&self, start: u64, len: usize) -> std::result::Result<&'a [u8], ValueError> {
        let needed = (start as usize).saturating_add(len);
        let bytes = self.data.get(start as usize..).and_then(|bytes| bytes.get(..len));
        bytes.ok_or(ValueError::Short { needed, found: self.data.len() })
    }

    /// A number of this many bytes, at most 16.
    fn number(&self, start: u64, len: usize) -> std::result::Result<u128, ValueError> {
        let mut bytes = [0; 16];
        let len = len.min(bytes.len());
        bytes[..len].copy_from_slice(self.bytes(start, len)?);
        Ok(u128::from_le_bytes(bytes))
    }

    /// A bit field, or an integer that is not made of whole bytes.
    fn bits(&mut self, bit: u64, count: u32, signed: bool) -> Result {
        let within = (bit % 8) as u32;
        let count = count.min(128 - within);
        let number = self.number(bit / 8, (within + count).div_ceil(8) as usize)?;
        let unused = 128 - count;
        let number = (number >> within).checked_shl(unused).unwrap_or(0);
        let value = number.checked_shr(unused).unwrap_or(0);
        match self.text.style {
            Style::C if signed => {
                let value = (number as i128).checked_shr(unused).unwrap_or(0);
                Ok(self.text.token(value)?)
            }
            Style::C => Ok(self.text.token(value)?),
            _ => Ok(self.text.quoted_in_json(format_args!("{value:#x}"))?),
        }
    }

    fn int(&mut self, int: &Int<'_>, bit: u64) -> Result {
        let bit = bit + u64::from(int.bit_offset);
        let whole = bit.is_multiple_of(8) && matches!(int.bits, 8 | 16 | 32 | 64);
        let (bytes, start) = (usize::from(int.bits) / 8, bit / 8);
        match int.encoding {
            Int::CHAR if bit.is_multiple_of(8) => {
                let byte = self.number(start, 1)? as u8;
                self.char(byte)
            }
            Int::BOOL if bit.is_multiple_of(8) => {
                let value = self.number(start, 1)? != 0;
                Ok(self.text.token(value)?)
            }
            0 if whole => {
                let value = self.number(start, bytes)?;
                Ok(self.text.token(value)?)
            }
            Int::SIGNED if whole => {
                let value = self.signed(start, bytes)?;
                Ok(self.text.token(value)?)
            }
            _ => self.bits(bit, int.bits.into(), int.is_signed()),
        }
    }

    fn signed(&self, start: u64, bytes: usize) -> std::result::Result<i64, ValueError> {
        let unused = 64 - 8 * bytes.clamp(1, 8) as u32;
        Ok(((self.number(start, bytes)? as u64) << unused) as i64 >> unused)
    }

    fn char(&mut self, byte: u8) -> Result {
        let printable = byte.is_ascii_graphic() || byte == b' ';
        match (self.text.style, printable) {
            (Style::C, _) => self.text.token(format_args!("{:?}", char::from(byte)))?,
            (_, true) => self.text.string(char::from(byte).encode_utf8(&mut [0; 4]))?,
            (Style::Plain(_), false) => self.text.token(format_args!("{byte:#x}"))?,
            (_, false) => self.text.token(format_args!("\"\\u00{byte:02x}\""))?,
        }
        Ok(())
    }

    fn pointer(&mut self, start: u64) -> Result {
        let value = self.number(start, 8)?;
        match (self.text.style, value) {
            (Style::Plain(_), 0) => self.text.token("(nil)")?,
            (Style::C | Style::Plain(_), _) => self.text.token(format_args!("{value:#x}"))?,
            _ => self.text.token(value)?,
        }
        Ok(())
    }

    /// bpftool shows none of them.
    fn float(&mut self, id: TypeId, size: u32, start: u64) -> Result {
        let value = match size {
            4 => f64::from(f32::from_bits(self.number(start, 4)? as u32)),
            8 => f64::from_bits(self.number(start, 8)? as u64),
            _ => return Err(ValueError::NoValue(id)),
        };
        match value.is_finite() {
            true => self.text.token(value)?,
            false => self.text.quoted_in_json(value)?,
        }
        Ok(())
    }

    fn enumeration(
        &mut self,
        id: TypeId,
        enumeration: &Enumeration<'_>,
        is_64: bool,
        start: u64,
    ) -> Result {
        let size = if is_64 { 8 } else { enumeration.size as usize };
        if !matches!(size, 1 | 2 | 4 | 8) {
            return Err(ValueError::NoValue(id));
        }
        // Values are compared, and those without name shown, as signed ones.
        let value = self.signed(start, size)?;
        let same =
            |other: i64| if is_64 { other == value } else { i64::from(other as i32) == value };
        match enumeration.values.iter().find(|enumerator| same(enumerator.value)) {
            Some(enumerator) if self.text.style == Style::C => self.text.token(enumerator.name)?,
            Some(enumerator) => self.text.string(enumerator.name)?,
            None => self.text.token(value)?,
        }
        Ok(())
    }

    fn array(&mut self, element: TypeId, len: u32, start: u64, depth: u32) -> Result {
        if let Some(text) = self.text_in(element, len, start) {
            return Ok(self.text.string(text)?);
        }
        let size = self.btf.size_of(element).ok_or(ValueError::NoValue(element))?;
        self.text.open('[')?;
        for index in 0..u64::from(len) {
            self.value(element, (start + index * u64::from(size)) * 8, depth + 1)?;
        }
        Ok(self.text.close(']')?)
    }

    /// The text of an array of characters that ends with a zero byte and has nothing else in it.
    fn text_in(&self, element: TypeId, len: u32, start: u64) -> Option<&'a str> {
        // A typedef of `char` is no character to bpftool.
        let mut id = element;
        for _ in 0..MAX_DEPTH {
            match self.btf.record(id)? {
                record if record.kind.is_modifier() => id = TypeId(record.size_or_type),
                _ => break,
            }
        }
        let Some(Type::Int(int)) = self.btf.ty(id).filter(|ty| ty.kind() == Kind::Int) else {
            return None;
        };
        if int.size != 1 || (int.encoding != Int::CHAR && int.name != "char") {
            return None;
        }
        let bytes = self.bytes(start, len as usize).ok()?;
        let text = &bytes[..bytes.iter().position(|&byte| byte == 0)?];
        let printable = text.iter().all(|&byte| byte.is_ascii_graphic() || byte == b' ');
        str::from_utf8(text).ok().filter(|_| printable)
    }
}

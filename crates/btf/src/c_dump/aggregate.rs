//! Structures, unions and enumerations, written out.

use std::fmt::Write;

use super::{DumpError, Result, Writer};
use crate::btf::Record;
use crate::raw::number;
use crate::{Kind, Type, TypeId};

/// Integer types that fill gaps, with their bits.
const FILLERS: [(&str, i64); 4] = [("long", 64), ("int", 32), ("short", 16), ("char", 8)];

/// A hole before a member or at the end of a structure, in bits.
struct Gap {
    from: i64,
    to: i64,
    /// Alignment in bytes of what comes after it.
    align: i64,
    /// Whether it lies between two bit fields.
    in_bit_field: bool,
}

impl<'a, W: Write> Writer<'_, 'a, W> {
    /// `struct name`.
    pub(super) fn composite_name(&mut self, id: TypeId, record: &Record<'a>) -> Result {
        self.out.write_str(if record.kind == Kind::Struct { "struct" } else { "union" })?;
        self.tag(id, record)
    }

    /// What was only declared when the types were made.
    pub(super) fn forward(&mut self, id: TypeId, record: &Record<'a>) -> Result {
        self.out.write_str(if record.flag { "union" } else { "struct" })?;
        self.tag(id, record)
    }

    /// The name of a structure, union or enumeration after its keyword.
    pub(super) fn tag(&mut self, id: TypeId, record: &Record<'a>) -> Result {
        if record.name == 0 {
            return Ok(());
        }
        self.out.write_char(' ')?;
        let name = self.declarations.name(record);
        let tag = self.declarations.tag(id, name);
        Ok(self.out.write_str(tag)?)
    }

    /// `struct name { ... }`.
    pub(super) fn composite(&mut self, id: TypeId, level: usize, depth: u32) -> Result {
        let record = self.declarations.types.record(id).ok_or(DumpError::Malformed(id))?;
        let Some(Type::Struct(composite) | Type::Union(composite)) = self.declarations.btf.ty(id)
        else {
            return Err(DumpError::Malformed(id));
        };
        let is_struct = record.kind == Kind::Struct;
        let align = i64::from(self.align(id));
        let packed = is_struct && self.declarations.alignments.is_packed(id);
        self.composite_name(id, &record)?;
        self.out.write_str(" {")?;
        let mut offset = 0;
        let mut after_bit_field = false;
        for member in composite.members {
            let start = i64::from(member.bit_offset);
            let is_bit_field = member.bit_size != 0;
            let gap = Gap {
                from: offset,
                to: start,
                align: if packed { 1 } else { i64::from(self.align(member.ty)) },
                in_bit_field: after_bit_field && is_bit_field,
            };
            self.fill(id, &gap, level + 1)?;
            self.line(level + 1)?;
            self.declarator(member.ty, member.name, level + 1, depth + 1)?;
            if is_bit_field {
                self.out.write_str(": ")?;
                number(self.out, member.bit_size.into())?;
                offset = start + i64::from(member.bit_size);
            } else {
                let size = self.declarations.btf.size_of(member.ty).unwrap_or_default();
                offset = start + i64::from(size) * 8;
            }
            after_bit_field = is_bit_field;
            self.out.write_char(';')?;
        }
        if is_struct {
            let to = i64::from(composite.size) * 8;
            self.fill(id, &Gap { from: offset, to, align, in_bit_field: false }, level + 1)?;
        }
        if !composite.members.is_empty() || composite.size != 0 {
            self.line(level)?;
        }
        self.out.write_char('}')?;
        if packed {
            self.out.write_str(" __attribute__((packed))")?;
        }
        Ok(())
    }

    /// `enum name { ... }`, or only its name when it has no values.
    pub(super) fn enumeration(&mut self, id: TypeId, level: usize) -> Result {
        let record = self.declarations.types.record(id).ok_or(DumpError::Malformed(id))?;
        let is_64 = record.kind == Kind::Enum64;
        let enumeration = self.declarations.btf.ty(id).and_then(|ty| ty.enumeration());
        let enumeration = enumeration.ok_or(DumpError::Malformed(id))?;
        self.out.write_str("enum")?;
        self.tag(id, &record)?;
        if enumeration.values.is_empty() {
            return Ok(());
        }
        self.out.write_str(" {")?;
        for value in enumeration.values {
            self.line(level + 1)?;
            self.out.write_str(value.name)?;
            let uses = self.declarations.identifiers.entry(value.name).or_default();
            *uses += 1;
            if *uses > 1 {
                write!(self.out, "___{uses}")?;
            }
            match (enumeration.signed, is_64) {
                (true, false) => write!(self.out, " = {},", value.value)?,
                (true, true) => write!(self.out, " = {}LL,", value.value)?,
                (false, false) => {
                    self.out.write_str(" = ")?;
                    number(self.out, value.value as u32)?;
                    self.out.write_char(',')?;
                }
                (false, true) => write!(self.out, " = {}ULL,", value.value as u64)?,
            }
        }
        self.line(level)?;
        self.out.write_char('}')?;
        if enumeration.size == 1 {
            self.out.write_str(" __attribute__((mode(byte)))")?;
        }
        // A value that needs 64 bits makes the enumeration that wide by itself.
        let wide_value = is_64 && enumeration.values.iter().any(|value| value.value >> 32 != 0);
        if enumeration.size == 8 && !wide_value {
            self.out.write_str(" __attribute__((mode(word)))")?;
        }
        Ok(())
    }

    /// A new line, this many tabs in.
    fn line(&mut self, level: usize) -> Result {
        const TABS: &str = "\n\t\t\t\t\t\t\t\t";
        match TABS.get(..=level) {
            Some(text) => self.out.write_str(text)?,
            None => {
                self.out.write_str(TABS)?;
                (TABS.len()..=level).try_for_each(|_| self.out.write_char('\t'))?;
            }
        }
        Ok(())
    }

    /// 1 where there is none.
    fn align(&mut self, id: TypeId) -> u32 {
        self.declarations.alignments.of(id).unwrap_or(1)
    }

    /// Fills a gap with bit fields without name, as few as the compiler's own alignment allows.
    fn fill(&mut self, id: TypeId, gap: &Gap, level: usize) -> Result {
        let Gap { mut from, to, align, in_bit_field } = *gap;
        if from >= to {
            return Ok(());
        }
        let up = |offset: i64, bits: i64| (offset + bits - 1) / bits * bits;
        // The widest integer whose boundary is within the gap.
        let (name, bits) =
            FILLERS.into_iter().find(|(_, bits)| up(from, *bits) <= to).unwrap_or(FILLERS[3]);
        let boundary = up(from, bits);
        if boundary > from && boundary <= to {
            // The compiler goes to the boundary by itself unless what follows needs less alignment,
            // or what is left after it would fit before it.
            let explicit = in_bit_field
                || (boundary == to && up(from, align * 8) != boundary)
                || (boundary != to && to - boundary <= boundary - from);
            if explicit {
                let width = if in_bit_field { boundary - from } else { 0 };
                self.filler(id, name, width, level)?;
            }
            from = boundary;
        }
        while from < to {
            let rest = (to - from).min(bits);
            let (name, _) = match rest == bits {
                true => (name, bits),
                // The narrowest that it fits into.
                false => FILLERS.into_iter().rfind(|(_, bits)| *bits >= rest).unwrap_or(FILLERS[0]),
            };
            self.filler(id, name, rest, level)?;
            from += rest;
        }
        Ok(())
    }

    fn filler(&mut self, id: TypeId, name: &str, bits: i64, level: usize) -> Result {
        self.declarations.work(id, 0)?;
        self.line(level)?;
        self.out.write_str(name)?;
        self.out.write_str(": ")?;
        number(self.out, bits as u32)?;
        Ok(self.out.write_char(';')?)
    }
}

//! Structures, unions and enumerations, written out.

use super::{Declarations, DumpError, Name, Result};
use crate::layout::size_of;
use crate::record::Record;
use crate::{Kind, TypeId};

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

impl<'a> Declarations<'a> {
    /// `struct name`.
    pub(super) fn composite_name(&mut self, id: TypeId, record: &Record<'a>) -> Result {
        self.text.push(if record.kind == Kind::Struct { "struct" } else { "union" });
        self.tag(id, record)
    }

    /// What was only declared when the types were made.
    pub(super) fn forward(&mut self, id: TypeId, record: &Record<'a>) -> Result {
        self.text.push(if record.flag { "union" } else { "struct" });
        self.tag(id, record)
    }

    /// The name of a structure, union or enumeration after its keyword.
    pub(super) fn tag(&mut self, id: TypeId, record: &Record<'a>) -> Result {
        if record.name == 0 {
            return Ok(());
        }
        self.text.push(" ");
        self.write_tag(id, record)
    }

    /// `struct name { ... }`.
    pub(super) fn composite(&mut self, id: TypeId, level: usize, depth: u32) -> Result {
        let record = self.types.record(id).ok_or(DumpError::Malformed(id))?;
        let is_struct = record.kind == Kind::Struct;
        let packed = is_struct && self.alignments.is_packed(id);
        self.composite_name(id, &record)?;
        self.text.push(" {");
        let mut offset = 0;
        let mut after_bit_field = false;
        for (index, (ty, bit_offset, bit_size)) in record.members().enumerate() {
            let start = i64::from(bit_offset);
            let is_bit_field = bit_size != 0;
            if offset < start {
                let gap = Gap {
                    from: offset,
                    to: start,
                    align: if packed { 1 } else { self.align(ty) },
                    in_bit_field: after_bit_field && is_bit_field,
                };
                self.fill(id, &gap, level + 1)?;
            }
            self.text.push_line(level + 1);
            self.declarator(ty, Name::At(record.entry_name(index)), level + 1, depth + 1)?;
            if is_bit_field {
                self.text.push(": ");
                self.text.push_number(bit_size.into());
                offset = start + i64::from(bit_size);
            } else {
                let size = size_of(self.types, ty).unwrap_or_default();
                offset = start + i64::from(size) * 8;
            }
            after_bit_field = is_bit_field;
            self.text.push(";");
        }
        let end = i64::from(record.size_or_type) * 8;
        if is_struct && offset < end {
            let align = self.align(id);
            let gap = Gap { from: offset, to: end, align, in_bit_field: false };
            self.fill(id, &gap, level + 1)?;
        }
        if record.count != 0 || record.size_or_type != 0 {
            self.text.push_line(level);
        }
        self.text.push("}");
        if packed {
            self.text.push(" __attribute__((packed))");
        }
        Ok(())
    }

    /// `enum name { ... }`, or only its name when it has no values.
    pub(super) fn enumeration(&mut self, id: TypeId, level: usize) -> Result {
        let record = self.types.record(id).ok_or(DumpError::Malformed(id))?;
        let is_64 = record.kind == Kind::Enum64;
        self.text.push("enum");
        self.tag(id, &record)?;
        if record.count == 0 {
            return Ok(());
        }
        self.text.push(" {");
        let mut has_wide_value = false;
        for index in 0..record.count.into() {
            self.check_text(id)?;
            self.text.push_line(level + 1);
            let name = record.entry_name(index);
            self.text.push_name(self.types, name);
            let uses = self.identifiers.add(self.types, name);
            if uses > 1 {
                self.text.push("___");
                self.text.push_number(uses.into());
            }
            self.text.push(" = ");
            if is_64 {
                let high = record.word(index * 3 + 2);
                let value = (u64::from(high) << 32) | u64::from(record.word(index * 3 + 1));
                has_wide_value |= high != 0;
                match record.flag {
                    true => self.text.push_signed(value as i64),
                    false => self.text.push_number(value),
                }
                self.text.push(if record.flag { "LL," } else { "ULL," });
            } else {
                let value = record.word(index * 2 + 1);
                match record.flag {
                    true => self.text.push_signed((value as i32).into()),
                    false => self.text.push_number(value.into()),
                }
                self.text.push(",");
            }
        }
        self.text.push_line(level);
        self.text.push("}");
        if record.size_or_type == 1 {
            self.text.push(" __attribute__((mode(byte)))");
        }
        // A value that needs 64 bits makes the enumeration that wide by itself.
        if record.size_or_type == 8 && !has_wide_value {
            self.text.push(" __attribute__((mode(word)))");
        }
        Ok(())
    }

    /// 1 where there is none.
    fn align(&mut self, id: TypeId) -> i64 {
        self.alignments.of(id).unwrap_or(1).into()
    }

    /// Fills a gap with bit fields without name, as few as the compiler's own alignment allows.
    fn fill(&mut self, id: TypeId, gap: &Gap, level: usize) -> Result {
        let Gap { mut from, to, align, in_bit_field } = *gap;
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
        self.work(id, 0)?;
        self.check_text(id)?;
        self.text.push_line(level);
        self.text.push(name);
        self.text.push(": ");
        self.text.push_number(bits as u64);
        self.text.push(";");
        Ok(())
    }
}

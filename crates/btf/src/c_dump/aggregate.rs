//! Structures, unions and enumerations, written out.

use super::{Declarations, DumpError, Result};
use crate::btf::Record;
use crate::layout::size_of;
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
        self.write(if record.kind == Kind::Struct { "struct" } else { "union" });
        self.tag(id, record)
    }

    /// What was only declared when the types were made.
    pub(super) fn forward(&mut self, id: TypeId, record: &Record<'a>) -> Result {
        self.write(if record.flag { "union" } else { "struct" });
        self.tag(id, record)
    }

    /// The name of a structure, union or enumeration after its keyword.
    pub(super) fn tag(&mut self, id: TypeId, record: &Record<'a>) -> Result {
        if record.name == 0 {
            return Ok(());
        }
        self.write(" ");
        self.write_tag(id, record)
    }

    /// `struct name { ... }`.
    pub(super) fn composite(&mut self, id: TypeId, level: usize, depth: u32) -> Result {
        let record = self.types.record(id).ok_or(DumpError::Malformed(id))?;
        let is_struct = record.kind == Kind::Struct;
        let align = i64::from(self.align(id));
        let packed = is_struct && self.alignments.is_packed(id);
        self.composite_name(id, &record)?;
        self.write(" {");
        let mut offset = 0;
        let mut after_bit_field = false;
        for (index, (ty, bit_offset, bit_size)) in record.members().enumerate() {
            let start = i64::from(bit_offset);
            let is_bit_field = bit_size != 0;
            let gap = Gap {
                from: offset,
                to: start,
                align: if packed { 1 } else { i64::from(self.align(ty)) },
                in_bit_field: after_bit_field && is_bit_field,
            };
            self.fill(id, &gap, level + 1)?;
            self.line(level + 1);
            let name = self.types.name(record.entry_name(index));
            self.declarator(ty, name, level + 1, depth + 1)?;
            if is_bit_field {
                self.write(": ");
                self.write_number(bit_size.into());
                offset = start + i64::from(bit_size);
            } else {
                let size = size_of(self.types, ty).unwrap_or_default();
                offset = start + i64::from(size) * 8;
            }
            after_bit_field = is_bit_field;
            self.write(";");
        }
        if is_struct {
            let to = i64::from(record.size_or_type) * 8;
            self.fill(id, &Gap { from: offset, to, align, in_bit_field: false }, level + 1)?;
        }
        if record.count != 0 || record.size_or_type != 0 {
            self.line(level);
        }
        self.write("}");
        if packed {
            self.write(" __attribute__((packed))");
        }
        Ok(())
    }

    /// `enum name { ... }`, or only its name when it has no values.
    pub(super) fn enumeration(&mut self, id: TypeId, level: usize) -> Result {
        let record = self.types.record(id).ok_or(DumpError::Malformed(id))?;
        let is_64 = record.kind == Kind::Enum64;
        self.write("enum");
        self.tag(id, &record)?;
        if record.count == 0 {
            return Ok(());
        }
        self.write(" {");
        let mut has_wide_value = false;
        for index in 0..record.count.into() {
            self.check_text(id)?;
            self.line(level + 1);
            let name = self.types.name(record.entry_name(index));
            self.text.extend_from_slice(name);
            let uses = self.identifiers.entry(name).or_default();
            *uses += 1;
            let uses = *uses;
            if uses > 1 {
                self.write("___");
                self.write_number(uses.into());
            }
            self.write(" = ");
            if is_64 {
                let high = record.word(index * 3 + 2);
                let value = (u64::from(high) << 32) | u64::from(record.word(index * 3 + 1));
                has_wide_value |= high != 0;
                match record.flag {
                    true => self.write_signed(value as i64),
                    false => self.write_number(value),
                }
                self.write(if record.flag { "LL," } else { "ULL," });
            } else {
                let value = record.word(index * 2 + 1);
                match record.flag {
                    true => self.write_signed((value as i32).into()),
                    false => self.write_number(value.into()),
                }
                self.write(",");
            }
        }
        self.line(level);
        self.write("}");
        if record.size_or_type == 1 {
            self.write(" __attribute__((mode(byte)))");
        }
        // A value that needs 64 bits makes the enumeration that wide by itself.
        if record.size_or_type == 8 && !has_wide_value {
            self.write(" __attribute__((mode(word)))");
        }
        Ok(())
    }

    /// A new line, this many tabs in.
    fn line(&mut self, level: usize) {
        self.write("\n");
        self.text.resize(self.text.len() + level, b'\t');
    }

    /// 1 where there is none.
    fn align(&mut self, id: TypeId) -> u32 {
        self.alignments.of(id).unwrap_or(1)
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
        self.work(id, 0)?;
        self.line(level);
        self.write(name);
        self.write(": ");
        self.write_number(bits as u64);
        self.write(";");
        Ok(())
    }
}

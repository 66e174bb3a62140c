//! What is being written: bytes, put together in small pieces.

use std::fmt::Write;

use super::Result;
use crate::btf::View;
use crate::raw;

/// What was written and not handed on yet. Names come from the blob as bytes; that they are text is
/// checked for all of it at once.
#[derive(Default)]
pub(super) struct Text(Vec<u8>);

/// A new line with as many tabs as are common.
const INDENTED: &[u8; 16] = b"\n\t\t\t\t\t\t\t\t\t\t\t\t\t\t\t";

impl Text {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    pub(super) fn push(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(super) fn push_bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// A name of the blob; nothing when there is none.
    #[inline]
    pub(super) fn push_name(&mut self, types: View<'_>, offset: u32) {
        types.push_name(offset, &mut self.0);
    }

    /// A space and a name of the blob; nothing when there is none.
    #[inline]
    pub(super) fn push_spaced_name(&mut self, types: View<'_>, offset: u32) {
        let start = self.0.len();
        self.0.push(b' ');
        types.push_name(offset, &mut self.0);
        if self.0.len() == start + 1 {
            self.0.truncate(start);
        }
    }

    pub(super) fn push_number(&mut self, number: u64) {
        if number < 10 {
            return self.0.push(b'0' + number as u8);
        }
        self.0.extend_from_slice(raw::digits(number, &mut [0; 20]));
    }

    pub(super) fn push_signed(&mut self, number: i64) {
        if number < 0 {
            self.push("-");
        }
        self.push_number(number.unsigned_abs());
    }

    /// A new line, this many tabs in.
    #[inline]
    pub(super) fn push_line(&mut self, level: usize) {
        let end = self.0.len() + 1 + level;
        self.0.extend_from_slice(INDENTED);
        if level < INDENTED.len() {
            self.0.truncate(end);
        } else {
            self.0.resize(end, b'\t');
        }
    }

    /// Takes away what was written from here on.
    pub(super) fn split_off(&mut self, start: usize) -> Vec<u8> {
        self.0.split_off(start)
    }

    /// Gives what was written to its receiver.
    pub(super) fn hand_on(&mut self, out: &mut impl Write) -> Result {
        if let Ok(text) = str::from_utf8(&self.0) {
            out.write_str(text)?;
        } else {
            for chunk in self.0.utf8_chunks() {
                out.write_str(chunk.valid())?;
                if !chunk.invalid().is_empty() {
                    out.write_char(char::REPLACEMENT_CHARACTER)?;
                }
            }
        }
        self.0.clear();
        Ok(())
    }
}

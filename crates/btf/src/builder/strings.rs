//! The table of strings of a blob under construction.

use std::collections::HashMap;

/// Strings one after the other, each ended by a zero. Offset 0 is the empty string.
#[derive(Clone, Debug)]
pub(super) struct Strings {
    bytes: Vec<u8>,
    /// The offset of the first byte.
    first: u32,
    offsets: HashMap<Box<[u8]>, u32>,
}

impl Default for Strings {
    fn default() -> Strings {
        Strings { bytes: vec![0], first: 0, offsets: HashMap::new() }
    }
}

impl Strings {
    /// Those of a blob that goes on from one whose strings end at `first`.
    pub(super) fn after(first: u32) -> Strings {
        Strings { bytes: Vec::new(), first, offsets: HashMap::new() }
    }

    /// A table as it stands in a blob.
    pub(super) fn from_table(table: &[u8], first: u32) -> Strings {
        let mut offsets = HashMap::new();
        let mut at = 0;
        for string in table.split(|&byte| byte == 0) {
            if !string.is_empty() {
                offsets.entry(string.into()).or_insert(first + at);
            }
            at += string.len() as u32 + 1;
        }
        Strings { bytes: table.to_vec(), first, offsets }
    }

    /// Where a string is; it joins the others if it is new. It ends at its first zero.
    pub(super) fn offset(&mut self, text: &[u8]) -> u32 {
        let text = text.split(|&byte| byte == 0).next().unwrap_or_default();
        if text.is_empty() {
            return 0;
        }
        if let Some(&offset) = self.offsets.get(text) {
            return offset;
        }
        let offset = self.first + self.bytes.len() as u32;
        self.bytes.extend_from_slice(text);
        self.bytes.push(0);
        self.offsets.insert(text.into(), offset);
        offset
    }

    /// The string at `offset`, if it is one of its own.
    pub(super) fn get(&self, offset: u32) -> Option<&[u8]> {
        let bytes = self.bytes.get(offset.checked_sub(self.first)? as usize..)?;
        bytes.split(|&byte| byte == 0).next()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

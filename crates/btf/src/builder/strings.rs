//! The table of strings of a blob under construction.

use crate::known::Known;

/// Strings one after the other, each ended by a zero. Offset 0 is the empty string.
#[derive(Clone, Debug)]
pub(super) struct Strings {
    bytes: Vec<u8>,
    /// The offset of the first byte.
    first: u32,
    /// Where each string is in `bytes`.
    known: Known,
}

impl Default for Strings {
    fn default() -> Strings {
        Strings { bytes: vec![0], first: 0, known: Known::default() }
    }
}

impl Strings {
    /// Those of a blob that goes on from one whose strings end at `first`.
    pub(super) fn after(first: u32) -> Strings {
        Strings { bytes: Vec::new(), first, known: Known::default() }
    }

    /// A table as it stands in a blob.
    pub(super) fn from_table(table: &[u8], first: u32) -> Strings {
        let mut known = Known::default();
        let mut start = 0;
        for string in table.split(|&byte| byte == 0) {
            let at = |place| string_at(table, place);
            if !string.is_empty() && known.find(string, at).is_none() {
                known.insert(start, at);
            }
            start += string.len() as u32 + 1;
        }
        Strings { bytes: table.to_vec(), first, known }
    }

    /// Where a string is; it joins the others if it is new. It ends at its first zero.
    pub(super) fn offset(&mut self, text: &[u8]) -> u32 {
        let text = string_at(text, 0);
        if text.is_empty() {
            return 0;
        }
        if let Some(place) = self.known.find(text, |place| string_at(&self.bytes, place)) {
            return self.first + place;
        }
        let place = self.bytes.len() as u32;
        self.bytes.extend_from_slice(text);
        self.bytes.push(0);
        self.known.insert(place, |place| string_at(&self.bytes, place));
        self.first + place
    }

    /// The string at `offset`, if it is one of its own.
    pub(super) fn get(&self, offset: u32) -> Option<&[u8]> {
        let place = offset.checked_sub(self.first)?;
        (place as usize <= self.bytes.len()).then(|| string_at(&self.bytes, place))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// What stands from `place` on up to the next zero.
fn string_at(table: &[u8], place: u32) -> &[u8] {
    let rest = table.get(place as usize..).unwrap_or_default();
    &rest[..rest.iter().position(|&byte| byte == 0).unwrap_or(rest.len())]
}

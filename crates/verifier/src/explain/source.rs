//! The user's source: which line an instruction came from, and what is called what there.

use bombus_btf::LineInfo;

use crate::program::Program;

/// Where a variable of the source is while a function is at certain slots.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Variable {
    /// The function.
    pub function: String,
    /// Its name.
    pub name: String,
    /// The first slot, from the function's start on.
    pub start: u32,
    /// The slot after the last, from the function's start on.
    pub end: u32,
    /// Where it is.
    pub home: Home,
}

/// Where a variable is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Home {
    /// In this register.
    Register(u8),
    /// On the stack, from so many bytes off the frame pointer on.
    Stack(i64),
}

/// A place in the source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The file, as the compiler knows it.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1; 0: unknown.
    pub column: u32,
    /// The line's text.
    pub text: String,
    /// What of the text it is about: bytes.
    pub underlined: std::ops::Range<usize>,
}

/// The source of an instruction.
pub(super) fn place(program: &Program<'_>, slot: usize) -> Option<Place> {
    let at = program.lines.partition_point(|line| line.insn as usize <= slot);
    let line: &LineInfo = at.checked_sub(1).and_then(|at| program.lines.get(at))?;
    // A line is of its function only.
    let function =
        |slot: usize| program.functions.partition_point(|function| function.insn as usize <= slot);
    if function(line.insn as usize) != function(slot) {
        return None;
    }
    let string =
        |offset| program.btf?.string(offset).map(|text| String::from_utf8_lossy(text).into_owned());
    let text = string(line.text)?.trim_end().to_owned();
    let file = string(line.file).unwrap_or_default();
    let mut place = Place { file, line: line.line, column: line.column, text, underlined: 0..0 };
    place.underlined = place.expression();
    (!place.text.is_empty() || place.line != 0).then_some(place)
}

impl Place {
    /// Underlines a name, or what the instruction is about when the line does not have the name.
    pub(super) fn underline(&mut self, name: &str) {
        let near = self.start();
        let found = words(&self.text, name).min_by_key(|at| at.abs_diff(near));
        if let Some(at) = found {
            self.underlined = at..at + name.len();
        }
    }

    /// Whether the line has a name.
    pub(super) fn has(&self, name: &str) -> bool {
        words(&self.text, name).next().is_some()
    }

    /// The byte at which the column is.
    fn start(&self) -> usize {
        let column = (self.column as usize).saturating_sub(1);
        let is_inside = column > 0 && column < self.text.len();
        match is_inside && self.text.is_char_boundary(column) {
            true => column,
            false => self.text.len() - self.text.trim_start().len(),
        }
    }

    /// The expression that begins at the column; without one, the whole line.
    fn expression(&self) -> std::ops::Range<usize> {
        let start = self.start();
        if self.column <= 1 {
            return start..self.text.len();
        }
        let bytes = self.text.as_bytes();
        let (mut at, mut depth) = (start, 0_usize);
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b'(' | b'[' => depth += 1,
                b')' | b']' if depth == 0 => break,
                b')' | b']' => depth -= 1,
                _ if depth > 0 || is_word(byte) || byte == b'.' => {}
                b'-' if bytes.get(at + 1) == Some(&b'>') => at += 1,
                b'*' | b'&' | b'!' if at == start => {}
                _ => break,
            }
            at += 1;
        }
        let end = at.min(bytes.len());
        match end > start && self.text.is_char_boundary(end) {
            true => start..end,
            false => {
                let next = self.text[start..].chars().next().map_or(0, char::len_utf8);
                start..start + next
            }
        }
    }

    /// The variable that the statement gives a value, when the column is right of an assignment.
    pub(super) fn assigned(&self) -> Option<&str> {
        let left = self.text.get(..self.start())?;
        let end = left.rfind('=')?;
        let is_comparison = left[..end].ends_with(['=', '!', '<', '>', '+', '-', '|', '&']);
        // Between them there are casts at most.
        let between = &left[end + 1..];
        if is_comparison
            || left.as_bytes().get(end + 1) == Some(&b'=')
            || between.contains([';', '?'])
        {
            return None;
        }
        last_word(left[..end].trim_end())
    }

    /// The condition of the statement: `i > 64` of `if (i > 64) return 0;`.
    pub(super) fn condition(&self) -> Option<&str> {
        let word = ["if", "while", "for"]
            .into_iter()
            .find_map(|word| words(&self.text, word).next().map(|at| at + word.len()))?;
        let open = word + self.text[word..].find('(')?;
        let mut depth = 0;
        let end = self.text[open..].bytes().position(|byte| {
            match byte {
                b'(' => depth += 1,
                b')' => depth -= 1,
                _ => {}
            }
            depth == 0
        })?;
        let inner = &self.text[open + 1..open + end];
        // Of `for (a; b; c)` it is `b`.
        let inner = inner.split(';').nth(1).unwrap_or(inner).trim();
        (!inner.is_empty()).then_some(inner)
    }

    /// The pointer that an access at the column goes through: `v` of `*v`, `v->x`, `v[i]`.
    pub(super) fn pointer(&self) -> Option<&str> {
        let start = self.start();
        let (left, right) = self.text.split_at_checked(start)?;
        if let Some(left) = left.trim_end().strip_suffix("->") {
            return last_word(left);
        }
        let right_word = right.trim_start_matches('*');
        if let Some(word) = first_word(right_word) {
            let after = right_word[word.len()..].trim_start();
            let is_followed = right_word.len() < right.len();
            if is_followed || after.starts_with("->") || after.starts_with('[') {
                return Some(word);
            }
        }
        // `*v += 1`: the column is that of the operator or of the operand.
        let at = self.text[..self.start()].rfind('*')?;
        let between = &self.text[at + 1..];
        first_word(between)
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn first_word(text: &str) -> Option<&str> {
    let end = text.bytes().position(|byte| !is_word(byte)).unwrap_or(text.len());
    Some(&text[..end])
        .filter(|word| word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
}

fn last_word(text: &str) -> Option<&str> {
    let start = text.bytes().rposition(|byte| !is_word(byte)).map_or(0, |at| at + 1);
    first_word(text.get(start..)?)
}

/// Where a name stands in a text as a word by itself.
fn words<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = text.as_bytes();
    let is_name = !name.is_empty() && name.bytes().all(is_word);
    let places = text.match_indices(if is_name { name } else { "\0" });
    places.map(|(at, _)| at).filter(move |&at| {
        let before = at.checked_sub(1).is_none_or(|at| !is_word(bytes[at]));
        before && bytes.get(at + name.len()).is_none_or(|&byte| !is_word(byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str, column: u32) -> Place {
        let mut place =
            Place { file: "a.c".into(), line: 1, column, text: text.into(), underlined: 0..0 };
        place.underlined = place.expression();
        place
    }

    #[test]
    fn what_an_instruction_is_about() {
        for (text, column, underlined) in [
            ("\treturn t->cells[i + 1];", 9, "t->cells[i + 1]"),
            ("\t*v += 1;", 2, "*v"),
            ("\tx = f(a, b) + 1;", 6, "f(a, b)"),
            ("\treturn 0;", 1, "return 0;"),
            ("", 7, ""),
            ("\u{e4}", 2, "\u{e4}"),
        ] {
            let place = at(text, column);
            assert_eq!(&text[place.underlined.clone()], underlined, "{text}");
        }
    }

    #[test]
    fn what_is_called_what() {
        assert_eq!(at("  __u64 *v = lookup(&m);", 14).assigned(), Some("v"));
        assert_eq!(at("  void *d = (void *)(long)ctx->data;", 32).assigned(), Some("d"));
        assert_eq!(at("  if (a == f())", 12).assigned(), None);
        assert_eq!(at("  f();", 3).assigned(), None);
        assert_eq!(at("  return eth->proto;", 15).pointer(), Some("eth"));
        assert_eq!(at("  return t->cells[i];", 10).pointer(), Some("t"));
        assert_eq!(at("  *v += 1;", 6).pointer(), Some("v"));
        assert_eq!(at("  return 0;", 3).pointer(), None);
    }

    #[test]
    fn conditions() {
        assert_eq!(at("  if (f(a) > 64) return 0;", 12).condition(), Some("f(a) > 64"));
        assert_eq!(at("  for (i = 0; i < n; i++)", 12).condition(), Some("i < n"));
        assert_eq!(at("  return if_any(a);", 12).condition(), None);
        assert_eq!(at("  if (a &&", 12).condition(), None);
    }

    #[test]
    fn a_name_is_underlined_as_a_word() {
        let mut place = at("\tvv = v + w;", 7);
        place.underline("v");
        assert_eq!(place.underlined, 6..7);
        place.underline("x");
        assert_eq!(place.underlined, 6..7);
    }
}

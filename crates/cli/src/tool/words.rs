//! The words after a command: `id 5 key 1 2 3`. A keyword may be shortened to any of its beginnings.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::PathBuf;

use super::output::Failed;

/// The words that are left.
#[derive(Debug)]
pub(super) struct Words {
    words: VecDeque<String>,
    /// The word before them.
    before: String,
}

impl Words {
    /// The words after a command.
    pub(super) fn new(command: &str, words: Vec<OsString>) -> Result<Words, Failed> {
        let text = |word: OsString| {
            word.into_string()
                .map_err(|word| Failed::new(format!("not UTF-8: {}", word.to_string_lossy())))
        };
        let words = words.into_iter().map(text).collect::<Result<_, _>>()?;
        Ok(Words { words, before: command.to_owned() })
    }

    pub(super) fn len(&self) -> usize {
        self.words.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    pub(super) fn peek(&self) -> Option<&str> {
        self.words.front().map(String::as_str)
    }

    pub(super) fn next(&mut self) -> Option<String> {
        let word = self.words.pop_front()?;
        self.before.clone_from(&word);
        Some(word)
    }

    /// The next word; without one, says what is missing.
    pub(super) fn expect(&mut self, what: &str) -> Result<String, Failed> {
        self.next().ok_or_else(|| Failed::new(format!("expected {what}")))
    }

    /// Whether the next word is this keyword, or a beginning of it.
    pub(super) fn is(&self, keyword: &str) -> bool {
        self.peek().is_some_and(|word| !word.is_empty() && keyword.starts_with(word))
    }

    /// Takes this keyword away when it is next.
    pub(super) fn take(&mut self, keyword: &str) -> bool {
        let found = self.is(keyword);
        if found {
            self.next();
        }
        found
    }

    /// At least so many words must be left.
    pub(super) fn at_least(&self, count: usize) -> Result<(), Failed> {
        if self.len() >= count {
            return Ok(());
        }
        let (before, found) = (&self.before, self.len());
        Err(Failed::new(format!("'{before}' needs at least {count} arguments, {found} found")))
    }

    /// No word may be left.
    pub(super) fn end(&self) -> Result<(), Failed> {
        match self.peek() {
            None => Ok(()),
            Some(word) => Err(Failed::new(format!("what is '{word}'?"))),
        }
    }

    pub(super) fn path(&mut self, what: &str) -> Result<PathBuf, Failed> {
        self.expect(what).map(PathBuf::from)
    }
}

/// A number as C writes them: decimal, `0x` and octal.
pub(super) fn number(word: &str) -> Option<u64> {
    let (digits, radix) = match word {
        _ if word.len() > 2 && (word.starts_with("0x") || word.starts_with("0X")) => {
            (&word[2..], 16)
        }
        _ if word.len() > 1 && word.starts_with('0') => (&word[1..], 8),
        _ => (word, 10),
    };
    u64::from_str_radix(digits, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_may_be_short() {
        let mut words = Words::new("show", vec!["i".into(), "0x10".into(), "opc".into()]).unwrap();
        assert!(!words.is("name"));
        assert!(words.take("id"));
        assert_eq!(number(&words.next().unwrap()), Some(16));
        assert!(words.is("opcodes"));
        assert!(words.end().is_err());
    }

    #[test]
    fn numbers() {
        assert_eq!(number("010"), Some(8));
        assert_eq!(number("0"), Some(0));
        assert_eq!(number("-1"), None);
        assert_eq!(number("9z"), None);
    }
}

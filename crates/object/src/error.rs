//! What is wrong with an object, where, and what to do about it.

use std::fmt;

/// Why an object cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    /// The section that it is about; empty when it is about the whole file.
    pub section: String,
    /// The function, variable or map that it is about; empty when it is about no single one.
    pub symbol: String,
    /// What is wrong.
    pub reason: String,
    /// What to do about it; empty when the file is broken.
    pub help: String,
}

pub(crate) type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn new(reason: impl Into<String>) -> Error {
        Error {
            section: String::new(),
            symbol: String::new(),
            reason: reason.into(),
            help: String::new(),
        }
    }

    /// Says which section it is about, unless that is known.
    pub(crate) fn in_section(mut self, section: &str) -> Error {
        if self.section.is_empty() {
            self.section = shown(section);
        }
        self
    }

    /// Says which function, variable or map it is about, unless that is known.
    pub(crate) fn at(mut self, symbol: &str) -> Error {
        if self.symbol.is_empty() {
            self.symbol = shown(symbol);
        }
        self
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Error {
        self.help = help.into();
        self
    }
}

/// Names in broken files can be of any length.
fn shown(name: &str) -> String {
    name.chars().take(100).collect()
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.section.is_empty() {
            write!(f, "section {}: ", self.section)?;
        }
        if !self.symbol.is_empty() {
            write!(f, "{}: ", self.symbol)?;
        }
        write!(f, "{}", self.reason)?;
        if !self.help.is_empty() {
            write!(f, "; {}", self.help)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

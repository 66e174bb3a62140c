//! The punctuation of each style.

use std::fmt::{self, Write};

use super::Style;
use crate::json;

/// What goes between values: brackets, names, commas, lines.
pub(super) struct Punctuation<'w, W> {
    pub(super) out: &'w mut W,
    pub(super) style: Style,
    depth: usize,
    /// Something stands before what comes next, in the same brackets.
    follows: bool,
}

impl<'w, W: Write> Punctuation<'w, W> {
    pub(super) fn new(out: &'w mut W, style: Style) -> Punctuation<'w, W> {
        let depth = match style {
            Style::Plain(depth) | Style::PrettyJson(depth) => depth,
            Style::C | Style::Json => 0,
        };
        Punctuation { out, style, depth, follows: false }
    }

    /// Before every value.
    pub(super) fn comma(&mut self) -> fmt::Result {
        if self.follows {
            self.out.write_str(if self.style == Style::C { ", " } else { "," })?;
        }
        self.follows = true;
        Ok(())
    }

    pub(super) fn open(&mut self, bracket: char) -> fmt::Result {
        self.comma()?;
        self.follows = false;
        self.depth += 1;
        self.out.write_char(if self.style == Style::C { '{' } else { bracket })
    }

    pub(super) fn close(&mut self, bracket: char) -> fmt::Result {
        self.depth -= 1;
        // Members are on lines of their own, elements are not; what is not empty ends on one.
        if self.follows {
            self.line()?;
        }
        self.follows = true;
        self.out.write_char(if self.style == Style::C { '}' } else { bracket })
    }

    /// The name of a member; C leaves out that of an anonymous one.
    pub(super) fn name(&mut self, name: &str) -> fmt::Result {
        self.comma()?;
        self.follows = false;
        if self.style == Style::C {
            return if name.is_empty() { Ok(()) } else { write!(self.out, ".{name} = ") };
        }
        self.line()?;
        json::string(self.out, name)?;
        self.out.write_str(if self.is_pretty() { ": " } else { ":" })
    }

    fn is_pretty(&self) -> bool {
        matches!(self.style, Style::Plain(_) | Style::PrettyJson(_))
    }

    fn line(&mut self) -> fmt::Result {
        if self.is_pretty() {
            self.out.write_char('\n')?;
            (0..self.depth).try_for_each(|_| self.out.write_str("    "))?;
        }
        Ok(())
    }

    /// A string in quotes.
    pub(super) fn string(&mut self, text: &str) -> fmt::Result {
        self.comma()?;
        match self.style {
            Style::C => write!(self.out, "{text:?}"),
            _ => json::string(self.out, text),
        }
    }

    /// A number or word that every style writes the same.
    pub(super) fn token(&mut self, token: impl fmt::Display) -> fmt::Result {
        self.comma()?;
        write!(self.out, "{token}")
    }

    /// What JSON has no form for: in quotes there, bare elsewhere.
    pub(super) fn quoted_in_json(&mut self, token: impl fmt::Display) -> fmt::Result {
        match self.style {
            Style::Json | Style::PrettyJson(_) => self.token(format_args!("\"{token}\"")),
            Style::C | Style::Plain(_) => self.token(token),
        }
    }
}

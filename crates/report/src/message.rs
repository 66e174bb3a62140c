//! Everything that tracing can tell: one type, rendered as text or JSON.

use crate::{Histogram, Value, json, text};

/// How messages are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Where a message goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stream {
    /// Standard output or the file of `-o`.
    Out,
    /// Standard error.
    Err,
}

/// What a message is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Message<'a> {
    /// All probes are attached.
    AttachedProbes(u64),
    /// `printf()`.
    Printf(&'a [u8]),
    /// `errorf()`, `warnf()`, and failures of the script at run time.
    Report {
        /// How bad it is.
        severity: Severity,
        /// What happened; text leaves out one closing newline.
        text: &'a [u8],
        /// Where in the script, when known.
        place: Option<&'a Place>,
        /// How often, since it was last told.
        times: u64,
    },
    /// A helper failed.
    HelperError {
        /// What it is called, as in `map_update_elem`.
        helper: &'a str,
        /// Its result: a negative error number.
        code: i32,
        /// What that number means, as the C library has it.
        meaning: &'a str,
        /// Where in the script, when known.
        place: Option<&'a Place>,
        /// How often, since it was last told.
        times: u64,
    },
    /// `print()` of a value.
    Value(&'a Value),
    /// A map.
    Map(&'a Map),
    /// `time()`.
    Time(&'a [u8]),
    /// `join()`.
    Join(&'a [u8]),
    /// This many records found the buffer full.
    LostEvents(u64),
    /// Tracing is over; maps follow.
    End,
}

/// What a [`Message::Report`] is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// `errorf()`.
    Error,
    /// `warnf()`.
    Warning,
    /// A failed operation of the script, shown as a warning.
    Runtime,
}

/// A place in the script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The file, or `stdin`.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1.
    pub column: u32,
    /// The line where it ends.
    pub end_line: u32,
    /// The column after the last.
    pub end_column: u32,
    /// The text of its lines, which is shown under failures at run time.
    pub source: String,
}

/// A map with what is in it, in the order to show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Map {
    /// With the `@`.
    pub name: String,
    /// What JSON calls it.
    pub kind: MapKind,
    /// What is in it.
    pub contents: Contents,
}

/// What JSON calls a map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapKind {
    /// `map`.
    Plain,
    /// `stats`: `avg()` and `stats()`.
    Stats,
    /// `hist`: `hist()` and `lhist()`.
    Histogram,
}

/// What is in a map.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Contents {
    /// The value of a map without keys.
    Single(Entry),
    /// Keys and values. Also a map without keys that nothing was stored in: no entries.
    Keyed(Vec<(Value, Entry)>),
}

/// What one key has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    /// A value.
    Value(Value),
    /// A histogram.
    Histogram(Histogram),
}

impl Format {
    /// Appends the message to `out` and says where it belongs.
    pub fn render(self, message: &Message<'_>, out: &mut Vec<u8>) -> Stream {
        match self {
            Format::Text => text::render(message, out),
            Format::Json => json::render(message, out),
        }
    }
}

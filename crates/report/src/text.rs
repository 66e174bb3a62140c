//! The form for people.

use std::io::Write;

use crate::message::{Contents, Entry, Map, Message, Severity, Stream};
use crate::{Place, Value};

pub(crate) fn render(message: &Message<'_>, out: &mut Vec<u8>) -> Stream {
    match message {
        Message::AttachedProbes(count) => {
            let plural = if *count == 1 { "" } else { "s" };
            line(out, format_args!("Attached {count} probe{plural}"));
            return Stream::Err;
        }
        Message::LostEvents(count) => {
            line(out, format_args!("Lost {count} events"));
            return Stream::Err;
        }
        Message::Report { severity, text, place, times } => {
            report(*severity, text, *place, *times, out);
            return Stream::Err;
        }
        Message::HelperError { helper, code, meaning, place, times } => {
            let text = helper_error(helper, *code, meaning);
            report(Severity::Runtime, text.as_bytes(), *place, *times, out);
            return Stream::Err;
        }
        Message::Printf(text) | Message::Time(text) => out.extend_from_slice(text),
        Message::Join(text) => {
            out.extend_from_slice(text);
            out.push(b'\n');
        }
        Message::Value(shown) => {
            write_value(shown, out);
            out.push(b'\n');
        }
        Message::Map(shown) => map(shown, out),
        Message::End => out.extend_from_slice(b"\n\n"),
    }
    Stream::Out
}

fn line(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _ = writeln!(out, "{text}");
}

fn report(severity: Severity, text: &[u8], place: Option<&Place>, times: u64, out: &mut Vec<u8>) {
    place.into_iter().for_each(|place| extent(place, out));
    out.extend_from_slice(match severity {
        Severity::Error => b"ERROR: ",
        Severity::Warning | Severity::Runtime => b"WARNING: ",
    });
    out.extend_from_slice(text.strip_suffix(b"\n").unwrap_or(text));
    if times > 1 {
        let _ = write!(out, " ({times} times)");
    }
    out.push(b'\n');
    if severity == Severity::Runtime {
        place.into_iter().for_each(|place| underline(place, out));
    }
}

/// `E2BIG`: what a full map answers.
const TOO_BIG: i32 = 7;

/// A failed helper; for a full map with what to do about it.
fn helper_error(helper: &str, code: i32, meaning: &str) -> String {
    let reason = match (helper, -code) {
        ("map_update_elem", TOO_BIG) => {
            "Map full; can't update element. Try increasing max_map_keys config or manually \
             setting the max entries in a map declaration e.g. `let @a = hash(5000)`"
        }
        _ => meaning,
    };
    format!("{reason}\nAdditional Info - helper: {helper}, retcode: {code}")
}

/// `stdin:1:9-27: `, or only the lines when there are several.
fn extent(place: &Place, out: &mut Vec<u8>) {
    let Place { file, line, column, end_line, end_column, .. } = place;
    let _ = match line == end_line {
        true => write!(out, "{file}:{line}:{column}-{end_column}: "),
        false => write!(out, "{file}:{line}-{end_line}: "),
    };
}

/// The script's lines; under a single one, a mark below the extent.
fn underline(place: &Place, out: &mut Vec<u8>) {
    if place.line != place.end_line {
        line(out, format_args!("{}", place.source));
        return;
    }
    const TAB: &str = "    ";
    line(out, format_args!("{}", place.source.replace('\t', TAB)));
    let (start, end) = (place.column.saturating_sub(1), place.end_column.saturating_sub(1));
    for (at, char) in (0..end).zip(place.source.chars()) {
        let mark = if at < start { " " } else { "~" };
        out.extend_from_slice(mark.repeat(if char == '\t' { TAB.len() } else { 1 }).as_bytes());
    }
    out.push(b'\n');
}

/// One line a key; histograms start on a line of their own and end with an empty one.
fn map(map: &Map, out: &mut Vec<u8>) {
    match &map.contents {
        Contents::Single(Entry::Value(value)) => {
            out.extend_from_slice(map.name.as_bytes());
            out.extend_from_slice(b": ");
            write_value(value, out);
            out.push(b'\n');
        }
        Contents::Single(Entry::Histogram(histogram)) => {
            line(out, format_args!("{}:", map.name));
            histogram.write_text(out);
            out.push(b'\n');
        }
        Contents::Keyed(entries) => {
            for (key, entry) in entries {
                out.extend_from_slice(map.name.as_bytes());
                out.push(b'[');
                out.extend_from_slice(&key_text(key));
                match entry {
                    Entry::Value(value) => {
                        out.extend_from_slice(b"]: ");
                        write_value(value, out);
                    }
                    Entry::Histogram(histogram) => {
                        out.extend_from_slice(b"]:\n");
                        histogram.write_text(out);
                    }
                }
                out.push(b'\n');
            }
        }
    }
}

/// A key as it stands between brackets: without the parentheses of a tuple, and of a string that
/// looks like one.
pub(crate) fn key_text(key: &Value) -> Vec<u8> {
    let mut text = value(key);
    if text.len() >= 2 && text.starts_with(b"(") && text.ends_with(b")") {
        text.pop();
        text.remove(0);
    }
    text
}

/// A value as `print()` and `%s` show it.
pub fn value(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write_value(value, &mut out);
    out
}

fn write_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::None => out.extend_from_slice(b"null"),
        Value::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Value::Int(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Value::Uint(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Value::Str(text) => out.extend_from_slice(text),
        Value::Symbolic { text, .. } => out.extend_from_slice(text.as_bytes()),
        Value::Buffer(bytes) => out.extend_from_slice(hex_escaped(bytes, true).as_bytes()),
        Value::Array(elements) => {
            out.push(b'[');
            separated(elements, b",", out, write_value);
            out.push(b']');
        }
        Value::Tuple(parts) => {
            out.push(b'(');
            separated(parts, b", ", out, write_value);
            out.push(b')');
        }
        Value::Record(fields) if fields.is_empty() => out.extend_from_slice(b"{}"),
        Value::Record(fields) => {
            out.extend_from_slice(b"{ ");
            separated(fields, b", ", out, |(name, field), out| {
                out.push(b'.');
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b" = ");
                write_value(field, out);
            });
            out.extend_from_slice(b" }");
        }
    }
}

/// Writes the items with `between` between two.
pub(crate) fn separated<T>(
    items: &[T],
    between: &[u8],
    out: &mut Vec<u8>,
    mut write: impl FnMut(&T, &mut Vec<u8>),
) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(between);
        }
        write(item, out);
    }
}

/// Bytes as `\x00`; with `keep_ascii`, those that print stand for themselves.
pub fn hex_escaped(bytes: &[u8], keep_ascii: bool) -> String {
    let mut text = String::new();
    for &byte in bytes {
        if keep_ascii && (byte == b' ' || byte.is_ascii_graphic()) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

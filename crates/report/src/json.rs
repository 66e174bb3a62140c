//! One JSON object a line.

use std::io::Write;

use crate::message::{Contents, Entry, Map, MapKind, Message, Severity, Stream};
use crate::text::separated;
use crate::{Histogram, Place, Value, text};

pub(crate) fn render(message: &Message<'_>, out: &mut Vec<u8>) -> Stream {
    match message {
        Message::AttachedProbes(count) => counted("attached_probes", "probes", *count, out),
        Message::LostEvents(count) => counted("lost_events", "events", *count, out),
        Message::Printf(text) => object("printf", out, |out| string(text, out)),
        Message::Time(text) => object("time", out, |out| string(text, out)),
        Message::Join(text) => object("join", out, |out| string(text, out)),
        Message::Value(shown) => object("value", out, |out| value(shown, out)),
        Message::Map(shown) => map(shown, out),
        Message::Report { severity, text, place, times } => {
            report(*severity, text, *place, *times, out);
        }
        Message::HelperError { helper, code, meaning, place, times } => {
            out.extend_from_slice(br#"{"type": "helper_error", "msg": "#);
            string(meaning.as_bytes(), out);
            let _ = write!(out, r#", "helper": "{helper}", "retcode": {code}"#);
            located(*place, *times, out);
        }
        Message::End => {}
    }
    Stream::Out
}

fn object(kind: &str, out: &mut Vec<u8>, data: impl FnOnce(&mut Vec<u8>)) {
    let _ = write!(out, r#"{{"type": "{kind}", "data": "#);
    data(out);
    out.extend_from_slice(b"}\n");
}

fn counted(kind: &str, what: &str, count: u64, out: &mut Vec<u8>) {
    let _ =
        writeln!(out, r#"{{"type": "{kind}", "count": {count}, "data": {{"{what}": {count}}}}}"#);
}

fn report(severity: Severity, text: &[u8], place: Option<&Place>, times: u64, out: &mut Vec<u8>) {
    let kind = match severity {
        Severity::Error => "errorf",
        Severity::Warning => "warnf",
        Severity::Runtime => "runtime_error",
    };
    let _ = write!(out, r#"{{"type": "{kind}", "msg": "#);
    string(text, out);
    located(place, times, out);
}

/// How often, if more than once, and the place, which closes a message about it.
fn located(place: Option<&Place>, times: u64, out: &mut Vec<u8>) {
    if times > 1 {
        let _ = write!(out, r#", "count": {times}"#);
    }
    if let Some(Place { file, line, column, .. }) = place {
        out.extend_from_slice(br#", "filename": "#);
        string(file.as_bytes(), out);
        let _ = write!(out, r#", "line": {line}, "col": {column}"#);
    }
    out.extend_from_slice(b"}\n");
}

fn map(map: &Map, out: &mut Vec<u8>) {
    let empty = matches!(&map.contents, Contents::Keyed(entries) if entries.is_empty());
    if empty && map.kind != MapKind::Stats {
        return;
    }
    let kind = match map.kind {
        MapKind::Plain => "map",
        MapKind::Stats => "stats",
        MapKind::Histogram => "hist",
    };
    object(kind, out, |out| {
        out.push(b'{');
        string(map.name.as_bytes(), out);
        out.extend_from_slice(b": ");
        match &map.contents {
            Contents::Single(single) => entry(single, out),
            Contents::Keyed(entries) => {
                out.push(b'{');
                separated(entries, b", ", out, |(name, contents), out| {
                    let mut name = text::key_text(name);
                    name.retain(|&byte| byte != b' ');
                    string(&name, out);
                    out.extend_from_slice(b": ");
                    entry(contents, out);
                });
                out.push(b'}');
            }
        }
        out.push(b'}');
    });
}

fn entry(entry: &Entry, out: &mut Vec<u8>) {
    match entry {
        Entry::Value(shown) => value(shown, out),
        Entry::Histogram(shown) => histogram(shown, out),
    }
}

/// Intervals are closed at both ends here, unlike in text.
fn histogram(histogram: &Histogram, out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, count) in histogram.counts.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let (lower, upper) = histogram.bounds(index);
        out.push(b'{');
        if let Some(lower) = lower {
            out.extend_from_slice(b"\"min\": ");
            value(lower, out);
            out.extend_from_slice(b", ");
        }
        if let Some(upper) = upper {
            out.extend_from_slice(b"\"max\": ");
            integer(i128::from(upper.bits().unwrap_or(0).wrapping_sub(1) as i64), out);
            out.extend_from_slice(b", ");
        }
        let _ = write!(out, "\"count\": {count}}}");
    }
    out.push(b']');
}

fn value(shown: &Value, out: &mut Vec<u8>) {
    match shown {
        Value::None => out.extend_from_slice(b"null"),
        Value::Bool(shown) => out.extend_from_slice(if *shown { b"true" } else { b"false" }),
        Value::Int(number) => integer(i128::from(*number), out),
        Value::Uint(number) | Value::Symbolic { number, .. } => integer(i128::from(*number), out),
        Value::Str(text) => string(text, out),
        Value::Buffer(bytes) => {
            out.push(b'[');
            separated(bytes, b",", out, |&byte, out| integer(i128::from(byte as i8), out));
            out.push(b']');
        }
        Value::Array(parts) | Value::Tuple(parts) => {
            out.push(b'[');
            separated(parts, b",", out, value);
            out.push(b']');
        }
        Value::Record(fields) => {
            out.push(b'{');
            separated(fields, b", ", out, |(name, field), out| {
                string(name.as_bytes(), out);
                out.extend_from_slice(b": ");
                value(field, out);
            });
            out.push(b'}');
        }
    }
}

/// A number, as a string when readers that use floating point (RFC 8259, section 6) would change it.
fn integer(number: i128, out: &mut Vec<u8>) {
    let quote = if number as f64 as i128 == number { "" } else { "\"" };
    let _ = write!(out, "{quote}{number}{quote}");
}

/// A string. What is not UTF-8 is shown byte by byte as the code point of the same number.
fn string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for chunk in text.utf8_chunks() {
        for char in chunk.valid().chars() {
            match char {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                '\0'..='\x1f' => escape(char as u8, out),
                _ => out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        chunk.invalid().iter().for_each(|&byte| escape(byte, out));
    }
    out.push(b'"');
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    let _ = write!(out, "\\u{byte:04x}");
}

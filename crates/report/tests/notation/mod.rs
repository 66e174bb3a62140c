//! A short notation for values and messages, for the case files.
//!
//! Values: `5`, `5u`, `0x5` (a pointer), `true`, `null`, `"text"` (with `\n`, `\"`, `\\`, `\xNN`),
//! `b"bytes"` (a buffer), `[1, 2]`, `(1, 2)`, `{a: 1}`. Messages are a word and what it takes:
//! `value V`, `printf "format" V...`, `map @x V`, `map @x {K: V, ...}`, `stats` like `map`,
//! `hist @x BITS DIV {bucket: count}`, `lhist @x MIN MAX STEP {bucket: count}`, `hists @x BITS DIV
//! {K: {bucket: count}}`, `time T`, `join T`, `attached N`, `lost N`, `end`,
//! `[times N] error|warning|runtime|helper T [file line column end_line end [T]]`.

use bombus_report::{
    Contents, Entry, Format, Histogram, Map, MapKind, Message, Place, Severity, Value, printf,
};

/// Appends what one line of the notation comes to. What goes to standard error is marked with
/// `stderr: ` so that the cases show it.
pub(crate) fn render(line: &str, format: Format, out: &mut Vec<u8>) -> Result<(), String> {
    let mut reader = Reader { rest: line };
    let mut word = reader.word();
    let mut times = 1;
    if word == "times" {
        times = reader.number()? as u64;
        word = reader.word();
    }
    let mut rendered = Vec::new();
    let mut show = |message: &Message<'_>| {
        let stream = format.render(message, &mut rendered);
        if stream == bombus_report::Stream::Err {
            rendered.splice(0..0, *b"stderr: ");
        }
    };
    match word {
        "value" => show(&Message::Value(&reader.value()?)),
        "printf" => {
            let Value::Str(text) = reader.value()? else { return Err("a format first".into()) };
            let text = String::from_utf8(text).map_err(|error| error.to_string())?;
            let mut args = Vec::new();
            while !reader.at_end() {
                args.push(reader.value()?);
            }
            let mut bytes = Vec::new();
            printf::Format::parse(&text).apply(&args, &mut bytes);
            show(&Message::Printf(&bytes));
        }
        "map" | "stats" => {
            let name = reader.word().to_owned();
            let kind = if word == "map" { MapKind::Plain } else { MapKind::Stats };
            let entry = |value| Entry::Value(value);
            let contents = if reader.peek('{') && !reader.rest.contains("{.") {
                let pairs = reader.pairs()?;
                Contents::Keyed(pairs.into_iter().map(|(key, value)| (key, entry(value))).collect())
            } else {
                Contents::Single(entry(reader.value()?))
            };
            show(&Message::Map(&Map { name, kind, contents }));
        }
        "hist" | "lhist" | "hists" => {
            let name = reader.word().to_owned();
            let (a, b) = (reader.number()?, reader.number()?);
            let step = if word == "lhist" { reader.number()? } else { 0 };
            let build = |buckets: &[(usize, u64)]| {
                let mut all = vec![0; 2100];
                buckets.iter().for_each(|&(bucket, count)| all[bucket] = count);
                Entry::Histogram(match word {
                    "lhist" => Histogram::linear(&all, a, b, step),
                    _ => Histogram::log2(&all, a as u8, b as u64),
                })
            };
            let contents = if word == "hists" {
                let mut entries = Vec::new();
                reader.expect('{')?;
                while !reader.take('}') {
                    let key = reader.value()?;
                    reader.expect(':')?;
                    entries.push((key, build(&reader.buckets()?)));
                    reader.take(',');
                }
                Contents::Keyed(entries)
            } else {
                Contents::Single(build(&reader.buckets()?))
            };
            show(&Message::Map(&Map { name, kind: MapKind::Histogram, contents }));
        }
        "time" => show(&Message::Time(&reader.text()?)),
        "join" => show(&Message::Join(&reader.text()?)),
        "attached" => show(&Message::AttachedProbes(reader.number()? as u64)),
        "lost" => show(&Message::LostEvents(reader.number()? as u64)),
        "end" => show(&Message::End),
        "error" | "warning" | "runtime" | "helper" => {
            let severity = match word {
                "error" => Severity::Error,
                "warning" => Severity::Warning,
                _ => Severity::Runtime,
            };
            let text = reader.text()?;
            let place = match reader.at_end() {
                true => None,
                false => Some(Place {
                    file: reader.word().to_owned(),
                    line: reader.number()? as u32,
                    column: reader.number()? as u32,
                    end_line: reader.number()? as u32,
                    end_column: reader.number()? as u32,
                    source: match reader.at_end() {
                        true => String::new(),
                        false => String::from_utf8_lossy(&reader.text()?).into_owned(),
                    },
                }),
            };
            let place = place.as_ref();
            match word {
                "helper" => show(&Message::HelperError {
                    helper: &String::from_utf8_lossy(&text),
                    code: -7,
                    meaning: "Argument list too long",
                    place,
                    times,
                }),
                _ => show(&Message::Report { severity, text: &text, place, times }),
            }
        }
        _ => return Err(format!("unknown word {word}")),
    }
    out.extend_from_slice(&rendered);
    Ok(())
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn blank(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn at_end(&mut self) -> bool {
        self.blank();
        self.rest.is_empty()
    }

    fn peek(&mut self, char: char) -> bool {
        self.blank();
        self.rest.starts_with(char)
    }

    fn take(&mut self, char: char) -> bool {
        let there = self.peek(char);
        if there {
            self.rest = &self.rest[1..];
        }
        there
    }

    fn expect(&mut self, char: char) -> Result<(), String> {
        match self.take(char) {
            true => Ok(()),
            false => Err(format!("expected {char} before {}", self.rest)),
        }
    }

    fn word(&mut self) -> &'a str {
        self.blank();
        let stop = |char: char| char.is_whitespace() || ",:{}()[]\"".contains(char);
        let end = self.rest.find(stop).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn number(&mut self) -> Result<i64, String> {
        let word = self.word();
        word.parse().map_err(|_| format!("expected a number, got {word}"))
    }

    fn text(&mut self) -> Result<Vec<u8>, String> {
        match self.value()? {
            Value::Str(text) => Ok(text),
            other => Err(format!("expected text, got {other:?}")),
        }
    }

    fn buckets(&mut self) -> Result<Vec<(usize, u64)>, String> {
        let pairs = self.pairs()?;
        let number = |value| match value {
            Value::Int(number) => Ok(number as u64),
            other => Err(format!("expected a number, got {other:?}")),
        };
        pairs.into_iter().map(|(key, value)| Ok((number(key)? as usize, number(value)?))).collect()
    }

    fn pairs(&mut self) -> Result<Vec<(Value, Value)>, String> {
        self.expect('{')?;
        let mut pairs = Vec::new();
        while !self.take('}') {
            let key = self.value()?;
            self.expect(':')?;
            pairs.push((key, self.value()?));
            self.take(',');
        }
        Ok(pairs)
    }

    fn list(&mut self, close: char) -> Result<Vec<Value>, String> {
        let mut values = Vec::new();
        while !self.take(close) {
            values.push(self.value()?);
            self.take(',');
        }
        Ok(values)
    }

    fn value(&mut self) -> Result<Value, String> {
        self.blank();
        if self.take('(') {
            return Ok(Value::Tuple(self.list(')')?));
        }
        if self.take('[') {
            return Ok(Value::Array(self.list(']')?));
        }
        if self.take('{') {
            let mut fields = Vec::new();
            while !self.take('}') {
                let name = self.word().trim_start_matches('.').to_owned();
                self.expect(':')?;
                fields.push((name, self.value()?));
                self.take(',');
            }
            return Ok(Value::Record(fields));
        }
        if self.peek('"') {
            return Ok(Value::Str(self.quoted()?));
        }
        if let Some(rest) = self.rest.strip_prefix('b').filter(|rest| rest.starts_with('"')) {
            self.rest = rest;
            return Ok(Value::Buffer(self.quoted()?));
        }
        let word = self.word();
        let number = |text: &str| text.parse().map_err(|_| format!("no value: {word}"));
        Ok(match word {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::None,
            _ if word.starts_with("0x") => Value::pointer(
                u64::from_str_radix(&word[2..], 16).map_err(|error| error.to_string())?,
            ),
            _ => match word.strip_suffix('u') {
                Some(digits) => Value::Uint(digits.parse().map_err(|_| format!("no: {word}"))?),
                None => Value::Int(number(word)?),
            },
        })
    }

    fn quoted(&mut self) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        let mut chars = self.rest[1..].char_indices();
        while let Some((at, char)) = chars.next() {
            match char {
                '"' => {
                    self.rest = &self.rest[1 + at + 1..];
                    return Ok(bytes);
                }
                '\\' => match chars.next().map(|(_, char)| char) {
                    Some('n') => bytes.push(b'\n'),
                    Some('t') => bytes.push(b'\t'),
                    Some('x') => {
                        let digits: String = chars.by_ref().take(2).map(|(_, char)| char).collect();
                        bytes.push(u8::from_str_radix(&digits, 16).map_err(|e| e.to_string())?);
                    }
                    Some(other) => bytes.push(other as u8),
                    None => break,
                },
                char => bytes.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        Err("a string does not end".into())
    }
}

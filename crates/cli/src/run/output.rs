//! What `bombus run` prints: a line for each thing, as text or as JSON.

use std::io::{self, Write};

use bombus_report::Format;
use serde_json::{Value, json};

use super::decode::text;
use super::printk::Line;

/// Standard output in one of two forms.
pub(crate) struct Output {
    format: Format,
    out: io::BufWriter<io::Stdout>,
    /// Nobody reads it any more.
    broken: bool,
}

impl Output {
    pub(crate) fn new(format: Format) -> Output {
        Output { format, out: io::BufWriter::new(io::stdout()), broken: false }
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Hands over what was written.
    pub(crate) fn flush(&mut self) {
        self.broken |= self.out.flush().is_err();
    }

    fn line(&mut self, json: impl FnOnce() -> Value, text: impl FnOnce() -> String) {
        let line = match self.format {
            Format::Json => json().to_string(),
            Format::Text => text(),
        };
        self.broken |= writeln!(self.out, "{line}").is_err();
    }

    /// What was attached.
    pub(crate) fn attached(&mut self, programs: &[String]) {
        self.line(
            || json!({"type": "attached", "programs": programs}),
            || match programs {
                [] => "Attached nothing".to_owned(),
                [one] => format!("Attached {one}"),
                many => format!("Attached {} programs: {}", many.len(), many.join(", ")),
            },
        );
    }

    /// A line of `bpf_printk`.
    pub(crate) fn printk(&mut self, line: &Line) {
        let Line { comm, tid, cpu, text } = line;
        self.line(
            || json!({"type": "printk", "comm": comm, "tid": tid, "cpu": cpu, "text": text}),
            || format!("{comm}-{tid}: {text}"),
        );
    }

    /// A record of a ring or perf buffer.
    pub(crate) fn record(&mut self, map: &str, cpu: Option<u32>, record: &Value) {
        self.line(
            || match cpu {
                None => json!({"type": "record", "map": map, "data": record}),
                Some(cpu) => json!({"type": "record", "map": map, "cpu": cpu, "data": record}),
            },
            || format!("{map}: {}", text(record)),
        );
    }

    /// What an iterator wrote.
    pub(crate) fn iterated(&mut self, program: &str, bytes: &[u8]) {
        let written = String::from_utf8_lossy(bytes);
        self.line(
            || json!({"type": "iter", "program": program, "text": written}),
            || written.trim_end_matches('\n').to_owned(),
        );
    }

    /// How many packets had a verdict; `at` are a program and a device.
    pub(crate) fn verdict(
        &mut self,
        name: &str,
        value: Option<u32>,
        at: Option<(&str, &str)>,
        packets: u64,
        bytes: u64,
    ) {
        self.line(
            || {
                let mut line = json!({
                    "type": "verdict",
                    "name": name,
                    "value": value,
                    "packets": packets,
                    "bytes": bytes,
                });
                if let Some((program, device)) = at {
                    (line["program"], line["device"]) = (program.into(), device.into());
                }
                line
            },
            || format!("{name:<20} {packets:>14} {bytes:>16}"),
        );
    }

    /// The head of a table; not in JSON.
    pub(crate) fn verdicts(&mut self, title: &str) {
        if let Format::Text = self.format {
            let line = format!("{title:<20} {:>14} {:>16}", "PACKETS", "BYTES");
            self.broken |= writeln!(self.out, "{line}").is_err();
        }
    }

    /// An element of a map.
    pub(crate) fn element(&mut self, map: &str, key: &Value, value: &Value) {
        self.line(
            || json!({"type": "map", "map": map, "key": key, "value": value}),
            || format!("{map}[{}]: {}", text(key), text(value)),
        );
    }

    /// A global variable.
    pub(crate) fn variable(&mut self, name: &str, value: &Value) {
        self.line(
            || json!({"type": "variable", "name": name, "value": value}),
            || format!("{name}: {}", text(value)),
        );
    }
}

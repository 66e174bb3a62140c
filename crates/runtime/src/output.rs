//! Where messages go, and when they leave this process.

use std::io::{self, ErrorKind, Write};

use bombus_report::{Format, Message, Stream};

/// When output leaves the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Buffering {
    /// After each batch of records, as far as lines are whole.
    #[default]
    Line,
    /// When there is a lot of it, and at the end.
    Full,
    /// After every message.
    None,
}

/// Bytes that are kept back at most.
const KEPT: usize = 64 << 10;

/// Renders messages and writes them. The first failure is remembered, and everything after it
/// dropped, so that a session ends properly when nobody reads its output any more.
pub struct Output<'a> {
    format: Format,
    buffering: Buffering,
    pending: Vec<u8>,
    out: Box<dyn Write + 'a>,
    err: Box<dyn Write + 'a>,
    failure: Option<io::Error>,
}

impl<'a> Output<'a> {
    /// `out` and `err` need no buffer of their own.
    pub fn new(
        format: Format,
        buffering: Buffering,
        out: impl Write + 'a,
        err: impl Write + 'a,
    ) -> Output<'a> {
        let (out, err) = (Box::new(out), Box::new(err));
        Output { format, buffering, pending: Vec::new(), out, err, failure: None }
    }

    /// Writes a message.
    pub fn show(&mut self, message: &Message<'_>) {
        let before = self.pending.len();
        if self.format.render(message, &mut self.pending) == Stream::Err {
            let text = self.pending.split_off(before);
            // Keep the order that somebody sees who has both on one terminal.
            if self.buffering != Buffering::Full {
                self.flush();
            }
            self.err.write_all(&text).unwrap_or_default();
        } else if self.buffering == Buffering::None || self.pending.len() > KEPT {
            self.flush();
        }
    }

    /// Writes a line as it is: what the test runner of scripts waits for.
    pub fn raw_line(&mut self, line: &str) {
        self.pending.extend_from_slice(line.as_bytes());
        self.pending.push(b'\n');
        self.flush();
    }

    /// A line for people, on standard error.
    pub fn note(&mut self, line: &str) {
        self.err.write_all(format!("{line}\n").as_bytes()).unwrap_or_default();
    }

    /// The end of a batch: line-buffered output leaves up to the end of its last line.
    pub fn settle(&mut self) {
        if self.buffering == Buffering::Line
            && let Some(end) = self.pending.iter().rposition(|&byte| byte == b'\n')
        {
            let begun = self.pending.split_off(end + 1);
            self.flush();
            self.pending = begun;
        }
    }

    /// Writes what was kept back.
    pub fn flush(&mut self) {
        if self.failure.is_none() && !self.pending.is_empty() {
            let written = self.out.write_all(&self.pending).and_then(|()| self.out.flush());
            self.failure = written.err();
        }
        self.pending.clear();
    }

    /// Whether writing failed: nobody will see anything more.
    pub fn is_broken(&self) -> bool {
        self.failure.is_some()
    }

    /// Flushes, and tells what went wrong. A reader that went away is no error.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush();
        match self.failure {
            Some(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
            _ => Ok(()),
        }
    }
}

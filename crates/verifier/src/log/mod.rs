//! The kernel's log: what it says, word for word, so that tools that parse it can read ours
//! (`kernel/bpf/log.c`).

pub(crate) mod registers;

pub(crate) use registers::{dynptr_name, show_bits};

use std::fmt::{self, Write};

use crate::verdict::Rejection;

/// What is written, at most so much of it: the oldest goes first.
#[derive(Debug)]
pub(crate) struct Log {
    level: u32,
    text: String,
    most: usize,
}

impl Log {
    /// An empty one of a level (`BPF_LOG_*`) that keeps so many bytes.
    pub(crate) fn new(level: u32, most: usize) -> Log {
        Log { level, text: String::new(), most }
    }

    /// Whether instructions and states are told.
    pub(crate) fn tells(&self) -> bool {
        self.level & 3 != 0
    }

    /// Whether every path is told, also those that ended well.
    pub(crate) fn tells_all(&self) -> bool {
        self.level & 2 != 0
    }

    /// Why a program is refused.
    pub(crate) fn refuse(&mut self, rejection: &Rejection) {
        if !rejection.message.is_empty() {
            self.say(format_args!("{}\n", rejection.message));
        }
    }

    /// Adds text, unless nothing is asked for.
    pub(crate) fn say(&mut self, text: fmt::Arguments<'_>) {
        if self.level == 0 {
            return;
        }
        // Writing to a string does not fail.
        let _ = self.text.write_fmt(text);
        if self.text.len() > self.most.saturating_mul(2) {
            let cut = (self.text.len() - self.most..self.text.len())
                .find(|at| self.text.is_char_boundary(*at))
                .unwrap_or(self.text.len());
            self.text.drain(..cut);
        }
    }

    /// How much there is.
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }

    /// Forgets all after a place.
    pub(crate) fn reset(&mut self, len: usize) {
        if self.text.is_char_boundary(len.min(self.text.len())) {
            self.text.truncate(len);
        }
    }

    /// The text.
    pub(crate) fn finish(self) -> String {
        self.text
    }
}

//! What the walk writes to the log.

use std::fmt::{self, Display};

use bombus_isa::{Imm64, Resolve};
use bombus_platform::HelperNames;

use super::Walk;
use crate::code::Code;
use crate::log::registers::{Names, write_frame};
use crate::state::{State, StateRef};

/// Where states stand beside instructions (`BPF_LOG_ALIGNMENT`).
const COLUMN: usize = 40;
/// Columns are multiples of this (`BPF_LOG_MIN_ALIGNMENT`).
const TAB: usize = 8;

/// What was printed last.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Printed {
    /// Where the last instruction's line ended.
    end: usize,
    /// How long the line was.
    width: usize,
    /// File, line of the source line.
    line: Option<(u32, u32)>,
    /// A function was left: what is known is shown whole.
    pub left_function: bool,
}

/// An instruction as the log lists it: opcode and text.
pub(super) struct Listed<'a>(pub &'a Code, pub usize, pub &'a KernelFunctions);

impl Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Listed(code, slot, kernel_functions) = self;
        let insn = code.insn(*slot);
        match code.op(*slot) {
            Some(op) => write!(f, "({:02x}) {}", insn.code, op.display(&Text { kernel_functions })),
            None => write!(f, "({:02x})", insn.code),
        }
    }
}

/// Names what instructions refer to, as the log does.
struct Text<'a> {
    kernel_functions: &'a KernelFunctions,
}

/// The names of the kernel functions that a program calls, by number and module.
pub(crate) type KernelFunctions = std::collections::HashMap<(i32, i16), String>;

impl Resolve for Text<'_> {
    fn helper(&self, id: i32) -> Option<&str> {
        HelperNames.helper(id)
    }

    fn kfunc(&self, id: i32, btf: i16) -> Option<&str> {
        self.kernel_functions.get(&(id, btf)).map(String::as_str)
    }

    fn imm64(&self, imm: Imm64) -> Option<String> {
        match imm {
            Imm64::Value(_) | Imm64::BtfId { .. } | Imm64::Func(_) => None,
            // The kernel shows the map's address.
            Imm64::MapFd(map) | Imm64::MapIdx(map) => Some(format!("0x{map:x}")),
            Imm64::MapValue { offset, .. } | Imm64::MapIdxValue { offset, .. } => {
                Some(format!("0x{offset:x}"))
            }
        }
    }
}

impl Walk<'_> {
    /// What registers and types are called.
    pub(crate) fn names(&self) -> Names<'_> {
        Names { maps: &self.maps, types: &self.types }
    }

    /// Everything is shown after the next instruction.
    pub(crate) fn show_all(&mut self) {
        self.shown = (u32::MAX, u64::MAX);
    }

    /// A register is shown after the instruction.
    pub(crate) fn touch_register(&mut self, register: usize) {
        self.shown.0 |= 1 << register;
    }

    /// A stack slot is shown after the instruction.
    pub(crate) fn touch_slot(&mut self, slot: usize) {
        self.shown.1 |= 1 << (slot & 63);
    }

    fn frame_text(&self, state: &State, frame: usize, shows: (u32, u64)) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = write_frame(&mut text, state, frame, shows, self.names());
        text
    }

    /// What is known in a frame, whole.
    pub(crate) fn report_frame(&mut self, frame: usize) {
        if self.log.tells() {
            let text = self.frame_text(&self.state, frame, (u32::MAX, u64::MAX));
            self.log.say(format_args!("{text}"));
        }
    }

    /// What changed, beside the instruction's line (`print_insn_state`).
    pub(crate) fn report_changes(&mut self) {
        if !self.log.tells() {
            return;
        }
        let text = self.frame_text(&self.state, self.state.top(), self.shown);
        if self.printed.end != 0 && self.printed.end == self.log.len() {
            self.log.reset(self.printed.end - 1);
            let width = self.printed.width;
            let column = (width + TAB / 2).max(COLUMN).next_multiple_of(TAB);
            let space = (column - width).saturating_sub(1);
            self.log.say(format_args!("{:>space$};{text}", ' '));
        } else {
            self.log.say(format_args!("{}:{text}", self.slot));
        }
        self.shown = (0, 0);
    }

    /// The source line of an instruction, unless it was the last that was shown (`verbose_linfo`).
    pub(crate) fn report_line(&mut self, slot: usize) {
        if !self.log.tells() {
            return;
        }
        let lines = self.program.lines;
        let place = lines.partition_point(|line| line.insn as usize <= slot);
        let (Some(line), Some(btf)) =
            (place.checked_sub(1).map(|place| lines[place]), self.program.btf)
        else {
            return;
        };
        if self.printed.line == Some((line.file, line.line)) {
            return;
        }
        self.printed.line = Some((line.file, line.line));
        let text = |offset| String::from_utf8_lossy(btf.string(offset).unwrap_or_default());
        let (source, file) = (text(line.text), text(line.file));
        let file = file.rsplit('/').next().unwrap_or_default();
        self.log.say(format_args!("; {} @ {file}:{}\n", source.trim_start(), line.line));
    }

    /// An instruction, with what changed before it.
    pub(super) fn report_instruction(&mut self, is_new_path: bool) {
        let slot = self.slot;
        let how = if self.state.speculative { " (speculative execution)" } else { "" };
        if self.log.tells_all() && is_new_path {
            let previous = self.previous;
            self.log.say(format_args!("\nfrom {previous} to {slot}{how}:"));
            self.report_frame(self.state.top());
            self.shown = (0, 0);
        }
        if self.shown != (0, 0) {
            self.report_changes();
        }
        self.report_line(slot);
        let start = self.log.len();
        let text = Listed(self.code, slot, &self.kernel_functions).to_string();
        self.log.say(format_args!("{slot}: {text}\n"));
        self.printed.end = self.log.len();
        self.printed.width = self.log.len().saturating_sub(start);
    }

    /// The path ends, because what follows is safe.
    pub(super) fn report_safe(&mut self, is_new_path: bool) {
        if !self.log.tells() {
            return;
        }
        let (previous, slot) = (self.previous, self.slot);
        let how = if self.state.speculative { " (speculative execution)" } else { "" };
        match is_new_path {
            true => self.log.say(format_args!("\nfrom {previous} to {slot}{how}: safe\n")),
            false => self.log.say(format_args!("{slot}: safe\n")),
        }
    }

    /// A function was entered or left: its frame, and the other.
    pub(crate) fn report_call(&mut self, first: (&str, usize), second: (&str, usize)) {
        for (title, frame) in [first, second] {
            if self.log.tells() {
                self.log.say(format_args!("{title}\n"));
                self.report_frame(frame);
            }
        }
    }

    /// After a function was left the log shows all of what is known.
    pub(crate) fn note_function_left(&mut self) {
        self.printed.left_function = true;
        self.show_all();
    }

    /// What is known now, and what was known when this place was reached before.
    pub(super) fn two_states(&self, old: StateRef) -> String {
        let mut text = String::from("\ncur state:");
        let all = (u32::MAX, u64::MAX);
        text += &self.frame_text(&self.state, self.state.top(), all);
        text += "old state:";
        if let Some(kept) = self.keep.get(old) {
            text += &self.frame_text(&kept.state, kept.state.top(), all);
        }
        // The line is ended by who writes the message.
        if text.ends_with('\n') {
            text.pop();
        }
        text
    }
}

//! What a record in the ring buffer asks for.

use bombus_kernel::Result;
use bombus_report::{Message, Place, Severity, printf};
use bombus_script::plan::{self, Action, Plan, PrintfKind, Slot};

use crate::decode::{Decoder, slice, unsigned};
use crate::maps::Maps;
use crate::os::Clock;
use crate::output::Output;

/// Bytes of a `time()` text at most, as in the reference.
const TIME: usize = 64;

/// Carries out actions, and remembers that `exit()` was called.
pub(crate) struct Actions<'a> {
    plan: &'a Plan,
    maps: &'a Maps<'a>,
    decoder: Decoder<'a>,
    formats: Vec<printf::Format>,
    warnings: bool,
    /// The code that `exit()` gave, once called.
    pub(crate) exit: Option<u64>,
}

impl<'a> Actions<'a> {
    pub(crate) fn new(plan: &'a Plan, maps: &'a Maps<'a>, warnings: bool) -> Actions<'a> {
        let format = |action: &Action| match action {
            Action::Printf { format, .. } => printf::Format::parse(format),
            _ => printf::Format::default(),
        };
        Actions {
            plan,
            maps,
            decoder: Decoder::new(&plan.strings),
            formats: plan.actions.iter().map(format).collect(),
            warnings,
            exit: None,
        }
    }

    /// Does what one record asks for.
    pub(crate) fn perform(&mut self, record: &[u8], output: &mut Output<'_>) -> Result<()> {
        let word = |index: usize| unsigned(slice(record, index * 8, 8), 8);
        let Ok(index) = usize::try_from(word(0)) else { return Ok(()) };
        let Some(action) = self.plan.actions.get(index) else { return Ok(()) };
        match action {
            // The first one counts: the rest of the script goes on until the record is read.
            Action::Exit => self.exit = self.exit.or(Some(word(1))),
            Action::Printf { args, kind, .. } => {
                let args: Vec<_> = args.iter().map(|slot| self.value(slot, record)).collect();
                let mut text = Vec::new();
                self.formats[index].apply(&args, &mut text);
                match kind {
                    PrintfKind::Out => output.show(&Message::Printf(&text)),
                    PrintfKind::Error => self.report(index, Severity::Error, &text, output),
                    PrintfKind::Warning => self.report(index, Severity::Warning, &text, output),
                }
            }
            Action::PrintMap { map } => {
                let shown = self.maps.for_print(*map, word(1), word(2), &self.decoder)?;
                output.show(&Message::Map(&shown));
            }
            Action::PrintElement { map } => {
                let value = self.maps.element(*map, slice(record, 8, usize::MAX), &self.decoder)?;
                output.show(&Message::Value(&value));
            }
            Action::PrintValue { value } => {
                output.show(&Message::Value(&self.value(value, record)));
            }
            Action::Clear { map } => self.maps.clear(*map)?,
            Action::Zero { map } => self.maps.zero(*map)?,
            Action::Time { format } => match Clock::format_now(format) {
                Some(text) if text.len() < TIME => output.show(&Message::Time(&text)),
                _ => self.report(
                    index,
                    Severity::Runtime,
                    format!("time(\"{format}\") gives no text, or too much").as_bytes(),
                    output,
                ),
            },
            Action::Join { separator, max, size } => {
                let count = word(1).min(u64::from(*max)) as usize;
                let size = *size as usize;
                let mut joined = Vec::new();
                for index in 0..count {
                    let text = slice(record, 16 + index * size, size);
                    if index > 0 {
                        joined.extend_from_slice(separator.as_bytes());
                    }
                    joined.extend(text.iter().take_while(|&&byte| byte != 0));
                }
                output.show(&Message::Join(&joined));
            }
        }
        Ok(())
    }

    /// Shows every map that has something in it.
    pub(crate) fn show_maps(&self, output: &mut Output<'_>) -> Result<()> {
        for map in self.maps.by_name() {
            output.show(&Message::Map(&self.maps.contents(map, 0, 0, &self.decoder)?));
        }
        Ok(())
    }

    fn value(&self, slot: &Slot, record: &[u8]) -> bombus_report::Value {
        let bytes = slice(record, slot.offset as usize, slot.ty.size() as usize);
        self.decoder.value(&slot.ty, bytes)
    }

    fn report(&self, action: usize, severity: Severity, text: &[u8], output: &mut Output<'_>) {
        if severity != Severity::Error && !self.warnings {
            return;
        }
        let place = self.plan.places.get(action).filter(|place| place.line > 0).map(shown);
        output.show(&Message::Report { severity, text, place: place.as_ref(), times: 1 });
    }
}

/// A place as messages show it.
pub(crate) fn shown(place: &plan::Place) -> Place {
    Place {
        file: place.file.clone(),
        line: place.line,
        column: place.column,
        end_line: place.end_line,
        end_column: place.end_column,
        source: place.text.clone(),
    }
}

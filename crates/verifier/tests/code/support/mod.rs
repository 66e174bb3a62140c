//! From a case's text to what is said of it.

mod facts;
mod given;
mod types;

use std::fmt::Write;

use bombus_isa::Op;
use bombus_verifier::code::{Caller, Code, FunctionStats, Instruction, check_depth, statistics};
use bombus_verifier::explain::{Explanation, explain};
use bombus_verifier::{Rejection, Stats, verify};

use given::Given;

/// Reads a case and tells what comes out.
pub(crate) fn run(text: &str) -> Result<String, String> {
    let given = Given::parse(text)?;
    if given.shown.iter().any(|what| what == "explanation") {
        return Ok(given.with_program(|program, target, options| {
            explanation(explain(program, target, options, &[]))
        }));
    }
    if given.shown.iter().any(|what| what == "log" || what == "counts") {
        let log =
            given.with_program(|program, target, options| verify(program, target, options).log);
        if given.shown.iter().any(|what| what == "counts") {
            return Ok(log.lines().last().unwrap_or_default().to_owned());
        }
        // What comes before the walk, others show; times differ.
        let walk = log.find("\n0: R").map_or(&log[..], |at| &log[at + 1..]);
        let is_timeless = |line: &&str| !line.starts_with("verification time ");
        return Ok(walk.lines().filter(is_timeless).collect::<Vec<_>>().join("\n"));
    }
    match given.with_program(|program, target, options| {
        Code::new(program, target, options, &facts::Known::new(given.prog_type))
    }) {
        Err(rejection) => Ok(refusal(&rejection)),
        Ok(code) if given.shown.is_empty() => Ok(format!("{} slots", code.len())),
        Ok(code) => {
            let mut text = String::new();
            for what in &given.shown {
                match what.as_str() {
                    "depth" => text += &depth(&given, &code),
                    "end" => text += &end(&code),
                    _ => show(what, &code, &mut text)?,
                }
            }
            Ok(text)
        }
    }
}

fn explanation(explanation: Option<Explanation>) -> String {
    let Some(Explanation { class, message, needs, proven, witness, path, suggestion, .. }) =
        explanation
    else {
        return "accepted".to_owned();
    };
    let mut text = format!("{}: {message}\n", class.id);
    for (title, said) in [("needs", needs), ("proven", proven), ("for example", witness)] {
        if let Some(said) = said {
            let _ = writeln!(text, "{title}: {said}");
        }
    }
    for step in path {
        let _ = writeln!(text, "at {}: {}", step.slot, step.text);
    }
    if let Some(suggestion) = suggestion {
        let _ = write!(text, "suggested: {}", suggestion.text);
        if let Some((slot, insns)) = &suggestion.inserted {
            let _ = write!(text, " [{slot}: {}]", insns.join("; "));
        }
        let _ = writeln!(text, "{}", if suggestion.is_accepted() { "" } else { " (not all)" });
    }
    text
}

fn depth(given: &Given, code: &Code) -> String {
    let depth = given.with_program(|program, _, _| check_depth(code, program, &given.uses, false));
    match depth {
        Ok(depth) => format!("depth {depth}"),
        Err(rejection) => refusal(&rejection),
    }
}

fn end(code: &Code) -> String {
    let stats = Stats { processed: 7, total_states: 2, stack_depth: 48, ..Stats::default() };
    let row = FunctionStats { own: 3, total: 5, stack: 16 };
    let rows = vec![row; code.functions().len()];
    let [quiet, full] = [2, 4].map(|level| statistics(code, &stats, &rows, 12, level));
    format!("{quiet}{full}")
}

fn refusal(rejection: &Rejection) -> String {
    let error = match rejection.errno {
        1 => "EPERM".to_owned(),
        2 => "ENOENT".to_owned(),
        7 => "E2BIG".to_owned(),
        9 => "EBADF".to_owned(),
        13 => "EACCES".to_owned(),
        16 => "EBUSY".to_owned(),
        22 => "EINVAL".to_owned(),
        other => format!("error {other}"),
    };
    let slot = rejection.slot.map(|slot| format!(" at {slot}")).unwrap_or_default();
    format!("{error}{slot}: {}", rejection.message)
}

fn show(what: &str, code: &Code, text: &mut String) -> Result<(), String> {
    match what {
        "functions" => {
            for (index, function) in code.functions().iter().enumerate() {
                let _ = write!(text, "{index}: {}..{}", function.start, function.end);
                let flags = [
                    (function.is_global(), "global"),
                    (function.is_exception_callback, "exception callback"),
                    (function.has_tail_call, "tail call"),
                    (function.has_packet_load, "packet load"),
                    (function.changes_packet, "changes packet"),
                    (function.might_sleep, "might sleep"),
                    (function.might_throw, "might throw"),
                ];
                let flags = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name);
                let words = [function.name.as_str()].into_iter().chain(flags);
                for word in words.filter(|word| !word.is_empty()) {
                    let _ = write!(text, " [{word}]");
                }
                text.push('\n');
            }
        }
        "marks" => {
            for slot in 0..code.len() {
                let marks = [
                    (code.is_prune_point(slot), " prune"),
                    (code.is_jump_point(slot), " jump"),
                    (code.is_checkpoint(slot), " checkpoint"),
                    (code.calls_back(slot), " calls-back"),
                ];
                let marks: String =
                    marks.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
                let component = match code.component(slot) {
                    0 => String::new(),
                    component => format!(" loop {component}"),
                };
                let to = code.successors(slot);
                let _ = writeln!(text, "{slot}: {to:?}{marks}{component}");
            }
        }
        "code" => {
            for slot in 0..code.len() {
                let _ = match code.instruction(slot) {
                    Instruction::Op(op) => writeln!(text, "{slot}: {op}"),
                    other => writeln!(text, "{slot}: {other:?}"),
                };
            }
        }
        "order" => {
            let _ = writeln!(text, "{:?}", code.order());
        }
        "live" => {
            *text += code.log().split_once("Live regs before insn:\n").map_or("", |log| log.1)
        }
        "uses" => {
            let log = code.log();
            let start = log.find("stack use/def").unwrap_or(log.len());
            *text += &log[start..log.find("Live regs").unwrap_or(log.len())];
        }
        "tracks" => {
            let log = code.log();
            let start = log.find("subprog#").unwrap_or(log.len());
            *text += &log[start..log.find("stack use/def").unwrap_or(log.len())];
        }
        "stack" => {
            let entry = Caller { function: 0, callsite: 0 };
            for slot in code.functions()[0].slots() {
                let _ = writeln!(text, "{slot}: {:#x}", code.stack_at([entry], slot).of(0).0);
                // What is live while the called function runs.
                if let Instruction::Op(Op::CallLocal { off }) = code.instruction(slot) {
                    let function = code.function_of((slot as i32 + 1 + off) as usize);
                    let chain = [entry, Caller { function, callsite: slot }];
                    for slot in code.functions()[function].slots() {
                        let live = code.stack_at(chain, slot);
                        let frames = [live.of(0).0, live.of(1).0];
                        let _ = writeln!(text, "  {slot}: {:#x} {:#x}", frames[0], frames[1]);
                    }
                }
            }
        }
        "fastcalls" => {
            let _ = writeln!(text, "{:?}", code.fastcalls());
        }
        _ => return Err(format!("cannot show `{what}`")),
    }
    Ok(())
}

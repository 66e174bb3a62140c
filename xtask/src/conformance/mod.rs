//! `cargo xtask conformance DIR`: the cases of bpf_conformance on our engines. DIR is its directory
//! `tests` (<https://github.com/Alan-Jowett/bpf_conformance>).

mod assemble;
mod case;

use std::fs;
use std::path::PathBuf;

use bombus_vm::bare::{Bare, Engine};
use case::Case;

const USAGE: &str =
    "usage: cargo xtask conformance DIRECTORY [--engine checked|guarded|interp|jit]";

/// Files that are about what no eBPF program may do, and why.
const NOT_OURS: &[(&str, &str)] =
    &[("callx.data", "calls by register are in no kernel; RFC 9669 has them not, either")];

/// Runs the command.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let (mut directory, mut engines) = (None, Engine::ALL.to_vec());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        if arg == "--engine" {
            let engine = args.next().and_then(|name| Engine::from_name(name));
            engines = vec![engine.ok_or(USAGE)?];
        } else {
            directory = Some(PathBuf::from(arg));
        }
    }
    let directory = directory.ok_or(USAGE)?;
    let files = fs::read_dir(&directory).map_err(|error| format!("{directory:?}: {error}"))?;
    let mut files: Vec<PathBuf> = files.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "data"));
    files.sort();
    if files.is_empty() {
        return Err(format!("{} has no files *.data", directory.display()));
    }
    let mut failed = 0;
    for engine in engines {
        let mut passed = 0;
        for path in &files {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if let Some((_, reason)) = NOT_OURS.iter().find(|(file, _)| *file == name) {
                println!("{}: {name}: skipped: {reason}", engine.name());
                continue;
            }
            let text = fs::read_to_string(path).map_err(|error| format!("{path:?}: {error}"))?;
            match check(&text, engine) {
                Ok(()) => passed += 1,
                Err(why) => {
                    failed += 1;
                    println!("{}: {name}: {why}", engine.name());
                }
            }
        }
        println!("{}: {passed} of {} files pass", engine.name(), files.len());
    }
    if failed == 0 { Ok(()) } else { Err(format!("{failed} cases fail")) }
}

fn check(text: &str, engine: Engine) -> Result<(), String> {
    let Case { code, memory, expected } = Case::parse(text)?;
    let outcome = Bare { code: &code, memory: &memory, repeat: 1, unwind: true }.run(engine);
    match (outcome, expected) {
        (Ok(outcome), Some(value)) if outcome.value == value => Ok(()),
        (Ok(outcome), Some(value)) => Err(format!("{:#x}, not {value:#x}", outcome.value)),
        (Ok(outcome), None) => Err(format!("{:#x}, not an error", outcome.value)),
        (Err(_), None) => Ok(()),
        (Err(error), Some(value)) => Err(format!("{error}, not {value:#x}")),
    }
}

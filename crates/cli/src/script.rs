//! The text of a script, wherever it stands.

use std::io::Read;

use bombus_script::diagnostic::Source;

use crate::failure::{Failure, reason};
use crate::flags::Script;

/// What bpftrace calls a script that has no file.
const UNNAMED: &str = "stdin";

/// Reads a script.
pub(crate) fn read(script: &Script) -> Result<Source, Failure> {
    let (name, bytes) = match script {
        Script::Text(text) => return Ok(Source::new(UNNAMED, text)),
        Script::File(file) if file.as_os_str() == "-" => {
            let mut bytes = Vec::new();
            std::io::stdin().read_to_end(&mut bytes).map_err(|error| {
                Failure::new(format!("failed to read the script: {}", reason(&error)))
                    .help("`-` reads the script from standard input")
            })?;
            (UNNAMED.to_owned(), bytes)
        }
        Script::File(file) => {
            let name = file.display().to_string();
            let bytes = std::fs::read(file).map_err(|error| {
                Failure::new(format!("failed to open file '{name}': {}", reason(&error))).help(
                    "the first argument is a script's file; -e 'SCRIPT' takes the text itself",
                )
            })?;
            (name, bytes)
        }
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source::new(name, text)),
        Err(_) => Err(Failure::new(format!("{name} is not text: it has bytes that are not UTF-8"))
            .help("a script is a text file")),
    }
}

//! `bombus vm plugin`: what bpf_conformance's runner starts for each of its cases.

use std::io::Read;

use bombus_vm::bare::Bare;
use clap::ArgMatches;

use super::{engine, failure, file};
use crate::failure::Failure;
use crate::print;

/// Carries it out.
pub(super) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let given = |name: &str| matches.get_one::<String>(name);
    let text = match given("program") {
        Some(text) => text.clone(),
        None => {
            let mut text = String::new();
            let read = std::io::stdin().read_to_string(&mut text);
            read.map_err(|error| Failure::new(format!("could not read the program: {error}")))?;
            text
        }
    };
    let bytes = bytes("program", &text)?;
    let code = if matches.get_flag("elf") { file::object(&bytes, None) } else { file::raw(&bytes) };
    let code = code.map_err(|why| Failure::new(format!("the program: {why}")))?;
    let memory = bytes_of(given("memory"))?;
    let bare = Bare { code: &code, memory: &memory, repeat: 1, unwind: true };
    let outcome = bare.run(engine(matches)).map_err(|why| failure("the program", &why))?;
    print(&format!("{:x}\n", outcome.value));
    Ok(())
}

fn bytes_of(text: Option<&String>) -> Result<Vec<u8>, Failure> {
    text.map_or(Ok(Vec::new()), |text| bytes("memory", text))
}

/// Bytes in hexadecimal, with blanks anywhere between them.
fn bytes(what: &str, text: &str) -> Result<Vec<u8>, Failure> {
    let wrong = || Failure::new(format!("the {what} is not in hexadecimal, two digits a byte"));
    let mut digits = Vec::new();
    for letter in text.chars().filter(|letter| !letter.is_whitespace()) {
        digits.push(letter.to_digit(16).ok_or_else(wrong)? as u8);
    }
    if digits.len() % 2 != 0 {
        return Err(wrong());
    }
    Ok(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

//! File tests: `tests/text/*.s`.
//!
//! Every line has an instruction, and in its comment the version of the instruction set that it
//! needs and its bytes. The text must assemble to the bytes, and the bytes disassemble to the
//! text. In `errors.s` the comment has the assembler's message. With `UPDATE_EXPECT` in the
//! environment the comments are written anew; check what changed.

use std::path::{Path, PathBuf};

use bombus_isa::{asm, ops, validate};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/text");
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .expect("tests/text is there")
        .map(|entry| entry.expect("its entries can be read").path())
        .collect();
    files.sort();
    let trials = files
        .into_iter()
        .map(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Trial::test(name, move || check(&path))
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}

fn check(path: &Path) -> Result<(), Failed> {
    let expected = std::fs::read_to_string(path)?;
    let errors = path.ends_with("errors.s");
    let mut actual = String::new();
    for line in expected.lines() {
        let text = line.split(';').next().unwrap_or_default().trim_end();
        let comment = match text {
            "" => line.to_owned(),
            text if errors => format!("{text:<48}; {}", error(text)?),
            text => format!("{text:<48}; {}", bytes(text)?),
        };
        actual += &comment;
        actual.push('\n');
    }
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(path, actual)?;
        return Ok(());
    }
    for (expected, actual) in expected.lines().zip(actual.lines()) {
        if expected != actual {
            return Err(format!("expected: {expected}\n  actual: {actual}").into());
        }
    }
    Ok(())
}

fn error(text: &str) -> Result<String, Failed> {
    match asm(text) {
        Ok(_) => Err(format!("`{text}` assembles").into()),
        Err(error) => Ok(error.message),
    }
}

fn bytes(text: &str) -> Result<String, Failed> {
    let insns = asm(text).map_err(|error| format!("`{text}`: {error}"))?;
    let version = validate(&insns)?;
    let [(0, Ok(op))] = ops(&insns).collect::<Vec<_>>()[..] else {
        return Err(format!("`{text}` is not one instruction").into());
    };
    if op.to_string() != text {
        return Err(format!("`{text}` disassembles as `{op}`").into());
    }
    let hex = insns.iter().map(|insn| insn.to_bytes().map(|byte| format!("{byte:02x}")).join(" "));
    Ok(format!("v{version} {}", hex.collect::<Vec<_>>().join(" ")))
}

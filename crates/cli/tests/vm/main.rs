//! `bombus vm` from outside. `cases.txt` has the programs and what they give.

use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vm/cases.txt");
    let text = std::fs::read_to_string(file).expect("the cases");
    let blocks = text.split("\n=== ").skip(1).enumerate();
    let trials = blocks.map(|(number, block)| {
        let (name, body) = block.split_once('\n').unwrap_or((block, ""));
        let body = body.to_owned();
        Trial::test(name, move || check(number, &body))
    });
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}

/// Runs the commands of a case.
fn check(number: usize, body: &str) -> Result<(), Failed> {
    let mut parts = body.split("\n$ ");
    let code = bombus_isa::asm(parts.next().unwrap_or_default())?;
    let bytes: Vec<u8> = code.iter().flat_map(|insn| insn.to_bytes()).collect();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let file = File::new(number, &bytes)?;
    let name = file.0.display().to_string();
    for part in parts {
        let (args, expected) = part.split_once('\n').unwrap_or((part, ""));
        let args = args.split_whitespace().map(|arg| match arg {
            "FILE" => name.as_str(),
            "PROGRAM" => hex.as_str(),
            other => other,
        });
        let mut command = Command::new(env!("CARGO_BIN_EXE_bombus"));
        let output = command.arg("vm").args(args).output()?;
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8_lossy(&printed).replace(&name, "FILE");
        let printed: Vec<&str> =
            printed.lines().filter(|line| !line.ends_with(" ns a run")).collect();
        let expected: Vec<&str> = expected.lines().filter(|line| !line.is_empty()).collect();
        if printed != expected {
            return Err(format!("{command:?}\nexpected {expected:#?}\ngot {printed:#?}").into());
        }
        let failed = expected.iter().any(|line| line.starts_with("ERROR"));
        if output.status.code() != Some(failed.into()) {
            return Err(format!("{command:?} ended with {}", output.status).into());
        }
    }
    Ok(())
}

/// A file of a case, gone with it.
struct File(PathBuf);

impl File {
    fn new(number: usize, bytes: &[u8]) -> std::io::Result<File> {
        let name = format!("bombus-vm-{}-{number}.bin", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, bytes)?;
        Ok(File(path))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

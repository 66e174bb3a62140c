//! `bombus verify` from outside. `mistakes.txt` has commands and what they answer.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::Value;

fn main() {
    let text = std::fs::read_to_string(tests().join("verify/mistakes.txt")).expect("the cases");
    let mistakes = text.split("$ ").skip(1).map(str::to_owned).map(|case| {
        let name = case.lines().next().unwrap_or_default().to_owned();
        Trial::test(name, move || mistake(&case))
    });
    let mut trials: Vec<Trial> = mistakes.collect();
    trials.push(Trial::test("one object a program", one_object_a_program));
    trials.push(Trial::test("text and exit code agree", text_and_exit_code_agree));
    trials.push(Trial::test("kernels that are older", kernels_that_are_older));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn verify(args: &[&str]) -> std::io::Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bombus"));
    command.arg("verify").args(args).current_dir(tests()).output()
}

/// A command that cannot be carried out: what it says, and that it fails.
fn mistake(case: &str) -> Result<(), Failed> {
    let (args, expected) = case.split_once('\n').unwrap_or((case, ""));
    let output = verify(&args.split_whitespace().collect::<Vec<_>>())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let here = tests().display().to_string();
    if said.replace(&here, "HERE").trim() != expected.trim() || output.status.code() != Some(1) {
        return Err(format!("{}, and it said: {said}", output.status).into());
    }
    Ok(())
}

fn one_object_a_program() -> Result<(), Failed> {
    let output = verify(&["run/objects/wire.o", "-f", "json"])?;
    let text = String::from_utf8(output.stdout)?;
    let rows = text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    if rows.is_empty() {
        return Err("no programs".into());
    }
    let keys = ["program", "section", "verdict", "errno", "insns", "processed", "log"];
    for row in &rows {
        let found: Vec<&String> = row.as_object().ok_or("no object")?.keys().collect();
        if found != keys {
            return Err(format!("{found:?}").into());
        }
        let accepted = row["verdict"] == "accept";
        if accepted != (row["errno"] == 0) || row["insns"].as_u64() == Some(0) {
            return Err(format!("{row}").into());
        }
    }
    let all = rows.iter().all(|row| row["verdict"] == "accept");
    if output.status.code() != Some(i32::from(!all)) {
        return Err(format!("{} after {text}", output.status).into());
    }
    Ok(())
}

fn text_and_exit_code_agree() -> Result<(), Failed> {
    // It reads through a pointer that may be null.
    let output = verify(&["run/objects/refused.o"])?;
    let text = String::from_utf8(output.stdout)?;
    if output.status.code() != Some(1) || !text.contains(": refused: ") {
        return Err(format!("{}: {text}", output.status).into());
    }
    Ok(())
}

/// What a kernel does not have yet is refused with the version that brought it.
fn kernels_that_are_older() -> Result<(), Failed> {
    let cases = [
        ("4.6", Some("Linux 4.6 has no programs of type tracepoint; they came with 4.7")),
        ("5.4", Some("Linux 5.4 has no maps of type ringbuf, as events is; they came with 5.8")),
        ("6.12", None),
    ];
    for (kernel, complaint) in cases {
        let output = verify(&["run/objects/chdir.o", "--kernel", kernel])?;
        let text = String::from_utf8(output.stdout)?;
        let said = complaint.is_none_or(|complaint| text.contains(complaint));
        if output.status.success() != complaint.is_none() || !said {
            return Err(format!("{kernel}: {}: {text}", output.status).into());
        }
    }
    Ok(())
}

//! `cargo xtask matrix`: how many tests of which package pass on which kernel.
//!
//! The suites that speak to a kernel run on this machine's own and in the virtual machines; the
//! rest of the work tree's tests do not depend on the kernel. Nothing is compared here: the table
//! shows at a glance what was not tried where.

use std::process::{Command, Stdio};

/// The packages whose tests run on a Linux kernel. (Those of the command take the embedded kernel,
/// too, whichever Linux it is on.)
const ON_LINUX: &[&str] =
    &["bombus-kernel", "bombus-linux", "bombus-runtime", "bombus", "bombus-cli"];
/// What runs on the embedded kernel, and no virtual machine has more to say about: a package, and
/// a part of its tests' names.
const EMBEDDED: &[(&str, &str)] = &[("bombus-embedded", ""), ("bombus-cli", "embedded")];
/// How long a machine may take for all the suites, in seconds: emulated, and on a busy host.
const TIMEOUT: &str = "3000";
/// The virtual machines, by the names that `cargo xtask vm` knows.
const MACHINES: &[&str] = &["6.1", "6.12"];

/// What a suite's output says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
    /// Tests that found that they cannot run, and said so.
    skipped: u64,
}

/// Runs every suite everywhere and prints the table; fails when a test failed.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    if !args.is_empty() {
        return Err("usage: cargo xtask matrix".into());
    }
    let mut rows = Vec::new();
    for package in ON_LINUX {
        rows.push((*package, "Linux here", here(package, "")?));
    }
    for machine in MACHINES {
        let output = in_machine(machine)?;
        for package in ON_LINUX {
            rows.push((*package, *machine, read(&part(&output, package))));
        }
    }
    for (package, names) in EMBEDDED {
        rows.push((*package, "embedded", here(package, names)?));
    }
    println!("| package | kernel | passed | failed | ignored | skipped |");
    println!("|---|---|---:|---:|---:|---:|");
    for (package, kernel, Counts { passed, failed, ignored, skipped }) in &rows {
        println!("| {package} | {kernel} | {passed} | {failed} | {ignored} | {skipped} |");
    }
    let failed: u64 = rows.iter().map(|(.., counts)| counts.failed).sum();
    let silent = rows.iter().find(|(.., counts)| counts.passed == 0);
    match (failed, silent) {
        (0, None) => Ok(()),
        (0, Some((package, kernel, _))) => Err(format!("{package} on {kernel}: no test passed")),
        (failed, _) => Err(format!("{failed} tests failed")),
    }
}

fn here(package: &str, names: &str) -> Result<Counts, String> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    // Without --nocapture the reasons of what was skipped stay unseen.
    command.args(["test", "--quiet", "--no-fail-fast", "--package", package, "--"]);
    command.args([names, "--nocapture"]);
    counts(command)
}

/// What all the suites say in a virtual machine.
fn in_machine(machine: &str) -> Result<String, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(own);
    command.args(["vm", machine, "--timeout", TIMEOUT]);
    for package in ON_LINUX {
        command.args(["--test", package]);
    }
    output(command)
}

/// What one package's suites said there, each after a line `-- PACKAGE SUITE`.
fn part(output: &str, package: &str) -> String {
    let mut inside = false;
    let lines = output.lines().filter(|line| {
        if let Some(title) = line.trim_end().strip_prefix("-- ") {
            inside = title.split(' ').next() == Some(package);
        }
        inside
    });
    lines.fold(String::new(), |text, line| text + line + "\n")
}

fn counts(command: Command) -> Result<Counts, String> {
    output(command).map(|text| read(&text))
}

/// What a command prints; shown when a test fails.
fn output(mut command: Command) -> Result<String, String> {
    eprintln!("== {command:?}");
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("{command:?}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        print!("{text}");
    }
    Ok(text)
}

/// Adds up the results of all test programs in an output.
fn read(output: &str) -> Counts {
    let mut counts = Counts::default();
    for line in output.lines() {
        counts.skipped += u64::from(line.contains("skipped: "));
        let Some(result) = line.trim_start().strip_prefix("test result: ") else { continue };
        let number = |word: &str| -> u64 {
            let before = result.split(word).next().unwrap_or_default();
            let digits = before.rsplit(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty());
            digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
        };
        counts.passed += number(" passed");
        counts.failed += number(" failed");
        counts.ignored += number(" ignored");
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_add_up() {
        let output = "test a ... ok\nskipped: no root\n\
                      test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured\n\
                      test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured\n";
        let counts = Counts { passed: 16, failed: 2, ignored: 3, skipped: 1 };
        assert_eq!(read(output), counts);
        let of_two = format!("-- a unit\r\n{output}-- b unit\ntest result: ok. 1 passed;\n");
        assert_eq!(read(&part(&of_two, "a")), counts);
        assert_eq!(read(&part(&of_two, "b")).passed, 1);
    }
}

//! `cargo xtask matrix`: how many tests of which package pass on which kernel.
//!
//! The suites that speak to a kernel run on this machine's own and in the virtual machines; the
//! rest of the work tree's tests do not depend on the kernel. Nothing is compared here: the table
//! shows at a glance what was not tried where.

use std::process::{Command, Stdio};

/// The packages whose tests run on a Linux kernel.
const ON_LINUX: &[&str] = &["bombus-linux", "bombus"];
/// The packages whose tests run on the embedded kernel. They need no virtual machine.
const EMBEDDED: &[&str] = &["bombus-embedded"];
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
        rows.push((*package, "Linux here", here(package)?));
        for machine in MACHINES {
            rows.push((*package, *machine, in_machine(machine, package)?));
        }
    }
    for package in EMBEDDED {
        rows.push((*package, "embedded", here(package)?));
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

fn here(package: &str) -> Result<Counts, String> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    // Without --nocapture the reasons of what was skipped stay unseen.
    command.args(["test", "--quiet", "--no-fail-fast", "--package", package, "--"]);
    command.arg("--nocapture");
    counts(command)
}

fn in_machine(machine: &str, package: &str) -> Result<Counts, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(own);
    command.args(["vm", machine, "--test", package]);
    counts(command)
}

fn counts(mut command: Command) -> Result<Counts, String> {
    eprintln!("== {command:?}");
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("{command:?}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let counts = read(&text);
    if counts.failed > 0 || (counts == Counts::default() && !output.status.success()) {
        print!("{text}");
    }
    Ok(counts)
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
    }
}

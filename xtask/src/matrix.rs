//! `cargo xtask matrix`: how many tests of which package pass on which kernel.
//!
//! The suites that speak to a kernel run on this machine's own and in the virtual machines; the
//! rest of the work tree's tests do not depend on the kernel. Nothing is compared here: the table
//! shows at a glance what was not tried where. How each suite ended is said as soon as it has.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

/// The packages whose tests run on a Linux kernel. (Those of the command take the embedded kernel,
/// too, whichever Linux it is on.)
const ON_LINUX: &[&str] =
    &["bombus-kernel", "bombus-linux", "bombus-runtime", "bombus", "bombus-cli"];
/// What runs on the embedded kernel, and no virtual machine has more to say about: a package, and
/// a part of its tests' names.
const EMBEDDED: &[(&str, &str)] = &[("bombus-embedded", ""), ("bombus-cli", "embedded")];
/// How long a machine may take for all the suites, in seconds: emulated, and on a busy host.
const TIMEOUT: &str = "7200";
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
        let results = in_machine(machine)?;
        rows.extend(ON_LINUX.iter().map(|package| (*package, *machine, results.of(package))));
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

fn here(package: &'static str, names: &str) -> Result<Counts, String> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    // Without --nocapture the reasons of what was skipped stay unseen.
    command.args(["test", "--quiet", "--no-fail-fast", "--package", package, "--"]);
    command.args([names, "--nocapture"]);
    Ok(results(command, package)?.of(package))
}

/// What all the suites come to in a virtual machine.
fn in_machine(machine: &str) -> Result<Results, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(own);
    command.args(["vm", machine, "--timeout", TIMEOUT]);
    for package in ON_LINUX {
        command.args(["--test", package]);
    }
    results(command, ON_LINUX[0])
}

/// Runs test programs. What they print is shown when one fails.
fn results(mut command: Command, package: &str) -> Result<Results, String> {
    let words = format!("{command:?}");
    eprintln!("== {words}");
    let failed = |error| format!("{words}: {error}");
    let child = command.stdout(Stdio::piped()).spawn();
    let mut child = child.map_err(failed)?;
    let mut results = Results::new(package);
    let mut text = String::new();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            if let Some(ended) = results.hear(line.trim_end()) {
                eprintln!("{ended}");
            }
            text = text + line.trim_end() + "\n";
        }
    }
    let status = child.wait().map_err(failed)?;
    results.end(status.success());
    if !status.success() {
        print!("{text}");
    }
    Ok(results)
}

/// What the test programs of some packages came to so far.
struct Results {
    packages: BTreeMap<String, Counts>,
    /// Whose turn it is: the package, and the program as far as it is known.
    package: String,
    program: String,
    since: Instant,
    /// Whether there is a program that has not said what it comes to.
    running: bool,
}

impl Results {
    /// All is of this package until a line `-- PACKAGE PROGRAM` says otherwise.
    fn new(package: &str) -> Results {
        Results {
            packages: BTreeMap::new(),
            package: package.to_owned(),
            program: String::new(),
            since: Instant::now(),
            running: false,
        }
    }

    fn of(&self, package: &str) -> Counts {
        self.packages.get(package).copied().unwrap_or_default()
    }

    /// Takes a line of the output in; the end of a program is something to be told.
    fn hear(&mut self, line: &str) -> Option<String> {
        if let Some((package, program)) = line.strip_prefix("-- ").and_then(|t| t.split_once(' ')) {
            self.leave();
            (self.package, self.program) = (package.to_owned(), program.to_owned());
            (self.since, self.running) = (Instant::now(), true);
        }
        let counts = self.packages.entry(self.package.clone()).or_default();
        counts.skipped += u64::from(line.contains("skipped: "));
        let result = line.trim_start().strip_prefix("test result: ")?;
        counts.passed += number(result, " passed");
        counts.failed += number(result, " failed");
        counts.ignored += number(result, " ignored");
        let seconds = self.since.elapsed().as_secs();
        (self.since, self.running) = (Instant::now(), false);
        Some(format!("{} {}: {result} ({seconds} s)", self.package, self.program))
    }

    /// A program that never said what it comes to has failed.
    fn leave(&mut self) {
        if self.running {
            self.packages.entry(self.package.clone()).or_default().failed += 1;
        }
    }

    /// There is no more; the status says whether all went well.
    fn end(&mut self, success: bool) {
        self.leave();
        let failed: u64 = self.packages.values().map(|counts| counts.failed).sum();
        if !success && failed == 0 {
            self.packages.entry(self.package.clone()).or_default().failed = 1;
        }
    }
}

/// The number before this word; 0 without it.
fn number(result: &str, word: &str) -> u64 {
    let before = result.split_once(word).map_or("", |(before, _)| before);
    let digits = before.rsplit(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "test a ... ok\nskipped: no root\n\
                          test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured\n\
                          test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured\n";
    const COUNTS: Counts = Counts { passed: 16, failed: 2, ignored: 3, skipped: 1 };

    fn read(output: &str, success: bool) -> Results {
        let mut results = Results::new("a");
        output.lines().for_each(|line| drop(results.hear(line)));
        results.end(success);
        results
    }

    #[test]
    fn results_add_up() {
        assert_eq!(read(OUTPUT, false).of("a"), COUNTS);
        let two = read(&format!("-- a x\n{OUTPUT}-- b x\ntest result: ok. 1 passed;\n"), false);
        assert_eq!((two.of("a"), two.of("b").passed), (COUNTS, 1));
    }

    #[test]
    fn what_does_not_end_has_failed() {
        let cut = "-- a x\ntest one ... ok\n";
        assert_eq!(read(cut, false).of("a").failed, 1);
        assert_eq!(
            read(&format!("{cut}-- b x\ntest result: ok. 1 passed\n"), true).of("a").failed,
            1
        );
        assert_eq!(read("test result: ok. 1 passed\n", false).of("a").failed, 1);
        assert_eq!(read("test result: ok. 1 passed\n", true).of("a").failed, 0);
    }
}

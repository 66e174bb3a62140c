//! The language suite: scripts with what they print, run on both kernels and, when `BPFTRACE` names
//! a bpftrace 0.27, on that too. The files are in `tests/language` at the top of the repository.
//!
//! A case starts with `=== name`. Its sections:
//!
//! * `script:` the script; `args:` further arguments, separated by blanks
//! * `command:` runs under observation (`-c`), on the running kernel with `--tree`
//! * `kernels:` where it can run: some of `embedded linux bpftrace`; all when absent
//! * `status:` the exit status; 0 when absent
//! * `stdout:` what it prints, to the byte; a last line `\` means that no newline comes before the
//!   end. `json:` the same with `-f json`. `contains:` lines that must be there, in any order, and
//!   `stderr:` lines that standard error must have. Warnings are off, but for `warnings:`, which
//!   has lines that standard error must have then, bpftrace's too
//! * `same:` says that the output differs from machine to machine, and must only be the same
//!   everywhere

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};

#[derive(Clone, Default)]
struct Case {
    name: String,
    sections: BTreeMap<String, String>,
}

const SECTIONS: [&str; 11] = [
    "script", "args", "command", "kernels", "status", "stdout", "json", "contains", "stderr",
    "warnings", "same",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kernel {
    Embedded,
    Linux,
    Bpftrace,
}

impl Kernel {
    const ALL: [Kernel; 3] = [Kernel::Embedded, Kernel::Linux, Kernel::Bpftrace];

    fn name(self) -> &'static str {
        match self {
            Kernel::Embedded => "embedded",
            Kernel::Linux => "linux",
            Kernel::Bpftrace => "bpftrace",
        }
    }

    /// Why nothing can run on it here.
    fn missing(self) -> Option<String> {
        match self {
            Kernel::Embedded => None,
            Kernel::Linux => {
                let probe = ["--kernel", "linux", "-q", "-e", "BEGIN { exit(); }"];
                match Command::new(env!("CARGO_BIN_EXE_bombus")).args(probe).output() {
                    Ok(output) if output.status.success() => None,
                    Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
                    Err(error) => Some(error.to_string()),
                }
            }
            Kernel::Bpftrace => bpftrace().is_none().then(|| "BPFTRACE is not set".to_owned()),
        }
    }

    fn run(self, case: &Case, format: &str) -> Result<Output, Failed> {
        let section = |name: &str| case.sections.get(name).map(|text| text.trim());
        let mut command = match self {
            Kernel::Bpftrace => {
                let words = bpftrace().ok_or("BPFTRACE is empty")?;
                let mut command = Command::new(&words[0]);
                command.args(&words[1..]);
                command
            }
            _ => {
                let mut command = Command::new(env!("CARGO_BIN_EXE_bombus"));
                command.args(["--kernel", self.name()]);
                if section("command").is_some() && self == Kernel::Linux {
                    command.arg("--tree");
                }
                command
            }
        };
        command.args(["-q", "-f", format]);
        if section("warnings").is_none() {
            command.arg("--no-warnings");
        }
        if let Some(traced) = section("command") {
            command.args(["-c", traced]);
        }
        let script = section("script").ok_or("the case has no script")?;
        command.args(["-e", script]);
        command.args(section("args").unwrap_or_default().split_whitespace());
        Ok(command.output()?)
    }
}

/// The words of `BPFTRACE`, for example `chroot /srv/sid bpftrace`.
fn bpftrace() -> Option<Vec<String>> {
    let command = std::env::var("BPFTRACE").ok()?;
    let words: Vec<_> = command.split_whitespace().map(str::to_owned).collect();
    (!words.is_empty()).then_some(words)
}

impl Case {
    fn parse_all(file: &str) -> Vec<Case> {
        let mut cases = Vec::<Case>::new();
        let mut section = String::new();
        for line in file.lines() {
            if let Some(name) = line.strip_prefix("=== ") {
                cases.push(Case { name: name.to_owned(), ..Case::default() });
                continue;
            }
            let Some(case) = cases.last_mut() else { continue };
            match line.split_once(':') {
                Some((name, rest)) if SECTIONS.contains(&name) => {
                    section = name.to_owned();
                    let start = if rest.is_empty() { String::new() } else { format!("{rest}\n") };
                    case.sections.insert(section.clone(), start);
                }
                _ => {
                    let text = case.sections.entry(section.clone()).or_default();
                    text.push_str(line);
                    text.push('\n');
                }
            }
        }
        for text in cases.iter_mut().flat_map(|case| case.sections.values_mut()) {
            if let Some(open) = text.strip_suffix("\\\n") {
                *text = open.to_owned();
            }
        }
        cases
    }

    fn runs_on(&self, kernel: Kernel) -> bool {
        let kernels = self.sections.get("kernels");
        kernels.is_none_or(|kernels| kernels.split_whitespace().any(|name| name == kernel.name()))
    }

    /// Runs on one kernel, and holds what comes out against the case.
    fn check(&self, kernel: Kernel) -> Result<(), Failed> {
        for (format, section) in [("text", "stdout"), ("json", "json")] {
            let expected = self.sections.get(section);
            let needed =
                expected.is_some() || (format == "text" && !self.sections.contains_key("json"));
            if !needed {
                continue;
            }
            let output = kernel.run(self, format)?;
            let (out, err) = (text(&output.stdout), text(&output.stderr));
            let context = |what: String| {
                format!("{what}\n-- {format}, standard output:\n{out}\n-- standard error:\n{err}")
            };
            // bpftrace's own status says nothing about the command's.
            let comparable = kernel != Kernel::Bpftrace || !self.sections.contains_key("command");
            let status = match self.sections.get("status") {
                Some(status) => status.trim().parse().map_err(|_| "status: is no number")?,
                None => 0,
            };
            if comparable && output.status.code() != Some(status) {
                return Err(
                    context(format!("expected status {status}, got {}", output.status)).into()
                );
            }
            if let Some(expected) = expected
                && *expected != out
            {
                return Err(context(format!("expected:\n{expected}")).into());
            }
            let has = |name: &str, text: &str| {
                let lines = self.sections.get(name).map_or("", String::as_str).lines();
                let missing: Vec<_> = lines.filter(|line| !text.contains(line)).collect();
                missing.first().map(|line| context(format!("missing: {line}")))
            };
            let on_err = if kernel == Kernel::Bpftrace { None } else { has("stderr", &err) };
            // In JSON they are on standard output.
            let warnings = if format == "text" { has("warnings", &err) } else { None };
            if let Some(message) = has("contains", &out).or(on_err).or(warnings) {
                return Err(message.into());
            }
        }
        Ok(())
    }

    /// Runs everywhere, and compares.
    fn check_same(&self, kernels: &[Kernel]) -> Result<(), Failed> {
        let mut first = None;
        for &kernel in kernels.iter().filter(|&&kernel| self.runs_on(kernel)) {
            let output = kernel.run(self, "text")?;
            let (out, err) = (text(&output.stdout), text(&output.stderr));
            let (name, expected) = first.get_or_insert_with(|| (kernel.name(), out.clone()));
            if *expected != out {
                let message = format!(
                    "{name} printed:\n{expected}\n{} printed:\n{out}\n-- standard error:\n{err}",
                    kernel.name()
                );
                return Err(message.into());
            }
        }
        Ok(())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/language");
    let entries = std::fs::read_dir(directory).expect("the suite is there");
    let mut files: Vec<_> =
        entries.map(|entry| entry.expect("the suite can be listed").path()).collect();
    files.sort();
    files
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut kernels = Vec::new();
    for kernel in Kernel::ALL {
        match kernel.missing() {
            None => kernels.push(kernel),
            Some(reason) => eprintln!("skipped: everything on {}: {reason}", kernel.name()),
        }
    }
    let mut trials = Vec::new();
    for path in files() {
        let file = std::fs::read_to_string(&path).expect("a case file can be read");
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for case in Case::parse_all(&file).into_iter().map(Arc::new) {
            let name = format!("{stem}/{}", case.name);
            if case.sections.contains_key("same") {
                let kernels = kernels.clone();
                trials.push(Trial::test(name, move || case.check_same(&kernels)));
                continue;
            }
            for kernel in Kernel::ALL.into_iter().filter(|&kernel| case.runs_on(kernel)) {
                let ignored = !kernels.contains(&kernel);
                let (case, name) = (case.clone(), format!("{name} ({})", kernel.name()));
                let trial = Trial::test(name, move || case.check(kernel));
                trials.push(trial.with_ignored_flag(ignored));
            }
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

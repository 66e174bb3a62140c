//! Values in, text and JSON out. The cases are files in `tests/cases`; each names the bpftrace
//! script that gave the expected forms. With `BPFTRACE=<command>` in the environment the scripts
//! run again and the expectations are held against the reference itself.

mod notation;

use std::path::Path;
use std::process::{Command, ExitCode};

use bombus_report::Format;
use libtest_mimic::{Arguments, Failed, Trial};

/// A section of a case file.
struct Case {
    name: String,
    script: String,
    show: String,
    text: String,
    json: String,
}

impl Case {
    fn parse_all(file: &str) -> Vec<Case> {
        let mut cases = Vec::<Case>::new();
        let mut block = String::new();
        for line in file.lines() {
            if let Some(name) = line.strip_prefix("=== ") {
                let name = name.to_owned();
                let empty = String::new;
                let (script, show, text, json) = (empty(), empty(), empty(), empty());
                cases.push(Case { name, script, show, text, json });
                block.clear();
                continue;
            }
            let Some(case) = cases.last_mut() else { continue };
            match line.split_once(':') {
                Some(("script", script)) => case.script.push_str(script.trim()),
                Some(("show", show)) => {
                    case.show.push_str(show.trim());
                    case.show.push('\n');
                }
                Some((head @ ("text" | "json"), "")) => block = head.to_owned(),
                _ => {
                    let target = if block == "text" { &mut case.text } else { &mut case.json };
                    target.push_str(line);
                    target.push('\n');
                }
            }
        }
        cases
    }

    fn check(&self) -> Result<(), Failed> {
        for (format, expected) in [(Format::Text, &self.text), (Format::Json, &self.json)] {
            let mut got = Vec::new();
            for line in self.show.lines() {
                notation::render(line, format, &mut got)?;
            }
            // Files end sections with one newline whatever the output ends with.
            let got = String::from_utf8_lossy(&got).into_owned();
            same(got.trim_end_matches('\n'), expected.trim_end_matches('\n'))?;
        }
        Ok(())
    }

    fn check_reference(&self, bpftrace: &str) -> Result<(), Failed> {
        for (format, expected) in [("text", &self.text), ("json", &self.json)] {
            let mut words = bpftrace.split_whitespace();
            let program = words.next().ok_or("BPFTRACE is empty")?;
            let output = Command::new(program)
                .args(words)
                .args(["-q", "--no-warnings", "-f", format, "-e", &self.script])
                .output()?;
            let got = String::from_utf8_lossy(&output.stdout).into_owned();
            same(got.trim_matches('\n'), expected.trim_matches('\n'))?;
        }
        Ok(())
    }
}

fn same(got: &str, expected: &str) -> Result<(), Failed> {
    match got == expected {
        true => Ok(()),
        false => Err(format!("expected:\n{expected}\n\ngot:\n{got}").into()),
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let bpftrace = std::env::var("BPFTRACE").ok().filter(|command| !command.is_empty());
    if bpftrace.is_none() {
        eprintln!("skipped: comparison with bpftrace itself (BPFTRACE is not set)");
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut trials = Vec::new();
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .expect("the cases are there")
        .map(|entry| entry.expect("the cases can be listed").path())
        .collect();
    files.sort();
    for path in files {
        let file = std::fs::read_to_string(&path).expect("a case file can be read");
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for case in Case::parse_all(&file) {
            let name = format!("{stem}/{}", case.name);
            let case = std::sync::Arc::new(case);
            if let Some(bpftrace) = bpftrace.clone().filter(|_| !case.script.is_empty()) {
                let case = case.clone();
                let check = move || case.check_reference(&bpftrace);
                trials.push(Trial::test(format!("{name} (bpftrace)"), check));
            }
            trials.push(Trial::test(name, move || case.check()));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

//! Runs `tests/syntax/*.bt`: scripts with what the parser must make of them.
//!
//! A file is a script, then sections that start with a line `======== tree` (the tree),
//! `======== print` (the canonical source) or `======== diagnostics` (the messages). Every file
//! is also printed and parsed again, which must give the same tree, if it has no errors.
//! `BLESS=1` writes what comes out into the files; a file without sections gets the messages, or
//! the tree when there are none.

use std::fs;
use std::path::{Path, PathBuf};

use bombus_script::diagnostic::Source;
use bombus_script::render::render;
use bombus_script::syntax::{dump, parse, print};
use libtest_mimic::{Arguments, Failed, Trial};

const MARK: &str = "======== ";

fn main() {
    let args = Arguments::from_args();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/syntax");
    let mut paths: Vec<PathBuf> = fs::read_dir(&dir)
        .expect("the test files")
        .map(|entry| entry.expect("a test file").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "bt"))
        .collect();
    paths.sort();
    let trials = paths
        .into_iter()
        .map(|path| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            Trial::test(name, move || check(&path))
        })
        .collect();
    libtest_mimic::run(&args, trials).exit();
}

/// Compares a file with what comes out of its script, or rewrites it.
fn check(path: &Path) -> Result<(), Failed> {
    let text = fs::read_to_string(path)?;
    let (script, mut sections) = split(&text);
    let source = Source::new("stdin", script);
    let (program, diagnostics) = parse(&source);
    if sections.is_empty() {
        sections.push(if diagnostics.is_empty() { "tree" } else { "diagnostics" });
    }
    let mut actual = script.to_string();
    for section in sections {
        let body = match section {
            "tree" => dump(&program, false),
            "print" => print(&program),
            "diagnostics" => render(&source, &diagnostics, false),
            _ => return Err(format!("there is no section `{section}`").into()),
        };
        actual.push_str(&format!("{MARK}{section}\n{body}"));
    }
    if diagnostics.is_empty() {
        let printed = Source::new("printed", print(&program));
        let (again, diagnostics) = parse(&printed);
        if !diagnostics.is_empty() || dump(&again, false) != dump(&program, false) {
            let messages = render(&printed, &diagnostics, false);
            return Err(format!("the printed script differs:\n{}\n{messages}", printed.text).into());
        }
    }
    if actual == text {
        return Ok(());
    }
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, actual)?;
        return Ok(());
    }
    Err(format!("expected:\n{text}\ngot (BLESS=1 accepts it):\n{actual}").into())
}

/// The script, and the names of the sections after it.
fn split(text: &str) -> (&str, Vec<&str>) {
    let sections = text.lines().filter_map(|line| line.strip_prefix(MARK)).collect::<Vec<&str>>();
    let script = match text.find(MARK) {
        Some(end) => &text[..end],
        None => text,
    };
    (script, sections)
}

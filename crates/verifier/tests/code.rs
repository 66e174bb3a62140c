//! What can be told of programs without following their paths: `tests/code/*.txt`.
//!
//! A file has cases: `=== NAME`, lines that begin with `@` (what the program comes with, what is to
//! be shown), the program as assembly text, `---`, and what is said of it: the error and the
//! kernel's words, or what was to be shown. With `BLESS=1` in the environment what came out is
//! written as what is expected.

#[path = "code/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};

use bombus_verifier::explain::{CLASSES, Class};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/code");
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .expect("tests/code is there")
        .map(|entry| entry.expect("its entries can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    let trial = |path: PathBuf| {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Trial::test(name, move || check(&path))
    };
    let mut trials: Vec<Trial> = files.into_iter().map(trial).collect();
    trials.push(Trial::test("EXPLANATIONS.md is the table of classes", table));
    libtest_mimic::run(&arguments, trials).exit();
}

/// What users read of the classes of refusals is made of the table.
fn table() -> Result<(), Failed> {
    let mut text = String::from(
        "# Why programs are refused\n\n\
         The ids that `bombus verify --explain` gives refusals. They stay the same.\n\n\
         With `-f json`, the object of a refused program has `explanation`: `id`, `title`, `message`\n\
         (what is wrong, in a line), `place` (`file`, `line`, `column` from 1, `text`, and `underlined`:\n\
         the first byte of the text and the one after the last), `slot` and `instruction`, `needs` (what\n\
         would have to be known), `proven` (what is known instead), `witness` (numbers that break it),\n\
         `path` (what leads there: `slot`, `place`, `text` each), `advice` (what helps, as a rule), and\n\
         `suggestion` (a change that was verified: `text`, `place`, `before_slot` and `instructions`: what\n\
         was put in; `accepted`: whether the whole program is accepted with it; `then`: if not, what is\n\
         refused next). What is not known is null.\n\n\
         | id | what is wrong | what it means | what helps |\n|---|---|---|---|\n",
    );
    for class in CLASSES {
        let Class { id, title, meaning, advice, .. } = class;
        text += &format!("| `{id}` | {title} | {meaning} | {advice} |\n");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("EXPLANATIONS.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, text)?;
        return Ok(());
    }
    match std::fs::read_to_string(path)? == text {
        true => Ok(()),
        false => Err("it is not; BLESS=1 writes it".into()),
    }
}

fn check(path: &Path) -> Result<(), Failed> {
    let file = std::fs::read_to_string(path)?;
    let (header, cases) = file.split_once("=== ").ok_or("there are no cases")?;
    let mut written = header.to_owned();
    let mut wrong = Vec::new();
    for case in cases.split("\n=== ") {
        let (name, rest) = case.split_once('\n').ok_or("a case is empty")?;
        let (program, expected) = rest.split_once("---\n").ok_or(format!("{name}: no `---`"))?;
        let said = support::run(program).map_err(|error| format!("{name}: {error}"))?;
        if said.trim_end() != expected.trim_end() {
            wrong.push(format!("{name}\n  expected:\n{expected}\n  said:\n{said}"));
        }
        written += &format!("=== {name}\n{program}---\n{}\n\n", said.trim_end());
    }
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, format!("{}\n", written.trim_end()))?;
        return Ok(());
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

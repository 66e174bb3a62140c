//! Programs with what they must give, on every engine. See `README.md` for the form of the files.

mod case;
mod checked;
mod native;

use std::path::Path;

use case::Case;
use libtest_mimic::{Arguments, Failed, Trial};

/// Runs a case; gives what stands after `=> ` in the files.
type Engine = fn(&Case) -> Result<String, Failed>;

/// The engines, and whether they only run sound programs.
const ENGINES: &[(&str, bool, Engine)] = &[
    ("checked", false, checked::run),
    ("guarded", false, checked::guarded),
    ("interp", true, native::interp),
    #[cfg(target_arch = "x86_64")]
    ("jit", true, native::jit),
    #[cfg(target_arch = "x86_64")]
    ("optimised", true, native::optimised),
];

fn check(case: &Case, engine: Engine) -> Result<(), Failed> {
    let result = engine(case)?;
    if result == case.expected {
        return Ok(());
    }
    Err(format!("expected: {}\n     got: {result}", case.expected).into())
}

fn main() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut trials = Vec::new();
    for entry in std::fs::read_dir(directory).expect("the directory of cases") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let topic = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("a file of cases");
        for case in case::parse(&text) {
            for &(engine, only_sound, run) in ENGINES {
                if only_sound && !case.is_about_a_sound_program() {
                    continue;
                }
                let (name, case) = (format!("{engine}::{topic}::{}", case.name), case.clone());
                trials.push(Trial::test(name, move || check(&case, run)));
            }
        }
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

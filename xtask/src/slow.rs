//! `cargo xtask slow`: what must hold before a change lands, too, and takes minutes: the proofs, the
//! score on the kernel's tests of its verifier, and a while of the fuzzers, from fixed seeds.

use std::path::Path;

use crate::{corpus, fuzz, prove};

/// At as many bits as is on record; the machine may have other things to do.
const PROOFS: &[&str] = &["--recorded", "--seconds", "300"];
/// Programs that the verifier accepts are run with its states at hand.
const STATES: &[&str] = &["verifier", "--count", "10000", "--runs", "100", "--seed", "1"];
/// Corrupt objects are read, loaded and verified.
const OBJECTS: &[&str] = &["objects", "--count", "20000", "--seed", "1", "--largest", "32"];
/// Valid programs are run on every engine.
const ENGINES: &[&str] = &["vm", "--programs", "10000", "--seed", "1"];

/// Runs one after the other and stops at the first that fails.
pub(crate) fn run(_args: &[String]) -> Result<(), String> {
    println!("== proofs");
    match prove::solver() {
        Ok(()) => prove::run(&words(PROOFS))?,
        Err(reason) => println!("skipped: {reason}"),
    }
    println!("== corpus");
    // When the archive has this release no longer, that is nobody's mistake.
    match corpus::download() {
        Ok(()) => {
            let (objects, types) = corpus::made()?;
            corpus::run(&words(&["--check"]))?;
            println!("== corrupt objects");
            let given = [text(&objects)?, text(&types)?];
            let mut arguments = OBJECTS.to_vec();
            arguments.extend(["--objects", &given[0], "--btf", &given[1]]);
            fuzz::run(&words(&arguments))?;
        }
        Err(reason) => println!("skipped: {reason}"),
    }
    println!("== states");
    fuzz::run(&words(STATES))?;
    println!("== engines");
    fuzz::run(&words(ENGINES))
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn text(path: &Path) -> Result<String, String> {
    path.to_str().map(str::to_owned).ok_or_else(|| format!("{path:?} is no text"))
}

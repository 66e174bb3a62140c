//! `bombus prog|map|link|...` against bpftool, over objects that these tests make: the text and the
//! JSON have to be the same.
//!
//! The newest bpftool is the reference; `BPFTOOL` names another than the installed one. What older
//! ones say differently is in [`oracle`]; what they do not have is skipped, and counted as ignored.

mod errors;
mod fixture;
mod hooks;
mod links;
mod maps;
mod network;
mod object_files;
mod objects;
mod oracle;
mod running;
mod script;
mod structures;
mod typed;

use libtest_mimic::{Arguments, Completion, Trial};

/// Why a trial did not come to its end.
enum Unmet {
    /// Both say something else, or one of them failed.
    Different(String),
    /// There is nothing to compare here, and why.
    Skipped(String),
}

impl From<String> for Unmet {
    fn from(message: String) -> Unmet {
        Unmet::Different(message)
    }
}

impl From<&str> for Unmet {
    fn from(message: &str) -> Unmet {
        Unmet::Different(message.to_owned())
    }
}

/// What a trial comes to.
type Outcome = Result<(), Unmet>;

/// A test and its name.
type Test = (&'static str, fn() -> Outcome);

const TESTS: &[&[Test]] = &[
    errors::TESTS,
    hooks::TESTS,
    links::TESTS,
    maps::TESTS,
    network::TESTS,
    object_files::TESTS,
    objects::TESTS,
    running::TESTS,
    script::TESTS,
    structures::TESTS,
    typed::TESTS,
];

fn main() {
    let arguments = Arguments::from_args();
    let missing = oracle::missing().err();
    let trials = TESTS.concat().into_iter().map(|(name, test)| {
        let missing = missing.clone();
        Trial::ignorable_test(name, move || {
            let outcome = match missing {
                Some(reason) => Err(Unmet::Skipped(reason)),
                None => test(),
            };
            match outcome {
                Ok(()) => Ok(Completion::Completed),
                Err(Unmet::Different(message)) => Err(message.into()),
                Err(Unmet::Skipped(reason)) => {
                    println!("skipped: {name}: {reason}");
                    Ok(Completion::ignored_with(reason))
                }
            }
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

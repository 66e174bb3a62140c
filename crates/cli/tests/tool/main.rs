//! `bombus prog|map|link|...` against bpftool, over objects that these tests make: the text and the
//! JSON have to be the same.
//!
//! The newest bpftool is the reference; `BPFTOOL` names another than the installed one. What older
//! ones say differently is in [`oracle`].

mod errors;
mod fixture;
mod hooks;
mod maps;
mod objects;
mod oracle;
mod script;
mod typed;

use libtest_mimic::{Arguments, Failed, Trial};

/// A test and its name.
type Test = (&'static str, fn() -> Result<(), String>);

fn main() {
    let arguments = Arguments::from_args();
    let tests: Vec<Test> =
        [errors::TESTS, hooks::TESTS, maps::TESTS, objects::TESTS, script::TESTS, typed::TESTS]
            .concat();
    let missing = oracle::missing().err();
    let trials = tests.into_iter().map(|(name, test)| {
        if let Some(reason) = &missing {
            println!("{name} skipped: {reason}");
        }
        Trial::test(name, move || test().map_err(Failed::from)).with_ignored_flag(missing.is_some())
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

//! Whatever the text, compiling gives a plan or messages that point into it; it never panics.

mod world;

use std::fs;
use std::path::Path;

use bombus_script::diagnostic::{Severity, Source};
use bombus_script::{Env, Options, compile};
use proptest::prelude::*;

/// The scripts of the other tests, without what is expected of them.
fn scripts() -> Vec<String> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut scripts = Vec::new();
    for dir in ["check", "lower", "syntax"] {
        for entry in fs::read_dir(tests.join(dir)).expect("the test files") {
            let text = fs::read_to_string(entry.expect("a test file").path()).expect("text");
            let end = text.find("======== ").unwrap_or(text.len());
            scripts.push(text[..end].to_string());
        }
    }
    scripts.sort();
    scripts
}

/// What is put into scripts: each is at home in some other place.
const PIECES: [&str; 24] = [
    "@x",
    "@x[1]",
    "$x",
    "(1, \"a\")",
    "\"text\"",
    "-1",
    "18446744073709551615",
    "comm",
    "pid",
    "probe",
    "args.fd",
    "count()",
    "hist(5)",
    "str(5)",
    "{ 1 }",
    " ? 1 : ",
    " + ",
    " == ",
    "++",
    "(int8)",
    "unroll(9) { @++; }",
    "for ($k : @x) { exit(); }",
    "if (1) { } else { }",
    "*",
];

fn try_to_compile(text: String) -> Result<(), TestCaseError> {
    let source = Source::new("stdin", text);
    for features in [world::features(), world::old_features()] {
        let env = Env { catalog: &world::World, binaries: &world::World, features: &features };
        if let Err(found) = compile(&source, &env, &Options::default()) {
            prop_assert!(found.iter().any(|message| message.severity == Severity::Error));
            for message in found {
                prop_assert!(message.span.end as usize <= source.text.len());
                let internal = message.message.contains("internal error");
                prop_assert!(!internal, "{} in:\n{}", message.message, source.text);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Scripts with pieces of others in them, and pieces of theirs gone.
    #[test]
    fn mutated_scripts_never_panic(
        script in prop::sample::select(scripts()),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..8, prop::option::of(prop::sample::select(PIECES.to_vec()))), 1..4),
    ) {
        let mut text: Vec<char> = script.chars().collect();
        for (at, gone, piece) in edits {
            let at = at.index(text.len() + 1);
            let end = (at + gone).min(text.len());
            text.splice(at..end, piece.unwrap_or_default().chars());
        }
        try_to_compile(text.into_iter().collect())?;
    }
}

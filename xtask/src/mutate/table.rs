//! The table of what became of the mutants.

use std::fmt::Write as _;

use super::equivalent::Equivalent;
use super::{Class, FILES, Mutant, Verdict};

/// Classes that have a column; what remains has two: equivalent or not.
const COLUMNS: [Class; 5] =
    [Class::Exhaustive, Class::Precision, Class::Fuzzer, Class::Snapshot, Class::Hang];

const HEAD: &str = "\
# Mutants of the verifier

What `cargo xtask mutate verifier --table crates/verifier/MUTANTS.md` found. Each mutant is the verifier
with one operator changed: `<` to `<=`, `&` to `|`, `+` to `-`, the two values of a `select` swapped, and
so on; those of files outside of `domain` have comparisons, `&&` and `||` changed. The columns say who
noticed first:

* exhaustive: a test of `tests/operators.rs`: a number that can be is not among those of the result;
* precision: a table of `tests/precision.rs`: the results say more or less than they did (the tests
  before look at one of eleven values alone, so some of these may lose numbers, too);
* fuzzer: a run of a random program was in a state that the verifier held for impossible, out of bounds,
  or the verifier contradicted itself or panicked;
* snapshot: a case of `tests/code`;
* hang: one of those took more than five times as much of a processor as without the mutant;
* equivalent: nobody, for it is no mistake: the reasons are below.

";

/// The whole of it.
pub(super) fn text(judged: &[(&Mutant, Verdict)], equivalents: &[Equivalent]) -> String {
    let mut text = HEAD.to_owned();
    text += "| file | mutants | exhaustive | precision | fuzzer | snapshot | hang | equivalent | \
             not caught |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|\n";
    let is_listed =
        |mutant: &Mutant| equivalents.iter().any(|equivalent| equivalent.key == mutant.key());
    let mut row = |name: &str, path: &str| {
        let here: Vec<_> = judged.iter().filter(|(mutant, _)| mutant.file.contains(path)).collect();
        if here.is_empty() {
            return;
        }
        let _ = write!(text, "| {name} | {} ", here.len());
        for class in COLUMNS {
            let count = here.iter().filter(|(_, verdict)| verdict.class == class).count();
            let _ = write!(text, "| {count} ");
        }
        let rest: Vec<_> = here.iter().filter(|(_, verdict)| !verdict.class.is_caught()).collect();
        let listed = rest.iter().filter(|(mutant, _)| is_listed(mutant)).count();
        let _ = writeln!(text, "| {listed} | {} |", rest.len() - listed);
    };
    FILES.iter().for_each(|file| row(file.path, file.path));
    row("all", "");
    let mut place = ("", "");
    for Equivalent { key, file, text: line, change, reason } in equivalents {
        let is_one = |(mutant, _): &&(&Mutant, Verdict)| mutant.key() == *key;
        if judged.iter().find(is_one).is_none_or(|(_, verdict)| verdict.class.is_caught()) {
            continue;
        }
        if place.0 != file {
            let _ = write!(text, "\n## Equivalent: {file}\n");
        }
        if place != (file, line) {
            let _ = write!(text, "\n`{line}`\n\n");
        }
        place = (file, line);
        let _ = writeln!(text, "* `{change}`: {reason}");
    }
    let is_left =
        |(mutant, verdict): &&(&Mutant, Verdict)| !verdict.class.is_caught() && !is_listed(mutant);
    let left: Vec<_> = judged.iter().filter(is_left).collect();
    if !left.is_empty() {
        text += "\n## Not caught\n\n";
    }
    for (Mutant { file, site, .. }, verdict) in left {
        let change = site.change();
        let _ = writeln!(
            text,
            "* {file}:{}: `{}`: `{change}`: {}",
            site.line,
            site.text,
            verdict.class.name()
        );
    }
    text
}

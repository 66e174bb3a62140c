//! The score must not fall: `score.txt` has how many cases of each file agreed when it was written.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::score::Counts;
use crate::vm;

/// Beside this file.
const RECORD: &str = "xtask/src/corpus/score.txt";

/// Writes the score down.
pub(super) fn update(files: &BTreeMap<String, Counts>) -> Result<(), String> {
    let record = vm::root().join(RECORD);
    std::fs::write(&record, text(files)).map_err(|error| format!("{record:?}: {error}"))
}

/// Fails where fewer agree than on record.
pub(super) fn check(files: &BTreeMap<String, Counts>) -> Result<(), String> {
    let record = vm::root().join(RECORD);
    let text = std::fs::read_to_string(&record).map_err(|error| format!("{record:?}: {error}"))?;
    let fallen = fallen_from(&text, files);
    if fallen.is_empty() { Ok(()) } else { Err(fallen.join("\n")) }
}

/// The file as it should be.
fn text(files: &BTreeMap<String, Counts>) -> String {
    let mut text = String::from(
        "# cargo xtask corpus --update: cases that agree with Linux 7.3.4, by file\n# file privileged unprivileged messages retvals\n",
    );
    for (file, counts) in files {
        let _ = write!(text, "{file}");
        for (_, count) in counts.named() {
            let _ = write!(text, " {}", count.agreed);
        }
        text.push('\n');
    }
    text
}

/// Where fewer agree than on record.
fn fallen_from(record: &str, files: &BTreeMap<String, Counts>) -> Vec<String> {
    let mut fallen = Vec::new();
    for line in record.lines().filter(|line| !line.starts_with('#')) {
        let mut words = line.split_ascii_whitespace();
        let Some(file) = words.next() else { continue };
        let now = files.get(file).copied().unwrap_or_default();
        for ((name, count), before) in now.named().into_iter().zip(words) {
            if before.parse().is_ok_and(|before: usize| count.agreed < before) {
                fallen.push(format!("{file}: {name}: {} agree, {before} did", count.agreed));
            }
        }
    }
    fallen
}

#[cfg(test)]
mod tests {
    use super::super::score::{Count, Counts};
    use super::{BTreeMap, fallen_from, text};

    #[test]
    fn what_falls_is_named() {
        let count = Count { agreed: 3, of: 4 };
        let counts = Counts { privileged: count, ..Counts::default() };
        let files = BTreeMap::from([("a".to_owned(), counts)]);
        assert!(fallen_from(&text(&files), &files).is_empty());
        assert!(fallen_from("a 2 0 0 0", &files).is_empty());
        assert_eq!(fallen_from("a 4 0 0 0", &files), ["a: privileged: 3 agree, 4 did"]);
        assert_eq!(fallen_from("b 0 1 0 0", &files), ["b: unprivileged: 0 agree, 1 did"]);
    }
}

//! What a kernel said of each case: rows of JSON, by the case's name.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

/// The kernel that the corpus is of.
const KERNEL: &str = "7.3.4";

/// A kernel's word on one case.
#[derive(Clone, Debug)]
pub(super) struct Word {
    /// Whether it accepted the program; `None`: the program did not come to its verifier.
    pub(super) accepted: Option<bool>,
    /// Whether the log held all that it had to.
    pub(super) messages_match: bool,
    /// The last line of the log.
    pub(super) last_line: String,
    /// The error number.
    pub(super) errno: i32,
    /// What the row says is to be expected.
    pub(super) row: Value,
}

/// The words of the corpus's kernel.
#[derive(Default)]
pub(super) struct Oracle(HashMap<String, Word>);

impl Oracle {
    /// Reads a file of rows.
    pub(super) fn read(path: &Path) -> Result<Oracle, String> {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{path:?}: {error}"))?;
        let mut words = HashMap::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            let row: Value =
                serde_json::from_str(line).map_err(|error| format!("{path:?}: {error}"))?;
            let (name, word) = word(row).ok_or_else(|| format!("{path:?}: {line}"))?;
            words.insert(name, word);
        }
        Ok(Oracle(words))
    }

    pub(super) fn of(&self, case: &str) -> Option<&Word> {
        self.0.get(case)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.0.keys()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

fn word(row: Value) -> Option<(String, Word)> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let object = row["object"].as_str()?.rsplit('/').next()?;
    let object = object.strip_suffix(".bpf.o").unwrap_or(object);
    let mode = if row["mode"] == "unpriv" { "@unpriv" } else { "" };
    let name = format!("{object}/{}{mode}", row["program"].as_str()?);
    let said = row["oracle"].get(KERNEL).unwrap_or(&row);
    let accepted = match said["verdict"].as_str()? {
        "accept" => Some(true),
        "reject" => Some(false),
        _ => None,
    };
    let word = Word {
        accepted,
        messages_match: said["msgs_match"].as_bool().unwrap_or(false),
        last_line: text(&said["last_log_line"]).unwrap_or_default(),
        errno: said["errno"].as_i64().unwrap_or_default() as i32,
        row,
    };
    Some((name, word))
}

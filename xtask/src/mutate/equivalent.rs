//! Mutants that are no mistakes, and why: `equivalent.txt`. A file of the verifier, a line of it, and
//! below, further in, what it becomes, a colon, and the reason, which may go on still further in.

use super::{Mutant, Verdict};

/// An entry.
pub(super) struct Equivalent {
    /// As [`Mutant::key`] says it.
    pub(super) key: String,
    pub(super) file: String,
    pub(super) text: String,
    pub(super) change: String,
    pub(super) reason: String,
}

/// All of them.
pub(super) fn all() -> Result<Vec<Equivalent>, String> {
    let mut list: Vec<Equivalent> = Vec::new();
    let (mut file, mut text) = ("", "");
    for line in include_str!("equivalent.txt").lines() {
        let code = line.trim_start();
        match line.len() - code.len() {
            0 if code.starts_with("# ") || code.is_empty() => {}
            0 if code.ends_with(".rs") => file = code,
            0 => text = code,
            1..=4 => {
                let broken = || format!("equivalent.txt: no reason: {line}");
                let (change, reason) = code.split_once(": ").ok_or_else(broken)?;
                list.push(Equivalent {
                    key: format!("{file}: {text}: {change}"),
                    file: file.into(),
                    text: text.into(),
                    change: change.into(),
                    reason: reason.into(),
                });
            }
            _ => {
                let last = list.last_mut().ok_or("equivalent.txt: a reason for nothing")?;
                last.reason = format!("{} {code}", last.reason);
            }
        }
    }
    Ok(list)
}

/// Whether all that was not caught is listed, and of the files that were looked at nothing else is.
pub(super) fn complaints(
    judged: &[(&Mutant, Verdict)],
    equivalents: &[Equivalent],
) -> Result<(), String> {
    let mut wrong = Vec::new();
    for (mutant, verdict) in judged {
        let key = mutant.key();
        let is_listed = equivalents.iter().any(|equivalent| equivalent.key == key);
        match (verdict.class.is_caught(), is_listed) {
            (false, false) => wrong.push(format!("nobody noticed: {key}")),
            (true, true) => wrong.push(format!("listed as equivalent, but caught: {key}")),
            _ => {}
        }
    }
    for Equivalent { key, file, .. } in equivalents {
        let is_judged = judged.iter().any(|(mutant, _)| mutant.file == file);
        if is_judged && !judged.iter().any(|(mutant, _)| mutant.key() == *key) {
            wrong.push(format!("listed as equivalent, but there is no such mutant: {key}"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

//! Loads objects in a virtual machine, by libbpf and by Bombus: what tests a verifier may hang a
//! kernel or bring it down.
//!
//! The machine takes the objects one after the other, and says on its console whose turn it is. One
//! that dies or falls silent is booted again, and goes on after the object that it died of; that one
//! is noted with the reason in a file, and left out the next time.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::sent::Sent;
use super::{oracle, stem};
use crate::vm;

/// How long one loader may take for one object.
const PATIENCE: Duration = Duration::from_secs(100);
/// Objects in one machine: they and what they leave behind take memory.
const BATCH: usize = 150;

/// Where and how.
pub(super) struct Machine<'a> {
    /// A kernel that [`vm`] knows.
    pub(super) kernel: &'a str,
    /// `libbpf-oracle`, linked statically, for objects that have no record yet.
    pub(super) libbpf: Option<&'a Path>,
    /// Where libbpf's records are, and new ones go.
    pub(super) records: &'a Path,
    /// What is left out: in each line an object and the reason.
    pub(super) skip: Option<&'a Path>,
    /// What objects leave to their tools.
    pub(super) settings: Option<&'a Path>,
}

/// What both did in the machine.
#[derive(Default)]
pub(super) struct Outcome {
    /// What Bombus loaded, by object.
    pub(super) ours: BTreeMap<String, Sent>,
    /// Objects about which nothing can be said, with the reason.
    pub(super) not_compared: BTreeMap<String, String>,
}

impl Machine<'_> {
    /// Loads all the objects, as many boots as it takes.
    pub(super) fn load(&self, objects: &[PathBuf]) -> Result<Outcome, String> {
        let mut outcome = Outcome { not_compared: self.skipped()?, ..Outcome::default() };
        std::fs::create_dir_all(self.records).map_err(|error| at(self.records, error))?;
        let mut todo: Vec<&PathBuf> = objects.iter().collect();
        todo.retain(|object| !outcome.not_compared.contains_key(&stem(object)));
        while !todo.is_empty() {
            let batch = &todo[..todo.len().min(BATCH)];
            let mut listener = Listener { records: self.records, turn: None, outcome, done: 0 };
            let (files, script) = self.batch(batch)?;
            let silence = PATIENCE * 2 + Duration::from_secs(60);
            let console =
                vm::watch(self.kernel, files, &script, silence, &mut |line| listener.hear(line))?;
            let Listener { turn, done, outcome: so_far, .. } = listener;
            outcome = so_far;
            match turn {
                None if done == 0 => return Err(format!("it does not run:\n{}", console)),
                None => todo.drain(..done),
                Some(turn) => {
                    let reason = format!("{}: the machine died: {}", turn.who, cause(&console));
                    eprintln!("{}: {reason}", turn.object);
                    self.note(&turn.object, &reason)?;
                    outcome.ours.remove(&turn.object);
                    outcome.not_compared.insert(turn.object, reason);
                    todo.drain(..=done)
                }
            };
        }
        Ok(outcome)
    }

    /// What goes into the machine, and what happens there.
    fn batch(&self, objects: &[&PathBuf]) -> Result<(vm::Archive, String), String> {
        let mut files = vm::Archive::new();
        let own = std::env::current_exe().map_err(|error| error.to_string())?;
        files.file("bin/xtask", &own, 0o755)?;
        if let Some(libbpf) = self.libbpf {
            files.file("bin/libbpf-oracle", libbpf, 0o755)?;
        }
        let settings = match self.settings {
            Some(path) => {
                files.file("settings", path, 0o644)?;
                "--settings /settings"
            }
            None => "",
        };
        let mut script = String::from("#!/bin/sh\nulimit -n 20000\n");
        for object in objects {
            let name = stem(object);
            // Settings go by the name.
            let inside = format!("objects/{name}.o");
            files.file(&inside, object, 0o644)?;
            let mut turn = |who: &str, command: &str| {
                script += &format!(
                    "echo '@begin {who} {name}'\ntimeout {} {command} 2> /dev/null\n\
                     echo \"@end $?\"\nrm -rf /sys/fs/bpf/*\n",
                    PATIENCE.as_secs()
                );
            };
            if self.libbpf.is_some() && !record(self.records, &name).is_file() {
                turn("libbpf", &format!("libbpf-oracle --live {settings} /{inside}"));
            }
            turn("bombus", &format!("xtask parity /{inside} --live {settings}"));
            script += "echo @done\n";
        }
        Ok((files, script))
    }

    fn skipped(&self) -> Result<BTreeMap<String, String>, String> {
        let Some(path) = self.skip.filter(|path| path.exists()) else { return Ok(BTreeMap::new()) };
        let text = std::fs::read_to_string(path).map_err(|error| at(path, error))?;
        let line = |line: &str| {
            let (name, reason) = line.split_once(' ').unwrap_or((line, "left out"));
            (name.to_owned(), reason.to_owned())
        };
        Ok(text.lines().filter(|line| !line.is_empty()).map(line).collect())
    }

    fn note(&self, object: &str, reason: &str) -> Result<(), String> {
        let Some(path) = self.skip else { return Ok(()) };
        let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
        let written = file.and_then(|mut file| writeln!(file, "{object} {reason}"));
        written.map_err(|error| at(path, error))
    }
}

/// The file with what libbpf did.
pub(super) fn record(records: &Path, name: &str) -> PathBuf {
    records.join(format!("{name}.jsonl"))
}

/// Whose turn it is, and what they said so far.
struct Turn {
    who: String,
    object: String,
    said: String,
}

/// Makes sense of the machine's lines.
struct Listener<'a> {
    records: &'a Path,
    turn: Option<Turn>,
    outcome: Outcome,
    /// How many objects are finished.
    done: usize,
}

impl Listener<'_> {
    fn hear(&mut self, line: &str) {
        if let Some(begin) = line.strip_prefix("@begin ") {
            let (who, object) = begin.split_once(' ').unwrap_or_default();
            let (who, object) = (who.to_owned(), object.to_owned());
            self.turn = Some(Turn { who, object, said: String::new() });
        } else if let Some(status) = line.strip_prefix("@end ") {
            self.end(status);
        } else if line == "@done" {
            self.done += 1;
        } else if let Some(turn) = &mut self.turn {
            turn.said += line;
            turn.said.push('\n');
        }
    }

    fn end(&mut self, status: &str) {
        let Some(Turn { who, object, said }) = self.turn.take() else { return };
        eprintln!("{who} {object}: {status}");
        let outcome = match (status, who.as_str()) {
            ("0", "libbpf") => {
                let path = record(self.records, &object);
                std::fs::write(&path, said).map_err(|error| at(&path, error))
            }
            ("0", _) => oracle::parse(&said).map(|sent| {
                self.outcome.ours.insert(object.clone(), sent);
            }),
            // busybox's timeout ends with a signal of its own.
            ("143" | "124", _) => Err(format!("no end in {} s", PATIENCE.as_secs())),
            (status, _) => Err(format!("status {status}")),
        };
        if let Err(reason) = outcome {
            self.outcome.not_compared.insert(object, format!("{who}: {reason}"));
        }
    }
}

/// The line of a console that says why the kernel died, as far as there is one.
fn cause(console: &str) -> String {
    let telling = ["BUG: ", "Kernel panic", "Out of memory", "WARNING: ", "rcu: INFO"];
    let line = console.lines().find(|line| telling.iter().any(|word| line.contains(word)));
    line.map_or_else(|| "without a word".to_owned(), |line| line.trim().to_owned())
}

fn at(path: &Path, error: std::io::Error) -> String {
    format!("{}: {error}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_dies_leaves_the_turn() {
        let records = std::env::temp_dir();
        let mut listener =
            Listener { records: &records, turn: None, outcome: Outcome::default(), done: 0 };
        let said = "@begin bombus one\n\
                    {\"kind\":\"object\",\"opened\":true,\"result\":0,\"log\":\"\"}\n\
                    {\"kind\":\"program\",\"name\":\"p\",\"result\":0,\"functions\":[]}\n\
                    @end 0\n@done\n@begin bombus two\n@end 143\n@done\n@begin bombus three\n{\"ki";
        said.lines().for_each(|line| listener.hear(line));
        assert_eq!(listener.done, 2);
        assert_eq!(listener.turn.unwrap().object, "three");
        let one = &listener.outcome.ours["one"];
        assert!(one.loads && one.programs["p"].is_ok());
        assert_eq!(listener.outcome.not_compared["two"], "bombus: no end in 100 s");
        assert_eq!(
            cause("a\n[ 1.2] BUG: kernel NULL pointer\nb"),
            "[ 1.2] BUG: kernel NULL pointer"
        );
    }
}

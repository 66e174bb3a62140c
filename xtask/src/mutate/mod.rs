//! `cargo xtask mutate verifier`: makes the verifier wrong, one operator at a time, and sees who
//! notices: the exhaustive tests of the domain's operators, `cargo xtask fuzz verifier` with a fixed
//! seed, the snapshots of `tests/code`. Who remains has to be listed in `equivalent.txt`, with the
//! reason why it is no mistake.

mod copy;
mod equivalent;
mod judge;
mod sites;
mod table;

use std::collections::HashMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use judge::Judges;
use sites::Site;

const USAGE: &str =
    "usage: cargo xtask mutate verifier [--only FILE] [--table FILE] [--resume yes]";
/// What was found so far, for `--resume`.
const VERDICTS: &str = "target/mutate/verdicts.txt";
/// The tests that judge.
const TESTS: &[&str] = &["operators", "precision", "code"];

/// A file of the verifier.
struct Source {
    path: &'static str,
    /// Whether it computes with words; others are mutated as far as they compare.
    deep: bool,
}

const FILES: &[Source] = &[
    Source { path: "domain/arithmetic.rs", deep: true },
    Source { path: "domain/branch.rs", deep: true },
    Source { path: "domain/division.rs", deep: true },
    Source { path: "domain/range.rs", deep: true },
    Source { path: "domain/scalar.rs", deep: true },
    Source { path: "domain/shift.rs", deep: true },
    Source { path: "domain/tnum.rs", deep: true },
    Source { path: "domain/value.rs", deep: true },
    Source { path: "check/alu.rs", deep: false },
    Source { path: "check/branch.rs", deep: false },
    Source { path: "check/exit.rs", deep: false },
    Source { path: "check/kfunc/graph.rs", deep: false },
    Source { path: "check/kfunc/irq.rs", deep: false },
    Source { path: "check/kfunc/iter.rs", deep: false },
    Source { path: "check/lock.rs", deep: false },
    Source { path: "check/memory.rs", deep: false },
    Source { path: "check/pointer.rs", deep: false },
    Source { path: "check/region.rs", deep: false },
    Source { path: "check/resources.rs", deep: false },
    Source { path: "check/stack.rs", deep: false },
    Source { path: "state/register.rs", deep: false },
    Source { path: "state/stack.rs", deep: false },
    Source { path: "walk/compare.rs", deep: false },
    Source { path: "walk/prune.rs", deep: false },
    Source { path: "walk/widen.rs", deep: false },
];

/// A mutant.
struct Mutant {
    id: usize,
    file: &'static str,
    is_deep: bool,
    site: Site,
}

/// What became of a mutant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    /// An exhaustive test of the operators: a result is not all that can be.
    Exhaustive,
    /// The table of what the operators know: results are more than they need be.
    Precision,
    /// A run did what the verifier held for impossible.
    Fuzzer,
    Snapshot,
    /// A judge did not come to an end.
    Hang,
    /// Nobody noticed, but the fuzzer's states were others.
    Different,
    /// Nobody noticed.
    Same,
}

impl Class {
    const ALL: [Class; 7] = [
        Class::Exhaustive,
        Class::Precision,
        Class::Fuzzer,
        Class::Snapshot,
        Class::Hang,
        Class::Different,
        Class::Same,
    ];

    fn name(self) -> &'static str {
        match self {
            Class::Exhaustive => "exhaustive test",
            Class::Precision => "table of precision",
            Class::Fuzzer => "fuzzer",
            Class::Snapshot => "snapshot",
            Class::Hang => "hang",
            Class::Different => "not caught, but something else is known",
            Class::Same => "not caught",
        }
    }

    fn is_caught(self) -> bool {
        !matches!(self, Class::Different | Class::Same)
    }
}

#[derive(Clone)]
struct Verdict {
    class: Class,
    /// The test, or what was found.
    by: String,
}

/// Runs the command.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let (mut only, mut table, mut resume) = ("", None, false);
    let mut args = args.iter().map(String::as_str);
    if args.next() != Some("verifier") {
        return Err(USAGE.into());
    }
    while let Some(arg) = args.next() {
        let value = args.next().ok_or(USAGE)?;
        match arg {
            "--only" => only = value,
            "--table" => table = Some(PathBuf::from(value)),
            "--resume" => resume = value == "yes",
            _ => return Err(USAGE.into()),
        }
    }
    let root = std::env::current_dir().map_err(|error| error.to_string())?;
    let mut mutants = all(&root)?;
    let copy = copy::build(&root, &mut mutants)?;
    mutants.retain(|mutant| mutant.file.contains(only));
    let verdicts = judge_all(&copy, &mutants, resume)?;
    let judged: Vec<(&Mutant, Verdict)> = mutants.iter().zip(verdicts).collect();
    let equivalents = equivalent::all()?;
    let text = table::text(&judged, &equivalents);
    match table {
        Some(path) => {
            fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        None => print!("{text}"),
    }
    equivalent::complaints(&judged, &equivalents)
}

impl Mutant {
    /// What it is, wherever in the file it stands.
    fn key(&self) -> String {
        format!("{}: {}: {}", self.file, self.site.text, self.site.change())
    }
}

/// Every mutant.
fn all(root: &Path) -> Result<Vec<Mutant>, String> {
    let mut mutants: Vec<Mutant> = Vec::new();
    for &Source { path: file, deep } in FILES {
        for site in sites::all(&read(&root.join("crates/verifier/src").join(file))?, deep) {
            mutants.push(Mutant { id: mutants.len() + 1, file, is_deep: deep, site });
        }
    }
    Ok(mutants)
}

/// The verdicts on all mutants, in their order.
fn judge_all(copy: &copy::Copy, mutants: &[Mutant], resume: bool) -> Result<Vec<Verdict>, String> {
    let mut known = if resume { verdicts() } else { HashMap::new() };
    let mut log = fs::OpenOptions::new()
        .create(true)
        .append(true)
        .truncate(false)
        .open(VERDICTS)
        .map_err(|error| format!("{VERDICTS}: {error}"))?;
    let waiting: Vec<&Mutant> =
        mutants.iter().filter(|mutant| !known.contains_key(&mutant.key())).collect();
    println!("{} mutants, {} of them to be judged", mutants.len(), waiting.len());
    if !waiting.is_empty() {
        let judges = Judges::new(copy, waiting.iter().any(|mutant| mutant.is_deep))?;
        let jobs = std::thread::available_parallelism().map_or(1, |count| usize::from(count) + 1);
        let (next, done) = (Mutex::new(waiting.iter()), Mutex::new((&mut known, &mut log)));
        std::thread::scope(|scope| {
            let work = || -> Result<(), String> {
                loop {
                    let Some(mutant) = next.lock().map_err(|_| "a judge panicked")?.next() else {
                        return Ok(());
                    };
                    let verdict = judges.judge(mutant)?;
                    let (class, by, key) = (verdict.class.name(), &verdict.by, mutant.key());
                    println!("{}:{}: {class}: {by}: {key}", mutant.file, mutant.site.line);
                    let mut done = done.lock().map_err(|_| "a judge panicked")?;
                    writeln!(done.1, "{key}\t{class}\t{by}").map_err(|error| error.to_string())?;
                    done.0.insert(key, verdict);
                }
            };
            let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|worker| {
                worker.join().map_err(|_| "a judge panicked".to_owned()).flatten()
            })
        })?;
    }
    let verdict = |mutant: &Mutant| known.get(&mutant.key()).cloned().ok_or("no verdict".into());
    mutants.iter().map(verdict).collect()
}

/// Those of an earlier run.
fn verdicts() -> HashMap<String, Verdict> {
    let text = fs::read_to_string(VERDICTS).unwrap_or_default();
    let verdict = |line: &str| {
        let mut parts = line.split('\t');
        let (key, class, by) = (parts.next()?, parts.next()?, parts.next()?);
        let class = Class::ALL.into_iter().find(|known| known.name() == class)?;
        Some((key.to_owned(), Verdict { class, by: by.to_owned() }))
    };
    text.lines().filter_map(verdict).collect()
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

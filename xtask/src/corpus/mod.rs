//! `cargo xtask corpus`: the verifier on the kernel's own tests of its verifier.
//!
//! The tests are the BPF selftests of Linux 7.3, compiled and never committed; what each program is
//! expected to do stands in its object. What is counted: verdicts, log messages, return values,
//! each apart. With `--expect` the word of the kernel itself is what counts. `--old` takes the tests
//! of `test_verifier`, `--real` objects that are used.

mod case;
mod old;
mod oracle;
mod pattern;
mod ratchet;
pub(crate) mod real;
mod runner;
mod running;
mod score;
mod source;

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bombus_btf::Btf;
use bombus_kernel::{Described, KernelVersion};

use regex::bytes::Regex;

use crate::parity::{objects, stem};

use case::Case;
use oracle::Oracle;
use runner::{Job, Outcome};
use score::Score;
use source::Corpus;

const USAGE: &str = "usage: cargo xtask corpus [--objects DIRECTORY] [--btf FILE] [--config FILE] \
                     [--expect FILE] [--only TEXT] [--log] [--table] [--shown COUNT] [--check | --update]
       cargo xtask corpus --old [--rows FILE] [--btf FILE] [--only TEXT] [--log] [--shown COUNT]
       cargo xtask corpus --real DIRECTORY --oracle FILE [--settings FILE] [--vm KERNEL]";

/// The kernel that the corpus is of.
const VERSION: KernelVersion = KernelVersion { major: 7, minor: 3, patch: 4 };

struct Options {
    /// The compiled selftests; they are made when it is not said where they are.
    objects: Option<PathBuf>,
    btf: Option<PathBuf>,
    config: Option<PathBuf>,
    /// The tests of `test_verifier` instead.
    old: bool,
    rows: Option<PathBuf>,
    /// Fails when the score has fallen.
    check: bool,
    /// Writes down the score.
    update: bool,
    expect: Option<PathBuf>,
    /// Only cases whose name holds this.
    only: Option<String>,
    /// Prints each case's log.
    log: bool,
    table: bool,
    /// How many cases of each kind of mistake are named.
    shown: usize,
    /// Objects that are used.
    real: Option<PathBuf>,
    /// What a kernel said of these.
    oracle: Option<PathBuf>,
    /// What they leave to their tools.
    settings: Option<PathBuf>,
    /// The virtual machine to ask.
    vm: Option<String>,
    /// Objects to load into the running kernel, which is that machine's.
    load: Option<PathBuf>,
}

/// Brings what the corpus is made of, if it is not there yet.
pub(crate) fn download() -> Result<(), String> {
    Corpus::new().download()
}

/// The compiled selftests and the types of their kernel, made if they are not there yet.
pub(crate) fn made() -> Result<(PathBuf, PathBuf), String> {
    let corpus = Corpus::new();
    Ok((corpus.objects()?, corpus.btf()?))
}

/// Scores the verifier.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let options = parse(args)?;
    let settings = options.settings.as_deref();
    if let Some(directory) = &options.load {
        return real::load(directory, settings);
    }
    if let Some(directory) = &options.real {
        let oracle = options.oracle.as_deref().ok_or(USAGE)?;
        return match &options.vm {
            Some(kernel) => real::record(kernel, directory, settings, oracle),
            None => real::score(directory, settings, oracle, &Arc::new(machine(&options)?)),
        };
    }
    let machine = Arc::new(machine(&options)?);
    let oracle = options.expect.as_deref().map(Oracle::read).transpose()?.unwrap_or_default();
    runner::note_panics();
    let mut outcomes = match options.old {
        true => {
            let rows = options.rows.clone().map_or_else(|| Corpus::new().old_tests(), Ok)?;
            old::run(&rows, &machine, options.only.as_deref())?
        }
        false => selftests(&options, &oracle, &machine)?,
    };
    outcomes.sort_by_key(|(case, _)| case.name());
    let mut score = Score::default();
    for (case, outcome) in &outcomes {
        let word = oracle.of(&case.name());
        if options.log {
            print_log(case, outcome, word);
        }
        score.add(case, outcome, word);
    }
    if options.table {
        print!("{}", score.table());
    }
    print!("{}{}", score.wrong(options.shown), score.totals());
    conclude(&options, &score)
}

/// Runs the annotated programs.
fn selftests(
    options: &Options,
    oracle: &Oracle,
    machine: &Arc<Described>,
) -> Result<Vec<(Case, Outcome)>, String> {
    let mut jobs = jobs(options)?;
    if !oracle.is_empty() {
        compare(&jobs, oracle, options.only.is_some());
    }
    let is_asked = |case: &Case| options.only.as_ref().is_none_or(|o| case.name().contains(o));
    for job in &mut jobs {
        job.cases.retain(|case| is_asked(case) && !case.elsewhere);
    }
    jobs.retain(|job| !job.cases.is_empty());
    Ok(runner::run(jobs, machine))
}

/// Holds the score against the one on record, or puts it there.
fn conclude(options: &Options, score: &Score) -> Result<(), String> {
    if options.update {
        ratchet::update(score.files())?;
    }
    if options.check { ratchet::check(score.files()) } else { Ok(()) }
}

fn parse(args: &[String]) -> Result<Options, String> {
    let mut options = Options {
        objects: None,
        btf: None,
        config: None,
        old: false,
        rows: None,
        check: false,
        update: false,
        expect: None,
        only: None,
        log: false,
        table: false,
        shown: 5,
        real: None,
        oracle: None,
        settings: None,
        vm: None,
        load: None,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(USAGE);
        match arg.as_str() {
            "--objects" => options.objects = Some(value()?.into()),
            "--btf" => options.btf = Some(value()?.into()),
            "--old" => options.old = true,
            "--rows" => options.rows = Some(value()?.into()),
            "--check" => options.check = true,
            "--update" => options.update = true,
            "--config" => options.config = Some(value()?.into()),
            "--expect" => options.expect = Some(value()?.into()),
            "--only" => options.only = Some(value()?.clone()),
            "--log" => options.log = true,
            "--table" => options.table = true,
            "--shown" => options.shown = value()?.parse().map_err(|_| USAGE)?,
            "--real" => options.real = Some(value()?.into()),
            "--oracle" => options.oracle = Some(value()?.into()),
            "--settings" => options.settings = Some(value()?.into()),
            "--vm" => options.vm = Some(value()?.clone()),
            "--load" => options.load = Some(value()?.into()),
            _ => return Err(USAGE.into()),
        }
    }
    Ok(options)
}

/// The kernel that programs are proved for.
fn machine(options: &Options) -> Result<Described, String> {
    let read = |path: &Path| std::fs::read(path).map_err(|error| format!("{path:?}: {error}"));
    let corpus = Corpus::new();
    let btf = options.btf.clone().map_or_else(|| corpus.btf(), Ok)?;
    let types = Btf::parse(read(&btf)?).map_err(|error| error.to_string())?;
    let config = read(&options.config.clone().map_or_else(|| corpus.config(), Ok)?)?;
    let config = Described::parse_config(&String::from_utf8_lossy(&config));
    Ok(Described {
        version: VERSION,
        types: Some(Arc::new(types)),
        modules: Vec::new(),
        config: Arc::new(config),
    })
}

/// Every object that has cases.
fn jobs(options: &Options) -> Result<Vec<Job>, String> {
    let mut jobs = Vec::new();
    // Most have none, and opening takes longer than looking.
    let annotation = Regex::new("test_(expect|retval|auxiliary)").map_err(|e| e.to_string())?;
    let directory = options.objects.clone().map_or_else(|| Corpus::new().objects(), Ok)?;
    for path in objects(&directory)? {
        let bytes = std::fs::read(&path).map_err(|error| format!("{path:?}: {error}"))?;
        if !annotation.is_match(&bytes) {
            continue;
        }
        let name = stem(&path);
        let cases = match runner::open(&path) {
            Ok(object) => case::read(&name, &object)?,
            Err(error) => {
                eprintln!("{error}");
                continue;
            }
        };
        if !cases.is_empty() {
            let without_admin = is_without_admin(&name);
            jobs.push(Job { path, cases, without_admin });
        }
    }
    Ok(jobs)
}

/// Whether test_progs drops `CAP_SYS_ADMIN` for this file: those that came from `test_verifier` are
/// run as it ran them (`RUN` in `prog_tests/verifier.c`).
fn is_without_admin(object: &str) -> bool {
    const WITH: [&str; 4] = [
        "verifier_ctx",
        "verifier_default_trusted_ptr",
        "verifier_kfunc_prog_types",
        "verifier_zext",
    ];
    object == "irq" || object.starts_with("verifier_") && !WITH.contains(&object)
}

/// Says where the rows of a file and the annotations do not say the same.
fn compare(jobs: &[Job], oracle: &Oracle, quiet: bool) {
    let cases = jobs.iter().flat_map(|job| job.cases.iter().map(move |case| (job, case)));
    let cases: HashMap<String, (&Job, &Case)> =
        cases.map(|(job, case)| (case.name(), (job, case))).collect();
    let mut differences = Vec::new();
    for name in oracle.names().collect::<BTreeSet<_>>() {
        let Some(word) = oracle.of(name) else { continue };
        let difference = match cases.get(name) {
            None => Some("no such case".to_owned()),
            Some((job, case)) => differs(job, case, &word.row),
        };
        differences.extend(difference.map(|difference| format!("{name}: {difference}")));
    }
    for name in cases.keys().filter(|name| oracle.of(name).is_none()) {
        differences.push(format!("{name}: no such row"));
    }
    if !quiet {
        println!("{} cases, {} rows, {} differ", cases.len(), oracle.len(), differences.len());
        differences.iter().take(20).for_each(|difference| println!("{difference}"));
    }
}

/// How a case differs from its row.
fn differs(job: &Job, case: &Case, row: &serde_json::Value) -> Option<String> {
    let messages: Vec<serde_json::Value> = case
        .messages
        .iter()
        .map(|pattern| match pattern.negative {
            true => serde_json::json!({"not": pattern.text}),
            false => pattern.text.clone().into(),
        })
        .collect();
    let accepted = if case.accepted { "accept" } else { "reject" };
    let found: [(&str, serde_json::Value); 6] = [
        ("expected", accepted.into()),
        ("expected_msgs", messages.into()),
        ("expected_retval", case.retval.map_or(serde_json::Value::Null, Into::into)),
        ("log_level", case.log_level.into()),
        ("prog_flags", case.flags.into()),
        ("drop_cap_sys_admin", job.without_admin.into()),
    ];
    let null = serde_json::Value::Null;
    let mut wrong = found.iter().filter(|(key, value)| row.get(key).unwrap_or(&null) != value);
    wrong.next().map(|(key, value)| format!("{key}: {value}, the row has {}", row[*key]))
}

fn print_log(case: &Case, outcome: &Outcome, word: Option<&oracle::Word>) {
    println!("=== {} (expected: {})", case.name(), if case.accepted { "accept" } else { "reject" });
    for pattern in &case.messages {
        println!("=== {} '{}'", if pattern.negative { "no" } else { "message" }, pattern.text);
    }
    if let Some(word) = word {
        let verdict = match word.accepted {
            Some(true) => "accepts",
            Some(false) => "rejects",
            None => "does not reach it",
        };
        println!("=== the kernel {verdict}: {} {}", word.errno, word.last_line);
    }
    match outcome {
        Outcome::Verdict(said) => {
            print!("{}", said.log);
            println!(
                "=== {} {}",
                if said.accepted { "accepted" } else { "rejected:" },
                said.message
            );
        }
        other => println!("=== {other:?}"),
    }
}

//! Objects that are used: whether our verifier says what a kernel's says, and whether it walks more
//! instructions for that.
//!
//! The kernel's word is taken down once, in a virtual machine (`--vm`), where this program itself
//! loads each program of each object alone (`--load`) and prints a row for it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bombus_kernel::inspect::{Inspect, ObjectKind, Which};
use bombus_kernel::{Asked, Described, Error, Kernel, Loaded, Loader, Proved, prove_each};
use bombus_linux::Linux;
use bombus_spec::{ObjectSpec, Slot};
use bombus_verifier::Options;
use serde_json::{Value, json};

use crate::parity::settings::Settings;
use crate::vm;

/// The machine is slow, and some programs are large.
const SILENCE: Duration = Duration::from_secs(600);
/// `BPF_LOG_STATS`.
const STATISTICS: u32 = 4;

/// The word of a kernel on one program, or ours.
struct Word {
    accepted: bool,
    processed: u64,
    message: String,
}

/// Takes down what a kernel in a virtual machine says of every program.
pub(super) fn record(
    kernel: &str,
    directory: &Path,
    settings: Option<&Path>,
    oracle: &Path,
) -> Result<(), String> {
    let mut files = vm::Archive::new();
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    files.file("bin/xtask", &own, 0o755)?;
    let mut script = String::from("#!/bin/sh\nulimit -n 20000\nxtask corpus --load /objects");
    if let Some(settings) = settings {
        files.file("settings", settings, 0o644)?;
        script += " --settings /settings";
    }
    for path in super::objects(directory)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.file(&format!("objects/{name}"), &path, 0o644)?;
    }
    let mut rows = String::new();
    let console = vm::watch(kernel, files, &script, SILENCE, &mut |line| {
        eprintln!("{line}");
        if line.starts_with('{') {
            let _ = writeln!(rows, "{line}");
        }
    })?;
    if rows.is_empty() {
        return Err(format!("it does not run:\n{console}"));
    }
    std::fs::write(oracle, rows).map_err(|error| format!("{oracle:?}: {error}"))
}

/// Loads every program into the running kernel, each alone, and prints what it says.
pub(super) fn load(directory: &Path, settings: Option<&Path>) -> Result<(), String> {
    let settings = Settings::read(settings)?;
    let linux = Linux::new().map_err(|error| error.to_string())?;
    let types = linux.kernel_types().map_err(|error| error.to_string())?;
    each_object(directory, &settings, &mut |name, object| {
        for program in 0..object.programs.len() {
            let mut loader = alone(object, program).log_level(STATISTICS);
            if let Some(types) = &types {
                loader = loader.kernel_btf(types.clone());
            }
            let before = Instant::now();
            let outcome = loader.load(&linux);
            let micros = before.elapsed().as_micros() as u64;
            let mut row = json!({
                "object": name,
                "program": object.programs[program].name,
                "micros": micros,
            });
            if let (Some(row), Value::Object(word)) = (row.as_object_mut(), asked(&linux, outcome))
            {
                row.extend(word);
            }
            println!("{row}");
        }
    })
}

/// What became of a load.
fn asked(linux: &Linux, outcome: bombus_kernel::Result<Loaded>) -> Value {
    match outcome {
        Ok(loaded) => {
            let newest = linux.object_ids(ObjectKind::Program).ok();
            let newest = newest.and_then(|ids| ids.last().copied());
            let info = newest.and_then(|id| linux.program_info(&Which::Id(id)).ok());
            let _ = loaded.close(linux);
            json!({"verdict": "accept", "processed": info.map_or(0, |info| info.verified_insns)})
        }
        Err(error @ (Error::Rejected { .. } | Error::Missing { .. })) => rejection(&error),
        Err(error) => json!({"verdict": "not-reached", "message": error.to_string()}),
    }
}

/// What a log says of a program that was refused.
fn rejection(error: &Error) -> Value {
    if error.errno() == Some(libc::ENOENT) {
        // A function that has a type but no address: only the kernel that runs can know.
        return json!({"verdict": "not-reached", "message": error.to_string()});
    }
    let log = match error {
        Error::Rejected { log, .. } | Error::Missing { log, .. } => log.as_str(),
        _ => "",
    };
    let statistics = log.lines().rev().find_map(|line| line.strip_prefix("processed "));
    let processed = statistics.and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
    let mut lines = log.lines().rev().filter(|line| !line.starts_with("processed "));
    json!({
        "verdict": "reject",
        "errno": error.errno(),
        "processed": processed,
        "message": lines.next().unwrap_or_default(),
    })
}

/// Loads nothing but this program.
pub(crate) fn alone(object: &ObjectSpec, program: usize) -> Loader<'_> {
    let programs = object.programs.iter().enumerate();
    programs.fold(Loader::new(object), |loader, (index, each)| {
        loader.autoload(&each.name, index == program)
    })
}

/// Calls `each` for every object that can be opened.
pub(crate) fn each_object(
    directory: &Path,
    settings: &Settings,
    each: &mut dyn FnMut(&str, &ObjectSpec),
) -> Result<(), String> {
    for path in super::objects(directory)? {
        let name = super::stem(&path);
        let mut object = match super::runner::open(&path) {
            Ok(object) => object,
            Err(error) => {
                eprintln!("{error}");
                continue;
            }
        };
        settings.apply(&name, &mut object)?;
        for map in &mut object.maps {
            // Tables of programs need all of those.
            map.slots.retain(|(_, slot)| !matches!(slot, Slot::Program(_)));
        }
        each(&name, &object);
    }
    Ok(())
}

/// Our word on a program.
fn word(outcome: Result<Proved, Error>) -> Word {
    match outcome {
        Ok(proved) => Word {
            accepted: proved.verdict.result.is_ok(),
            processed: proved.verdict.stats.processed.into(),
            message: proved.verdict.result.err().map_or_else(String::new, |why| why.message),
        },
        Err(error) => Word { accepted: false, processed: 0, message: error.to_string() },
    }
}

/// Compares our word on every program with what a kernel said.
pub(super) fn score(
    directory: &Path,
    settings: Option<&Path>,
    oracle: &Path,
    machine: &Arc<Described>,
) -> Result<(), String> {
    let settings = Settings::read(settings)?;
    let theirs = read(oracle)?;
    let mut table = Table::default();
    let options = Options { log_level: STATISTICS, ..Options::default() };
    each_object(directory, &settings, &mut |name, object| {
        let mut before = Instant::now();
        prove_each(
            object,
            machine,
            options,
            &Asked::default(),
            &|_| true,
            &mut |program, outcome| {
                table.seconds += before.elapsed().as_secs_f64();
                let case = format!("{name}/{}", object.programs[program].name);
                if let Some(theirs) = theirs.get(&case) {
                    table.add(case, &word(outcome), theirs);
                }
                before = Instant::now();
            },
        );
    })?;
    table.print();
    Ok(())
}

/// The rows of programs that came to the verifier.
fn read(oracle: &Path) -> Result<BTreeMap<String, Word>, String> {
    let text = std::fs::read_to_string(oracle).map_err(|error| format!("{oracle:?}: {error}"))?;
    let mut words = BTreeMap::new();
    for line in text.lines() {
        let row: Value = serde_json::from_str(line).map_err(|error| format!("{line}: {error}"))?;
        let text = |key: &str| row[key].as_str().unwrap_or_default();
        let accepted = match text("verdict") {
            "accept" => true,
            "reject" => false,
            _ => continue,
        };
        let processed = row["processed"].as_u64().unwrap_or_default();
        let word = Word { accepted, processed, message: text("message").to_owned() };
        words.insert(format!("{}/{}", text("object"), text("program")), word);
    }
    Ok(words)
}

#[derive(Default)]
struct Table {
    programs: usize,
    agreed: usize,
    /// Programs that only one of the two accepts, with the other's reason.
    disagreements: Vec<String>,
    /// Instructions walked, ours by theirs, of programs that both accept.
    ratios: Vec<(f64, String, u64, u64)>,
    seconds: f64,
    walked: u64,
}

impl Table {
    fn add(&mut self, case: String, ours: &Word, theirs: &Word) {
        self.programs += 1;
        self.walked += ours.processed;
        if ours.accepted == theirs.accepted {
            self.agreed += 1;
        } else {
            let (who, why) = match ours.accepted {
                true => ("only we accept", &theirs.message),
                false => ("only we refuse", &ours.message),
            };
            let why = why.lines().next().unwrap_or_default();
            self.disagreements.push(format!("{case}: {who}: {why}"));
        }
        if ours.accepted && theirs.accepted && theirs.processed > 0 {
            let ratio = ours.processed as f64 / theirs.processed as f64;
            self.ratios.push((ratio, case, ours.processed, theirs.processed));
        }
    }

    fn print(mut self) {
        self.disagreements.iter().for_each(|line| println!("{line}"));
        self.ratios.sort_by(|a, b| b.0.total_cmp(&a.0));
        println!("## Most instructions walked, by the kernel's figure");
        for (ratio, case, ours, theirs) in self.ratios.iter().take(15) {
            println!("{ratio:6.2} {ours:>8} {theirs:>8} {case}");
        }
        println!("{} of {} verdicts are the kernel's", self.agreed, self.programs);
        println!("walked {} instructions in {:.2} s, loading included", self.walked, self.seconds);
        if !self.ratios.is_empty() {
            let logarithms = self.ratios.iter().map(|(ratio, ..)| ratio.max(1e-3).ln());
            let mean = (logarithms.sum::<f64>() / self.ratios.len() as f64).exp();
            println!("walked by the kernel's figure: {mean:.3} in the geometric mean");
        }
    }
}

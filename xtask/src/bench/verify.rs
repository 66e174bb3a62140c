//! The verifier against the running kernel's own, and against PREVAIL, over the same objects in one run.
//!
//! `cargo xtask bench verify DIRECTORY [--prevail PROGRAM] [--prevail-objects DIRECTORY] [--no-kernel]`
//!
//! The kernel gets only programs that were accepted, and what counts is the processor time of
//! `BPF_PROG_LOAD`, which makes machine code, too. Of ours the proofs count, as the log says it, which is
//! more where others use the processor; what the commands took in all stands beside. PREVAIL (`cargo install prevail`) runs once a program; it may need
//! the objects in another form than libbpf, under the same names in another directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bombus_kernel::Kernel;
use bombus_kernel::inspect::{Inspect, ObjectKind, Which};
use bombus_linux::Linux;
use serde_json::Value;

use super::measure::{CpuTime, captured, cost, ms};
use crate::corpus::real::{alone, each_object};
use crate::parity::settings::Settings;
use crate::parity::{objects, stem};

const ROUNDS: usize = 3;
/// Seconds that PREVAIL may take for a program.
const PATIENCE: &str = "120";

/// What proving took, in all.
#[derive(Clone, Copy, Default)]
struct Total {
    programs: u64,
    accepted: u64,
    walked: u64,
    time: Duration,
    /// Processor time of all that was run.
    cpu: Duration,
    peak_kib: u64,
}

struct Asked {
    directory: PathBuf,
    prevail: Option<PathBuf>,
    prevail_objects: PathBuf,
    kernel: bool,
}

impl Asked {
    fn read(args: &[String]) -> Result<Asked, String> {
        let usage = "bench verify DIRECTORY [--prevail PROGRAM] [--prevail-objects DIRECTORY] [--no-kernel]";
        let (mut directory, mut prevail, mut prevail_objects, mut kernel) =
            (None, None, None, true);
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut path = || args.next().map(PathBuf::from).ok_or(usage);
            match arg.as_str() {
                "--prevail" => prevail = Some(path()?),
                "--prevail-objects" => prevail_objects = Some(path()?),
                "--no-kernel" => kernel = false,
                other if !other.starts_with('-') => directory = Some(PathBuf::from(other)),
                _ => return Err(usage.into()),
            }
        }
        let directory: PathBuf = directory.ok_or(usage)?;
        let prevail_objects = prevail_objects.unwrap_or_else(|| directory.clone());
        Ok(Asked { directory, prevail, prevail_objects, kernel })
    }
}

pub(super) fn run(bombus: &Path, args: &[String]) -> Result<(), String> {
    let asked = Asked::read(args)?;
    let before = CpuTime::now()?;
    let (mut ours, mut kernels) = (Vec::new(), Vec::new());
    let mut accepted = BTreeMap::new();
    for _ in 0..ROUNDS {
        ours.push(prove(bombus, &asked.directory, &mut accepted)?);
        if asked.kernel {
            kernels.push(load(&asked.directory, &accepted)?);
        }
    }
    ours.sort_by_key(|total| total.time);
    kernels.sort_by_key(|total| total.time);
    println!(
        "| who | programs | accepted | walked | best ms | M walked/s | median | ms of CPU in all | peak MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    print("bombus", &ours);
    if !kernels.is_empty() {
        print("the running kernel", &kernels);
        let (us, it) = (ours[0], kernels[0]);
        let rate = |total: Total| total.walked as f64 / total.time.as_secs_f64();
        println!("instructions a second, by the kernel's: {:.2}", rate(us) / rate(it));
    }
    match &asked.prevail {
        Some(prevail) => {
            let theirs = peer(prevail, &asked.prevail_objects, &accepted)?;
            print("prevail", &[theirs]);
            let times = theirs.time.as_secs_f64() / ours[0].time.as_secs_f64();
            println!("times as fast as prevail: {times:.1}");
        }
        None => println!("prevail: skipped: no --prevail PROGRAM (cargo install prevail)"),
    }
    println!("stolen by the host: {:.1} % of the time", CpuTime::now()?.stolen_since(&before));
    Ok(())
}

fn print(who: &str, totals: &[Total]) {
    let (best, median) = (totals[0], totals[totals.len() / 2]);
    let rate = |total: Total| total.walked as f64 / total.time.as_secs_f64() / 1e6;
    let peak = totals.iter().map(|total| total.peak_kib).max().unwrap_or_default() / 1024;
    println!(
        "| {who} | {} | {} | {} | {} | {:.2} | {:.2} | {} | {peak} |",
        best.programs,
        best.accepted,
        best.walked,
        ms(best.time),
        rate(best),
        rate(median),
        ms(best.cpu),
    );
}

/// Each object by a process of its own: the time that the proofs took, as the log says it, and the
/// most memory that one of them took. Notes who was accepted.
fn prove(
    bombus: &Path,
    directory: &Path,
    accepted: &mut BTreeMap<(String, String), String>,
) -> Result<Total, String> {
    let mut total = Total::default();
    for path in objects(directory)? {
        let mut verify = Command::new(bombus);
        verify.arg("verify").args(["--log-level", "4", "-f", "json"]).arg(&path);
        let (cost, _, output) = captured(verify.stdout(Stdio::piped()))?;
        total.cpu += cost.cpu;
        total.peak_kib = total.peak_kib.max(cost.peak_kib);
        for line in String::from_utf8_lossy(&output).lines() {
            let row: Value =
                serde_json::from_str(line).map_err(|error| format!("{line}: {error}"))?;
            let log = row["log"].as_str().unwrap_or_default();
            let time = log.lines().find_map(|line| line.strip_prefix("verification time "));
            let time = time.and_then(|rest| rest.split(' ').next()?.parse().ok());
            // What did not come to the verifier took no time there.
            let Some(time) = time else { continue };
            total.programs += 1;
            total.time += Duration::from_micros(time);
            total.walked += row["processed"].as_u64().unwrap_or_default();
            if row["verdict"] == "accept" {
                total.accepted += 1;
                let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
                accepted.insert((stem(&path), text("program")), text("section"));
            }
        }
    }
    match total.programs {
        0 => Err(format!("{directory:?} has no program that comes to the verifier")),
        _ => Ok(total),
    }
}

/// Loads what was accepted into the running kernel, and unloads it.
fn load(directory: &Path, accepted: &BTreeMap<(String, String), String>) -> Result<Total, String> {
    let linux = Linux::new().map_err(|error| error.to_string())?;
    let types = linux.kernel_types().map_err(|error| error.to_string())?;
    let mut total = Total::default();
    each_object(directory, &Settings::read(None)?, &mut |name, object| {
        for program in 0..object.programs.len() {
            if !accepted.contains_key(&(name.to_owned(), object.programs[program].name.clone())) {
                continue;
            }
            let mut loader = alone(object, program);
            if let Some(types) = &types {
                loader = loader.kernel_btf(types.clone());
            }
            total.programs += 1;
            let before = linux.load_time();
            let Ok(loaded) = loader.load(&linux) else { continue };
            total.time += linux.load_time() - before;
            total.cpu = total.time;
            total.accepted += 1;
            let newest = linux.object_ids(ObjectKind::Program).ok();
            let newest = newest.and_then(|ids| ids.last().copied());
            let info = newest.and_then(|id| linux.program_info(&Which::Id(id)).ok());
            total.walked += info.map_or(0, |info| u64::from(info.verified_insns));
            let _ = loaded.close(&linux);
        }
    })?;
    Ok(total)
}

/// PREVAIL's processor time and memory.
fn peer(
    prevail: &Path,
    directory: &Path,
    accepted: &BTreeMap<(String, String), String>,
) -> Result<Total, String> {
    let mut total = Total::default();
    for path in objects(directory)? {
        let output = Command::new(prevail).arg("-l").arg(&path).output();
        let output = output.map_err(|error| format!("{prevail:?}: {error}"))?;
        // `section=tc function=f`
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let Some((section, function)) = line.split_once(" function=") else { continue };
            let Some(section) = section.strip_prefix("section=") else { continue };
            if !accepted.contains_key(&(stem(&path), function.to_owned())) {
                continue;
            }
            let mut command = Command::new("timeout");
            command.arg(PATIENCE).arg(prevail).arg("-q").arg(&path).args([section, function]);
            let (cost, status) = cost(&mut command)?;
            total.programs += 1;
            total.accepted += u64::from(status == 0);
            total.time += cost.cpu;
            total.cpu = total.time;
            total.peak_kib = total.peak_kib.max(cost.peak_kib);
        }
    }
    Ok(total)
}

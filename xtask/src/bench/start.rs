//! Start-up and exit: CPU time, wall time, peak memory, size on disk, against Debian's bpftrace.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::measure::{in_turn, least_and_median, ms};

const ROUNDS: usize = 15;

/// The programs, each with the command that it runs. The second one keeps to that command.
const PROGRAMS: &[(&str, Option<&str>)] = &[
    ("BEGIN { exit(); }", None),
    ("tracepoint:raw_syscalls:sys_enter /pid == cpid/ { @[comm] = count(); }", Some("/bin/true")),
];

pub(super) fn run(bombus: &Path) -> Result<(), String> {
    let bpftrace =
        which("bpftrace").ok_or("bpftrace is not installed (apt-get install bpftrace)")?;
    println!("start: {ROUNDS} runs each, in turn; least / median");
    println!("| program | tool | wall ms | CPU ms | peak MiB |");
    println!("|---|---|---|---|---|");
    for (program, cmd) in PROGRAMS {
        let make = |tool: &Path, extra: &[&str]| {
            let (tool, program, cmd) = (tool.to_owned(), *program, *cmd);
            let extra: Vec<String> = extra.iter().map(|&arg| arg.to_owned()).collect();
            Box::new(move || {
                let mut command = Command::new(&tool);
                command.args(&extra).arg("-e").arg(program);
                if let Some(cmd) = cmd {
                    command.args(["-c", cmd]);
                }
                command
            }) as Box<dyn FnMut() -> Command>
        };
        let mut tools = [make(bombus, &["--kernel", "linux"]), make(&bpftrace, &[])];
        let costs = in_turn(ROUNDS, &mut tools)?;
        for (name, runs) in ["bombus", "bpftrace"].iter().zip(&costs) {
            let (wall, wall_median) = least_and_median(runs, |cost| cost.wall);
            let (cpu, cpu_median) = least_and_median(runs, |cost| cost.cpu);
            let (peak, _) = least_and_median(runs, |cost| cost.peak_kib);
            println!(
                "| `{program}` | {name} | {} / {} | {} / {} | {:.1} |",
                ms(wall),
                ms(wall_median),
                ms(cpu),
                ms(cpu_median),
                peak as f64 / 1024.0
            );
        }
        let ratio = |of: fn(&super::measure::Cost) -> u64| {
            let (ours, ours_median) = least_and_median(&costs[0], of);
            let (theirs, theirs_median) = least_and_median(&costs[1], of);
            format!(
                "{:.3} / {:.3}",
                ours as f64 / theirs as f64,
                ours_median as f64 / theirs_median as f64
            )
        };
        println!(
            "| | ratio | {} | {} | {} |",
            ratio(|cost| cost.wall.as_micros() as u64),
            ratio(|cost| cost.cpu.as_micros() as u64),
            ratio(|cost| cost.peak_kib)
        );
    }
    let (ours, theirs) = (size(bombus)?, installed_size(&bpftrace)?);
    println!(
        "on disk: bombus {:.1} MB, bpftrace with its libraries {:.1} MB, ratio {:.3}",
        ours as f64 / 1e6,
        theirs as f64 / 1e6,
        ours as f64 / theirs as f64
    );
    Ok(())
}

/// Where `PATH` has a program.
pub(super) fn which(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}

fn size(path: &Path) -> Result<u64, String> {
    std::fs::metadata(path).map(|meta| meta.len()).map_err(|e| format!("{}: {e}", path.display()))
}

/// A dynamic program and every library that it loads.
fn installed_size(program: &Path) -> Result<u64, String> {
    let ldd = Command::new("ldd").arg(program).output().map_err(|error| format!("ldd: {error}"))?;
    let listing = String::from_utf8_lossy(&ldd.stdout);
    let libraries: BTreeSet<PathBuf> = listing
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
        .filter_map(|word| std::fs::canonicalize(word).ok())
        .collect();
    libraries
        .iter()
        .map(|library| size(library))
        .sum::<Result<u64, _>>()
        .and_then(|sum| Ok(sum + size(program)?))
}

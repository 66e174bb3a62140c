//! System calls counted by Bombus are those that `strace -f -c` counts, call by call.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use libtest_mimic::Trial;

use crate::workload::{self, Dir, as_nobody};
use crate::{installed, running_kernel, trial};

/// How often each system call was made, by number.
type Counts = BTreeMap<u64, u64>;

/// Calls that strace's summary leaves out because they never return.
const NO_RETURN: &[&str] = &["exit", "exit_group"];
/// Two children that end together are one signal or two, as it happens.
const BY_CHANCE: &[&str] = &["rt_sigreturn", "wait4"];
/// strace's summary is taken so often, to learn what differs from run to run by itself.
const STRACE_RUNS: usize = 5;
/// Bombus may meet a rare schedule that strace did not, so it gets this many tries.
const TRIES: usize = 8;

/// A command: name, how to make it in a directory, and how many calls of a kind more or less are
/// still chance (make's job server decides anew in each run who waits, and how often).
type Workload = (&'static str, fn(&Dir) -> Result<String, String>, u64);

const WORKLOADS: &[Workload] = &[
    ("ls", |_| Ok("ls -lR /usr/share/doc/base-files".into()), 0),
    (
        "pipeline",
        |dir| {
            let script = "#!/bin/sh\ncat /etc/passwd | sort | head -n 3 | wc -l\n";
            Ok(dir.write("pipeline.sh", script)?.display().to_string())
        },
        0,
    ),
    ("threads", workload::threads, 0),
    ("make", |dir| workload::c_build(dir, 4), 4),
];

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for &(name, make, slack) in WORKLOADS {
        let tools = || installed("strace").and(installed("gcc")).and(installed("make"));
        trials.push(trial(&format!("counts/embedded/{name}"), tools(), move || {
            agrees_with_strace(make, slack, "embedded")
        }));
        trials.push(trial(
            &format!("counts/linux/{name}"),
            tools().and(running_kernel()),
            move || agrees_with_strace(make, slack, "linux"),
        ));
    }
    trials
}

/// Calls whose number is the same in all of strace's runs must be the same here; the others must
/// lie between the least and the most that strace saw, give or take that spread.
fn agrees_with_strace(
    make: fn(&Dir) -> Result<String, String>,
    slack: u64,
    kernel: &str,
) -> Result<(), String> {
    let dir = Dir::new()?;
    let command = make(&dir)?;
    let bombus = workload::reachable(&dir)?;
    let mut runs = Vec::new();
    for _ in 0..STRACE_RUNS {
        runs.push(strace(&dir, &command, kernel)?);
    }
    let mut complaints = String::new();
    for _ in 0..TRIES {
        let ours = count(&dir, &bombus, &command, kernel)?;
        complaints = compare(&ours, &runs, slack);
        if complaints.is_empty() {
            return Ok(());
        }
    }
    Err(format!("`{command}` on {kernel}:\n{complaints}"))
}

fn compare(ours: &Counts, runs: &[Counts], slack: u64) -> String {
    let mut complaints = String::new();
    let calls: BTreeSet<u64> =
        runs.iter().flat_map(|run| run.keys()).chain(ours.keys()).copied().collect();
    for call in calls {
        let name = name(call);
        if NO_RETURN.contains(&name.as_str()) {
            continue;
        }
        let seen = || runs.iter().map(|run| run.get(&call).copied().unwrap_or(0));
        let (least, most) = (seen().min().unwrap_or(0), seen().max().unwrap_or(0));
        let chance = if BY_CHANCE.contains(&name.as_str()) { 4 } else { 0 };
        let spread = most - least + slack.max(chance);
        let count = ours.get(&call).copied().unwrap_or(0);
        if count + spread < least || count > most + spread {
            complaints += &format!("{name}: {count}, strace {least} to {most}\n");
        }
    }
    complaints
}

/// One run under `strace -f -c`.
fn strace(dir: &Dir, command: &str, kernel: &str) -> Result<Counts, String> {
    let summary = dir.0.join("strace.out");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-U", "name,calls", "-o"]).arg(&summary).args(command.split(' '));
    run(&mut strace, kernel)?;
    let text = std::fs::read_to_string(&summary).map_err(|error| error.to_string())?;
    std::fs::remove_file(&summary).map_err(|error| error.to_string())?;
    let mut counts = Counts::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(Ok(calls))) = (words.next(), words.next().map(str::parse))
            && let Some(call) = bombus_platform::syscall_by_name(strace_name(name))
        {
            counts.insert(u64::from(call.number), calls);
        }
    }
    if counts.is_empty() {
        Err(format!("no counts in strace's summary:\n{text}"))
    } else {
        Ok(counts)
    }
}

/// strace's own names where they differ from `unistd.h`.
fn strace_name(name: &str) -> &str {
    match name {
        "umount" => "umount2",
        other => other,
    }
}

/// One run under Bombus.
fn count(dir: &Dir, bombus: &Path, command: &str, kernel: &str) -> Result<Counts, String> {
    let script = "tracepoint:raw_syscalls:sys_enter { @[args.id] = count(); }";
    let mut tracer = Command::new(bombus);
    let output = dir.0.join("counts.json");
    tracer.args(["--kernel", kernel, "--tree", "-q", "-f", "json", "-o"]).arg(&output);
    tracer.args(["-e", script, "-c", command]);
    run(&mut tracer, kernel)?;
    let text = std::fs::read_to_string(&output).map_err(|error| error.to_string())?;
    std::fs::remove_file(&output).map_err(|error| error.to_string())?;
    for line in text.lines() {
        let Ok(json) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        if json["type"] != "map" {
            continue;
        }
        let Some(map) = json["data"]["@"].as_object() else { continue };
        return map
            .iter()
            .map(|(key, value)| {
                let key = key.parse().map_err(|_| format!("not a number: {key}"))?;
                Ok((key, value.as_u64().ok_or(format!("not a count: {value}"))?))
            })
            .collect();
    }
    Err(format!("no map in:\n{text}"))
}

/// Runs as nobody for the embedded kernel, as root for the running one.
fn run(command: &mut Command, kernel: &str) -> Result<(), String> {
    if kernel == "embedded" {
        as_nobody(command);
    }
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").current_dir("/");
    let out = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if out.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}\n{}", out.status, String::from_utf8_lossy(&out.stderr)))
}

fn name(call: u64) -> String {
    u32::try_from(call)
        .ok()
        .and_then(bombus_platform::syscall_by_number)
        .map_or(call.to_string(), |call| call.name.to_owned())
}

//! How a run ends, and what others see of it meanwhile.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bombus_linux::Tracefs;
use libtest_mimic::Trial;
use serde_json::Value;

use crate::{bombus, nowhere, output, run, trial};

pub(crate) fn trials(linux: bool) -> Vec<Trial> {
    vec![
        trial("interrupted", linux, interrupted),
        trial("a duration", linux, duration),
        trial("seen by top", linux, seen_by_top),
        trial("top needs a terminal", linux, top_needs_a_terminal),
    ]
}

/// Starts a run and waits until it is attached.
fn start(place: &str) -> Result<(Child, BufReader<impl Read>), String> {
    let mut command = run("chdir_linux");
    command.args(["--set", &format!("wanted={place}"), "--map", "by_serial"]);
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| error.to_string())?;
    let out = child.stdout.take().ok_or("no output")?;
    let mut out = BufReader::new(out);
    let mut line = String::new();
    out.read_line(&mut line).map_err(|error| error.to_string())?;
    match line.as_str() {
        "Attached on_chdir\n" => Ok((child, out)),
        _ => {
            let _ = child.kill();
            Err(format!("it says {line:?}"))
        }
    }
}

fn interrupt(child: &Child) -> Result<(), String> {
    let status = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    status.map(drop).map_err(|error| error.to_string())
}

fn go_to(place: &str, times: u32) -> Result<(), String> {
    let script = format!("for i in $(seq {times}); do cd {place} 2>/dev/null; done; true");
    let status = Command::new("sh").args(["-c", &script]).status();
    status.map(drop).map_err(|error| error.to_string())
}

/// Ctrl-C shows the maps; the trace buffer is gone and so is the program.
fn interrupted() -> Result<(), String> {
    let place = nowhere('i');
    let (mut child, mut out) = start(&place)?;
    let tracefs = Tracefs::find().ok_or("there is no tracefs")?;
    let instance = tracefs.root().join(format!("instances/bombus-{}", child.id()));
    let was_there = instance.exists();
    go_to(&place, 3)?;
    interrupt(&child)?;
    let mut text = String::new();
    out.read_to_string(&mut text).map_err(|error| error.to_string())?;
    let status = child.wait().map_err(|error| error.to_string())?;
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("by_serial")).collect();
    if !status.success() || lines != ["by_serial[1]: -1", "by_serial[2]: -2", "by_serial[3]: -3"] {
        return Err(format!("{status}:\n{text}"));
    }
    match (was_there, instance.exists()) {
        (true, false) => Ok(()),
        (before, after) => Err(format!("trace buffer: {before} before, {after} after")),
    }
}

fn duration() -> Result<(), String> {
    let start = std::time::Instant::now();
    let output = output(run("chdir").args(["-q", "--duration", "0.3", "--map", "by_serial"]))?;
    let took = start.elapsed();
    if output.status.success() && (300..10_000).contains(&took.as_millis()) {
        return Ok(());
    }
    Err(format!("{} after {took:?}", output.status))
}

/// Programs are there with their rates and with who holds them; the kernel stops counting.
fn seen_by_top() -> Result<(), String> {
    let place = nowhere('t');
    let (mut child, _out) = start(&place)?;
    let pid = child.id();
    let look = || -> Result<(), String> {
        let mut top = bombus();
        let mut top = top
            .args(["top", "--once", "-j", "-i", "1"])
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        while top.try_wait().is_ok_and(|status| status.is_none()) {
            // Not where it would print something: nobody reads that.
            go_to(&nowhere('u'), 200)?;
            std::thread::sleep(Duration::from_millis(20));
        }
        let output = top.wait_with_output().map_err(|error| error.to_string())?;
        let rows: Value =
            serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
        let ours = |row: &&Value| {
            row["pids"].as_array().is_some_and(|pids| pids.iter().any(|each| each["pid"] == pid))
        };
        let row = rows.as_array().and_then(|rows| rows.iter().find(ours)).ok_or("not there")?;
        let number = |name: &str| row[name].as_f64().unwrap_or(0.0);
        let expected = row["type"] == "tracepoint"
            && row["name"] == "on_chdir"
            && number("runs_per_second") >= 100.0
            && number("ns_per_run") > 0.0
            && number("cpu_percent") > 0.0
            && number("run_cnt") >= 200.0;
        if expected { Ok(()) } else { Err(row.to_string()) }
    };
    let outcome = look();
    interrupt(&child)?;
    child.wait().map_err(|error| error.to_string())?;
    outcome
}

fn top_needs_a_terminal() -> Result<(), String> {
    let output = output(bombus().arg("top").stdin(Stdio::null()))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    match (output.status.code(), errors.contains("--once")) {
        (Some(1), true) => Ok(()),
        _ => Err(format!("{}: {errors}", output.status)),
    }
}

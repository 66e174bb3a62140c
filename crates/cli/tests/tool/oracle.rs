//! Both tools, and what is to be the same.

use std::cell::RefCell;
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;

use crate::{Outcome, Unmet};

thread_local! {
    /// Words that stand before both, in this thread.
    static BEFORE: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Runs both, as long as this is there, by another command: `nsenter -t 5 -n`.
pub(crate) struct Within;

impl Within {
    pub(crate) fn new(words: &[&str]) -> Within {
        BEFORE.set(words.iter().map(|&word| word.to_owned()).collect());
        Within
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        BEFORE.take();
    }
}

/// A command, by the words that stand before all here.
pub(crate) fn command(words: &str) -> Command {
    let mut words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
    words.splice(0..0, BEFORE.with_borrow(Clone::clone));
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

/// bpftool, possibly with words before it: `chroot DIR bpftool`.
pub(crate) fn bpftool() -> Command {
    command(&std::env::var("BPFTOOL").unwrap_or_else(|_| "bpftool".into()))
}

pub(crate) fn bombus() -> Command {
    command(env!("CARGO_BIN_EXE_bombus"))
}

/// The version of bpftool, as major and minor number.
fn version() -> Option<(u32, u32)> {
    static VERSION: OnceLock<Option<(u32, u32)>> = OnceLock::new();
    *VERSION.get_or_init(|| {
        let output = bpftool().arg("version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let mut numbers = text.lines().next()?.split('v').next_back()?.split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    })
}

/// Skips the trial with an older bpftool.
pub(crate) fn needs(major: u32, minor: u32, because: &str) -> Outcome {
    match version() {
        Some(found) if found < (major, minor) => {
            let (old, older) = found;
            Err(Unmet::Skipped(format!("bpftool {old}.{older} {because}")))
        }
        _ => Ok(()),
    }
}

/// Whether bpftool is at least this new.
pub(crate) fn since(major: u32, minor: u32) -> bool {
    version().is_some_and(|version| version >= (major, minor))
}

/// Why nothing can be compared here.
pub(crate) fn missing() -> Result<(), String> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if !status.lines().any(|line| line.starts_with("Uid:\t0\t")) {
        return Err("needs root".into());
    }
    version().ok_or("bpftool is not installed")?;
    let probe = bombus().args(["prog", "show"]).output().map_err(|error| error.to_string())?;
    if probe.status.success() {
        return Ok(());
    }
    Err(format!("no bpf(2): {}", String::from_utf8_lossy(&probe.stderr).trim()))
}

fn output(mut command: Command, args: &[&str]) -> Result<Output, String> {
    command.args(args).output().map_err(|error| error.to_string())
}

/// What a run says: its output, and its errors unless it is JSON.
fn said(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    format!(
        "{}{}status {}\n",
        text(&output.stdout),
        text(&output.stderr),
        output.status.code().unwrap_or(-1)
    )
}

/// Without the lines that not every build of bpftool has (who holds an object needs a program of
/// its own, libbpf says more beside), and without what changes from moment to moment while somebody counts runs.
fn steady(text: &str) -> String {
    text.lines()
        .filter(|line| !line.starts_with("\tpids ") && !line.starts_with("libbpf: "))
        .map(|line| line.split(" run_time_ns ").next().unwrap_or_default())
        .map(in_order)
        .fold(String::new(), |text, line| text + &line + "\n")
}

/// With the ids of a type's users in order: bpftool's depends on how many there are altogether.
fn in_order(line: &str) -> String {
    let Some((before, ids)) = line.split_once("  prog_ids ") else { return line.to_owned() };
    let end = ids.find(' ').unwrap_or(ids.len());
    let mut sorted: Vec<u32> = ids[..end].split(',').filter_map(|id| id.parse().ok()).collect();
    sorted.sort_unstable();
    format!("{before}  prog_ids {sorted:?}{}", &ids[end..])
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for name in ["pids", "run_time_ns", "run_cnt"] {
                fields.remove(name);
            }
            if !since(7, 3) {
                fields.remove("orphaned");
            }
            if let Some(Value::Array(ids)) = fields.get_mut("prog_ids") {
                ids.sort_by_key(Value::as_u64);
            }
            fields.values_mut().for_each(strip);
        }
        Value::Array(values) => values.iter_mut().for_each(strip),
        _ => {}
    }
}

/// The value that a run prints, and its status.
fn value(output: &Output) -> Result<(Value, i32), String> {
    let mut value = match output.stdout.as_slice() {
        // Some errors have no words.
        [] | b"\n" => "nothing".into(),
        text => {
            serde_json::from_slice(text).map_err(|error| format!("{error} in {}", said(output)))?
        }
    };
    strip(&mut value);
    Ok((value, output.status.code().unwrap_or(-1)))
}

/// Both say the same, in text and in JSON.
pub(crate) fn same(args: &[&str]) -> Result<(), String> {
    same_text(args)?;
    same_json(args)
}

/// Whether the status does not matter: listings of links hand on what `errno` happens to be.
fn any_status(args: &[&str]) -> bool {
    args.starts_with(&["link", "show"]) && args.len() > 3 && args[3] != "4000000000"
}

/// Both say the same in text.
pub(crate) fn same_text(args: &[&str]) -> Result<(), String> {
    let ours = steady(&said(&output(bombus(), args)?));
    let theirs = steady(&said(&output(bpftool(), args)?));
    let body = |text: &str| text.rsplit_once("status").map_or(String::new(), |text| text.0.into());
    if ours == theirs || any_status(args) && body(&ours) == body(&theirs) {
        return Ok(());
    }
    Err(format!("{}\n{}", args.join(" "), first_difference(&ours, &theirs)))
}

/// The first lines that differ.
pub(crate) fn first_difference(ours: &str, theirs: &str) -> String {
    const SHOWN: usize = 4;
    let (mut ours, mut theirs) = (ours.lines().peekable(), theirs.lines().peekable());
    while ours.peek().is_some() && ours.peek() == theirs.peek() {
        ours.next();
        theirs.next();
    }
    let shown = |lines: &mut dyn Iterator<Item = &str>| {
        lines.take(SHOWN).map(|line| format!("    {line}\n")).collect::<String>()
    };
    format!("  bombus:\n{}  bpftool:\n{}", shown(&mut ours), shown(&mut theirs))
}

/// Both say the same in JSON.
pub(crate) fn same_json(args: &[&str]) -> Result<(), String> {
    let ours = output(bombus(), &[args, &["-j"]].concat())?;
    let theirs = output(bpftool(), &[&["-j"], args].concat())?;
    let (ours, theirs) = (value(&ours)?, value(&theirs)?);
    if ours == theirs || any_status(args) && ours.0 == theirs.0 {
        return Ok(());
    }
    let lines = |(value, status): &(Value, i32)| format!("{value:#}\nstatus {status}\n");
    Err(format!("{} -j\n{}", args.join(" "), first_difference(&lines(&ours), &lines(&theirs))))
}

/// What bpftool says in JSON, ours says, too; ours may say more.
pub(crate) fn same_fields(args: &[&str]) -> Result<(), String> {
    let ours = value(&output(bombus(), &[args, &["-j"]].concat())?)?.0;
    let theirs = value(&output(bpftool(), &[&["-j"], args].concat())?)?.0;
    match lacking(&ours, &theirs, "") {
        None => Ok(()),
        Some(what) => Err(format!("{} -j\n  {what}", args.join(" "))),
    }
}

/// The first of their fields that ours has not, or not so.
fn lacking(ours: &Value, theirs: &Value, place: &str) -> Option<String> {
    match (ours, theirs) {
        (Value::Object(ours), Value::Object(theirs)) => theirs.iter().find_map(|(name, theirs)| {
            let ours = ours.get(name).unwrap_or(&Value::Null);
            lacking(ours, theirs, &format!("{place}.{name}"))
        }),
        (Value::Array(ours), Value::Array(theirs)) if ours.len() == theirs.len() => {
            let pairs = ours.iter().zip(theirs).enumerate();
            let mut found =
                pairs.map(|(at, (ours, theirs))| lacking(ours, theirs, &format!("{place}[{at}]")));
            found.find_map(|found| found)
        }
        (ours, theirs) if ours == theirs => None,
        (ours, theirs) => Some(format!("{place}: bombus: {ours}, bpftool: {theirs}")),
    }
}

/// What bpftool prints.
pub(crate) fn bpftool_says(args: &[&str]) -> Result<String, String> {
    Ok(String::from_utf8_lossy(&output(bpftool(), args)?.stdout).into_owned())
}

/// Runs bpftool, which has to succeed.
pub(crate) fn bpftool_runs(args: &[&str]) -> Result<String, String> {
    let output = output(bpftool(), args)?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("bpftool {}: {}", args.join(" "), said(&output))),
    }
}

/// What a run says, with its status.
pub(crate) fn said_by(tool: Command, args: &[&str]) -> Result<String, String> {
    Ok(said(&output(tool, args)?))
}

/// Runs ours, which has to succeed.
pub(crate) fn run(args: &[&str]) -> Result<String, String> {
    let output = output(bombus(), args)?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{}: {}", args.join(" "), said(&output))),
    }
}

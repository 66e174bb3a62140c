//! Both tools, and what is to be the same.

use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;

/// bpftool, possibly with words before it: `chroot DIR bpftool`.
fn bpftool() -> Command {
    let words = std::env::var("BPFTOOL").unwrap_or_else(|_| "bpftool".into());
    let mut words = words.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or("bpftool"));
    command.args(words);
    command
}

pub(crate) fn bombus() -> Command {
    Command::new(env!("CARGO_BIN_EXE_bombus"))
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

/// Lines that not every build of bpftool has: who holds an object needs a program of its own.
fn without_holders(text: &str) -> String {
    text.lines()
        .filter(|line| !line.starts_with("\tpids "))
        .fold(String::new(), |text, line| text + line + "\n")
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("pids");
            if !since(7, 3) {
                fields.remove("orphaned");
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
    let ours = without_holders(&said(&output(bombus(), args)?));
    let theirs = without_holders(&said(&output(bpftool(), args)?));
    let body = |text: &str| text.rsplit_once("status").map_or(String::new(), |text| text.0.into());
    if ours == theirs || any_status(args) && body(&ours) == body(&theirs) {
        return Ok(());
    }
    Err(format!("{}\n{}", args.join(" "), difference(&ours, &theirs)))
}

/// The first lines that differ.
fn difference(ours: &str, theirs: &str) -> String {
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
    Err(format!("{} -j\n{}", args.join(" "), difference(&lines(&ours), &lines(&theirs))))
}

/// What bpftool prints.
pub(crate) fn bpftool_says(args: &[&str]) -> Result<String, String> {
    Ok(String::from_utf8_lossy(&output(bpftool(), args)?.stdout).into_owned())
}

/// Runs ours, which has to succeed.
pub(crate) fn run(args: &[&str]) -> Result<String, String> {
    let output = output(bombus(), args)?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{}: {}", args.join(" "), said(&output))),
    }
}

//! What running an object prints.

use std::path::Path;

use libtest_mimic::Trial;

use crate::{check, nowhere, output, path, run, running_kernel, trial};

/// The order of the kinds of lines: buffers are read one after the other, and how much is in each
/// at a time is a matter of chance.
const KINDS: [&str; 6] =
    ["attached", "printk", "record events", "record samples", "elements of a hash", "rest"];

pub(crate) fn trials() -> Vec<Trial> {
    let linux = running_kernel().is_ok();
    vec![
        trial("text", linux, || shows("chdir_linux", "linux", "text", 'a')),
        trial("json", linux, || shows("chdir_linux", "linux", "json", 'b')),
        trial("without printk", linux, || shows("chdir", "linux", "text", 'c')),
        trial("embedded", true, || shows("chdir", "embedded", "text", 'd')),
        trial("chosen maps", linux, chosen_maps),
        trial("given types", Path::new(TYPES).exists(), given_types),
        trial("compiled", true, compiled),
    ]
}

/// Where a kernel that describes its types has them.
const TYPES: &str = "/sys/kernel/btf/vmlinux";

fn shows(object: &str, kernel: &str, format: &str, letter: char) -> Result<(), String> {
    let place = nowhere(letter);
    let mut command = run(object);
    command.args(["--kernel", kernel, "-f", format]);
    command.args(["--set", &format!("wanted={place}"), "--set", "kind=KIND_CHDIR"]);
    command.args(["--set", "depths=[1, -2, 3]"]);
    let child = format!("sh -c 'cd {place} 2>/dev/null; cd /; cd {place} 2>/dev/null; exit 7'");
    let output = output(command.args(["-c", &child]))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if output.status.code() != Some(7) || !errors.is_empty() {
        return Err(format!("{:?}, {errors}", output.status));
    }
    let mut lines: Vec<(usize, String)> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| (kind(line), masked(line, &place)))
        // Whatever else prints on this machine meanwhile.
        .filter(|(kind, line)| KINDS[*kind] != "printk" || line.contains("PLACE"))
        .collect();
    lines.sort_by_key(|(kind, line)| {
        // Each CPU has a perf buffer of its own, and the command may have moved.
        let unordered = ["elements of a hash", "record samples"].contains(&KINDS[*kind]);
        (*kind, if unordered { line.clone() } else { String::new() })
    });
    let text: String = lines.into_iter().map(|(_, line)| format!("{line}\n")).collect();
    let ending = if format == "json" { "json" } else { "txt" };
    check(&format!("{object}.{kernel}.{ending}"), &text)
}

fn kind(line: &str) -> usize {
    let is = |text: &str, json: &str| line.starts_with(text) || line.starts_with(json);
    match line {
        _ if is("Attached ", r#"{"type":"attached""#) => 0,
        _ if is("events: ", r#"{"type":"record","map":"events""#) => 2,
        _ if is("samples: ", r#"{"type":"record","map":"samples""#) => 3,
        _ if line.contains(": chdir ") || line.starts_with(r#"{"type":"printk""#) => 1,
        _ if is("by_place[", r#"{"type":"map","map":"by_place""#) => 4,
        _ => 5,
    }
}

/// Without what differs from run to run.
fn masked(line: &str, place: &str) -> String {
    // The kernel does not always remember the name of a thread.
    let mut line = line.replace(place, "PLACE").replace("<...>", "sh");
    for before in ["sh-", "\"tid\":", "\"cpu\":"] {
        if let Some(at) = line.find(before) {
            let digits = at + before.len();
            let rest = line[digits..].trim_start_matches(|char: char| char.is_ascii_digit());
            line = format!("{}N{rest}", &line[..digits]);
        }
    }
    line
}

/// `--map` shows what it names and nothing else; constants only then.
fn chosen_maps() -> Result<(), String> {
    let mut command = run("chdir");
    command.args(["-q", "--duration", "0", "--map", ".rodata", "--set", "depths=[4,5]"]);
    let output = output(&mut command)?;
    check("chosen.txt", &String::from_utf8_lossy(&output.stdout))
}

/// The embedded kernel has no types of its own, and kernel functions are called by type: those of a
/// file do.
fn given_types() -> Result<(), String> {
    let mut command = run("iterator");
    command.args(["-q", "--kernel", "embedded", "-c", "sh -c 'cd /'"]);
    let without = output(&mut command)?;
    let with = output(command.args(["--btf", TYPES]))?;
    let sum = String::from_utf8_lossy(&with.stdout);
    match sum.contains("sum: 10") && !without.status.success() {
        true => Ok(()),
        false => Err(format!("{sum}{}", String::from_utf8_lossy(&with.stderr))),
    }
}

/// The committed objects are what the compiler makes of the sources.
fn compiled() -> Result<(), String> {
    for name in ["chdir", "chdir_linux", "iterator", "refused", "unplaced", "wire"] {
        let output = std::process::Command::new("clang-19")
            .current_dir(path("."))
            .args(["-target", "bpf", "-O2", "-g", "-mcpu=v3", "-fdebug-compilation-dir=."])
            .args(["-Wno-unknown-attributes", "-c", "-o", "-", &format!("{name}.c")])
            .output();
        let Ok(output) = output else {
            println!("skipped: clang-19 is not installed");
            return Ok(());
        };
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let path = path(&format!("{name}.o"));
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&path, &output.stdout).map_err(|error| error.to_string())?;
        }
        let committed = std::fs::read(&path).map_err(|error| error.to_string())?;
        let code = |bytes: &[u8]| bombus_object::open(bytes).map_err(|error| error.to_string());
        if code(&committed)? != code(&output.stdout)? {
            return Err(format!("{name}.o is not what clang-19 makes of {name}.c"));
        }
    }
    Ok(())
}

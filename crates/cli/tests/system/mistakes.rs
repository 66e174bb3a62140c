//! What somebody is told who names a file, command or process that is not there: bpftrace's words,
//! what to do instead, and an exit status that is not zero. Nothing has run by then.

use libtest_mimic::Trial;

use crate::{bombus, running_kernel, trial};

/// Name, arguments after the kernel's, what standard error begins with.
const MISTAKES: &[(&str, &[&str], &str)] = &[
    (
        "script",
        &["/no/such.bt"],
        "ERROR: failed to open file '/no/such.bt': No such file or directory\nHINT: ",
    ),
    ("folder", &["/"], "ERROR: failed to open file '/': Is a directory\nHINT: "),
    (
        "command",
        &["-e", "BEGIN { printf(\"ran\\n\"); }", "-c", "no-such-command now"],
        "ERROR: Failed to fork child: Path 'no-such-command' does not exist or is not executable \
         (No such file or directory)\nHINT: ",
    ),
    (
        "path of a command",
        &["-e", "BEGIN { printf(\"ran\\n\"); }", "-c", "/etc/passwd"],
        "ERROR: Failed to fork child: Path '/etc/passwd' does not exist or is not executable (No \
         such file or directory)\nHINT: ",
    ),
    (
        "process",
        // Linux gives no number as high.
        &["-e", "BEGIN { printf(\"ran\\n\"); }", "-p", "4194304"],
        "ERROR: Failed to attach to pid: Unable to open pidfd (No such process)\nHINT: ",
    ),
    (
        "output",
        &["-e", "BEGIN { exit(); }", "-o", "/no/such/folder/file"],
        "ERROR: Failed to open output file: \"/no/such/folder/file\": No such file or \
         directory\nHINT: ",
    ),
];

pub(crate) fn trials() -> Vec<Trial> {
    let linux = running_kernel();
    let cases = MISTAKES.iter().flat_map(|case| ["embedded", "linux"].map(|kernel| (case, kernel)));
    cases
        .map(|(&(name, args, expected), kernel)| {
            let needs = if kernel == "linux" { linux.clone() } else { Ok(()) };
            trial(&format!("mistakes/{name}/{kernel}"), needs, move || told(kernel, args, expected))
        })
        .collect()
}

fn told(kernel: &str, args: &[&str], expected: &str) -> Result<(), String> {
    let output =
        bombus().args(["--kernel", kernel]).args(args).output().map_err(|e| e.to_string())?;
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.code() == Some(1) && out.is_empty() && err.starts_with(expected) {
        return Ok(());
    }
    Err(format!("{}\nstandard output:\n{out}standard error:\n{err}", output.status))
}

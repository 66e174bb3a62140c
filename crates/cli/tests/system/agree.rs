//! Both kernels, and bpftrace where it is installed, say the same about a command.

use std::process::Command;

use libtest_mimic::Trial;

use crate::{bombus, installed, running_kernel, trial};

/// Scripts with the command that they watch. All are filtered to the command, so that a machine-wide
/// kernel sees no more than the embedded one.
const SCRIPTS: &[(&str, &str, &str)] = &[
    (
        "openat",
        "tracepoint:syscalls:sys_enter_openat /pid == cpid/ { printf(\"%s %s\\n\", comm, str(args.filename)); }",
        "/usr/bin/cat /etc/hostname",
    ),
    (
        "malloc",
        "uprobe:libc:malloc /pid == cpid/ { @[comm] = hist(arg0); } uretprobe:libc:malloc /pid == cpid/ { @n = count(); }",
        "/usr/bin/ls /usr/share/doc/base-files",
    ),
    (
        "enter and exit",
        "tracepoint:syscalls:sys_enter_read /pid == cpid/ { @count[args.fd] = sum(args.count); } \
         tracepoint:syscalls:sys_exit_read /pid == cpid/ { @ret = stats(args.ret); }",
        "/usr/bin/cat /etc/passwd",
    ),
    (
        "life cycle",
        "tracepoint:sched:sched_process_exec /pid == cpid/ { @exec = count(); } \
         tracepoint:sched:sched_process_fork /pid == cpid/ { @fork = count(); }",
        "/usr/bin/sh -c true",
    ),
];

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for &(name, script, command) in SCRIPTS {
        trials.push(trial(&format!("agree/kernels/{name}"), running_kernel(), move || {
            same(
                run(bombus().args(["--kernel", "linux", "--tree", "-q"]), script, command)?,
                script,
                command,
            )
        }));
        let needs = running_kernel().and(installed("bpftrace"));
        trials.push(trial(&format!("agree/bpftrace/{name}"), needs, move || {
            // Field access by `.` is younger than Debian 12's bpftrace.
            let old = script.replace("args.", "args->");
            same(run(Command::new("bpftrace").arg("-q"), &old, command)?, script, command)
        }));
    }
    trials
}

/// What the embedded kernel prints is what was printed elsewhere.
fn same(expected: String, script: &str, command: &str) -> Result<(), String> {
    let ours = run(bombus().args(["--kernel", "embedded", "-q"]), script, command)?;
    if ours == expected {
        return Ok(());
    }
    Err(format!("the embedded kernel printed\n{ours}\nand the other tracer\n{expected}"))
}

fn run(tracer: &mut Command, script: &str, command: &str) -> Result<String, String> {
    let out = tracer
        .args(["-e", script, "-c", command])
        .env("LC_ALL", "C")
        .output()
        .map_err(|error| format!("{tracer:?}: {error}"))?;
    if !out.status.success() {
        let errors = String::from_utf8_lossy(&out.stderr);
        return Err(format!("{tracer:?}: {}\n{errors}", out.status));
    }
    // The two versions differ in how the last line ends and in how statistics look.
    let text = String::from_utf8_lossy(&out.stdout);
    let lines: Vec<&str> =
        text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    Ok(lines.join("\n"))
}

//! Both kernels, and bpftrace where it is installed, say the same about a command.

use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use libtest_mimic::Trial;

use crate::workload::Dir;
use crate::{bombus, installed, running_kernel, tracefs, trial};

/// A script with the command that it watches, to which it keeps, so that a machine-wide kernel sees
/// no more than the embedded one.
struct Case {
    name: &'static str,
    script: &'static str,
    command: &'static str,
    /// Debian's bpftrace prints it in the same form.
    old_form: bool,
}

const CASES: &[Case] = &[
    Case {
        name: "openat",
        script: "tracepoint:syscalls:sys_enter_openat /pid == cpid/ \
                 { printf(\"%s %s\\n\", comm, str(args.filename)); }",
        command: "/usr/bin/cat /etc/hostname",
        old_form: true,
    },
    Case {
        name: "malloc",
        script: "uprobe:libc:malloc /pid == cpid/ { @[comm] = hist(arg0); } \
                 uretprobe:libc:malloc /pid == cpid/ { @n = count(); }",
        command: "/usr/bin/ls /proc/sys/vm",
        old_form: true,
    },
    Case {
        name: "enter and exit",
        script: "tracepoint:syscalls:sys_enter_read /pid == cpid/ \
                 { @count[args.fd] = sum(args.count); } \
                 tracepoint:syscalls:sys_exit_read /pid == cpid/ { @ret = stats(args.ret); }",
        command: "/usr/bin/cat /etc/passwd",
        old_form: false,
    },
    Case {
        name: "life cycle",
        script: "tracepoint:sched:sched_process_exec { @exec = count(); } \
                 tracepoint:sched:sched_process_fork { @fork[comm] = count(); } \
                 tracepoint:sched:sched_process_exit { @exit[comm] = count(); }",
        command: "/bin/sh -c '/usr/bin/true; /usr/bin/true | /usr/bin/cat; exit 0'",
        old_form: false,
    },
];

/// The running kernel's breakpoint in a library is in everybody's memory, where the embedded kernel
/// then finds no place for its own; so these tests run one after the other.
static ALONE: Mutex<()> = Mutex::new(());

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for case in CASES {
        trials.push(trial(&format!("agree/kernels/{}", case.name), running_kernel(), move || {
            let mut tracer = bombus();
            tracer.args(["--kernel", "linux", "--tree", "-q"]);
            same(&mut tracer, case.script, case)
        }));
        if case.old_form {
            let needs = running_kernel().and(installed("bpftrace")).and(tracefs());
            trials.push(trial(&format!("agree/bpftrace/{}", case.name), needs, move || {
                // Field access by `.` is younger than Debian 12's bpftrace.
                let mut tracer = Command::new("bpftrace");
                same(tracer.arg("-q"), &case.script.replace("args.", "args->"), case)
            }));
        }
    }
    trials
}

/// What the embedded kernel prints is what the other tracer prints.
fn same(other: &mut Command, script: &str, case: &Case) -> Result<(), String> {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut embedded = bombus();
    embedded.args(["--kernel", "embedded", "-q"]);
    let ours = run(&mut embedded, case.script, case.command)?;
    let expected = run(other, script, case.command)?;
    // The kernel takes its breakpoints back after the tracer has ended.
    std::thread::sleep(Duration::from_millis(500));
    if ours == expected {
        return Ok(());
    }
    Err(format!("the embedded kernel printed\n{ours}\nand the other tracer\n{expected}"))
}

/// Runs the tracer over the command and gives what it wrote, which goes to a file so that the
/// command's own output is not among it.
fn run(tracer: &mut Command, script: &str, command: &str) -> Result<String, String> {
    let dir = Dir::new()?;
    let output = dir.0.join("output");
    tracer.args(["-e", script, "-c", command, "-o"]).arg(&output);
    tracer.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
    let out = tracer.output().map_err(|error| format!("{tracer:?}: {error}"))?;
    if !out.status.success() {
        let errors = String::from_utf8_lossy(&out.stderr);
        return Err(format!("{tracer:?}: {}\n{errors}", out.status));
    }
    // Versions differ in the empty lines around maps.
    let text = std::fs::read_to_string(&output).map_err(|error| error.to_string())?;
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|l| !l.is_empty()).collect();
    Ok(lines.join("\n"))
}

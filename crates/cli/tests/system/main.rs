//! The whole program from outside: what it counts against what strace counts, that both kernels
//! agree, and that nothing stays behind however it ends.

mod agree;
mod counts;
mod mistakes;
mod released;
mod signals;
mod terminal;
mod workload;

use std::path::Path;
use std::process::Command;

use libtest_mimic::{Arguments, Failed, Trial};

/// Why a test cannot run here.
type Needs = Result<(), String>;

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = counts::trials();
    trials.extend(agree::trials());
    trials.extend(mistakes::trials());
    trials.extend(released::trials());
    trials.extend(signals::trials());
    trials.extend(terminal::trials());
    libtest_mimic::run(&arguments, trials).exit();
}

/// A test, or, where something that it needs is missing, a line that says what and a test that is
/// counted as ignored.
fn trial(
    name: &str,
    needs: Needs,
    test: impl FnOnce() -> Result<(), String> + Send + 'static,
) -> Trial {
    let missing = needs.err();
    if let Some(reason) = &missing {
        println!("{name} skipped: {reason}");
    }
    Trial::test(name, move || test().map_err(Failed::from)).with_ignored_flag(missing.is_some())
}

/// The program under test.
fn bombus() -> Command {
    Command::new(env!("CARGO_BIN_EXE_bombus"))
}

fn installed(program: &str) -> Needs {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|dir| dir.join(program).is_file()) {
        return Ok(());
    }
    Err(format!("{program} is not installed"))
}

/// A tracefs where others look for it: Bombus makes its own when there is none.
fn tracefs() -> Needs {
    match Path::new("/sys/kernel/tracing/events").is_dir() {
        true => Ok(()),
        false => Err("tracefs is not mounted".into()),
    }
}

/// Root, and a kernel that takes programs.
fn running_kernel() -> Needs {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let root = status.lines().any(|line| line.starts_with("Uid:\t0\t"));
    if !root {
        return Err("needs root".into());
    }
    let probe = bombus().args(["--kernel", "linux", "-q", "-e", "BEGIN { exit(); }"]).output();
    match probe {
        Ok(out) if out.status.success() => Ok(()),
        Ok(out) => Err(format!("no bpf(2): {}", String::from_utf8_lossy(&out.stderr).trim())),
        Err(error) => Err(error.to_string()),
    }
}

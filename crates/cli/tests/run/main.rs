//! `bombus run` and `bombus top` from outside: what they print about programs that clang made, how
//! they refuse, and that nothing stays behind.
//!
//! `objects/NAME.c` is the source, `NAME.o` the object that clang 19 makes of it (it is there so
//! that nobody needs clang; `BLESS=1` makes it anew where there is one), `NAME.KERNEL.txt` or
//! `.json` what running it prints.

mod objects;
mod refusals;
mod running;
mod wires;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let linux = running_kernel();
    if let Err(reason) = &linux {
        println!("on the running kernel skipped: {reason}");
    }
    let mut trials = objects::trials();
    trials.extend(refusals::trials(linux.is_ok()));
    trials.extend(running::trials(linux.is_ok()));
    trials.extend(wires::trials());
    libtest_mimic::run(&arguments, trials).exit();
}

/// A test; one that cannot run here is counted as ignored.
fn trial(
    name: &str,
    can: bool,
    test: impl FnOnce() -> Result<(), String> + Send + 'static,
) -> Trial {
    Trial::test(name, move || test().map_err(Failed::from)).with_ignored_flag(!can)
}

/// Root, and a kernel that takes programs.
fn running_kernel() -> Result<(), String> {
    bombus_linux::can_load_programs().map_err(|error| error.to_string())
}

/// `bombus run` with an object of the tests.
fn run(object: &str) -> Command {
    let mut command = bombus();
    command.arg("run").arg(path(&format!("{object}.o")));
    command
}

fn bombus() -> Command {
    Command::new(env!("CARGO_BIN_EXE_bombus"))
}

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/run/objects").join(name)
}

fn output(command: &mut Command) -> Result<Output, String> {
    command.output().map_err(|error| format!("{command:?}: {error}"))
}

/// A directory that nobody else goes to, and that is not there.
fn nowhere(letter: char) -> String {
    format!("/proc/bombus/{:07}{letter}", std::process::id())
}

/// Compares with a file, or writes it with `BLESS=1`.
fn check(name: &str, text: &str) -> Result<(), String> {
    let path = path(name);
    if std::env::var_os("BLESS").is_some() {
        return std::fs::write(&path, text).map_err(|error| error.to_string());
    }
    let expected = std::fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
    if text == expected {
        return Ok(());
    }
    Err(format!("{name}\n--- expected ---\n{expected}--- got ---\n{text}"))
}

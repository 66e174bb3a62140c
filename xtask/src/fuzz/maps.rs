//! `cargo xtask fuzz maps`: two threads on our maps for as long as one likes, with a sanitizer that
//! sees what no comparison does. What they do is in `crates/maps/tests/stress.rs`, of which a moment
//! is run with every test.

use std::process::Command;

const USAGE: &str =
    "usage: cargo xtask fuzz maps [--seconds N] [--sanitizer address|thread|none] [--miri]";

/// Builds the stress test and runs it.
pub(super) fn run(args: &[String]) -> Result<(), String> {
    let (mut seconds, mut sanitizer, mut miri) = (600, "address".to_owned(), false);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seconds" => {
                seconds = args.next().and_then(|value| value.parse().ok()).ok_or(USAGE)?;
            }
            "--sanitizer" => sanitizer.clone_from(args.next().ok_or(USAGE)?),
            "--miri" => miri = true,
            _ => return Err(USAGE.into()),
        }
    }
    let mut command = Command::new("cargo");
    // Cargo sets these for us; another toolchain finds its own.
    for variable in ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN", "RUSTDOC"] {
        command.env_remove(variable);
    }
    if miri {
        command.args(["+nightly", "miri", "test", "--target-dir", "target/miri"]);
        command.env("MIRIFLAGS", "-Zmiri-disable-isolation");
    } else if sanitizer == "none" {
        command.args(["test", "--release", "--config", "profile.release.panic=\"unwind\""]);
    } else {
        command.args(["+nightly", "test", "--target-dir", "target/sanitized"]);
        if sanitizer == "thread" {
            // It must know of every synchronisation, also in the standard library.
            command.arg("-Zbuild-std");
        }
        command.env("RUSTFLAGS", format!("-Zsanitizer={sanitizer}"));
    }
    command.args(["--package", "bombus-maps", "--test", "stress"]);
    command.args(["--", "--test-threads", "1"]);
    command.env("BOMBUS_STRESS_SECONDS", seconds.to_string());
    let status = command.status().map_err(|error| format!("cargo: {error}"))?;
    if status.success() { Ok(()) } else { Err("the stress test failed".into()) }
}

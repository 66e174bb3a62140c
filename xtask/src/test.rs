//! `cargo xtask test`: everything that must hold before a change lands.

use std::process::Command;

/// Runs the checks one after the other and stops at the first that fails.
pub(crate) fn run(_args: &[String]) -> Result<(), String> {
    step("format", cargo(&["fmt", "--all", "--check"]))?;
    step(
        "lints",
        cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    )?;
    println!("== tidy");
    crate::tidy::check()?;
    licences()?;
    step("documentation", cargo(&["doc", "--quiet", "--workspace", "--no-deps"]))?;
    step("tests", cargo(&["test", "--workspace"]))
}

/// Checks every dependency's licence, when `cargo deny` is installed.
fn licences() -> Result<(), String> {
    let installed = cargo(&["deny", "--version"]).output().is_ok_and(|out| out.status.success());
    if !installed {
        println!("== licences\nskipped: cargo-deny is not installed (cargo install cargo-deny)");
        return Ok(());
    }
    step("licences", cargo(&["deny", "check", "licenses", "bans", "sources"]))
}

fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.args(args);
    command
}

fn step(name: &str, mut command: Command) -> Result<(), String> {
    println!("== {name}");
    let status = command.status().map_err(|error| format!("{name}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{name}: {status}")) }
}

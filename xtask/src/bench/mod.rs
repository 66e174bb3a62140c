//! `cargo xtask bench`: every figure is a ratio against the peer, taken in one run.

mod embedded;
mod events;
mod maps;
mod measure;
mod packets;
mod start;
mod verify;
mod vm;

use std::path::PathBuf;
use std::process::Command;

/// Runs the benchmarks named, or all.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    if let [command, kind] = args
        && command == "load"
    {
        return events::load(kind);
    }
    if args == ["vm"] {
        return vm::run();
    }
    if args == ["maps-here"] {
        return maps::measure();
    }
    if let [command, rest @ ..] = args
        && command == "verify"
    {
        return verify::run(&build()?, rest);
    }
    let all = ["start", "events", "embedded", "packets", "maps", "vm"].map(str::to_owned);
    let names = if args.is_empty() { &all[..] } else { args };
    let bombus = if names == ["maps"] { PathBuf::new() } else { build()? };
    for name in names {
        match name.as_str() {
            "maps" => maps::run()?,
            "vm" => vm::run()?,
            "start" => start::run(&bombus)?,
            "events" => events::run(&bombus)?,
            "embedded" => embedded::run(&bombus)?,
            "packets" => packets::run(&bombus)?,
            other => return Err(format!("no benchmark {other}; there are {}", all.join(", "))),
        }
    }
    Ok(())
}

/// Builds the release binary and copies it to where any user may run it.
fn build() -> Result<PathBuf, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--release", "--package", "bombus-cli"])
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    if !status.success() {
        return Err("the release build failed".into());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or("target".into(), PathBuf::from);
    let copy = std::env::temp_dir().join(format!("bombus-bench-{}", std::process::id()));
    std::fs::create_dir_all(&copy).map_err(|error| error.to_string())?;
    let binary = copy.join("bombus");
    // Cargo's directory for a named target; see .cargo/config.toml.
    let built = format!("{}-unknown-linux-gnu/release/bombus", std::env::consts::ARCH);
    std::fs::copy(target.join(built), &binary).map_err(|error| error.to_string())?;
    Ok(binary)
}

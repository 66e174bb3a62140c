//! Builds what runs in the virtual machine. Everything that cargo builds here is static.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::cpio::Archive;
use super::quote;

/// A package's program.
pub(super) fn program(package: &str, name: &str) -> Result<PathBuf, String> {
    let artifacts = cargo(&["build", "--package", package])?;
    let program = artifacts.into_iter().find(|artifact| artifact.name == name);
    program.map(|found| found.path).ok_or_else(|| format!("{package} has no program {name}"))
}

/// Takes the tests of these packages along, with the packages' own files and programs at the places
/// that the tests know; gives the script that runs them all.
pub(super) fn tests(archive: &mut Archive, packages: &[String]) -> Result<String, String> {
    let mut script = String::from("#!/bin/sh\nstatus=0\n");
    let mut args = vec!["test", "--no-run"];
    args.extend(packages.iter().flat_map(|package| ["--package", package]));
    for built in cargo(&args)? {
        if !built.is_test {
            if built.kind == "bin" {
                let path = built.path.to_string_lossy().trim_start_matches('/').to_owned();
                small(archive, &path, &built.path)?;
            }
            continue;
        }
        // A package's directory is named without what all of them have in front.
        let directory = built.manifest.parent().unwrap_or(Path::new("/"));
        let own = |package: &&String| directory.ends_with(package.trim_start_matches("bombus-"));
        let package = packages.iter().find(own).ok_or("tests of another package")?;
        let file = built.path.file_name().unwrap_or_default().to_string_lossy();
        let inside = format!("tests/{package}/{file}");
        small(archive, &inside, &built.path)?;
        script += &format!("echo {}\n", quote(&format!("-- {package} {}", built.name)));
        // Snapshots are found by what cargo says.
        script += &format!(
            "cd {0} && CARGO_MANIFEST_DIR={0} {1} --nocapture || status=1\n",
            quote(&directory.to_string_lossy()),
            quote(&format!("/{inside}"))
        );
    }
    for package in packages {
        let directory = super::root().join("crates").join(package.trim_start_matches("bombus-"));
        archive.tree(&directory)?;
    }
    archive.tree(&super::root().join("tests"))?;
    let manifest = super::root().join("Cargo.toml");
    archive.file(manifest.to_string_lossy().trim_start_matches('/'), &manifest, 0o644)?;
    super::programs::take_along(archive)?;
    Ok(script + "exit $status\n")
}

/// Takes a program along without what only a debugger reads.
fn small(archive: &mut Archive, name: &str, program: &Path) -> Result<(), String> {
    let stripped = super::target_directory().join(format!("vm/stripped-{}", std::process::id()));
    let strip = Command::new("strip").arg("-o").arg(&stripped).arg(program).status();
    let outcome = match strip {
        Ok(status) if status.success() => archive.file(name, &stripped, 0o755),
        _ => archive.file(name, program, 0o755),
    };
    let _ = std::fs::remove_file(&stripped);
    outcome
}

/// Something that cargo built and that can be run.
struct Artifact {
    name: String,
    /// `bin`, `test`, `example` and so on.
    kind: String,
    path: PathBuf,
    manifest: PathBuf,
    is_test: bool,
}

fn cargo(args: &[&str]) -> Result<Vec<Artifact>, String> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
        .args(args)
        .args(["--quiet", "--message-format", "json-render-diagnostics"])
        .current_dir(super::root())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo {}: {}", args.join(" "), output.status));
    }
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(messages.lines().filter_map(|line| artifact(&serde_json::from_str(line).ok()?)).collect())
}

fn artifact(message: &Value) -> Option<Artifact> {
    Some(Artifact {
        name: message["target"]["name"].as_str()?.to_owned(),
        kind: message["target"]["kind"][0].as_str()?.to_owned(),
        path: message["executable"].as_str()?.into(),
        manifest: message["manifest_path"].as_str()?.into(),
        is_test: message["profile"]["test"].as_bool()?,
    })
}

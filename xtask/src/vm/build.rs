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

/// Takes the tests of these packages along, with the packages' own files at the place that the
/// tests know; gives the script that runs them all.
pub(super) fn tests(archive: &mut Archive, packages: &[String]) -> Result<String, String> {
    let mut script = String::from("#!/bin/sh\nstatus=0\n");
    for package in packages {
        for test in cargo(&["test", "--no-run", "--package", package])? {
            if !test.is_test {
                continue;
            }
            let directory = test.manifest.parent().unwrap_or(Path::new("/"));
            let file = test.path.file_name().unwrap_or_default().to_string_lossy();
            let inside = format!("tests/{package}/{file}");
            archive.file(&inside, &test.path, 0o755)?;
            script += &format!("echo {}\n", quote(&format!("-- {package} {}", test.name)));
            script += &format!(
                "cd {} && {} || status=1\n",
                quote(&directory.to_string_lossy()),
                quote(&format!("/{inside}"))
            );
        }
        let directory = super::root().join("crates").join(package.trim_start_matches("bombus-"));
        archive.tree(&directory)?;
    }
    Ok(script + "exit $status\n")
}

/// Something that cargo built and that can be run.
struct Artifact {
    name: String,
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
        path: message["executable"].as_str()?.into(),
        manifest: message["manifest_path"].as_str()?.into(),
        is_test: message["profile"]["test"].as_bool()?,
    })
}

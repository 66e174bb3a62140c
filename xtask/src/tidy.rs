//! Rules that the compiler does not check: which crate may import which, where `unsafe` may stand,
//! that sources are ASCII and modules say what they are for.

use std::fs;
use std::path::{Path, PathBuf};

/// Crates that own `unsafe` code. Every other one forbids it.
const UNSAFE_OWNERS: &[&str] = &["vm", "maps", "linux", "embedded", "runtime"];

/// Runs every rule; an error lists all that is broken.
pub(crate) fn check() -> Result<(), String> {
    let mut broken = Vec::new();
    arrows(&mut broken)?;
    for file in sources(Path::new("crates"))?.into_iter().chain(sources(Path::new("xtask"))?) {
        let text = fs::read_to_string(&file).map_err(|error| format!("{file:?}: {error}"))?;
        let name = file.display();
        if let Some(line) = text.lines().position(|line| !line.is_ascii()) {
            broken.push(format!("{name}:{}: not ASCII", line + 1));
        }
        if !text.starts_with("//!") {
            broken.push(format!("{name}: no header that says what the module is for"));
        }
        if file.ends_with("src/lib.rs")
            && !UNSAFE_OWNERS.iter().any(|owner| file.starts_with(format!("crates/{owner}")))
            && !text.contains("#![forbid(unsafe_code)]")
        {
            broken.push(format!("{name}: does not forbid unsafe code"));
        }
    }
    if broken.is_empty() { Ok(()) } else { Err(broken.join("\n")) }
}

/// ARCHITECTURE.md lists the crates from the bottom up; each may import only what stands above it
/// in that table.
fn arrows(broken: &mut Vec<String>) -> Result<(), String> {
    let text = fs::read_to_string("ARCHITECTURE.md").map_err(|error| error.to_string())?;
    let order: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`').map(|(name, _)| name))
        .collect();
    for entry in fs::read_dir("crates").map_err(|error| error.to_string())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(place) = order.iter().position(|listed| *listed == name) else {
            broken.push(format!("crates/{name} is not in ARCHITECTURE.md's map"));
            continue;
        };
        let manifest = fs::read_to_string(entry.path().join("Cargo.toml"))
            .map_err(|error| format!("{name}: {error}"))?;
        let shipped = manifest.split("[dev-dependencies]").next().unwrap_or_default();
        for line in shipped.lines() {
            let Some(import) = line.strip_prefix("bombus-") else { continue };
            let import = import.split(['.', ' ']).next().unwrap_or_default();
            if !order[..place].contains(&import) {
                broken.push(format!("{name} imports {import}, which does not stand below it"));
            }
        }
    }
    Ok(())
}

/// Every Rust file of the sources below a directory (tests are input, not product).
fn sources(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| format!("{dir:?}: {error}"))?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path.components().any(|part| part.as_os_str() == "src")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

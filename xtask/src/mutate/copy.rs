//! A copy of the verifier that has all mutants, each behind a switch that `BOMBUS_MUTANT` turns on,
//! so that one build serves them all; with its tests, and a program that is nothing but its fuzzer.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::sites::{self, Site};
use super::{FILES, Mutant, TESTS};

/// Where the copy is built.
const FOLDER: &str = "target/mutate";
/// Checks until every mutant that is left compiles.
const CHECKS: usize = 20;

/// What the copy has beside the verifier's own modules.
const SWITCH: &str = r#"
#[doc(hidden)]
#[allow(dead_code, missing_docs, unreachable_pub)]
pub mod mutant {
    use crate::domain::Word;
    use std::sync::atomic::{AtomicU32, Ordering};
    static CHOSEN: AtomicU32 = AtomicU32::new(u32::MAX);
    #[cold]
    fn choose() -> u32 {
        let id = std::env::var("BOMBUS_MUTANT").ok().and_then(|id| id.parse().ok()).unwrap_or(0);
        CHOSEN.store(id, Ordering::Relaxed);
        id
    }
    #[inline(always)]
    pub fn is(id: u32) -> bool {
        let chosen = CHOSEN.load(Ordering::Relaxed);
        id == if chosen == u32::MAX { choose() } else { chosen }
    }
    #[inline(always)]
    pub fn select<T: Word>(id: u32, truth: T::Truth, yes: T, no: T) -> T {
        if is(id) { T::select(truth, no, yes) } else { T::select(truth, yes, no) }
    }
    pub trait Words: Word {
        #[inline(always)]
        fn word_lt(self, id: u32, other: Self) -> Self::Truth {
            if is(id) { self.le(other) } else { self.lt(other) }
        }
        #[inline(always)]
        fn word_le(self, id: u32, other: Self) -> Self::Truth {
            if is(id) { self.lt(other) } else { self.le(other) }
        }
        #[inline(always)]
        fn word_slt(self, id: u32, other: Self) -> Self::Truth {
            if is(id) { self.sle(other) } else { self.slt(other) }
        }
        #[inline(always)]
        fn word_sle(self, id: u32, other: Self) -> Self::Truth {
            if is(id) { self.slt(other) } else { self.sle(other) }
        }
        #[inline(always)]
        fn word_eq(self, id: u32, other: Self) -> Self::Truth {
            if is(id) { !self.eq(other) } else { self.eq(other) }
        }
        #[inline(always)]
        fn word_min(self, id: u32, other: Self) -> Self {
            if is(id) { self.max(other) } else { self.min(other) }
        }
        #[inline(always)]
        fn word_max(self, id: u32, other: Self) -> Self {
            if is(id) { self.min(other) } else { self.max(other) }
        }
    }
    impl<T: Word> Words for T {}
}
"#;

/// The programs that judge.
pub(super) struct Copy {
    /// Where the crate is.
    pub(super) verifier: PathBuf,
    pub(super) fuzzer: PathBuf,
    /// By the name of the test.
    tests: HashMap<&'static str, PathBuf>,
}

impl Copy {
    /// The program of a test.
    pub(super) fn test(&self, name: &str) -> Result<&Path, String> {
        self.tests.get(name).map(PathBuf::as_path).ok_or_else(|| format!("{name} is not built"))
    }
}

/// Builds the copy; mutants that do not compile go.
pub(super) fn build(root: &Path, mutants: &mut Vec<Mutant>) -> Result<Copy, String> {
    let folder = root.join(FOLDER);
    let tests: Vec<&str> = TESTS.iter().flat_map(|test| ["--test", test]).collect();
    for _ in 0..CHECKS {
        prepare(root, &folder, mutants)?;
        let check =
            cargo(&folder, &["check", "-p", "bombus-verifier", "--message-format", "short"])?;
        if let Err(said) = check {
            let errors: Vec<&str> = said.lines().filter(|line| line.contains(": error")).collect();
            let errors = errors.join("\n");
            let before = mutants.len();
            mutants.retain(|Mutant { file, site, .. }| {
                let is_bad = errors.contains(&format!("src/{file}:{}:", site.line));
                if is_bad {
                    println!("does not compile: {file}: {}: {}", site.line, site.text);
                }
                !is_bad
            });
            if mutants.len() == before {
                return Err(format!("the copy does not compile:\n{errors}"));
            }
            continue;
        }
        cargo(&folder, &["build", "-p", "tester"])??;
        let built = [&["test", "--no-run", "-p", "bombus-verifier"], &tests[..]].concat();
        let built = cargo(&folder, &built)??;
        let programs = folder.join("target").join(target()).join("debug");
        let path = |test: &&'static str| {
            let name = format!("deps/{test}-");
            let (_, rest) = built.split_once(&name)?;
            let hash = rest.split(')').next()?;
            Some((*test, programs.join(format!("{name}{hash}"))))
        };
        return Ok(Copy {
            verifier: folder.join("verifier"),
            fuzzer: programs.join("tester"),
            tests: TESTS.iter().filter_map(path).collect(),
        });
    }
    Err("the copy does not compile after all".into())
}

/// What it says, when it fails as an error.
fn cargo(folder: &Path, args: &[&str]) -> Result<Result<String, String>, String> {
    let output = Command::new("cargo")
        .args(args)
        .arg("--offline")
        .current_dir(folder)
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(if output.status.success() { Ok(text) } else { Err(text) })
}

/// Writes the copy.
fn prepare(root: &Path, folder: &Path, mutants: &[Mutant]) -> Result<(), String> {
    let own = root.join("crates/verifier");
    let verifier = folder.join("verifier");
    let switched: Vec<PathBuf> =
        FILES.iter().map(|file| PathBuf::from("src").join(file.path)).collect();
    copy_tree(&own, &verifier, &|path| {
        let path = path.strip_prefix(&own).unwrap_or(path);
        path == Path::new("src/lib.rs") || switched.iter().any(|it| it == path)
    })?;
    for file in FILES {
        let sites: Vec<(usize, &Site)> = mutants
            .iter()
            .filter(|mutant| mutant.file == file.path)
            .map(|mutant| (mutant.id, &mutant.site))
            .collect();
        let text = sites::switched(&super::read(&own.join("src").join(file.path))?, &sites)?;
        let import = "\n#[allow(unused_imports)] use crate::mutant::Words as _;\nuse ";
        let text = if file.deep { text.replacen("\nuse ", import, 1) } else { text };
        write(&verifier.join("src").join(file.path), &text)?;
    }
    let lib = super::read(&own.join("src/lib.rs"))?;
    write(&verifier.join("src/lib.rs"), &(lib + SWITCH))?;
    write(&folder.join("Cargo.toml"), &manifest(root)?)?;
    write(&folder.join("Cargo.lock"), &super::read(&root.join("Cargo.lock"))?)?;
    let needs = ["btf", "isa", "platform", "verifier", "vm"]
        .map(|name| format!("bombus-{name}.workspace = true\n"))
        .concat();
    let manifest = format!(
        "[package]\nname = \"tester\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n{needs}"
    );
    write(&folder.join("tester/Cargo.toml"), &manifest)?;
    let fuzz = root.join("xtask/src/fuzz");
    let fuzz = fuzz.display();
    let main = format!(
        "mod fuzz {{\n    #[path = \"{fuzz}/random.rs\"]\n    pub(crate) mod random;\n    \
         #[path = \"{fuzz}/verifier/mod.rs\"]\n    pub(crate) mod verifier;\n    \
         pub(crate) fn run(args: &[String]) -> Result<(), String> {{\n        \
         verifier::run(args)\n    }}\n}}\n\nfn main() {{\n    \
         let args: Vec<String> = std::env::args().skip(1).collect();\n    \
         if let Err(error) = fuzz::run(&args) {{\n        eprintln!(\"{{error}}\");\n        \
         std::process::exit(1);\n    }}\n}}\n"
    );
    write(&folder.join("tester/src/main.rs"), &main)
}

/// The workspace of the copy: all other crates are the own ones.
fn manifest(root: &Path) -> Result<String, String> {
    let manifest = super::read(&root.join("Cargo.toml"))?;
    let (manifest, _) = manifest.split_once("[profile.").ok_or("Cargo.toml has no profiles")?;
    let crates = format!("path = \"{}/crates/", root.display());
    let lines = manifest.lines().filter(|line| !line.starts_with("default-members"));
    let manifest: String = lines
        .map(|line| match line.starts_with("members") {
            true => "members = [\"verifier\", \"tester\"]\n".to_owned(),
            false => format!(
                "{}\n",
                line.replace("path = \"crates/", &crates)
                    .replace(&format!("{crates}verifier\""), "path = \"verifier\"")
            ),
        })
        .collect();
    Ok(manifest
        + "[profile.dev]\nopt-level = 3\ndebug = false\nincremental = false\ncodegen-units = 4\n")
}

/// The host's triple: what cargo was told to name its folder by.
fn target() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

fn copy_tree(from: &Path, to: &Path, skipped: &dyn Fn(&Path) -> bool) -> Result<(), String> {
    fs::create_dir_all(to).map_err(|error| format!("{}: {error}", to.display()))?;
    for entry in fs::read_dir(from).map_err(|error| format!("{}: {error}", from.display()))? {
        let entry = entry.map_err(|error| error.to_string())?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_tree(&path, &target, skipped)?;
        } else if !skipped(&path)
            && let Ok(text) = fs::read_to_string(&path)
        {
            write(&target, &text)?;
        }
    }
    Ok(())
}

/// Writes a file, unless it is so already: what is newer is built again.
fn write(path: &Path, text: &str) -> Result<(), String> {
    if fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    fs::write(path, text).map_err(failed)
}

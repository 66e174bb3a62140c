//! Runs `tests/check/*.bt` and `tests/lower/*.bt`: scripts with what the compiler must make of
//! them.
//!
//! A file is a script, then sections that start with a line `======== diagnostics` (the messages),
//! `======== plan`, `======== ir` or `======== bytecode`. A first line `// options: ...` sets
//! `params=a,b`, `process=PID`, `tree`, `dispatch=N`, `overridden` (settings from outside) and `old`
//! (a kernel without links, callbacks and `tp_btf`). `BLESS=1` writes what comes out into the files.

mod world;

use std::fs;
use std::path::{Path, PathBuf};

use bombus_kernel::Scope;
use bombus_script::diagnostic::Source;
use bombus_script::render::render;
use bombus_script::{Compilation, Env, MissingProbes, Options, Overrides, compile, describe};
use libtest_mimic::{Arguments, Failed, Trial};

const MARK: &str = "======== ";

fn main() {
    let args = Arguments::from_args();
    let mut paths: Vec<PathBuf> = Vec::new();
    for dir in ["check", "lower"] {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(dir);
        let files = fs::read_dir(&dir).expect("the test files");
        paths.extend(files.map(|entry| entry.expect("a test file").path()));
    }
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "bt"));
    paths.sort();
    let trials = paths
        .into_iter()
        .map(|path| {
            let dir = path.parent().and_then(Path::file_name).unwrap_or_default();
            let stem = path.file_stem().unwrap_or_default();
            let name = format!("{}/{}", dir.display(), stem.display());
            Trial::test(name, move || check(&path))
        })
        .collect();
    libtest_mimic::run(&args, trials).exit();
}

/// Compares a file with what comes out of its script, or rewrites it.
fn check(path: &Path) -> Result<(), Failed> {
    let text = fs::read_to_string(path)?;
    let mut sections: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix(MARK)).collect();
    let script = text.find(MARK).map_or(&*text, |end| &text[..end]);
    let source = Source::new("stdin", script);
    let (mut options, mut features) = (Options::default(), world::features());
    let first = script.lines().next().unwrap_or_default();
    for option in first.strip_prefix("// options: ").unwrap_or_default().split_whitespace() {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        match name {
            "params" => options.params = value.split(',').map(str::to_string).collect(),
            "process" => options.scope = Scope::Process(value.parse()?),
            "tree" => options.scope = Scope::Tree(0),
            "dispatch" => features.syscall_dispatch_above = Some(value.parse()?),
            "old" => features = world::old_features(),
            "overridden" => {
                options.overrides = Overrides {
                    max_strlen: Some(9),
                    max_map_keys: Some(7),
                    missing_probes: Some(MissingProbes::Ignore),
                    print_maps_on_exit: Some(false),
                    license: None,
                }
            }
            _ => return Err(format!("there is no option `{name}`").into()),
        }
    }
    let env = Env { catalog: &world::World, binaries: &world::World, features: &features };
    let result = compile(&source, &env, &options);
    if sections.is_empty() {
        sections = if result.is_ok() { vec!["plan", "bytecode"] } else { vec!["diagnostics"] };
    }
    let mut actual = script.to_string();
    for section in sections {
        actual.push_str(&format!("{MARK}{section}\n"));
        actual.push_str(&match (section, &result) {
            ("diagnostics", Ok(compilation)) => render(&source, &compilation.warnings, false),
            (_, Err(diagnostics)) => render(&source, diagnostics, false),
            ("plan", Ok(compilation)) => describe(&compilation.plan),
            ("ir", Ok(compilation)) => {
                compilation.modules.iter().map(|module| format!("{module}\n")).collect()
            }
            ("bytecode", Ok(compilation)) => bytecode(compilation),
            _ => return Err(format!("there is no section `{section}`").into()),
        });
    }
    if actual == text {
        return Ok(());
    }
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, actual)?;
        return Ok(());
    }
    Err(format!("expected:\n{text}\ngot (BLESS=1 accepts it):\n{actual}").into())
}

struct Helpers;

impl bombus_isa::Resolve for Helpers {}

fn bytecode(compilation: &Compilation) -> String {
    let mut text = String::new();
    for program in &compilation.plan.object.programs {
        text.push_str(&format!("{}:\n", program.name));
        let insns: Vec<_> = program.insns.iter().map(|slot| slot.insn).collect();
        for (index, op) in bombus_isa::ops(&insns) {
            let shown = match op {
                Ok(op) => op.display(&Helpers).to_string(),
                Err(error) => format!("invalid: {error}"),
            };
            text.push_str(&format!("{index:5}: {shown}\n"));
        }
    }
    text
}

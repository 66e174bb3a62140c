//! Programs in `tests/run` compute the same as IR, as code of every version of the instruction set
//! on the checked interpreter, and as code in the running kernel.
//!
//! The first line says the context's words and the value to return: `; run 1 2 3 -> 6`; comes
//! `words`, the context afterwards is expected as well: `; run 1 2 -> 3 words 4 5`. Lines
//! `; map N` declare maps, arrays of one value of N bytes.

mod engines;

use std::path::{Path, PathBuf};

use bombus_compiler::{Target, compile, ir, passes};
use bombus_platform::MapType;
use bombus_spec::MapSpec;
use engines::{interpreter, kernel, vm};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/run");
    let mut files: Vec<PathBuf> = std::fs::read_dir(root)
        .expect("the test files")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let skipped = kernel::unavailable();
    if let Some(reason) = &skipped {
        eprintln!("skipped: {} programs in the kernel: {reason}", files.len());
    }
    let mut trials = Vec::new();
    for path in files {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        for isa in 1..=4 {
            let path = path.clone();
            trials.push(Trial::test(format!("{name}/vm v{isa}"), move || on_vm(&path, isa)));
        }
        let on_ir = path.clone();
        trials.push(Trial::test(format!("{name}/ir"), move || as_ir(&on_ir)));
        for isa in [1, 2, 3, 4] {
            let path = path.clone();
            let trial = Trial::test(format!("{name}/kernel v{isa}"), move || in_kernel(&path, isa));
            trials.push(trial.with_ignored_flag(skipped.is_some()));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

struct Case {
    module: ir::Module,
    context: Vec<u8>,
    maps: Vec<MapSpec>,
    value: u64,
    after: Option<Vec<u8>>,
}

fn case(path: &Path) -> Result<Case, Failed> {
    let text = std::fs::read_to_string(path)?;
    let module = ir::parse(&text).map_err(|error| error.to_string())?;
    let header = text.lines().next().and_then(|line| line.strip_prefix("; run"));
    let (before, after) = header.and_then(|h| h.split_once("->")).ok_or("`; run ... -> ...`")?;
    let (value, after) = match after.split_once("words") {
        Some((value, after)) => (value, Some(words(after)?)),
        None => (after, None),
    };
    let mut maps = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("; map ")) {
        maps.push(MapSpec {
            name: format!("map{}", maps.len()),
            map_type: MapType::Array,
            key_size: 4,
            value_size: line.trim().parse()?,
            max_entries: 1,
            flags: 0,
            contents: Vec::new(),
            ..MapSpec::default()
        });
    }
    let value = value.trim().parse::<i64>()? as u64;
    Ok(Case { module, context: words(before)?, maps, value, after })
}

fn words(text: &str) -> Result<Vec<u8>, Failed> {
    let mut bytes = Vec::new();
    for word in text.split_whitespace() {
        bytes.extend(word.parse::<i128>()?.to_le_bytes()[..8].iter());
    }
    Ok(bytes)
}

impl Case {
    fn check(&self, (value, context): engines::Outcome, mask: u64) -> Result<(), Failed> {
        if value & mask != self.value & mask {
            return Err(format!("returned {value:#x}, not {:#x}", self.value).into());
        }
        match &self.after {
            Some(after) if *after != context => {
                Err(format!("left {context:?}, not {after:?}").into())
            }
            _ => Ok(()),
        }
    }
}

fn as_ir(path: &Path) -> Result<(), Failed> {
    let mut case = case(path)?;
    ir::verify(&case.module).map_err(|error| error.to_string())?;
    let sizes: Vec<u32> = case.maps.iter().map(|map| map.value_size).collect();
    case.check(interpreter::run(&case.module, &case.context, &sizes)?, u64::MAX)?;
    passes::optimize(&mut case.module, Target { isa: 2 });
    ir::verify(&case.module).map_err(|error| format!("{error} in:\n{}", case.module))?;
    case.check(interpreter::run(&case.module, &case.context, &sizes)?, u64::MAX)
}

fn on_vm(path: &Path, isa: u8) -> Result<(), Failed> {
    let mut case = case(path)?;
    let compiled = compile(&case.module, &Target { isa }, &mut case.maps)
        .map_err(|error| error.to_string())?;
    case.check(vm::run(&compiled, &case.context, &case.maps)?, u64::MAX)
}

/// The kernel returns 32 bits.
fn in_kernel(path: &Path, isa: u8) -> Result<(), Failed> {
    let mut case = case(path)?;
    let compiled = compile(&case.module, &Target { isa }, &mut case.maps)
        .map_err(|error| error.to_string())?;
    case.check(kernel::run(&compiled, &case.context, &case.maps)?, u64::from(u32::MAX))
}

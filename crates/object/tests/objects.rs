//! Sources in C, what clang makes of them, and what that specifies.
//!
//! `tests/objects/NAME.c` is the source, `NAME.o` the object that clang 19 makes of it (it is there
//! so that nobody needs clang), `NAME.txt` what it specifies. Those in `tests/refused` are refused
//! with the text in `NAME.txt`. Those in `tests/linked` are linked, which specifies `linked.txt`.
//! `BLESS=1` writes objects, if there is a clang, and texts.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bombus_object::ObjectFile;
use libtest_mimic::{Arguments, Failed, Trial};

const CLANG: &str = "clang-19";

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for dir in ["objects", "refused"] {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(dir);
        let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()) {
            if path.extension().is_some_and(|extension| extension == "c") {
                let name = path.strip_prefix(dir.parent().unwrap_or(&dir)).unwrap_or(&path);
                let name = name.with_extension("").display().to_string();
                let source = path.clone();
                trials.push(Trial::test(name.clone(), move || specifies(&source)));
                trials.push(Trial::test(format!("{name} (compiled)"), move || compiled(&path)));
            }
        }
    }
    for path in objects("objects") {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        trials.push(Trial::test(format!("objects/{name} (written)"), move || written(&path)));
    }
    trials.push(Trial::test("linked", linked));
    trials.push(Trial::test("linked (as bpftool does it)", linked_as_bpftool_does));
    libtest_mimic::run(&arguments, trials).exit();
}

fn objects(dir: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(dir);
    let entries = fs::read_dir(&dir).into_iter().flatten().flatten();
    let is_object = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "o");
    entries.map(|entry| entry.path()).filter(is_object).collect()
}

/// What an object specifies is what the file specifies that is written from it.
fn written(path: &Path) -> Result<(), Failed> {
    support::written(&fs::read(path)?).map_err(Failed::from)
}

fn bless() -> bool {
    std::env::var_os("BLESS").is_some()
}

/// The committed object specifies the text.
fn specifies(source: &Path) -> Result<(), Failed> {
    let path = source.with_extension("o");
    if bless()
        && let Some(object) = compile(source)?
    {
        fs::write(&path, object)?;
    }
    let text = text(source, &fs::read(&path).map_err(|error| format!("{path:?}: {error}"))?);
    let expected = source.with_extension("txt");
    if bless() {
        fs::write(&expected, &text)?;
    }
    compare(&expected, &text)
}

/// So does what the compiler makes of the source here and now.
fn compiled(source: &Path) -> Result<(), Failed> {
    match compile(source)? {
        Some(object) => compare(&source.with_extension("txt"), &text(source, &object)),
        None => {
            println!("skipped: {CLANG} is not installed");
            Ok(())
        }
    }
}

/// The directory of what is linked, and the names of its objects.
fn to_link() -> (PathBuf, [&'static str; 2]) {
    (Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/linked"), ["one", "two"])
}

fn linked() -> Result<(), Failed> {
    let (dir, names) = to_link();
    for name in names {
        let source = dir.join(name).with_extension("c");
        if bless()
            && let Some(object) = compile(&source)?
        {
            fs::write(source.with_extension("o"), object)?;
        }
    }
    let objects = names.map(|name| fs::read(dir.join(name).with_extension("o")));
    let objects = objects.into_iter().collect::<Result<Vec<_>, _>>()?;
    let files = names.iter().zip(&objects).map(|(name, bytes)| ObjectFile { name, bytes });
    let linked = bombus_object::link(&files.collect::<Vec<_>>())?;
    let text = text(&dir.join("linked"), &linked);
    let expected = dir.join("linked.txt");
    if bless() {
        fs::write(&expected, &text)?;
    }
    compare(&expected, &text)
}

/// Types have the same numbers there: those that are the same are one, in the same order.
fn linked_as_bpftool_does() -> Result<(), Failed> {
    let (dir, names) = to_link();
    let output = std::env::temp_dir().join(format!("bombus-linked-{}.o", std::process::id()));
    let bpftool = std::env::var("BPFTOOL").unwrap_or_else(|_| "bpftool".into());
    let made = Command::new(bpftool)
        .current_dir(&dir)
        .args(["gen", "object"])
        .arg(&output)
        .args(names.map(|name| format!("{name}.o")))
        .output();
    let Ok(made) = made else {
        println!("skipped: bpftool is not installed");
        return Ok(());
    };
    if !made.status.success() {
        // Those with libbpf before 1.3 take no externs of the kernel's functions.
        let reason = String::from_utf8_lossy(&made.stderr);
        println!("skipped: this bpftool does not link them: {}", reason.trim());
        return Ok(());
    }
    let theirs = fs::read(&output)?;
    fs::remove_file(&output)?;
    let theirs = text(&dir.join("linked"), &theirs);
    let ours = fs::read_to_string(dir.join("linked.txt"))?;
    if ours == theirs { Ok(()) } else { Err(format!("bpftool's:\n{theirs}").into()) }
}

fn compile(source: &Path) -> Result<Option<Vec<u8>>, Failed> {
    let text = fs::read_to_string(source)?;
    let flags = text.lines().next().and_then(|line| line.strip_prefix("/* clang: "));
    let flags = flags.map_or("-O2 -g -mcpu=v3", |flags| flags.trim_end_matches(" */"));
    let file: PathBuf = source.file_name().unwrap_or_default().into();
    let output = Command::new(CLANG)
        .current_dir(source.parent().unwrap_or(Path::new(".")))
        .args(["-target", "bpf", "-c", "-o", "-", "-Wno-unknown-attributes"])
        .arg("-fdebug-compilation-dir=.")
        .args(flags.split(' '))
        .arg(file)
        .output();
    let Ok(output) = output else { return Ok(None) };
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let stripped = strip(output.stdout);
    Ok(Some(stripped))
}

/// Without DWARF, which nothing here reads and which is most of the file.
fn strip(object: Vec<u8>) -> Vec<u8> {
    let path = std::env::temp_dir().join(format!(
        "bombus-object-{}-{:?}.o",
        std::process::id(),
        std::thread::current().id()
    ));
    let stripped = fs::write(&path, &object).ok().and_then(|()| {
        let status = Command::new("llvm-strip-19").arg("-g").arg(&path).status().ok()?;
        status.success().then(|| fs::read(&path).ok()).flatten()
    });
    let _ = fs::remove_file(&path);
    stripped.unwrap_or(object)
}

fn text(source: &Path, object: &[u8]) -> String {
    let name = source.with_extension("bpf.o");
    match bombus_object::open_named(object, &name.display().to_string()) {
        Ok(spec) => support::dump(&spec),
        Err(error) => format!("refused: {error}\n"),
    }
}

fn compare(path: &Path, text: &str) -> Result<(), Failed> {
    let expected = fs::read_to_string(path).map_err(|error| format!("{path:?}: {error}"))?;
    let refused = path.parent().is_some_and(|dir| dir.ends_with("refused"));
    if text.starts_with("refused") != refused {
        return Err(text.into());
    }
    if text == expected {
        return Ok(());
    }
    let line = text.lines().zip(expected.lines()).position(|(ours, theirs)| ours != theirs);
    Err(format!("{path:?} differs at line {:?}:\n{text}", line.map(|line| line + 1)).into())
}

//! Objects that clang makes of the C in `loads/`, in the running kernel. What is expected stands at
//! the end of each file, one line each, carried out in order:
//!
//! * `// needs 6.6`: skipped on older kernels;
//! * `// set VARIABLE = NUMBER`: a global variable, before it is loaded;
//! * `// run PROGRAM -> NUMBER`: what a test run returns;
//! * `// variable NAME = NUMBER` and `// write NAME = NUMBER`: afterwards;
//! * `// load PROGRAM fails: TEXT`: loaded as well, it makes the load fail with such a message;
//! * `// attach structure NAME`: puts a structure of callbacks to use and takes it out again.

use std::path::{Path, PathBuf};
use std::process::Command;

use bombus::{Kernel, Linux, Loaded, Object};
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/loads");
    let missing = skip_reason();
    if let Some(reason) = &missing {
        println!("skipped: loading objects: {reason}");
    }
    let mut sources: Vec<PathBuf> = std::fs::read_dir(directory)
        .expect("the directory of tests")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    sources.sort();
    let trial = |source: PathBuf| {
        let name = source.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Trial::test(name, move || check(&source)).with_ignored_flag(missing.is_some())
    };
    libtest_mimic::run(&arguments, sources.into_iter().map(trial).collect()).exit();
}

fn skip_reason() -> Option<String> {
    if let Err(error) = bombus::can_load_programs() {
        return Some(error.to_string());
    }
    let clang = Command::new("clang-19").arg("--version").output();
    clang.is_err().then(|| "clang-19 is not installed".to_owned())
}

fn check(source: &Path) -> Result<(), Failed> {
    let text = std::fs::read_to_string(source)?;
    let directives: Vec<&str> =
        text.lines().skip(1).filter_map(|line| line.strip_prefix("// ")).collect();
    let kernel = Linux::new()?;
    if let Some(version) = directives.iter().find_map(|line| line.strip_prefix("needs ")) {
        let (major, minor) = version.split_once('.').ok_or("a version is major.minor")?;
        let has = kernel.features().version;
        if (has.major, has.minor) < (major.parse()?, minor.parse()?) {
            println!("skipped: {}: this is Linux {}.{}", source.display(), has.major, has.minor);
            return Ok(());
        }
    }
    let mut object = compile(source)?;
    let mut loaded: Option<Loaded<'_>> = None;
    for line in directives {
        let done = directive(line, &kernel, &mut object, &mut loaded);
        done.map_err(|why| Failed::from(format!("{line}: {}", why.message().unwrap_or("?"))))?;
    }
    Ok(())
}

fn directive<'k>(
    line: &str,
    kernel: &'k Linux,
    object: &mut Object,
    loaded: &mut Option<Loaded<'k>>,
) -> Result<(), Failed> {
    let (verb, rest) = line.split_once(' ').ok_or("a verb and what to do it with")?;
    if verb == "needs" {
        return Ok(());
    }
    if verb == "set" {
        let (name, value) = assignment(rest)?;
        object.set(name, value as u32)?;
        return Ok(());
    }
    if verb == "load" {
        let (program, wanted) = rest.split_once(" fails: ").ok_or("PROGRAM fails: TEXT")?;
        let mut object = object.clone();
        object.autoload(program, true)?;
        return match object.load(kernel) {
            Ok(_) => Err("it was loaded".into()),
            Err(error) if error.to_string().contains(wanted) => Ok(()),
            Err(error) => Err(format!("{error}\n{}", error.verifier_log().unwrap_or("")).into()),
        };
    }
    let loaded =
        match loaded {
            Some(loaded) => loaded,
            None => loaded.insert(object.load(kernel).map_err(|error| {
                format!("{error}\n{}", error.verifier_log().unwrap_or_default())
            })?),
        };
    match verb {
        "run" => {
            let (program, wanted) = rest.split_once(" -> ").ok_or("PROGRAM -> NUMBER")?;
            let got = kernel.prog_test_run(loaded.program(program)?.fd(), &[])?;
            same(i64::from(got as i32), wanted.parse()?)
        }
        "variable" => {
            let (name, wanted) = assignment(rest)?;
            same(loaded.variable::<u64>(name)? as i64, wanted)
        }
        "write" => {
            let (name, value) = assignment(rest)?;
            Ok(loaded.set_variable(name, value as u32)?)
        }
        "attach" => {
            let link = loaded.attach_all()?;
            let file = "/proc/sys/net/ipv4/tcp_available_congestion_control";
            let name = rest.strip_prefix("structure ").ok_or("structure NAME")?;
            let is_there = || std::fs::read_to_string(file).is_ok_and(|text| text.contains(name));
            if !is_there() {
                return Err(format!("{name} is not in {file}").into());
            }
            drop(link);
            loaded.detach_structure(name)?;
            if is_there() { Err(format!("{name} is still in {file}").into()) } else { Ok(()) }
        }
        other => Err(format!("there is no verb {other}").into()),
    }
}

fn assignment(text: &str) -> Result<(&str, i64), Failed> {
    let (name, value) = text.split_once(" = ").ok_or("NAME = NUMBER")?;
    Ok((name, value.parse()?))
}

fn same(got: i64, wanted: i64) -> Result<(), Failed> {
    if got == wanted { Ok(()) } else { Err(format!("got {got}").into()) }
}

fn compile(source: &Path) -> Result<Object, Failed> {
    let name = source.file_stem().unwrap_or_default().to_string_lossy();
    let target = std::env::temp_dir().join(format!("bombus-{}-{name}.o", std::process::id()));
    let headers = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let output = Command::new("clang-19")
        .args(["-g", "-O2", "-mcpu=v3", "-target", "bpf", "-I"])
        .arg(headers)
        .arg("-c")
        .arg(source)
        .arg("-o")
        .arg(&target)
        .output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let object = Object::open(&target);
    std::fs::remove_file(&target)?;
    Ok(object?)
}

//! Passes and code generation over files in `tests/filetests`.
//!
//! A file starts with `; test WHAT`: a pass's name, `optimize isa=N`, `compile isa=N`, `verify` or
//! `parse`. Then comes a module; after a line `; expect` stands what must come out, each line behind
//! `; `. `BLESS=1` writes what comes out into the file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bombus_compiler::{Target, compile, ir, passes};
use bombus_isa::Insn;
use bombus_platform::Helper;
use bombus_spec::{MapSpec, Reference};
use libtest_mimic::{Arguments, Failed, Trial};

const EXPECT: &str = "; expect\n";

fn main() {
    let arguments = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/filetests");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let trial = |path: PathBuf| {
        let name = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
        Trial::test(name, move || run(&path))
    };
    libtest_mimic::run(&arguments, files.into_iter().map(trial).collect()).exit();
}

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("the test files").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "ir") {
            files.push(path);
        }
    }
}

fn run(path: &Path) -> Result<(), Failed> {
    let text = std::fs::read_to_string(path)?;
    let (input, expected) = text.split_once(EXPECT).unwrap_or((&text, ""));
    let header = input.lines().next().and_then(|line| line.strip_prefix("; test "));
    let header = header.ok_or("the first line must be `; test WHAT`")?;
    let actual: String = output(header, input)?
        .lines()
        .map(|line| if line.is_empty() { ";\n".into() } else { format!("; {line}\n") })
        .collect();
    if actual == expected {
        return Ok(());
    }
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, format!("{input}{EXPECT}{actual}"))?;
        return Ok(());
    }
    Err(format!("expected:\n{expected}\nactual:\n{actual}").into())
}

fn output(header: &str, input: &str) -> Result<String, Failed> {
    let mut words = header.split(' ');
    let test = words.next().unwrap_or_default();
    let isa = words.find_map(|word| word.strip_prefix("isa=")).map_or(Ok(3), str::parse)?;
    let target = Target { isa };
    let mut module = match ir::parse(input) {
        Ok(module) => module,
        Err(error) if test == "parse" => return Ok(error.to_string()),
        Err(error) => return Err(error.to_string().into()),
    };
    let again = ir::parse(&module.to_string()).map_err(|error| error.to_string())?;
    if again.to_string() != module.to_string() {
        return Err(format!("the text form does not read back:\n{module}\n{again}").into());
    }
    match test {
        "parse" => return Ok(module.to_string()),
        "verify" => {
            return Ok(match ir::verify(&module) {
                Ok(()) => "valid".into(),
                Err(error) => error.to_string(),
            });
        }
        _ => {}
    }
    ir::verify(&module).map_err(|error| error.to_string())?;
    if test == "compile" {
        return compiled(&module, target);
    }
    if test == "optimize" {
        passes::optimize(&mut module, target);
    } else {
        let pass = passes::by_name(test).ok_or_else(|| format!("there is no pass {test}"))?;
        for func in &mut module.functions {
            pass(func, target);
        }
    }
    ir::verify(&module).map_err(|error| format!("{error}, in:\n{module}"))?;
    Ok(module.to_string())
}

struct Names;

impl bombus_isa::Resolve for Names {
    fn helper(&self, id: i32) -> Option<&str> {
        Helper::from_id(id).map(Helper::name)
    }
}

fn compiled(module: &ir::Module, target: Target) -> Result<String, Failed> {
    let mut maps: Vec<MapSpec> = Vec::new();
    let compiled = match compile(module, &target, &mut maps) {
        Ok(compiled) => compiled,
        Err(error) => {
            let line = error.line.map_or(String::new(), |line| format!("{line}: "));
            return Ok(format!("{line}{error}"));
        }
    };
    let insns: Vec<Insn> = compiled.insns.iter().map(|slot| slot.insn).collect();
    let isa = bombus_isa::validate(&insns).map_err(|error| format!("{error:?}"))?;
    if isa > target.isa {
        return Err(format!("the code needs ISA v{isa}").into());
    }
    let mut text = String::new();
    for map in maps {
        writeln!(text, "map {} {} of {} bytes", map.name, map.map_type.name(), map.value_size)?;
    }
    let mut functions = compiled.functions.iter().peekable();
    for (slot, op) in bombus_isa::ops(&insns) {
        if let Some(func) = functions.next_if(|func| func.start as usize == slot) {
            writeln!(text, "{}({}):", func.name, func.args)?;
        }
        let op = op.map_err(|error| format!("slot {slot}: {error}"))?;
        let op = op.display(&Names);
        let reference = match compiled.insns[slot].reference {
            None => String::new(),
            Some(Reference::Map(map)) => format!("    ; map{map}"),
            Some(Reference::MapValue { map, offset }) => format!("    ; map{map}+{offset}"),
            Some(Reference::Function(func)) => format!("    ; function {func}"),
            Some(Reference::Extern(index)) => format!("    ; extern {index}"),
        };
        let line =
            compiled.insns[slot].line.map_or(String::new(), |line| format!("    @line{line}"));
        writeln!(text, "{slot:4}: {op}{reference}{line}")?;
    }
    Ok(text)
}

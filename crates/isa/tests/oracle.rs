//! The instructions of `tests/text/*.s` as others print them: the running kernel in its verifier's
//! log, and LLVM's disassembler.
//!
//! The kernel prints an instruction before it checks it, so every program here ends in a read of
//! a register that was never written: nothing is ever loaded.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use bombus_isa::{Imm64, Insn, Op, Resolve, asm, ops};
use libtest_mimic::{Arguments, Failed, Trial};
use object::write::{Object, Symbol, SymbolSection};
use object::{Architecture, BinaryFormat, Endianness, SectionKind, SymbolFlags, SymbolKind};

fn main() {
    let arguments = Arguments::from_args();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/text");
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .expect("tests/text is there")
        .map(|entry| entry.expect("its entries can be read").path())
        .filter(|path| !path.ends_with("errors.s"))
        .collect();
    files.sort();
    let kernel = missing(kernel_prints("r0 = 0"), "the kernel's log (bpftool, root, bpf(2))");
    let llvm = missing(llvm_prints(&["r0 = 0".into()]), "llvm-objdump-19");
    let mut trials = Vec::new();
    for path in files {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let copy = path.clone();
        trials.push(
            Trial::test(format!("kernel::{file}"), move || check_kernel(&copy))
                .with_ignored_flag(kernel),
        );
        trials.push(
            Trial::test(format!("llvm::{file}"), move || check_llvm(&path)).with_ignored_flag(llvm),
        );
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// Whether a probe failed; says so.
fn missing<T>(probe: Result<T, String>, what: &str) -> bool {
    probe.is_err_and(|error| {
        println!("skipped: {what}: {error}");
        true
    })
}

fn instructions(path: &Path) -> Result<Vec<String>, Failed> {
    let text = std::fs::read_to_string(path)?;
    let lines = text.lines().map(|line| line.split(';').next().unwrap_or_default().trim());
    Ok(lines.filter(|line| !line.is_empty()).map(str::to_owned).collect())
}

fn assemble(text: &str) -> Result<Vec<Insn>, String> {
    asm(text).map_err(|error| format!("`{text}`: {error}"))
}

/// What `f` says is different, all of it.
fn report(differences: Vec<String>) -> Result<(), Failed> {
    if differences.is_empty() { Ok(()) } else { Err(differences.join("\n").into()) }
}

/// Helpers by the names that the kernel prints, as far as the files use them.
struct Helpers;

impl Resolve for Helpers {
    fn helper(&self, id: i32) -> Option<&str> {
        match id {
            1 => Some("bpf_map_lookup_elem"),
            8 => Some("bpf_get_smp_processor_id"),
            _ => None,
        }
    }
}

/// Whether the kernel reaches the instruction with nothing else loaded: it resolves references
/// to maps, functions and types before it prints anything. (A call of the program's own function
/// does not get that far: the ELF loader looks for the function first.)
fn is_plain(op: &Op) -> bool {
    match op {
        Op::LoadImm64 { imm: Imm64::Value(_), .. } => true,
        Op::LoadImm64 { .. } | Op::CallKfunc { .. } | Op::CallLocal { .. } => false,
        _ => true,
    }
}

fn check_kernel(path: &Path) -> Result<(), Failed> {
    let mut differences = Vec::new();
    for text in instructions(path)? {
        let insns = assemble(&text)?;
        let Some((_, Ok(op))) = ops(&insns).next() else { continue };
        if !is_plain(&op) {
            continue;
        }
        let (ours, theirs) = (op.display(&Helpers).to_string(), kernel_prints(&text)?);
        if ours != theirs {
            differences.push(format!("ours: {ours}\nkernel: {theirs}"));
        }
    }
    report(differences)
}

/// The instruction as the verifier's log has it.
fn kernel_prints(text: &str) -> Result<String, String> {
    let insns = assemble(text)?;
    // What the instruction may jump over must be reachable, or the program is refused sooner.
    let mut program = assemble("r0 = *(u32 *)(r1 +0)\n r0 += 0")?;
    let slot = program.len() + 1;
    program.extend(assemble(&format!("if r0 == 0x5 goto pc+{}", insns.len()))?);
    program.extend(insns);
    program.extend(assemble("r0 = 0\n r0 = 0\n r0 = 0\n r0 = r9\n exit")?);
    let file = object_file(&program)?;
    let mut command = Command::new("bpftool");
    let pin = format!("/sys/fs/bpf/bombus-isa-{}", std::process::id());
    command.args(["--debug", "prog", "load"]).arg(&file.0).args([&pin, "type", "socket"]);
    let output = run(command)?;
    if output.status.success() {
        let _ = std::fs::remove_file(&pin);
        return Err(format!("`{text}`: a program that must be refused was loaded"));
    }
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let prefix = format!("{slot}: (");
    let line = log.lines().find_map(|line| line.strip_prefix(&prefix));
    let line = line.ok_or_else(|| format!("`{text}` is not in the log:\n{log}"))?;
    let text = line.split_once(") ").map_or(line, |(_, text)| text);
    Ok(text.split(';').next().unwrap_or_default().trim().to_owned())
}

fn check_llvm(path: &Path) -> Result<(), Failed> {
    let texts = instructions(path)?;
    let mut differences = Vec::new();
    for (ours, theirs) in texts.iter().zip(llvm_prints(&texts)?) {
        // LLVM has its own words for these, and none for the younger ones.
        const OTHER: [&str; 8] =
            ["skb[", "xchg", "map[", "btf[", "subprog[", "kernel-function", "call pc", "acquire"];
        const UNKNOWN: [&str; 2] = ["release", "addr_space_cast"];
        if OTHER.iter().chain(&UNKNOWN).any(|word| ours.contains(word)) {
            continue;
        }
        let (ours, theirs) = (normal(ours), normal(&theirs));
        if ours != theirs {
            differences.push(format!("ours: {ours}\nllvm: {theirs}"));
        }
    }
    report(differences)
}

/// The text without what differs between the dialects but means the same: numbers are decimal,
/// jumps are relative without `pc`, both atomic widths have one name, values in memory are not
/// named by half a register, wide numbers lose their `ll` and helpers their names.
fn normal(text: &str) -> String {
    let text = text.split('<').next().filter(|_| text.contains("goto")).unwrap_or(text);
    let text =
        text.replace("unknown#", "").replace("goto pc", "goto ").replace("gotol pc", "gotol ");
    let text = text.replace("atomic64_", "atomic_").replace(" ll", "");
    let mut words = Vec::new();
    let mut sign = 1;
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let end = if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (word, tail) = rest.split_at(end);
        rest = tail;
        let number = match word.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16).ok(),
            None => word.parse().ok(),
        };
        match (word, number) {
            (" ", _) => {}
            // A sign before a number belongs to it.
            ("+" | "-", _) if rest.trim_start().starts_with(|c: char| c.is_ascii_digit()) => {
                sign = if word == "-" { -1 } else { 1 };
            }
            (_, Some(number)) => {
                let number = (number as i64).wrapping_mul(sign);
                // Immediates are 32 bits wide; only `ld_imm64` has more.
                let narrow = u32::try_from(number).map_or(number, |bits| (bits as i32).into());
                words.push(narrow.to_string());
                sign = 1;
            }
            _ => match word.strip_prefix('w') {
                Some(register) if text.contains("*)") => words.push(format!("r{register}")),
                _ => words.push(word.to_owned()),
            },
        }
    }
    words.join(" ")
}

/// The instructions as `llvm-objdump` prints them.
fn llvm_prints(texts: &[String]) -> Result<Vec<String>, String> {
    let mut program = Vec::new();
    let mut slots = Vec::new();
    for text in texts {
        slots.push(program.len());
        program.extend(assemble(text)?);
    }
    let file = object_file(&program)?;
    let mut command = Command::new("llvm-objdump-19");
    command.args(["-d", "--no-show-raw-insn", "--mcpu=v4"]).arg(&file.0);
    let output = run(command)?;
    let listing = String::from_utf8_lossy(&output.stdout).into_owned();
    let find = |slot: usize| {
        let line = listing.lines().find_map(|line| {
            let (number, text) = line.trim().split_once(':')?;
            (number.parse() == Ok(slot)).then(|| text.trim().to_owned())
        });
        line.ok_or_else(|| format!("slot {slot} is not in the listing:\n{listing}"))
    };
    slots.into_iter().map(find).collect()
}

fn run(mut command: Command) -> Result<Output, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).output().map_err(|error| format!("{name}: {error}"))
}

/// A file that goes away.
struct TemporaryFile(PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// An ELF file with one socket filter.
fn object_file(program: &[Insn]) -> Result<TemporaryFile, String> {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let mut file = Object::new(BinaryFormat::Elf, Architecture::Bpf, Endianness::Little);
    let code: Vec<u8> = program.iter().flat_map(|insn| insn.to_bytes()).collect();
    let section = file.add_section(Vec::new(), b"socket".to_vec(), SectionKind::Text);
    file.append_section_data(section, &code, 8);
    file.add_symbol(Symbol {
        name: b"filter".to_vec(),
        value: 0,
        size: code.len() as u64,
        kind: SymbolKind::Text,
        scope: object::SymbolScope::Dynamic,
        weak: false,
        section: SymbolSection::Section(section),
        flags: SymbolFlags::None,
    });
    let license = file.add_section(Vec::new(), b"license".to_vec(), SectionKind::Data);
    file.append_section_data(license, b"GPL\0", 1);
    let name =
        format!("bombus-isa-{}-{}.o", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    let bytes = file.write().map_err(|error| error.to_string())?;
    std::fs::write(&path, bytes).map_err(|error| error.to_string())?;
    Ok(TemporaryFile(path))
}

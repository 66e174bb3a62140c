//! CO-RE: the relocations of `core/program.c` against the types of `core/target.c`, both compiled
//! here. What is expected was compared with libbpf 1.7, which says the same of every instruction.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use bombus_btf::relocate::{Resolver, Targets, Width};
use bombus_btf::{Btf, BtfExt};
use bombus_isa::Insn;
use expect_test::expect_file;
use object::{Object, ObjectSection};

/// Compiles one of the tests' sources; `None` when there is no clang.
fn compile(source: &str) -> Option<Vec<u8>> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(source);
    let stem = source.file_stem().unwrap().to_string_lossy().into_owned();
    let object: PathBuf =
        std::env::temp_dir().join(format!("bombus-{stem}-{}.o", std::process::id()));
    let mut clang = Command::new("clang-19");
    clang.args(["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-c", "-o"]);
    let output = match clang.arg(&object).arg(&source).output() {
        Ok(output) => output,
        Err(error) => {
            println!("skipped: clang-19: {error}");
            return None;
        }
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let bytes = std::fs::read(&object).unwrap();
    std::fs::remove_file(&object).unwrap();
    Some(bytes)
}

fn section(file: &object::File<'_>, name: &str) -> Vec<u8> {
    file.section_by_name(name).unwrap().data().unwrap().to_vec()
}

fn insns(code: &[u8]) -> Vec<Insn> {
    code.chunks_exact(8).map(|slot| Insn::from_bytes(slot.try_into().unwrap())).collect()
}

/// Each relocation in a line: what it asks, what comes of it, what the instruction becomes.
fn relocate(program: &[u8], targets: &Targets) -> String {
    let file = object::File::parse(program).unwrap();
    let btf = Btf::parse(section(&file, ".BTF")).unwrap();
    let ext = section(&file, ".BTF.ext");
    let ext = BtfExt::parse(&ext, &btf).unwrap();
    let mut resolver = Resolver::new(&btf, targets);
    let mut text = String::new();
    for name in ext.sections() {
        text += &format!("{name}\n");
        let mut code = insns(&section(&file, name));
        for relocation in ext.relocations(name) {
            let slot = relocation.insn_offset as usize / 8;
            let local = format!(
                "{} {} `{}` {}",
                relocation.kind.name(),
                btf.kind(relocation.type_id).unwrap().name(),
                btf.name(relocation.type_id),
                relocation.access
            );
            text += &format!("  {slot}: {local}: ");
            let resolution = match resolver.resolve(&relocation) {
                Ok(resolution) => resolution,
                Err(error) => {
                    text += &format!("error: {error}\n");
                    continue;
                }
            };
            let width = match resolution.width {
                Width::Same => String::new(),
                Width::Changed { from, to } => format!(", {from} bytes -> {to}"),
                Width::Impossible => ", of other width".to_owned(),
            };
            text += &match &resolution.poison {
                Some(missing) => missing.to_string(),
                None => format!("{} -> {}{width}", resolution.original, resolution.value),
            };
            match resolution.apply(&mut code, slot) {
                Ok(()) => {
                    let Insn { code, dst, src, off, imm } = code[slot];
                    text += &format!(" | {code:02x} {} {} {off} {imm}\n", dst.0, src.0);
                }
                Err(error) => text += &format!(" | error: {error}\n"),
            }
        }
    }
    text
}

#[test]
fn program_against_target() {
    let (Some(program), Some(target)) = (compile("core/program.c"), compile("core/target.c"))
    else {
        return;
    };
    let target = section(&object::File::parse(&*target).unwrap(), ".BTF");
    let targets = Targets::new("test", Arc::new(Btf::parse(target).unwrap()));
    expect_file!["core/program.txt"].assert_eq(&relocate(&program, &targets));
}

//! CO-RE: the relocations of `core/program.c` against the types of `core/target.c`, both compiled
//! here. What is expected was compared with libbpf 1.7, which says the same of every instruction.

mod common;

use std::sync::Arc;

use bombus_btf::relocate::{Resolver, Targets, Width};
use bombus_btf::{Btf, BtfExt};
use bombus_isa::Insn;
use common::{compile, section};
use expect_test::expect_file;

fn insns(code: &[u8]) -> Vec<Insn> {
    code.chunks_exact(8).map(|slot| Insn::from_bytes(slot.try_into().unwrap())).collect()
}

/// Each relocation in a line: what it asks, what comes of it, what the instruction becomes.
fn relocate(program: &[u8], targets: &Targets) -> String {
    let btf = Btf::parse(section(program, ".BTF")).unwrap();
    let ext = section(program, ".BTF.ext");
    let ext = BtfExt::parse(&ext, &btf).unwrap();
    let mut resolver = Resolver::new(&btf, targets);
    let mut text = String::new();
    for name in ext.sections() {
        text += &format!("{name}\n");
        let mut code = insns(&section(program, name));
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
    let target = section(&target, ".BTF");
    let targets = Targets::new("test", Arc::new(Btf::parse(target).unwrap()));
    expect_file!["core/program.txt"].assert_eq(&relocate(&program, &targets));
}

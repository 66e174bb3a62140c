//! Whole blobs changed: types that are the same made one, kinds that a kernel does not know
//! replaced, `.BTF.ext` written as it was read.

mod common;

use std::collections::BTreeSet;
use std::process::Command;

use bombus_btf::{Btf, BtfExt, Builder, ExtBuilder, Kind, Support, c_dump, raw, sanitize};
use common::{compile, compile_to_file, section};
use expect_test::expect_file;

fn listing(btf: &Btf) -> String {
    let mut text = String::new();
    raw::dump(btf, &mut text).unwrap();
    text
}

/// The C definitions, in no order; what is declared before depends on the order.
fn definitions(btf: &Btf) -> BTreeSet<String> {
    let mut text = String::new();
    c_dump::dump_all(btf, &mut text).unwrap();
    let parts = text.split("\n\n").filter(|part| part.contains('{') || part.starts_with("typedef"));
    parts.map(str::to_owned).collect()
}

/// How many types of each kind. Variables and sections are the linker's business; libbpf before 1.2
/// leaves declarations whose definitions refer to them.
fn count(btf: &Btf) -> Vec<(&'static str, usize)> {
    let skipped = |kind: &&Kind| matches!(kind, Kind::Var | Kind::Datasec | Kind::Fwd);
    let kinds = Kind::ALL.iter().filter(|kind| !skipped(kind));
    let of = |kind| btf.ids().filter(|&id| btf.kind(id) == Some(kind)).count();
    kinds.map(|&kind| (kind.name(), of(kind))).collect()
}

#[test]
fn two_units_become_one_as_libbpf_links_them() {
    let (Some(one), Some(two)) = (compile("dedup/one.c"), compile("dedup/two.c")) else { return };
    let mut builder = Builder::new();
    for unit in [&one, &two] {
        builder.add_all(&Btf::parse(section(unit, ".BTF")).unwrap());
    }
    let before = builder.next_id();
    builder.dedup();
    let ours = Btf::parse(builder.finish()).unwrap();
    assert!(ours.next_id() < before);
    expect_file!["dedup/linked.txt"].assert_eq(&listing(&ours));
    let files = ["dedup/one.c", "dedup/two.c"].map(|source| compile_to_file(source).unwrap());
    let linked = files[0].with_extension("linked.o");
    let output = Command::new("bpftool").args(["gen", "object"]).arg(&linked).args(&files).output();
    files.iter().for_each(|file| std::fs::remove_file(file).unwrap());
    match output {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let theirs = std::fs::read(&linked).unwrap();
            std::fs::remove_file(&linked).unwrap();
            let theirs = Btf::parse(section(&theirs, ".BTF")).unwrap();
            assert_eq!(definitions(&ours), definitions(&theirs));
            assert_eq!(count(&ours), count(&theirs));
        }
        Err(error) => println!("skipped: bpftool: {error}"),
    }
}

/// The kernel's types were made one by libbpf; twice the kernel is the kernel again.
#[test]
fn twice_the_kernel_is_the_kernel() {
    let Ok(bytes) = std::fs::read("/sys/kernel/btf/vmlinux") else {
        println!("skipped: the kernel does not show its types");
        return;
    };
    let kernel = Btf::parse(bytes).unwrap();
    let mut once = Builder::from_btf(&kernel);
    once.dedup();
    let mut twice = Builder::new();
    let first = twice.add_all(&kernel);
    let second = twice.add_all(&kernel);
    let map = twice.dedup();
    let kept_apart = |id| matches!(kernel.kind(id), Some(Kind::Var | Kind::Datasec));
    let apart = kernel.ids().filter(|&id| kept_apart(id)).count() as u32;
    assert_eq!(once.next_id().0 + apart, twice.next_id().0);
    for id in kernel.ids().filter(|&id| !kept_apart(id)) {
        assert_eq!(map.get(first.get(id)), map.get(second.get(id)), "{}", kernel.display(id));
    }
    let (count, left) = (kernel.next_id().0, once.next_id().0);
    println!("{count} types, {left} left");
    assert!(left <= count && left > count / 10 * 9, "{left} of {count} types are left");
    // What is left says the same about every structure.
    let once = Btf::parse(once.finish()).unwrap();
    for (_, ty) in once.types().filter(|(_, ty)| ty.kind() == Kind::Struct).take(3000) {
        if !ty.name().is_empty() {
            let id = once.find(Kind::Struct, ty.name()).unwrap();
            let theirs = kernel.find(Kind::Struct, ty.name()).unwrap();
            assert_eq!(once.size_of(id), kernel.size_of(theirs), "{}", ty.name());
            assert_eq!(once.align_of(id), kernel.align_of(theirs), "{}", ty.name());
        }
    }
}

#[test]
fn kinds_that_a_kernel_does_not_know_are_replaced() {
    let Some(object) = compile("sanitize/kinds.c") else { return };
    let btf = Btf::parse(section(&object, ".BTF")).unwrap();
    assert_eq!(sanitize(&btf, Support::ALL), Builder::from_btf(&btf).finish());
    let none = Support::NONE;
    let linux_5_4 = Support { func: true, datasec: true, ..none };
    let mut text = String::new();
    for (name, support) in
        [("everything", Support::ALL), ("Linux 5.4", linux_5_4), ("nothing", none)]
    {
        let sanitized = Btf::parse(sanitize(&btf, support)).unwrap();
        text += &format!("-- {name}\n{}", listing(&sanitized));
    }
    expect_file!["sanitize/kinds.txt"].assert_eq(&text);
}

#[test]
fn records_are_written_as_they_were_read() {
    let Some(object) = compile("core/program.c") else { return };
    let btf = Btf::parse(section(&object, ".BTF")).unwrap();
    let bytes = section(&object, ".BTF.ext");
    let ext = BtfExt::parse(&bytes, &btf).unwrap();
    let mut builder = Builder::from_btf(&btf);
    let mut copy = ExtBuilder::new();
    for name in ext.sections() {
        ext.funcs(name).for_each(|func| copy.func(&mut builder, name, func));
        ext.lines(name).for_each(|line| copy.line(&mut builder, name, line));
        for relocation in ext.relocations(name) {
            copy.relocation(&mut builder, name, &relocation);
        }
    }
    assert!(copy.finish() == bytes, "other bytes");
    assert!(builder.finish() == btf.bytes(), "the strings are there already");
}

//! The C declarations of the running kernel's types: clang gives them the sizes and offsets that
//! the types say.

use std::fmt::Write;
use std::process::Command;

use bombus_btf::{Btf, Kind, Type, TypeId, c_dump};

const PATH: &str = "/sys/kernel/btf/vmlinux";
/// How many structures and unions are compared.
const COUNT: usize = 2000;

/// Names that only one structure, union or typedef has: others get another name in C.
fn unique(btf: &Btf, id: TypeId, name: &str) -> bool {
    let same = |kind| btf.find(kind, name).is_some_and(|other| other != id);
    !name.is_empty() && ![Kind::Struct, Kind::Union, Kind::Enum, Kind::Enum64].into_iter().any(same)
}

#[test]
fn clang_agrees_about_sizes_and_offsets() {
    let Ok(bytes) = std::fs::read(PATH) else {
        println!("skipped: {PATH} cannot be read");
        return;
    };
    let btf = Btf::parse(bytes).unwrap();
    let mut source = String::new();
    c_dump::dump_all(&btf, &mut source).unwrap();
    let (mut types, mut fields) = (0, 0);
    // Every fifth: from all parts of the kernel.
    for (id, ty) in btf.types().step_by(5) {
        let (keyword, composite) = match ty {
            Type::Struct(composite) => ("struct", composite),
            Type::Union(composite) => ("union", composite),
            _ => continue,
        };
        let name = composite.name;
        if types == COUNT || !unique(&btf, id, name) {
            continue;
        }
        types += 1;
        let size = composite.size;
        writeln!(source, "_Static_assert(sizeof({keyword} {name}) == {size}, \"{name}\");")
            .unwrap();
        for member in composite.members {
            if member.bit_size != 0 || member.name.is_empty() {
                continue;
            }
            fields += 1;
            let (field, offset) = (member.name, member.bit_offset / 8);
            writeln!(
                source,
                "_Static_assert(__builtin_offsetof({keyword} {name}, {field}) == {offset}, \
                 \"{name}.{field}\");"
            )
            .unwrap();
        }
    }
    assert!(types > 500 && fields > 2000, "{types} types with {fields} fields are too few");
    let path = std::env::temp_dir().join(format!("bombus-layout-{}.c", std::process::id()));
    std::fs::write(&path, source).unwrap();
    // Lists of variable arguments are what they are where the kernel runs (`__builtin_va_list`).
    let target = format!("{}-linux-gnu", std::env::consts::ARCH);
    let args = ["-target", &target, "-fsyntax-only", "-Wno-everything", "-ferror-limit=5"];
    let output = Command::new("clang-19").args(args).arg(&path).output();
    std::fs::remove_file(&path).unwrap();
    match output {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            println!("{types} types with {fields} fields");
        }
        Err(error) => println!("skipped: clang-19: {error}"),
    }
}

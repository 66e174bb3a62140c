//! Files to start from: the tests' objects, what clang makes of the tests' sources, types that our
//! own builder makes, and what else one has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bombus_btf::relocate::Relocation;
use bombus_btf::{Builder, ExtBuilder, Linkage, Member, RelocationKind, SectionVar, TypeId};
use object::{Object, ObjectSection};

use super::corrupt::Target;

/// A file.
#[derive(Clone, Debug, Default)]
pub(super) struct Seed {
    /// An object, or the types of one.
    pub(super) file: Vec<u8>,
    /// With types, what belongs to the instructions, if there is anything.
    pub(super) ext: Vec<u8>,
}

impl Seed {
    /// Bytes.
    pub(super) fn len(&self) -> usize {
        self.file.len() + self.ext.len()
    }
}

/// The repository.
pub(super) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// What a target starts from; `corpus` is a directory of more objects (`.o`, `.elf`) and types
/// (`.btf`).
pub(super) fn of(target: Target, corpus: Option<&Path>) -> Result<Vec<Seed>, String> {
    let mut files = Vec::new();
    for dir in ["objects", "refused", "linked"] {
        find(&root().join("crates/object/tests").join(dir), &["o"], &mut files)?;
    }
    if let Some(corpus) = corpus {
        find(corpus, &["o", "elf", "btf"], &mut files)?;
    }
    let mut objects = Vec::new();
    let mut seeds = Vec::new();
    for path in files {
        let bytes = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        match path.extension().is_some_and(|extension| extension == "btf") {
            true => seeds.push(Seed { file: bytes, ext: Vec::new() }),
            false => objects.push(bytes),
        }
    }
    objects.extend(compiled()?);
    if target == Target::Elf {
        return Ok(objects.into_iter().map(|file| Seed { file, ext: Vec::new() }).collect());
    }
    seeds.extend(objects.iter().filter_map(|object| parts(object)));
    seeds.extend(built());
    if target == Target::BtfExt {
        seeds.retain(|seed| !seed.ext.is_empty());
    }
    Ok(seeds)
}

/// The types of an object.
fn parts(object: &[u8]) -> Option<Seed> {
    let file = object::File::parse(object).ok()?;
    let section = |name| Some(file.section_by_name(name)?.data().ok()?.to_vec());
    Some(Seed { file: section(".BTF")?, ext: section(".BTF.ext").unwrap_or_default() })
}

/// Files with one of these extensions, in the order of their names.
fn find(dir: &Path, extensions: &[&str], files: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_dir() {
            find(&path, extensions, files)?;
        } else if extension.is_some_and(|extension| extensions.contains(&extension)) {
            files.push(path);
        }
    }
    Ok(())
}

/// What clang makes of the sources of the tests of types, which have no objects beside them.
fn compiled() -> Result<Vec<Vec<u8>>, String> {
    let mut sources = Vec::new();
    find(&root().join("crates/btf/tests"), &["c"], &mut sources)?;
    let mut objects = Vec::new();
    for source in sources {
        let mut clang = Command::new("clang-19");
        clang.args(["-O2", "-g", "-target", "bpf", "-mcpu=v3", "-c", "-o", "-"]).arg(&source);
        match clang.output() {
            Ok(output) if output.status.success() => objects.push(output.stdout),
            Ok(output) => return Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => {
                println!("skipped: clang-19: {error}");
                break;
            }
        }
    }
    Ok(objects)
}

/// Types that no compiler makes: every kind at once, and such as cost their reader the most for each
/// of their bytes.
fn built() -> impl Iterator<Item = Seed> {
    let makers: [fn(&mut Builder); 8] = [
        every_kind,
        long_names,
        long_enumerators,
        many_enumerators,
        many_namesakes,
        small_types,
        deep_types,
        wide_types,
    ];
    makers.into_iter().map(|make| {
        let (mut types, mut ext) = (Builder::new(), ExtBuilder::new());
        make(&mut types);
        // A question about each type.
        for (id, slot) in (1..types.next_id().0).map(TypeId).zip(0..) {
            let kind = RelocationKind::TypeExists;
            let relocation =
                Relocation { insn_offset: slot * 8, type_id: id, access: "0".into(), kind };
            ext.relocation(&mut types, "xdp", &relocation);
        }
        Seed { file: types.finish(), ext: ext.finish() }
    })
}

/// How many of one sort a built blob has.
const MANY: u32 = 1000;

fn every_kind(types: &mut Builder) {
    let int = types.int("int", 4, true);
    let long = types.int("long", 8, false);
    let character = types.encoded_int("char", 1, bombus_btf::Int::CHAR);
    let text = types.array(character, int, 16);
    let next = TypeId(types.next_id().0 + 1);
    let pointer = types.ptr(next);
    let member = |name, ty, bit_offset, bit_size| Member { name, ty, bit_offset, bit_size };
    let members = [
        member("next", pointer, 0, 0),
        member("text", text, 64, 0),
        member("bits", int, 192, 3),
        member("more", int, 195, 13),
    ];
    let node = types.structure("node", 32, &members);
    let either = types.union("", 32, &[member("node", node, 0, 0), member("long", long, 0, 0)]);
    types.structure("outer", 32, &[member("", either, 0, 0)]);
    types.enumeration("small", 4, true, &[("LESS", -1), ("MORE", 1)]);
    types.enumeration64("large", 8, false, &[("HUGE", -1)]);
    types.fwd("somewhere", true);
    let alias = types.typedef("alias", node);
    let constant = types.constant(alias);
    let volatile = types.volatile(constant);
    let restrict = types.restrict(volatile);
    let tagged = types.type_tag("user", restrict);
    let proto = types.func_proto(tagged, &[("first", pointer), ("rest", TypeId::VOID)]);
    let function = types.func("function", proto, Linkage::Global);
    types.decl_tag("kfunc", function, None);
    types.decl_tag("nullable", function, Some(0));
    let variable = types.var("variable", node, Linkage::Static);
    types.datasec(".data", 32, &[SectionVar { ty: variable, offset: 0, size: 32 }]);
    types.float("double", 8);
}

/// Types that share one long name.
fn long_names(types: &mut Builder) {
    let name = "n".repeat(4000);
    for size in 0..MANY {
        types.structure(&name, size, &[]);
    }
}

/// Values that share one long name.
fn long_enumerators(types: &mut Builder) {
    let name = "N".repeat(4000);
    let values: Vec<(&str, i32)> = (0..MANY as i32).map(|value| (&*name, value)).collect();
    types.enumeration("values", 4, false, &values);
}

/// Values with short names, each another.
fn many_enumerators(types: &mut Builder) {
    let names: Vec<String> = (0..MANY * 8).map(|n| format!("{n:x}")).collect();
    let values: Vec<(&str, i32)> = names.iter().map(|name| (name.as_str(), 0)).collect();
    types.enumeration("values", 4, false, &values);
}

/// Structures and typedefs of one short name.
fn many_namesakes(types: &mut Builder) {
    for size in 0..MANY {
        let structure = types.structure("s", size, &[]);
        types.typedef("t", structure);
    }
}

/// Types of as few bytes as can be.
fn small_types(types: &mut Builder) {
    for size in 0..MANY * 4 {
        types.float("", size);
    }
}

/// Structures in structures, and pointers to functions that take pointers to functions.
fn deep_types(types: &mut Builder) {
    let mut id = types.int("int", 4, true);
    for _ in 0..MANY / 8 {
        let proto = types.func_proto(id, &[("", id)]);
        let pointer = types.ptr(proto);
        let member = |name| Member { name, ty: pointer, bit_offset: 0, bit_size: 0 };
        id = types.structure("", 8, &[member("a"), member("b")]);
    }
}

/// Structures with gaps that take a lot of text to say.
fn wide_types(types: &mut Builder) {
    let int = types.int("int", 4, true);
    for at in 0..MANY {
        let member = Member { name: "last", ty: int, bit_offset: u32::MAX - 31 - at, bit_size: 0 };
        types.structure("wide", 1 << 29, &[member]);
    }
}

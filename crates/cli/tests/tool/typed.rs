//! Types, and maps whose elements have some.

use std::path::Path;

use bombus_btf::{Builder, Int, Linkage, Member, SectionVar, TypeId};
use bombus_kernel::{Kernel, MapTypes, Object, UpdateFlag};
use bombus_linux::Linux;
use bombus_platform::MapType;
use bombus_spec::MapSpec;
use serde_json::Value;

use crate::fixture::{Pins, Running};
use crate::oracle::{bpftool_runs, needs, run, same, same_json, same_text, since};
use crate::{Outcome, Test, Unmet};

pub(crate) const TESTS: &[Test] = &[
    ("btf::of_a_script", of_a_script),
    ("btf::roots", roots),
    ("btf::files", files),
    ("btf::declarations", declarations),
    ("map::typed", elements),
];

/// The ids of the types that a script's programs have.
fn ids(running: &Running) -> Result<Vec<String>, String> {
    let mut ids = Vec::new();
    for id in running.ids("prog_id") {
        let text = run(&["prog", "show", "id", &id.to_string(), "-j"])?;
        let value: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        ids.extend(value["btf_id"].as_u64().map(|id| id.to_string()));
    }
    ids.sort();
    ids.dedup();
    if ids.is_empty() { Err("no program has types".into()) } else { Ok(ids) }
}

fn of_a_script() -> Outcome {
    let script = "BEGIN { @x = 1; } interval:s:3600 { @x = 2; }";
    let running = Running::new(script, 1)?;
    for id in ids(&running)? {
        same(&["btf", "show", "id", &id])?;
        same(&["btf", "dump", "id", &id])?;
        same(&["btf", "dump", "id", &id, "format", "raw"])?;
        same_text(&["btf", "dump", "id", &id, "format", "what"])?;
    }
    for id in running.ids("prog_id") {
        same(&["btf", "dump", "prog", "id", &id.to_string()])?;
    }
    same(&["btf", "dump", "what", "1"])?;
    same(&["btf", "dump", "file", "/nowhere"])?;
    Ok(())
}

fn roots() -> Outcome {
    needs(7, 6, "takes no roots")?;
    let running = Running::new("BEGIN { @x = 1; } interval:s:3600 { @x = 2; }", 1)?;
    for id in ids(&running)? {
        same(&["btf", "dump", "id", &id, "root_id", "1"])?;
        same(&["btf", "dump", "id", &id, "root_id", "4000000"])?;
        same_text(&["btf", "dump", "id", &id, "format", "c", "root_id", "1"])?;
    }
    Ok(())
}

const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

fn has_types() -> Outcome {
    match Path::new(VMLINUX).exists() {
        true => Ok(()),
        false => Err(Unmet::Skipped("this kernel does not describe its types".into())),
    }
}

/// The kernel's own types.
fn files() -> Outcome {
    has_types()?;
    // The newest says beside the output that it is going to be read.
    if !since(7, 8) {
        same_text(&["btf", "dump", "file", VMLINUX])?;
    }
    same_json(&["btf", "dump", "file", VMLINUX])?;
    Ok(())
}

/// As declarations of C. bpftool leaves out the first of the sorted types.
fn declarations() -> Outcome {
    needs(7, 8, "does not sort declarations")?;
    has_types()?;
    let unsorted = ["btf", "dump", "file", VMLINUX, "format", "c", "unsorted"];
    let sorted = &unsorted[..6];
    for args in [&unsorted[..], sorted] {
        let (ours, theirs) = (run(args)?, bpftool_runs(args)?);
        let lacking = difference(&ours, &theirs);
        if let Some(lacking) = lacking.filter(|_| ours != theirs) {
            return Err(format!("{}\n{lacking}", args.join(" ")).into());
        }
    }
    Ok(())
}

/// Where two texts differ, but for one declaration that only ours has.
fn difference(ours: &str, theirs: &str) -> Option<String> {
    let (ours, theirs): (Vec<&str>, Vec<&str>) = (ours.lines().collect(), theirs.lines().collect());
    let common = ours.iter().zip(&theirs).take_while(|(ours, theirs)| ours == theirs).count();
    let more = ours.len().checked_sub(theirs.len())?;
    if ours[common + more..] == theirs[common..] && ours[common..common + more].contains(&"};") {
        return None;
    }
    let line = |lines: &[&str]| lines.get(common).copied().unwrap_or_default().to_owned();
    Some(format!("  line {}\n  bombus: {}\n  bpftool: {}", common + 1, line(&ours), line(&theirs)))
}

/// A value with a member of every kind, and one for each CPU.
fn types() -> (Builder, [TypeId; 3]) {
    let mut btf = Builder::new();
    let int = btf.int("int", 4, true);
    let unsigned = btf.int("unsigned int", 4, false);
    let long = btf.int("unsigned long", 8, false);
    let byte = btf.encoded_int("char", 1, Int::CHAR);
    let boolean = btf.encoded_int("_Bool", 1, Int::BOOL);
    let wide = btf.int("__int128", 16, false);
    let pointer = btf.ptr(TypeId::VOID);
    let text = btf.array(byte, unsigned, 8);
    let numbers = btf.array(int, unsigned, 3);
    let color = btf.enumeration("color", 4, false, &[("RED", 0), ("GREEN", 7)]);
    let name = btf.typedef("name_t", text);
    let member = |name: &'static str, ty, byte: u32, bit_size| Member {
        name,
        ty,
        bit_offset: byte * 8,
        bit_size,
    };
    let inner =
        btf.structure("inner", 8, &[member("low", unsigned, 0, 3), member("high", unsigned, 0, 0)]);
    let members = [
        member("signed", int, 0, 0),
        member("flag", boolean, 4, 0),
        member("letter", byte, 5, 0),
        member("control", byte, 6, 0),
        member("address", pointer, 8, 0),
        member("nothing", pointer, 16, 0),
        member("name", name, 24, 0),
        member("bytes", text, 32, 0),
        member("numbers", numbers, 40, 0),
        member("green", color, 52, 0),
        member("unknown", color, 56, 0),
        member("inner", inner, 64, 0),
        member("wide", wide, 80, 0),
    ];
    let value = btf.structure("value", 96, &members);
    let variable = btf.var("counter", long, Linkage::Global);
    let var = SectionVar { ty: variable, offset: 0, size: 8 };
    let section = btf.datasec(".data", 8, &[var]);
    (btf, [int, value, section])
}

/// The bytes of one `struct value`.
fn bytes() -> Vec<u8> {
    let mut bytes = vec![0; 96];
    let mut put = |at: usize, what: &[u8]| bytes[at..at + what.len()].copy_from_slice(what);
    put(0, &(-5_i32).to_le_bytes());
    put(4, &[1, b'x', 7]);
    put(8, &0xffff_8880_1234_5678_u64.to_le_bytes());
    put(24, b"bombus\0\0");
    put(32, &[1, 2, 3, 4, 5, 6, 7, 8]);
    put(40, &[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 3, 0, 0, 0]);
    put(52, &7_u32.to_le_bytes());
    put(56, &9_u32.to_le_bytes());
    put(64, &0xd_u32.to_le_bytes());
    put(80, &[0x11; 16]);
    bytes
}

fn elements() -> Outcome {
    let text = |error: bombus_kernel::Error| error.to_string();
    let pins = Pins::new()?;
    // The directory becomes a BPF file system.
    pins.map("first", "array", [4, 4, 1], &[])?;
    let linux = Linux::new().map_err(text)?;
    let (btf, [key, value, section]) = types();
    let btf = Some(linux.btf_load(&btf.finish()).map_err(text)?);
    let mut maps = Vec::new();
    for (name, map_type, value_type, value_size, entries) in [
        ("typed", MapType::Hash, value, 96, 4),
        ("typed_cpu", MapType::PercpuArray, value, 96, 2),
        (".data.x", MapType::Array, section, 8, 1),
    ] {
        let of_section = value_type == section;
        let spec = MapSpec {
            name: name.into(),
            map_type,
            key_size: 4,
            value_size,
            max_entries: entries,
            key_type: if of_section { 0 } else { key.0 },
            value_type: value_type.0,
            ..MapSpec::default()
        };
        let map = linux.map_create_typed(&spec, MapTypes { btf, ..MapTypes::default() });
        let map = map.map_err(|error| format!("{name}: {error}"))?;
        let value = match (of_section, map_type.is_per_cpu()) {
            (true, _) => 77_u64.to_le_bytes().to_vec(),
            (_, true) => bytes().repeat(linux.features().possible_cpus as usize),
            _ => bytes(),
        };
        linux.map_update(map, &[0; 4], &value, UpdateFlag::Any).map_err(text)?;
        let path = pins.path(&format!("map{}", maps.len()));
        linux.pin(Object::Map(map), Path::new(&path)).map_err(text)?;
        maps.push(path);
    }
    for path in &maps {
        same(&["map", "show", "pinned", path])?;
        // Older ones leave out the quotes of addresses.
        let compare = if since(7, 3) { same } else { same_json };
        compare(&["map", "dump", "pinned", path])?;
        compare(&["map", "lookup", "pinned", path, "key", "0", "0", "0", "0"])?;
        same(&["btf", "dump", "map", "pinned", path])?;
        same(&["btf", "dump", "map", "pinned", path, "value"])?;
        same(&["btf", "dump", "map", "pinned", path, "all"])?;
    }
    Ok(())
}

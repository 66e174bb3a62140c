//! A specification as text, for people to read and for tests to compare.

use std::fmt::Write;

use bombus_isa::Insn;
use bombus_platform::AttachType;
use bombus_spec::{Extern, MapRole, MapSpec, ObjectSpec, ProgramSpec, Reference, Slot};

/// Everything in it, without the types.
pub(crate) fn dump(spec: &ObjectSpec) -> String {
    let mut out = String::new();
    if spec.kernel_version != 0 {
        let _ = writeln!(out, "kernel version {:#x}", spec.kernel_version);
    }
    for (index, map) in spec.maps.iter().enumerate() {
        dump_map(&mut out, spec, index, map);
    }
    for variable in &spec.variables {
        let _ = writeln!(
            out,
            "variable {}: {} +{}, {} bytes, type {}",
            variable.name,
            map_name(spec, variable.map),
            variable.offset,
            variable.size,
            variable.type_id
        );
    }
    for (index, each) in spec.externs.iter().enumerate() {
        let _ = write!(out, "extern {index}: ");
        let weak = match each {
            Extern::Kconfig { name, type_id, offset, size, weak, .. } => {
                let _ = write!(out, "kconfig {name} +{offset}, {size} bytes, type {type_id}");
                *weak
            }
            Extern::Ksym { name, type_id, weak } => {
                let _ = write!(out, "ksym {name}, type {type_id}");
                *weak
            }
            Extern::Kfunc { name, type_id, weak } => {
                let _ = write!(out, "kfunc {name}, type {type_id}");
                *weak
            }
        };
        let _ = writeln!(out, "{}", if weak { ", weak" } else { "" });
    }
    for program in &spec.programs {
        dump_program(&mut out, spec, program);
    }
    out
}

fn map_name(spec: &ObjectSpec, index: u32) -> &str {
    &spec.maps[index as usize].name
}

fn dump_map(out: &mut String, spec: &ObjectSpec, index: usize, map: &MapSpec) {
    let _ = write!(
        out,
        "map {index} {}: {} key {} value {} entries {}",
        map.name,
        map.map_type.name(),
        map.key_size,
        map.value_size,
        map.max_entries
    );
    for (what, number) in [
        ("flags", u64::from(map.flags)),
        ("extra", map.extra),
        ("key type", map.key_type.into()),
        ("value type", map.value_type.into()),
    ] {
        if number != 0 {
            let _ = write!(out, ", {what} {number:#x}");
        }
    }
    if let Some(node) = map.numa_node {
        let _ = write!(out, ", node {node}");
    }
    if map.pin_by_name {
        let _ = write!(out, ", pinned by name");
    }
    if !map.autocreate {
        let _ = write!(out, ", not created");
    }
    let _ = writeln!(out);
    match &map.role {
        MapRole::Ordinary => {}
        MapRole::Data { section, read_only } => {
            let frozen = if *read_only { ", read only" } else { "" };
            let _ = writeln!(out, "    data of {section}{frozen}");
        }
        MapRole::Kconfig => out.push_str("    kernel configuration\n"),
        MapRole::StructOps { type_id, link, functions } => {
            let link = if *link { ", link" } else { "" };
            let _ = writeln!(out, "    callbacks of type {type_id}{link}");
            for (offset, program) in functions {
                let name = &spec.programs[*program as usize].name;
                let _ = writeln!(out, "    +{offset}: {name}");
            }
        }
    }
    if let Some(inner) = &map.inner {
        out.push_str("    inner ");
        dump_map(out, spec, 0, inner);
    }
    for (key, slot) in &map.slots {
        let name = match slot {
            Slot::Map(map) => map_name(spec, *map),
            Slot::Program(program) => &spec.programs[*program as usize].name,
        };
        let _ = writeln!(out, "    [{key}] = {name}");
    }
    for (key, value) in &map.contents {
        let _ = writeln!(out, "    {} = {}", hex(key), hex(value));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn dump_program(out: &mut String, spec: &ObjectSpec, program: &ProgramSpec) {
    let _ = write!(
        out,
        "program {}: SEC(\"{}\") {}, license {:?}",
        program.name,
        program.section,
        program.prog_type.name(),
        program.license
    );
    if program.attach_type != AttachType::NONE {
        let _ = write!(out, ", at {}", program.attach_type.name());
    }
    if program.flags != 0 {
        let _ = write!(out, ", flags {:#x}", program.flags);
    }
    if let Some(target) = &program.attach_to {
        let _ = write!(out, ", to {target}");
    }
    let _ = writeln!(out, "{}", if program.autoload { "" } else { ", not loaded" });
    let insns: Vec<Insn> = program.insns.iter().map(|slot| slot.insn).collect();
    let mut line = None;
    let mut functions = program.functions.iter().peekable();
    let mut relocations = program.core_relocations.iter().peekable();
    let mut slot = 0;
    while let Some(each) = program.insns.get(slot) {
        while let Some(function) = functions.next_if(|function| function.start as usize == slot) {
            let (name, args, ty) = (&function.name, function.args, function.type_id);
            let _ = writeln!(out, "  {name}({args}), type {ty}:");
            line = None;
        }
        if each.line != line {
            line = each.line;
            if let Some(place) = line.map(|line| &program.lines[line as usize]) {
                let file = place.file.rsplit('/').next().unwrap_or_default();
                let (number, column) = (place.line, place.column);
                let _ = writeln!(out, "    ; {file}:{number}:{column} {}", place.text.trim());
            }
        }
        match each.insn.decode(insns.get(slot + 1).copied()) {
            Ok(op) => {
                let _ = write!(out, "{slot:5}: {op}");
            }
            Err(error) => {
                let _ = write!(out, "{slot:5}: {:02x} {error}", each.insn.code);
            }
        }
        match each.reference {
            Some(Reference::Map(map)) => {
                let _ = write!(out, "    <- {}", map_name(spec, map));
            }
            Some(Reference::MapValue { map, offset }) => {
                let _ = write!(out, "    <- {} +{offset}", map_name(spec, map));
            }
            Some(Reference::Function(function)) => {
                let _ = write!(out, "    <- {}", program.functions[function as usize].name);
            }
            Some(Reference::Extern(index)) => {
                let _ = write!(out, "    <- {}", spec.externs[index as usize].name());
            }
            None => {}
        }
        while let Some(core) = relocations.next_if(|core| core.slot as usize == slot) {
            let (kind, ty, access) = (core.kind.name(), core.type_id, &core.access);
            let _ = write!(out, "    <- {kind} of type {ty}, {access}");
        }
        let _ = writeln!(out);
        slot += if each.insn.is_wide() { 2 } else { 1 };
    }
}

/// Writes what an object specifies; the file has to specify the same. What cannot be written has to
/// say why.
pub(crate) fn written(object: &[u8]) -> Result<(), String> {
    let spec = bombus_object::open(object).map_err(|error| error.to_string())?;
    let file = match bombus_object::write(&spec) {
        Ok(file) => file,
        Err(error) if error.reason == "tables of places in the code cannot be written yet" => {
            return Ok(());
        }
        Err(error) => return Err(format!("not written: {error}")),
    };
    let again = bombus_object::open(&file).map_err(|error| format!("written: {error}"))?;
    let (before, after) = (dump(&spec), dump(&again));
    let differs = before.lines().zip(after.lines()).position(|(before, after)| before != after);
    match differs {
        Some(line) => {
            let show = |text: &str| text.lines().skip(line).take(3).collect::<Vec<_>>().join("\n");
            Err(format!("line {line} was\n{}\nand is\n{}", show(&before), show(&after)))
        }
        None if before.len() != after.len() => Err("one has more than the other".into()),
        None => Ok(()),
    }
}

//! Against what libbpf sends to the kernel for the same object, as `xtask/oracle` writes it down.
//!
//! `BPF_CORPUS` names a directory with objects, `BPF_ORACLE` one with libbpf's records of them, one
//! file a kernel's version and object. What depends on the kernel is left out of the comparison.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bombus_isa::Insn;
use bombus_platform::{MapType, ProgType};
use bombus_spec::{MapRole, MapSpec, ObjectSpec, ProgramSpec, Reference, Slot};
use serde_json::Value;

#[test]
fn as_libbpf_sends_it() {
    let (Some(corpus), Some(oracle)) =
        (std::env::var_os("BPF_CORPUS"), std::env::var_os("BPF_ORACLE"))
    else {
        println!("skipped: BPF_CORPUS and BPF_ORACLE do not name objects and libbpf's records");
        return;
    };
    let mut tally = Tally::default();
    let mut records: Vec<_> = fs::read_dir(&oracle).unwrap().flatten().map(|e| e.path()).collect();
    records.sort();
    for path in records {
        let stem = path.file_stem().unwrap().to_string_lossy().into_owned();
        let names = [".o", ".bpf.o", ".elf", ""].map(|end| format!("{stem}{end}"));
        let found =
            names.iter().map(|name| Path::new(&corpus).join(name)).find(|path| path.is_file());
        let Some(object) = found else { continue };
        let bytes = fs::read(object).unwrap();
        // For big-endian machines, which the reader refuses.
        if bytes.get(5) == Some(&2) {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let theirs = bombus_object::open(&bytes);
        tally.object(&stem, theirs, &lines);
    }
    tally.report();
    assert!(tally.differences.is_empty());
}

#[derive(Default)]
struct Tally {
    objects: u32,
    programs: u32,
    slots: usize,
    maps: u32,
    /// What is refused by both.
    refused: u32,
    differences: BTreeMap<String, Vec<String>>,
}

impl Tally {
    fn differs(&mut self, kind: &str, place: String) {
        self.differences.entry(kind.to_owned()).or_default().push(place);
    }

    fn object(
        &mut self,
        name: &str,
        ours: Result<ObjectSpec, bombus_object::Error>,
        lines: &[Value],
    ) {
        let head = &lines[0];
        let spec = match (ours, head["opened"].as_bool() == Some(true)) {
            (Ok(spec), true) => spec,
            (Err(_), false) => {
                self.refused += 1;
                return;
            }
            (Ok(_), false) => {
                return self.differs("only we open", format!("{name}: {}", head["log"]));
            }
            // libbpf waits with this until somebody loads the program.
            (Err(error), true)
                if error.reason.contains("kind of program") && head["result"] != 0 =>
            {
                self.refused += 1;
                return;
            }
            (Err(error), true) => {
                return self.differs("only libbpf opens", format!("{name}: {error}"));
            }
        };
        self.objects += 1;
        for line in lines {
            match line["kind"].as_str() {
                Some("program") => self.program(name, &spec, line),
                Some("map") => self.map(name, &spec, line),
                _ => {}
            }
        }
    }

    fn program(&mut self, object: &str, spec: &ObjectSpec, theirs: &Value) {
        let name = theirs["name"].as_str().unwrap();
        let place = format!("{object}/{name}");
        let Some(ours) = spec.programs.iter().find(|program| program.name == name) else {
            return self.differs("program only libbpf has", place);
        };
        let Some(hex) = theirs["insns"].as_str() else { return };
        self.programs += 1;
        let bytes: Vec<u8> = (0..hex.len() / 2)
            .map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap())
            .collect();
        let insns: Vec<Insn> =
            bytes.chunks_exact(8).map(|slot| Insn::from_bytes(slot.try_into().unwrap())).collect();
        self.slots += insns.len();
        for (what, differ) in [
            ("prog_type", theirs["prog_type"] != ours.prog_type as u32),
            ("license", theirs["license"] != ours.license.as_str()),
            ("flags", theirs["flags"] != ours.flags),
        ] {
            if differ {
                self.differs(what, place.clone());
            }
        }
        // Of callbacks it is the number of the member, of static probes what the kernel has.
        let by_kernel = ours.prog_type == ProgType::StructOps || ours.section.starts_with("usdt");
        if theirs["expected_attach_type"] != ours.attach_type as u32 && !by_kernel {
            self.differs("attach type", format!("{place} {}", theirs["expected_attach_type"]));
        }
        let functions: Vec<[u32; 2]> =
            ours.functions.iter().map(|function| [function.start, function.type_id]).collect();
        let functions = serde_json::to_value(functions).unwrap();
        if theirs["functions"] != functions {
            self.differs("functions", format!("{place} {} {functions}", theirs["functions"]));
        }
        if insns.len() != ours.insns.len() {
            return self.differs("length", format!("{place} {} {}", insns.len(), ours.insns.len()));
        }
        if let Some(slot) = differing_slot(spec, ours, &insns) {
            let (a, b) = (insns[slot], ours.insns[slot]);
            self.differs("code", format!("{place} slot {slot}: {a:?} {b:?}"));
        }
        let maps: Vec<Value> = ours
            .insns
            .iter()
            .enumerate()
            .filter_map(|(slot, insn)| match insn.reference {
                Some(Reference::Map(map) | Reference::MapValue { map, .. }) => {
                    Some(serde_json::json!([slot, short(&spec.maps[map as usize])]))
                }
                // Somebody wrote the number of a descriptor into the code.
                None if insn.insn.is_wide() && matches!(insn.insn.src.0, 1 | 2) => {
                    Some(serde_json::json!([slot, "?"]))
                }
                _ => None,
            })
            .collect();
        let theirs_maps = theirs["maps"].as_array().map_or(&[][..], Vec::as_slice);
        let same = |(ours, theirs): (&Value, &Value)| {
            let names = (ours[1].as_str().unwrap(), theirs[1].as_str().unwrap());
            ours[0] == theirs[0] && same_name(names.0, names.1)
        };
        if maps.len() != theirs_maps.len() || !maps.iter().zip(theirs_maps).all(same) {
            self.differs(
                "maps of code",
                format!("{place} {} {}", theirs["maps"], Value::Array(maps)),
            );
        }
    }

    fn map(&mut self, object: &str, spec: &ObjectSpec, theirs: &Value) {
        let name = theirs["name"].as_str().unwrap();
        let place = format!("{object}/{name}");
        let Some(ours) = spec.maps.iter().find(|map| same_name(short(map), name)) else {
            return self.differs("map only libbpf has", place);
        };
        self.maps += 1;
        let frozen = matches!(ours.role, MapRole::Kconfig | MapRole::Data { read_only: true, .. });
        let slots: Vec<Value> = ours
            .slots
            .iter()
            .map(|(key, slot)| match slot {
                Slot::Map(map) => serde_json::json!([key, short(&spec.maps[*map as usize])]),
                Slot::Program(program) => {
                    serde_json::json!([key, spec.programs[*program as usize].name])
                }
            })
            .collect();
        let mut their_slots = theirs["slots"].clone();
        if let Value::Array(slots) = &mut their_slots {
            slots.sort_by_key(|slot| slot[0].as_u64());
        }
        for (what, theirs, ours) in [
            ("map_type", &theirs["map_type"], Value::from(ours.map_type as u32)),
            ("key_size", &theirs["key_size"], ours.key_size.into()),
            ("value_size", &theirs["value_size"], ours.value_size.into()),
            ("max_entries", &theirs["max_entries"], ours.max_entries.into()),
            ("map flags", &theirs["flags"], ours.flags.into()),
            ("extra", &theirs["extra"], ours.extra.into()),
            ("numa_node", &theirs["numa_node"], ours.numa_node.unwrap_or(0).into()),
            ("frozen", &theirs["frozen"], frozen.into()),
            ("key_type", &theirs["key_type"], ours.key_type.into()),
            ("value_type", &theirs["value_type"], ours.value_type.into()),
            ("slots", &their_slots, slots.into()),
        ] {
            let by_kernel = match what {
                // Depends on the target's layout, on its number of CPUs, on the size of its pages.
                "value_size" => ours_is(spec, name, MapType::StructOps),
                "max_entries" => {
                    ours_is(spec, name, MapType::PerfEventArray)
                        || ours_is(spec, name, MapType::Ringbuf)
                        || ours_is(spec, name, MapType::UserRingbuf)
                }
                // Maps of some types take no types: the loader leaves them out.
                "key_type" | "value_type" => *theirs == 0,
                _ => false,
            };
            if *theirs != ours && !by_kernel {
                self.differs(what, format!("{place} {theirs} {ours}"));
            }
        }
    }

    fn report(&self) {
        println!(
            "{} objects, {} programs, {} slots, {} maps; {} refused by both",
            self.objects, self.programs, self.slots, self.maps, self.refused
        );
        for (kind, places) in &self.differences {
            println!("{kind}: {} times", places.len());
            for place in places.iter().take(12) {
                println!("    {}", place.chars().take(300).collect::<String>());
            }
        }
    }
}

fn ours_is(spec: &ObjectSpec, name: &str, map_type: MapType) -> bool {
    spec.maps.iter().any(|map| same_name(short(map), name) && map.map_type == map_type)
}

/// The records have 15 characters of names that the section's type does not tell.
fn same_name(ours: &str, theirs: &str) -> bool {
    ours == theirs || (theirs.len() == 15 && ours.starts_with(theirs))
}

/// As the records name maps: for the section, without the object's name.
fn short(map: &MapSpec) -> &str {
    match &map.role {
        MapRole::Data { section, .. } if map.map_type == MapType::Array => section,
        // Made behind libbpf's back.
        MapRole::Data { .. } if map.map_type == MapType::InsnArray => "?",
        MapRole::Kconfig => ".kconfig",
        _ => &map.name,
    }
}

/// The first slot that is not the same, but for what the kernel decides.
fn differing_slot(spec: &ObjectSpec, ours: &ProgramSpec, theirs: &[Insn]) -> Option<usize> {
    let mut open: Vec<bool> = vec![false; theirs.len()];
    for relocation in &ours.core_relocations {
        let slot = relocation.slot as usize;
        open[slot] = true;
        if ours.insns[slot].insn.is_wide() {
            open[slot + 1] = true;
        }
    }
    let mut slot = 0;
    while slot < theirs.len() {
        let (insn, reference) = (ours.insns[slot].insn, ours.insns[slot].reference);
        let same = match reference {
            _ if open[slot] => true,
            None if insn.is_wide() && insn.src.0 != 0 => {
                Insn { imm: insn.imm, ..theirs[slot] } == insn
            }
            None => insn == theirs[slot],
            Some(Reference::Map(_)) => Insn { imm: 0, ..theirs[slot] } == insn,
            Some(Reference::MapValue { map, offset }) => {
                let arena = spec.maps[map as usize].map_type == MapType::Arena;
                Insn { imm: 0, ..theirs[slot] } == insn
                    && (theirs[slot + 1].imm as u32 == offset || arena)
            }
            Some(Reference::Function(function)) => {
                let start = ours.functions[function as usize].start;
                let distance = i64::from(start) - slot as i64 - 1;
                Insn { imm: 0, ..theirs[slot] } == insn && i64::from(theirs[slot].imm) == distance
            }
            // Its address, or its number; poison when there is none.
            Some(Reference::Extern(_)) => theirs[slot].code == insn.code,
        };
        if !same {
            return Some(slot);
        }
        slot += if insn.is_wide() { 2 } else { 1 };
    }
    None
}

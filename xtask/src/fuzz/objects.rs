//! Corrupt object files through the reader and the linker: what comes out refers to nothing that is
//! not there.

use bombus_object::{ObjectFile, ObjectSpec, link, open};
use bombus_spec::{MapRole, ProgramSpec, Reference, Slot};

use super::corrupt::Meter;

/// Whether the file opens; an error says what does not hold of the result. It is also linked with
/// another one, and what comes out is opened.
pub(super) fn examine(bytes: &[u8], other: &[u8], meter: &mut Meter) -> Result<bool, String> {
    let files = [("mutated", bytes), ("other", other)];
    let files = files.map(|(name, bytes)| ObjectFile { name, bytes });
    let linked = meter.within("linking", bytes.len() + other.len(), || link(&files))?;
    if let Ok(linked) = linked {
        open(&linked).map_or(Ok(()), |spec| consistent(&spec))?;
    }
    match meter.within("opening", bytes.len(), || open(bytes))? {
        Ok(spec) => consistent(&spec).map(|()| true),
        Err(error) if error.reason.is_empty() => Err("refused without a reason".into()),
        Err(_) => Ok(false),
    }
}

/// Whether every number names something.
fn consistent(spec: &ObjectSpec) -> Result<(), String> {
    let check = |holds: bool, what: &str| holds.then_some(()).ok_or_else(|| what.to_owned());
    let (maps, programs) = (spec.maps.len(), spec.programs.len());
    for map in &spec.maps {
        for (_, slot) in &map.slots {
            check(
                match slot {
                    Slot::Map(map) => (*map as usize) < maps,
                    Slot::Program(program) => (*program as usize) < programs,
                },
                "a map holds something that is not there",
            )?;
        }
        if let MapRole::StructOps { functions, .. } = &map.role {
            for (offset, program) in functions {
                check(*offset < map.value_size, "a callback is outside of its structure")?;
                check((*program as usize) < programs, "a callback is no program")?;
            }
        }
    }
    for variable in &spec.variables {
        let map = spec.maps.get(variable.map as usize).ok_or("a variable is in no map")?;
        let end = variable.offset.checked_add(variable.size);
        let arena = map.value_size == 0;
        check(arena || end.is_some_and(|end| end <= map.value_size), "a variable is outside")?;
    }
    spec.programs.iter().try_for_each(|program| consistent_program(spec, program))
}

fn consistent_program(spec: &ObjectSpec, program: &ProgramSpec) -> Result<(), String> {
    let check = |holds: bool, what: &str| holds.then_some(()).ok_or_else(|| what.to_owned());
    let slots = program.insns.len();
    for slot in &program.insns {
        check(slot.line.is_none_or(|line| (line as usize) < program.lines.len()), "no such line")?;
        let known = match slot.reference {
            None => true,
            Some(Reference::Map(map) | Reference::MapValue { map, .. }) => {
                (map as usize) < spec.maps.len()
            }
            Some(Reference::Function(index)) => (index as usize) < program.functions.len(),
            Some(Reference::Extern(index)) => (index as usize) < spec.externs.len(),
        };
        check(known, "a slot refers to something that is not there")?;
    }
    let starts: Vec<u32> = program.functions.iter().map(|function| function.start).collect();
    check(starts.first() == Some(&0), "the first function does not start the program")?;
    check(starts.is_sorted(), "functions are not in order")?;
    check(starts.iter().all(|&start| (start as usize) < slots), "a function is outside")?;
    let relocated = program.core_relocations.iter().all(|each| (each.slot as usize) < slots);
    check(relocated, "a CO-RE relocation is outside")
}

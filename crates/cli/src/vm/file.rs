//! Where a bare program's instructions come from.

use bombus_isa::Insn;
use bombus_object::Options;
use bombus_platform::{AttachType, ProgType};
use bombus_spec::ProgramSpec;

/// The instructions in a file: those of an object file's section, or the file's bytes.
pub(super) fn code(bytes: &[u8], section: Option<&str>) -> Result<Vec<Insn>, String> {
    match (bytes.starts_with(b"\x7fELF"), section) {
        (true, section) => object(bytes, section),
        (false, None) => raw(bytes),
        (false, Some(_)) => Err("is no object file, and so has no sections".to_owned()),
    }
}

/// Eight bytes an instruction.
pub(super) fn raw(bytes: &[u8]) -> Result<Vec<Insn>, String> {
    let (slots, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        let len = bytes.len();
        return Err(format!("{len} bytes are no instructions, which have 8 bytes each"));
    }
    Ok(slots.iter().copied().map(Insn::from_bytes).collect())
}

/// The program of a section, or of the only one.
pub(super) fn object(bytes: &[u8], section: Option<&str>) -> Result<Vec<Insn>, String> {
    // Nobody is going to attach it, so its section may have any name.
    let prog_type = Some((ProgType::SocketFilter, AttachType::NONE));
    let object = bombus_object::open_with(bytes, &Options { prog_type, ..Options::default() })
        .map_err(|error| error.to_string())?;
    let wanted = |program: &&ProgramSpec| {
        section.is_none_or(|name| program.section == name || program.name == name)
    };
    let mut found = object.programs.iter().filter(wanted);
    let program = match (found.next(), found.next()) {
        (Some(program), None) => program,
        (None, _) => {
            let what = section.map_or("no program".to_owned(), |name| format!("no section {name}"));
            return Err(format!("has {what}{}", listed(&object.programs)));
        }
        _ => return Err(format!("has more than one program{}", listed(&object.programs))),
    };
    let reference = program.insns.iter().position(|insn| insn.reference.is_some());
    if let Some(slot) = reference {
        return Err(format!(
            "instruction {slot} refers to a map or a global variable, which bare programs lack"
        ));
    }
    Ok(program.insns.iter().map(|insn| insn.insn).collect())
}

/// What there is to choose from.
fn listed(programs: &[ProgramSpec]) -> String {
    let names: Vec<String> = programs
        .iter()
        .map(|program| format!("{} (function {})", program.section, program.name))
        .collect();
    if names.is_empty() { String::new() } else { format!("; there are {}", names.join(", ")) }
}

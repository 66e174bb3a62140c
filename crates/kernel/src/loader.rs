//! From a specification to a live collection: create the maps, patch their handles into the code,
//! load the programs.
//!
//! Programs are loaded with BTF, so that whatever prints them (the verifier's log, bpftool, perf)
//! can name their functions and show the user's own lines. It is not needed to run them: on a
//! kernel that refuses it, programs are loaded without.

mod line_info;

use bombus_isa::{Insn, Reg, opcode::pseudo};
use bombus_spec::{ObjectSpec, ProgramSpec, Reference};

use self::line_info::DebugInfo;
use crate::{AttachTo, Error, Kernel, MapFd, ProgFd, ProgLoad, Result, UpdateFlag};

/// What [`load`] made, by the indices of the specification.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The maps.
    pub maps: Vec<MapFd>,
    /// The programs.
    pub programs: Vec<ProgFd>,
}

/// Creates every map, stores its contents, and loads every program with line information.
///
/// Fails with the kernel's own error, or with `EINVAL` when a slot refers to a map or function
/// that the specification does not have.
pub fn load(kernel: &dyn Kernel, object: &ObjectSpec) -> Result<Loaded> {
    let mut loaded = Loaded::default();
    for spec in &object.maps {
        let map = kernel.map_create(spec)?;
        for (key, value) in &spec.contents {
            kernel.map_update(map, key, value, UpdateFlag::Any)?;
        }
        loaded.maps.push(map);
    }
    let code = object.programs.iter().map(|program| relocate(program, &loaded.maps));
    let code = code.collect::<Result<Vec<_>>>()?;
    let debug_info = DebugInfo::new(&object.programs);
    let btf = debug_info.blob().and_then(|blob| kernel.btf_load(&blob).ok());
    for (index, (program, insns)) in object.programs.iter().zip(&code).enumerate() {
        let info = debug_info.program(index).filter(|_| btf.is_some());
        loaded.programs.push(kernel.prog_load(&ProgLoad {
            name: &program.name,
            prog_type: program.prog_type,
            attach_type: program.attach_type,
            attach_to: program.attach_to.as_deref().map_or(AttachTo::Nothing, AttachTo::Kernel),
            insns,
            license: &program.license,
            btf: btf.filter(|_| info.is_some()),
            func_info: info.map_or(&[], |info| &info.funcs),
            line_info: info.map_or(&[], |info| &info.lines),
            ..ProgLoad::default()
        })?);
    }
    Ok(loaded)
}

/// The code with every reference replaced by what stands for it in this kernel.
fn relocate(program: &ProgramSpec, maps: &[MapFd]) -> Result<Vec<Insn>> {
    let mut insns: Vec<Insn> = program.insns.iter().map(|slot| slot.insn).collect();
    for (slot, spec) in program.insns.iter().enumerate() {
        let Some(reference) = spec.reference else { continue };
        let map = |index: u32| maps.get(index as usize).map(|map| map.0 as i32);
        // Source field, immediate of the first and of the second slot.
        let patch = match reference {
            Reference::Map(index) => map(index).map(|fd| (pseudo::MAP_FD, fd, 0)),
            Reference::MapValue { map: index, offset } => {
                map(index).map(|fd| (pseudo::MAP_VALUE, fd, offset as i32))
            }
            Reference::Function(index) => program.functions.get(index as usize).map(|function| {
                // The distance counts from the next slot, as a call's does.
                (pseudo::FUNC, (i64::from(function.start) - (slot as i64 + 1)) as i32, 0)
            }),
            Reference::Extern(_) => None,
        };
        // Externs are resolved before, against the kernel's types.
        match (patch, insns.get_mut(slot..slot + 2)) {
            (Some((src, low, high)), Some([first, second])) if first.is_wide() => {
                *first = Insn { src: Reg(src), imm: low, ..*first };
                second.imm = high;
            }
            _ => return Err(dangling(program, slot, reference)),
        }
    }
    Ok(insns)
}

fn dangling(program: &ProgramSpec, slot: usize, reference: Reference) -> Error {
    const EINVAL: i32 = 22;
    let what = match reference {
        Reference::Map(index) | Reference::MapValue { map: index, .. } => format!("map {index}"),
        Reference::Function(index) => format!("function {index}"),
        Reference::Extern(index) => format!("extern {index}"),
    };
    Error::Os {
        doing: format!("load program {}", program.name),
        errno: EINVAL,
        help: Some(format!("slot {slot} cannot refer to {what}")),
    }
}

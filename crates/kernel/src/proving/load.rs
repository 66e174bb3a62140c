//! What `BPF_PROG_LOAD` gets, as the verifier takes it: maps by their places, types, functions and
//! lines.

use std::collections::BTreeMap;
use std::sync::Arc;

use bombus_btf::{Btf, FuncInfo, LineInfo, TypeId};
use bombus_isa::Insn;
use bombus_isa::opcode::pseudo;
use bombus_spec::MapSpec;
use bombus_verifier::{AttachTarget, Map, MapTypes, Options, Program, Target, Verdict, verify};

use crate::{BtfFd, KernelVersion, MapFd, ProgLoad};

/// The licences that open what is only for GPL programs (`license_is_gpl_compatible`,
/// `include/linux/license.h`).
const GPL_COMPATIBLE: [&str; 6] =
    ["GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"];

/// What the handles in a load name.
pub trait Handles {
    /// A map, as the verifier sees it.
    fn map(&self, map: MapFd) -> Option<Arc<Map>>;
    /// Types that were loaded, or a module's.
    fn types(&self, types: BtfFd) -> Option<Arc<Btf>>;
}

/// The kernel that a program is proved for.
#[derive(Clone, Copy, Debug)]
pub struct Machine<'a> {
    /// Its version.
    pub version: KernelVersion,
    /// Its types.
    pub types: Option<&'a Btf>,
}

/// What the verifier says of a program that is about to be loaded, and the maps that the program
/// names: their places in this are what the verdict's proof names them by.
pub fn prove_load(
    load: &ProgLoad<'_>,
    attach_to: AttachTarget<'_>,
    machine: Machine<'_>,
    handles: &dyn Handles,
    options: &Options,
) -> (Verdict, Vec<MapFd>) {
    with_load(load, attach_to, machine, handles, |program, target| verify(program, target, options))
}

/// Has something done with a program as the verifier takes it.
pub(super) fn with_load<T>(
    load: &ProgLoad<'_>,
    attach_to: AttachTarget<'_>,
    machine: Machine<'_>,
    handles: &dyn Handles,
    then: impl FnOnce(&Program<'_>, &Target<'_>) -> T,
) -> (T, Vec<MapFd>) {
    let types = load.btf.and_then(|handle| handles.types(handle));
    let mut modules: Vec<BtfFd> = load.module_types.to_vec();
    let mut insns = load.insns.to_vec();
    let (maps, fds) = number(&mut insns, &mut modules, handles);
    let modules: Vec<Arc<Btf>> =
        modules.into_iter().filter_map(|handle| handles.types(handle)).collect();
    let modules: Vec<&Btf> = modules.iter().map(|types| &**types).collect();
    let functions: Vec<FuncInfo> = records(load.func_info).map(func_info).collect();
    let lines: Vec<LineInfo> = records(load.line_info).map(line_info).collect();
    let program = Program {
        name: load.name,
        insns: &insns,
        prog_type: load.prog_type,
        attach_type: load.attach_type,
        attach_to,
        flags: load.flags,
        gpl_compatible: GPL_COMPATIBLE.contains(&load.license),
        maps: &maps,
        btf: types.as_deref(),
        functions: &functions,
        lines: &lines,
    };
    let Machine { version, types: btf } = machine;
    let version = (version.major as u16, version.minor as u16);
    (then(&program, &Target { version, btf, modules: &modules }), fds)
}

/// A map as the verifier sees it. `inner` is one like those that it holds.
pub fn described_map(spec: &MapSpec, btf: Option<Arc<Btf>>, inner: Option<Arc<Map>>) -> Map {
    let (key, value) = (TypeId(spec.key_type), TypeId(spec.value_type));
    let types = btf.filter(|_| spec.key_type | spec.value_type != 0);
    Map {
        name: spec.name.clone(),
        map_type: spec.map_type,
        key_size: spec.key_size,
        value_size: spec.value_size,
        max_entries: spec.max_entries,
        flags: spec.flags,
        extra: spec.extra,
        types: types.map(|btf| MapTypes { btf, key, value }),
        inner,
        constant: None,
    }
}

/// Has the code name maps by their place in what this returns, and the modules of variables by
/// theirs in `modules`.
fn number(
    insns: &mut [Insn],
    modules: &mut Vec<BtfFd>,
    handles: &dyn Handles,
) -> (Vec<Arc<Map>>, Vec<MapFd>) {
    let mut places: BTreeMap<u32, usize> = BTreeMap::new();
    let (mut maps, mut fds) = (Vec::new(), Vec::new());
    let mut unknown = Vec::new();
    let mut slot = 0;
    while slot < insns.len() {
        let [insn, rest @ ..] = &mut insns[slot..] else { break };
        if !insn.is_wide() {
            slot += 1;
            continue;
        }
        match (insn.src.0, rest.first_mut()) {
            (pseudo::MAP_FD | pseudo::MAP_VALUE, _) => {
                let handle = insn.imm as u32;
                let place = places.get(&handle).copied().or_else(|| {
                    maps.push(handles.map(MapFd(handle))?);
                    fds.push(MapFd(handle));
                    places.insert(handle, maps.len() - 1);
                    Some(maps.len() - 1)
                });
                match place {
                    Some(place) => insn.imm = place as i32,
                    None => unknown.push(slot),
                }
            }
            (pseudo::BTF_ID, Some(second)) if second.imm != 0 => {
                let handle = BtfFd(second.imm as u32);
                let place = modules.iter().position(|&module| module == handle);
                let place = place.unwrap_or_else(|| {
                    modules.push(handle);
                    modules.len() - 1
                });
                second.imm = place as i32 + 1;
            }
            _ => {}
        }
        slot += 2;
    }
    // A number that names nothing must not name a map by chance.
    for slot in unknown {
        let insn = &mut insns[slot];
        if usize::try_from(insn.imm).is_ok_and(|place| place < maps.len()) {
            insn.imm = -1;
        }
    }
    (maps, fds)
}

/// What `struct bpf_func_info` and `struct bpf_line_info` are made of.
fn records<const WORDS: usize>(bytes: &[u8]) -> impl Iterator<Item = [u32; WORDS]> {
    bytes.chunks_exact(WORDS * 4).map(|record| {
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(record.chunks_exact(4)) {
            *word = bytes.try_into().map_or(0, u32::from_le_bytes);
        }
        words
    })
}

fn func_info([insn, func]: [u32; 2]) -> FuncInfo {
    FuncInfo { insn, func: TypeId(func) }
}

fn line_info([insn, file, text, place]: [u32; 4]) -> LineInfo {
    LineInfo { insn, file, text, line: place >> 10, column: place & 0x3ff }
}

#[cfg(test)]
mod tests {
    use bombus_isa::Reg;

    use super::*;

    struct Named;

    impl Handles for Named {
        fn map(&self, MapFd(map): MapFd) -> Option<Arc<Map>> {
            let name = ["a", "b", "c"].get(map.checked_sub(7)? as usize)?;
            let spec = MapSpec { name: (*name).into(), ..MapSpec::default() };
            Some(Arc::new(described_map(&spec, None, None)))
        }

        fn types(&self, _: BtfFd) -> Option<Arc<Btf>> {
            None
        }
    }

    #[test]
    fn maps_are_named_by_their_place_in_the_program() {
        let load = |map: u64| Insn::ld_imm64(Reg(1), pseudo::MAP_FD, map);
        let mut insns = [load(9), load(7), load(9), load(1), load(3)].concat();
        let (maps, fds) = number(&mut insns, &mut Vec::new(), &Named);
        let names: Vec<&str> = maps.iter().map(|map| map.name.as_str()).collect();
        assert_eq!(names, ["c", "a"]);
        assert_eq!(fds, [MapFd(9), MapFd(7)]);
        let places: Vec<i32> = insns.iter().step_by(2).map(|insn| insn.imm).collect();
        assert_eq!(places, [0, 1, 0, -1, 3]);
    }

    #[test]
    fn records_of_functions_and_lines() {
        let function = FuncInfo { insn: 3, func: TypeId(7) };
        let read: Vec<FuncInfo> = records(&function.to_bytes()).map(func_info).collect();
        assert_eq!(read, [function]);
        let line = LineInfo { insn: 3, file: 1, text: 9, line: 77, column: 5 };
        let read: Vec<LineInfo> = records(&line.to_bytes()).map(line_info).collect();
        assert_eq!(read, [line]);
    }
}

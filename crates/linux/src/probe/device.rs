//! What a network device can run by itself (offload).

use bombus_isa::Insn;
use bombus_platform::{MapType, ProgType};

use super::programs::{REFUSALS, explained, try_load};
use crate::Linux;
use crate::sys::map::{Map, MapAttr};
use crate::sys::prog::ProgAttr;

/// Whether a program of this type can be loaded for the device; 0: for the kernel.
pub fn loads(linux: &Linux, prog_type: ProgType, insns: &[Insn], ifindex: u32) -> bool {
    // No log: that of a long program would not fit.
    try_load(linux, &attributes(prog_type, ifindex), insns, &mut []).is_ok()
}

/// Whether the device's programs of this type may call a helper: the device does not say no.
pub fn helper(linux: &Linux, prog_type: ProgType, id: u32, ifindex: u32) -> bool {
    let call = [Insn::call_helper(id as i32), Insn::exit()];
    match explained(linux, &attributes(prog_type, ifindex), &call) {
        Ok(_) => true,
        Err((_, log)) => !REFUSALS.iter().any(|refusal| log.contains(refusal)),
    }
}

/// Whether a map of this type can be on the device.
pub fn map_type(linux: &Linux, map_type: MapType, ifindex: u32) -> bool {
    let attr = MapAttr {
        map_type: map_type as u32,
        key_size: 4,
        value_size: 4,
        max_entries: 1,
        ifindex,
        ..MapAttr::default()
    };
    linux.permitted(|token| Map::create(&MapAttr { token, ..attr }, 1)).is_ok()
}

fn attributes(prog_type: ProgType, ifindex: u32) -> ProgAttr<'static> {
    ProgAttr { prog_type: prog_type as u32, ifindex, ..ProgAttr::default() }
}

//! What comes before a program is loaded: the verifier proves it safe, or says why not.

use std::sync::Arc;

use bombus_btf::Btf;
use bombus_isa::{Insn, Op};
use bombus_kernel::{
    AttachTo, BtfFd, Error, Handles, KernelVersion, Machine, MapFd, ProgLoad, Result, hook_type,
    prove_load,
};
use bombus_platform::{HELPER_NAMES, Helper};
use bombus_verifier::{AttachTarget, Map, Memory, Options, Proof};
use bombus_vm::Known;

use crate::core::Core;
use crate::kernel::index;
use crate::run::is_supported;

/// Everything that the engines can do: what programs may do is that of the newest kernel.
const NEWEST: KernelVersion = KernelVersion { major: 7, minor: 3, patch: 0 };

impl Handles for Core {
    fn map(&self, map: MapFd) -> Option<Arc<Map>> {
        Some(self.maps.get(index(map.0)?)?.described())
    }

    fn types(&self, types: BtfFd) -> Option<Arc<Btf>> {
        Core::types(self, types).cloned()
    }
}

/// Proves a program; gives what is known of each slot. What is told of a refusal is the kernel's log.
pub(crate) fn prove(load: &ProgLoad<'_>, core: &Core, types: Option<&Btf>) -> Result<Vec<Known>> {
    let machine = Machine { version: NEWEST, types };
    let attach = attach_target(load, types);
    let verify = |log_level| {
        let options = Options { log_level, ..Options::default() };
        prove_load(load, attach, machine, core, &options)
    };
    // A log takes time, and most programs are accepted.
    let (mut verdict, maps) = verify(0);
    if verdict.result.is_err() {
        verdict = verify(load.log_level.max(1)).0;
    }
    match verdict.result {
        Ok(()) => Ok(known(&verdict.proof, load.insns.len(), &maps)),
        Err(rejection) => Err(Error::Rejected {
            program: load.name.to_owned(),
            errno: rejection.errno,
            log: verdict.log,
        }),
    }
}

/// What the verifier says of each slot, in the engine's terms.
fn known(proof: &Proof, slots: usize, maps: &[MapFd]) -> Vec<Known> {
    let table = |place: usize| maps.get(place).and_then(|map| index(map.0));
    let element = |place: usize| table(place).map(Known::Element);
    let elements = |places: u64| {
        let bits = (0..64).filter(|place| places & 1 << place != 0);
        let tables = bits.map(|place| 1_u64.checked_shl(u32::try_from(table(place)?).ok()?));
        let union = tables.reduce(|all, table| Some(all? | table?));
        union.flatten().map(Known::Elements)
    };
    let known = |slot: usize| {
        let known = proof.at(slot);
        match known.memory {
            _ if !known.is_reached => Known::Unreached,
            Some(Memory::Stack) => Known::Frame,
            Some(Memory::Packet) => Known::Subject,
            Some(Memory::MapValue(place)) => element(place).unwrap_or_default(),
            Some(Memory::MapValues(places)) => elements(places).unwrap_or_default(),
            Some(Memory::Other) | None => Known::Nothing,
        }
    };
    (0..slots).map(known).collect()
}

/// What a program attaches to by its type, if these types have it.
fn attach_target<'t>(load: &ProgLoad<'_>, types: Option<&'t Btf>) -> AttachTarget<'t> {
    let (AttachTo::Kernel(symbol), Some(btf)) = (load.attach_to, types) else {
        return AttachTarget::Nothing;
    };
    let (kind, name) = hook_type(load.attach_type, symbol);
    let id = btf.find(kind, &name);
    id.map_or(AttachTarget::Nothing, |id| AttachTarget::Kernel { btf, id, member: 0 })
}

/// That there is what a program calls.
pub(crate) fn check_helpers(insns: &[Insn]) -> Result<()> {
    let missing = bombus_isa::ops(insns).find_map(|(_, op)| match op {
        Ok(Op::CallHelper { id }) if !Helper::from_id(id).is_some_and(is_supported) => {
            usize::try_from(id).ok().filter(|&id| id != 0).and_then(|id| HELPER_NAMES.get(id))
        }
        _ => None,
    });
    missing.map_or(Ok(()), |name| {
        Err(Error::Unsupported {
            what: format!("the embedded kernel has no helper bpf_{name}"),
            help: Some("with root privileges, --kernel linux has it".into()),
        })
    })
}

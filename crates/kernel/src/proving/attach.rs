//! What a program attaches to by its type.

use std::sync::Arc;

use bombus_btf::{Btf, Kind, TypeId};
use bombus_platform::AttachType;

use crate::{AttachTo, Error, ProgLoad, Result};

use super::{Attached, Prover};

const EBADF: i32 = 9;
const EINVAL: i32 = 22;
const ENOENT: i32 = 2;
/// What libbpf fails with when there is no such function.
const ESRCH: i32 = 3;

impl Prover<'_> {
    pub(super) fn attach_target(&self, load: &ProgLoad<'_>) -> Result<Attached> {
        match load.attach_to {
            AttachTo::Nothing => Ok(Attached::Nothing),
            AttachTo::Kernel(symbol) => self.kernel_symbol_type(load.attach_type, symbol),
            AttachTo::Member { structure, member, module } => {
                let types = match module {
                    Some(handle) => self.types(handle),
                    None => self.machine.types.clone(),
                };
                let types =
                    types.ok_or_else(|| failed("find the structure of callbacks", EBADF))?;
                Ok(Attached::Kernel { types, id: TypeId(structure), member })
            }
            AttachTo::Program(program, function) => {
                let state = self.state.borrow();
                let target = state.programs.get(program.0 as usize);
                let target = target.ok_or_else(|| failed("find the program to replace", EBADF))?;
                let types = target.types.clone();
                let types = types.ok_or_else(|| failed("find the types of a program", EINVAL))?;
                let id = types.find(Kind::Func, function);
                let id = id.ok_or_else(|| failed(&format!("find function {function}"), ENOENT))?;
                Ok(Attached::Program { types, id, prog_type: target.prog_type })
            }
        }
    }

    /// The type of a kernel function, hook, tracepoint or iterator; `module:name` if it has to be
    /// that module's.
    fn kernel_symbol_type(&self, attach_type: AttachType, symbol: &str) -> Result<Attached> {
        let (module, plain) = match symbol.split_once(':') {
            Some((module, plain)) => (Some(module), plain),
            None => (None, symbol),
        };
        let (kind, name) = hook_type(attach_type, plain);
        let kernel = self.machine.types.iter().map(|types| ("vmlinux", types));
        let modules = self.machine.modules.iter().map(|(name, types)| (name.as_str(), types));
        let mut places =
            kernel.chain(modules).filter(|(place, _)| module.is_none_or(|module| module == *place));
        let found = places.find_map(|(_, types)| own(types, kind, &name));
        let (types, id) = found.ok_or_else(|| failed(&format!("find {name}"), ESRCH))?;
        Ok(Attached::Kernel { types, id, member: 0 })
    }
}

/// What kind of type a kernel function, hook, tracepoint or iterator is by, and its name
/// (`include/trace/bpf_probe.h`, `include/linux/bpf_lsm.h`, `DEFINE_BPF_ITER_FUNC`).
pub fn hook_type(attach_type: AttachType, symbol: &str) -> (Kind, String) {
    let (kind, prefix) = match attach_type {
        AttachType::TraceRawTp => (Kind::Typedef, "btf_trace_"),
        AttachType::LsmMac | AttachType::LsmCgroup => (Kind::Func, "bpf_lsm_"),
        AttachType::TraceIter => (Kind::Func, "bpf_iter_"),
        _ => (Kind::Func, ""),
    };
    (kind, format!("{prefix}{symbol}"))
}

/// The type, when it is not one of those that these types go on from.
fn own(types: &Arc<Btf>, kind: Kind, name: &str) -> Option<(Arc<Btf>, TypeId)> {
    let id = types.find(kind, name).filter(|id| *id >= types.first_id())?;
    Some((types.clone(), id))
}

fn failed(what: &str, errno: i32) -> Error {
    Error::os(what, errno)
}

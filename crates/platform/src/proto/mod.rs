//! The prototypes of helpers, and which program has which (Linux 7.3: the kernel's
//! `struct bpf_func_proto` and its `*_func_proto` functions).
//!
//! One row a prototype (`basic`, `tracing`, `packets`, `sockets`); a helper has more than
//! one where programs of different types give it different things. `sets` says who has which.
//! What depends on how the kernel was built is taken as built in.

mod basic;
mod callers;
mod kinds;
mod lookup;
mod packets;
mod row;
mod sets;
mod sockets;
mod tracing;

pub use callers::{Caller, Capabilities, Capability};
pub use kinds::{Arg, ArgKind, DynptrKind, ProtoFlags, Ret, RetKind, TypeFlags};
pub(crate) use lookup::may_call;
pub use lookup::{needs, proto, proto_for};

use crate::{HELPER_NAMES, MapType};

/// A prototype of a helper.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Proto {
    /// The helper's number.
    pub helper: u32,
    /// What it takes: as many as there are (`bpf_trace_printk` reads three more, unchecked).
    pub args: &'static [Arg],
    /// What it gives.
    pub ret: Ret,
    /// What is said of it as a whole.
    pub flags: ProtoFlags,
}

impl Proto {
    /// The name, without `bpf_`.
    pub fn name(&self) -> &'static str {
        HELPER_NAMES[self.helper as usize]
    }

    /// Whether `flags` are set.
    pub const fn has(&self, flags: ProtoFlags) -> bool {
        self.flags.has(flags)
    }

    /// Whether what it gives has to be released, when it works on a map of this type
    /// (`is_acquire_function`, `kernel/bpf/verifier.c`).
    pub fn acquires(&self, map: Option<MapType>) -> bool {
        const SOCKETS: [Option<MapType>; 2] = [Some(MapType::Sockmap), Some(MapType::Sockhash)];
        self.has(ProtoFlags::ACQUIRES) || *self == basic::MAP_LOOKUP_ELEM && SOCKETS.contains(&map)
    }

    /// The argument, counted from 0, that the call takes over.
    pub fn releases(&self) -> Option<usize> {
        self.args.iter().position(|arg| arg.flags.has(TypeFlags::RELEASE))
    }
}

/// Every prototype.
pub fn protos() -> impl Iterator<Item = &'static Proto> {
    ALL.iter().flat_map(|list| list.iter())
}

const ALL: [&[Proto]; 4] = [basic::BASIC, tracing::TRACING, packets::PACKETS, sockets::SOCKETS];

/// The prototype of the helper with this number that most programs have.
pub(crate) const fn usual(helper: u32) -> Option<&'static Proto> {
    let mut list = 0;
    while list < ALL.len() {
        let mut row = 0;
        while row < ALL[list].len() {
            if ALL[list][row].helper == helper {
                return Some(&ALL[list][row]);
            }
            row += 1;
        }
        list += 1;
    }
    None
}

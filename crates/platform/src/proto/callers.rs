//! Who calls a helper.

use crate::{AttachType, ProgType};

/// A privilege without which a helper is not there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Capability {
    /// None: unprivileged programs have it, too.
    None,
    /// `CAP_BPF`.
    Bpf,
    /// `CAP_PERFMON`.
    Perfmon,
    /// `CAP_SYS_ADMIN`.
    SysAdmin,
}

/// The privileges of who loads a program.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Capabilities {
    /// `CAP_BPF`.
    pub bpf: bool,
    /// `CAP_PERFMON`.
    pub perfmon: bool,
    /// `CAP_SYS_ADMIN`.
    pub sys_admin: bool,
}

impl Capabilities {
    /// Every one.
    pub const ALL: Capabilities = Capabilities { bpf: true, perfmon: true, sys_admin: true };
    /// None.
    pub const NONE: Capabilities = Capabilities { bpf: false, perfmon: false, sys_admin: false };

    /// Whether this one is among them. `CAP_SYS_ADMIN` implies the others.
    pub const fn has(self, capability: Capability) -> bool {
        match capability {
            Capability::None => true,
            Capability::Bpf => self.bpf || self.sys_admin,
            Capability::Perfmon => self.perfmon || self.sys_admin,
            Capability::SysAdmin => self.sys_admin,
        }
    }
}

/// A program, as far as it matters for what it may call.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Caller<'a> {
    /// Its type; for one that replaces another program's function ([`ProgType::Ext`]), the type of
    /// that program.
    pub prog_type: ProgType,
    /// Its expected attach type.
    pub attach_type: AttachType,
    /// The function that it attaches to: `bpf_lsm_file_open`, `bpf_iter_tcp`, `vfs_read`; of a
    /// structure of kernel callbacks, the structure and the member:
    /// `tcp_congestion_ops.release`.
    pub target: Option<&'a str>,
    /// Whether it may sleep.
    pub sleepable: bool,
    /// The privileges of who loads it.
    pub capabilities: Capabilities,
}

impl Caller<'_> {
    /// A program of this type, with every privilege, that does not sleep, at nothing in particular.
    pub const fn new(prog_type: ProgType, attach_type: AttachType) -> Caller<'static> {
        Caller {
            prog_type,
            attach_type,
            target: None,
            sleepable: false,
            capabilities: Capabilities::ALL,
        }
    }
}

//! The contexts of programs: what the kernel calls them, and what programs may do with them (the
//! `*_is_valid_access` functions of Linux 7.3).
//!
//! Most are structures with a row a field ([`packets`], [`cgroups`], [`sockets`]); those of tracing
//! are ranges of bytes, or arguments whose types are in BTF.

mod access;
mod cgroups;
mod fields;
mod packets;
mod sockets;

pub use access::{
    ContextAccess, ContextUse, SocketKind, context_access, context_is_rewritten, context_rows,
    socket_access,
};
pub use fields::{Access, ContextField, ContextValue, FieldSize};
pub use packets::{SK_BUFF_SIZE, XDP_MD_SIZE};

use crate::ProgType;

/// The structure (for probes the typedef) that the verifier takes for the context of such a
/// program, by its name, when a global function has a pointer to it as its argument
/// (`btf_validate_prog_ctx_type`, `kernel/bpf/btf.c`); `None` where the type has no name for it.
pub const fn context_struct(prog_type: ProgType) -> Option<&'static str> {
    Some(match prog_type {
        ProgType::CgroupDevice => "bpf_cgroup_dev_ctx",
        ProgType::CgroupSock => "bpf_sock",
        ProgType::CgroupSockAddr => "bpf_sock_addr",
        ProgType::CgroupSockopt => "bpf_sockopt",
        ProgType::CgroupSysctl => "bpf_sysctl",
        ProgType::CgroupSkb
        | ProgType::FlowDissector
        | ProgType::LwtIn
        | ProgType::LwtOut
        | ProgType::LwtSeg6local
        | ProgType::LwtXmit
        | ProgType::SchedAct
        | ProgType::SchedCls
        | ProgType::SkSkb
        | ProgType::SocketFilter => "__sk_buff",
        ProgType::Kprobe => "bpf_user_pt_regs_t",
        ProgType::Netfilter => "bpf_nf_ctx",
        ProgType::PerfEvent => "bpf_perf_event_data",
        ProgType::RawTracepoint | ProgType::RawTracepointWritable => "bpf_raw_tracepoint_args",
        ProgType::SkLookup => "bpf_sk_lookup",
        ProgType::SkMsg => "sk_msg_md",
        ProgType::SkReuseport => "sk_reuseport_md",
        ProgType::SockOps => "bpf_sock_ops",
        ProgType::Xdp => "xdp_md",
        _ => return None,
    })
}

/// The structure that the kernel itself has where the program has its context
/// (`include/linux/bpf_types.h`): what `bpf_cast_to_kern_ctx` gives. `None` where it is no structure.
pub const fn context_kernel_struct(prog_type: ProgType) -> Option<&'static str> {
    Some(match prog_type {
        ProgType::SocketFilter
        | ProgType::SchedCls
        | ProgType::SchedAct
        | ProgType::CgroupSkb
        | ProgType::LwtIn
        | ProgType::LwtOut
        | ProgType::LwtXmit
        | ProgType::LwtSeg6local
        | ProgType::SkSkb => "sk_buff",
        ProgType::Xdp => "xdp_buff",
        ProgType::CgroupSock => "sock",
        ProgType::CgroupSockAddr => "bpf_sock_addr_kern",
        ProgType::SockOps => "bpf_sock_ops_kern",
        ProgType::SkMsg => "sk_msg",
        ProgType::FlowDissector => "bpf_flow_dissector",
        ProgType::Kprobe => "pt_regs",
        ProgType::PerfEvent => "bpf_perf_event_data_kern",
        ProgType::CgroupDevice => "bpf_cgroup_dev_ctx",
        ProgType::CgroupSysctl => "bpf_sysctl_kern",
        ProgType::CgroupSockopt => "bpf_sockopt_kern",
        ProgType::SkReuseport => "sk_reuseport_kern",
        ProgType::SkLookup => "bpf_sk_lookup_kern",
        ProgType::Netfilter => "bpf_nf_ctx",
        _ => return None,
    })
}

/// The fields of the context of a type of program over packets, without those that are pointers to
/// objects of the kernel or tell of the packet's socket; none for other types.
pub const fn context_fields(prog_type: ProgType) -> &'static [ContextField] {
    match prog_type {
        ProgType::Xdp
        | ProgType::SchedCls
        | ProgType::SchedAct
        | ProgType::SocketFilter
        | ProgType::LwtIn
        | ProgType::LwtOut
        | ProgType::LwtXmit
        | ProgType::CgroupSkb => match access::layout(prog_type) {
            access::Layout::Fields { fields, .. } => fields,
            _ => &[],
        },
        _ => &[],
    }
}

/// Whether programs of a type are run over packets.
pub const fn takes_packets(prog_type: ProgType) -> bool {
    !context_fields(prog_type).is_empty()
}

//! What the kernel calls the context of each type of program.

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

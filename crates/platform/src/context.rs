//! The contexts of programs: what the kernel calls them, and the fields of those of packets.

use crate::ProgType;
use crate::text::is_same;

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

/// What a program may do with a field of its context.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Read it.
    Read,
    /// Read and write it.
    Write,
}

/// A field of a context.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ContextField {
    /// The name in C.
    pub name: &'static str,
    /// Bytes from the context's start.
    pub offset: u16,
    /// Bytes.
    pub size: u16,
    /// What programs may do.
    pub access: Access,
}

const fn field(name: &'static str, offset: u16, size: u16, access: Access) -> ContextField {
    ContextField { name, offset, size, access }
}

/// Bytes of `struct xdp_md`.
pub const XDP_MD_SIZE: usize = 24;
/// Bytes of `struct __sk_buff`.
pub const SK_BUFF_SIZE: usize = 192;

/// `struct xdp_md` (`include/uapi/linux/bpf.h`). `rx_queue_index` may be written by offloaded
/// programs alone, the egress device is for programs in maps of devices.
const XDP_MD: &[ContextField] = &[
    field("data", 0, 4, Access::Read),
    field("data_end", 4, 4, Access::Read),
    field("data_meta", 8, 4, Access::Read),
    field("ingress_ifindex", 12, 4, Access::Read),
    field("rx_queue_index", 16, 4, Access::Read),
];

macro_rules! sk_buff {
    ($name:ident: $doc:literal, $($field:ident $access:ident),* $(,)?) => {
        #[doc = $doc]
        const $name: &[ContextField] = &[$(field(
            stringify!($field),
            sk_buff_field(stringify!($field)).0,
            sk_buff_field(stringify!($field)).1,
            Access::$access,
        )),*];
    };
}

/// Offset and size of a field of `struct __sk_buff` (`include/uapi/linux/bpf.h`).
const fn sk_buff_field(name: &str) -> (u16, u16) {
    const FIELDS: &[(&str, u16, u16)] = &[
        ("len", 0, 4),
        ("pkt_type", 4, 4),
        ("mark", 8, 4),
        ("queue_mapping", 12, 4),
        ("protocol", 16, 4),
        ("vlan_present", 20, 4),
        ("vlan_tci", 24, 4),
        ("vlan_proto", 28, 4),
        ("priority", 32, 4),
        ("ingress_ifindex", 36, 4),
        ("ifindex", 40, 4),
        ("tc_index", 44, 4),
        ("cb", 48, 20),
        ("hash", 68, 4),
        ("tc_classid", 72, 4),
        ("data", 76, 4),
        ("data_end", 80, 4),
        ("napi_id", 84, 4),
        ("data_meta", 140, 4),
        ("tstamp", 152, 8),
        ("wire_len", 160, 4),
        ("gso_segs", 164, 4),
        ("gso_size", 176, 4),
        ("tstamp_type", 180, 1),
        ("hwtstamp", 184, 8),
    ];
    let mut index = 0;
    while index < FIELDS.len() {
        let (field, offset, size) = FIELDS[index];
        if is_same(field, name) {
            return (offset, size);
        }
        index += 1;
    }
    panic!("no such field")
}

sk_buff! {
    TRAFFIC_CONTROL: "`tc_cls_act_is_valid_access` (`net/core/filter.c`).",
    len Read, pkt_type Read, mark Write, queue_mapping Write, protocol Read, vlan_present Read,
    vlan_tci Read, vlan_proto Read, priority Write, ingress_ifindex Read, ifindex Read,
    tc_index Write, cb Write, hash Read, tc_classid Write, data Read, data_end Read, napi_id Read,
    data_meta Read, tstamp Write, wire_len Read, gso_segs Read, gso_size Read, tstamp_type Read,
    hwtstamp Read,
}

sk_buff! {
    SOCKET_FILTER: "`sk_filter_is_valid_access`.",
    len Read, pkt_type Read, mark Read, queue_mapping Read, protocol Read, vlan_present Read,
    vlan_tci Read, vlan_proto Read, priority Read, ingress_ifindex Read, ifindex Read,
    tc_index Read, cb Write, hash Read, napi_id Read, gso_segs Read, gso_size Read,
}

sk_buff! {
    CGROUP: "`cg_skb_is_valid_access`.",
    len Read, pkt_type Read, mark Write, queue_mapping Read, protocol Read, vlan_present Read,
    vlan_tci Read, vlan_proto Read, priority Write, ingress_ifindex Read, ifindex Read,
    tc_index Read, cb Write, hash Read, data Read, data_end Read, napi_id Read, tstamp Write,
    gso_segs Read, gso_size Read, hwtstamp Read,
}

/// The fields of the context of a type of program over packets, without those that are pointers to
/// objects of the kernel; none for other types.
pub const fn context_fields(prog_type: ProgType) -> &'static [ContextField] {
    match prog_type {
        ProgType::Xdp => XDP_MD,
        ProgType::SchedCls | ProgType::SchedAct => TRAFFIC_CONTROL,
        ProgType::SocketFilter => SOCKET_FILTER,
        ProgType::CgroupSkb => CGROUP,
        _ => &[],
    }
}

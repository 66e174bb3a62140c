//! Contexts of programs over packets: `struct __sk_buff`, `struct xdp_md`, `struct sk_msg_md`,
//! `struct sk_reuseport_md`, `struct bpf_nf_ctx` (`include/uapi/linux/bpf.h`).

use super::fields::{ContextField, ContextValue, FieldSize, exact, narrow};
use crate::AttachType;
use crate::proto::Capability;
use crate::text::is_same;

/// Bytes of `struct xdp_md`.
pub const XDP_MD_SIZE: usize = 24;
/// Bytes of `struct __sk_buff`.
pub const SK_BUFF_SIZE: usize = 192;

/// `xdp_is_valid_access` (`net/core/filter.c`). `rx_queue_index` may be written by offloaded programs
/// alone.
pub(super) const XDP_MD: &[ContextField] = &[
    exact("data", 0, 4).gives(ContextValue::Packet),
    exact("data_end", 4, 4).gives(ContextValue::PacketEnd),
    exact("data_meta", 8, 4).gives(ContextValue::PacketMeta),
    exact("ingress_ifindex", 12, 4),
    exact("rx_queue_index", 16, 4),
];

/// Of programs in maps of devices.
pub(super) const XDP_EGRESS: &[ContextField] =
    &[exact("egress_ifindex", 20, 4).at(&[AttachType::XdpDevmap])];

/// A field of `struct __sk_buff`, as `bpf_skb_is_valid_access` has it.
const fn sk_buff_field(name: &str) -> ContextField {
    const FIELDS: &[ContextField] = &[
        narrow("len", 0, 4),
        narrow("pkt_type", 4, 4),
        narrow("mark", 8, 4),
        narrow("queue_mapping", 12, 4),
        narrow("protocol", 16, 4),
        narrow("vlan_present", 20, 4),
        narrow("vlan_tci", 24, 4),
        narrow("vlan_proto", 28, 4),
        narrow("priority", 32, 4),
        narrow("ingress_ifindex", 36, 4),
        narrow("ifindex", 40, 4),
        narrow("tc_index", 44, 4),
        narrow("cb", 48, 20).at_once(FieldSize::Bytes),
        narrow("hash", 68, 4),
        narrow("tc_classid", 72, 4),
        exact("data", 76, 4).gives(ContextValue::Packet),
        exact("data_end", 80, 4).gives(ContextValue::PacketEnd),
        narrow("napi_id", 84, 4),
        narrow("family", 88, 4),
        exact("remote_ip4", 92, 4),
        exact("local_ip4", 96, 4),
        exact("remote_ip6", 100, 16),
        exact("local_ip6", 116, 16),
        narrow("remote_port", 132, 4),
        narrow("local_port", 136, 4),
        exact("data_meta", 140, 4).gives(ContextValue::PacketMeta),
        exact("flow_keys", 144, 8).gives(ContextValue::FlowKeys),
        exact("tstamp", 152, 8),
        narrow("wire_len", 160, 4),
        narrow("gso_segs", 164, 4),
        exact("sk", 168, 8).gives(ContextValue::SockCommonOrNull),
        narrow("gso_size", 176, 4),
        exact("tstamp_type", 180, 1),
        exact("hwtstamp", 184, 8),
    ];
    let mut index = 0;
    while index < FIELDS.len() {
        if is_same(FIELDS[index].name, name) {
            return FIELDS[index];
        }
        index += 1;
    }
    panic!("no such field")
}

macro_rules! sk_buff {
    ($name:ident: $doc:literal, $($field:ident $(. $how:ident($($arg:expr),*))*),* $(,)?) => {
        #[doc = $doc]
        pub(super) const $name: &[ContextField] = &[$(
            sk_buff_field(stringify!($field))$(.$how($($arg),*))*
        ),*];
    };
}

sk_buff! {
    TRAFFIC_CONTROL: "`tc_cls_act_is_valid_access` (`net/core/filter.c`).",
    len, pkt_type, mark.writable(), queue_mapping.writable(), protocol, vlan_present, vlan_tci,
    vlan_proto, priority.writable(), ingress_ifindex, ifindex, tc_index.writable(), cb.writable(),
    hash, tc_classid.writable(), data, data_end, napi_id, data_meta, tstamp.writable(), wire_len,
    gso_segs, gso_size, tstamp_type, hwtstamp,
}

sk_buff! {
    SOCKET_FILTER: "`sk_filter_is_valid_access`.",
    len, pkt_type, mark, queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto, priority,
    ingress_ifindex, ifindex, tc_index, cb.writable(), hash, napi_id, gso_segs, gso_size,
}

sk_buff! {
    CGROUP: "`cg_skb_is_valid_access`.",
    len, pkt_type, mark.writable(), queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto,
    priority.writable(), ingress_ifindex, ifindex, tc_index, cb.writable(), hash,
    data.needs(Capability::Bpf), data_end.needs(Capability::Bpf), napi_id,
    tstamp.writable_with(Capability::Bpf), gso_segs, gso_size, hwtstamp,
}

sk_buff! {
    TUNNEL: "`lwt_is_valid_access`.",
    len, pkt_type, mark.writable(), queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto,
    priority.writable(), ingress_ifindex, ifindex, tc_index, cb.writable(), hash, data, data_end,
    napi_id, gso_segs, gso_size,
}

sk_buff! {
    SK_SKB: "`sk_skb_is_valid_access`.",
    len, pkt_type, queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto,
    priority.writable(), ingress_ifindex, ifindex, tc_index.writable(), cb, hash, data, data_end,
    napi_id, gso_segs, gso_size,
}

sk_buff! {
    FLOW_DISSECTOR: "`flow_dissector_is_valid_access`.",
    data, data_end, flow_keys,
}

sk_buff! {
    SOCKET: "The packet's socket.",
    sk,
}

sk_buff! {
    SOCKET_ADDRESSES: "The packet's socket, and whom it connects.",
    sk, family, remote_ip4, local_ip4, remote_ip6, local_ip6, remote_port, local_port,
}

/// `sk_msg_is_valid_access`.
pub(super) const SK_MSG: &[ContextField] = &[
    exact("data", 0, 8).gives(ContextValue::Packet),
    exact("data_end", 8, 8).gives(ContextValue::PacketEnd),
    exact("family", 16, 4),
    exact("remote_ip4", 20, 4),
    exact("local_ip4", 24, 4),
    exact("remote_ip6", 28, 16),
    exact("local_ip6", 44, 16),
    exact("remote_port", 60, 4),
    exact("local_port", 64, 4),
    exact("size", 68, 4),
    exact("sk", 72, 8).gives(ContextValue::Socket),
];

/// `sk_reuseport_is_valid_access`. The kernel keeps `eth_protocol` in two bytes and gives no part of
/// them.
pub(super) const SK_REUSEPORT: &[ContextField] = &[
    exact("data", 0, 8).gives(ContextValue::Packet),
    exact("data_end", 8, 8).gives(ContextValue::PacketEnd),
    narrow("len", 16, 4),
    narrow("eth_protocol", 20, 4).at_once(FieldSize::Narrow { whole: 4, min: 2 }),
    narrow("ip_protocol", 24, 4),
    narrow("bind_inany", 28, 4),
    exact("hash", 32, 4),
    exact("sk", 40, 8).gives(ContextValue::Socket),
    exact("migrating_sk", 48, 8).gives(ContextValue::SockCommonOrNull),
];

/// `nf_is_valid_access` (`net/netfilter/nf_bpf_link.c`).
pub(super) const NETFILTER: &[ContextField] = &[
    exact("state", 0, 8).gives(ContextValue::TrustedBtfId("nf_hook_state")),
    exact("skb", 8, 8).gives(ContextValue::TrustedBtfId("sk_buff")),
];

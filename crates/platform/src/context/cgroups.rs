//! Contexts of programs in cgroups: addresses, events of connections, options, sysctl files, devices
//! (`include/uapi/linux/bpf.h`).

use super::fields::{ContextField, ContextValue, FieldSize, exact, narrow};
use crate::AttachType::{self, *};

/// With these, the address is one of IPv4.
const IP4: &[AttachType] = &[
    CgroupInet4Bind,
    CgroupInet4Connect,
    CgroupInet4Getpeername,
    CgroupInet4Getsockname,
    CgroupUdp4Sendmsg,
    CgroupUdp4Recvmsg,
];

/// With these, one of IPv6.
const IP6: &[AttachType] = &[
    CgroupInet6Bind,
    CgroupInet6Connect,
    CgroupInet6Getpeername,
    CgroupInet6Getsockname,
    CgroupUdp6Sendmsg,
    CgroupUdp6Recvmsg,
];

/// `sock_addr_is_valid_access` (`net/core/filter.c`).
pub(super) const SOCK_ADDR: &[ContextField] = &[
    exact("user_family", 0, 4),
    narrow("user_ip4", 4, 4).at(IP4).writable(),
    narrow("user_ip6", 8, 16).at_once(FieldSize::NarrowOrWide).at(IP6).writable(),
    narrow("user_port", 24, 4).writable(),
    exact("family", 28, 4),
    exact("type", 32, 4),
    exact("protocol", 36, 4),
    narrow("msg_src_ip4", 40, 4).at(&[CgroupUdp4Sendmsg]).writable(),
    narrow("msg_src_ip6", 44, 16)
        .at_once(FieldSize::NarrowOrWide)
        .at(&[CgroupUdp6Sendmsg])
        .writable(),
    exact("sk", 64, 8).gives(ContextValue::Socket),
];

/// `sock_ops_is_valid_access`.
pub(super) const SOCK_OPS: &[ContextField] = &[
    exact("op", 0, 4),
    exact("reply", 4, 4).writable(),
    exact("args", 8, 12),
    exact("family", 20, 4),
    exact("remote_ip4", 24, 4),
    exact("local_ip4", 28, 4),
    exact("remote_ip6", 32, 16),
    exact("local_ip6", 48, 16),
    exact("remote_port", 64, 4),
    exact("local_port", 68, 4),
    exact("is_fullsock", 72, 4),
    exact("snd_cwnd", 76, 4),
    exact("srtt_us", 80, 4),
    exact("bpf_sock_ops_cb_flags", 84, 4),
    exact("state", 88, 4),
    exact("rtt_min", 92, 4),
    exact("snd_ssthresh", 96, 4),
    exact("rcv_nxt", 100, 4),
    exact("snd_nxt", 104, 4),
    exact("snd_una", 108, 4),
    exact("mss_cache", 112, 4),
    exact("ecn_flags", 116, 4),
    exact("rate_delivered", 120, 4),
    exact("rate_interval_us", 124, 4),
    exact("packets_out", 128, 4),
    exact("retrans_out", 132, 4),
    exact("total_retrans", 136, 4),
    exact("segs_in", 140, 4),
    exact("data_segs_in", 144, 4),
    exact("segs_out", 148, 4),
    exact("data_segs_out", 152, 4),
    exact("lost_out", 156, 4),
    exact("sacked_out", 160, 4),
    exact("sk_txhash", 164, 4).writable(),
    exact("bytes_received", 168, 8),
    exact("bytes_acked", 176, 8),
    exact("sk", 184, 8).gives(ContextValue::SocketOrNull),
    exact("skb_data", 192, 8).gives(ContextValue::Packet),
    exact("skb_data_end", 200, 8).gives(ContextValue::PacketEnd),
    exact("skb_len", 208, 4),
    narrow("skb_tcp_flags", 212, 4).at_once(FieldSize::NarrowAtStart(4)),
    exact("skb_hwtstamp", 216, 8),
];

/// `cg_sockopt_is_valid_access` (`kernel/bpf/cgroup.c`).
pub(super) const SOCKOPT: &[ContextField] = &[
    exact("sk", 0, 8).gives(ContextValue::Socket),
    exact("optval", 8, 8).gives(ContextValue::Packet),
    exact("optval_end", 16, 8).gives(ContextValue::PacketEnd),
    exact("level", 24, 4).writable_at(&[CgroupSetsockopt]),
    exact("optname", 28, 4).writable_at(&[CgroupSetsockopt]),
    exact("optlen", 32, 4).writable(),
    exact("retval", 36, 4).at(&[CgroupGetsockopt]).writable(),
];

/// `sysctl_is_valid_access`.
pub(super) const SYSCTL: &[ContextField] =
    &[narrow("write", 0, 4), narrow("file_pos", 4, 4).writable()];

/// `cgroup_dev_is_valid_access`.
pub(super) const DEVICE: &[ContextField] =
    &[narrow("access_type", 0, 4), exact("major", 4, 4), exact("minor", 8, 4)];

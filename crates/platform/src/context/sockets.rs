//! What programs see of sockets: `struct bpf_sock`, `struct bpf_tcp_sock`, `struct bpf_sk_lookup`
//! (`include/uapi/linux/bpf.h`), and contexts of a few fields.

use super::fields::{ContextField, ContextValue, FieldSize, exact, narrow};
use crate::AttachType::*;

/// `bpf_sock_is_valid_access`, and what `__sock_filter_check_attach_type` says of it as a context
/// (`net/core/filter.c`).
pub(super) const SOCK: &[ContextField] = &[
    exact("bound_dev_if", 0, 4).at(&[CgroupInetSockCreate, CgroupInetSockRelease]).writable(),
    narrow("family", 4, 4).at_once(FieldSize::NarrowAtStart(4)),
    narrow("type", 8, 4).at_once(FieldSize::NarrowAtStart(4)),
    narrow("protocol", 12, 4).at_once(FieldSize::NarrowAtStart(4)),
    exact("mark", 16, 4).at(&[CgroupInetSockCreate, CgroupInetSockRelease]).writable(),
    exact("priority", 20, 4).at(&[CgroupInetSockCreate, CgroupInetSockRelease]).writable(),
    narrow("src_ip4", 24, 4).at(&[CgroupInet4PostBind]),
    narrow("src_ip6", 28, 16).at(&[CgroupInet6PostBind]),
    narrow("src_port", 44, 4)
        .at_once(FieldSize::NarrowAtStart(4))
        .at(&[CgroupInet4PostBind, CgroupInet6PostBind]),
    narrow("dst_port", 48, 2).at_once(FieldSize::Port),
    narrow("dst_ip4", 52, 4),
    narrow("dst_ip6", 56, 16),
    narrow("state", 72, 4).at_once(FieldSize::NarrowAtStart(4)),
    narrow("rx_queue_mapping", 76, 4).at_once(FieldSize::NarrowAtStart(4)),
];

/// Of a socket that may not be whole, what lies here is not there
/// (`bpf_sock_common_is_valid_access`).
pub(super) const NOT_COMMON: core::ops::Range<u32> = 8..24;

/// `bpf_tcp_sock_is_valid_access`.
pub(super) const TCP_SOCK: &[ContextField] = &[
    exact("snd_cwnd", 0, 4),
    exact("srtt_us", 4, 4),
    exact("rtt_min", 8, 4),
    exact("snd_ssthresh", 12, 4),
    exact("rcv_nxt", 16, 4),
    exact("snd_nxt", 20, 4),
    exact("snd_una", 24, 4),
    exact("mss_cache", 28, 4),
    exact("ecn_flags", 32, 4),
    exact("rate_delivered", 36, 4),
    exact("rate_interval_us", 40, 4),
    exact("packets_out", 44, 4),
    exact("retrans_out", 48, 4),
    exact("total_retrans", 52, 4),
    exact("segs_in", 56, 4),
    exact("data_segs_in", 60, 4),
    exact("segs_out", 64, 4),
    exact("data_segs_out", 68, 4),
    exact("lost_out", 72, 4),
    exact("sacked_out", 76, 4),
    exact("bytes_received", 80, 8),
    exact("bytes_acked", 88, 8),
    exact("dsack_dups", 96, 4),
    exact("delivered", 100, 4),
    exact("delivered_ce", 104, 4),
    exact("icsk_retransmits", 108, 4),
];

/// `bpf_xdp_sock_is_valid_access`.
pub(super) const XDP_SOCK: &[ContextField] = &[exact("queue_id", 0, 4)];

/// `sk_lookup_is_valid_access`.
pub(super) const SK_LOOKUP: &[ContextField] = &[
    exact("sk", 0, 8).gives(ContextValue::SocketOrNull),
    narrow("family", 8, 4),
    narrow("protocol", 12, 4),
    narrow("remote_ip4", 16, 4),
    narrow("remote_ip6", 20, 16),
    narrow("remote_port", 36, 2).at_once(FieldSize::Port),
    narrow("(zero)", 38, 2).at_once(FieldSize::Narrow { whole: 2, min: 1 }),
    narrow("local_ip4", 40, 4),
    narrow("local_ip6", 44, 16),
    narrow("local_port", 60, 4),
    narrow("ingress_ifindex", 64, 4),
];

/// `pe_prog_is_valid_access` (`kernel/trace/bpf_trace.c`): registers first.
pub(super) const PERF_EVENT: &[ContextField] = &[
    exact("regs", 0, 168).at_once(FieldSize::Exact(8)),
    narrow("sample_period", 168, 8),
    narrow("addr", 176, 8),
];

/// `lirc_mode2_is_valid_access` (`drivers/media/rc/bpf-lirc.c`).
pub(super) const LIRC: &[ContextField] = &[exact("sample", 0, 4)];

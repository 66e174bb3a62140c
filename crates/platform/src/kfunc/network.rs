//! Kfuncs over packets, connections and sockets.

use super::{Filter, kfunc_sets};

kfunc_sets! {
    NETWORK;

    /// Packets (`net/core/filter.c`).
    SKB: [SchedCls SchedAct Tracing Cgroup SkSkb SocketFilter Lwt Netfilter], Filter::None => {
        bpf_dynptr_from_skb;
    }

    /// What stands before packets.
    SKB_META: [SchedCls SchedAct], Filter::None => {
        bpf_dynptr_from_skb_meta;
    }

    /// Packets of the express data path.
    XDP: [Xdp], Filter::None => {
        bpf_dynptr_from_xdp;
        bpf_xdp_pull_data;
    }

    /// What the device knows of a packet (`net/core/xdp.c`); programs bound to a device.
    XDP_METADATA: [Xdp], Filter::None => {
        bpf_xdp_metadata_rx_timestamp;
        bpf_xdp_metadata_rx_hash;
        bpf_xdp_metadata_rx_vlan_tag;
    }

    /// Addresses of sockets.
    SOCK_ADDR: [Cgroup], Filter::None => {
        bpf_sock_addr_set_sun_path;
    }

    /// Connections that are asked for.
    TCP_REQUESTS: [SchedCls], Filter::None => {
        bpf_sk_assign_tcp_reqsk;
    }

    /// Error messages.
    ICMP: [Cgroup], Filter::None => {
        bpf_icmp_send;
    }

    /// Events of connections.
    SOCK_OPS: [Cgroup], Filter::None => {
        bpf_sock_ops_enable_tx_tstamp;
    }

    /// Iterators over sockets.
    SOCKET_ITERATORS: [Tracing], Filter::Iterators => {
        bpf_sock_destroy;
    }

    /// Sockets of the kernel (`net/core/bpf_ksock.c`).
    KERNEL_SOCKETS_NEW: [Syscall], Filter::None => {
        bpf_ksock_create [ACQUIRE RET_NULL SLEEPABLE];
        bpf_ksock_connect [SLEEPABLE];
    }

    /// The same, where they are used.
    KERNEL_SOCKETS: [Tracing Syscall], Filter::NotAt("bpf_lsm_socket_sendmsg") => {
        bpf_ksock_release [RELEASE];
        bpf_ksock_acquire [ACQUIRE RCU RET_NULL];
        bpf_ksock_send [SLEEPABLE];
    }

    /// Queueing disciplines (`net/sched/bpf_qdisc.c`).
    QDISC: [StructOps], Filter::Callbacks(&["Qdisc_ops"]) => {
        bpf_skb_get_hash;
        bpf_kfree_skb [RELEASE];
        bpf_dynptr_from_skb;
    }

    /// Putting a packet into them.
    QDISC_ENQUEUE: [StructOps], Filter::Callbacks(&["Qdisc_ops.enqueue"]) => {
        bpf_qdisc_skb_drop [RELEASE];
    }

    /// Taking one out.
    QDISC_DEQUEUE: [StructOps], Filter::Callbacks(&["Qdisc_ops.dequeue"]) => {
        bpf_qdisc_bstats_update;
    }

    /// Both.
    QDISC_WATCHDOG: [StructOps], Filter::Callbacks(&["Qdisc_ops.enqueue", "Qdisc_ops.dequeue"]) => {
        bpf_qdisc_watchdog_schedule;
    }

    /// What the kernel itself puts around their callbacks.
    QDISC_OWN: [StructOps], Filter::Callbacks(&[]) => {
        bpf_qdisc_init_prologue;
        bpf_qdisc_reset_destroy_epilogue;
    }

    /// Connection tracking (`net/netfilter/nf_conntrack_bpf.c`; a module).
    CONNTRACK: [Xdp SchedCls], Filter::None => {
        bpf_xdp_ct_alloc [ACQUIRE RET_NULL];
        bpf_xdp_ct_lookup [ACQUIRE RET_NULL];
        bpf_skb_ct_alloc [ACQUIRE RET_NULL];
        bpf_skb_ct_lookup [ACQUIRE RET_NULL];
        bpf_ct_insert_entry [ACQUIRE RET_NULL RELEASE];
        bpf_ct_release [RELEASE];
        bpf_ct_set_timeout;
        bpf_ct_change_timeout;
        bpf_ct_set_status;
        bpf_ct_change_status;
    }

    /// Address translation (`net/netfilter/nf_nat_bpf.c`; a module).
    NAT: [Xdp SchedCls], Filter::None => {
        bpf_ct_set_nat_info;
    }

    /// Flow tables (`net/netfilter/nf_flow_table_bpf.c`; a module).
    FLOW_TABLE: [Xdp], Filter::None => {
        bpf_xdp_flow_lookup [RET_NULL];
    }

    /// Interfaces of IPsec (`net/xfrm/xfrm_interface_bpf.c`; a module).
    XFRM_INTERFACE: [SchedCls], Filter::None => {
        bpf_skb_get_xfrm_info;
        bpf_skb_set_xfrm_info;
    }

    /// State of IPsec (`net/xfrm/xfrm_state_bpf.c`).
    XFRM_STATE: [Xdp], Filter::None => {
        bpf_xdp_get_xfrm_state [RET_NULL ACQUIRE];
        bpf_xdp_xfrm_state_release [RELEASE];
    }

    /// Tunnels over UDP (`net/ipv4/fou_bpf.c`; a module).
    FOU: [SchedCls], Filter::None => {
        bpf_skb_set_fou_encap;
        bpf_skb_get_fou_encap;
    }

    /// Congestion control (`net/ipv4/bpf_tcp_ca.c`).
    TCP_CONGESTION: [StructOps], Filter::None => {
        tcp_reno_ssthresh;
        tcp_reno_cong_avoid;
        tcp_reno_undo_cwnd;
        tcp_slow_start;
        tcp_cong_avoid_ai;
    }

    /// Congestion control CUBIC (`net/ipv4/tcp_cubic.c`).
    CUBIC: [StructOps], Filter::None => {
        cubictcp_init;
        cubictcp_recalc_ssthresh;
        cubictcp_cong_avoid;
        cubictcp_state;
        cubictcp_cwnd_event_tx_start;
        cubictcp_acked;
    }

    /// Congestion control DCTCP (`net/ipv4/tcp_dctcp.c`; a module).
    DCTCP: [StructOps], Filter::None => {
        dctcp_init;
        dctcp_update_alpha;
        dctcp_cwnd_event;
        dctcp_cwnd_event_tx_start;
        dctcp_ssthresh;
        dctcp_cwnd_undo;
        dctcp_state;
    }

    /// Congestion control BBR (`net/ipv4/tcp_bbr.c`; a module).
    BBR: [StructOps], Filter::None => {
        bbr_init;
        bbr_main;
        bbr_sndbuf_expand;
        bbr_undo_cwnd;
        bbr_cwnd_event_tx_start;
        bbr_ssthresh;
        bbr_min_tso_segs;
        bbr_set_state;
    }

    /// What the kernel tests itself with (`net/bpf/test_run.c`).
    TESTS: [SchedCls Tracing Syscall], Filter::None => {
        bpf_kfunc_call_test_release [RELEASE];
        bpf_kfunc_call_memb_release [RELEASE];
    }
}

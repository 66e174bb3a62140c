//! Which type of program may call which helper.
//!
//! The rows are what Linux 6.18 accepts (its `*_func_proto` functions), for a caller that has every
//! privilege. What depends on how the kernel was built is taken as built in.

use crate::{HELPER_NAMES, ProgType};

/// Helpers that every type may call (`bpf_base_func_proto`, `kernel/bpf/helpers.c`, and what goes with
/// it).
const EVERYWHERE: &[&str] = &[
    "map_lookup_elem",
    "map_update_elem",
    "map_delete_elem",
    "ktime_get_ns",
    "trace_printk",
    "get_prandom_u32",
    "get_smp_processor_id",
    "tail_call",
    "get_current_pid_tgid",
    "get_current_uid_gid",
    "get_current_comm",
    "get_cgroup_classid",
    "perf_event_read",
    "get_current_task",
    "current_task_under_cgroup",
    "get_numa_node_id",
    "perf_event_read_value",
    "get_current_cgroup_id",
    "map_push_elem",
    "map_pop_elem",
    "map_peek_elem",
    "spin_lock",
    "spin_unlock",
    "strtol",
    "strtoul",
    "send_signal",
    "probe_read_user",
    "probe_read_kernel",
    "probe_read_user_str",
    "probe_read_kernel_str",
    "send_signal_thread",
    "jiffies64",
    "get_ns_current_pid_tgid",
    "get_current_ancestor_cgroup_id",
    "ktime_get_boot_ns",
    "ringbuf_output",
    "ringbuf_reserve",
    "ringbuf_submit",
    "ringbuf_discard",
    "ringbuf_query",
    "get_task_stack",
    "copy_from_user",
    "snprintf_btf",
    "per_cpu_ptr",
    "this_cpu_ptr",
    "task_storage_get",
    "task_storage_delete",
    "get_current_task_btf",
    "for_each_map_elem",
    "snprintf",
    "timer_init",
    "timer_set_callback",
    "timer_start",
    "timer_cancel",
    "task_pt_regs",
    "get_branch_snapshot",
    "trace_vprintk",
    "find_vma",
    "loop",
    "strncmp",
    "copy_from_user_task",
    "kptr_xchg",
    "map_lookup_percpu_elem",
    "dynptr_from_mem",
    "ringbuf_reserve_dynptr",
    "ringbuf_submit_dynptr",
    "ringbuf_discard_dynptr",
    "dynptr_read",
    "dynptr_write",
    "dynptr_data",
    "ktime_get_tai_ns",
    "user_ringbuf_drain",
    "cgrp_storage_get",
    "cgrp_storage_delete",
];

/// From one kind of socket to another.
const SOCKET_CASTS: &[&str] = &[
    "skc_to_tcp6_sock",
    "skc_to_tcp_sock",
    "skc_to_tcp_timewait_sock",
    "skc_to_tcp_request_sock",
    "skc_to_udp6_sock",
    "skc_to_unix_sock",
    "skc_to_mptcp_sock",
];

/// Programs that trace (`bpf_tracing_func_proto`, `kernel/trace/bpf_trace.c`).
const TRACING: &[&str] = &[
    "probe_read",
    "perf_event_output",
    "get_stackid",
    "probe_write_user",
    "probe_read_str",
    "override_return",
    "get_stack",
    "get_func_ip",
    "get_attach_cookie",
];

/// What each type may call beside [`EVERYWHERE`].
const ROWS: &[(&[ProgType], &[&[&str]])] = &[
    (
        &[ProgType::SocketFilter],
        &[
            SOCKET_CASTS,
            &[
                "perf_event_output",
                "skb_load_bytes",
                "get_socket_cookie",
                "get_socket_uid",
                "skb_load_bytes_relative",
                "get_netns_cookie",
                "ktime_get_coarse_ns",
            ],
        ],
    ),
    (
        &[
            ProgType::Kprobe,
            ProgType::Tracepoint,
            ProgType::RawTracepoint,
            ProgType::RawTracepointWritable,
        ],
        &[TRACING],
    ),
    (
        &[ProgType::SchedCls, ProgType::SchedAct],
        &[
            SOCKET_CASTS,
            &[
                "skb_store_bytes",
                "l3_csum_replace",
                "l4_csum_replace",
                "clone_redirect",
                "skb_vlan_push",
                "skb_vlan_pop",
                "skb_get_tunnel_key",
                "skb_set_tunnel_key",
                "redirect",
                "get_route_realm",
                "perf_event_output",
                "skb_load_bytes",
                "csum_diff",
                "skb_get_tunnel_opt",
                "skb_set_tunnel_opt",
                "skb_change_proto",
                "skb_change_type",
                "skb_under_cgroup",
                "get_hash_recalc",
                "skb_change_tail",
                "skb_pull_data",
                "csum_update",
                "set_hash_invalid",
                "skb_change_head",
                "get_socket_cookie",
                "get_socket_uid",
                "set_hash",
                "skb_adjust_room",
                "skb_get_xfrm_state",
                "skb_load_bytes_relative",
                "fib_lookup",
                "skb_cgroup_id",
                "skb_ancestor_cgroup_id",
                "sk_lookup_tcp",
                "sk_lookup_udp",
                "sk_release",
                "sk_fullsock",
                "tcp_sock",
                "skb_ecn_set_ce",
                "get_listener_sock",
                "skc_lookup_tcp",
                "tcp_check_syncookie",
                "sk_storage_get",
                "sk_storage_delete",
                "tcp_gen_syncookie",
                "get_netns_cookie",
                "sk_assign",
                "csum_level",
                "skb_cgroup_classid",
                "redirect_neigh",
                "redirect_peer",
                "ktime_get_coarse_ns",
                "check_mtu",
                "skb_set_tstamp",
                "tcp_raw_gen_syncookie_ipv4",
                "tcp_raw_gen_syncookie_ipv6",
                "tcp_raw_check_syncookie_ipv4",
                "tcp_raw_check_syncookie_ipv6",
            ],
        ],
    ),
    (
        &[ProgType::Xdp],
        &[
            SOCKET_CASTS,
            &[
                "redirect",
                "perf_event_output",
                "csum_diff",
                "xdp_adjust_head",
                "redirect_map",
                "xdp_adjust_meta",
                "xdp_adjust_tail",
                "fib_lookup",
                "sk_lookup_tcp",
                "sk_lookup_udp",
                "sk_release",
                "skc_lookup_tcp",
                "tcp_check_syncookie",
                "tcp_gen_syncookie",
                "ktime_get_coarse_ns",
                "check_mtu",
                "xdp_get_buff_len",
                "xdp_load_bytes",
                "xdp_store_bytes",
                "tcp_raw_gen_syncookie_ipv4",
                "tcp_raw_gen_syncookie_ipv6",
                "tcp_raw_check_syncookie_ipv4",
                "tcp_raw_check_syncookie_ipv6",
            ],
        ],
    ),
    (&[ProgType::PerfEvent], &[TRACING, &["perf_prog_read_value", "read_branch_records"]]),
    (
        &[ProgType::CgroupSkb],
        &[
            SOCKET_CASTS,
            &[
                "perf_event_output",
                "skb_load_bytes",
                "get_socket_cookie",
                "get_socket_uid",
                "skb_load_bytes_relative",
                "skb_cgroup_id",
                "get_local_storage",
                "skb_ancestor_cgroup_id",
                "sk_lookup_tcp",
                "sk_lookup_udp",
                "sk_release",
                "sk_fullsock",
                "tcp_sock",
                "skb_ecn_set_ce",
                "get_listener_sock",
                "skc_lookup_tcp",
                "sk_storage_get",
                "sk_storage_delete",
                "get_netns_cookie",
                "sk_cgroup_id",
                "sk_ancestor_cgroup_id",
                "ktime_get_coarse_ns",
            ],
        ],
    ),
    (
        &[ProgType::CgroupSock],
        &[&[
            "perf_event_output",
            "get_socket_cookie",
            "get_local_storage",
            "sk_storage_get",
            "get_netns_cookie",
            "ktime_get_coarse_ns",
            "get_retval",
            "set_retval",
        ]],
    ),
    (
        &[ProgType::LwtIn],
        &[
            SOCKET_CASTS,
            &[
                "get_route_realm",
                "perf_event_output",
                "skb_load_bytes",
                "csum_diff",
                "skb_under_cgroup",
                "get_hash_recalc",
                "skb_pull_data",
                "lwt_push_encap",
                "ktime_get_coarse_ns",
            ],
        ],
    ),
    (
        &[ProgType::LwtOut],
        &[
            SOCKET_CASTS,
            &[
                "get_route_realm",
                "perf_event_output",
                "skb_load_bytes",
                "csum_diff",
                "skb_under_cgroup",
                "get_hash_recalc",
                "skb_pull_data",
                "ktime_get_coarse_ns",
            ],
        ],
    ),
    (
        &[ProgType::LwtXmit],
        &[
            SOCKET_CASTS,
            &[
                "skb_store_bytes",
                "l3_csum_replace",
                "l4_csum_replace",
                "clone_redirect",
                "skb_get_tunnel_key",
                "skb_set_tunnel_key",
                "redirect",
                "get_route_realm",
                "perf_event_output",
                "skb_load_bytes",
                "csum_diff",
                "skb_get_tunnel_opt",
                "skb_set_tunnel_opt",
                "skb_under_cgroup",
                "get_hash_recalc",
                "skb_change_tail",
                "skb_pull_data",
                "csum_update",
                "set_hash_invalid",
                "skb_change_head",
                "lwt_push_encap",
                "csum_level",
                "ktime_get_coarse_ns",
            ],
        ],
    ),
    (
        &[ProgType::SockOps],
        &[
            SOCKET_CASTS,
            &[
                "perf_event_output",
                "get_socket_cookie",
                "setsockopt",
                "sock_map_update",
                "getsockopt",
                "sock_ops_cb_flags_set",
                "sock_hash_update",
                "get_local_storage",
                "tcp_sock",
                "sk_storage_get",
                "sk_storage_delete",
                "get_netns_cookie",
                "load_hdr_opt",
                "store_hdr_opt",
                "reserve_hdr_opt",
                "ktime_get_coarse_ns",
            ],
        ],
    ),
    (
        &[ProgType::SkSkb],
        &[
            SOCKET_CASTS,
            &[
                "skb_store_bytes",
                "perf_event_output",
                "skb_load_bytes",
                "skb_change_tail",
                "skb_pull_data",
                "skb_change_head",
                "get_socket_cookie",
                "get_socket_uid",
                "skb_adjust_room",
                "sk_redirect_map",
                "sk_redirect_hash",
                "sk_lookup_tcp",
                "sk_lookup_udp",
                "sk_release",
                "skc_lookup_tcp",
                "ktime_get_coarse_ns",
            ],
        ],
    ),
    (&[ProgType::CgroupDevice], &[&["perf_event_output", "get_local_storage"]]),
    (
        &[ProgType::SkMsg],
        &[
            SOCKET_CASTS,
            &[
                "perf_event_output",
                "msg_redirect_map",
                "msg_apply_bytes",
                "msg_cork_bytes",
                "msg_pull_data",
                "msg_redirect_hash",
                "msg_push_data",
                "msg_pop_data",
                "sk_storage_get",
                "sk_storage_delete",
                "get_netns_cookie",
                "ktime_get_coarse_ns",
            ],
        ],
    ),
    (
        &[ProgType::CgroupSockAddr],
        &[
            SOCKET_CASTS,
            &[
                "perf_event_output",
                "get_socket_cookie",
                "setsockopt",
                "getsockopt",
                "get_local_storage",
                "sk_lookup_tcp",
                "sk_lookup_udp",
                "sk_release",
                "skc_lookup_tcp",
                "sk_storage_get",
                "sk_storage_delete",
                "get_netns_cookie",
                "ktime_get_coarse_ns",
                "get_retval",
                "set_retval",
            ],
        ],
    ),
    (
        &[ProgType::LwtSeg6local],
        &[
            SOCKET_CASTS,
            &[
                "get_route_realm",
                "perf_event_output",
                "skb_load_bytes",
                "csum_diff",
                "skb_under_cgroup",
                "get_hash_recalc",
                "skb_pull_data",
                "lwt_seg6_store_bytes",
                "lwt_seg6_adjust_srh",
                "lwt_seg6_action",
                "ktime_get_coarse_ns",
            ],
        ],
    ),
    (
        &[ProgType::SkReuseport],
        &[&[
            "skb_load_bytes",
            "get_socket_cookie",
            "skb_load_bytes_relative",
            "sk_select_reuseport",
            "ktime_get_coarse_ns",
        ]],
    ),
    (&[ProgType::FlowDissector], &[SOCKET_CASTS, &["skb_load_bytes", "ktime_get_coarse_ns"]]),
    (
        &[ProgType::CgroupSysctl],
        &[&[
            "perf_event_output",
            "get_local_storage",
            "sysctl_get_name",
            "sysctl_get_current_value",
            "sysctl_get_new_value",
            "sysctl_set_new_value",
            "ktime_get_coarse_ns",
        ]],
    ),
    (
        &[ProgType::CgroupSockopt],
        &[&[
            "perf_event_output",
            "get_local_storage",
            "tcp_sock",
            "sk_storage_get",
            "sk_storage_delete",
            "get_netns_cookie",
            "get_retval",
            "set_retval",
        ]],
    ),
    (
        &[ProgType::SkLookup],
        &[SOCKET_CASTS, &["perf_event_output", "sk_release", "sk_assign", "ktime_get_coarse_ns"]],
    ),
    (
        &[ProgType::Syscall],
        &[
            SOCKET_CASTS,
            &[
                "probe_read",
                "perf_event_output",
                "get_stackid",
                "probe_read_str",
                "get_socket_cookie",
                "get_stack",
                "sk_storage_get",
                "sk_storage_delete",
                "skb_output",
                "xdp_output",
                "d_path",
                "sock_from_file",
                "sys_bpf",
                "btf_find_by_name_kind",
                "sys_close",
                "get_func_ip",
                "kallsyms_lookup_name",
                "xdp_get_buff_len",
            ],
        ],
    ),
    (&[ProgType::Netfilter], &[]),
];

/// Whether programs of a type may call the helper with this number. Types that are in no row (those
/// that attach to functions of the kernel, whose helpers depend on the function) may call all.
pub fn may_call(prog_type: ProgType, helper: i32) -> bool {
    let name = usize::try_from(helper).ok().and_then(|helper| HELPER_NAMES.get(helper));
    let Some(name) = name else { return false };
    let has = |names: &[&str]| names.contains(name);
    match ROWS.iter().find(|(types, _)| types.contains(&prog_type)) {
        Some((_, lists)) => has(EVERYWHERE) || lists.iter().any(|names| has(names)),
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Helper;

    #[test]
    fn every_name_is_a_helper() {
        let rows = ROWS.iter().flat_map(|(_, lists)| lists.iter().copied());
        for names in rows.chain([EVERYWHERE]) {
            for name in names {
                assert!(HELPER_NAMES.contains(name), "{name}");
            }
        }
    }

    #[test]
    fn packets_belong_to_programs_over_packets() {
        let may = |prog_type, helper: Helper| may_call(prog_type, helper.id());
        assert!(may(ProgType::Xdp, Helper::XdpAdjustHead));
        assert!(!may(ProgType::SchedCls, Helper::XdpAdjustHead));
        assert!(may(ProgType::SchedCls, Helper::SkbStoreBytes));
        assert!(!may(ProgType::SocketFilter, Helper::SkbStoreBytes));
        assert!(may(ProgType::SocketFilter, Helper::SkbLoadBytes));
        assert!(!may(ProgType::Kprobe, Helper::SkbLoadBytes));
        assert!(may(ProgType::Kprobe, Helper::ProbeRead));
        assert!(!may(ProgType::Xdp, Helper::ProbeRead));
        assert!(!may_call(ProgType::Xdp, 5000));
    }
}

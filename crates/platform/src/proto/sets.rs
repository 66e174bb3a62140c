//! Which program has which helpers: one table for each of the kernel's `*_func_proto` functions.

use super::Capability;
use super::basic::*;
use super::lookup::{Row, Set, When};
use super::packets::*;
use super::sockets::*;
use super::tracing::*;
use crate::AttachType::{self, *};
use crate::ProgType;

/// `when, needs: PROTOTYPES;` rows.
macro_rules! sets {
    ($(
        $(#[$doc:meta])*
        $set:ident $(behind it $behind:ident)? {
            $($when:expr, $needs:ident: $($proto:ident)*;)*
        }
    )*) => {
        $($(#[$doc])*
        static $set: Set = Set {
            rows: &[$(Row {
                when: { #[allow(unused_imports)] use When::*; $when },
                needs: Capability::$needs,
                protos: &[$(&$proto),*],
            },)*],
            behind: sets!(@behind $($behind)?),
        };)*
    };
    (@behind) => { None };
    (@behind $behind:ident) => { Some(&$behind) };
}

/// Where a trampoline calls the program (`bpf_prog_has_trampoline`, `kernel/bpf/trampoline.c`).
const TRAMPOLINE: &[AttachType] = &[
    TraceFentry,
    TraceFexit,
    ModifyReturn,
    TraceFsession,
    TraceFentryMulti,
    TraceFexitMulti,
    TraceFsessionMulti,
    LsmMac,
];

/// The same, and tracepoints by their types.
const TRAMPOLINE_OR_RAW_TP: &[AttachType] = &[
    TraceFentry,
    TraceFexit,
    ModifyReturn,
    TraceFsession,
    TraceFentryMulti,
    TraceFexitMulti,
    TraceFsessionMulti,
    LsmMac,
    TraceRawTp,
];

const MULTI: &[AttachType] =
    &[TraceKprobeMulti, TraceKprobeSession, TraceUprobeMulti, TraceUprobeSession];

/// Where what the program returns is not what the call returns.
const NO_RETVAL: &[AttachType] = &[
    CgroupInetIngress,
    CgroupInetEgress,
    CgroupSockOps,
    CgroupUdp4Recvmsg,
    CgroupUdp6Recvmsg,
    CgroupUnixRecvmsg,
    CgroupInet4Getpeername,
    CgroupInet6Getpeername,
    CgroupUnixGetpeername,
    CgroupInet4Getsockname,
    CgroupInet6Getsockname,
    CgroupUnixGetsockname,
];

/// Where a socket's options may be changed.
const SOCK_ADDR_OPTIONS: &[AttachType] = &[
    CgroupInet4Bind,
    CgroupInet6Bind,
    CgroupInet4Connect,
    CgroupInet6Connect,
    CgroupUnixConnect,
    CgroupUdp4Recvmsg,
    CgroupUdp6Recvmsg,
    CgroupUnixRecvmsg,
    CgroupUdp4Sendmsg,
    CgroupUdp6Sendmsg,
    CgroupUnixSendmsg,
    CgroupInet4Getpeername,
    CgroupInet6Getpeername,
    CgroupInet4Getsockname,
    CgroupInet6Getsockname,
];

/// Hooks at which a socket's options may be changed: with the lock held, or before anybody else
/// knows the socket.
const LSM_SOCKET_OPTIONS: &[&str] = &[
    "bpf_lsm_sock_graft",
    "bpf_lsm_inet_csk_clone",
    "bpf_lsm_inet_conn_established",
    "bpf_lsm_socket_post_create",
    "bpf_lsm_socket_socketpair",
];

/// Iterators over sockets, which they hold locked.
const SOCKET_ITERATORS: &[&str] = &["bpf_iter_tcp", "bpf_iter_unix"];

sets! {
    /// `bpf_base_func_proto` (`kernel/bpf/helpers.c`).
    BASE {
        Always, None:
            MAP_LOOKUP_ELEM MAP_UPDATE_ELEM MAP_DELETE_ELEM MAP_PUSH_ELEM MAP_POP_ELEM
            MAP_PEEK_ELEM MAP_LOOKUP_PERCPU_ELEM GET_PRANDOM_U32 GET_SMP_PROCESSOR_ID_RAW
            GET_NUMA_NODE_ID TAIL_CALL KTIME_GET_NS KTIME_GET_BOOT_NS KTIME_GET_TAI_NS
            RINGBUF_OUTPUT RINGBUF_RESERVE RINGBUF_SUBMIT RINGBUF_DISCARD RINGBUF_QUERY STRNCMP
            STRTOL STRTOUL GET_CURRENT_PID_TGID GET_NS_CURRENT_PID_TGID GET_CURRENT_UID_GID;
        Always, Bpf:
            SPIN_LOCK SPIN_UNLOCK JIFFIES64 PER_CPU_PTR THIS_CPU_PTR TIMER_INIT
            TIMER_SET_CALLBACK TIMER_START TIMER_CANCEL KPTR_XCHG FOR_EACH_MAP_ELEM LOOP
            USER_RINGBUF_DRAIN RINGBUF_RESERVE_DYNPTR RINGBUF_SUBMIT_DYNPTR
            RINGBUF_DISCARD_DYNPTR DYNPTR_FROM_MEM DYNPTR_READ DYNPTR_WRITE DYNPTR_DATA
            CGRP_STORAGE_GET CGRP_STORAGE_DELETE GET_CURRENT_CGROUP_ID
            GET_CURRENT_ANCESTOR_CGROUP_ID CURRENT_TASK_UNDER_CGROUP GET_CGROUP_CLASSID_CURRENT
            TASK_STORAGE_GET TASK_STORAGE_DELETE;
        Sleepable, Perfmon: GET_TASK_STACK_SLEEPABLE;
        Always, Perfmon:
            TRACE_PRINTK GET_CURRENT_TASK GET_CURRENT_TASK_BTF GET_CURRENT_COMM PROBE_READ_USER
            PROBE_READ_KERNEL PROBE_READ_USER_STR PROBE_READ_KERNEL_STR COPY_FROM_USER
            COPY_FROM_USER_TASK SNPRINTF_BTF SNPRINTF TASK_PT_REGS TRACE_VPRINTK
            PERF_EVENT_READ_VALUE PERF_EVENT_READ SEND_SIGNAL SEND_SIGNAL_THREAD GET_TASK_STACK
            GET_BRANCH_SNAPSHOT FIND_VMA;
    }

    /// `bpf_sk_base_func_proto` (`net/core/filter.c`).
    SOCKET_BASE behind it BASE {
        Always, None: KTIME_GET_COARSE_NS;
        Always, Perfmon:
            SKC_TO_TCP6_SOCK SKC_TO_TCP_SOCK SKC_TO_TCP_TIMEWAIT_SOCK SKC_TO_TCP_REQUEST_SOCK
            SKC_TO_UDP6_SOCK SKC_TO_UNIX_SOCK SKC_TO_MPTCP_SOCK;
    }

    /// `cgroup_common_func_proto` (`kernel/bpf/cgroup.c`), with [`BASE`] behind it.
    CGROUP behind it BASE {
        Always, None: GET_LOCAL_STORAGE;
        NotAt(NO_RETVAL), None: GET_RETVAL SET_RETVAL;
    }

    /// The same, with [`SOCKET_BASE`] behind it.
    CGROUP_SOCKET behind it SOCKET_BASE {
        Always, None: GET_LOCAL_STORAGE;
        NotAt(NO_RETVAL), None: GET_RETVAL SET_RETVAL;
    }

    /// `bpf_tracing_func_proto` (`kernel/trace/bpf_trace.c`).
    TRACING_BASE behind it BASE {
        Always, None: GET_SMP_PROCESSOR_ID PROBE_READ PROBE_READ_STR GET_FUNC_IP;
        Always, SysAdmin: PROBE_WRITE_USER;
    }

    /// `kprobe_prog_func_proto`.
    KPROBE behind it TRACING_BASE {
        Sleepable, None: GET_STACK_SLEEPABLE;
        At(MULTI), None: GET_FUNC_IP_MULTI;
        Always, None:
            PERF_EVENT_OUTPUT GET_STACKID GET_STACK OVERRIDE_RETURN GET_FUNC_IP
            GET_ATTACH_COOKIE;
    }

    /// `tp_prog_func_proto`, `raw_tp_prog_func_proto`.
    TRACEPOINT behind it TRACING_BASE {
        Always, None: PERF_EVENT_OUTPUT GET_STACKID GET_STACK GET_ATTACH_COOKIE;
    }

    /// `pe_prog_func_proto`.
    PERF_EVENT behind it TRACING_BASE {
        Always, None:
            PERF_EVENT_OUTPUT GET_STACKID_PERF GET_STACK PERF_PROG_READ_VALUE
            READ_BRANCH_RECORDS GET_ATTACH_COOKIE;
    }

    /// `tracing_prog_func_proto`.
    TRACING behind it TRACING_BASE {
        Always, None:
            SKB_OUTPUT XDP_OUTPUT SKC_TO_TCP6_SOCK SKC_TO_TCP_SOCK SKC_TO_TCP_TIMEWAIT_SOCK
            SKC_TO_TCP_REQUEST_SOCK SKC_TO_UDP6_SOCK SKC_TO_UNIX_SOCK SKC_TO_MPTCP_SOCK
            SK_STORAGE_GET_TRACING SK_STORAGE_DELETE_TRACING SOCK_FROM_FILE
            GET_SOCKET_COOKIE_PTR XDP_GET_BUFF_LEN_TRACING D_PATH PERF_EVENT_OUTPUT GET_STACKID
            GET_STACK;
        At(&[TraceIter]), None: SEQ_PRINTF SEQ_WRITE SEQ_PRINTF_BTF;
        At(TRAMPOLINE_OR_RAW_TP), None: GET_FUNC_ARG GET_FUNC_ARG_CNT GET_ATTACH_COOKIE;
        At(TRAMPOLINE), None: GET_FUNC_RET;
        On(TraceIter, SOCKET_ITERATORS), None: SETSOCKOPT GETSOCKOPT;
    }

    /// `bpf_lsm_func_proto` (`kernel/bpf/bpf_lsm.c`).
    LSM behind it TRACING {
        At(&[LsmCgroup]), None: GET_LOCAL_STORAGE GET_RETVAL SET_RETVAL;
        Always, None:
            INODE_STORAGE_GET INODE_STORAGE_DELETE SK_STORAGE_GET SK_STORAGE_DELETE SPIN_LOCK
            SPIN_UNLOCK BPRM_OPTS_SET IMA_INODE_HASH IMA_FILE_HASH;
        At(&[LsmMac]), None: GET_ATTACH_COOKIE;
        On(LsmCgroup, LSM_SOCKET_OPTIONS), None: SETSOCKOPT GETSOCKOPT;
    }

    /// `syscall_prog_func_proto` (`kernel/bpf/syscall.c`).
    SYSCALL behind it TRACING {
        Always, Perfmon: SYS_BPF;
        Always, None: BTF_FIND_BY_NAME_KIND SYS_CLOSE KALLSYMS_LOOKUP_NAME;
    }

    /// `sk_filter_func_proto` (`net/core/filter.c`).
    SOCKET_FILTER behind it SOCKET_BASE {
        Always, None:
            SKB_LOAD_BYTES SKB_LOAD_BYTES_RELATIVE GET_SOCKET_COOKIE GET_NETNS_COOKIE
            GET_SOCKET_UID PERF_EVENT_OUTPUT;
    }

    /// `cg_skb_func_proto`.
    CGROUP_SKB behind it CGROUP_SOCKET {
        Always, None:
            SK_FULLSOCK SK_STORAGE_GET SK_STORAGE_DELETE PERF_EVENT_OUTPUT SKB_CGROUP_ID
            SKB_ANCESTOR_CGROUP_ID SK_CGROUP_ID SK_ANCESTOR_CGROUP_ID SK_LOOKUP_TCP
            SK_LOOKUP_UDP SK_RELEASE SKC_LOOKUP_TCP TCP_SOCK GET_LISTENER_SOCK SKB_ECN_SET_CE
            SKB_LOAD_BYTES SKB_LOAD_BYTES_RELATIVE GET_SOCKET_COOKIE GET_NETNS_COOKIE
            GET_SOCKET_UID;
    }

    /// `sock_filter_func_proto`.
    CGROUP_SOCK behind it CGROUP {
        Always, None:
            GET_SOCKET_COOKIE GET_NETNS_COOKIE PERF_EVENT_OUTPUT SK_STORAGE_GET_CGROUP_SOCK
            KTIME_GET_COARSE_NS;
        At(&[CgroupInetSockCreate]), None: SETSOCKOPT_CTX GETSOCKOPT_CTX;
    }

    /// `sock_addr_func_proto`.
    SOCK_ADDR behind it CGROUP_SOCKET {
        At(&[CgroupInet4Connect, CgroupInet6Connect]), None: BIND;
        Always, None:
            GET_SOCKET_COOKIE GET_NETNS_COOKIE PERF_EVENT_OUTPUT SK_LOOKUP_TCP_SOCK_ADDR
            SK_LOOKUP_UDP_SOCK_ADDR SK_RELEASE SKC_LOOKUP_TCP_SOCK_ADDR SK_STORAGE_GET
            SK_STORAGE_DELETE;
        At(SOCK_ADDR_OPTIONS), None: SETSOCKOPT_CTX GETSOCKOPT_CTX;
    }

    /// `sock_ops_func_proto`.
    SOCK_OPS behind it CGROUP_SOCKET {
        Always, None:
            SETSOCKOPT_CTX GETSOCKOPT_CTX SOCK_OPS_CB_FLAGS_SET SOCK_MAP_UPDATE
            SOCK_HASH_UPDATE GET_SOCKET_COOKIE PERF_EVENT_OUTPUT SK_STORAGE_GET
            SK_STORAGE_DELETE GET_NETNS_COOKIE LOAD_HDR_OPT STORE_HDR_OPT RESERVE_HDR_OPT
            TCP_SOCK;
    }

    /// `cgroup_dev_func_proto` (`kernel/bpf/cgroup.c`).
    CGROUP_DEVICE behind it CGROUP {
        Always, None: PERF_EVENT_OUTPUT;
    }

    /// `sysctl_func_proto`.
    CGROUP_SYSCTL behind it CGROUP {
        Always, None:
            SYSCTL_GET_NAME SYSCTL_GET_CURRENT_VALUE SYSCTL_GET_NEW_VALUE SYSCTL_SET_NEW_VALUE
            KTIME_GET_COARSE_NS PERF_EVENT_OUTPUT;
    }

    /// `cg_sockopt_func_proto`.
    CGROUP_SOCKOPT behind it CGROUP {
        Always, None:
            GET_NETNS_COOKIE SK_STORAGE_GET SK_STORAGE_DELETE TCP_SOCK PERF_EVENT_OUTPUT;
        At(&[CgroupSetsockopt]), None: SETSOCKOPT GETSOCKOPT;
    }

    /// `tc_cls_act_func_proto` (`net/core/filter.c`).
    TRAFFIC_CONTROL behind it SOCKET_BASE {
        Always, None:
            SKB_STORE_BYTES SKB_LOAD_BYTES SKB_LOAD_BYTES_RELATIVE SKB_PULL_DATA CSUM_DIFF
            CSUM_UPDATE CSUM_LEVEL L3_CSUM_REPLACE L4_CSUM_REPLACE CLONE_REDIRECT
            GET_CGROUP_CLASSID SKB_VLAN_PUSH SKB_VLAN_POP SKB_CHANGE_PROTO SKB_CHANGE_TYPE
            SKB_ADJUST_ROOM SKB_CHANGE_TAIL SKB_CHANGE_HEAD SKB_GET_TUNNEL_KEY
            SKB_SET_TUNNEL_KEY SKB_GET_TUNNEL_OPT SKB_SET_TUNNEL_OPT REDIRECT REDIRECT_NEIGH
            REDIRECT_PEER GET_ROUTE_REALM GET_HASH_RECALC SET_HASH_INVALID SET_HASH
            PERF_EVENT_OUTPUT GET_SMP_PROCESSOR_ID SKB_UNDER_CGROUP GET_SOCKET_COOKIE
            GET_NETNS_COOKIE GET_SOCKET_UID FIB_LOOKUP CHECK_MTU SK_FULLSOCK SK_STORAGE_GET
            SK_STORAGE_DELETE SKB_GET_XFRM_STATE SKB_CGROUP_CLASSID SKB_CGROUP_ID
            SKB_ANCESTOR_CGROUP_ID SK_LOOKUP_TCP SK_LOOKUP_UDP SK_RELEASE TCP_SOCK
            GET_LISTENER_SOCK SKC_LOOKUP_TCP TCP_CHECK_SYNCOOKIE SKB_ECN_SET_CE
            TCP_GEN_SYNCOOKIE SK_ASSIGN SKB_SET_TSTAMP TCP_RAW_GEN_SYNCOOKIE_IPV4
            TCP_RAW_GEN_SYNCOOKIE_IPV6 TCP_RAW_CHECK_SYNCOOKIE_IPV4
            TCP_RAW_CHECK_SYNCOOKIE_IPV6;
    }

    /// `xdp_func_proto`.
    XDP behind it SOCKET_BASE {
        Always, None:
            PERF_EVENT_OUTPUT GET_SMP_PROCESSOR_ID CSUM_DIFF XDP_ADJUST_HEAD XDP_ADJUST_META
            REDIRECT REDIRECT_MAP XDP_ADJUST_TAIL XDP_GET_BUFF_LEN XDP_LOAD_BYTES
            XDP_STORE_BYTES FIB_LOOKUP CHECK_MTU SK_LOOKUP_UDP SK_LOOKUP_TCP SK_RELEASE
            SKC_LOOKUP_TCP TCP_CHECK_SYNCOOKIE TCP_GEN_SYNCOOKIE TCP_RAW_GEN_SYNCOOKIE_IPV4
            TCP_RAW_GEN_SYNCOOKIE_IPV6 TCP_RAW_CHECK_SYNCOOKIE_IPV4
            TCP_RAW_CHECK_SYNCOOKIE_IPV6;
    }

    /// `sk_msg_func_proto`.
    SK_MSG behind it SOCKET_BASE {
        Always, None:
            MSG_REDIRECT_MAP MSG_REDIRECT_HASH MSG_APPLY_BYTES MSG_CORK_BYTES MSG_PULL_DATA
            MSG_PUSH_DATA MSG_POP_DATA PERF_EVENT_OUTPUT SK_STORAGE_GET SK_STORAGE_DELETE
            GET_NETNS_COOKIE;
    }

    /// `sk_skb_func_proto`.
    SK_SKB behind it SOCKET_BASE {
        Always, None:
            SKB_STORE_BYTES SKB_LOAD_BYTES SKB_PULL_DATA SKB_CHANGE_TAIL SKB_CHANGE_HEAD
            SKB_ADJUST_ROOM GET_SOCKET_COOKIE GET_SOCKET_UID SK_REDIRECT_MAP SK_REDIRECT_HASH
            PERF_EVENT_OUTPUT SK_LOOKUP_TCP SK_LOOKUP_UDP SK_RELEASE SKC_LOOKUP_TCP;
    }

    /// `flow_dissector_func_proto`.
    FLOW_DISSECTOR behind it SOCKET_BASE {
        Always, None: SKB_LOAD_BYTES;
    }

    /// `lwt_out_func_proto`.
    LWT_OUT behind it SOCKET_BASE {
        Always, None:
            SKB_LOAD_BYTES SKB_PULL_DATA CSUM_DIFF GET_CGROUP_CLASSID GET_ROUTE_REALM
            GET_HASH_RECALC PERF_EVENT_OUTPUT GET_SMP_PROCESSOR_ID SKB_UNDER_CGROUP;
    }

    /// `lwt_in_func_proto`.
    LWT_IN behind it LWT_OUT {
        Always, None: LWT_PUSH_ENCAP;
    }

    /// `lwt_xmit_func_proto`.
    LWT_XMIT behind it LWT_OUT {
        Always, None:
            SKB_GET_TUNNEL_KEY SKB_SET_TUNNEL_KEY SKB_GET_TUNNEL_OPT SKB_SET_TUNNEL_OPT REDIRECT
            CLONE_REDIRECT SKB_CHANGE_TAIL SKB_CHANGE_HEAD SKB_STORE_BYTES CSUM_UPDATE CSUM_LEVEL
            L3_CSUM_REPLACE L4_CSUM_REPLACE SET_HASH_INVALID LWT_PUSH_ENCAP;
    }

    /// `lwt_seg6local_func_proto`.
    LWT_SEG6LOCAL behind it LWT_OUT {
        Never, None: SKB_PULL_DATA;
        Always, None: LWT_SEG6_STORE_BYTES LWT_SEG6_ACTION LWT_SEG6_ADJUST_SRH;
    }

    /// `sk_reuseport_func_proto`.
    SK_REUSEPORT behind it BASE {
        Always, None:
            SK_SELECT_REUSEPORT SKB_LOAD_BYTES SKB_LOAD_BYTES_RELATIVE GET_SOCKET_COOKIE_PTR
            KTIME_GET_COARSE_NS;
    }

    /// `sk_lookup_func_proto`.
    SK_LOOKUP behind it SOCKET_BASE {
        Always, None: PERF_EVENT_OUTPUT SK_ASSIGN_LOOKUP SK_RELEASE;
    }

    /// `lirc_mode2_func_proto` (`drivers/media/rc/bpf-lirc.c`).
    LIRC {
        Always, None:
            RC_REPEAT RC_KEYDOWN RC_POINTER_REL MAP_LOOKUP_ELEM MAP_UPDATE_ELEM MAP_DELETE_ELEM
            MAP_PUSH_ELEM MAP_POP_ELEM MAP_PEEK_ELEM KTIME_GET_NS KTIME_GET_BOOT_NS TAIL_CALL
            GET_PRANDOM_U32;
        Always, Perfmon: TRACE_PRINTK;
    }

    /// `bpf_tcp_ca_get_func_proto` (`net/ipv4/bpf_tcp_ca.c`): callbacks of `tcp_congestion_ops`.
    TCP_CONGESTION behind it BASE {
        Always, None: TCP_SEND_ACK SK_STORAGE_GET SK_STORAGE_DELETE KTIME_GET_COARSE_NS;
        MemberNot("tcp_congestion_ops.release"), None: SETSOCKOPT GETSOCKOPT;
    }

    /// Structures whose callbacks have no helpers (`net/bpf/bpf_dummy_struct_ops.c`).
    NOTHING {}
}

/// The table of a type of program; `None` for those that have none of their own.
pub(super) fn set(prog_type: ProgType, target: Option<&str>) -> Option<&'static Set> {
    Some(match prog_type {
        ProgType::SocketFilter => &SOCKET_FILTER,
        ProgType::Kprobe => &KPROBE,
        ProgType::SchedCls | ProgType::SchedAct => &TRAFFIC_CONTROL,
        ProgType::Tracepoint | ProgType::RawTracepoint | ProgType::RawTracepointWritable => {
            &TRACEPOINT
        }
        ProgType::Xdp => &XDP,
        ProgType::PerfEvent => &PERF_EVENT,
        ProgType::CgroupSkb => &CGROUP_SKB,
        ProgType::CgroupSock => &CGROUP_SOCK,
        ProgType::LwtIn => &LWT_IN,
        ProgType::LwtOut => &LWT_OUT,
        ProgType::LwtXmit => &LWT_XMIT,
        ProgType::SockOps => &SOCK_OPS,
        ProgType::SkSkb => &SK_SKB,
        ProgType::CgroupDevice => &CGROUP_DEVICE,
        ProgType::SkMsg => &SK_MSG,
        ProgType::CgroupSockAddr => &SOCK_ADDR,
        ProgType::LwtSeg6local => &LWT_SEG6LOCAL,
        ProgType::LircMode2 => &LIRC,
        ProgType::SkReuseport => &SK_REUSEPORT,
        ProgType::FlowDissector => &FLOW_DISSECTOR,
        ProgType::CgroupSysctl => &CGROUP_SYSCTL,
        ProgType::CgroupSockopt => &CGROUP_SOCKOPT,
        ProgType::Tracing => &TRACING,
        ProgType::StructOps => match target.map(|target| target.split('.').next()) {
            Some(Some("tcp_congestion_ops")) | None => &TCP_CONGESTION,
            Some(Some("bpf_dummy_ops")) => &NOTHING,
            Some(_) => &BASE,
        },
        ProgType::Lsm => &LSM,
        ProgType::SkLookup => &SK_LOOKUP,
        ProgType::Syscall => &SYSCALL,
        ProgType::Netfilter => &BASE,
        ProgType::Ext | ProgType::Unspecified => return None,
    })
}

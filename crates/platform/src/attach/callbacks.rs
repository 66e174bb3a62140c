//! Structures of kernel callbacks: which there are, which callbacks may sleep, and what they may write
//! of the kernel's structures (`struct bpf_struct_ops`, `btf_struct_access`, Linux 7.3).

use crate::ProgType;
use crate::proto::Caller;

/// Which callbacks of a structure may sleep (`check_member`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sleeping {
    /// All.
    May,
    /// These.
    MayIn(&'static [&'static str]),
    /// All may, these must.
    MustIn(&'static [&'static str]),
}

/// A part of a structure of the kernel that callbacks may write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WritableField {
    /// The structure that the pointer points to.
    pub pointee: &'static str,
    /// The structure at the start of that one (or it itself) that has the member.
    pub within: &'static str,
    /// The member; parts of it after a dot, a structure that is kept in it after a colon; empty:
    /// all.
    pub member: &'static str,
    /// Writes must begin where the member does; else anywhere within it.
    pub from_start: bool,
}

const fn anywhere(
    pointee: &'static str,
    within: &'static str,
    member: &'static str,
) -> WritableField {
    WritableField { pointee, within, member, from_start: false }
}

const fn whole(pointee: &'static str, within: &'static str, member: &'static str) -> WritableField {
    WritableField { pointee, within, member, from_start: true }
}

/// A structure of callbacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Callbacks {
    /// Its name in C.
    pub structure: &'static str,
    /// Which may sleep.
    pub sleeping: Sleeping,
    /// What they may write.
    pub writable: &'static [WritableField],
}

const TCP_SOCK: &[WritableField] = &[
    whole("tcp_sock", "sock", "sk_pacing_rate"),
    whole("tcp_sock", "sock", "sk_pacing_status"),
    anywhere("tcp_sock", "inet_connection_sock", "icsk_ca_priv"),
    whole("tcp_sock", "inet_connection_sock", "icsk_ack.pending"),
    whole("tcp_sock", "tcp_sock", "snd_cwnd"),
    whole("tcp_sock", "tcp_sock", "snd_cwnd_cnt"),
    whole("tcp_sock", "tcp_sock", "snd_cwnd_stamp"),
    whole("tcp_sock", "tcp_sock", "snd_ssthresh"),
    whole("tcp_sock", "tcp_sock", "ecn_flags"),
    whole("tcp_sock", "tcp_sock", "app_limited"),
];

const QDISC: &[WritableField] = &[
    whole("sk_buff", "sk_buff", "tstamp"),
    anywhere("sk_buff", "sk_buff", "cb:qdisc_skb_cb.data"),
    whole("Qdisc", "Qdisc", "limit"),
    whole("Qdisc", "Qdisc", "q.qlen"),
    anywhere("Qdisc", "Qdisc", "qstats"),
];

const SCHEDULER_SLEEPS: &[&str] = &[
    "init_task",
    "cgroup_init",
    "cgroup_exit",
    "cgroup_prep_move",
    "cgroup_set_bandwidth",
    "cpu_online",
    "cpu_offline",
    "init_cids",
    "init",
    "exit",
    "sub_attach",
    "sub_detach",
];

/// Every structure.
pub const CALLBACKS: &[Callbacks] = &[
    Callbacks { structure: "tcp_congestion_ops", sleeping: Sleeping::May, writable: TCP_SOCK },
    Callbacks { structure: "Qdisc_ops", sleeping: Sleeping::May, writable: QDISC },
    Callbacks {
        structure: "sched_ext_ops",
        sleeping: Sleeping::MayIn(SCHEDULER_SLEEPS),
        writable: &[
            anywhere("task_struct", "task_struct", "scx.slice"),
            anywhere("task_struct", "task_struct", "scx.dsq_vtime"),
            anywhere("task_struct", "task_struct", "scx.disallow"),
        ],
    },
    Callbacks {
        structure: "sched_ext_ops_cid",
        sleeping: Sleeping::MayIn(SCHEDULER_SLEEPS),
        writable: &[anywhere("task_struct", "task_struct", "scx.disallow")],
    },
    Callbacks {
        structure: "hid_bpf_ops",
        sleeping: Sleeping::MayIn(&["hid_rdesc_fixup", "hid_hw_request", "hid_hw_output_report"]),
        writable: &[
            anywhere("hid_bpf_ctx", "hid_bpf_ctx", "retval"),
            anywhere("hid_device", "hid_device", "name"),
            anywhere("hid_device", "hid_device", "uniq"),
            anywhere("hid_device", "hid_device", "phys"),
        ],
    },
    Callbacks {
        structure: "binfmt_misc_ops",
        sleeping: Sleeping::MustIn(&["match", "load"]),
        writable: &[],
    },
    Callbacks {
        structure: "bpf_dummy_ops",
        sleeping: Sleeping::MayIn(&["test_sleepable"]),
        writable: &[anywhere("bpf_dummy_ops_state", "bpf_dummy_ops_state", "")],
    },
    Callbacks {
        structure: "io_uring_bpf_ops",
        sleeping: Sleeping::May,
        writable: &[anywhere("iou_loop_params", "iou_loop_params", "cq_wait_idx")],
    },
    Callbacks { structure: "smc_hs_ctrl", sleeping: Sleeping::May, writable: &[] },
];

/// The structure of this name.
pub fn callbacks(structure: &str) -> Option<&'static Callbacks> {
    CALLBACKS.iter().find(|callbacks| callbacks.structure == structure)
}

/// The mark of a connection that is tracked, which programs over packets may write
/// (`nf_conntrack_btf_struct_access`, `net/netfilter/nf_conntrack_bpf.c`).
const CONNECTION: &[WritableField] =
    &[whole("nf_conn", "nf_conn", "mark"), whole("nf_conn___init", "nf_conn", "mark")];

/// What `caller` may write of structures of the kernel.
pub fn writable_fields(caller: &Caller) -> &'static [WritableField] {
    match caller.prog_type {
        ProgType::StructOps => {
            let structure = caller.target.and_then(|target| target.split('.').next());
            structure.and_then(callbacks).map_or(&[], |callbacks| callbacks.writable)
        }
        ProgType::Xdp | ProgType::SchedCls | ProgType::SchedAct => CONNECTION,
        _ => &[],
    }
}

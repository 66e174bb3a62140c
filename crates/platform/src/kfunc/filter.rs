//! What a program must be beside its type to call a set of kfuncs (the `filter` functions of
//! `struct btf_kfunc_id_set`).

use crate::proto::Caller;
use crate::{AttachType, ProgType};

/// Who may call a set.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Filter {
    /// Everybody.
    None,
    /// Iterators (`tracing_iter_filter`).
    Iterators,
    /// Programs that run at entry and return (`bpf_session_filter`).
    Sessions,
    /// Programs that are not at this hook (`bpf_ksock_kfunc_filter`).
    NotAt(&'static str),
    /// Programs at security hooks (`bpf_get_fsverity_digest_filter`).
    Lsm,
    /// Those, and callbacks of this structure (`bpf_fs_kfuncs_filter`).
    LsmOrCallbacks(&'static str),
    /// Callbacks, or all of structures (`bpf_qdisc_kfunc_filter`, `bm_bpf_kfunc_filter`).
    Callbacks(&'static [&'static str]),
    /// What callbacks of schedulers may do (`scx_kfunc_context_filter`, `kernel/sched/ext/ext.c`).
    Scheduler(Group),
}

/// Kfuncs of schedulers that are for the same callbacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Group {
    Any,
    Idle,
    Cid,
    SelectCpu,
    Enqueue,
    Dispatch,
    CpuRelease,
    InitCids,
    Unlocked,
}

/// Structure and member of `target`.
fn parts(target: &str) -> (&str, Option<&str>) {
    match target.split_once('.') {
        Some((structure, member)) => (structure, Some(member)),
        None => (target, None),
    }
}

impl Filter {
    /// Whether `caller` may call the kfunc of this name in a set with this filter.
    pub(super) fn lets(self, caller: &Caller, kfunc: &str) -> bool {
        let is_lsm = caller.prog_type == ProgType::Lsm;
        let is_callback = caller.prog_type == ProgType::StructOps;
        match self {
            Filter::None => true,
            Filter::Iterators => caller.attach_type == AttachType::TraceIter,
            Filter::Sessions => matches!(
                caller.attach_type,
                AttachType::TraceKprobeSession
                    | AttachType::TraceUprobeSession
                    | AttachType::TraceFsession
                    | AttachType::TraceFsessionMulti
            ),
            Filter::NotAt(hook) => {
                caller.prog_type == ProgType::Syscall || (is_lsm && caller.target != Some(hook))
            }
            Filter::Lsm => is_lsm,
            Filter::LsmOrCallbacks(structure) => {
                is_lsm || is_callback && is_one_of(caller.target, &[structure])
            }
            Filter::Callbacks(callbacks) => is_callback && is_one_of(caller.target, callbacks),
            Filter::Scheduler(group) => group.lets(caller, kfunc),
        }
    }
}

/// Whether the callback is among these, or its structure is, or nobody says which it is.
fn is_one_of(target: Option<&str>, callbacks: &[&str]) -> bool {
    let Some(target) = target else { return !callbacks.is_empty() };
    let (structure, member) = parts(target);
    callbacks.contains(&target)
        || callbacks.contains(&structure)
        || member.is_none() && callbacks.iter().any(|callback| parts(callback).0 == structure)
}

impl Group {
    fn lets(self, caller: &Caller, kfunc: &str) -> bool {
        use Group::*;
        let is_anywhere = matches!(self, Any | Idle | Cid);
        match caller.prog_type {
            ProgType::Syscall => is_anywhere || matches!(self, Unlocked | SelectCpu),
            ProgType::StructOps => {
                let Some(target) = caller.target else { return true };
                let (structure, member) = parts(target);
                match structure {
                    "sched_ext_ops" => {}
                    "sched_ext_ops_cid" if !CPU_ONLY.contains(&kfunc) => {}
                    _ => return false,
                }
                is_anywhere || member.is_none_or(|member| allowed(member).contains(&self))
            }
            _ => is_anywhere,
        }
    }
}

/// The groups that a callback of a scheduler may call, beside those that all may
/// (`scx_kf_allow_flags`).
fn allowed(member: &str) -> &'static [Group] {
    use Group::*;
    match member {
        "select_cpu" | "enqueue" => &[SelectCpu, Enqueue],
        "dispatch" | "sub_ecaps_updated" => &[Enqueue, Dispatch],
        "cpu_release" => &[CpuRelease],
        "init_cids" => &[Unlocked, InitCids],
        "init_task"
        | "dump"
        | "cgroup_init"
        | "cgroup_exit"
        | "cgroup_prep_move"
        | "cgroup_cancel_move"
        | "cgroup_set_weight"
        | "cgroup_set_bandwidth"
        | "cgroup_set_idle"
        | "sub_attach"
        | "sub_detach"
        | "cpu_online"
        | "cpu_offline"
        | "init"
        | "exit" => &[Unlocked],
        _ => &[],
    }
}

/// What schedulers that number CPUs themselves must not call (`scx_kfunc_ids_cpu_only`).
const CPU_ONLY: &[&str] = &[
    "scx_bpf_kick_cpu",
    "scx_bpf_task_cpu",
    "scx_bpf_cpu_curr",
    "scx_bpf_cpu_node",
    "scx_bpf_cpuperf_cap",
    "scx_bpf_cpuperf_cur",
    "scx_bpf_cpuperf_set",
    "scx_bpf_get_possible_cpumask",
    "scx_bpf_get_online_cpumask",
    "scx_bpf_put_cpumask",
    "scx_bpf_select_cpu_dfl",
    "__scx_bpf_select_cpu_and",
    "scx_bpf_select_cpu_and",
    "scx_bpf_get_idle_cpumask",
    "scx_bpf_get_idle_cpumask_node",
    "scx_bpf_get_idle_smtmask",
    "scx_bpf_get_idle_smtmask_node",
    "scx_bpf_put_idle_cpumask",
    "scx_bpf_test_and_clear_cpu_idle",
    "scx_bpf_pick_idle_cpu",
    "scx_bpf_pick_idle_cpu_node",
    "scx_bpf_pick_any_cpu",
    "scx_bpf_pick_any_cpu_node",
];

//! Kfuncs of schedulers (`sched_ext`).

use super::{Filter, Group, kfunc_sets};

kfunc_sets! {
    SCHEDULER;

    /// Numbers of CPUs while they are made (`kernel/sched/ext/cid.c`).
    INIT_CIDS: [StructOps], Filter::Scheduler(Group::InitCids) => {
        scx_bpf_cid_override [IMPLICIT_ARGS SLEEPABLE];
    }

    /// Numbers of CPUs.
    CIDS: [StructOps Tracing Syscall], Filter::Scheduler(Group::Cid) => {
        scx_bpf_cid_to_cpu [IMPLICIT_ARGS];
        scx_bpf_cpu_to_cid [IMPLICIT_ARGS];
        scx_bpf_cid_topo [IMPLICIT_ARGS];
    }

    /// Putting tasks into queues (`kernel/sched/ext/ext.c`).
    ENQUEUE: [StructOps], Filter::Scheduler(Group::Enqueue) => {
        scx_bpf_dsq_insert [IMPLICIT_ARGS RCU];
        scx_bpf_dsq_insert___v2 [IMPLICIT_ARGS RCU];
        __scx_bpf_dsq_insert_vtime [IMPLICIT_ARGS RCU];
        scx_bpf_dsq_insert_vtime [RCU];
    }

    /// Taking tasks out of queues.
    DISPATCH: [StructOps], Filter::Scheduler(Group::Dispatch) => {
        scx_bpf_dispatch_nr_slots [IMPLICIT_ARGS];
        scx_bpf_dispatch_cancel [IMPLICIT_ARGS];
        scx_bpf_dsq_move_to_local [IMPLICIT_ARGS];
        scx_bpf_dsq_move_to_local___v2 [IMPLICIT_ARGS];
        scx_bpf_dsq_move_set_slice [RCU];
        scx_bpf_dsq_move_set_vtime [RCU];
        scx_bpf_dsq_move [RCU];
        scx_bpf_dsq_move_vtime [RCU];
        scx_bpf_sub_dispatch [IMPLICIT_ARGS];
    }

    /// When a CPU is taken away.
    CPU_RELEASE: [StructOps], Filter::Scheduler(Group::CpuRelease) => {
        scx_bpf_reenqueue_local [IMPLICIT_ARGS];
    }

    /// Without the run queue's lock.
    UNLOCKED: [StructOps Syscall], Filter::Scheduler(Group::Unlocked) => {
        scx_bpf_create_dsq [IMPLICIT_ARGS SLEEPABLE];
        scx_bpf_dsq_move_set_slice [RCU];
        scx_bpf_dsq_move_set_vtime [RCU];
        scx_bpf_dsq_move [RCU];
        scx_bpf_dsq_move_vtime [RCU];
        __scx_bpf_select_cpu_and [IMPLICIT_ARGS RCU];
        scx_bpf_select_cpu_and [RCU];
        scx_bpf_select_cpu_dfl [IMPLICIT_ARGS RCU];
    }

    /// Everywhere.
    ANY: [StructOps Tracing Syscall], Filter::Scheduler(Group::Any) => {
        scx_bpf_task_set_slice [IMPLICIT_ARGS RCU];
        scx_bpf_task_set_dsq_vtime [IMPLICIT_ARGS RCU];
        scx_bpf_kick_cpu [IMPLICIT_ARGS];
        scx_bpf_kick_cid [IMPLICIT_ARGS];
        scx_bpf_dsq_nr_queued [IMPLICIT_ARGS];
        scx_bpf_destroy_dsq [IMPLICIT_ARGS];
        scx_bpf_dsq_peek [IMPLICIT_ARGS RCU_PROTECTED RET_NULL];
        scx_bpf_dsq_reenq [IMPLICIT_ARGS];
        scx_bpf_reenqueue_local___v2 [IMPLICIT_ARGS];
        bpf_iter_scx_dsq_new [IMPLICIT_ARGS ITER_NEW RCU_PROTECTED];
        bpf_iter_scx_dsq_next [ITER_NEXT RET_NULL];
        bpf_iter_scx_dsq_destroy [ITER_DESTROY];
        scx_bpf_exit_bstr [IMPLICIT_ARGS];
        scx_bpf_error_bstr [IMPLICIT_ARGS];
        scx_bpf_dump_bstr [IMPLICIT_ARGS];
        scx_bpf_cpuperf_cap [IMPLICIT_ARGS];
        scx_bpf_cpuperf_cur [IMPLICIT_ARGS];
        scx_bpf_cpuperf_set [IMPLICIT_ARGS];
        scx_bpf_cidperf_cap [IMPLICIT_ARGS];
        scx_bpf_cidperf_cur [IMPLICIT_ARGS];
        scx_bpf_cidperf_set [IMPLICIT_ARGS];
        scx_bpf_nr_node_ids;
        scx_bpf_nr_cpu_ids;
        scx_bpf_nr_cids;
        scx_bpf_nr_online_cids;
        scx_bpf_online_cmask [IMPLICIT_ARGS ARENA_RET];
        scx_bpf_this_cid;
        scx_bpf_get_possible_cpumask [ACQUIRE];
        scx_bpf_get_online_cpumask [ACQUIRE];
        scx_bpf_put_cpumask [RELEASE];
        scx_bpf_task_running [RCU];
        scx_bpf_task_cpu [RCU];
        scx_bpf_task_cid [RCU];
        scx_bpf_locked_rq [IMPLICIT_ARGS RET_NULL];
        scx_bpf_cpu_curr [IMPLICIT_ARGS RET_NULL RCU_PROTECTED];
        scx_bpf_cid_curr [IMPLICIT_ARGS RET_NULL RCU_PROTECTED];
        scx_bpf_tid_to_task [RET_NULL RCU_PROTECTED];
        scx_bpf_now;
        scx_bpf_events [IMPLICIT_ARGS];
        scx_bpf_task_cgroup [IMPLICIT_ARGS RCU ACQUIRE];
        scx_bpf_sub_grant [IMPLICIT_ARGS];
        scx_bpf_sub_revoke [IMPLICIT_ARGS];
        scx_bpf_sub_caps [IMPLICIT_ARGS];
        scx_bpf_sub_kill_bstr [IMPLICIT_ARGS];
    }

    /// Idle CPUs (`kernel/sched/ext/idle.c`).
    IDLE: [StructOps Tracing Syscall], Filter::Scheduler(Group::Idle) => {
        scx_bpf_cpu_node [IMPLICIT_ARGS];
        scx_bpf_get_idle_cpumask_node [IMPLICIT_ARGS ACQUIRE];
        scx_bpf_get_idle_cpumask [IMPLICIT_ARGS ACQUIRE];
        scx_bpf_get_idle_smtmask_node [IMPLICIT_ARGS ACQUIRE];
        scx_bpf_get_idle_smtmask [IMPLICIT_ARGS ACQUIRE];
        scx_bpf_put_idle_cpumask [RELEASE];
        scx_bpf_test_and_clear_cpu_idle [IMPLICIT_ARGS];
        scx_bpf_pick_idle_cpu_node [IMPLICIT_ARGS RCU];
        scx_bpf_pick_idle_cpu [IMPLICIT_ARGS RCU];
        scx_bpf_pick_any_cpu_node [IMPLICIT_ARGS RCU];
        scx_bpf_pick_any_cpu [IMPLICIT_ARGS RCU];
    }

    /// Choosing a CPU.
    SELECT_CPU: [StructOps Syscall], Filter::Scheduler(Group::SelectCpu) => {
        __scx_bpf_select_cpu_and [IMPLICIT_ARGS RCU];
        scx_bpf_select_cpu_and [RCU];
        scx_bpf_select_cpu_dfl [IMPLICIT_ARGS RCU];
    }
}

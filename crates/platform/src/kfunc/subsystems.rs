//! Kfuncs of other parts of the kernel: CPUs, cgroups, files, encryption, devices.

use super::{Filter, kfunc_sets};

kfunc_sets! {
    SUBSYSTEMS;

    /// Sets of CPUs (`kernel/bpf/cpumask.c`).
    CPUMASKS: [StructOps Tracing Syscall], Filter::None => {
        bpf_cpumask_create [ACQUIRE RET_NULL];
        bpf_cpumask_release [RELEASE];
        bpf_cpumask_acquire [ACQUIRE];
        bpf_cpumask_first [RCU];
        bpf_cpumask_first_zero [RCU];
        bpf_cpumask_first_and [RCU];
        bpf_cpumask_set_cpu [RCU];
        bpf_cpumask_clear_cpu [RCU];
        bpf_cpumask_test_cpu [RCU];
        bpf_cpumask_test_and_set_cpu [RCU];
        bpf_cpumask_test_and_clear_cpu [RCU];
        bpf_cpumask_setall [RCU];
        bpf_cpumask_clear [RCU];
        bpf_cpumask_and [RCU];
        bpf_cpumask_or [RCU];
        bpf_cpumask_xor [RCU];
        bpf_cpumask_equal [RCU];
        bpf_cpumask_intersects [RCU];
        bpf_cpumask_subset [RCU];
        bpf_cpumask_empty [RCU];
        bpf_cpumask_full [RCU];
        bpf_cpumask_copy [RCU];
        bpf_cpumask_any_distribute [RCU];
        bpf_cpumask_any_and_distribute [RCU];
        bpf_cpumask_weight [RCU];
        bpf_cpumask_populate [RCU];
    }

    /// Statistics of cgroups (`kernel/cgroup/rstat.c`).
    CGROUP_STATISTICS: [Tracing], Filter::None => {
        css_rstat_updated;
        css_rstat_flush [SLEEPABLE];
    }

    /// Memory of cgroups (`mm/bpf_memcontrol.c`).
    MEMORY_CGROUPS: [Common], Filter::None => {
        bpf_get_root_mem_cgroup [ACQUIRE RET_NULL];
        bpf_get_mem_cgroup [ACQUIRE RET_NULL RCU];
        bpf_put_mem_cgroup [RELEASE];
        bpf_mem_cgroup_vm_events;
        bpf_mem_cgroup_memory_events;
        bpf_mem_cgroup_usage;
        bpf_mem_cgroup_page_state;
        bpf_mem_cgroup_flush_stats [SLEEPABLE];
    }

    /// Keys (`kernel/bpf/crypto.c`).
    CRYPTO_KEYS: [Syscall], Filter::None => {
        bpf_crypto_ctx_create [ACQUIRE RET_NULL SLEEPABLE];
        bpf_crypto_ctx_release [RELEASE];
        bpf_crypto_ctx_acquire [ACQUIRE RCU RET_NULL];
    }

    /// Encryption (`kernel/bpf/crypto.c`).
    CRYPTO: [Xdp SchedCls SchedAct], Filter::None => {
        bpf_crypto_decrypt [RCU];
        bpf_crypto_encrypt [RCU];
    }

    /// Programs that run at a function's entry and at its return (`kernel/trace/bpf_trace.c`).
    SESSIONS: [Tracing Kprobe], Filter::Sessions => {
        bpf_session_is_return;
        bpf_session_cookie;
    }

    /// Files, paths and their attributes (`fs/bpf_fs_kfuncs.c`).
    FILES: [StructOps Tracing], Filter::LsmOrCallbacks("binfmt_misc_ops") => {
        bpf_get_task_exe_file [ACQUIRE RET_NULL];
        bpf_put_file [RELEASE];
        bpf_path_d_path;
        bpf_get_dentry_xattr [SLEEPABLE];
        bpf_get_file_xattr [SLEEPABLE];
        bpf_real_data_inode [SLEEPABLE RET_NULL];
        bpf_sock_read_xattr [RCU];
    }

    /// The same, in security hooks alone.
    FILES_OF_HOOKS: [StructOps Tracing], Filter::Lsm => {
        bpf_set_dentry_xattr [SLEEPABLE];
        bpf_remove_dentry_xattr [SLEEPABLE];
    }

    /// Digests of files (`fs/verity/measure.c`).
    FS_VERITY: [Tracing], Filter::Lsm => {
        bpf_get_fsverity_digest;
    }

    /// How a binary is run (`fs/binfmt_misc_bpf.c`; a module).
    BINFMT: [StructOps], Filter::Callbacks(&["binfmt_misc_ops.load"]) => {
        bpf_binprm_set_interp [SLEEPABLE];
        bpf_binprm_select_interp [SLEEPABLE];
        bpf_binprm_set_interp_arg [SLEEPABLE];
        bpf_binprm_set_flags [SLEEPABLE];
    }

    /// What wakes the machine (`drivers/base/power/wakeup.c`).
    WAKEUP_SOURCES: [Syscall], Filter::None => {
        bpf_wakeup_sources_read_lock [ACQUIRE];
        bpf_wakeup_sources_read_unlock [RELEASE];
        bpf_wakeup_sources_get_head;
    }

    /// Input devices (`drivers/hid/bpf/hid_bpf_dispatch.c`; a module).
    HID: [StructOps], Filter::None => {
        hid_bpf_get_data [RET_NULL];
        hid_bpf_allocate_context [ACQUIRE RET_NULL SLEEPABLE];
        hid_bpf_release_context [RELEASE SLEEPABLE];
        hid_bpf_hw_request [SLEEPABLE];
        hid_bpf_hw_output_report [SLEEPABLE];
        hid_bpf_input_report [SLEEPABLE];
        hid_bpf_try_input_report;
    }

    /// The same, of programs that make system calls.
    HID_SYSCALL: [Syscall], Filter::None => {
        hid_bpf_allocate_context [ACQUIRE RET_NULL SLEEPABLE];
        hid_bpf_release_context [RELEASE SLEEPABLE];
        hid_bpf_hw_request [SLEEPABLE];
        hid_bpf_hw_output_report [SLEEPABLE];
        hid_bpf_input_report [SLEEPABLE];
    }

    /// Submission queues (`io_uring/bpf-ops.c`).
    IO_URING: [StructOps], Filter::None => {
        bpf_io_uring_submit_sqes [SLEEPABLE];
        bpf_io_uring_get_region [RET_NULL];
    }
}

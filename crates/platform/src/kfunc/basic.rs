//! Kfuncs of eBPF itself: objects, lists, trees, bounded pointers, iterators, locks, arenas.

use super::{Filter, kfunc_sets};

kfunc_sets! {
    BASIC;

    /// Every type of program has these (`kernel/bpf/helpers.c`).
    COMMON: [Common], Filter::None => {
        bpf_cast_to_kern_ctx [FASTCALL];
        bpf_rdonly_cast [FASTCALL PERFMON];
        bpf_rcu_read_lock;
        bpf_rcu_read_unlock;
        bpf_dynptr_slice [RET_NULL];
        bpf_dynptr_slice_rdwr [RET_NULL];
        bpf_iter_num_new [ITER_NEW SPINLOCK_SAFE];
        bpf_iter_num_next [ITER_NEXT RET_NULL SPINLOCK_SAFE];
        bpf_iter_num_destroy [ITER_DESTROY SPINLOCK_SAFE];
        bpf_iter_task_vma_new [ITER_NEW RCU];
        bpf_iter_task_vma_next [ITER_NEXT RET_NULL];
        bpf_iter_task_vma_destroy [ITER_DESTROY];
        bpf_iter_css_task_new [ITER_NEW];
        bpf_iter_css_task_next [ITER_NEXT RET_NULL];
        bpf_iter_css_task_destroy [ITER_DESTROY];
        bpf_iter_css_new [ITER_NEW RCU_PROTECTED];
        bpf_iter_css_next [ITER_NEXT RET_NULL];
        bpf_iter_css_destroy [ITER_DESTROY];
        bpf_iter_task_new [ITER_NEW RCU_PROTECTED];
        bpf_iter_task_next [ITER_NEXT RET_NULL];
        bpf_iter_task_destroy [ITER_DESTROY];
        bpf_dynptr_adjust;
        bpf_dynptr_is_null;
        bpf_dynptr_is_rdonly;
        bpf_dynptr_size;
        bpf_dynptr_clone;
        bpf_dynptr_copy;
        bpf_dynptr_memset;
        bpf_modify_return_test_tp;
        bpf_wq_init;
        bpf_wq_set_callback [IMPLICIT_ARGS];
        bpf_wq_start;
        bpf_preempt_disable;
        bpf_preempt_enable;
        bpf_iter_bits_new [ITER_NEW PERFMON];
        bpf_iter_bits_next [ITER_NEXT RET_NULL];
        bpf_iter_bits_destroy [ITER_DESTROY];
        bpf_copy_from_user_str [SLEEPABLE PERFMON];
        bpf_copy_from_user_task_str [SLEEPABLE PERFMON];
        bpf_get_kmem_cache [PERFMON];
        bpf_iter_kmem_cache_new [ITER_NEW SLEEPABLE];
        bpf_iter_kmem_cache_next [ITER_NEXT RET_NULL SLEEPABLE];
        bpf_iter_kmem_cache_destroy [ITER_DESTROY SLEEPABLE];
        bpf_local_irq_save;
        bpf_local_irq_restore;
        bpf_probe_read_user_dynptr [PERFMON];
        bpf_probe_read_kernel_dynptr [PERFMON];
        bpf_probe_read_user_str_dynptr [PERFMON];
        bpf_probe_read_kernel_str_dynptr [PERFMON];
        bpf_copy_from_user_dynptr [SLEEPABLE PERFMON];
        bpf_copy_from_user_str_dynptr [SLEEPABLE PERFMON];
        bpf_copy_from_user_task_dynptr [SLEEPABLE PERFMON];
        bpf_copy_from_user_task_str_dynptr [SLEEPABLE PERFMON];
        bpf_iter_dmabuf_new [ITER_NEW SLEEPABLE];
        bpf_iter_dmabuf_next [ITER_NEXT RET_NULL SLEEPABLE];
        bpf_iter_dmabuf_destroy [ITER_DESTROY SLEEPABLE];
        __bpf_trap;
        bpf_strcmp [PERFMON];
        bpf_strcasecmp [PERFMON];
        bpf_strncasecmp [PERFMON];
        bpf_strchr [PERFMON];
        bpf_strchrnul [PERFMON];
        bpf_strnchr [PERFMON];
        bpf_strrchr [PERFMON];
        bpf_strlen [PERFMON];
        bpf_strnlen [PERFMON];
        bpf_strspn [PERFMON];
        bpf_strcspn [PERFMON];
        bpf_strstr [PERFMON];
        bpf_strcasestr [PERFMON];
        bpf_strnstr [PERFMON];
        bpf_strncasestr [PERFMON];
        bpf_cgroup_read_xattr [RCU];
        bpf_stream_vprintk [IMPLICIT_ARGS SPINLOCK_SAFE PERFMON];
        bpf_stream_print_stack [IMPLICIT_ARGS SPINLOCK_SAFE PERFMON];
        bpf_task_work_schedule_signal [IMPLICIT_ARGS];
        bpf_task_work_schedule_resume [IMPLICIT_ARGS];
        bpf_dynptr_from_file;
        bpf_dynptr_file_discard [RELEASE];
        bpf_timer_cancel_async;
    }

    /// Objects, lists, trees, tasks, cgroups (`kernel/bpf/helpers.c`).
    GENERIC: [Xdp SchedCls StructOps Tracing Syscall Cgroup], Filter::None => {
        crash_kexec [DESTRUCTIVE];
        bpf_obj_new [ACQUIRE RET_NULL IMPLICIT_ARGS];
        bpf_obj_new_impl [ACQUIRE RET_NULL];
        bpf_percpu_obj_new [ACQUIRE RET_NULL IMPLICIT_ARGS];
        bpf_percpu_obj_new_impl [ACQUIRE RET_NULL];
        bpf_obj_drop [RELEASE IMPLICIT_ARGS];
        bpf_obj_drop_impl [RELEASE];
        bpf_percpu_obj_drop [RELEASE IMPLICIT_ARGS];
        bpf_percpu_obj_drop_impl [RELEASE];
        bpf_refcount_acquire [ACQUIRE RET_NULL RCU IMPLICIT_ARGS SPINLOCK_SAFE];
        bpf_refcount_acquire_impl [ACQUIRE RET_NULL RCU SPINLOCK_SAFE];
        bpf_list_push_front [IMPLICIT_ARGS SPINLOCK_SAFE];
        bpf_list_push_front_impl [SPINLOCK_SAFE];
        bpf_list_push_back [IMPLICIT_ARGS SPINLOCK_SAFE];
        bpf_list_push_back_impl [SPINLOCK_SAFE];
        bpf_list_add [IMPLICIT_ARGS SPINLOCK_SAFE];
        bpf_list_pop_front [ACQUIRE RET_NULL SPINLOCK_SAFE];
        bpf_list_pop_back [ACQUIRE RET_NULL SPINLOCK_SAFE];
        bpf_list_del [ACQUIRE RET_NULL SPINLOCK_SAFE];
        bpf_list_front [RET_NULL SPINLOCK_SAFE];
        bpf_list_back [RET_NULL SPINLOCK_SAFE];
        bpf_list_is_first [SPINLOCK_SAFE];
        bpf_list_is_last [SPINLOCK_SAFE];
        bpf_list_empty [SPINLOCK_SAFE];
        bpf_task_acquire [ACQUIRE RCU RET_NULL];
        bpf_task_release [RELEASE];
        bpf_rbtree_remove [ACQUIRE RET_NULL SPINLOCK_SAFE];
        bpf_rbtree_add [IMPLICIT_ARGS SPINLOCK_SAFE];
        bpf_rbtree_add_impl [SPINLOCK_SAFE];
        bpf_rbtree_first [RET_NULL SPINLOCK_SAFE];
        bpf_rbtree_root [RET_NULL SPINLOCK_SAFE];
        bpf_rbtree_left [RET_NULL SPINLOCK_SAFE];
        bpf_rbtree_right [RET_NULL SPINLOCK_SAFE];
        bpf_cgroup_acquire [ACQUIRE RCU RET_NULL];
        bpf_cgroup_release [RELEASE];
        bpf_cgroup_ancestor [ACQUIRE RCU RET_NULL];
        bpf_cgroup_from_id [ACQUIRE RET_NULL];
        bpf_task_under_cgroup [RCU];
        bpf_task_get_cgroup1 [ACQUIRE RCU RET_NULL];
        bpf_task_from_pid [ACQUIRE RET_NULL];
        bpf_task_from_vpid [ACQUIRE RET_NULL];
        bpf_throw;
        bpf_send_signal_task;
        bpf_lookup_user_key [ACQUIRE RET_NULL SLEEPABLE];
        bpf_lookup_system_key [ACQUIRE RET_NULL];
        bpf_key_put [RELEASE];
        bpf_verify_pkcs7_signature [SLEEPABLE];
    }

    /// Memory shared with user space (`kernel/bpf/arena.c`).
    ARENA: [Common], Filter::None => {
        bpf_arena_alloc_pages [ARENA_RET ARENA_ARG2 SPINLOCK_SAFE];
        bpf_arena_free_pages [ARENA_ARG2 SPINLOCK_SAFE];
        bpf_arena_reserve_pages [ARENA_ARG2 SPINLOCK_SAFE];
    }

    /// Locks that notice deadlocks (`kernel/bpf/rqspinlock.c`).
    SPIN_LOCKS: [Common], Filter::None => {
        bpf_res_spin_lock [RET_NULL SPINLOCK_SAFE];
        bpf_res_spin_unlock [SPINLOCK_SAFE];
        bpf_res_spin_lock_irqsave [RET_NULL SPINLOCK_SAFE];
        bpf_res_spin_unlock_irqrestore [SPINLOCK_SAFE];
    }

    /// Maps (`kernel/bpf/map_iter.c`).
    MAPS: [Common], Filter::None => {
        bpf_map_sum_elem_count;
    }
}

//! Functions of the kernel that only some programs may attach to, and programs that may sleep
//! (`bpf_check_attach_target`, `check_attach_btf_id`, `kernel/bpf/verifier.c`, Linux 7.3).

use super::lsm;
use crate::AttachType::{self, *};
use crate::ProgType;
use crate::proto::{Caller, Proto, ProtoFlags};

/// What no tracing program may attach to (`btf_id_deny`).
pub const DENIED: &[&str] = &[
    "___migrate_enable",
    "migrate_disable",
    "migrate_enable",
    "rcu_read_unlock_strict",
    "preempt_count_add",
    "preempt_count_sub",
    "__rcu_read_lock",
    "__rcu_read_unlock",
];

/// What does not return, so that nothing can run when it does (`noreturn_deny`).
pub const NO_RETURN: &[&str] = &[
    "__ia32_sys_exit",
    "__ia32_sys_exit_group",
    "__kunit_abort",
    "kunit_try_catch_throw",
    "__module_put_and_kthread_exit",
    "__x64_sys_exit",
    "__x64_sys_exit_group",
    "do_exit",
    "do_group_exit",
    "kthread_complete_and_exit",
    "make_task_dead",
];

/// What may be made to fail (`ALLOW_ERROR_INJECTION`), beside system calls.
const ERROR_INJECTION: &[&str] = &[
    "__filemap_add_folio",
    "btrfs_check_leaf",
    "btrfs_check_node",
    "btrfs_cow_block",
    "btrfs_search_slot",
    "btrfs_should_cancel_balance",
    "io_ctl_init",
    "nsim_setup_tc",
    "open_ctree",
    "page_pool_alloc_netmems",
    "should_fail_alloc_page",
    "should_fail_net_realloc_skb",
    "should_failslab",
];

/// Of these, what may be called where nobody sleeps (`btf_non_sleepable_error_inject`).
const ERROR_INJECTION_ATOMIC: &[&str] =
    &["__filemap_add_folio", "should_fail_alloc_page", "should_failslab"];

/// What gives its return value to programs (`register_btf_fmodret_id_set`), and whether they may
/// sleep there.
const MODIFY_RETURN: &[(&str, bool)] = &[
    ("update_socket_protocol", false),
    ("bpf_modify_return_test", false),
    ("bpf_modify_return_test2", false),
    ("bpf_modify_return_test_tp", false),
    ("bpf_fentry_test1", true),
];

/// Functions in which a path may be looked at (`btf_allowlist_d_path`, `kernel/trace/bpf_trace.c`).
const D_PATH: &[&str] = &[
    "security_file_permission",
    "security_inode_getattr",
    "security_file_open",
    "security_path_truncate",
    "vfs_truncate",
    "vfs_fallocate",
    "dentry_open",
    "vfs_getattr",
    "filp_close",
];

/// Whether a function of the kernel may be made to fail (`within_error_injection_list`).
pub fn may_fail(function: &str) -> bool {
    const SYSTEM_CALLS: [&str; 2] = ["__x64_sys_", "__ia32_sys_"];
    SYSTEM_CALLS.iter().any(|prefix| function.starts_with(prefix))
        || ERROR_INJECTION.contains(&function)
}

/// Whether programs may change what a function returns (`check_attach_modify_return`).
pub fn may_modify_return(function: &str) -> bool {
    may_fail(function)
        || function.starts_with("security_")
        || MODIFY_RETURN.iter().any(|(name, _)| *name == function)
}

/// Whether a program of this kind may sleep at all (`can_be_sleepable`); kprobes only at functions
/// of user space. Programs that make system calls must.
pub fn can_be_sleepable(prog_type: ProgType, attach_type: AttachType) -> bool {
    match prog_type {
        ProgType::Tracing => matches!(
            attach_type,
            TraceFentry
                | TraceFexit
                | ModifyReturn
                | TraceIter
                | TraceFsession
                | TraceRawTp
                | TraceFentryMulti
                | TraceFexitMulti
                | TraceFsessionMulti
        ),
        ProgType::Lsm => attach_type != LsmCgroup,
        ProgType::Kprobe
        | ProgType::StructOps
        | ProgType::RawTracepoint
        | ProgType::Tracepoint
        | ProgType::Syscall => true,
        _ => false,
    }
}

/// Whether a program that attaches to this function of the kernel may sleep
/// (`btf_id_allow_sleepable`).
pub fn may_sleep_at(prog_type: ProgType, function: &str) -> bool {
    match prog_type {
        ProgType::Lsm => lsm::SLEEPABLE.contains(&lsm::short(function)),
        ProgType::Tracing => {
            may_fail(function) && !ERROR_INJECTION_ATOMIC.contains(&function)
                || MODIFY_RETURN.contains(&(function, true))
        }
        _ => false,
    }
}

/// Why a program may not attach to a function of the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AttachRefusal {
    /// The function is not one where programs may sleep.
    NotSleepable,
    /// What it returns may not be changed.
    NotModifiable,
    /// Nothing may attach to this security hook.
    DisabledHook,
    /// It is no security hook.
    NoHook,
    /// No tracing program may attach to it.
    Denied,
    /// It does not return.
    NoReturn,
}

/// Why `caller`, a program of one of the types that attach to functions of the kernel, may not attach
/// to its target; `None` when it may, as far as the function's name says.
pub fn attach_refusal(caller: &Caller) -> Option<AttachRefusal> {
    let function = caller.target?;
    let is_tracing = caller.prog_type == ProgType::Tracing;
    let is_lsm = caller.prog_type == ProgType::Lsm;
    if !is_tracing && !is_lsm || matches!(caller.attach_type, TraceRawTp | TraceIter) {
        return None;
    }
    let on_return = matches!(
        caller.attach_type,
        TraceFexit | TraceFsession | TraceFsessionMulti | ModifyReturn
    );
    if caller.sleepable {
        if !may_sleep_at(caller.prog_type, function) {
            return Some(AttachRefusal::NotSleepable);
        }
    } else if caller.attach_type == ModifyReturn && !may_modify_return(function) {
        return Some(AttachRefusal::NotModifiable);
    }
    if is_lsm {
        return match function.strip_prefix("bpf_lsm_") {
            None => Some(AttachRefusal::NoHook),
            Some(hook) => lsm::DISABLED.contains(&hook).then_some(AttachRefusal::DisabledHook),
        };
    }
    if DENIED.contains(&function) {
        return Some(AttachRefusal::Denied);
    }
    (on_return && NO_RETURN.contains(&function)).then_some(AttachRefusal::NoReturn)
}

/// Whether `caller` may call a helper that it has at the place where it attaches (`allowed` of
/// `struct bpf_func_proto`).
pub fn helper_is_allowed(caller: &Caller, proto: &Proto) -> bool {
    let target = caller.target.unwrap_or_default();
    let sleeps = || lsm::SLEEPABLE.contains(&lsm::short(target));
    if proto.has(ProtoFlags::D_PATH_ONLY) {
        return match (caller.prog_type, caller.attach_type) {
            (ProgType::Tracing, TraceIter) => true,
            (ProgType::Lsm, _) => sleeps(),
            _ => D_PATH.contains(&target),
        };
    }
    if proto.has(ProtoFlags::SLEEPABLE_HOOKS_ONLY) {
        return sleeps();
    }
    if proto.has(ProtoFlags::NOT_IN_STORAGE) {
        return match caller.attach_type {
            TraceIter | TraceRawTp => true,
            TraceFentry | TraceFexit | TraceFsession => !target.starts_with("bpf_sk_storage"),
            _ => false,
        };
    }
    true
}

/// Whether the kernel vouches for pointers that `caller` gets as arguments (`prog_args_trusted`,
/// `kernel/bpf/btf.c`).
pub fn arguments_are_trusted(caller: &Caller) -> bool {
    match caller.prog_type {
        ProgType::Tracing => matches!(caller.attach_type, TraceRawTp | TraceIter),
        ProgType::Lsm => !lsm::UNTRUSTED.contains(&lsm::short(caller.target.unwrap_or_default())),
        ProgType::StructOps => true,
        _ => false,
    }
}

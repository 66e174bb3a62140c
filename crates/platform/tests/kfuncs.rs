//! Kfuncs: which there are, and who may call them.

mod kernel;

use std::collections::HashSet;

use bombus_btf::{Kind, Type};
use bombus_platform::kfunc::{
    ArgumentSuffix, KfuncFlags, SpecialKfunc, argument_suffix, kfunc, kfunc_for, kfunc_since,
    kfuncs,
};
use bombus_platform::proto::Caller;
use bombus_platform::{AttachType, ProgType, Version};

fn may(prog_type: ProgType, name: &str) -> bool {
    kfunc_for(&Caller::new(prog_type, AttachType::NONE), name).is_some()
}

#[test]
fn types_of_programs() {
    for &prog_type in ProgType::ALL {
        assert!(may(prog_type, "bpf_rcu_read_lock"), "{prog_type:?}");
    }
    assert!(
        may(ProgType::Lsm, "bpf_task_acquire") && may(ProgType::Tracepoint, "bpf_task_acquire")
    );
    assert!(!may(ProgType::Kprobe, "bpf_task_acquire"));
    assert!(
        may(ProgType::Xdp, "bpf_dynptr_from_xdp")
            && !may(ProgType::SchedCls, "bpf_dynptr_from_xdp")
    );
    assert!(
        may(ProgType::LwtXmit, "bpf_dynptr_from_skb") && !may(ProgType::Xdp, "bpf_dynptr_from_skb")
    );
    assert!(!may(ProgType::Xdp, "no_such_kfunc"));
}

#[test]
fn filters() {
    let at = |prog_type, attach_type, target, name| {
        kfunc_for(&Caller { target, ..Caller::new(prog_type, attach_type) }, name).is_some()
    };
    let iter = |attach_type| at(ProgType::Tracing, attach_type, None, "bpf_sock_destroy");
    assert!(iter(AttachType::TraceIter) && !iter(AttachType::TraceFentry));
    let session = |attach_type| at(ProgType::Kprobe, attach_type, None, "bpf_session_is_return");
    assert!(session(AttachType::TraceKprobeSession) && !session(AttachType::NONE));
    let ops = |target, name| at(ProgType::StructOps, AttachType::NONE, Some(target), name);
    assert!(ops("Qdisc_ops.enqueue", "bpf_qdisc_skb_drop"));
    assert!(!ops("Qdisc_ops.dequeue", "bpf_qdisc_skb_drop"));
    assert!(!ops("tcp_congestion_ops.init", "bpf_qdisc_skb_drop"));
    assert!(ops("Qdisc_ops.init", "bpf_kfree_skb") && !ops("sched_ext_ops.init", "bpf_kfree_skb"));
    assert!(at(ProgType::StructOps, AttachType::NONE, None, "bpf_kfree_skb"));
    assert!(ops("sched_ext_ops.enqueue", "scx_bpf_dsq_insert___v2"));
    assert!(!ops("sched_ext_ops.init", "scx_bpf_dsq_insert___v2"));
    assert!(ops("sched_ext_ops.init", "scx_bpf_create_dsq"));
    assert!(ops("sched_ext_ops.tick", "scx_bpf_kick_cpu"));
    assert!(!ops("sched_ext_ops_cid.tick", "scx_bpf_kick_cpu"));
    let lsm = |target, name| at(ProgType::Lsm, AttachType::LsmMac, Some(target), name);
    assert!(lsm("bpf_lsm_file_open", "bpf_get_task_exe_file"));
    assert!(!may(ProgType::Tracing, "bpf_get_task_exe_file"));
}

/// One kfunc has the same flags wherever it is (`btf_kfunc_check_flag` depends on it for some).
#[test]
fn flags_do_not_contradict() {
    for each in kfuncs() {
        assert_eq!(kfunc(each.name), Some(each));
        assert!(kfunc_since(each.name) <= Some(Version::REFERENCE), "{}", each.name);
        assert!(kfunc_since(each.name).is_some(), "{}", each.name);
        let is_iterator = |flag| each.flags.has(flag);
        if is_iterator(KfuncFlags::ITER_NEXT) {
            assert!(each.flags.has(KfuncFlags::RET_NULL), "{}", each.name);
        }
    }
    let flags = |name| kfunc(name).unwrap().flags;
    assert!(flags("bpf_task_acquire").has(KfuncFlags::ACQUIRE.with(KfuncFlags::RET_NULL)));
    assert!(flags("bpf_task_release").has(KfuncFlags::RELEASE));
    assert!(flags("bpf_iter_num_new").has(KfuncFlags::ITER_NEW));
}

#[test]
fn names() {
    assert_eq!(SpecialKfunc::from_name("bpf_throw"), Some(SpecialKfunc::Throw));
    assert_eq!(SpecialKfunc::from_name("bpf_task_acquire"), None);
    assert_eq!(argument_suffix("buffer__szk"), Some(ArgumentSuffix::ConstSize));
    assert_eq!(argument_suffix("p__refcounted_kptr"), Some(ArgumentSuffix::RefcountedKptr));
    assert_eq!(argument_suffix("p__arena__nullable"), Some(ArgumentSuffix::ArenaNullable));
    assert_eq!(argument_suffix("task"), None);
}

/// What the running kernel calls a kfunc is in the table, with at most a few that older kernels had.
#[test]
fn the_kernel_has_no_others() {
    let Some(types) = kernel::types() else { return };
    let ours: HashSet<&str> = kfuncs().map(|kfunc| kfunc.name).collect();
    let tagged: Vec<&str> = types
        .types()
        .filter_map(|(_, ty)| match ty {
            Type::DeclTag { tag: "bpf_kfunc", ty, .. } => Some(types.name(ty)),
            _ => None,
        })
        .collect();
    if tagged.is_empty() {
        println!("skipped: the kernel does not say which functions are kfuncs");
        return;
    }
    let unknown: Vec<&&str> = tagged.iter().filter(|name| !ours.contains(*name)).collect();
    assert!(unknown.len() * 20 <= tagged.len(), "{unknown:?}");
    assert!(types.find(Kind::Func, "bpf_rcu_read_lock").is_some());
}

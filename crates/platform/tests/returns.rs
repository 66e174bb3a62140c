//! What programs have to return.

mod kernel;

use bombus_btf::Kind;
use bombus_platform::attach::lsm;
use bombus_platform::proto::Caller;
use bombus_platform::{AttachType, FunctionReturn, ProgType, ReturnRule, return_rule};

fn rule(prog_type: ProgType, attach_type: AttachType, returns: FunctionReturn) -> ReturnRule {
    return_rule(&Caller::new(prog_type, attach_type), returns)
}

/// The range of a program that attaches to nothing in particular; `None`: anything goes.
fn range(prog_type: ProgType, attach_type: AttachType) -> Option<(i32, i32)> {
    match rule(prog_type, attach_type, FunctionReturn::Number) {
        ReturnRule::Within(range) => Some((range.min, range.max)),
        _ => None,
    }
}

#[test]
fn ranges() {
    use AttachType::*;
    assert_eq!(range(ProgType::Xdp, AttachType::NONE), None);
    assert_eq!(range(ProgType::SchedCls, AttachType::NONE), None);
    assert_eq!(range(ProgType::CgroupSkb, CgroupInetIngress), Some((0, 1)));
    assert_eq!(range(ProgType::CgroupSkb, CgroupInetEgress), Some((0, 3)));
    assert_eq!(range(ProgType::CgroupSockAddr, CgroupInet4Bind), Some((0, 3)));
    assert_eq!(range(ProgType::CgroupSockAddr, CgroupInet4Connect), Some((0, 1)));
    assert_eq!(range(ProgType::CgroupSockAddr, CgroupUdp6Recvmsg), Some((1, 1)));
    assert_eq!(range(ProgType::Tracing, TraceFentry), Some((0, 0)));
    assert_eq!(range(ProgType::Tracing, TraceIter), Some((0, 1)));
    assert_eq!(range(ProgType::Tracing, ModifyReturn), None);
    assert_eq!(range(ProgType::Kprobe, AttachType::NONE), None);
    assert_eq!(range(ProgType::Kprobe, TraceUprobeSession), Some((0, 1)));
    assert_eq!(range(ProgType::StructOps, AttachType::NONE), None);
    assert_eq!(range(ProgType::Netfilter, Netfilter), Some((0, 1)));
}

#[test]
fn hooks() {
    let at = |hook, returns| {
        let caller =
            Caller { target: Some(hook), ..Caller::new(ProgType::Lsm, AttachType::LsmMac) };
        return_rule(&caller, returns)
    };
    let ReturnRule::Within(range) = at("bpf_lsm_file_open", FunctionReturn::Number) else {
        panic!("any number");
    };
    assert_eq!((range.min, range.max, range.is_32bit), (-4095, 0, true));
    let ReturnRule::Within(range) = at("bpf_lsm_inode_xattr_skipcap", FunctionReturn::Number)
    else {
        panic!("any number");
    };
    assert_eq!((range.min, range.max), (0, 1));
    assert_eq!(at("bpf_lsm_task_free", FunctionReturn::Void), ReturnRule::NotRead);
    let cgroup = rule(ProgType::Lsm, AttachType::LsmCgroup, FunctionReturn::Void);
    assert!(matches!(cgroup, ReturnRule::Within(range) if (range.min, range.max) == (1, 1)));
    let ops = |returns| rule(ProgType::StructOps, AttachType::NONE, returns);
    assert_eq!(ops(FunctionReturn::Void), ReturnRule::NotRead);
    assert!(matches!(ops(FunctionReturn::Pointer), ReturnRule::Within(range) if range.max == 0));
}

/// The hooks are functions of the kernel. Some are newer than some kernels.
#[test]
fn the_kernel_has_the_hooks() {
    let Some(types) = kernel::types() else { return };
    let is_missing = |hook: &&&str| types.find(Kind::Func, &format!("bpf_lsm_{hook}")).is_none();
    if is_missing(&&"file_open") {
        println!("skipped: the kernel has no security hooks for programs");
        return;
    }
    let all = || [lsm::DISABLED, lsm::SLEEPABLE, lsm::UNTRUSTED, lsm::BOOL].into_iter().flatten();
    let missing: Vec<_> = all().filter(is_missing).collect();
    assert!(missing.len() * 10 < all().count(), "{missing:?}");
}

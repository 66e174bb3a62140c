//! What programs may attach to, which maps they may have, what they may trust.

mod kernel;

use bombus_btf::Kind;
use bombus_platform::attach::{
    AttachRefusal, CALLBACKS, DENIED, ITERATORS, IteratorArgument, TracepointArgument,
    arguments_are_trusted, attach_refusal, can_be_sleepable, helper_is_allowed, iterator,
    tracepoint_argument, writable_fields,
};
use bombus_platform::proto::{Caller, proto_for};
use bombus_platform::{
    AttachType, HELPER_NAMES, MapElement, MapRefusal, MapType, ProgType, TRUSTED_FIELDS, Trust,
    ValueField, context_kernel_struct, helper_takes_map, sleepable_takes_map, trusted_field,
};

fn id(name: &str) -> u32 {
    HELPER_NAMES.iter().position(|each| *each == name).expect(name) as u32
}

#[test]
fn maps_and_helpers() {
    let xdp = Caller::new(ProgType::Xdp, AttachType::NONE);
    let takes = |caller: &Caller, helper, map| helper_takes_map(caller, id(helper), map);
    assert_eq!(takes(&xdp, "map_lookup_elem", MapType::Hash), Ok(()));
    assert_eq!(takes(&xdp, "map_lookup_elem", MapType::Ringbuf), Err(MapRefusal::Helper));
    assert_eq!(takes(&xdp, "redirect_map", MapType::Devmap), Ok(()));
    assert_eq!(takes(&xdp, "redirect_map", MapType::Array), Err(MapRefusal::Helper));
    assert_eq!(takes(&xdp, "map_lookup_elem", MapType::InsnArray), Err(MapRefusal::Helper));
    assert_eq!(takes(&xdp, "map_push_elem", MapType::BloomFilter), Ok(()));
    assert_eq!(takes(&xdp, "map_pop_elem", MapType::BloomFilter), Err(MapRefusal::Helper));
    let update = |prog_type, attach_type| {
        takes(&Caller::new(prog_type, attach_type), "map_update_elem", MapType::Sockmap)
    };
    assert_eq!(update(ProgType::SkLookup, AttachType::SkLookup), Ok(()));
    assert_eq!(update(ProgType::Tracing, AttachType::TraceIter), Ok(()));
    let refused = Err(MapRefusal::SocketsInThisContext);
    assert_eq!(update(ProgType::Xdp, AttachType::NONE), refused);
    assert_eq!(update(ProgType::SockOps, AttachType::CgroupSockOps), refused);
    assert_eq!(MapType::Sockhash.element(), MapElement::Socket);
    assert_eq!(MapType::Array.element(), MapElement::Value);
    assert!(MapType::Array.has_every_key() && !MapType::Hash.has_every_key());
    assert!(sleepable_takes_map(MapType::Hash) && !sleepable_takes_map(MapType::StackTrace));
    assert!(!ProgType::Kprobe.may_spin_lock() && ProgType::Xdp.may_spin_lock());
}

/// A helper that is for a type of maps works on maps of that type: the two tables say the same.
#[test]
fn maps_and_helpers_agree() {
    let caller = Caller::new(ProgType::SkLookup, AttachType::SkLookup);
    for helper in ["tail_call", "get_stackid", "sk_storage_get", "ringbuf_reserve", "redirect_map"]
    {
        let maps = MapType::ALL.iter();
        let takes = maps.filter(|map| helper_takes_map(&caller, id(helper), **map).is_ok());
        assert!((1..=4).contains(&takes.count()), "{helper}");
    }
}

#[test]
fn functions() {
    let at = |prog_type, attach_type, target, sleepable| {
        let caller =
            Caller { target: Some(target), sleepable, ..Caller::new(prog_type, attach_type) };
        attach_refusal(&caller)
    };
    let trace = |attach_type, target| at(ProgType::Tracing, attach_type, target, false);
    use AttachType::{LsmMac, ModifyReturn, TraceFentry, TraceFexit};
    assert_eq!(trace(TraceFentry, "vfs_read"), None);
    assert_eq!(trace(TraceFentry, DENIED[0]), Some(AttachRefusal::Denied));
    assert_eq!(trace(TraceFexit, "do_exit"), Some(AttachRefusal::NoReturn));
    assert_eq!(trace(TraceFentry, "do_exit"), None);
    assert_eq!(trace(ModifyReturn, "vfs_read"), Some(AttachRefusal::NotModifiable));
    assert_eq!(trace(ModifyReturn, "security_file_open"), None);
    assert_eq!(trace(ModifyReturn, "bpf_modify_return_test"), None);
    let sleeping = |attach_type, target| at(ProgType::Tracing, attach_type, target, true);
    assert_eq!(sleeping(TraceFentry, "__x64_sys_getpgid"), None);
    assert_eq!(sleeping(TraceFentry, "vfs_read"), Some(AttachRefusal::NotSleepable));
    assert_eq!(sleeping(TraceFentry, "should_failslab"), Some(AttachRefusal::NotSleepable));
    let lsm = |target, sleepable| at(ProgType::Lsm, LsmMac, target, sleepable);
    assert_eq!(lsm("bpf_lsm_file_open", true), None);
    assert_eq!(lsm("bpf_lsm_task_free", true), Some(AttachRefusal::NotSleepable));
    assert_eq!(lsm("bpf_lsm_getprocattr", false), Some(AttachRefusal::DisabledHook));
    assert_eq!(lsm("vfs_read", false), Some(AttachRefusal::NoHook));
    assert!(can_be_sleepable(ProgType::Tracing, TraceFentry));
    assert!(!can_be_sleepable(ProgType::Xdp, AttachType::NONE));
}

#[test]
fn helpers_at_places() {
    let allowed = |prog_type, attach_type, target, helper| {
        let caller = Caller { target: Some(target), ..Caller::new(prog_type, attach_type) };
        helper_is_allowed(&caller, proto_for(&caller, id(helper).cast_signed()).unwrap())
    };
    use AttachType::{LsmMac, TraceFentry};
    let tracing = |target, helper| allowed(ProgType::Tracing, TraceFentry, target, helper);
    assert!(tracing("filp_close", "d_path") && !tracing("vfs_read", "d_path"));
    assert!(tracing("tcp_connect", "sk_storage_get"));
    assert!(!tracing("bpf_sk_storage_free", "sk_storage_get"));
    let lsm = |target| allowed(ProgType::Lsm, LsmMac, target, "ima_file_hash");
    assert!(lsm("bpf_lsm_bprm_committed_creds") && !lsm("bpf_lsm_task_free"));
    let trusted = |target| {
        let lsm = Caller::new(ProgType::Lsm, LsmMac);
        arguments_are_trusted(&Caller { target: Some(target), ..lsm })
    };
    assert!(trusted("bpf_lsm_file_open") && !trusted("bpf_lsm_task_free"));
}

#[test]
fn arguments() {
    assert_eq!(tracepoint_argument("kfree_skb", 3), Some(Some(TracepointArgument::MaybeNull)));
    assert_eq!(tracepoint_argument("kfree_skb", 0), Some(None));
    assert_eq!(
        tracepoint_argument("signal_generate", 1),
        Some(Some(TracepointArgument::MaybeError))
    );
    assert_eq!(tracepoint_argument("sched_switch", 0), None);
    let task = iterator("bpf_iter_task").unwrap();
    assert_eq!(task.arguments, [("task", IteratorArgument::TrustedOrNull("task_struct"))]);
    assert_eq!(iterator("vfs_read"), None);
    assert_eq!(trusted_field("file", "f_inode"), Some(Trust::Trusted));
    assert_eq!(trusted_field("file", "f_path"), None);
    let scheduler = Caller {
        target: Some("sched_ext_ops_cid.enqueue"),
        ..Caller::new(ProgType::StructOps, AttachType::NONE)
    };
    assert_eq!(writable_fields(&scheduler).len(), 1);
}

/// The structures and members that the tables name are in the kernel's types.
#[test]
fn the_kernel_has_them() {
    let Some(types) = kernel::types() else { return };
    // Parts of the kernel may be left out, structures of callbacks be newer.
    let mut missing = Vec::new();
    let mut count = 0;
    let mut want = |structure: &str, member: &str| {
        count += 1;
        if !kernel::members(&types, structure).contains_key(member) {
            missing.push(format!("{structure}.{member}"));
        }
    };
    for (structure, member, _) in TRUSTED_FIELDS {
        want(structure, member);
    }
    for iterator in ITERATORS {
        for (argument, _) in iterator.arguments {
            want(&format!("bpf_iter__{}", iterator.name), argument);
        }
    }
    for field in CALLBACKS.iter().flat_map(|callbacks| callbacks.writable) {
        let member = field.member.split(['.', ':']).next().unwrap_or_default();
        if !member.is_empty() && !field.within.starts_with("hid") {
            want(field.within, member);
        }
    }
    assert!(missing.len() * 5 < count, "{missing:?}");
}

/// Structures that values hold are as large as the kernel has them.
#[test]
fn parts_of_values() {
    for field in ValueField::ALL {
        assert_eq!(ValueField::from_name(field.name()), Some(*field));
        assert!(field.size().is_multiple_of(field.align()));
    }
    let Some(types) = kernel::types() else { return };
    for field in ValueField::ALL {
        if let Some(id) = types.find(Kind::Struct, field.name()) {
            assert_eq!(types.size_of(id), Some(field.size()), "{}", field.name());
        }
    }
    for &prog_type in ProgType::ALL {
        if let Some(name) = context_kernel_struct(prog_type) {
            assert!(types.find(Kind::Struct, name).is_some(), "{name}");
        }
    }
}

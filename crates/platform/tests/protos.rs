//! The prototypes of helpers: complete, and as the kernel's types have them.

mod kernel;

use bombus_btf::Kind;
use bombus_platform::proto::{
    ArgKind, Caller, Capabilities, Capability, ProtoFlags, RetKind, needs, proto, proto_for, protos,
};
use bombus_platform::{AttachType, HELPER_NAMES, MapType, ProgType, may_call};

fn id(name: &str) -> i32 {
    HELPER_NAMES.iter().position(|each| *each == name).expect(name) as i32
}

#[test]
fn every_helper_has_a_prototype_and_every_prototype_has_a_caller() {
    let is_given = |id: u32| {
        ProgType::ALL
            .iter()
            .any(|&prog_type| prog_type != ProgType::Ext && may_call(prog_type, id.cast_signed()))
    };
    for (number, name) in HELPER_NAMES.iter().enumerate().skip(1) {
        assert!(protos().any(|proto| proto.helper as usize == number), "{name}");
        assert!(is_given(number as u32), "{name} is in no table");
    }
    assert!(protos().all(|proto| proto.args.len() <= 5));
}

/// What the kernel itself checks of its prototypes (`check_func_proto`, `kernel/bpf/verifier.c`).
#[test]
fn sizes_stand_after_memory() {
    for proto in protos() {
        for (index, arg) in proto.args.iter().enumerate() {
            let is_size = |arg: &ArgKind| matches!(arg, ArgKind::MemSize | ArgKind::MemSizeOrZero);
            let next = proto.args.get(index + 1).map(|next| next.kind);
            match arg.kind {
                ArgKind::Mem => assert!(next.is_some_and(|next| is_size(&next)), "{proto:?}"),
                _ => assert!(!next.is_some_and(|next| is_size(&next)), "{proto:?}"),
            }
        }
        let maps = proto.args.iter().filter(|arg| arg.kind == ArgKind::ConstMapPtr);
        assert!(maps.count() <= 1);
        let of_map = |kind| matches!(kind, ArgKind::MapKey | ArgKind::MapValue);
        if proto.args.iter().any(|arg| of_map(arg.kind)) {
            assert!(proto.args.iter().any(|arg| arg.kind == ArgKind::ConstMapPtr), "{proto:?}");
        }
        let releases = proto.releases().is_some();
        assert!(!releases || !proto.has(ProtoFlags::ACQUIRES) || proto.name() == "kptr_xchg");
        assert!(!proto.has(ProtoFlags::CHANGES_PACKET) || proto.args[0].kind == ArgKind::Ctx);
    }
}

#[test]
fn callers_differ() {
    let of = |prog_type, helper| proto(prog_type, AttachType::NONE, id(helper));
    let fastcall =
        |prog_type| of(prog_type, "get_smp_processor_id").unwrap().has(ProtoFlags::FASTCALL);
    assert!(fastcall(ProgType::Xdp) && fastcall(ProgType::Kprobe));
    assert!(!fastcall(ProgType::SocketFilter) && !fastcall(ProgType::Netfilter));

    let cookie = |prog_type| of(prog_type, "get_socket_cookie").map(|proto| proto.args[0].kind);
    assert_eq!(cookie(ProgType::SchedCls), Some(ArgKind::Ctx));
    assert_eq!(cookie(ProgType::SkReuseport), Some(ArgKind::BtfIdSockCommon));
    assert_eq!(cookie(ProgType::Xdp), None);

    let sleeps = |sleepable| {
        let caller = Caller { sleepable, ..Caller::new(ProgType::Kprobe, AttachType::NONE) };
        proto_for(&caller, id("get_stack")).unwrap().has(ProtoFlags::MIGHT_SLEEP)
    };
    assert!(sleeps(true) && !sleeps(false));

    assert!(of(ProgType::LwtOut, "skb_pull_data").is_some());
    assert_eq!(of(ProgType::LwtSeg6local, "skb_pull_data"), None);
    assert_eq!(of(ProgType::LircMode2, "ringbuf_output"), None);

    let bind = |attach_type| proto(ProgType::CgroupSockAddr, attach_type, id("bind"));
    assert!(bind(AttachType::CgroupInet4Connect).is_some());
    assert_eq!(bind(AttachType::CgroupInet4Bind), None);
}

#[test]
fn targets_matter() {
    let on = |prog_type, attach_type, target, helper| {
        let caller = Caller { target: Some(target), ..Caller::new(prog_type, attach_type) };
        proto_for(&caller, id(helper)).is_some()
    };
    let iter = |target| on(ProgType::Tracing, AttachType::TraceIter, target, "setsockopt");
    assert!(iter("bpf_iter_tcp") && !iter("bpf_iter_task"));
    let lsm = |target| on(ProgType::Lsm, AttachType::LsmCgroup, target, "getsockopt");
    assert!(lsm("bpf_lsm_sock_graft") && !lsm("bpf_lsm_file_open"));
    let ops = |target| on(ProgType::StructOps, AttachType::NONE, target, "setsockopt");
    assert!(ops("tcp_congestion_ops.init") && !ops("tcp_congestion_ops.release"));
    assert!(!ops("sched_ext_ops.init"));
    assert!(!on(ProgType::StructOps, AttachType::NONE, "bpf_dummy_ops.test_1", "ktime_get_ns"));
    let ret = |attach_type| proto(ProgType::Tracing, attach_type, id("get_func_ret")).is_some();
    assert!(ret(AttachType::TraceFexit) && !ret(AttachType::TraceRawTp));
}

#[test]
fn privileges() {
    let filter = Caller::new(ProgType::SocketFilter, AttachType::NONE);
    let needed = |helper| needs(&filter, id(helper));
    assert_eq!(needed("map_lookup_elem"), Some(Capability::None));
    assert_eq!(needed("spin_lock"), Some(Capability::Bpf));
    assert_eq!(needed("trace_printk"), Some(Capability::Perfmon));
    assert_eq!(needed("skc_to_tcp_sock"), Some(Capability::Perfmon));
    assert_eq!(needed("xdp_adjust_head"), None);
    let nobody = Caller { capabilities: Capabilities::NONE, ..filter };
    assert!(proto_for(&nobody, id("map_lookup_elem")).is_some());
    assert_eq!(proto_for(&nobody, id("spin_lock")), None);
}

#[test]
fn references() {
    let of = |helper| protos().find(|proto| proto.name() == helper).unwrap();
    assert!(of("ringbuf_reserve").acquires(None) && !of("ringbuf_output").acquires(None));
    assert!(of("map_lookup_elem").acquires(Some(MapType::Sockmap)));
    assert!(!of("map_lookup_elem").acquires(Some(MapType::Hash)));
    assert_eq!(of("sk_release").releases(), Some(0));
    assert_eq!(of("kptr_xchg").releases(), Some(1));
}

/// The structures that prototypes name exist.
#[test]
fn the_kernel_has_the_structures() {
    let Some(types) = kernel::types() else { return };
    for proto in protos() {
        let args = proto.args.iter().filter_map(|arg| match arg.kind {
            ArgKind::BtfId(name) => Some(name),
            _ => None,
        });
        let ret = match proto.ret.kind {
            RetKind::BtfId(name) => Some(name),
            _ => None,
        };
        // MPTCP may be left out of a kernel.
        for name in args.chain(ret).filter(|name| *name != "mptcp_sock") {
            assert!(types.find(Kind::Struct, name).is_some(), "{name} of {}", proto.name());
        }
    }
}

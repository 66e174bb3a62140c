//! Contexts: the rows against the kernel's own types, and what comes of them.

mod kernel;

use bombus_platform::proto::{Caller, Capabilities};
use bombus_platform::{
    AttachType, ContextAccess, ContextUse, ContextValue, ProgType, SocketKind, context_access,
    context_rows, context_struct, socket_access,
};

#[test]
fn rows_lie_where_the_kernel_has_them() {
    /// What lies behind a port, and what of a union is not the reply.
    const PARTS: [&str; 2] = ["(zero)", "args"];
    let Some(types) = kernel::types() else { return };
    let mut count = 0;
    for &prog_type in ProgType::ALL {
        let Some(name) = context_struct(prog_type) else { continue };
        let theirs = kernel::members(&types, name);
        if theirs.is_empty() {
            continue;
        }
        for row in context_rows(prog_type).filter(|row| !PARTS.contains(&row.name)) {
            let (at, size) = theirs[row.name];
            assert_eq!(u32::from(row.offset), at, "{name}.{}", row.name);
            assert_eq!(u32::from(row.size), size, "{name}.{}", row.name);
            count += 1;
        }
    }
    assert!(count > 200, "only {count} rows compared");
}

#[test]
fn rows_do_not_overlap() {
    for &prog_type in ProgType::ALL {
        let mut taken = [false; 256];
        for row in context_rows(prog_type) {
            let bytes = usize::from(row.offset)..usize::from(row.offset + row.size);
            assert!(!taken[bytes.clone()].contains(&true), "{prog_type:?}.{}", row.name);
            taken[bytes].fill(true);
        }
    }
}

fn uses(
    prog_type: ProgType,
    attach_type: AttachType,
    offset: i32,
    size: u32,
    is_write: bool,
) -> Option<ContextAccess> {
    let access = ContextUse { offset, size, is_write, is_sign_extended: false };
    context_access(&Caller::new(prog_type, attach_type), access)
}

fn reads(prog_type: ProgType, offset: i32, size: u32) -> Option<ContextValue> {
    uses(prog_type, AttachType::NONE, offset, size, false).map(|access| access.value)
}

fn writes(prog_type: ProgType, offset: i32, size: u32) -> bool {
    uses(prog_type, AttachType::NONE, offset, size, true).is_some()
}

#[test]
fn packets() {
    use ContextValue::*;
    use ProgType::*;
    assert_eq!(reads(Xdp, 0, 4), Some(Packet));
    assert_eq!(reads(Xdp, 4, 4), Some(PacketEnd));
    assert_eq!(reads(Xdp, 0, 2), None);
    assert_eq!(reads(Xdp, 20, 4), None);
    let egress = uses(Xdp, AttachType::XdpDevmap, 20, 4, false);
    assert_eq!(egress.map(|access| access.field), Some("egress_ifindex"));

    assert_eq!(reads(SchedCls, 76, 4), Some(Packet));
    assert_eq!(reads(SchedCls, 140, 4), Some(PacketMeta));
    assert_eq!(reads(SchedCls, 168, 8), Some(SockCommonOrNull));
    assert_eq!(reads(SocketFilter, 76, 4), None);
    assert_eq!(reads(FlowDissector, 144, 8), Some(FlowKeys));
    let part = uses(SocketFilter, AttachType::NONE, 18, 2, false).unwrap();
    assert_eq!((part.value, part.field_size, part.field), (Scalar, 4, "protocol"));
    assert_eq!(reads(SocketFilter, 16, 8), None);
    assert_eq!(reads(SocketFilter, 17, 2), None);
    assert!(writes(SocketFilter, 48, 8) && !writes(SocketFilter, 64, 8));
    assert!(writes(SchedCls, 8, 4) && !writes(SchedCls, 8, 2) && !writes(SocketFilter, 8, 4));

    let sign_extended = ContextUse { offset: 0, size: 4, is_write: false, is_sign_extended: true };
    assert_eq!(context_access(&Caller::new(Xdp, AttachType::NONE), sign_extended), None);
}

#[test]
fn privileges() {
    let data = ContextUse { offset: 76, size: 4, is_write: false, is_sign_extended: false };
    let tstamp = ContextUse { offset: 152, size: 8, is_write: true, is_sign_extended: false };
    let somebody = Caller::new(ProgType::CgroupSkb, AttachType::CgroupInetEgress);
    let nobody = Caller { capabilities: Capabilities::NONE, ..somebody };
    for access in [data, tstamp] {
        assert!(context_access(&somebody, access).is_some());
        assert_eq!(context_access(&nobody, access), None);
    }
    assert!(context_access(&nobody, ContextUse { is_write: false, ..tstamp }).is_some());
}

#[test]
fn attach_types() {
    let addr = |attach_type, offset, size| {
        uses(ProgType::CgroupSockAddr, attach_type, offset, size, true).is_some()
    };
    assert!(addr(AttachType::CgroupInet4Connect, 4, 4));
    assert!(!addr(AttachType::CgroupInet6Connect, 4, 4));
    assert!(addr(AttachType::CgroupInet6Connect, 16, 8));
    assert!(!addr(AttachType::CgroupUdp6Sendmsg, 56, 8));
    assert!(addr(AttachType::CgroupUdp6Sendmsg, 48, 8));
    let sock =
        |attach_type, is_write| uses(ProgType::CgroupSock, attach_type, 16, 4, is_write).is_some();
    assert!(sock(AttachType::CgroupInetSockCreate, true));
    assert!(!sock(AttachType::CgroupInet4PostBind, false));
    let retval = |attach_type| uses(ProgType::CgroupSockopt, attach_type, 36, 4, true).is_some();
    assert!(retval(AttachType::CgroupGetsockopt) && !retval(AttachType::CgroupSetsockopt));
}

#[test]
fn ranges() {
    assert!(writes(ProgType::Kprobe, 160, 8) && reads(ProgType::Kprobe, 168, 8).is_none());
    assert_eq!(reads(ProgType::Tracepoint, 0, 8), None);
    assert!(reads(ProgType::Tracepoint, 8, 1).is_some());
    assert!(reads(ProgType::Tracepoint, 8184, 8).is_some());
    assert!(reads(ProgType::RawTracepoint, 88, 8).is_some());
    assert_eq!(reads(ProgType::RawTracepoint, 96, 8), None);
    assert_eq!(reads(ProgType::RawTracepointWritable, 0, 8), Some(ContextValue::TpBuffer));
    assert_eq!(reads(ProgType::RawTracepointWritable, 0, 4), None);
    assert_eq!(reads(ProgType::Tracing, 8, 8), Some(ContextValue::ByBtf));
    assert!(writes(ProgType::Syscall, 65_000, 8) && reads(ProgType::Syscall, -1, 1).is_none());
    assert_eq!(reads(ProgType::Netfilter, 8, 8), Some(ContextValue::TrustedBtfId("sk_buff")));
    assert!(reads(ProgType::PerfEvent, 172, 4).is_some());
    assert_eq!(reads(ProgType::PerfEvent, 0, 4), None);
}

#[test]
fn sockets() {
    assert_eq!(socket_access(SocketKind::Whole, 16, 4), Some(0));
    assert_eq!(socket_access(SocketKind::Common, 16, 4), None);
    assert_eq!(socket_access(SocketKind::Common, 4, 1), Some(4));
    assert_eq!(socket_access(SocketKind::Whole, 5, 1), None);
    assert_eq!(socket_access(SocketKind::Whole, 48, 2), Some(2));
    assert_eq!(socket_access(SocketKind::Whole, 48, 4), Some(4));
    assert_eq!(socket_access(SocketKind::Whole, 50, 2), None);
    assert_eq!(socket_access(SocketKind::Tcp, 80, 8), Some(0));
    assert_eq!(socket_access(SocketKind::Tcp, 80, 4), None);
    assert_eq!(socket_access(SocketKind::Tcp, 112, 4), None);
    assert_eq!(socket_access(SocketKind::Xdp, 0, 4), Some(0));
}

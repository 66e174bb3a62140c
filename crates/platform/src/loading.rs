//! What the kernel asks of a program of each type before it looks at its instructions.

use crate::{AttachType, ProgType};

use AttachType::*;

/// Attach types with which sockets' addresses come by.
const SOCK_ADDR: &[AttachType] = &[
    CgroupInet4Bind,
    CgroupInet6Bind,
    CgroupInet4Connect,
    CgroupInet6Connect,
    CgroupUnixConnect,
    CgroupInet4Getpeername,
    CgroupInet6Getpeername,
    CgroupUnixGetpeername,
    CgroupInet4Getsockname,
    CgroupInet6Getsockname,
    CgroupUnixGetsockname,
    CgroupUdp4Sendmsg,
    CgroupUdp6Sendmsg,
    CgroupUnixSendmsg,
    CgroupUdp4Recvmsg,
    CgroupUdp6Recvmsg,
    CgroupUnixRecvmsg,
];

const TRACING: &[AttachType] = &[
    TraceRawTp,
    TraceFentry,
    TraceFexit,
    ModifyReturn,
    TraceIter,
    TraceFsession,
    TraceFentryMulti,
    TraceFexitMulti,
    TraceFsessionMulti,
];

const KPROBE: &[AttachType] =
    &[AttachType::NONE, TraceKprobeMulti, TraceUprobeMulti, TraceKprobeSession, TraceUprobeSession];

impl ProgType {
    /// The expected attach types that mean something for this type of program.
    pub const fn attach_types(self) -> &'static [AttachType] {
        match self {
            ProgType::Kprobe => KPROBE,
            ProgType::SchedCls => {
                &[AttachType::NONE, TcxIngress, TcxEgress, NetkitPrimary, NetkitPeer]
            }
            ProgType::Xdp => &[AttachType::NONE, Xdp, XdpDevmap, XdpCpumap],
            ProgType::CgroupSkb => &[CgroupInetIngress, CgroupInetEgress],
            ProgType::CgroupSock => &[
                CgroupInetSockCreate,
                CgroupInetSockRelease,
                CgroupInet4PostBind,
                CgroupInet6PostBind,
            ],
            ProgType::SockOps => &[AttachType::NONE, CgroupSockOps],
            ProgType::SkSkb => {
                &[AttachType::NONE, SkSkbStreamParser, SkSkbStreamVerdict, SkSkbVerdict]
            }
            ProgType::CgroupDevice => &[AttachType::NONE, CgroupDevice],
            ProgType::SkMsg => &[AttachType::NONE, SkMsgVerdict],
            ProgType::CgroupSockAddr => SOCK_ADDR,
            ProgType::LircMode2 => &[AttachType::NONE, LircMode2],
            ProgType::SkReuseport => &[SkReuseportSelect, SkReuseportSelectOrMigrate],
            ProgType::FlowDissector => &[AttachType::NONE, FlowDissector],
            ProgType::CgroupSysctl => &[AttachType::NONE, CgroupSysctl],
            ProgType::CgroupSockopt => &[CgroupGetsockopt, CgroupSetsockopt],
            ProgType::Tracing => TRACING,
            ProgType::Lsm => &[LsmMac, LsmCgroup],
            ProgType::SkLookup => &[SkLookup],
            ProgType::Netfilter => &[Netfilter],
            _ => &[AttachType::NONE],
        }
    }

    /// Whether the kernel refuses to load such a program with this expected attach type
    /// (`bpf_prog_load_check_attach`, `kernel/bpf/syscall.c`); for most types it does not look.
    pub fn refuses(self, attach_type: AttachType) -> bool {
        use ProgType::*;
        let looks = matches!(
            self,
            CgroupSock
                | CgroupSockAddr
                | CgroupSkb
                | CgroupSockopt
                | SkLookup
                | SkReuseport
                | Netfilter
                | Syscall
                | Ext
        );
        looks && !self.attach_types().contains(&attach_type)
    }

    /// The expected attach type that the kernel takes where the caller gives 0
    /// (`bpf_prog_load_fixup_attach_type`).
    pub const fn default_attach_type(self) -> AttachType {
        match self {
            ProgType::CgroupSock => CgroupInetSockCreate,
            ProgType::SkReuseport => SkReuseportSelect,
            _ => AttachType::NONE,
        }
    }

    /// Whether loading needs `CAP_NET_ADMIN` (`is_net_admin_prog_type`).
    pub const fn needs_net_admin(self) -> bool {
        use ProgType::*;
        matches!(
            self,
            SchedCls
                | SchedAct
                | Xdp
                | LwtIn
                | LwtOut
                | LwtXmit
                | LwtSeg6local
                | SkSkb
                | SkMsg
                | FlowDissector
                | CgroupDevice
                | CgroupSock
                | CgroupSockAddr
                | CgroupSockopt
                | CgroupSysctl
                | SockOps
                | Ext
                | Netfilter
        )
    }

    /// Whether loading needs `CAP_PERFMON` (`is_perfmon_prog_type`).
    pub const fn needs_perfmon(self) -> bool {
        use ProgType::*;
        matches!(
            self,
            Kprobe
                | Tracepoint
                | PerfEvent
                | RawTracepoint
                | RawTracepointWritable
                | Tracing
                | Lsm
                | StructOps
                | Ext
        )
    }

    /// Whether a program without any privilege may be loaded, where the administrator allows that
    /// (`kernel.unprivileged_bpf_disabled`): `bpf_prog_load`.
    pub const fn may_be_unprivileged(self) -> bool {
        matches!(self, ProgType::SocketFilter | ProgType::CgroupSkb)
    }
}

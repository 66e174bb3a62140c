//! What the name of an object's section says about the programs in it: the table that libbpf has,
//! whose names everybody writes in `SEC("...")`.

use crate::{AttachType, ProgType};

/// What attaches a program when nobody says more than its section does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AutoAttach {
    /// Nothing can: a device, a cgroup, a socket or the like has to be named.
    Nothing,
    /// The kernel function of this name: `name`, `name+offset`.
    Kprobe,
    /// The kernel functions that match a pattern.
    KprobeMulti,
    /// The user function `path:name`, `path:name+offset`.
    Uprobe,
    /// The user functions `path:pattern`.
    UprobeMulti,
    /// The kernel's function for this system call.
    Ksyscall,
    /// The static probe `path:provider:name`.
    Usdt,
    /// The tracepoint `category/name`.
    Tracepoint,
    /// The raw tracepoint of this name.
    RawTracepoint,
    /// What the program was loaded for, by BTF: function, tracepoint, another program's function.
    Trace,
    /// The kernel functions that match a pattern, by BTF.
    TracingMulti,
    /// The security hook that the program was loaded for.
    Lsm,
    /// The iterator that the program was loaded for.
    Iter,
}

/// A row of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Section {
    /// The name; with a `+` at its end, a target may follow after a slash.
    pub pattern: &'static str,
    /// The programs' type.
    pub prog_type: ProgType,
    /// Their expected attach type; [`AttachType::NONE`] when the type says all.
    pub attach_type: AttachType,
    /// What attaches them.
    pub auto_attach: AutoAttach,
    flags: u8,
}

/// They may sleep.
const SLEEPABLE: u8 = 1 << 0;
/// They handle packets in several buffers.
const XDP_FRAGS: u8 = 1 << 1;
/// The target is a type in the BTF of the kernel or of another program.
const ATTACH_BTF: u8 = 1 << 2;
/// Kernels that do not know expected attach types for them take none.
const TYPE_OPTIONAL: u8 = 1 << 3;
/// They run when the function returns.
const RETURN: u8 = 1 << 4;

impl Section {
    /// The name without what the pattern may end with.
    pub fn name(&self) -> &'static str {
        self.pattern.strip_suffix('+').unwrap_or(self.pattern)
    }

    /// Whether what they attach to may follow the name, after a slash.
    pub fn takes_target(&self) -> bool {
        self.pattern.ends_with('+')
    }

    /// `prog_flags` of `BPF_PROG_LOAD` (`include/uapi/linux/bpf.h`): `BPF_F_SLEEPABLE`,
    /// `BPF_F_XDP_HAS_FRAGS`.
    pub fn prog_flags(&self) -> u32 {
        (u32::from(self.flags & SLEEPABLE != 0) << 4)
            | (u32::from(self.flags & XDP_FRAGS != 0) << 5)
    }

    /// Whether what they attach to is named to `BPF_PROG_LOAD`, by its type.
    pub fn attaches_by_btf(&self) -> bool {
        self.flags & ATTACH_BTF != 0
    }

    /// Whether they can be loaded without the attach type on kernels that do not know it.
    pub fn attach_type_is_optional(&self) -> bool {
        self.flags & TYPE_OPTIONAL != 0
    }

    /// Whether they run when a function returns, not when it is called.
    pub fn on_return(&self) -> bool {
        self.flags & RETURN != 0
    }

    /// What follows the name, if the row is for this section: `Some(None)` when nothing does.
    fn target<'a>(&self, section: &'a str) -> Option<Option<&'a str>> {
        match section.strip_prefix(self.name())? {
            "" => Some(None),
            rest if self.takes_target() => rest.strip_prefix('/').map(Some),
            _ => None,
        }
    }
}

/// The row for a section, which has no `?` in front, and the target that it names after a slash:
/// `kprobe/do_unlinkat`.
pub fn find_section(section: &str) -> Option<(&'static Section, Option<&str>)> {
    SECTIONS.iter().find_map(|row| Some((row, row.target(section)?)))
}

macro_rules! sections {
    ($($pattern:literal: $prog_type:ident, $attach_type:ident, $auto:ident, $flags:expr;)*) => {
        /// Every section name, in libbpf's order.
        pub const SECTIONS: &[Section] = &[$(Section {
            pattern: $pattern,
            prog_type: ProgType::$prog_type,
            attach_type: AttachType::$attach_type,
            auto_attach: AutoAttach::$auto,
            flags: $flags,
        },)*];
    };
}

sections! {
    "socket": SocketFilter, NONE, Nothing, 0;
    "sk_reuseport/migrate": SkReuseport, SkReuseportSelectOrMigrate, Nothing, 0;
    "sk_reuseport": SkReuseport, SkReuseportSelect, Nothing, 0;
    "kprobe+": Kprobe, NONE, Kprobe, 0;
    "uprobe+": Kprobe, NONE, Uprobe, 0;
    "uprobe.s+": Kprobe, NONE, Uprobe, SLEEPABLE;
    "kretprobe+": Kprobe, NONE, Kprobe, RETURN;
    "uretprobe+": Kprobe, NONE, Uprobe, RETURN;
    "uretprobe.s+": Kprobe, NONE, Uprobe, RETURN | SLEEPABLE;
    "kprobe.multi+": Kprobe, TraceKprobeMulti, KprobeMulti, 0;
    "kretprobe.multi+": Kprobe, TraceKprobeMulti, KprobeMulti, RETURN;
    "kprobe.session+": Kprobe, TraceKprobeSession, KprobeMulti, 0;
    "uprobe.multi+": Kprobe, TraceUprobeMulti, UprobeMulti, 0;
    "uretprobe.multi+": Kprobe, TraceUprobeMulti, UprobeMulti, RETURN;
    "uprobe.session+": Kprobe, TraceUprobeSession, UprobeMulti, 0;
    "uprobe.multi.s+": Kprobe, TraceUprobeMulti, UprobeMulti, SLEEPABLE;
    "uretprobe.multi.s+": Kprobe, TraceUprobeMulti, UprobeMulti, RETURN | SLEEPABLE;
    "uprobe.session.s+": Kprobe, TraceUprobeSession, UprobeMulti, SLEEPABLE;
    "ksyscall+": Kprobe, NONE, Ksyscall, 0;
    "kretsyscall+": Kprobe, NONE, Ksyscall, RETURN;
    "usdt+": Kprobe, NONE, Usdt, 0;
    "usdt.s+": Kprobe, NONE, Usdt, SLEEPABLE;
    "tc/ingress": SchedCls, TcxIngress, Nothing, 0;
    "tc/egress": SchedCls, TcxEgress, Nothing, 0;
    "tcx/ingress": SchedCls, TcxIngress, Nothing, 0;
    "tcx/egress": SchedCls, TcxEgress, Nothing, 0;
    "tc": SchedCls, NONE, Nothing, 0;
    "classifier": SchedCls, NONE, Nothing, 0;
    "action": SchedAct, NONE, Nothing, 0;
    "netkit/primary": SchedCls, NetkitPrimary, Nothing, 0;
    "netkit/peer": SchedCls, NetkitPeer, Nothing, 0;
    "tracepoint+": Tracepoint, NONE, Tracepoint, 0;
    "tp+": Tracepoint, NONE, Tracepoint, 0;
    "tracepoint.s+": Tracepoint, NONE, Tracepoint, SLEEPABLE;
    "tp.s+": Tracepoint, NONE, Tracepoint, SLEEPABLE;
    "raw_tracepoint+": RawTracepoint, NONE, RawTracepoint, 0;
    "raw_tp+": RawTracepoint, NONE, RawTracepoint, 0;
    "raw_tracepoint.s+": RawTracepoint, NONE, RawTracepoint, SLEEPABLE;
    "raw_tp.s+": RawTracepoint, NONE, RawTracepoint, SLEEPABLE;
    "raw_tracepoint.w+": RawTracepointWritable, NONE, RawTracepoint, 0;
    "raw_tp.w+": RawTracepointWritable, NONE, RawTracepoint, 0;
    "tp_btf+": Tracing, TraceRawTp, Trace, ATTACH_BTF;
    "tp_btf.s+": Tracing, TraceRawTp, Trace, ATTACH_BTF | SLEEPABLE;
    "fentry+": Tracing, TraceFentry, Trace, ATTACH_BTF;
    "fmod_ret+": Tracing, ModifyReturn, Trace, ATTACH_BTF;
    "fexit+": Tracing, TraceFexit, Trace, ATTACH_BTF;
    "fentry.s+": Tracing, TraceFentry, Trace, ATTACH_BTF | SLEEPABLE;
    "fmod_ret.s+": Tracing, ModifyReturn, Trace, ATTACH_BTF | SLEEPABLE;
    "fexit.s+": Tracing, TraceFexit, Trace, ATTACH_BTF | SLEEPABLE;
    "fsession+": Tracing, TraceFsession, Trace, ATTACH_BTF;
    "fsession.s+": Tracing, TraceFsession, Trace, ATTACH_BTF | SLEEPABLE;
    "fsession.multi+": Tracing, TraceFsessionMulti, TracingMulti, 0;
    "fsession.multi.s+": Tracing, TraceFsessionMulti, TracingMulti, SLEEPABLE;
    "fentry.multi+": Tracing, TraceFentryMulti, TracingMulti, 0;
    "fexit.multi+": Tracing, TraceFexitMulti, TracingMulti, 0;
    "fentry.multi.s+": Tracing, TraceFentryMulti, TracingMulti, SLEEPABLE;
    "fexit.multi.s+": Tracing, TraceFexitMulti, TracingMulti, SLEEPABLE;
    "freplace+": Ext, NONE, Trace, ATTACH_BTF;
    "lsm+": Lsm, LsmMac, Lsm, ATTACH_BTF;
    "lsm.s+": Lsm, LsmMac, Lsm, ATTACH_BTF | SLEEPABLE;
    "lsm_cgroup+": Lsm, LsmCgroup, Nothing, ATTACH_BTF;
    "iter+": Tracing, TraceIter, Iter, ATTACH_BTF;
    "iter.s+": Tracing, TraceIter, Iter, ATTACH_BTF | SLEEPABLE;
    "syscall": Syscall, NONE, Nothing, SLEEPABLE;
    "xdp.frags/devmap": Xdp, XdpDevmap, Nothing, XDP_FRAGS;
    "xdp/devmap": Xdp, XdpDevmap, Nothing, 0;
    "xdp.frags/cpumap": Xdp, XdpCpumap, Nothing, XDP_FRAGS;
    "xdp/cpumap": Xdp, XdpCpumap, Nothing, 0;
    "xdp.frags": Xdp, Xdp, Nothing, XDP_FRAGS;
    "xdp": Xdp, Xdp, Nothing, TYPE_OPTIONAL;
    "perf_event": PerfEvent, NONE, Nothing, 0;
    "lwt_in": LwtIn, NONE, Nothing, 0;
    "lwt_out": LwtOut, NONE, Nothing, 0;
    "lwt_xmit": LwtXmit, NONE, Nothing, 0;
    "lwt_seg6local": LwtSeg6local, NONE, Nothing, 0;
    "sockops": SockOps, CgroupSockOps, Nothing, TYPE_OPTIONAL;
    "sk_skb/stream_parser": SkSkb, SkSkbStreamParser, Nothing, TYPE_OPTIONAL;
    "sk_skb/stream_verdict": SkSkb, SkSkbStreamVerdict, Nothing, TYPE_OPTIONAL;
    "sk_skb/verdict": SkSkb, SkSkbVerdict, Nothing, TYPE_OPTIONAL;
    "sk_skb": SkSkb, NONE, Nothing, 0;
    "sk_msg": SkMsg, SkMsgVerdict, Nothing, TYPE_OPTIONAL;
    "lirc_mode2": LircMode2, LircMode2, Nothing, TYPE_OPTIONAL;
    "flow_dissector": FlowDissector, FlowDissector, Nothing, TYPE_OPTIONAL;
    "cgroup_skb/ingress": CgroupSkb, CgroupInetIngress, Nothing, TYPE_OPTIONAL;
    "cgroup_skb/egress": CgroupSkb, CgroupInetEgress, Nothing, TYPE_OPTIONAL;
    "cgroup/skb": CgroupSkb, NONE, Nothing, 0;
    "cgroup/sock_create": CgroupSock, CgroupInetSockCreate, Nothing, 0;
    "cgroup/sock_release": CgroupSock, CgroupInetSockRelease, Nothing, 0;
    "cgroup/sock": CgroupSock, CgroupInetSockCreate, Nothing, TYPE_OPTIONAL;
    "cgroup/post_bind4": CgroupSock, CgroupInet4PostBind, Nothing, 0;
    "cgroup/post_bind6": CgroupSock, CgroupInet6PostBind, Nothing, 0;
    "cgroup/bind4": CgroupSockAddr, CgroupInet4Bind, Nothing, 0;
    "cgroup/bind6": CgroupSockAddr, CgroupInet6Bind, Nothing, 0;
    "cgroup/connect4": CgroupSockAddr, CgroupInet4Connect, Nothing, 0;
    "cgroup/connect6": CgroupSockAddr, CgroupInet6Connect, Nothing, 0;
    "cgroup/connect_unix": CgroupSockAddr, CgroupUnixConnect, Nothing, 0;
    "cgroup/sendmsg4": CgroupSockAddr, CgroupUdp4Sendmsg, Nothing, 0;
    "cgroup/sendmsg6": CgroupSockAddr, CgroupUdp6Sendmsg, Nothing, 0;
    "cgroup/sendmsg_unix": CgroupSockAddr, CgroupUnixSendmsg, Nothing, 0;
    "cgroup/recvmsg4": CgroupSockAddr, CgroupUdp4Recvmsg, Nothing, 0;
    "cgroup/recvmsg6": CgroupSockAddr, CgroupUdp6Recvmsg, Nothing, 0;
    "cgroup/recvmsg_unix": CgroupSockAddr, CgroupUnixRecvmsg, Nothing, 0;
    "cgroup/getpeername4": CgroupSockAddr, CgroupInet4Getpeername, Nothing, 0;
    "cgroup/getpeername6": CgroupSockAddr, CgroupInet6Getpeername, Nothing, 0;
    "cgroup/getpeername_unix": CgroupSockAddr, CgroupUnixGetpeername, Nothing, 0;
    "cgroup/getsockname4": CgroupSockAddr, CgroupInet4Getsockname, Nothing, 0;
    "cgroup/getsockname6": CgroupSockAddr, CgroupInet6Getsockname, Nothing, 0;
    "cgroup/getsockname_unix": CgroupSockAddr, CgroupUnixGetsockname, Nothing, 0;
    "cgroup/sysctl": CgroupSysctl, CgroupSysctl, Nothing, 0;
    "cgroup/getsockopt": CgroupSockopt, CgroupGetsockopt, Nothing, 0;
    "cgroup/setsockopt": CgroupSockopt, CgroupSetsockopt, Nothing, 0;
    "cgroup/dev": CgroupDevice, CgroupDevice, Nothing, TYPE_OPTIONAL;
    "struct_ops+": StructOps, NONE, Nothing, 0;
    "struct_ops.s+": StructOps, NONE, Nothing, SLEEPABLE;
    "sk_lookup": SkLookup, SkLookup, Nothing, 0;
    "netfilter": Netfilter, Netfilter, Nothing, 0;
}

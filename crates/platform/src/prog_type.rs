//! Program and attach types (`include/uapi/linux/bpf.h`).

macro_rules! numbered {
    (
        $(#[$top:meta])* $type:ident $(($(#[$zero_doc:meta])* $zero:ident = $zero_name:literal))?
        { $($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)* }
    ) => {
        $(#[$top])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u32)]
        #[non_exhaustive]
        pub enum $type { $($(#[$zero_doc])* $zero = 0,)? $($(#[$doc])* $variant = $number,)* }

        impl $type {
            /// Every one of this kernel-wide table, in the kernel's order.
            pub const ALL: &[$type] = &[$($type::$variant,)*];

            /// The one with this number.
            pub fn from_number(number: u32) -> Option<$type> {
                $type::ALL.iter().copied().find(|each| *each as u32 == number)
            }

            /// The name as bpftool prints it.
            pub const fn name(self) -> &'static str {
                match self { $($type::$zero => $zero_name,)? $($type::$variant => $name,)* }
            }
        }
    };
}

numbered! {
    /// What a program is for; decides its context and the helpers it may call.
    ProgType (
        /// Nobody said: no kernel takes it. (It is not in [`ProgType::ALL`].)
        Unspecified = "unspec"
    ) {
        /// Socket filter.
        SocketFilter = 1, "socket_filter";
        /// Kernel and user function entry and return.
        Kprobe = 2, "kprobe";
        /// Traffic control classifier.
        SchedCls = 3, "sched_cls";
        /// Traffic control action.
        SchedAct = 4, "sched_act";
        /// Tracepoint; the context is the record in the tracepoint's own format.
        Tracepoint = 5, "tracepoint";
        /// Express data path.
        Xdp = 6, "xdp";
        /// Perf event: timers, counters.
        PerfEvent = 7, "perf_event";
        /// Packets that enter or leave a cgroup.
        CgroupSkb = 8, "cgroup_skb";
        /// Making, releasing and binding of sockets in a cgroup.
        CgroupSock = 9, "cgroup_sock";
        /// Lightweight tunnel, packets that come in.
        LwtIn = 10, "lwt_in";
        /// Lightweight tunnel, packets that go out.
        LwtOut = 11, "lwt_out";
        /// Lightweight tunnel, before a packet is sent.
        LwtXmit = 12, "lwt_xmit";
        /// Events of TCP connections' lives in a cgroup.
        SockOps = 13, "sock_ops";
        /// Stream parser and verdict of a map of sockets.
        SkSkb = 14, "sk_skb";
        /// Access to device files in a cgroup.
        CgroupDevice = 15, "cgroup_device";
        /// Messages that a socket in a map sends.
        SkMsg = 16, "sk_msg";
        /// Raw tracepoint; the context is the array of the tracepoint's arguments.
        RawTracepoint = 17, "raw_tracepoint";
        /// Addresses that sockets in a cgroup bind, connect or send to.
        CgroupSockAddr = 18, "cgroup_sock_addr";
        /// Local segment of IPv6 segment routing.
        LwtSeg6local = 19, "lwt_seg6local";
        /// Infrared decoder.
        LircMode2 = 20, "lirc_mode2";
        /// Chooses the socket of a `SO_REUSEPORT` group.
        SkReuseport = 21, "sk_reuseport";
        /// Takes the headers of a packet apart, for a network namespace.
        FlowDissector = 22, "flow_dissector";
        /// Reading and writing of sysctl files in a cgroup.
        CgroupSysctl = 23, "cgroup_sysctl";
        /// Raw tracepoint whose first argument may be written.
        RawTracepointWritable = 24, "raw_tracepoint_writable";
        /// `getsockopt` and `setsockopt` in a cgroup.
        CgroupSockopt = 25, "cgroup_sockopt";
        /// Tracing by BTF: `fentry`, `fexit`, `tp_btf`, iterators.
        Tracing = 26, "tracing";
        /// Member of a structure of kernel callbacks.
        StructOps = 27, "struct_ops";
        /// Replaces a function of another program (`freplace`).
        Ext = 28, "ext";
        /// Security hook.
        Lsm = 29, "lsm";
        /// Chooses the socket of an incoming connection, for a network namespace.
        SkLookup = 30, "sk_lookup";
        /// Loads and test-runs only, makes system calls.
        Syscall = 31, "syscall";
        /// Netfilter hook.
        Netfilter = 32, "netfilter";
    }
}

numbered! {
    /// Where a program may attach.
    AttachType {
        /// Cgroup: IPv4 and IPv6 ingress.
        CgroupInetIngress = 0, "cgroup_inet_ingress";
        /// Cgroup: IPv4 and IPv6 egress.
        CgroupInetEgress = 1, "cgroup_inet_egress";
        /// Cgroup: IPv4 and IPv6 socket create.
        CgroupInetSockCreate = 2, "cgroup_inet_sock_create";
        /// Cgroup: socket ops.
        CgroupSockOps = 3, "cgroup_sock_ops";
        /// Socket: packets stream parser.
        SkSkbStreamParser = 4, "sk_skb_stream_parser";
        /// Socket: packets stream verdict.
        SkSkbStreamVerdict = 5, "sk_skb_stream_verdict";
        /// Cgroup: device.
        CgroupDevice = 6, "cgroup_device";
        /// Socket: msg verdict.
        SkMsgVerdict = 7, "sk_msg_verdict";
        /// Cgroup: IPv4 bind.
        CgroupInet4Bind = 8, "cgroup_inet4_bind";
        /// Cgroup: IPv6 bind.
        CgroupInet6Bind = 9, "cgroup_inet6_bind";
        /// Cgroup: IPv4 connect.
        CgroupInet4Connect = 10, "cgroup_inet4_connect";
        /// Cgroup: IPv6 connect.
        CgroupInet6Connect = 11, "cgroup_inet6_connect";
        /// Cgroup: IPv4 post bind.
        CgroupInet4PostBind = 12, "cgroup_inet4_post_bind";
        /// Cgroup: IPv6 post bind.
        CgroupInet6PostBind = 13, "cgroup_inet6_post_bind";
        /// Cgroup: UDP over IPv4 sendmsg.
        CgroupUdp4Sendmsg = 14, "cgroup_udp4_sendmsg";
        /// Cgroup: UDP over IPv6 sendmsg.
        CgroupUdp6Sendmsg = 15, "cgroup_udp6_sendmsg";
        /// LIRC: mode2.
        LircMode2 = 16, "lirc_mode2";
        /// Flow: dissector.
        FlowDissector = 17, "flow_dissector";
        /// Cgroup: sysctl.
        CgroupSysctl = 18, "cgroup_sysctl";
        /// Cgroup: UDP over IPv4 recvmsg.
        CgroupUdp4Recvmsg = 19, "cgroup_udp4_recvmsg";
        /// Cgroup: UDP over IPv6 recvmsg.
        CgroupUdp6Recvmsg = 20, "cgroup_udp6_recvmsg";
        /// Cgroup: getsockopt.
        CgroupGetsockopt = 21, "cgroup_getsockopt";
        /// Cgroup: setsockopt.
        CgroupSetsockopt = 22, "cgroup_setsockopt";
        /// `tp_btf`.
        TraceRawTp = 23, "trace_raw_tp";
        /// `fentry`.
        TraceFentry = 24, "trace_fentry";
        /// `fexit`.
        TraceFexit = 25, "trace_fexit";
        /// `fmod_ret`.
        ModifyReturn = 26, "modify_return";
        /// `lsm`.
        LsmMac = 27, "lsm_mac";
        /// Iterator.
        TraceIter = 28, "trace_iter";
        /// Cgroup: IPv4 getpeername.
        CgroupInet4Getpeername = 29, "cgroup_inet4_getpeername";
        /// Cgroup: IPv6 getpeername.
        CgroupInet6Getpeername = 30, "cgroup_inet6_getpeername";
        /// Cgroup: IPv4 getsockname.
        CgroupInet4Getsockname = 31, "cgroup_inet4_getsockname";
        /// Cgroup: IPv6 getsockname.
        CgroupInet6Getsockname = 32, "cgroup_inet6_getsockname";
        /// XDP: devmap.
        XdpDevmap = 33, "xdp_devmap";
        /// Cgroup: IPv4 and IPv6 socket release.
        CgroupInetSockRelease = 34, "cgroup_inet_sock_release";
        /// XDP: cpumap.
        XdpCpumap = 35, "xdp_cpumap";
        /// Socket: lookup.
        SkLookup = 36, "sk_lookup";
        /// XDP.
        Xdp = 37, "xdp";
        /// Socket: packets verdict.
        SkSkbVerdict = 38, "sk_skb_verdict";
        /// Socket: reuseport select.
        SkReuseportSelect = 39, "sk_reuseport_select";
        /// Socket: reuseport select or migrate.
        SkReuseportSelectOrMigrate = 40, "sk_reuseport_select_or_migrate";
        /// Perf event by link.
        PerfEvent = 41, "perf_event";
        /// Tracing: kernel functions multi.
        TraceKprobeMulti = 42, "trace_kprobe_multi";
        /// Security hook: cgroup.
        LsmCgroup = 43, "lsm_cgroup";
        /// Struct: ops.
        StructOps = 44, "struct_ops";
        /// Netfilter.
        Netfilter = 45, "netfilter";
        /// Traffic control: ingress.
        TcxIngress = 46, "tcx_ingress";
        /// Traffic control: egress.
        TcxEgress = 47, "tcx_egress";
        /// Tracing: user functions multi.
        TraceUprobeMulti = 48, "trace_uprobe_multi";
        /// Cgroup: Unix sockets connect.
        CgroupUnixConnect = 49, "cgroup_unix_connect";
        /// Cgroup: Unix sockets sendmsg.
        CgroupUnixSendmsg = 50, "cgroup_unix_sendmsg";
        /// Cgroup: Unix sockets recvmsg.
        CgroupUnixRecvmsg = 51, "cgroup_unix_recvmsg";
        /// Cgroup: Unix sockets getpeername.
        CgroupUnixGetpeername = 52, "cgroup_unix_getpeername";
        /// Cgroup: Unix sockets getsockname.
        CgroupUnixGetsockname = 53, "cgroup_unix_getsockname";
        /// Netkit: primary.
        NetkitPrimary = 54, "netkit_primary";
        /// Netkit: peer.
        NetkitPeer = 55, "netkit_peer";
        /// Tracing: kernel functions session.
        TraceKprobeSession = 56, "trace_kprobe_session";
        /// Tracing: user functions session.
        TraceUprobeSession = 57, "trace_uprobe_session";
        /// `fsession`.
        TraceFsession = 58, "trace_fsession";
        /// Tracing: `fentry` of many functions.
        TraceFentryMulti = 59, "trace_fentry_multi";
        /// Tracing: `fexit` of many functions.
        TraceFexitMulti = 60, "trace_fexit_multi";
        /// Tracing: `fsession` of many functions.
        TraceFsessionMulti = 61, "trace_fsession_multi";
    }
}

impl AttachType {
    /// The program's type says all. (The kernel has no number of its own for it.)
    pub const NONE: AttachType = AttachType::CgroupInetIngress;
}

numbered! {
    /// What kind of attachment a link is (`enum bpf_link_type`).
    LinkType {
        /// Raw tracepoint.
        RawTracepoint = 1, "raw_tracepoint";
        /// Tracing by BTF.
        Tracing = 2, "tracing";
        /// Cgroup.
        Cgroup = 3, "cgroup";
        /// Iterator.
        Iter = 4, "iter";
        /// Network namespace.
        Netns = 5, "netns";
        /// Network device, express data path.
        Xdp = 6, "xdp";
        /// Perf event: kprobes, uprobes, tracepoints, timers.
        PerfEvent = 7, "perf_event";
        /// Many kernel functions.
        KprobeMulti = 8, "kprobe_multi";
        /// Structure of kernel callbacks.
        StructOps = 9, "struct_ops";
        /// Netfilter hook.
        Netfilter = 10, "netfilter";
        /// Network device, traffic control.
        Tcx = 11, "tcx";
        /// Many user functions.
        UprobeMulti = 12, "uprobe_multi";
        /// Netkit device.
        Netkit = 13, "netkit";
        /// Map of sockets.
        Sockmap = 14, "sockmap";
        /// Many kernel functions, by BTF.
        TracingMulti = 15, "tracing_multi";
    }
}

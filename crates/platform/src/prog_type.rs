//! Program and attach types (`include/uapi/linux/bpf.h`).

macro_rules! numbered {
    ($(#[$top:meta])* $type:ident { $($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)* }) => {
        $(#[$top])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u32)]
        #[non_exhaustive]
        pub enum $type { $($(#[$doc])* $variant = $number,)* }

        impl $type {
            /// Every one of this kernel-wide table, in the kernel's order.
            pub const ALL: &[$type] = &[$($type::$variant,)*];

            /// The name as bpftool prints it.
            pub const fn name(self) -> &'static str {
                match self { $($type::$variant => $name,)* }
            }
        }
    };
}

numbered! {
    /// What a program is for; decides its context and the helpers it may call.
    ProgType {
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
        /// Raw tracepoint; the context is the array of the tracepoint's arguments.
        RawTracepoint = 17, "raw_tracepoint";
        /// Tracing by BTF: `fentry`, `fexit`, `tp_btf`, iterators.
        Tracing = 26, "tracing";
        /// Loads and test-runs only, makes system calls.
        Syscall = 31, "syscall";
    }
}

numbered! {
    /// Where a program may attach.
    AttachType {
        /// Program type says all.
        None = 0, "none";
        /// `tp_btf`.
        TraceRawTp = 23, "trace_raw_tp";
        /// `fentry`.
        TraceFentry = 24, "trace_fentry";
        /// `fexit`.
        TraceFexit = 25, "trace_fexit";
        /// Iterator.
        TraceIter = 28, "trace_iter";
        /// Perf event by link.
        PerfEvent = 41, "perf_event";
        /// Several user functions at once.
        TraceUprobeMulti = 48, "trace_uprobe_multi";
    }
}

//! What a kernel can do, as far as code generation and loading depend on it.

/// A kernel's version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct KernelVersion {
    /// For example 6.
    pub major: u32,
    /// For example 18.
    pub minor: u32,
    /// For example 44.
    pub patch: u32,
}

/// Facts about a kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Features {
    /// `linux` or `embedded`.
    pub name: &'static str,
    /// The version that it has or stands for.
    pub version: KernelVersion,
    /// Possible CPUs: how many values a per-CPU map gives.
    pub possible_cpus: u32,
    /// Highest instruction set version that it accepts, 1 to 4.
    pub isa: u8,
    /// Links on perf events, with cookies (Linux 5.15).
    pub perf_link: bool,
    /// `bpf_for_each_map_elem` (Linux 5.13).
    pub for_each_map_elem: bool,
    /// `bpf_loop` (Linux 5.17).
    pub bpf_loop: bool,
    /// Programs may read through BTF pointers (`tp_btf`).
    pub tp_btf: bool,
    /// System call tracepoints are served best by one raw tracepoint that dispatches on the
    /// number once there are more than this many; `None`: attach each on its own.
    pub syscall_dispatch_above: Option<usize>,
}

macro_rules! probed {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, ($major:literal, $minor:literal);)*) => {
        /// Something that a kernel can or cannot do, and can be asked for ([`crate::Kernel::supports`]).
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[non_exhaustive]
        pub enum Feature { $($(#[$doc])* $variant,)* }

        impl Feature {
            /// Every one.
            pub const ALL: &[Feature] = &[$(Feature::$variant,)*];

            /// What to call it in a listing.
            pub const fn name(self) -> &'static str {
                match self { $(Feature::$variant => $name,)* }
            }

            /// The first version of Linux that has it.
            pub const fn since(self) -> KernelVersion {
                match self {
                    $(Feature::$variant => KernelVersion { major: $major, minor: $minor, patch: 0 },)*
                }
            }
        }
    };
}

probed! {
    /// Programs and maps have names.
    ObjectNames = "object names", (4, 15);
    /// The kernel takes the attach type of a program into account when it loads it.
    ExpectedAttachType = "expected attach type", (4, 17);
    /// Type information.
    Btf = "BTF", (4, 18);
    /// Functions in it.
    BtfFunc = "BTF functions", (5, 0);
    /// Global functions in it.
    BtfFuncGlobal = "BTF global functions", (5, 6);
    /// Variables and the sections they are in.
    BtfDatasec = "BTF variables and sections", (5, 2);
    /// Section names that start with a question mark.
    BtfQuestionMark = "BTF section names with `?`", (6, 9);
    /// Floating point types.
    BtfFloat = "BTF floating point types", (5, 13);
    /// Attributes of declarations.
    BtfDeclTag = "BTF declaration tags", (5, 16);
    /// Attributes of types.
    BtfTypeTag = "BTF type tags", (5, 17);
    /// 64-bit and signed enumerations.
    BtfEnum64 = "BTF 64-bit enumerations", (6, 0);
    /// The verifier believes the tag `arg:ctx` of a global function's argument.
    ArgCtxTag = "arg:ctx tag", (6, 8);
    /// Global variables: an address inside an array's value can be loaded.
    GlobalData = "global data", (5, 2);
    /// Arrays whose values user space can map (`BPF_F_MMAPABLE`).
    MmapableArrays = "mmapable arrays", (5, 5);
    /// Maps that user space can no longer write to (`BPF_MAP_FREEZE`).
    MapFreeze = "frozen maps", (5, 2);
    /// Many elements by one call.
    MapBatch = "map batch operations", (5, 6);
    /// A program keeps a map that its code does not mention (`BPF_PROG_BIND_MAP`).
    ProgBindMap = "maps bound to programs", (5, 10);
    /// `bpf_probe_read_kernel` and `bpf_probe_read_user`.
    ProbeReadKernel = "probe_read_kernel", (5, 5);
    /// More than 4096 instructions.
    LargePrograms = "large programs", (5, 2);
    /// Loops whose end the verifier finds.
    BoundedLoops = "bounded loops", (5, 3);
    /// Instruction set version 2.
    IsaV2 = "instruction set v2", (4, 14);
    /// Instruction set version 3.
    IsaV3 = "instruction set v3", (5, 1);
    /// Instruction set version 4.
    IsaV4 = "instruction set v4", (6, 6);
    /// Types of the kernel itself.
    KernelBtf = "kernel BTF", (5, 4);
    /// Types of its modules.
    ModuleBtf = "module BTF", (5, 11);
    /// Functions of the kernel that programs may call.
    Kfuncs = "kfuncs", (5, 13);
    /// Memory of maps and programs is a cgroup's matter, not one of `RLIMIT_MEMLOCK`.
    MemcgAccounting = "memcg accounting", (5, 11);
    /// System calls have functions with a prefix (`__x64_sys_`).
    SyscallWrapper = "syscall wrappers", (4, 17);
    /// Links on perf events.
    PerfLink = "perf event links", (5, 15);
    /// Programs can ask which attachment runs them.
    AttachCookie = "attach cookies", (5, 15);
    /// Links on cgroups.
    CgroupLink = "cgroup links", (5, 7);
    /// Links on network namespaces.
    NetnsLink = "network namespace links", (5, 8);
    /// Iterators.
    IterLink = "iterators", (5, 8);
    /// XDP by link.
    XdpLink = "XDP links", (5, 9);
    /// Many kernel functions by one link.
    KprobeMultiLink = "kprobe.multi links", (5, 18);
    /// Structures of callbacks by link.
    StructOpsLink = "struct_ops links", (6, 4);
    /// Netfilter hooks.
    NetfilterLink = "netfilter links", (6, 4);
    /// Many user functions by one link.
    UprobeMultiLink = "uprobe.multi links", (6, 6);
    /// Traffic control by link.
    TcxLink = "tcx links", (6, 6);
    /// Netkit devices.
    NetkitLink = "netkit links", (6, 7);
    /// Maps of sockets by link.
    SockmapLink = "sockmap links", (6, 10);
    /// Rights passed on by a file system (`BPF_TOKEN_CREATE`).
    Token = "BPF token", (6, 9);
}

impl Features {
    /// `bpf_get_current_comm` fills the whole buffer, with zeroes behind the name. Linux 6.12 does
    /// (`strscpy_pad` in kernel/bpf/helpers.c), 6.1 stops after the name.
    pub fn pads_comm(&self) -> bool {
        let since = KernelVersion { major: 6, minor: 12, patch: 0 };
        self.name != "linux" || self.version >= since
    }

    /// What the helpers of maps return has 64 bits. Before Linux 6.4 the functions behind them
    /// returned 32, and where the verifier puts in a call of such a function itself an error has
    /// zeroes above (`d7ba4cc900bf`, "bpf: return long from bpf_map_ops funcs").
    pub fn long_map_results(&self) -> bool {
        let since = KernelVersion { major: 6, minor: 4, patch: 0 };
        self.name != "linux" || self.version >= since
    }
}

//! Helper functions (`enum bpf_func_id`, `include/uapi/linux/bpf.h`).
//!
//! One row a helper: id, name, arguments. The compiler, the disassembler and the engines read it.

/// What a helper takes or gives, as far as a caller has to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HelperInfo {
    /// Any number.
    Scalar,
    /// The program's context.
    Ctx,
    /// A map.
    Map,
    /// A readable key of that map.
    MapKey,
    /// A readable value of that map.
    MapValue,
    /// Readable memory; the next argument is its size.
    Mem,
    /// Writable memory; the next argument is its size.
    MemUninit,
    /// Size in bytes of the memory before it.
    Size,
    /// A function of the program.
    Func,
    /// Any pointer, passed on without being read.
    Pointer,
    /// Memory that a helper gave.
    RingbufMem,
}

/// Gives listings the names of helpers ([`bombus_isa::Op::display`]).
#[derive(Clone, Copy, Debug, Default)]
pub struct HelperNames;

impl bombus_isa::Resolve for HelperNames {
    fn helper(&self, id: i32) -> Option<&str> {
        Helper::from_id(id).map(Helper::symbol)
    }
}

macro_rules! helpers {
    ($($(#[$doc:meta])* $variant:ident = $id:literal, $name:literal ($($arg:ident),*);)*) => {
        /// A helper function. The numbers are the kernel's.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u32)]
        #[non_exhaustive]
        pub enum Helper { $($(#[$doc])* $variant = $id,)* }

        /// Every helper that Bombus knows: id order.
        pub const HELPERS: &[Helper] = &[$(Helper::$variant,)*];

        impl Helper {
            /// The name without `bpf_`, as the kernel's table has it.
            pub const fn name(self) -> &'static str {
                match self { $(Helper::$variant => $name,)* }
            }

            /// The name in C, and in the kernel's listings.
            pub const fn symbol(self) -> &'static str {
                match self { $(Helper::$variant => concat!("bpf_", $name),)* }
            }

            /// What it takes.
            pub const fn args(self) -> &'static [HelperInfo] {
                match self { $(Helper::$variant => &[$(HelperInfo::$arg),*],)* }
            }

            /// The number that the call instruction carries.
            pub const fn id(self) -> i32 { self as u32 as i32 }

            /// The helper with this number.
            pub fn from_id(id: i32) -> Option<Helper> {
                HELPERS.iter().copied().find(|helper| helper.id() == id)
            }
        }
    };
}

helpers! {
    /// Address of a value, or null.
    MapLookupElem = 1, "map_lookup_elem" (Map, MapKey);
    /// Add or replace an element.
    MapUpdateElem = 2, "map_update_elem" (Map, MapKey, MapValue, Scalar);
    /// Remove an element.
    MapDeleteElem = 3, "map_delete_elem" (Map, MapKey);
    /// Read memory of kernel or user (old form).
    ProbeRead = 4, "probe_read" (MemUninit, Size, Scalar);
    /// Nanoseconds since boot, without suspend.
    KtimeGetNs = 5, "ktime_get_ns" ();
    /// Print to the trace pipe.
    TracePrintk = 6, "trace_printk" (Mem, Size, Scalar, Scalar, Scalar);
    /// A random 32-bit number.
    GetPrandomU32 = 7, "get_prandom_u32" ();
    /// Number of the CPU.
    GetSmpProcessorId = 8, "get_smp_processor_id" ();
    /// Jump to another program.
    TailCall = 12, "tail_call" (Ctx, Map, Scalar);
    /// `tgid << 32 | tid`.
    GetCurrentPidTgid = 14, "get_current_pid_tgid" ();
    /// `gid << 32 | uid`.
    GetCurrentUidGid = 15, "get_current_uid_gid" ();
    /// Name of the task.
    GetCurrentComm = 16, "get_current_comm" (MemUninit, Size);
    /// Send a record to a perf event array.
    PerfEventOutput = 25, "perf_event_output" (Ctx, Map, Scalar, Mem, Size);
    /// Id of a stack trace.
    GetStackid = 27, "get_stackid" (Ctx, Map, Scalar);
    /// Address of the task's `struct task_struct`.
    GetCurrentTask = 35, "get_current_task" ();
    /// Number of the NUMA node.
    GetNumaNodeId = 42, "get_numa_node_id" ();
    /// Read a string (old form).
    ProbeReadStr = 45, "probe_read_str" (MemUninit, Size, Scalar);
    /// Id of the task's cgroup.
    GetCurrentCgroupId = 80, "get_current_cgroup_id" ();
    /// Send a signal to the current process.
    SendSignal = 109, "send_signal" (Scalar);
    /// Read user memory.
    ProbeReadUser = 112, "probe_read_user" (MemUninit, Size, Scalar);
    /// Read kernel memory.
    ProbeReadKernel = 113, "probe_read_kernel" (MemUninit, Size, Scalar);
    /// Read a string in user memory; gives its length with the zero, or an error.
    ProbeReadUserStr = 114, "probe_read_user_str" (MemUninit, Size, Scalar);
    /// Read a string in kernel memory.
    ProbeReadKernelStr = 115, "probe_read_kernel_str" (MemUninit, Size, Scalar);
    /// Nanoseconds since boot, with suspend.
    KtimeGetBootNs = 125, "ktime_get_boot_ns" ();
    /// Copy a record into a ring buffer.
    RingbufOutput = 130, "ringbuf_output" (Map, Mem, Scalar, Scalar);
    /// Reserve a record in a ring buffer.
    RingbufReserve = 131, "ringbuf_reserve" (Map, Scalar, Scalar);
    /// Send a reserved record.
    RingbufSubmit = 132, "ringbuf_submit" (RingbufMem, Scalar);
    /// Drop a reserved record.
    RingbufDiscard = 133, "ringbuf_discard" (RingbufMem, Scalar);
    /// How full a ring buffer is.
    RingbufQuery = 134, "ringbuf_query" (Map, Scalar);
    /// Call a function for every element.
    ForEachMapElem = 164, "for_each_map_elem" (Map, Func, Pointer, Scalar);
    /// Argument `n` of the traced function.
    GetFuncIp = 173, "get_func_ip" (Ctx);
    /// The number given when the program was attached.
    GetAttachCookie = 174, "get_attach_cookie" (Ctx);
    /// Call a function many times.
    Loop = 181, "loop" (Scalar, Func, Pointer, Scalar);
    /// Compare memory with a string.
    Strncmp = 182, "strncmp" (Mem, Size, Pointer);
    /// A value of a per-CPU map on another CPU.
    MapLookupPercpuElem = 195, "map_lookup_percpu_elem" (Map, MapKey, Scalar);
    /// TAI clock, nanoseconds.
    KtimeGetTaiNs = 208, "ktime_get_tai_ns" ();
}

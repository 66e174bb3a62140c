//! What helpers take and give, in the kernel's own kinds (`enum bpf_arg_type`,
//! `enum bpf_return_type`, `enum bpf_type_flag`, `include/linux/bpf.h`).

use core::ops::BitOr;

/// What is said of a kind beside the kind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct TypeFlags(u16);

impl TypeFlags {
    /// Nothing.
    pub const NONE: TypeFlags = TypeFlags(0);
    /// The pointer may be null (`PTR_MAYBE_NULL`).
    pub const MAYBE_NULL: TypeFlags = TypeFlags(1 << 0);
    /// The memory is only read, read-only memory will do (`MEM_RDONLY`); of a result: it may not be
    /// written.
    pub const RDONLY: TypeFlags = TypeFlags(1 << 1);
    /// The memory is written; without [`TypeFlags::UNINIT`] it is read, too (`MEM_WRITE`).
    pub const WRITE: TypeFlags = TypeFlags(1 << 2);
    /// The memory need not be initialized (`MEM_UNINIT`).
    pub const UNINIT: TypeFlags = TypeFlags(1 << 3);
    /// The memory must be aligned to its size (`MEM_ALIGNED`).
    pub const ALIGNED: TypeFlags = TypeFlags(1 << 4);
    /// The call takes over what the pointer refers to (`OBJ_RELEASE`).
    pub const RELEASE: TypeFlags = TypeFlags(1 << 5);
    /// The memory is a record in a ring buffer (`MEM_RINGBUF`).
    pub const RINGBUF: TypeFlags = TypeFlags(1 << 6);
    /// The kernel vouches for the pointer (`PTR_TRUSTED`).
    pub const TRUSTED: TypeFlags = TypeFlags(1 << 7);

    /// Whether all of `flags` are set.
    pub const fn has(self, flags: TypeFlags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Both together.
    pub const fn with(self, flags: TypeFlags) -> TypeFlags {
        TypeFlags(self.0 | flags.0)
    }
}

impl BitOr for TypeFlags {
    type Output = TypeFlags;

    fn bitor(self, flags: TypeFlags) -> TypeFlags {
        self.with(flags)
    }
}

/// What a bounded pointer stands for (`enum bpf_dynptr_type`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DynptrKind {
    /// Any.
    Any,
    /// The program's own memory.
    Local,
    /// A record in a ring buffer.
    Ringbuf,
    /// A packet, of programs over `struct __sk_buff`.
    Skb,
    /// A packet, of programs over `struct xdp_md`.
    Xdp,
    /// What stands before a packet.
    SkbMeta,
    /// A file.
    File,
}

/// What an argument has to be.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ArgKind {
    /// Anything that is initialized (`ARG_ANYTHING`).
    Anything,
    /// A number (`ARG_SCALAR`).
    Scalar,
    /// A map (`ARG_CONST_MAP_PTR`).
    ConstMapPtr,
    /// A key of that map (`ARG_PTR_TO_MAP_KEY`).
    MapKey,
    /// A value of that map (`ARG_PTR_TO_MAP_VALUE`).
    MapValue,
    /// Memory, whose size is the next argument (`ARG_PTR_TO_MEM`).
    Mem,
    /// Memory of so many bytes (`ARG_PTR_TO_FIXED_SIZE_MEM`).
    FixedMem(u32),
    /// The size of the memory before it, in bytes, not 0 (`ARG_MEM_SIZE`).
    MemSize,
    /// The size of the memory before it, in bytes (`ARG_MEM_SIZE_OR_ZERO`).
    MemSizeOrZero,
    /// The size of the memory that the call gives: a constant (`ARG_CONST_ALLOC_SIZE_OR_ZERO`).
    ConstAllocSizeOrZero,
    /// The program's context (`ARG_PTR_TO_CTX`).
    Ctx,
    /// A `struct bpf_spin_lock` in a value (`ARG_PTR_TO_SPIN_LOCK`).
    SpinLock,
    /// A `struct bpf_timer` in a value (`ARG_PTR_TO_TIMER`).
    Timer,
    /// A `struct bpf_sock`, whole or not (`ARG_PTR_TO_SOCK_COMMON`).
    SockCommon,
    /// A whole `struct bpf_sock` (`ARG_PTR_TO_SOCKET`).
    Socket,
    /// A structure of the kernel, of this name (`ARG_PTR_TO_BTF_ID`).
    BtfId(&'static str),
    /// The kernel's `struct sock_common`, or what programs see of it
    /// (`ARG_PTR_TO_BTF_ID_SOCK_COMMON`).
    BtfIdSockCommon,
    /// A variable of the kernel that every CPU has (`ARG_PTR_TO_PERCPU_BTF_ID`).
    PercpuBtfId,
    /// A record reserved in a ring buffer (`ARG_PTR_TO_RINGBUF_MEM`).
    RingbufMem,
    /// A function of the program (`ARG_PTR_TO_FUNC`).
    Func,
    /// The stack (`ARG_PTR_TO_STACK`).
    Stack,
    /// A string in a read-only map (`ARG_PTR_TO_CONST_STR`).
    ConstStr,
    /// Where in a value a pointer to an object is kept (`ARG_KPTR_XCHG_DEST`).
    KptrXchgDest,
    /// A pointer of the type that is kept there (`ARG_PTR_TO_BTF_ID` of `bpf_kptr_xchg`).
    Kptr,
    /// A `struct bpf_dynptr` (`ARG_PTR_TO_DYNPTR`).
    Dynptr(DynptrKind),
}

/// What an argument has to be, with all that is said of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Arg {
    /// The kind.
    pub kind: ArgKind,
    /// What is said of it.
    pub flags: TypeFlags,
}

/// What a helper gives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RetKind {
    /// A number (`RET_INTEGER`).
    Integer,
    /// Nothing (`RET_VOID`).
    Void,
    /// A value of the map (`RET_PTR_TO_MAP_VALUE`).
    MapValue,
    /// A `struct bpf_sock` (`RET_PTR_TO_SOCKET`).
    Socket,
    /// A `struct bpf_tcp_sock` (`RET_PTR_TO_TCP_SOCK`).
    TcpSock,
    /// A `struct bpf_sock`, not whole (`RET_PTR_TO_SOCK_COMMON`).
    SockCommon,
    /// Memory, as large as the argument that says so (`RET_PTR_TO_MEM`).
    Mem,
    /// What the per-CPU variable is: memory or a structure (`RET_PTR_TO_MEM_OR_BTF_ID`).
    MemOrBtfId,
    /// A structure of the kernel, of this name (`RET_PTR_TO_BTF_ID`).
    BtfId(&'static str),
    /// What was kept in the value (`RET_PTR_TO_BTF_ID` of `bpf_kptr_xchg`).
    Kptr,
}

/// What a helper gives, with all that is said of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Ret {
    /// The kind.
    pub kind: RetKind,
    /// What is said of it.
    pub flags: TypeFlags,
}

/// What is said of a helper as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct ProtoFlags(u16);

impl ProtoFlags {
    /// Nothing.
    pub const NONE: ProtoFlags = ProtoFlags(0);
    /// Only for programs whose licence is compatible with the GPL.
    pub const GPL_ONLY: ProtoFlags = ProtoFlags(1 << 0);
    /// Memory in a packet will do for its pointers.
    pub const PKT_ACCESS: ProtoFlags = ProtoFlags(1 << 1);
    /// It may sleep.
    pub const MIGHT_SLEEP: ProtoFlags = ProtoFlags(1 << 2);
    /// It leaves alone every register that it does not need (`bpf_fastcall`).
    pub const FASTCALL: ProtoFlags = ProtoFlags(1 << 3);
    /// Pointers into the packet are void after it (`bpf_helper_changes_pkt_data`,
    /// `net/core/filter.c`).
    pub const CHANGES_PACKET: ProtoFlags = ProtoFlags(1 << 4);
    /// What it gives has to be released (`is_acquire_function`, `kernel/bpf/verifier.c`).
    pub const ACQUIRES: ProtoFlags = ProtoFlags(1 << 5);
    /// What it gives is its argument, as another type (`is_ptr_cast_function`).
    pub const CASTS: ProtoFlags = ProtoFlags(1 << 6);
    /// It calls a function of the program before it returns
    /// (`is_sync_callback_calling_function`).
    pub const CALLS_BACK: ProtoFlags = ProtoFlags(1 << 7);
    /// A function of the program will be called after it has returned
    /// (`is_async_callback_calling_function`).
    pub const CALLS_BACK_LATER: ProtoFlags = ProtoFlags(1 << 8);
    /// Only where a path may be looked at (`bpf_d_path_allowed`, `kernel/trace/bpf_trace.c`).
    pub const D_PATH_ONLY: ProtoFlags = ProtoFlags(1 << 9);
    /// Only in security hooks that may sleep (`bpf_ima_inode_hash_allowed`, `kernel/bpf/bpf_lsm.c`).
    pub const SLEEPABLE_HOOKS_ONLY: ProtoFlags = ProtoFlags(1 << 10);
    /// Not where the storage of sockets is traced (`bpf_sk_storage_tracing_allowed`,
    /// `net/core/bpf_sk_storage.c`).
    pub const NOT_IN_STORAGE: ProtoFlags = ProtoFlags(1 << 11);

    /// Whether all of `flags` are set.
    pub const fn has(self, flags: ProtoFlags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Both together.
    pub const fn with(self, flags: ProtoFlags) -> ProtoFlags {
        ProtoFlags(self.0 | flags.0)
    }
}

//! Helper functions (`enum bpf_func_id`, `include/uapi/linux/bpf.h`).
//!
//! One row a helper: id, arguments. The compiler, the disassembler and the engines read it. The
//! names are those of [`HELPER_NAMES`].

use crate::helper_names::{HELPER_NAMES, HELPER_SYMBOLS};

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
    ($($(#[$doc:meta])* $variant:ident = $id:literal ($($arg:ident),*);)*) => {
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
                HELPER_NAMES[self as usize]
            }

            /// The name in C, and in the kernel's listings.
            pub const fn symbol(self) -> &'static str {
                HELPER_SYMBOLS[self as usize]
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
    MapLookupElem = 1 (Map, MapKey);
    /// Add or replace an element.
    MapUpdateElem = 2 (Map, MapKey, MapValue, Scalar);
    /// Remove an element.
    MapDeleteElem = 3 (Map, MapKey);
    /// Read memory of kernel or user (old form).
    ProbeRead = 4 (MemUninit, Size, Scalar);
    /// Nanoseconds since boot, without suspend.
    KtimeGetNs = 5 ();
    /// Print to the trace pipe.
    TracePrintk = 6 (Mem, Size, Scalar, Scalar, Scalar);
    /// A random 32-bit number.
    GetPrandomU32 = 7 ();
    /// Number of the CPU.
    GetSmpProcessorId = 8 ();
    /// Change bytes of the packet.
    SkbStoreBytes = 9 (Ctx, Scalar, Mem, Size, Scalar);
    /// Correct the checksum of an IP header.
    L3CsumReplace = 10 (Ctx, Scalar, Scalar, Scalar, Scalar);
    /// Correct the checksum of a transport header.
    L4CsumReplace = 11 (Ctx, Scalar, Scalar, Scalar, Scalar);
    /// Jump to another program.
    TailCall = 12 (Ctx, Map, Scalar);
    /// Send a copy of the packet from a device.
    CloneRedirect = 13 (Ctx, Scalar, Scalar);
    /// `tgid << 32 | tid`.
    GetCurrentPidTgid = 14 ();
    /// `gid << 32 | uid`.
    GetCurrentUidGid = 15 ();
    /// Name of the task.
    GetCurrentComm = 16 (MemUninit, Size);
    /// Send the packet from another device.
    Redirect = 23 (Scalar, Scalar);
    /// Send a record to a perf event array.
    PerfEventOutput = 25 (Ctx, Map, Scalar, Mem, Size);
    /// Copy bytes of the packet.
    SkbLoadBytes = 26 (Ctx, Scalar, MemUninit, Size);
    /// Id of a stack trace.
    GetStackid = 27 (Ctx, Map, Scalar);
    /// Checksum of a change.
    CsumDiff = 28 (Mem, Size, Mem, Size, Scalar);
    /// Make an IPv6 packet of an IPv4 one, or back.
    SkbChangeProto = 31 (Ctx, Scalar, Scalar);
    /// Change whom the packet is for.
    SkbChangeType = 32 (Ctx, Scalar);
    /// Hash of the packet's flow.
    GetHashRecalc = 34 (Ctx);
    /// Address of the task's `struct task_struct`.
    GetCurrentTask = 35 ();
    /// Change the packet's length.
    SkbChangeTail = 38 (Ctx, Scalar, Scalar);
    /// Make bytes of the packet directly accessible.
    SkbPullData = 39 (Ctx, Scalar);
    /// Add to the checksum of the whole packet.
    CsumUpdate = 40 (Ctx, Scalar);
    /// Forget the hash of the packet's flow.
    SetHashInvalid = 41 (Ctx);
    /// Number of the NUMA node.
    GetNumaNodeId = 42 ();
    /// Make room before the packet.
    SkbChangeHead = 43 (Ctx, Scalar, Scalar);
    /// Move the packet's start.
    XdpAdjustHead = 44 (Ctx, Scalar);
    /// Read a string (old form).
    ProbeReadStr = 45 (MemUninit, Size, Scalar);
    /// Set the hash of the packet's flow.
    SetHash = 48 (Ctx, Scalar);
    /// Send the packet to an entry of a map.
    RedirectMap = 51 (Map, Scalar, Scalar);
    /// Move the start of what stands before the packet.
    XdpAdjustMeta = 54 (Ctx, Scalar);
    /// Move the packet's end.
    XdpAdjustTail = 65 (Ctx, Scalar);
    /// Copy bytes of the packet, counted from a header.
    SkbLoadBytesRelative = 68 (Ctx, Scalar, MemUninit, Size, Scalar);
    /// Ask the routing table.
    FibLookup = 69 (Ctx, Mem, Size, Scalar);
    /// Id of the task's cgroup.
    GetCurrentCgroupId = 80 ();
    /// Add a value to a map without keys.
    MapPushElem = 87 (Map, MapValue, Scalar);
    /// Take the next value out of a map without keys.
    MapPopElem = 88 (Map, Pointer);
    /// Read the next value of a map without keys.
    MapPeekElem = 89 (Map, Pointer);
    /// Take a lock in a map's value.
    SpinLock = 93 (Pointer);
    /// Release it.
    SpinUnlock = 94 (Pointer);
    /// Read a signed number.
    Strtol = 105 (Mem, Size, Scalar, Pointer);
    /// Read an unsigned number.
    Strtoul = 106 (Mem, Size, Scalar, Pointer);
    /// Send a signal to the current process.
    SendSignal = 109 (Scalar);
    /// Read user memory.
    ProbeReadUser = 112 (MemUninit, Size, Scalar);
    /// Read kernel memory.
    ProbeReadKernel = 113 (MemUninit, Size, Scalar);
    /// Read a string in user memory; gives its length with the zero, or an error.
    ProbeReadUserStr = 114 (MemUninit, Size, Scalar);
    /// Read a string in kernel memory.
    ProbeReadKernelStr = 115 (MemUninit, Size, Scalar);
    /// Ticks since boot.
    Jiffies64 = 118 ();
    /// Nanoseconds since boot, with suspend.
    KtimeGetBootNs = 125 ();
    /// Copy a record into a ring buffer.
    RingbufOutput = 130 (Map, Mem, Scalar, Scalar);
    /// Reserve a record in a ring buffer.
    RingbufReserve = 131 (Map, Scalar, Scalar);
    /// Send a reserved record.
    RingbufSubmit = 132 (RingbufMem, Scalar);
    /// Drop a reserved record.
    RingbufDiscard = 133 (RingbufMem, Scalar);
    /// How full a ring buffer is.
    RingbufQuery = 134 (Map, Scalar);
    /// Nanoseconds since boot as of the last tick.
    KtimeGetCoarseNs = 160 ();
    /// Call a function for every element.
    ForEachMapElem = 164 (Map, Func, Pointer, Scalar);
    /// Write numbers in a format: the format is a constant.
    Snprintf = 165 (MemUninit, Size, Pointer, Mem, Size);
    /// Argument `n` of the traced function.
    GetFuncIp = 173 (Ctx);
    /// The number given when the program was attached.
    GetAttachCookie = 174 (Ctx);
    /// Call a function many times.
    Loop = 181 (Scalar, Func, Pointer, Scalar);
    /// Compare memory with a string.
    Strncmp = 182 (Mem, Size, Pointer);
    /// The packet's length.
    XdpGetBuffLen = 188 (Ctx);
    /// Copy bytes of the packet.
    XdpLoadBytes = 189 (Ctx, Scalar, MemUninit, Size);
    /// Change bytes of the packet.
    XdpStoreBytes = 190 (Ctx, Scalar, Mem, Size);
    /// A value of a per-CPU map on another CPU.
    MapLookupPercpuElem = 195 (Map, MapKey, Scalar);
    /// A bounded pointer to memory.
    DynptrFromMem = 197 (Pointer, Scalar, Scalar, Pointer);
    /// A bounded pointer to a new record of a ring buffer.
    RingbufReserveDynptr = 198 (Map, Scalar, Scalar, Pointer);
    /// Send that record.
    RingbufSubmitDynptr = 199 (Pointer, Scalar);
    /// Drop it.
    RingbufDiscardDynptr = 200 (Pointer, Scalar);
    /// Read from a bounded pointer.
    DynptrRead = 201 (MemUninit, Size, Pointer, Scalar, Scalar);
    /// Write to a bounded pointer.
    DynptrWrite = 202 (Pointer, Scalar, Mem, Size, Scalar);
    /// The address of a part of what a bounded pointer stands for.
    DynptrData = 203 (Pointer, Scalar, Scalar);
    /// TAI clock, nanoseconds.
    KtimeGetTaiNs = 208 ();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A wrong number would give a helper another's name.
    #[test]
    fn numbers_and_names_agree() {
        for helper in HELPERS {
            let mut name = String::new();
            for c in format!("{helper:?}").chars() {
                if c.is_ascii_uppercase() && !name.is_empty() {
                    name.push('_');
                }
                name.push(c.to_ascii_lowercase());
            }
            assert_eq!(helper.name(), name);
            assert_eq!(helper.symbol(), format!("bpf_{name}"));
        }
    }
}

//! Helper functions (`enum bpf_func_id`, `include/uapi/linux/bpf.h`).
//!
//! The helpers that Bombus itself calls or implements. The compiler, the disassembler and the engines
//! read this table. The names are those of [`HELPER_NAMES`], the arguments those of [`proto`].

use crate::ProgType;
use crate::helper_names::{HELPER_NAMES, HELPER_SYMBOLS};
use crate::proto::{self, Arg, ArgKind, Proto, TypeFlags};

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

impl HelperInfo {
    const fn of(arg: &Arg) -> HelperInfo {
        let uninit = arg.flags.has(TypeFlags::UNINIT);
        match arg.kind {
            ArgKind::Anything | ArgKind::Scalar | ArgKind::ConstAllocSizeOrZero => {
                HelperInfo::Scalar
            }
            ArgKind::ConstMapPtr => HelperInfo::Map,
            ArgKind::MapKey => HelperInfo::MapKey,
            ArgKind::MapValue if !uninit => HelperInfo::MapValue,
            ArgKind::Mem if uninit => HelperInfo::MemUninit,
            ArgKind::Mem => HelperInfo::Mem,
            ArgKind::MemSize | ArgKind::MemSizeOrZero => HelperInfo::Size,
            ArgKind::Ctx => HelperInfo::Ctx,
            ArgKind::Func => HelperInfo::Func,
            ArgKind::RingbufMem => HelperInfo::RingbufMem,
            _ => HelperInfo::Pointer,
        }
    }

    /// What a helper takes, by its prototype.
    const fn all<const N: usize>(proto: &Proto) -> [HelperInfo; N] {
        let mut infos = [HelperInfo::Scalar; N];
        let mut index = 0;
        while index < N {
            infos[index] = HelperInfo::of(&proto.args[index]);
            index += 1;
        }
        infos
    }
}

/// Whether programs of a type may call the helper with this number, at one place or another.
/// Programs that replace another program's function may call what that program may: for them the
/// answer is yes.
pub fn may_call(prog_type: ProgType, helper: i32) -> bool {
    proto::may_call(prog_type, helper)
}

/// Gives listings the names of helpers ([`bombus_isa::Op::display`]).
#[derive(Clone, Copy, Debug, Default)]
pub struct HelperNames;

impl bombus_isa::Resolve for HelperNames {
    fn helper(&self, id: i32) -> Option<&str> {
        let known = usize::try_from(id).ok().filter(|id| *id != 0)?;
        HELPER_SYMBOLS.get(known).copied()
    }
}

macro_rules! helpers {
    ($($(#[$doc:meta])* $variant:ident = $id:literal $(($($arg:ident),*))?;)*) => {
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
                match self {
                    $(Helper::$variant => helpers!(@args $id $(($($arg),*))?),)*
                }
            }

            /// The number that the call instruction carries.
            pub const fn id(self) -> i32 { self as u32 as i32 }

            /// The helper with this number.
            pub fn from_id(id: i32) -> Option<Helper> {
                HELPERS.iter().copied().find(|helper| helper.id() == id)
            }
        }
    };
    (@args $id:literal ($($arg:ident),*)) => { &[$(HelperInfo::$arg),*] };
    (@args $id:literal) => {{
        const PROTO: &Proto = proto::usual($id).expect("every helper has a prototype");
        const INFOS: [HelperInfo; PROTO.args.len()] = HelperInfo::all(PROTO);
        &INFOS
    }};
}

// Rows give arguments where the prototype does not say all: `bpf_trace_printk` reads three more, and
// `bpf_dynptr_from_mem` leaves the memory as it is.
helpers! {
    /// Address of a value, or null.
    MapLookupElem = 1;
    /// Add or replace an element.
    MapUpdateElem = 2;
    /// Remove an element.
    MapDeleteElem = 3;
    /// Read memory of kernel or user (old form).
    ProbeRead = 4;
    /// Nanoseconds since boot, without suspend.
    KtimeGetNs = 5;
    /// Print to the trace pipe.
    TracePrintk = 6 (Mem, Size, Scalar, Scalar, Scalar);
    /// A random 32-bit number.
    GetPrandomU32 = 7;
    /// Number of the CPU.
    GetSmpProcessorId = 8;
    /// Change bytes of the packet.
    SkbStoreBytes = 9;
    /// Correct the checksum of an IP header.
    L3CsumReplace = 10;
    /// Correct the checksum of a transport header.
    L4CsumReplace = 11;
    /// Jump to another program.
    TailCall = 12;
    /// Send a copy of the packet from a device.
    CloneRedirect = 13;
    /// `tgid << 32 | tid`.
    GetCurrentPidTgid = 14;
    /// `gid << 32 | uid`.
    GetCurrentUidGid = 15;
    /// Name of the task.
    GetCurrentComm = 16;
    /// Put a VLAN tag on the packet.
    SkbVlanPush = 18;
    /// Take one off.
    SkbVlanPop = 19;
    /// Send the packet from another device.
    Redirect = 23;
    /// Send a record to a perf event array.
    PerfEventOutput = 25;
    /// Copy bytes of the packet.
    SkbLoadBytes = 26;
    /// Id of a stack trace.
    GetStackid = 27;
    /// Checksum of a change.
    CsumDiff = 28;
    /// Make an IPv6 packet of an IPv4 one, or back.
    SkbChangeProto = 31;
    /// Change whom the packet is for.
    SkbChangeType = 32;
    /// Hash of the packet's flow.
    GetHashRecalc = 34;
    /// Address of the task's `struct task_struct`.
    GetCurrentTask = 35;
    /// Change the packet's length.
    SkbChangeTail = 38;
    /// Make bytes of the packet directly accessible.
    SkbPullData = 39;
    /// Add to the checksum of the whole packet.
    CsumUpdate = 40;
    /// Forget the hash of the packet's flow.
    SetHashInvalid = 41;
    /// Number of the NUMA node.
    GetNumaNodeId = 42;
    /// Make room before the packet.
    SkbChangeHead = 43;
    /// Move the packet's start.
    XdpAdjustHead = 44;
    /// Read a string (old form).
    ProbeReadStr = 45;
    /// Set the hash of the packet's flow.
    SetHash = 48;
    /// Make or take away room for headers.
    SkbAdjustRoom = 50;
    /// Send the packet to an entry of a map.
    RedirectMap = 51;
    /// Move the start of what stands before the packet.
    XdpAdjustMeta = 54;
    /// Move the packet's end.
    XdpAdjustTail = 65;
    /// Copy bytes of the packet, counted from a header.
    SkbLoadBytesRelative = 68;
    /// Ask the routing table.
    FibLookup = 69;
    /// Id of the task's cgroup.
    GetCurrentCgroupId = 80;
    /// The value of a cgroup's storage.
    GetLocalStorage = 81;
    /// A TCP socket by its addresses, held.
    SkLookupTcp = 84;
    /// A UDP socket by its addresses, held.
    SkLookupUdp = 85;
    /// Let go of a socket.
    SkRelease = 86;
    /// Add a value to a map without keys.
    MapPushElem = 87;
    /// Take the next value out of a map without keys.
    MapPopElem = 88;
    /// Read the next value of a map without keys.
    MapPeekElem = 89;
    /// Take a lock in a map's value.
    SpinLock = 93;
    /// Release it.
    SpinUnlock = 94;
    /// The whole socket of one, or null.
    SkFullsock = 95;
    /// What TCP knows of a socket, or null.
    TcpSock = 96;
    /// The socket that listens for one.
    GetListenerSock = 98;
    /// A TCP socket by its addresses, also one that is just being made, held.
    SkcLookupTcp = 99;
    /// Read a signed number.
    Strtol = 105;
    /// Read an unsigned number.
    Strtoul = 106;
    /// A value that belongs to a socket.
    SkStorageGet = 107;
    /// Remove it.
    SkStorageDelete = 108;
    /// Send a signal to the current process.
    SendSignal = 109;
    /// Read user memory.
    ProbeReadUser = 112;
    /// Read kernel memory.
    ProbeReadKernel = 113;
    /// Read a string in user memory; gives its length with the zero, or an error.
    ProbeReadUserStr = 114;
    /// Read a string in kernel memory.
    ProbeReadKernelStr = 115;
    /// Ticks since boot.
    Jiffies64 = 118;
    /// A number that no other network namespace has.
    GetNetnsCookie = 122;
    /// Nanoseconds since boot, with suspend.
    KtimeGetBootNs = 125;
    /// Copy a record into a ring buffer.
    RingbufOutput = 130;
    /// Reserve a record in a ring buffer.
    RingbufReserve = 131;
    /// Send a reserved record.
    RingbufSubmit = 132;
    /// Drop a reserved record.
    RingbufDiscard = 133;
    /// How full a ring buffer is.
    RingbufQuery = 134;
    /// Nanoseconds since boot as of the last tick.
    KtimeGetCoarseNs = 160;
    /// Whether the packet fits a device.
    CheckMtu = 163;
    /// Call a function for every element.
    ForEachMapElem = 164;
    /// Write numbers in a format: the format is a constant.
    Snprintf = 165;
    /// Prepare a timer in a value.
    TimerInit = 169;
    /// Set the function that it calls.
    TimerSetCallback = 170;
    /// Have it call after some nanoseconds.
    TimerStart = 171;
    /// Stop it, and forget the function.
    TimerCancel = 172;
    /// Argument `n` of the traced function.
    GetFuncIp = 173;
    /// The number given when the program was attached.
    GetAttachCookie = 174;
    /// Call a function many times.
    Loop = 181;
    /// Compare memory with a string.
    Strncmp = 182;
    /// The packet's length.
    XdpGetBuffLen = 188;
    /// Copy bytes of the packet.
    XdpLoadBytes = 189;
    /// Change bytes of the packet.
    XdpStoreBytes = 190;
    /// Exchange the object that a value keeps.
    KptrXchg = 194;
    /// A value of a per-CPU map on another CPU.
    MapLookupPercpuElem = 195;
    /// A bounded pointer to memory.
    DynptrFromMem = 197 (Pointer, Scalar, Scalar, Pointer);
    /// A bounded pointer to a new record of a ring buffer.
    RingbufReserveDynptr = 198;
    /// Send that record.
    RingbufSubmitDynptr = 199;
    /// Drop it.
    RingbufDiscardDynptr = 200;
    /// Read from a bounded pointer.
    DynptrRead = 201;
    /// Write to a bounded pointer.
    DynptrWrite = 202;
    /// The address of a part of what a bounded pointer stands for.
    DynptrData = 203;
    /// TAI clock, nanoseconds.
    KtimeGetTaiNs = 208;
    /// Call a function for every record of a user ring buffer.
    UserRingbufDrain = 209;
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

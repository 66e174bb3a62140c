//! Functions of the kernel that programs may call by BTF (kfuncs), as Linux 7.3 registers them
//! (`BTF_KFUNCS_START`, `register_btf_kfunc_id_set`): what is said of each, and which programs may
//! call it. What they take and give is in the kernel's BTF.
//!
//! Those of modules are here, too: whether a kernel has one, its BTF says.

mod basic;
mod filter;
mod network;
mod scheduler;
mod since;
mod special;
mod subsystems;

use filter::{Filter, Group};
pub use since::kfunc_since;
pub use special::{ARGUMENT_SUFFIXES, ArgumentSuffix, SpecialKfunc, argument_suffix};

use crate::ProgType;
use crate::proto::Caller;

/// What is said of a kfunc (`KF_*`, `include/linux/btf.h`). Pointers to structures have to be trusted
/// unless something else is said.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct KfuncFlags(u32);

impl KfuncFlags {
    /// Nothing.
    pub const NONE: KfuncFlags = KfuncFlags(0);
    /// What it gives has to be released.
    pub const ACQUIRE: KfuncFlags = KfuncFlags(1 << 0);
    /// It releases its argument.
    pub const RELEASE: KfuncFlags = KfuncFlags(1 << 1);
    /// It may give null.
    pub const RET_NULL: KfuncFlags = KfuncFlags(1 << 2);
    /// It may sleep.
    pub const SLEEPABLE: KfuncFlags = KfuncFlags(1 << 5);
    /// It may destroy: the program needs `CAP_SYS_BOOT`.
    pub const DESTRUCTIVE: KfuncFlags = KfuncFlags(1 << 6);
    /// Pointers that RCU protects will do.
    pub const RCU: KfuncFlags = KfuncFlags(1 << 7);
    /// It makes an iterator.
    pub const ITER_NEW: KfuncFlags = KfuncFlags(1 << 8);
    /// It steps an iterator on.
    pub const ITER_NEXT: KfuncFlags = KfuncFlags(1 << 9);
    /// It ends an iterator.
    pub const ITER_DESTROY: KfuncFlags = KfuncFlags(1 << 10);
    /// It must be called where RCU protects.
    pub const RCU_PROTECTED: KfuncFlags = KfuncFlags(1 << 11);
    /// It leaves alone every register that it does not need (`bpf_fastcall`).
    pub const FASTCALL: KfuncFlags = KfuncFlags(1 << 12);
    /// It gives a pointer into the arena.
    pub const ARENA_RET: KfuncFlags = KfuncFlags(1 << 13);
    /// Its first argument points into the arena.
    pub const ARENA_ARG1: KfuncFlags = KfuncFlags(1 << 14);
    /// Its second argument does.
    pub const ARENA_ARG2: KfuncFlags = KfuncFlags(1 << 15);
    /// The verifier gives it arguments that programs do not see.
    pub const IMPLICIT_ARGS: KfuncFlags = KfuncFlags(1 << 16);
    /// It may be called where a spin lock is held.
    pub const SPINLOCK_SAFE: KfuncFlags = KfuncFlags(1 << 17);
    /// The program needs `CAP_PERFMON`.
    pub const PERFMON: KfuncFlags = KfuncFlags(1 << 18);

    /// Whether all of `flags` are set.
    pub const fn has(self, flags: KfuncFlags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Both together.
    pub const fn with(self, flags: KfuncFlags) -> KfuncFlags {
        KfuncFlags(self.0 | flags.0)
    }
}

/// A kfunc.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kfunc {
    /// Its name in C.
    pub name: &'static str,
    /// What is said of it.
    pub flags: KfuncFlags,
}

/// Types of programs that share kfuncs (`enum btf_kfunc_hook`, `kernel/bpf/btf.c`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Hook {
    Common,
    Xdp,
    SchedCls,
    SchedAct,
    StructOps,
    Tracing,
    Syscall,
    Cgroup,
    SkSkb,
    SocketFilter,
    Lwt,
    Netfilter,
    Kprobe,
}

impl Hook {
    /// `bpf_prog_type_to_kfunc_hook`; beside it, every program has those of [`Hook::Common`].
    fn of(prog_type: ProgType) -> Option<Hook> {
        Some(match prog_type {
            ProgType::Xdp => Hook::Xdp,
            ProgType::SchedCls => Hook::SchedCls,
            ProgType::SchedAct => Hook::SchedAct,
            ProgType::StructOps => Hook::StructOps,
            ProgType::Tracing
            | ProgType::Tracepoint
            | ProgType::RawTracepoint
            | ProgType::PerfEvent
            | ProgType::Lsm => Hook::Tracing,
            ProgType::Syscall => Hook::Syscall,
            ProgType::CgroupSkb
            | ProgType::CgroupSock
            | ProgType::CgroupDevice
            | ProgType::CgroupSockAddr
            | ProgType::CgroupSockopt
            | ProgType::CgroupSysctl
            | ProgType::SockOps => Hook::Cgroup,
            ProgType::SkSkb => Hook::SkSkb,
            ProgType::SocketFilter => Hook::SocketFilter,
            ProgType::LwtIn | ProgType::LwtOut | ProgType::LwtXmit | ProgType::LwtSeg6local => {
                Hook::Lwt
            }
            ProgType::Netfilter => Hook::Netfilter,
            ProgType::Kprobe => Hook::Kprobe,
            _ => return None,
        })
    }
}

/// Kfuncs that the same programs have.
struct Set {
    hooks: &'static [Hook],
    filter: Filter,
    kfuncs: &'static [Kfunc],
}

/// Lists of sets: `NAME: [hooks], filter => { name [flags]; }`.
macro_rules! kfunc_sets {
    ($list:ident; $(
        $(#[$doc:meta])*
        $set:ident: [$($hook:ident)*], $filter:expr => {
            $($name:ident $([$($flag:ident)+])?;)*
        }
    )*) => {
        $($(#[$doc])* const $set: super::Set = super::Set {
            hooks: &[$(super::Hook::$hook),*],
            filter: $filter,
            kfuncs: &[$(super::Kfunc {
                name: stringify!($name),
                flags: super::KfuncFlags::NONE$($(.with(super::KfuncFlags::$flag))+)?,
            }),*],
        };)*

        /// All of them.
        pub(super) const $list: &[super::Set] = &[$($set),*];
    };
}
use kfunc_sets;

const ALL: [&[Set]; 4] =
    [basic::BASIC, network::NETWORK, subsystems::SUBSYSTEMS, scheduler::SCHEDULER];

fn sets() -> impl Iterator<Item = &'static Set> {
    ALL.iter().flat_map(|list| list.iter())
}

/// Every kfunc; those that are for different programs under different circumstances more than once.
pub fn kfuncs() -> impl Iterator<Item = &'static Kfunc> {
    sets().flat_map(|set| set.kfuncs)
}

/// The kfunc of this name, whoever may call it.
pub fn kfunc(name: &str) -> Option<&'static Kfunc> {
    kfuncs().find(|kfunc| kfunc.name == name)
}

/// The kfunc of this name, if `caller` may call it (`btf_kfunc_is_allowed`, `kernel/bpf/btf.c`). One
/// of the callbacks of a structure may call everything that some callback may as long as it does not
/// say which it is.
pub fn kfunc_for(caller: &Caller, name: &str) -> Option<&'static Kfunc> {
    let hook = Hook::of(caller.prog_type);
    let has = |set: &&Set| {
        let is_for = |each: &Hook| *each == Hook::Common || Some(*each) == hook;
        set.hooks.iter().any(is_for) && set.filter.lets(caller, name)
    };
    sets().filter(has).flat_map(|set| set.kfuncs).find(|kfunc| kfunc.name == name)
}

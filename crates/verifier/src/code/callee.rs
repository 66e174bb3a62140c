//! What the passes have to know of what is called from outside the program.

use bombus_platform::proto::{Arg, ArgKind, Proto, ProtoFlags, RetKind, TypeFlags};

use crate::Rejection;

/// Answers what the tables of a kernel and of a program type say. The passes ask once for each
/// helper or kernel function that the program calls, and once for each map.
pub trait Facts {
    /// The helper with this number; `None` when the kernel has none, or not for such programs.
    fn helper(&self, id: i32) -> Option<Callee>;

    /// The kernel function of this name; `None` when programs, or such programs, cannot call it.
    fn kfunc(&self, name: &str) -> Option<KernelFunction>;

    /// Whether such programs may use the map at this place of [`crate::Program::maps`], as far as
    /// that depends on what its values hold.
    fn map(&self, index: usize) -> Result<(), Rejection> {
        let _ = index;
        Ok(())
    }
}

/// When a function calls back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Callback {
    /// It does not.
    #[default]
    Never,
    /// Before it returns, any number of times.
    Now,
    /// After the program has ended.
    Later,
}

/// What a helper does, as far as can be seen from outside.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Callee {
    /// What it does with the memory that each argument points to.
    pub arguments: Vec<Access>,
    /// Whether it returns nothing.
    pub is_void: bool,
    /// Whether calls may be surrounded by stores and loads of registers that the kernel takes out
    /// (`bpf_fastcall`).
    pub fastcall: bool,
    /// Whether it may sleep.
    pub might_sleep: bool,
    /// Whether it may change where the packet lies.
    pub changes_packet: bool,
    /// When it calls back.
    pub callback: Callback,
    /// Whether it throws an exception (`bpf_throw`).
    pub throws: bool,
    /// Whether it gives the next element of an iterator.
    pub is_iterator_next: bool,
}

/// What there is to say of a kernel function that its type does not say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KernelFunction {
    /// `KF_FASTCALL`.
    pub fastcall: bool,
    /// `KF_SLEEPABLE`.
    pub might_sleep: bool,
    /// Whether it may change where the packet lies.
    pub changes_packet: bool,
    /// When it calls back.
    pub callback: Callback,
    /// Whether it is `bpf_throw`.
    pub throws: bool,
    /// `KF_ITER_NEW`: makes an iterator of its first argument.
    pub is_iterator_new: bool,
    /// `KF_ITER_NEXT`.
    pub is_iterator_next: bool,
    /// `KF_IMPLICIT_ARGS`: the kernel gives arguments of its own; the type is that of the function
    /// whose name ends in `_impl`.
    pub implicit_arguments: bool,
}

/// What a call does with the memory that an argument points to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Access {
    /// Nothing is known.
    #[default]
    Unknown,
    /// Nothing.
    Nothing,
    /// Reads, and perhaps writes.
    Reads(Extent),
    /// Only writes, all of it.
    Writes(Extent),
}

/// How much memory a call accesses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extent {
    /// So many bytes.
    Bytes(u32),
    /// A key of the map that an argument before it is.
    Key {
        /// That argument, from 0; `None`: there is none.
        map: Option<u8>,
    },
    /// A value of that map.
    Value {
        /// That argument, from 0.
        map: Option<u8>,
    },
    /// What the next argument says, in bytes.
    Next,
}

impl From<&Proto> for Callee {
    fn from(proto: &Proto) -> Callee {
        let callback = if proto.has(ProtoFlags::CALLS_BACK) {
            Callback::Now
        } else if proto.has(ProtoFlags::CALLS_BACK_LATER) {
            Callback::Later
        } else {
            Callback::Never
        };
        Callee {
            arguments: (0..proto.args.len()).map(|index| access(proto.args, index)).collect(),
            is_void: proto.ret.kind == RetKind::Void,
            fastcall: proto.has(ProtoFlags::FASTCALL),
            might_sleep: proto.has(ProtoFlags::MIGHT_SLEEP),
            changes_packet: proto.has(ProtoFlags::CHANGES_PACKET),
            callback,
            throws: false,
            is_iterator_next: false,
        }
    }
}

/// Bytes of a dynptr on the stack (`BPF_DYNPTR_SIZE`).
pub(super) const DYNPTR_SIZE: u32 = 16;

/// `bpf_helper_stack_access_bytes` (`kernel/bpf/verifier.c`), as far as it does not depend on the
/// call.
fn access(args: &[Arg], index: usize) -> Access {
    let map = args[..index].iter().position(|arg| arg.kind == ArgKind::ConstMapPtr);
    let map = map.map(|place| place as u8);
    let is_size = |arg: &Arg| matches!(arg.kind, ArgKind::MemSize | ArgKind::MemSizeOrZero);
    let extent = match args[index].kind {
        ArgKind::MapKey => Extent::Key { map },
        ArgKind::MapValue => Extent::Value { map },
        ArgKind::FixedMem(bytes) => Extent::Bytes(bytes),
        ArgKind::Mem if args.get(index + 1).is_some_and(is_size) => Extent::Next,
        ArgKind::Dynptr(_) => Extent::Bytes(DYNPTR_SIZE),
        ArgKind::Stack => return Access::Nothing,
        _ => return Access::Unknown,
    };
    if args[index].flags.has(TypeFlags::UNINIT) {
        Access::Writes(extent)
    } else {
        Access::Reads(extent)
    }
}

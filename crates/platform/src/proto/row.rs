//! How the rows of prototypes are written: short names for what helpers take and give.

/// Rows `CONSTANT = name(arguments) -> result, flags;`: a prototype each, and a list of all.
macro_rules! protos {
    ($list:ident: $($const:ident = $name:ident($($arg:expr),*) -> $ret:expr $(, $($flag:ident)|+)?;)*) => {
        $(pub(super) const $const: super::Proto = super::Proto {
            helper: super::row::number(stringify!($name)),
            args: {
                #[allow(unused_imports, reason = "some take nothing")]
                use super::row::args::*;
                &[$($arg),*]
            },
            ret: {
                #[allow(clippy::wildcard_imports)]
                use super::row::rets::*;
                $ret
            },
            flags: super::ProtoFlags::NONE$($(.with(super::ProtoFlags::$flag))+)?,
        };)*

        /// All of them.
        pub(super) const $list: &[super::Proto] = &[$($const),*];
    };
}
pub(super) use protos;

use crate::helper_names::HELPER_NAMES;

/// The number of a helper.
pub(super) const fn number(name: &str) -> u32 {
    let mut number = 0;
    while number < HELPER_NAMES.len() {
        if crate::text::is_same(HELPER_NAMES[number], name) {
            return number as u32;
        }
        number += 1;
    }
    panic!("no such helper")
}

/// Arguments.
pub(super) mod args {
    use crate::proto::{Arg, ArgKind, DynptrKind, TypeFlags};

    const MAYBE_NULL: TypeFlags = TypeFlags::MAYBE_NULL;
    const RDONLY: TypeFlags = TypeFlags::RDONLY;
    const WRITE: TypeFlags = TypeFlags::WRITE;
    const UNINIT: TypeFlags = WRITE.with(TypeFlags::UNINIT);
    const RELEASE: TypeFlags = TypeFlags::RELEASE;

    const fn arg(kind: ArgKind, flags: TypeFlags) -> Arg {
        Arg { kind, flags }
    }

    const fn plain(kind: ArgKind) -> Arg {
        arg(kind, TypeFlags::NONE)
    }

    pub(crate) const ANY: Arg = plain(ArgKind::Anything);
    pub(crate) const SCALAR: Arg = plain(ArgKind::Scalar);
    pub(crate) const CTX: Arg = plain(ArgKind::Ctx);
    pub(crate) const CTX_OR_NULL: Arg = arg(ArgKind::Ctx, MAYBE_NULL);

    pub(crate) const MAP: Arg = plain(ArgKind::ConstMapPtr);
    pub(crate) const KEY: Arg = plain(ArgKind::MapKey);
    pub(crate) const VALUE: Arg = plain(ArgKind::MapValue);
    pub(crate) const VALUE_OR_NULL: Arg = arg(ArgKind::MapValue, MAYBE_NULL);
    pub(crate) const VALUE_OUT: Arg = arg(ArgKind::MapValue, UNINIT);

    pub(crate) const IN: Arg = arg(ArgKind::Mem, RDONLY);
    pub(crate) const IN_OR_NULL: Arg = arg(ArgKind::Mem, RDONLY.with(MAYBE_NULL));
    pub(crate) const OUT: Arg = arg(ArgKind::Mem, UNINIT);
    pub(crate) const IN_OUT: Arg = arg(ArgKind::Mem, WRITE);
    pub(crate) const IN_OUT_OR_NULL: Arg = arg(ArgKind::Mem, WRITE.with(MAYBE_NULL));
    pub(crate) const SIZE: Arg = plain(ArgKind::MemSize);
    pub(crate) const SIZE0: Arg = plain(ArgKind::MemSizeOrZero);
    pub(crate) const ALLOC_SIZE: Arg = plain(ArgKind::ConstAllocSizeOrZero);
    pub(crate) const STR: Arg = plain(ArgKind::ConstStr);

    pub(crate) const fn fixed_in(size: u32) -> Arg {
        arg(ArgKind::FixedMem(size), RDONLY)
    }

    pub(crate) const fn fixed_out(size: u32) -> Arg {
        arg(ArgKind::FixedMem(size), UNINIT.with(TypeFlags::ALIGNED))
    }

    pub(crate) const fn fixed_in_out(size: u32) -> Arg {
        arg(ArgKind::FixedMem(size), WRITE.with(TypeFlags::ALIGNED))
    }

    pub(crate) const FUNC: Arg = plain(ArgKind::Func);
    pub(crate) const STACK_OR_NULL: Arg = arg(ArgKind::Stack, MAYBE_NULL);
    pub(crate) const TIMER: Arg = plain(ArgKind::Timer);
    pub(crate) const SPIN_LOCK: Arg = plain(ArgKind::SpinLock);

    pub(crate) const SOCK: Arg = plain(ArgKind::BtfIdSockCommon);
    pub(crate) const SOCK_OR_NULL: Arg = arg(ArgKind::BtfIdSockCommon, MAYBE_NULL);
    pub(crate) const SOCK_RELEASE: Arg = arg(ArgKind::BtfIdSockCommon, RELEASE);
    pub(crate) const SOCK_COMMON: Arg = plain(ArgKind::SockCommon);
    pub(crate) const SOCKET_OR_NULL: Arg = arg(ArgKind::Socket, MAYBE_NULL);

    pub(crate) const fn btf(name: &'static str) -> Arg {
        plain(ArgKind::BtfId(name))
    }

    pub(crate) const fn btf_or_null(name: &'static str) -> Arg {
        arg(ArgKind::BtfId(name), MAYBE_NULL)
    }

    pub(crate) const PERCPU: Arg = plain(ArgKind::PercpuBtfId);
    pub(crate) const KPTR_DEST: Arg = plain(ArgKind::KptrXchgDest);
    pub(crate) const KPTR: Arg = arg(ArgKind::Kptr, MAYBE_NULL.with(RELEASE));

    pub(crate) const RECORD: Arg = arg(ArgKind::RingbufMem, RELEASE);
    pub(crate) const DYNPTR: Arg = plain(ArgKind::Dynptr(DynptrKind::Any));
    pub(crate) const DYNPTR_LOCAL_OUT: Arg = arg(ArgKind::Dynptr(DynptrKind::Local), UNINIT);
    pub(crate) const DYNPTR_RINGBUF_OUT: Arg = arg(ArgKind::Dynptr(DynptrKind::Ringbuf), UNINIT);
    pub(crate) const DYNPTR_RINGBUF_RELEASE: Arg =
        arg(ArgKind::Dynptr(DynptrKind::Ringbuf), RELEASE);
}

/// Results.
pub(super) mod rets {
    use crate::proto::{Ret, RetKind, TypeFlags};

    const MAYBE_NULL: TypeFlags = TypeFlags::MAYBE_NULL;

    const fn ret(kind: RetKind, flags: TypeFlags) -> Ret {
        Ret { kind, flags }
    }

    pub(crate) const INTEGER: Ret = ret(RetKind::Integer, TypeFlags::NONE);
    pub(crate) const VOID: Ret = ret(RetKind::Void, TypeFlags::NONE);
    pub(crate) const VALUE: Ret = ret(RetKind::MapValue, TypeFlags::NONE);
    pub(crate) const VALUE_OR_NULL: Ret = ret(RetKind::MapValue, MAYBE_NULL);
    pub(crate) const SOCKET_OR_NULL: Ret = ret(RetKind::Socket, MAYBE_NULL);
    pub(crate) const TCP_SOCK_OR_NULL: Ret = ret(RetKind::TcpSock, MAYBE_NULL);
    pub(crate) const SOCK_COMMON_OR_NULL: Ret = ret(RetKind::SockCommon, MAYBE_NULL);
    pub(crate) const MEM_OR_NULL: Ret = ret(RetKind::Mem, MAYBE_NULL);
    pub(crate) const RECORD_OR_NULL: Ret = ret(RetKind::Mem, MAYBE_NULL.with(TypeFlags::RINGBUF));
    pub(crate) const PERCPU: Ret = ret(RetKind::MemOrBtfId, TypeFlags::RDONLY);
    pub(crate) const PERCPU_OR_NULL: Ret =
        ret(RetKind::MemOrBtfId, MAYBE_NULL.with(TypeFlags::RDONLY));
    pub(crate) const KPTR_OR_NULL: Ret = ret(RetKind::Kptr, MAYBE_NULL);

    pub(crate) const fn btf(name: &'static str) -> Ret {
        ret(RetKind::BtfId(name), TypeFlags::NONE)
    }

    pub(crate) const fn btf_or_null(name: &'static str) -> Ret {
        ret(RetKind::BtfId(name), MAYBE_NULL)
    }

    pub(crate) const fn btf_trusted(name: &'static str) -> Ret {
        ret(RetKind::BtfId(name), TypeFlags::TRUSTED)
    }
}

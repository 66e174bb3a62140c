//! Whether a program may read or write bytes of its context, and what it gets.

use super::fields::{Access, ContextField, ContextValue};
use super::{cgroups, packets, sockets};
use crate::ProgType;
use crate::proto::Caller;

/// An instruction that reads or writes a context.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ContextUse {
    /// Bytes from the context's start.
    pub offset: i32,
    /// Bytes: 1, 2, 4 or 8.
    pub size: u32,
    /// It writes.
    pub is_write: bool,
    /// It reads and extends the sign.
    pub is_sign_extended: bool,
}

/// What a use of a context comes to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ContextAccess {
    /// What is read.
    pub value: ContextValue,
    /// Bytes that the kernel reads for it and then cuts a part out of (`ctx_field_size`); 0 where
    /// only what was asked for is read.
    pub field_size: u32,
    /// The field's name; empty where fields have none here.
    pub field: &'static str,
}

/// What stands in a context.
pub(super) enum Layout {
    /// Fields; those for which there have to be a kernel's objects apart.
    Fields { fields: &'static [ContextField], objects: &'static [ContextField] },
    /// Bytes, of which those from `from` to `to` may be used.
    Bytes { from: u32, to: u32, is_writable: bool, is_aligned: bool },
    /// Arguments whose types are in BTF.
    Arguments,
    /// The program never sees one.
    Nothing,
}

/// Bytes of `struct pt_regs` (x86-64).
const PT_REGS_SIZE: u32 = 168;
/// Bytes of a tracepoint's record (`PERF_MAX_TRACE_SIZE`, `include/linux/trace_events.h`).
const TRACEPOINT_SIZE: u32 = 8192;
/// Bytes of the arguments of a raw tracepoint, or of a function (`bpf_tracing_ctx_access`,
/// `include/linux/bpf.h`).
const ARGUMENTS_SIZE: u32 = 12 * 8;

/// What stands in the context of a type of program. (Linux 6.18 had the same, but that probes could
/// not write registers and programs that make system calls had to keep to alignment.)
pub(super) const fn layout(prog_type: ProgType) -> Layout {
    let (fields, objects): (&[ContextField], &[ContextField]) = match prog_type {
        ProgType::SocketFilter => (packets::SOCKET_FILTER, packets::SOCKET),
        ProgType::SchedCls | ProgType::SchedAct => (packets::TRAFFIC_CONTROL, packets::SOCKET),
        ProgType::CgroupSkb => (packets::CGROUP, packets::SOCKET_ADDRESSES),
        ProgType::LwtIn | ProgType::LwtOut | ProgType::LwtXmit | ProgType::LwtSeg6local => {
            (packets::TUNNEL, packets::SOCKET)
        }
        ProgType::SkSkb => (packets::SK_SKB, packets::SOCKET_ADDRESSES),
        ProgType::FlowDissector => (packets::FLOW_DISSECTOR, &[]),
        ProgType::Xdp => (packets::XDP_MD, packets::XDP_EGRESS),
        ProgType::SkMsg => (packets::SK_MSG, &[]),
        ProgType::SkReuseport => (packets::SK_REUSEPORT, &[]),
        ProgType::Netfilter => (packets::NETFILTER, &[]),
        ProgType::CgroupSock => (sockets::SOCK, &[]),
        ProgType::CgroupSockAddr => (cgroups::SOCK_ADDR, &[]),
        ProgType::SockOps => (cgroups::SOCK_OPS, &[]),
        ProgType::CgroupSockopt => (cgroups::SOCKOPT, &[]),
        ProgType::CgroupSysctl => (cgroups::SYSCTL, &[]),
        ProgType::CgroupDevice => (cgroups::DEVICE, &[]),
        ProgType::SkLookup => (sockets::SK_LOOKUP, &[]),
        ProgType::PerfEvent => (sockets::PERF_EVENT, &[]),
        ProgType::LircMode2 => (sockets::LIRC, &[]),
        ProgType::Kprobe => {
            return Layout::Bytes {
                from: 0,
                to: PT_REGS_SIZE,
                is_writable: true,
                is_aligned: true,
            };
        }
        ProgType::Tracepoint => {
            return Layout::Bytes {
                from: 8,
                to: TRACEPOINT_SIZE,
                is_writable: false,
                is_aligned: true,
            };
        }
        ProgType::RawTracepoint | ProgType::RawTracepointWritable => {
            return Layout::Bytes {
                from: 0,
                to: ARGUMENTS_SIZE,
                is_writable: false,
                is_aligned: true,
            };
        }
        ProgType::Syscall => {
            return Layout::Bytes {
                from: 0,
                to: u16::MAX as u32,
                is_writable: true,
                is_aligned: false,
            };
        }
        ProgType::Tracing | ProgType::Lsm | ProgType::StructOps => return Layout::Arguments,
        ProgType::Ext | ProgType::Unspecified => return Layout::Nothing,
    };
    Layout::Fields { fields, objects }
}

/// What a program gets from its context; `None` when it may not do that. For one that replaces
/// another program's function, ask as that program.
///
/// The type of an argument ([`ContextValue::ByBtf`]) is for the caller to find, who also sees whether
/// there is an argument at that offset.
pub fn context_access(caller: &Caller, access: ContextUse) -> Option<ContextAccess> {
    let ContextUse { size, is_write, .. } = access;
    let offset = u32::try_from(access.offset).ok()?;
    let is_aligned = offset.is_multiple_of(size);
    let plain = |value| Some(ContextAccess { value, field_size: 0, field: "" });
    match layout(caller.prog_type) {
        Layout::Nothing => None,
        Layout::Arguments if caller.prog_type == ProgType::Lsm => plain(ContextValue::ByBtf),
        Layout::Arguments => {
            let is_inside = offset < ARGUMENTS_SIZE && is_aligned && !is_write;
            is_inside.then(|| plain(ContextValue::ByBtf)).flatten()
        }
        Layout::Bytes { from, to, is_writable, is_aligned: must_be_aligned } => {
            let is_inside = (from..to).contains(&offset);
            if !is_inside || (must_be_aligned && !is_aligned) || (is_write && !is_writable) {
                return None;
            }
            match caller.prog_type {
                ProgType::RawTracepointWritable if offset == 0 => {
                    (size == 8).then(|| plain(ContextValue::TpBuffer)).flatten()
                }
                _ => plain(ContextValue::Scalar),
            }
        }
        Layout::Fields { fields, objects } => {
            if !is_aligned {
                return None;
            }
            let field = find(fields, offset).or_else(|| find(objects, offset))?;
            use_field(field, caller, offset, access)
        }
    }
}

fn find(fields: &'static [ContextField], offset: u32) -> Option<&'static ContextField> {
    fields.iter().find(|field| u32::from(field.offset) <= offset && offset < field.end())
}

fn use_field(
    field: &'static ContextField,
    caller: &Caller,
    offset: u32,
    access: ContextUse,
) -> Option<ContextAccess> {
    let has = |needs| caller.capabilities.has(needs);
    let is_at = |at: &[_]| at.is_empty() || at.contains(&caller.attach_type);
    if !is_at(field.at) || !has(field.needs) {
        return None;
    }
    let field_size = if access.is_write {
        let may = field.access == Access::Write
            && is_at(field.write_at)
            && has(field.write_needs)
            && field.writes(offset, access.size);
        may.then_some(0)?
    } else if access.is_sign_extended && field.value != ContextValue::Scalar {
        return None;
    } else {
        field.reads(offset, access.size)?
    };
    Some(ContextAccess { value: field.value, field_size, field: field.name })
}

/// Whether the kernel rewrites what a program of this type does with its context
/// (`convert_ctx_access`): then a pointer to the context must not be moved.
pub const fn context_is_rewritten(prog_type: ProgType) -> bool {
    !matches!(
        prog_type,
        ProgType::Kprobe
            | ProgType::Tracepoint
            | ProgType::RawTracepoint
            | ProgType::RawTracepointWritable
            | ProgType::Tracing
            | ProgType::Lsm
            | ProgType::StructOps
            | ProgType::Syscall
            | ProgType::Netfilter
            | ProgType::LircMode2
            | ProgType::CgroupDevice
            | ProgType::Ext
    )
}

/// What a pointer to what programs see of a socket points to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SocketKind {
    /// A `struct bpf_sock` that may not be whole.
    Common,
    /// A `struct bpf_sock`.
    Whole,
    /// A `struct bpf_tcp_sock`.
    Tcp,
    /// A `struct bpf_xdp_sock`.
    Xdp,
}

/// Whether `size` bytes at `offset` of what programs see of a socket may be read; gives the bytes
/// that the kernel reads to have them, as [`ContextAccess::field_size`] (`check_sock_access`,
/// `kernel/bpf/verifier.c`). Nothing of it may be written.
pub fn socket_access(kind: SocketKind, offset: i32, size: u32) -> Option<u32> {
    let offset = u32::try_from(offset).ok().filter(|offset| offset.is_multiple_of(size))?;
    let fields = match kind {
        SocketKind::Common if sockets::NOT_COMMON.contains(&offset) => return None,
        SocketKind::Common | SocketKind::Whole => sockets::SOCK,
        SocketKind::Tcp => sockets::TCP_SOCK,
        SocketKind::Xdp => sockets::XDP_SOCK,
    };
    find(fields, offset)?.reads(offset, size)
}

/// The rows of a type of program, by offset within each of two lists; none for types whose context
/// has no fields.
pub fn context_rows(prog_type: ProgType) -> impl Iterator<Item = &'static ContextField> {
    let (fields, objects) = match layout(prog_type) {
        Layout::Fields { fields, objects } => (fields, objects),
        _ => Default::default(),
    };
    fields.iter().chain(objects)
}

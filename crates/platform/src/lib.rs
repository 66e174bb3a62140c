//! The tables of eBPF as data: one row a thing. Everything that asks "is X allowed in Y" asks here.
//!
//! What depends on the kernel's version is as in Linux 7.3 ([`Version::REFERENCE`]).
#![forbid(unsafe_code)]

pub mod attach;
mod context;
mod helper;
mod helper_names;
pub mod kfunc;
mod loading;
mod map_type;
mod map_use;
mod prog_type;
pub mod proto;
pub mod pt_regs;
mod returns;
mod sections;
mod since;
mod syscall;
mod syscall_table;
mod text;
mod trusted;
mod value_field;

pub use context::{
    Access, ContextAccess, ContextField, ContextUse, ContextValue, FieldSize, SK_BUFF_SIZE,
    SocketKind, XDP_MD_SIZE, context_access, context_fields, context_is_rewritten,
    context_kernel_struct, context_rows, context_struct, socket_access, takes_packets,
};
pub use helper::{HELPERS, Helper, HelperInfo, HelperNames, may_call};
pub use helper_names::HELPER_NAMES;
pub use map_type::MapType;
pub use map_use::{MapElement, MapRefusal, helper_takes_map, sleepable_takes_map};
pub use prog_type::{AttachType, LinkType, ProgType};
pub use returns::{
    FunctionReturn, ReturnRange, ReturnRule, callback_range, lsm_range, return_rule,
};
pub use sections::{AutoAttach, SECTIONS, Section, find_section};
pub use since::{Version, helper_since};
pub use syscall::{
    SYSCALLS, Syscall, SyscallArg, syscall_by_event, syscall_by_name, syscall_by_number,
};
pub use trusted::{RCU_PROTECTED, TRUSTED_FIELDS, Trust, trusted_field};
pub use value_field::{DESTRUCTORS, MAX_VALUE_FIELDS, ValueField};

/// Bytes of stack in one frame (`MAX_BPF_STACK`, `include/linux/filter.h`).
pub const MAX_STACK: usize = 512;
/// Nesting of tail calls (`MAX_TAIL_CALL_CNT`, `include/linux/bpf.h`).
pub const MAX_TAIL_CALLS: u32 = 33;
/// Bytes of `struct bpf_flow_keys` (`include/uapi/linux/bpf.h`).
pub const FLOW_KEYS_SIZE: usize = 56;
/// Bytes of an Ethernet header, which every packet has (`ETH_HLEN`).
pub const ETHERNET_HEADER: usize = 14;
/// Bytes of a task's name, with the closing zero (`TASK_COMM_LEN`).
pub const TASK_COMM_LEN: usize = 16;

//! What programs have to return (`return_retval_range`, `check_return_code`,
//! `kernel/bpf/verifier.c`, Linux 7.3).

use crate::AttachType::{self, *};
use crate::ProgType;
use crate::attach::lsm;
use crate::proto::Caller;

/// From, to: both are allowed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ReturnRange {
    /// The smallest.
    pub min: i32,
    /// The largest.
    pub max: i32,
    /// Only the lower half of the register counts.
    pub is_32bit: bool,
}

impl ReturnRange {
    const fn new(min: i32, max: i32) -> ReturnRange {
        ReturnRange { min, max, is_32bit: false }
    }
}

/// The largest error number (`MAX_ERRNO`, `include/linux/err.h`).
const MAX_ERRNO: i32 = 4095;
const BOOL: ReturnRange = ReturnRange::new(0, 1);
const ZERO: ReturnRange = ReturnRange::new(0, 0);
const ONE: ReturnRange = ReturnRange::new(1, 1);
const ANY: ReturnRange = ReturnRange::new(i32::MIN, i32::MAX);

/// What the function gives back that a program attaches to, stands for or implements.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FunctionReturn {
    /// There is none, or nobody knows.
    Unknown,
    /// Nothing.
    Void,
    /// A number.
    Number,
    /// A pointer to a structure.
    Pointer,
}

/// What is asked of the register with the result when a program ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReturnRule {
    /// Nothing: it is not even read.
    NotRead,
    /// It has been written, and not with a pointer.
    Any,
    /// It is a number of these. (A callback that gives a pointer may also give a reference that it
    /// holds.)
    Within(ReturnRange),
}

/// What `caller` has to return; `returns` is what the function does that it attaches to.
pub fn return_rule(caller: &Caller, returns: FunctionReturn) -> ReturnRule {
    let is_void = returns == FunctionReturn::Void;
    let attach_type = caller.attach_type;
    ReturnRule::Within(match caller.prog_type {
        ProgType::CgroupSockAddr => sock_addr(attach_type),
        ProgType::CgroupSkb if attach_type == CgroupInetEgress => ReturnRange::new(0, 3),
        ProgType::CgroupSkb
        | ProgType::CgroupSock
        | ProgType::SockOps
        | ProgType::CgroupDevice
        | ProgType::CgroupSysctl
        | ProgType::CgroupSockopt
        | ProgType::SkLookup
        | ProgType::Netfilter => BOOL,
        ProgType::Tracing => match attach_type {
            TraceFentry | TraceFexit | TraceFsession | TraceFentryMulti | TraceFexitMulti
            | TraceFsessionMulti => ZERO,
            TraceRawTp | ModifyReturn => return ReturnRule::Any,
            _ => BOOL,
        },
        ProgType::Kprobe if matches!(attach_type, TraceKprobeSession | TraceUprobeSession) => BOOL,
        ProgType::Lsm if attach_type == LsmCgroup && is_void => ONE,
        ProgType::Lsm if attach_type == LsmCgroup => BOOL,
        ProgType::Lsm if is_void => return ReturnRule::NotRead,
        ProgType::Lsm => ReturnRange { is_32bit: true, ..lsm_range(caller.target) },
        ProgType::StructOps => match returns {
            FunctionReturn::Void => return ReturnRule::NotRead,
            FunctionReturn::Pointer => ZERO,
            _ => return ReturnRule::Any,
        },
        ProgType::Ext if is_void => return ReturnRule::NotRead,
        _ => return ReturnRule::Any,
    })
}

fn sock_addr(attach_type: AttachType) -> ReturnRange {
    match attach_type {
        CgroupUdp4Recvmsg
        | CgroupUdp6Recvmsg
        | CgroupUnixRecvmsg
        | CgroupInet4Getpeername
        | CgroupInet6Getpeername
        | CgroupUnixGetpeername
        | CgroupInet4Getsockname
        | CgroupInet6Getsockname
        | CgroupUnixGetsockname => ONE,
        CgroupInet4Bind | CgroupInet6Bind => ReturnRange::new(0, 3),
        _ => BOOL,
    }
}

/// What a security hook that returns a number returns (`bpf_lsm_get_retval_range`,
/// `kernel/bpf/bpf_lsm.c`): 0 or an error, of some hooks 0 or 1. What the other programs at the hook
/// gave, which a program may read, is in the same range.
pub fn lsm_range(hook: Option<&str>) -> ReturnRange {
    match hook {
        Some(hook) if lsm::BOOL.contains(&lsm::short(hook)) => BOOL,
        _ => ReturnRange::new(-MAX_ERRNO, 0),
    }
}

/// What a function of the program has to return that this helper or kfunc calls (`set_*_callback_state`,
/// `kernel/bpf/verifier.c`), by its C name; `None` for those that call none.
pub fn callback_range(function: &str) -> Option<ReturnRange> {
    Some(match function {
        "bpf_for_each_map_elem"
        | "bpf_loop"
        | "bpf_find_vma"
        | "bpf_user_ringbuf_drain"
        | "bpf_rbtree_add_impl"
        | "bpf_rbtree_add" => BOOL,
        "bpf_timer_set_callback" | "bpf_wq_set_callback" | "bpf_wq_set_callback_impl" => ZERO,
        "bpf_task_work_schedule_signal"
        | "bpf_task_work_schedule_resume"
        | "bpf_task_work_schedule_signal_impl"
        | "bpf_task_work_schedule_resume_impl" => ANY,
        _ => return None,
    })
}

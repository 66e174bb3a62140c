//! Where programs attach.

use std::path::PathBuf;

use bombus_platform::AttachType;

use crate::{MapFd, ProgFd};

/// How often a timer fires.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Period {
    /// Times a second.
    Hertz(u64),
    /// Nanoseconds between two.
    Nanoseconds(u64),
}

/// Where a program attaches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AttachPoint {
    /// A tracepoint, by its tracefs category and name.
    Tracepoint {
        /// For example `syscalls`.
        category: String,
        /// For example `sys_enter_openat`.
        name: String,
    },
    /// A raw tracepoint (also `tp_btf` programs, by program type).
    RawTracepoint {
        /// For example `sys_enter`.
        name: String,
    },
    /// An instruction of a user program or library, or the return of the function there.
    Uprobe {
        /// The file.
        path: PathBuf,
        /// Offset in the file.
        offset: u64,
        /// Fire when the function returns.
        on_return: bool,
        /// Only in this process.
        pid: Option<u32>,
    },
    /// A kernel function, or its return.
    Kprobe {
        /// The function.
        symbol: String,
        /// Bytes from its start.
        offset: u64,
        /// Fire when it returns.
        on_return: bool,
    },
    /// Many kernel functions by one link.
    KprobeMulti {
        /// Their names.
        symbols: Vec<String>,
        /// Fire when they return.
        on_return: bool,
        /// Fire at both ends, the return only if the entry's program says so.
        session: bool,
    },
    /// Many instructions of one user program by one link.
    UprobeMulti {
        /// The file.
        path: PathBuf,
        /// Offsets in the file, each with the offset of its USDT semaphore (0: none) and a cookie.
        places: Vec<UprobePlace>,
        /// Fire when the functions return.
        on_return: bool,
        /// Fire at both ends, the return only if the entry's program says so.
        session: bool,
        /// Only in this process.
        pid: Option<u32>,
    },
    /// An instruction of a user program that has a USDT semaphore.
    Usdt {
        /// The file.
        path: PathBuf,
        /// Offset in the file, and of the semaphore.
        place: UprobePlace,
        /// Only in this process.
        pid: Option<u32>,
    },
    /// A perf event.
    PerfEvent {
        /// `type` of `struct perf_event_attr`.
        event_type: u32,
        /// `config` of the same.
        config: u64,
        /// How often.
        period: PerfPeriod,
        /// This process, or all.
        pid: Option<u32>,
        /// This CPU, or all.
        cpu: Option<u32>,
    },
    /// What the program was loaded for: `fentry`, `fexit`, `fmod_ret`, `tp_btf`, `lsm`.
    Loaded,
    /// A function of another program, when not the one that it was loaded for.
    Replace {
        /// The program.
        target: ProgFd,
        /// The function.
        function: String,
    },
    /// An iterator.
    Iter(IterTarget),
    /// Packets that a network device receives.
    Xdp {
        /// The device.
        ifindex: u32,
        /// `XDP_FLAGS_*`: native or generic.
        flags: u32,
    },
    /// Traffic control, by the classic `clsact` queueing discipline.
    TcFilter {
        /// The device.
        ifindex: u32,
        /// Outgoing packets.
        egress: bool,
        /// 0: the next free.
        priority: u16,
        /// 0: the next free.
        handle: u32,
    },
    /// Traffic control by link; direction by the program's attach type or this.
    Tcx {
        /// The device.
        ifindex: u32,
        /// Outgoing packets.
        egress: bool,
        /// Its place among others.
        order: Order,
        /// Only if nobody changed the hook's programs since they had this revision; 0: anyway.
        revision: u64,
    },
    /// A netkit device.
    Netkit {
        /// The device.
        ifindex: u32,
        /// The peer's side.
        peer: bool,
        /// Its place among others.
        order: Order,
        /// As for [`AttachPoint::Tcx`].
        revision: u64,
    },
    /// A cgroup.
    Cgroup {
        /// Directory of the cgroup.
        path: PathBuf,
        /// Which of its hooks.
        attach_type: AttachType,
    },
    /// A network namespace: flow dissector, socket look-up.
    Netns {
        /// A file that stands for it: `/proc/self/ns/net`.
        path: PathBuf,
        /// Which of its hooks.
        attach_type: AttachType,
    },
    /// A map of sockets.
    Sockmap {
        /// The map.
        map: MapFd,
        /// Parser or verdict.
        attach_type: AttachType,
    },
    /// A socket, by `SO_ATTACH_BPF`. The number is that of a descriptor of the calling process,
    /// which must stay open while the program is attached.
    Socket {
        /// The descriptor.
        fd: i32,
        /// For the group of `SO_REUSEPORT` sockets.
        reuseport: bool,
    },
    /// Netfilter.
    Netfilter {
        /// `NFPROTO_*`: 2 IPv4, 10 IPv6.
        family: u32,
        /// `NF_INET_*` hook.
        hook: u32,
        /// Lower ones run first.
        priority: i32,
        /// Defragments packets first.
        defrag: bool,
    },
    /// A structure of callbacks; the program does not matter.
    StructOps {
        /// The map.
        map: MapFd,
    },
    /// An infrared device.
    Lirc {
        /// The device file.
        path: PathBuf,
    },
    /// A clock on every CPU (`profile`) or on one (`interval`).
    Timer {
        /// How often.
        period: Period,
        /// Every CPU, or one.
        every_cpu: bool,
    },
}

/// A place in a user program.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct UprobePlace {
    /// Offset in the file.
    pub offset: u64,
    /// Offset in the file of a USDT semaphore; 0: none.
    pub semaphore: u64,
    /// What `bpf_get_attach_cookie` gives.
    pub cookie: u64,
}

/// How often a perf event fires.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PerfPeriod {
    /// Every so many events.
    Events(u64),
    /// So many times a second.
    Hertz(u64),
}

/// What an iterator walks over, when not over everything.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum IterTarget {
    /// Everything.
    #[default]
    All,
    /// The elements of a map.
    Map(MapFd),
    /// One thread.
    Thread(u32),
    /// One process.
    Process(u32),
    /// A cgroup's directory, and in which order (`enum bpf_cgroup_iter_order`).
    Cgroup(PathBuf, u32),
}

/// Where among the programs of one hook a program goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Order {
    /// Where the kernel puts it: last.
    #[default]
    Default,
    /// First of all.
    First,
    /// Last of all.
    Last,
    /// Before this program, by id.
    Before(u32),
    /// After this program, by id.
    After(u32),
}

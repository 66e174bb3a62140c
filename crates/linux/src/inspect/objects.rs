//! Programs, maps, links and types: what the kernel tells about them.

use std::os::fd::{AsRawFd, BorrowedFd};

use bombus_kernel::inspect::{
    BtfInfo, CodeLine, Device, FunctionType, LinkInfo, LinkTarget, MapInfo, ProbedAddress,
    ProbedOffset, ProgramCode, ProgramInfo,
};

use crate::sys::clock::after_boot;
use crate::sys::object::{MapRecord, ProgramRecord};
use crate::sys::record::{Array, Record, info as ask, text};
use crate::sys::{self, Errno};

type Result<T> = std::result::Result<T, Errno>;

/// Longest name of a tracepoint, target or file that links are asked for.
const NAME_ROOM: usize = 4096;

fn program_record(program: BorrowedFd<'_>) -> Result<(ProgramRecord, bool)> {
    let mut info = ProgramRecord::new();
    match ask(program, &mut info, &mut []) {
        Ok(()) => Ok((info, false)),
        // The device that it was offloaded to is gone; the rest is there.
        Err(libc::ENODEV) => Ok((info, true)),
        Err(errno) => Err(errno),
    }
}

pub(super) fn program(program: BorrowedFd<'_>) -> Result<ProgramInfo> {
    let (info, orphaned) = program_record(program)?;
    let mut map_ids = vec![0u8; info.u32(52) as usize * 4];
    if !map_ids.is_empty() {
        let array = Array { pointer: 56, count: 52, element: None, size: 4, room: &mut map_ids };
        ask(program, &mut ProgramRecord::new(), &mut [array])?;
    }
    Ok(ProgramInfo {
        id: info.u32(4),
        prog_type: info.u32(0),
        tag: info.bytes(8),
        name: info.name::<16>(64),
        loaded_at: (info.u64(40) != 0).then(|| after_boot(info.u64(40))),
        uid: info.u32(48),
        gpl_compatible: info.u32(84) & 1 != 0,
        xlated_len: info.u32(20),
        jited_len: info.u32(16),
        map_ids: words(&map_ids),
        device: device(info.u32(80), info.u64(88), info.u64(96)),
        btf_id: info.u32(128),
        functions: info.u32(144),
        run_time_ns: info.u64(192),
        run_count: info.u64(200),
        recursion_misses: info.u64(208),
        verified_insns: info.u32(216),
        attach_btf_obj_id: info.u32(220),
        attach_btf_id: info.u32(224),
        memlock: fdinfo(program, "memlock"),
        orphaned,
    })
}

fn device(ifindex: u32, netns_dev: u64, netns_ino: u64) -> Option<Device> {
    (ifindex != 0).then_some(Device { ifindex, netns_dev, netns_ino })
}

/// Bytes of `struct bpf_func_info` and of `struct bpf_line_info`.
const FUNC_INFO: usize = 8;
const LINE_INFO: usize = 16;

pub(super) fn code(program: BorrowedFd<'_>) -> Result<ProgramCode> {
    let (info, _) = program_record(program)?;
    let room = |count: usize, size: usize| vec![0u8; info.u32(count) as usize * size];
    let (mut jited, mut xlated) = (room(16, 1), room(20, 1));
    let (mut symbols, mut lens) = (room(104, 8), room(108, 4));
    let (mut functions, mut lines) = (room(144, FUNC_INFO), room(148, LINE_INFO));
    let mut jited_lines = room(168, 8);
    let array = |pointer, count, element, size, room| Array { pointer, count, element, size, room };
    let mut got = ProgramRecord::new();
    let mut arrays = [
        array(24, 16, None, 1, &mut jited[..]),
        array(32, 20, None, 1, &mut xlated[..]),
        array(112, 104, None, 8, &mut symbols[..]),
        array(120, 108, None, 4, &mut lens[..]),
        array(136, 144, Some(132), FUNC_INFO, &mut functions[..]),
        array(152, 148, Some(172), LINE_INFO, &mut lines[..]),
        array(160, 168, Some(176), 8, &mut jited_lines[..]),
    ];
    ask(program, &mut got, &mut arrays)?;
    // Without the privilege to see addresses the kernel takes the pointers away.
    let shown = |bytes: Vec<u8>, pointer: usize, count: usize, size: usize| {
        let len = if got.u64(pointer) == 0 { 0 } else { got.u32(count) as usize * size };
        bytes[..len.min(bytes.len())].to_vec()
    };
    let functions = shown(functions, 136, 144, FUNC_INFO);
    let lines = shown(lines, 152, 148, LINE_INFO);
    Ok(ProgramCode {
        xlated: shown(xlated, 32, 20, 1),
        jited: shown(jited, 24, 16, 1),
        symbols: long_words(&shown(symbols, 112, 104, 8)),
        jited_lens: words(&shown(lens, 120, 108, 4)),
        functions: functions
            .chunks_exact(FUNC_INFO)
            .map(|record| FunctionType { insn: word(record, 0), type_id: word(record, 4) })
            .collect(),
        lines: lines.chunks_exact(LINE_INFO).map(code_line).collect(),
        jited_lines: long_words(&shown(jited_lines, 160, 168, 8)),
    })
}

fn code_line(record: &[u8]) -> CodeLine {
    let place = word(record, 12);
    CodeLine {
        insn: word(record, 0),
        file: word(record, 4),
        text: word(record, 8),
        line: place >> 10,
        column: place & 0x3ff,
    }
}

fn word(record: &[u8], at: usize) -> u32 {
    record.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn words(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|bytes| word(bytes, 0)).collect()
}

fn long_words(bytes: &[u8]) -> Vec<u64> {
    bytes
        .chunks_exact(8)
        .map(|bytes| u64::from(word(bytes, 0)) | u64::from(word(bytes, 4)) << 32)
        .collect()
}

pub(super) fn map(map: BorrowedFd<'_>) -> Result<MapInfo> {
    let mut info = MapRecord::new();
    ask(map, &mut info, &mut [])?;
    Ok(MapInfo {
        id: info.u32(4),
        map_type: info.u32(0),
        key_size: info.u32(8),
        value_size: info.u32(12),
        max_entries: info.u32(16),
        flags: info.u32(20),
        name: info.name::<16>(24),
        device: device(info.u32(40), info.u64(48), info.u64(56)),
        btf_id: info.u32(64),
        key_type: info.u32(68),
        value_type: info.u32(72),
        kernel_value_type: info.u32(44),
        memlock: fdinfo(map, "memlock"),
        frozen: fdinfo(map, "frozen").is_some_and(|frozen| frozen != 0),
        owner_prog_type: fdinfo(map, "owner_prog_type").map(|number| number as u32),
        owner_jited: fdinfo(map, "owner_jited").map(|jited| jited != 0),
    })
}

/// A number from `/proc/self/fdinfo`.
fn fdinfo(object: BorrowedFd<'_>, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", object.as_raw_fd())).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(":\t")?.trim().parse().ok())
}

pub(super) fn btf(btf: BorrowedFd<'_>) -> Result<BtfInfo> {
    let (info, name) = sys::btf::about(btf)?;
    Ok(BtfInfo { id: info.u32(12), size: info.u32(8), name, kernel: info.u32(28) != 0 })
}

/// `struct bpf_link_info`, by field.
type LinkRecord = Record<10>;

/// `enum bpf_link_type` and `enum bpf_perf_event_type`.
mod link_type {
    pub(super) const RAW_TRACEPOINT: u32 = 1;
    pub(super) const TRACING: u32 = 2;
    pub(super) const CGROUP: u32 = 3;
    pub(super) const ITER: u32 = 4;
    pub(super) const NETNS: u32 = 5;
    pub(super) const XDP: u32 = 6;
    pub(super) const PERF_EVENT: u32 = 7;
    pub(super) const KPROBE_MULTI: u32 = 8;
    pub(super) const STRUCT_OPS: u32 = 9;
    pub(super) const NETFILTER: u32 = 10;
    pub(super) const TCX: u32 = 11;
    pub(super) const UPROBE_MULTI: u32 = 12;
    pub(super) const NETKIT: u32 = 13;
    pub(super) const SOCKMAP: u32 = 14;

    pub(super) const EVENT_UPROBE: u32 = 1;
    pub(super) const EVENT_URETPROBE: u32 = 2;
    pub(super) const EVENT_KPROBE: u32 = 3;
    pub(super) const EVENT_KRETPROBE: u32 = 4;
    pub(super) const EVENT_TRACEPOINT: u32 = 5;
    pub(super) const EVENT_EVENT: u32 = 6;
}

pub(super) fn link(link: BorrowedFd<'_>) -> Result<LinkInfo> {
    let mut info = LinkRecord::new();
    ask(link, &mut info, &mut [])?;
    Ok(LinkInfo {
        id: info.u32(4),
        link_type: info.u32(0),
        prog_id: info.u32(8),
        target: target(link, &info)?,
    })
}

/// Asks again, now with room for a name. A name that is not there is empty.
fn with_name(link: BorrowedFd<'_>, pointer: usize, count: usize) -> Result<(LinkRecord, String)> {
    let (mut info, mut name) = (LinkRecord::new(), vec![0u8; NAME_ROOM]);
    let array = Array { pointer, count, element: None, size: 1, room: &mut name };
    ask(link, &mut info, &mut [array])?;
    Ok((info, text(&name)))
}

fn target(link: BorrowedFd<'_>, info: &LinkRecord) -> Result<LinkTarget> {
    Ok(match info.u32(0) {
        link_type::RAW_TRACEPOINT => {
            let (info, name) = with_name(link, 16, 24)?;
            LinkTarget::RawTracepoint { name, cookie: info.u64(32) }
        }
        link_type::TRACING => LinkTarget::Tracing {
            attach_type: info.u32(16),
            target_obj_id: info.u32(20),
            target_btf_id: info.u32(24),
            cookie: info.u64(32),
        },
        link_type::CGROUP => {
            LinkTarget::Cgroup { cgroup_id: info.u64(16), attach_type: info.u32(24) }
        }
        link_type::ITER => {
            let (info, target) = with_name(link, 16, 24)?;
            LinkTarget::Iter {
                target,
                map_id: info.u32(28),
                cgroup_id: info.u64(32),
                order: info.u32(40),
                tid: info.u32(32),
                pid: info.u32(36),
            }
        }
        link_type::NETNS => {
            LinkTarget::Netns { netns_ino: info.u32(16), attach_type: info.u32(20) }
        }
        link_type::XDP => LinkTarget::Xdp { ifindex: info.u32(16) },
        link_type::STRUCT_OPS => LinkTarget::StructOps { map_id: info.u32(16) },
        link_type::NETFILTER => LinkTarget::Netfilter {
            family: info.u32(16),
            hook: info.u32(20),
            priority: info.u32(24) as i32,
            flags: info.u32(28),
        },
        link_type::TCX => LinkTarget::Tcx { ifindex: info.u32(16), attach_type: info.u32(20) },
        link_type::NETKIT => {
            LinkTarget::Netkit { ifindex: info.u32(16), attach_type: info.u32(20) }
        }
        link_type::SOCKMAP => {
            LinkTarget::Sockmap { map_id: info.u32(16), attach_type: info.u32(20) }
        }
        link_type::KPROBE_MULTI => kprobe_multi(link, info)?,
        link_type::UPROBE_MULTI => uprobe_multi(link, info)?,
        link_type::PERF_EVENT => perf_event(link, info)?,
        _ => LinkTarget::Other,
    })
}

fn kprobe_multi(link: BorrowedFd<'_>, info: &LinkRecord) -> Result<LinkTarget> {
    let count = info.u32(24) as usize;
    let (mut addresses, mut cookies) = (vec![0u8; count * 8], vec![0u8; count * 8]);
    let mut info = LinkRecord::new();
    // Two arrays of one count.
    let mut arrays = [
        Array { pointer: 16, count: 24, element: None, size: 8, room: &mut addresses },
        Array { pointer: 40, count: 24, element: None, size: 8, room: &mut cookies },
    ];
    ask(link, &mut info, &mut arrays)?;
    let functions = long_words(&addresses)
        .into_iter()
        .zip(long_words(&cookies))
        .map(|(address, cookie)| ProbedAddress { address, cookie })
        .collect();
    Ok(LinkTarget::KprobeMulti { flags: info.u32(28), missed: info.u64(32), functions })
}

fn uprobe_multi(link: BorrowedFd<'_>, info: &LinkRecord) -> Result<LinkTarget> {
    let count = info.u32(52) as usize;
    let mut path = vec![0u8; NAME_ROOM];
    let [mut offsets, mut semaphores, mut cookies] = [(); 3].map(|()| vec![0u8; count * 8]);
    let mut info = LinkRecord::new();
    let mut arrays = [
        Array { pointer: 16, count: 48, element: None, size: 1, room: &mut path },
        Array { pointer: 24, count: 52, element: None, size: 8, room: &mut offsets },
        Array { pointer: 32, count: 52, element: None, size: 8, room: &mut semaphores },
        Array { pointer: 40, count: 52, element: None, size: 8, room: &mut cookies },
    ];
    ask(link, &mut info, &mut arrays)?;
    let [offsets, semaphores, cookies] =
        [offsets, semaphores, cookies].map(|bytes| long_words(&bytes));
    let places = offsets
        .into_iter()
        .zip(semaphores)
        .zip(cookies)
        .map(|((offset, ref_ctr_offset), cookie)| ProbedOffset { offset, ref_ctr_offset, cookie })
        .collect();
    Ok(LinkTarget::UprobeMulti {
        flags: info.u32(56),
        path: text(&path),
        pid: info.u32(60),
        places,
    })
}

fn perf_event(link: BorrowedFd<'_>, info: &LinkRecord) -> Result<LinkTarget> {
    let kind = info.u32(16);
    Ok(match kind {
        link_type::EVENT_EVENT => LinkTarget::PerfEvent {
            event_type: info.u32(32),
            config: info.u64(24),
            cookie: info.u64(40),
        },
        link_type::EVENT_TRACEPOINT => {
            let (info, name) = with_name(link, 24, 32)?;
            LinkTarget::PerfTracepoint { name, cookie: info.u64(40) }
        }
        link_type::EVENT_KPROBE | link_type::EVENT_KRETPROBE => {
            let (info, function) = with_name(link, 24, 32)?;
            LinkTarget::PerfKprobe {
                returns: kind == link_type::EVENT_KRETPROBE,
                function,
                offset: info.u32(36),
                addr: info.u64(40),
                missed: info.u64(48),
                cookie: info.u64(56),
            }
        }
        link_type::EVENT_UPROBE | link_type::EVENT_URETPROBE => {
            let (info, file) = with_name(link, 24, 32)?;
            LinkTarget::PerfUprobe {
                returns: kind == link_type::EVENT_URETPROBE,
                file,
                offset: info.u32(36),
                cookie: info.u64(40),
                ref_ctr_offset: info.u64(48),
            }
        }
        _ => LinkTarget::Other,
    })
}

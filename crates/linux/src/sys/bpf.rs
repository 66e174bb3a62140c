//! `bpf(2)`: programs, links, types and their attributes (`union bpf_attr`,
//! `include/uapi/linux/bpf.h`). Each attribute structure ends where the oldest kernel that has the
//! command ends it: a kernel refuses bytes that it does not know unless they are zero.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::{Errno, check, check_fd};

/// Bytes of a name with its closing zero (`BPF_OBJ_NAME_LEN`).
pub(crate) const NAME_LEN: usize = 16;

/// `enum bpf_cmd`.
#[derive(Clone, Copy)]
#[repr(i32)]
pub(super) enum Command {
    MapCreate = 0,
    MapLookupElem = 1,
    MapUpdateElem = 2,
    MapDeleteElem = 3,
    MapGetNextKey = 4,
    ProgLoad = 5,
    ProgTestRun = 10,
    ProgGetFdById = 13,
    ObjGetInfoByFd = 15,
    RawTracepointOpen = 17,
    BtfLoad = 18,
    MapLookupBatch = 24,
    LinkCreate = 28,
    EnableStats = 32,
}

/// The system call.
///
/// # Safety
/// `attr` is the structure that `command` takes, and every pointer in it stays valid for what the
/// kernel reads or writes through it.
pub(super) unsafe fn bpf<T>(command: Command, attr: &mut T) -> Result<libc::c_long, Errno> {
    let attr: *mut T = attr;
    // SAFETY: `attr` points to `size_of::<T>()` readable and writable bytes; the rest is the
    // caller's promise.
    check(unsafe { libc::syscall(libc::SYS_bpf, command as i32, attr, size_of::<T>()) })
}

/// As [`bpf`], for commands that give a file descriptor.
///
/// # Safety
/// As for [`bpf`].
pub(super) unsafe fn bpf_fd<T>(command: Command, attr: &mut T) -> Result<OwnedFd, Errno> {
    let attr: *mut T = attr;
    // SAFETY: as above; the descriptor is new.
    unsafe { check_fd(libc::syscall(libc::SYS_bpf, command as i32, attr, size_of::<T>())) }
}

/// What the kernel accepts as an object's name: letters, digits, `_` and `.`, at most 15.
pub(crate) fn object_name(name: &str) -> [u8; NAME_LEN] {
    let mut bytes = [0; NAME_LEN];
    for (to, from) in bytes.iter_mut().zip(name.bytes().take(NAME_LEN - 1)) {
        *to = if from.is_ascii_alphanumeric() || from == b'.' { from } else { b'_' };
    }
    bytes
}

/// What [`prog_load`] passes on.
pub(crate) struct ProgAttr<'a> {
    pub(crate) name: &'a str,
    pub(crate) prog_type: u32,
    pub(crate) expected_attach_type: u32,
    /// Eight bytes a slot.
    pub(crate) insns: &'a [[u8; 8]],
    pub(crate) license: &'a CStr,
    pub(crate) btf: Option<BorrowedFd<'a>>,
    /// `struct bpf_func_info` records.
    pub(crate) func_info: &'a [u8],
    /// `struct bpf_line_info` records.
    pub(crate) line_info: &'a [u8],
    /// Type id in the kernel's BTF; 0: none.
    pub(crate) attach_btf_id: u32,
}

/// Bytes of a `struct bpf_func_info`.
pub(crate) const FUNC_INFO_SIZE: usize = 8;
/// Bytes of a `struct bpf_line_info`.
pub(crate) const LINE_INFO_SIZE: usize = 16;

#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; NAME_LEN],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
}

/// `BPF_PROG_LOAD`. With an empty `log` the verifier writes none.
pub(crate) fn prog_load(program: &ProgAttr<'_>, log: &mut [u8]) -> Result<OwnedFd, Errno> {
    let records = |bytes: &[u8], size: usize| u32::try_from(bytes.len() / size).unwrap_or(u32::MAX);
    let mut attr = ProgLoad {
        prog_type: program.prog_type,
        insn_cnt: records(program.insns.as_flattened(), 8),
        insns: program.insns.as_ptr() as u64,
        license: program.license.as_ptr() as u64,
        prog_name: object_name(program.name),
        expected_attach_type: program.expected_attach_type,
        attach_btf_id: program.attach_btf_id,
        ..ProgLoad::default()
    };
    if let Some(btf) = program.btf {
        attr.prog_btf_fd = btf.as_raw_fd() as u32;
        if !program.func_info.is_empty() {
            attr.func_info_rec_size = FUNC_INFO_SIZE as u32;
            attr.func_info = program.func_info.as_ptr() as u64;
            attr.func_info_cnt = records(program.func_info, FUNC_INFO_SIZE);
        }
        if !program.line_info.is_empty() {
            attr.line_info_rec_size = LINE_INFO_SIZE as u32;
            attr.line_info = program.line_info.as_ptr() as u64;
            attr.line_info_cnt = records(program.line_info, LINE_INFO_SIZE);
        }
    }
    if !log.is_empty() {
        attr.log_level = 1;
        attr.log_size = u32::try_from(log.len()).unwrap_or(u32::MAX);
        attr.log_buf = log.as_mut_ptr() as u64;
    }
    // SAFETY: every pointer comes from a slice that outlives the call, with its length in records
    // rounded down; the log is written to its length at most.
    unsafe { bpf_fd(Command::ProgLoad, &mut attr) }
}

/// Most bytes of context that a raw tracepoint's test run takes
/// (`MAX_BPF_FUNC_ARGS * sizeof(u64)`, `net/bpf/test_run.c`).
pub(crate) const RAW_CONTEXT_SIZE: usize = 96;

#[repr(C)]
#[derive(Default)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
}

/// `BPF_PROG_TEST_RUN` on this CPU: the program's value.
pub(crate) fn prog_test_run(program: BorrowedFd<'_>, ctx: &[u8]) -> Result<u32, Errno> {
    let mut attr = TestRun {
        prog_fd: program.as_raw_fd() as u32,
        ctx_size_in: u32::try_from(ctx.len()).map_err(|_| libc::E2BIG)?,
        ctx_in: if ctx.is_empty() { 0 } else { ctx.as_ptr() as u64 },
        ..TestRun::default()
    };
    // SAFETY: the kernel reads `ctx.len()` bytes of `ctx` and writes to `attr` alone.
    unsafe { bpf(Command::ProgTestRun, &mut attr) }?;
    Ok(attr.retval)
}

#[repr(C)]
#[derive(Default)]
struct BtfLoad {
    btf: u64,
    btf_log_buf: u64,
    btf_size: u32,
    btf_log_size: u32,
    btf_log_level: u32,
}

/// `BPF_BTF_LOAD`. With an empty `log` the kernel writes none.
pub(crate) fn btf_load(btf: &[u8], log: &mut [u8]) -> Result<OwnedFd, Errno> {
    let mut attr = BtfLoad {
        btf: btf.as_ptr() as u64,
        btf_size: u32::try_from(btf.len()).map_err(|_| libc::E2BIG)?,
        ..BtfLoad::default()
    };
    if !log.is_empty() {
        attr.btf_log_buf = log.as_mut_ptr() as u64;
        attr.btf_log_size = u32::try_from(log.len()).unwrap_or(u32::MAX);
        attr.btf_log_level = 1;
    }
    // SAFETY: both pointers come from slices that outlive the call, with their lengths.
    unsafe { bpf_fd(Command::BtfLoad, &mut attr) }
}

#[repr(C)]
struct RawTracepointOpen {
    name: u64,
    prog_fd: u32,
    pad: u32,
}

#[repr(C)]
struct RawTracepointOpenCookie {
    open: RawTracepointOpen,
    /// Linux 6.10.
    cookie: u64,
}

/// `BPF_RAW_TRACEPOINT_OPEN`: a link. `name` is `None` for programs that name their tracepoint by
/// BTF. A cookie of zero is not passed at all.
pub(crate) fn raw_tracepoint_open(
    program: BorrowedFd<'_>,
    name: Option<&CStr>,
    cookie: u64,
) -> Result<OwnedFd, Errno> {
    let mut open = RawTracepointOpen {
        name: name.map_or(0, |name| name.as_ptr() as u64),
        prog_fd: program.as_raw_fd() as u32,
        pad: 0,
    };
    if cookie == 0 {
        // SAFETY: `name` is a C string that outlives the call.
        return unsafe { bpf_fd(Command::RawTracepointOpen, &mut open) };
    }
    let mut attr = RawTracepointOpenCookie { open, cookie };
    // SAFETY: as above.
    unsafe { bpf_fd(Command::RawTracepointOpen, &mut attr) }
}

#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    /// `perf_event.bpf_cookie`.
    cookie: u64,
}

/// `BPF_LINK_CREATE` of a program on a perf event (Linux 5.15).
pub(crate) fn link_perf_event(
    program: BorrowedFd<'_>,
    event: BorrowedFd<'_>,
    cookie: u64,
) -> Result<OwnedFd, Errno> {
    /// `BPF_PERF_EVENT` of `enum bpf_attach_type`.
    const PERF_EVENT: u32 = 41;
    let mut attr = LinkCreate {
        prog_fd: program.as_raw_fd() as u32,
        target_fd: event.as_raw_fd() as u32,
        attach_type: PERF_EVENT,
        flags: 0,
        cookie,
    };
    // SAFETY: there are no pointers.
    unsafe { bpf_fd(Command::LinkCreate, &mut attr) }
}

#[repr(C)]
struct ObjectInfo {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// `BPF_OBJ_GET_INFO_BY_FD` of a program: its id, which no other program has as long as it lives.
pub(crate) fn prog_id(program: BorrowedFd<'_>) -> Result<u32, Errno> {
    // The head of `struct bpf_prog_info`: type, id.
    let mut info = [0u32; 2];
    let mut attr = ObjectInfo {
        bpf_fd: program.as_raw_fd() as u32,
        info_len: size_of_val(&info) as u32,
        info: info.as_mut_ptr() as u64,
    };
    // SAFETY: the kernel writes at most `info_len` bytes to `info`.
    unsafe { bpf(Command::ObjGetInfoByFd, &mut attr) }?;
    Ok(info[1])
}

#[repr(C)]
#[derive(Default)]
struct GetId {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// `BPF_PROG_GET_FD_BY_ID`.
pub(crate) fn prog_by_id(id: u32) -> Result<OwnedFd, Errno> {
    // SAFETY: there are no pointers.
    unsafe { bpf_fd(Command::ProgGetFdById, &mut GetId { id, ..GetId::default() }) }
}

#[cfg(test)]
mod tests {
    use super::object_name;

    #[test]
    fn names_are_made_acceptable() {
        assert_eq!(&object_name("@x-y.z"), b"_x_y.z\0\0\0\0\0\0\0\0\0\0");
        assert_eq!(&object_name("a_name_that_is_too_long"), b"a_name_that_is_\0");
    }
}

/// `BPF_ENABLE_STATS` with `BPF_STATS_RUN_TIME`: the kernel counts for as long as the descriptor is
/// open.
pub(crate) fn enable_run_time_stats() -> Result<OwnedFd, Errno> {
    const BPF_STATS_RUN_TIME: u32 = 0;
    let mut kind = BPF_STATS_RUN_TIME;
    // SAFETY: the command takes a single number and no pointers.
    unsafe { bpf_fd(Command::EnableStats, &mut kind) }
}

//! `bpf(2)`: programs.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::Errno;
use super::bpf::{Command, FLAG_TOKEN, NAME_LEN, bpf, bpf_fd, object_name};

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
    /// Type id in the kernel's BTF, or in that of the next field; 0: none.
    pub(crate) attach_btf_id: u32,
    /// A program, or the types of a module.
    pub(crate) attach_object: Option<BorrowedFd<'a>>,
    /// Types of modules, by what calls of their functions say; empty: none. (`call` has 0 for the
    /// kernel's own, so that the first is not looked at.)
    pub(crate) fd_array: &'a [i32],
    /// `BPF_F_*`.
    pub(crate) flags: u32,
    pub(crate) kern_version: u32,
    pub(crate) ifindex: u32,
    /// What the verifier says when there is a log.
    pub(crate) log_level: u32,
    pub(crate) token: Option<BorrowedFd<'a>>,
}

/// No code and no name, to be filled in.
impl Default for ProgAttr<'_> {
    fn default() -> Self {
        ProgAttr {
            name: "",
            prog_type: 0,
            expected_attach_type: 0,
            insns: &[],
            license: c"GPL",
            btf: None,
            func_info: &[],
            line_info: &[],
            attach_btf_id: 0,
            attach_object: None,
            fd_array: &[],
            flags: 0,
            kern_version: 0,
            ifindex: 0,
            log_level: 1,
            token: None,
        }
    }
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
    /// Or `attach_btf_obj_fd`.
    attach_prog_fd: u32,
    core_relo_cnt: u32,
    fd_array: u64,
    core_relos: u64,
    core_relo_rec_size: u32,
    log_true_size: u32,
    prog_token_fd: i32,
    pad: u32,
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
        attach_prog_fd: program.attach_object.map_or(0, |fd| fd.as_raw_fd() as u32),
        fd_array: if program.fd_array.is_empty() { 0 } else { program.fd_array.as_ptr() as u64 },
        prog_flags: program.flags,
        kern_version: program.kern_version,
        prog_ifindex: program.ifindex,
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
    if let Some(token) = program.token {
        attr.prog_flags |= FLAG_TOKEN;
        attr.prog_token_fd = token.as_raw_fd();
    }
    if !log.is_empty() {
        attr.log_level = program.log_level.max(1);
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
    flags: u32,
    cpu: u32,
    batch_size: u32,
    pad: u32,
}

/// Address for the kernel; null for nothing.
fn address(bytes: &[u8]) -> u64 {
    if bytes.is_empty() { 0 } else { bytes.as_ptr() as u64 }
}

/// `BPF_PROG_TEST_RUN` on this CPU: the program's value.
pub(crate) fn prog_test_run(program: BorrowedFd<'_>, ctx: &[u8]) -> Result<u32, Errno> {
    // Programs of type syscall may write to theirs.
    let mut ctx = ctx.to_vec();
    let mut attr = TestRun {
        prog_fd: program.as_raw_fd() as u32,
        ctx_size_in: u32::try_from(ctx.len()).map_err(|_| libc::E2BIG)?,
        ctx_in: if ctx.is_empty() { 0 } else { ctx.as_mut_ptr() as u64 },
        ..TestRun::default()
    };
    // SAFETY: the kernel reads and writes at most `ctx.len()` bytes of `ctx`.
    unsafe { bpf(Command::ProgTestRun, &mut attr) }?;
    Ok(attr.retval)
}

/// What a test run takes and leaves.
pub(crate) struct Run<'a> {
    pub(crate) data: &'a [u8],
    /// Room for the packet as the program left it.
    pub(crate) data_out: &'a mut [u8],
    /// Programs of type syscall leave their context here.
    pub(crate) ctx: &'a mut [u8],
    /// Room for the context as the program left it.
    pub(crate) ctx_out: &'a mut [u8],
    pub(crate) repeat: u32,
    pub(crate) flags: u32,
}

/// What a test run gave.
pub(crate) struct Ran {
    pub(crate) retval: u32,
    /// Nanoseconds a run.
    pub(crate) duration: u32,
    /// Bytes of packet there were, possibly more than there was room for.
    pub(crate) data_size: usize,
    /// Bytes of context there were.
    pub(crate) ctx_size: usize,
}

/// `BPF_PROG_TEST_RUN` with packet and context. `Err` comes with the sizes that there were when
/// the room did not do.
pub(crate) fn prog_run(program: BorrowedFd<'_>, run: &mut Run<'_>) -> (Result<(), Errno>, Ran) {
    let size = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let mut attr = TestRun {
        prog_fd: program.as_raw_fd() as u32,
        data_size_in: size(run.data),
        data_in: address(run.data),
        data_size_out: size(run.data_out),
        data_out: if run.data_out.is_empty() { 0 } else { run.data_out.as_mut_ptr() as u64 },
        ctx_size_in: size(run.ctx),
        ctx_in: if run.ctx.is_empty() { 0 } else { run.ctx.as_mut_ptr() as u64 },
        ctx_size_out: size(run.ctx_out),
        ctx_out: if run.ctx_out.is_empty() { 0 } else { run.ctx_out.as_mut_ptr() as u64 },
        repeat: run.repeat,
        flags: run.flags,
        ..TestRun::default()
    };
    // SAFETY: the kernel reads `data` and writes at most the size of the others, all of which are
    // mutable slices.
    let outcome = unsafe { bpf(Command::ProgTestRun, &mut attr) }.map(drop);
    let ran = Ran {
        retval: attr.retval,
        duration: attr.duration,
        data_size: attr.data_size_out as usize,
        ctx_size: attr.ctx_size_out as usize,
    };
    (outcome, ran)
}

#[repr(C)]
struct BindMap {
    prog_fd: u32,
    map_fd: u32,
    flags: u32,
}

/// `BPF_PROG_BIND_MAP`: the program keeps the map.
pub(crate) fn bind_map(program: BorrowedFd<'_>, map: BorrowedFd<'_>) -> Result<(), Errno> {
    let (prog_fd, map_fd) = (program.as_raw_fd() as u32, map.as_raw_fd() as u32);
    // SAFETY: there are no pointers.
    unsafe { bpf(Command::ProgBindMap, &mut BindMap { prog_fd, map_fd, flags: 0 }) }.map(drop)
}

/// What a program prints to (`bpf_stream_vprintk`, Linux 6.17).
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Stream {
    Stdout = 1,
    Stderr = 2,
}

#[repr(C)]
struct StreamRead {
    buffer: u64,
    len: u32,
    stream: u32,
    prog_fd: u32,
    pad: u32,
}

/// `BPF_PROG_STREAM_READ_BY_FD`: how many bytes were read; 0: no more for now.
pub(crate) fn stream_read(
    program: BorrowedFd<'_>,
    stream: Stream,
    buffer: &mut [u8],
) -> Result<usize, Errno> {
    let mut attr = StreamRead {
        buffer: buffer.as_mut_ptr() as u64,
        len: u32::try_from(buffer.len()).unwrap_or(u32::MAX),
        stream: stream as u32,
        prog_fd: program.as_raw_fd() as u32,
        pad: 0,
    };
    // SAFETY: the kernel writes at most the buffer's length.
    let read = unsafe { bpf(Command::ProgStreamReadByFd, &mut attr) }?;
    Ok(usize::try_from(read).unwrap_or(0).min(buffer.len()))
}

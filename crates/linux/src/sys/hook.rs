//! `bpf(2)`: programs on hooks without a link, and what hooks run.

use std::os::fd::{AsRawFd, BorrowedFd};

use super::Errno;
use super::bpf::{Command, bpf};
use super::link::Target;
use super::record::text;

#[repr(C)]
#[derive(Default)]
struct Attach {
    /// Or the number of a network device.
    target_fd: u32,
    prog_fd: u32,
    attach_type: u32,
    flags: u32,
    replace_fd: u32,
}

/// `BPF_F_ALLOW_MULTI`: the target may have several programs.
pub(crate) const ALLOW_MULTI: u32 = 1 << 1;

/// `BPF_PROG_ATTACH`: how it was before links. Nothing takes the program off but [`detach`].
pub(crate) fn attach(
    program: BorrowedFd<'_>,
    target: Target<'_>,
    attach_type: u32,
    flags: u32,
) -> Result<(), Errno> {
    let mut attr = Attach {
        target_fd: target.number(),
        prog_fd: program.as_raw_fd() as u32,
        attach_type,
        flags,
        ..Attach::default()
    };
    // SAFETY: there are no pointers.
    unsafe { bpf(Command::ProgAttach, &mut attr) }.map(drop)
}

/// `BPF_PROG_DETACH`; of no program in particular, where the hook lets one: the last.
pub(crate) fn detach(
    program: Option<BorrowedFd<'_>>,
    target: Target<'_>,
    attach_type: u32,
) -> Result<(), Errno> {
    let mut attr = Attach {
        target_fd: target.number(),
        prog_fd: program.map_or(0, |program| program.as_raw_fd() as u32),
        attach_type,
        ..Attach::default()
    };
    // SAFETY: there are no pointers.
    unsafe { bpf(Command::ProgDetach, &mut attr) }.map(drop)
}

#[repr(C)]
#[derive(Default)]
struct ProgQuery {
    target: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    pad: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// What [`query`] gives.
pub(crate) struct Query {
    pub(crate) attach_flags: u32,
    pub(crate) prog_ids: Vec<u32>,
    pub(crate) prog_flags: Vec<u32>,
    pub(crate) link_ids: Vec<u32>,
}

/// `BPF_PROG_QUERY`. `extended` also asks for flags of each program (Linux 6.1), `links` for the
/// links of a device (6.6).
pub(crate) fn query(
    target: Target<'_>,
    attach_type: u32,
    flags: u32,
    extended: bool,
    links: bool,
) -> Result<Query, Errno> {
    const START: usize = 64;
    let mut room = START;
    loop {
        let (mut prog_ids, mut prog_flags, mut link_ids) =
            (vec![0u32; room], vec![0u32; room], vec![0u32; room]);
        let mut attr = ProgQuery {
            target: target.number(),
            attach_type,
            query_flags: flags,
            prog_ids: prog_ids.as_mut_ptr() as u64,
            prog_cnt: room as u32,
            prog_attach_flags: if extended { prog_flags.as_mut_ptr() as u64 } else { 0 },
            link_ids: if links { link_ids.as_mut_ptr() as u64 } else { 0 },
            ..ProgQuery::default()
        };
        // SAFETY: every array that is passed has room for as many numbers as `prog_cnt` says.
        let outcome = unsafe { bpf(Command::ProgQuery, &mut attr) };
        let count = attr.prog_cnt as usize;
        match outcome {
            Err(libc::ENOSPC) if count > room && count < 1 << 20 => {
                room = count;
                continue;
            }
            Err(errno) => return Err(errno),
            Ok(_) => {}
        }
        for array in [&mut prog_ids, &mut prog_flags, &mut link_ids] {
            array.truncate(count);
        }
        return Ok(Query { attach_flags: attr.attach_flags, prog_ids, prog_flags, link_ids });
    }
}

#[repr(C)]
#[derive(Default)]
struct TaskFdQuery {
    pid: u32,
    fd: u32,
    flags: u32,
    buf_len: u32,
    buf: u64,
    prog_id: u32,
    fd_type: u32,
    probe_offset: u64,
    probe_addr: u64,
}

/// What [`task_fd`] gives.
pub(crate) struct Traced {
    pub(crate) prog_id: u32,
    pub(crate) fd_type: u32,
    pub(crate) name: String,
    pub(crate) offset: u64,
    pub(crate) addr: u64,
}

/// `BPF_TASK_FD_QUERY`.
pub(crate) fn task_fd(pid: u32, fd: u32) -> Result<Traced, Errno> {
    let mut name = [0u8; 4096];
    let mut attr = TaskFdQuery {
        pid,
        fd,
        buf_len: name.len() as u32,
        buf: name.as_mut_ptr() as u64,
        ..TaskFdQuery::default()
    };
    // SAFETY: the kernel writes at most `name.len()` bytes to `name`.
    unsafe { bpf(Command::TaskFdQuery, &mut attr) }?;
    Ok(Traced {
        prog_id: attr.prog_id,
        fd_type: attr.fd_type,
        name: text(&name),
        offset: attr.probe_offset,
        addr: attr.probe_addr,
    })
}

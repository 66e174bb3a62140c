//! `bpf(2)`: links.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::Errno;
use super::bpf::{Command, bpf, bpf_fd};

/// What a link goes to.
#[derive(Clone, Copy)]
pub(crate) enum Target<'a> {
    /// Nothing, or what the program was loaded for.
    Nothing,
    /// A perf event, cgroup, network namespace, map or program.
    Fd(BorrowedFd<'a>),
    /// A network device.
    Device(u32),
    /// A descriptor that nobody has: to see what the kernel says.
    NoFd,
}

impl Target<'_> {
    /// As the system call has it.
    pub(super) fn number(self) -> u32 {
        match self {
            Target::Nothing => 0,
            Target::Fd(fd) => fd.as_raw_fd() as u32,
            Target::Device(ifindex) => ifindex,
            Target::NoFd => u32::MAX,
        }
    }
}

/// Where among others ([`LinkOptions::Among`]); flags of `BPF_LINK_CREATE`.
pub(crate) const BEFORE: u32 = 1 << 3;
/// As [`BEFORE`].
pub(crate) const AFTER: u32 = 1 << 4;
/// The relative is an id, not a descriptor.
pub(crate) const ID: u32 = 1 << 5;

/// What `BPF_LINK_CREATE` takes for one kind of link. (Flags are those of the kind's own member of
/// the union; the common ones go beside.)
pub(crate) enum LinkOptions<'a> {
    /// Nothing.
    Plain,
    /// Perf events.
    Cookie(u64),
    /// `fentry` and its kin; the function, for programs that replace one of another program.
    Tracing { function: u32, cookie: u64 },
    /// Many kernel functions.
    Kprobes { on_return: bool, symbols: &'a [CString], cookies: &'a [u64] },
    /// Many instructions of a file. `cookies` and `semaphores` are as many as `offsets`.
    Uprobes {
        on_return: bool,
        path: &'a CStr,
        offsets: &'a [u64],
        semaphores: &'a [u64],
        cookies: &'a [u64],
        pid: u32,
    },
    /// Iterator: `union bpf_iter_link_info`, as words.
    Iter(&'a [u32]),
    /// Traffic control: the program that it goes before or after, the revision it has to be.
    Among { relative: u32, revision: u64 },
    /// Netfilter.
    Netfilter { family: u32, hook: u32, priority: i32, flags: u32 },
}

#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    /// Or that of a map, for struct_ops.
    prog_fd: u32,
    /// Or the number of a device.
    target: u32,
    attach_type: u32,
    flags: u32,
    /// The union after it, up to its longest member (`uprobe_multi`).
    options: [u64; 6],
}

/// Two 32-bit fields, as they lie in memory on a little-endian machine.
fn pair(first: u32, second: u32) -> u64 {
    u64::from(first) | u64::from(second) << 32
}

/// `BPF_LINK_CREATE`.
pub(crate) fn create(
    program: BorrowedFd<'_>,
    target: Target<'_>,
    attach_type: u32,
    flags: u32,
    options: &LinkOptions<'_>,
) -> Result<OwnedFd, Errno> {
    let names: Vec<u64>;
    let options = match *options {
        LinkOptions::Plain => [0; 6],
        LinkOptions::Cookie(cookie) => [cookie, 0, 0, 0, 0, 0],
        LinkOptions::Tracing { function, cookie } => [function.into(), cookie, 0, 0, 0, 0],
        LinkOptions::Kprobes { on_return, symbols, cookies } => {
            if symbols.len() != cookies.len() {
                return Err(libc::EINVAL);
            }
            names = symbols.iter().map(|symbol| symbol.as_ptr() as u64).collect();
            let head = pair(on_return.into(), count(names.len())?);
            [head, names.as_ptr() as u64, 0, cookies.as_ptr() as u64, 0, 0]
        }
        LinkOptions::Uprobes { on_return, path, offsets, semaphores, cookies, pid } => {
            if offsets.len() != semaphores.len() || offsets.len() != cookies.len() {
                return Err(libc::EINVAL);
            }
            [
                path.as_ptr() as u64,
                offsets.as_ptr() as u64,
                semaphores.as_ptr() as u64,
                cookies.as_ptr() as u64,
                pair(count(offsets.len())?, on_return.into()),
                pid.into(),
            ]
        }
        LinkOptions::Iter([]) => [0; 6],
        LinkOptions::Iter(words) => [words.as_ptr() as u64, size_of_val(words) as u64, 0, 0, 0, 0],
        LinkOptions::Among { relative, revision } => [relative.into(), revision, 0, 0, 0, 0],
        LinkOptions::Netfilter { family, hook, priority, flags } => {
            [pair(family, hook), pair(priority as u32, flags), 0, 0, 0, 0]
        }
    };
    let mut attr = LinkCreate {
        prog_fd: program.as_raw_fd() as u32,
        target: target.number(),
        attach_type,
        flags,
        options,
    };
    // SAFETY: the kernel only reads; every pointer comes from a slice or C string that outlives
    // the call, and the lengths beside them are checked to be theirs.
    unsafe { bpf_fd(Command::LinkCreate, &mut attr) }
}

fn count(len: usize) -> Result<u32, Errno> {
    u32::try_from(len).map_err(|_| libc::E2BIG)
}

#[repr(C)]
#[derive(Default)]
struct LinkUpdate {
    link_fd: u32,
    /// Or that of a map, for struct_ops.
    new_prog_fd: u32,
    flags: u32,
    old_prog_fd: u32,
}

/// `BPF_LINK_UPDATE` to another program.
pub(crate) fn update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut attr = LinkUpdate {
        link_fd: link.as_raw_fd() as u32,
        new_prog_fd: program.as_raw_fd() as u32,
        ..LinkUpdate::default()
    };
    // SAFETY: there are no pointers.
    unsafe { bpf(Command::LinkUpdate, &mut attr) }.map(drop)
}

/// `BPF_LINK_DETACH`: off at once, whoever else holds the link. Not every kind can.
pub(crate) fn detach(link: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut attr = link.as_raw_fd() as u32;
    // SAFETY: there are no pointers.
    unsafe { bpf(Command::LinkDetach, &mut attr) }.map(drop)
}

/// `BPF_ITER_CREATE`: a file to read what the iterator says, once.
pub(crate) fn iterate(link: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let mut attr = [link.as_raw_fd() as u32, 0];
    // SAFETY: there are no pointers.
    unsafe { bpf_fd(Command::IterCreate, &mut attr) }
}

#[repr(C)]
struct RawTracepointOpen {
    name: u64,
    prog_fd: u32,
    pad: u32,
    /// Linux 6.10.
    cookie: u64,
}

/// `BPF_RAW_TRACEPOINT_OPEN`: a link. `name` is `None` for programs that name what they attach to
/// by BTF.
pub(crate) fn raw_tracepoint_open(
    program: BorrowedFd<'_>,
    name: Option<&CStr>,
    cookie: u64,
) -> Result<OwnedFd, Errno> {
    let mut attr = RawTracepointOpen {
        name: name.map_or(0, |name| name.as_ptr() as u64),
        prog_fd: program.as_raw_fd() as u32,
        pad: 0,
        cookie,
    };
    // SAFETY: `name` is a C string that outlives the call.
    unsafe { bpf_fd(Command::RawTracepointOpen, &mut attr) }
}

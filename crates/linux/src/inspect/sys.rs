//! `bpf(2)`: the commands that look at objects by id, path or descriptor.
//!
//! Attributes and information structures (`include/uapi/linux/bpf.h`) are plain buffers here, read
//! and written at the offsets of their fields: what a kernel does not know stays zero, what it
//! knows and we do not is not asked for.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use bombus_kernel::inspect::Moment;

use crate::sys::Errno;

/// `enum bpf_cmd`.
#[derive(Clone, Copy)]
#[repr(i32)]
enum Command {
    MapCreate = 0,
    MapLookupElem = 1,
    MapUpdateElem = 2,
    MapDeleteElem = 3,
    MapGetNextKey = 4,
    ObjPin = 6,
    ObjGet = 7,
    ProgAttach = 8,
    ProgDetach = 9,
    ProgTestRun = 10,
    ProgGetNextId = 11,
    MapGetNextId = 12,
    ProgGetFdById = 13,
    MapGetFdById = 14,
    ObjGetInfoByFd = 15,
    ProgQuery = 16,
    BtfGetFdById = 19,
    TaskFdQuery = 20,
    MapLookupAndDeleteElem = 21,
    MapFreeze = 22,
    BtfGetNextId = 23,
    LinkGetFdById = 30,
    LinkGetNextId = 31,
    LinkDetach = 34,
}

/// A kind of object that has ids.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Program,
    Map,
    Link,
    Btf,
}

/// A structure of C, by the offsets of its fields. Eight bytes aligned, as its pointers have to be.
pub(super) struct Record<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Record<WORDS> {
    pub(super) fn new() -> Record<WORDS> {
        Record([0; WORDS])
    }

    fn with(mut self, at: usize, value: u32) -> Record<WORDS> {
        self.set_u32(at, value);
        self
    }

    pub(super) fn u32(&self, at: usize) -> u32 {
        (self.0[at / 8] >> (at % 8 * 8)) as u32
    }

    pub(super) fn u64(&self, at: usize) -> u64 {
        self.0[at / 8]
    }

    pub(super) fn set_u32(&mut self, at: usize, value: u32) {
        let shift = at % 8 * 8;
        let word = &mut self.0[at / 8];
        *word = *word & !(0xffff_ffff << shift) | u64::from(value) << shift;
    }

    fn set_u64(&mut self, at: usize, value: u64) {
        self.0[at / 8] = value;
    }

    pub(super) fn bytes<const LEN: usize>(&self, at: usize) -> [u8; LEN] {
        std::array::from_fn(|index| (self.0[(at + index) / 8] >> ((at + index) % 8 * 8)) as u8)
    }

    /// A name that ends at the first zero byte.
    pub(super) fn name<const LEN: usize>(&self, at: usize) -> String {
        text(&self.bytes::<LEN>(at))
    }
}

/// Bytes up to the first zero.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// An array that the kernel fills in beside a structure of information.
pub(super) struct Array<'a> {
    /// Where the structure has its address.
    pub(super) pointer: usize,
    /// Where the structure has how many elements there are.
    pub(super) count: usize,
    /// Where the structure has how large an element is, when it says so.
    pub(super) element: Option<usize>,
    /// Bytes of an element.
    pub(super) size: usize,
    pub(super) room: &'a mut [u8],
}

/// # Safety
/// Every pointer in `attr` is valid for what `command` reads and writes through it.
unsafe fn bpf<const WORDS: usize>(
    command: Command,
    attr: &mut Record<WORDS>,
) -> Result<libc::c_long, Errno> {
    // SAFETY: `attr` is `WORDS * 8` readable and writable bytes; the rest is the caller's promise.
    let value = unsafe {
        libc::syscall(libc::SYS_bpf, command as i32, attr.0.as_mut_ptr(), size_of_val(&attr.0))
    };
    if value < 0 {
        Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
    } else {
        Ok(value)
    }
}

/// # Safety
/// As for [`bpf`]; the command gives a descriptor.
unsafe fn bpf_fd<const WORDS: usize>(
    command: Command,
    attr: &mut Record<WORDS>,
) -> Result<OwnedFd, Errno> {
    // SAFETY: the caller's promise; the descriptor is new and nobody else's.
    unsafe { Ok(OwnedFd::from_raw_fd(bpf(command, attr)? as i32)) }
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}

fn address<T>(slice: &[T]) -> u64 {
    if slice.is_empty() { 0 } else { slice.as_ptr() as u64 }
}

fn address_mut<T>(slice: &mut [T]) -> u64 {
    if slice.is_empty() { 0 } else { slice.as_mut_ptr() as u64 }
}

/// `BPF_*_GET_NEXT_ID`: `None` after the last.
pub(super) fn next_id(kind: Kind, id: u32) -> Result<Option<u32>, Errno> {
    let command = match kind {
        Kind::Program => Command::ProgGetNextId,
        Kind::Map => Command::MapGetNextId,
        Kind::Link => Command::LinkGetNextId,
        Kind::Btf => Command::BtfGetNextId,
    };
    let mut attr = Record::<2>::new().with(0, id);
    // SAFETY: there are no pointers.
    match unsafe { bpf(command, &mut attr) } {
        Ok(_) => Ok(Some(attr.u32(4))),
        Err(libc::ENOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// `BPF_*_GET_FD_BY_ID`. `flags` is `BPF_F_RDONLY` and the like, for maps.
pub(super) fn by_id(kind: Kind, id: u32, flags: u32) -> Result<OwnedFd, Errno> {
    let command = match kind {
        Kind::Program => Command::ProgGetFdById,
        Kind::Map => Command::MapGetFdById,
        Kind::Link => Command::LinkGetFdById,
        Kind::Btf => Command::BtfGetFdById,
    };
    let mut attr = Record::<2>::new().with(0, id).with(8, flags);
    // SAFETY: there are no pointers.
    unsafe { bpf_fd(command, &mut attr) }
}

/// `BPF_OBJ_GET`.
pub(super) fn pinned(path: &CStr, flags: u32) -> Result<OwnedFd, Errno> {
    let mut attr = Record::<2>::new().with(12, flags);
    attr.set_u64(0, path.as_ptr() as u64);
    // SAFETY: the path is a C string that outlives the call.
    unsafe { bpf_fd(Command::ObjGet, &mut attr) }
}

/// `BPF_OBJ_PIN`.
pub(super) fn pin(object: BorrowedFd<'_>, path: &CStr) -> Result<(), Errno> {
    let mut attr = Record::<2>::new().with(8, raw(object));
    attr.set_u64(0, path.as_ptr() as u64);
    // SAFETY: as above.
    unsafe { bpf(Command::ObjPin, &mut attr) }.map(drop)
}

/// `BPF_OBJ_GET_INFO_BY_FD`. `info` says what is asked for and is filled in; so are the arrays,
/// each as far as it has room.
pub(super) fn info<const WORDS: usize>(
    object: BorrowedFd<'_>,
    info: &mut Record<WORDS>,
    arrays: &mut [Array<'_>],
) -> Result<(), Errno> {
    for array in arrays {
        info.set_u32(array.count, u32::try_from(array.room.len() / array.size).unwrap_or(0));
        if let Some(element) = array.element {
            info.set_u32(element, array.size as u32);
        }
        info.set_u64(array.pointer, address_mut(array.room));
    }
    let mut attr = Record::<2>::new().with(0, raw(object)).with(4, size_of_val(&info.0) as u32);
    attr.set_u64(8, info.0.as_mut_ptr() as u64);
    // SAFETY: the kernel writes at most the structure's size to `info`, and to each array at most
    // as many elements of the size as were just said to fit.
    unsafe { bpf(Command::ObjGetInfoByFd, &mut attr) }.map(drop)
}

/// `struct bpf_map_create_opts`, by field.
pub(super) struct NewMap<'a> {
    pub(super) map_type: u32,
    pub(super) key_size: u32,
    pub(super) value_size: u32,
    pub(super) max_entries: u32,
    pub(super) flags: u32,
    pub(super) inner: Option<BorrowedFd<'a>>,
    pub(super) name: &'a str,
    pub(super) ifindex: u32,
}

/// `BPF_MAP_CREATE`.
pub(super) fn create_map(map: &NewMap<'_>) -> Result<OwnedFd, Errno> {
    let mut attr = Record::<6>::new()
        .with(0, map.map_type)
        .with(4, map.key_size)
        .with(8, map.value_size)
        .with(12, map.max_entries)
        .with(16, map.flags)
        .with(20, map.inner.map_or(0, raw))
        .with(44, map.ifindex);
    for (index, word) in crate::sys::bpf::object_name(map.name).chunks_exact(4).enumerate() {
        attr.set_u32(28 + index * 4, u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    }
    // SAFETY: there are no pointers.
    unsafe { bpf_fd(Command::MapCreate, &mut attr) }
}

/// A map by its descriptor, with the sizes of what it holds, so that the kernel never reads or
/// writes past a buffer of ours.
pub(super) struct Elements<'a> {
    map: BorrowedFd<'a>,
    key_size: usize,
    value_len: usize,
}

impl<'a> Elements<'a> {
    /// Asks the map for its sizes. `cpus` is how many values an element of a per-CPU map has.
    pub(super) fn new(map: BorrowedFd<'a>, cpus: usize) -> Result<Elements<'a>, Errno> {
        let mut about = Record::<11>::new();
        info(map, &mut about, &mut [])?;
        let value_size = about.u32(12) as usize;
        let per_cpu = bombus_platform::MapType::from_number(about.u32(0))
            .is_none_or(bombus_platform::MapType::is_per_cpu);
        // What is not known is given room for every CPU.
        let value_len = if per_cpu { value_size.next_multiple_of(8) * cpus } else { value_size };
        Ok(Elements { map, key_size: about.u32(8) as usize, value_len })
    }

    fn element(&self, key: &[u8], value: u64, flags: u64) -> Result<Record<4>, Errno> {
        if !key.is_empty() && key.len() != self.key_size {
            return Err(libc::EINVAL);
        }
        let mut attr = Record::<4>::new().with(0, raw(self.map));
        attr.set_u64(8, address(key));
        attr.set_u64(16, value);
        attr.set_u64(24, flags);
        Ok(attr)
    }

    pub(super) fn lookup(&self, key: &[u8]) -> Result<Vec<u8>, Errno> {
        self.value(Command::MapLookupElem, key)
    }

    pub(super) fn take(&self, key: &[u8]) -> Result<Vec<u8>, Errno> {
        self.value(Command::MapLookupAndDeleteElem, key)
    }

    fn value(&self, command: Command, key: &[u8]) -> Result<Vec<u8>, Errno> {
        if key.len() != self.key_size {
            return Err(libc::EINVAL);
        }
        let mut value = vec![0; self.value_len];
        let mut attr = self.element(key, address_mut(&mut value), 0)?;
        // SAFETY: `key` has the map's key size and `value` room for all values of an element.
        unsafe { bpf(command, &mut attr) }?;
        Ok(value)
    }

    pub(super) fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        if key.len() != self.key_size || value.len() != self.value_len {
            return Err(libc::EINVAL);
        }
        let mut attr = self.element(key, address(value), flags)?;
        // SAFETY: `key` and `value` have the map's sizes and are only read.
        unsafe { bpf(Command::MapUpdateElem, &mut attr) }.map(drop)
    }

    pub(super) fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        if key.len() != self.key_size {
            return Err(libc::EINVAL);
        }
        let mut attr = self.element(key, 0, 0)?;
        // SAFETY: `key` has the map's key size and is only read.
        unsafe { bpf(Command::MapDeleteElem, &mut attr) }.map(drop)
    }

    pub(super) fn next_key(&self, key: Option<&[u8]>) -> Result<Vec<u8>, Errno> {
        let mut next = vec![0; self.key_size];
        let mut attr = self.element(key.unwrap_or_default(), address_mut(&mut next), 0)?;
        // SAFETY: `key` has the map's key size or is null, `next` has room for a key.
        unsafe { bpf(Command::MapGetNextKey, &mut attr) }?;
        Ok(next)
    }
}

/// `BPF_MAP_FREEZE`.
pub(super) fn freeze(map: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: there are no pointers.
    unsafe { bpf(Command::MapFreeze, &mut Record::<1>::new().with(0, raw(map))) }.map(drop)
}

/// `BPF_LINK_DETACH`.
pub(super) fn detach_link(link: BorrowedFd<'_>) -> Result<(), Errno> {
    // SAFETY: there are no pointers.
    unsafe { bpf(Command::LinkDetach, &mut Record::<1>::new().with(0, raw(link))) }.map(drop)
}

/// `BPF_PROG_ATTACH`. `target` is a descriptor or the number of a device.
pub(super) fn attach(
    program: BorrowedFd<'_>,
    target: u32,
    attach_type: u32,
    flags: u32,
) -> Result<(), Errno> {
    let mut attr = Record::<2>::new()
        .with(0, target)
        .with(4, raw(program))
        .with(8, attach_type)
        .with(12, flags);
    // SAFETY: there are no pointers.
    unsafe { bpf(Command::ProgAttach, &mut attr) }.map(drop)
}

/// `BPF_PROG_DETACH`.
pub(super) fn detach(program: BorrowedFd<'_>, target: u32, attach_type: u32) -> Result<(), Errno> {
    let mut attr = Record::<2>::new().with(0, target).with(4, raw(program)).with(8, attach_type);
    // SAFETY: there are no pointers.
    unsafe { bpf(Command::ProgDetach, &mut attr) }.map(drop)
}

/// What [`query`] gives.
pub(super) struct Query {
    pub(super) attach_flags: u32,
    pub(super) prog_ids: Vec<u32>,
    pub(super) prog_flags: Vec<u32>,
    pub(super) link_ids: Vec<u32>,
}

/// `BPF_PROG_QUERY`. `extended` also asks for flags of each program (Linux 6.1), `links` for the
/// links of a device (6.6).
pub(super) fn query(
    target: u32,
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
        let mut attr = Record::<8>::new()
            .with(0, target)
            .with(4, attach_type)
            .with(8, flags)
            .with(24, room as u32);
        attr.set_u64(16, address_mut(&mut prog_ids));
        if extended {
            attr.set_u64(32, address_mut(&mut prog_flags));
        }
        if links {
            attr.set_u64(40, address_mut(&mut link_ids));
        }
        // SAFETY: every array that is passed has room for as many numbers as `count` says.
        let outcome = unsafe { bpf(Command::ProgQuery, &mut attr) };
        let count = attr.u32(24) as usize;
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
        return Ok(Query { attach_flags: attr.u32(12), prog_ids, prog_flags, link_ids });
    }
}

/// What [`task_fd`] gives.
pub(super) struct Traced {
    pub(super) prog_id: u32,
    pub(super) fd_type: u32,
    pub(super) name: String,
    pub(super) offset: u64,
    pub(super) addr: u64,
}

/// `BPF_TASK_FD_QUERY`.
pub(super) fn task_fd(pid: u32, fd: u32) -> Result<Traced, Errno> {
    let mut name = [0u8; 4096];
    let mut attr = Record::<6>::new().with(0, pid).with(4, fd).with(12, name.len() as u32);
    attr.set_u64(16, address_mut(&mut name));
    // SAFETY: the kernel writes at most `name.len()` bytes to `name`.
    unsafe { bpf(Command::TaskFdQuery, &mut attr) }?;
    Ok(Traced {
        prog_id: attr.u32(24),
        fd_type: attr.u32(28),
        name: text(&name),
        offset: attr.u64(32),
        addr: attr.u64(40),
    })
}

/// `BPF_PROG_TEST_RUN`. Gives the value, nanoseconds a run, and how many bytes there were of data
/// and of context.
pub(super) fn test_run(
    program: BorrowedFd<'_>,
    data: (&[u8], &mut [u8]),
    ctx: (&[u8], &mut [u8]),
    repeat: u32,
    flags: u32,
) -> Result<(u32, u32, usize, usize), Errno> {
    let len = |bytes: &[u8]| u32::try_from(bytes.len()).map_err(|_| libc::E2BIG);
    let mut attr = Record::<10>::new()
        .with(0, raw(program))
        .with(8, len(data.0)?)
        .with(12, len(data.1)?)
        .with(32, repeat)
        .with(40, len(ctx.0)?)
        .with(44, len(ctx.1)?)
        .with(64, flags);
    attr.set_u64(16, address(data.0));
    attr.set_u64(24, address_mut(data.1));
    attr.set_u64(48, address(ctx.0));
    attr.set_u64(56, address_mut(ctx.1));
    // SAFETY: every pointer comes from a slice that outlives the call, with its length.
    unsafe { bpf(Command::ProgTestRun, &mut attr) }?;
    Ok((attr.u32(4), attr.u32(36), attr.u32(12) as usize, attr.u32(44) as usize))
}

/// `if_indextoname(3)`.
pub(super) fn device_name(ifindex: u32) -> Option<String> {
    let mut name = [0u8; libc::IF_NAMESIZE];
    // SAFETY: `name` has the room that the call wants.
    let found = unsafe { libc::if_indextoname(ifindex, name.as_mut_ptr().cast()) };
    (!found.is_null()).then(|| text(&name))
}

/// The moment so many nanoseconds after boot.
pub(super) fn after_boot(nanoseconds: u64) -> Moment {
    let now = |clock| {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the call writes to `now` alone.
        unsafe { libc::clock_gettime(clock, &mut now) };
        i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
    };
    let boot = now(libc::CLOCK_REALTIME) - now(libc::CLOCK_BOOTTIME);
    let unix_seconds = ((boot + i128::from(nanoseconds)) / 1_000_000_000) as i64;
    // SAFETY: all fields of `tm` are integers or a pointer, for which zeros are values.
    let mut local: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both arguments are valid for the call.
    let known = unsafe { libc::localtime_r(&unix_seconds, &mut local) };
    let utc_offset = if known.is_null() { 0 } else { local.tm_gmtoff as i32 };
    Moment { unix_seconds, utc_offset }
}

/// Whether this is in a BPF file system (`BPF_FS_MAGIC`).
pub(super) fn is_bpf_file_system(directory: &CStr) -> bool {
    const BPF_FS_MAGIC: i64 = 0xcafe_4a11;
    // SAFETY: all fields of `statfs` are integers.
    let mut about: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path is a C string, and `about` is what the call writes to.
    let outcome = unsafe { libc::statfs(directory.as_ptr(), &mut about) };
    outcome == 0 && about.f_type as i64 & 0xffff_ffff == BPF_FS_MAGIC
}

/// `mount -t bpf`, private to this mount's peers, for root's eyes only.
pub(super) fn mount_bpf_file_system(directory: &CStr) -> Result<(), Errno> {
    let mount = |source: &CStr, kind: &CStr, flags, data: Option<&CStr>| {
        let data = data.map_or(std::ptr::null(), |data| data.as_ptr().cast());
        // SAFETY: all pointers are C strings that outlive the call, or null.
        let outcome =
            unsafe { libc::mount(source.as_ptr(), directory.as_ptr(), kind.as_ptr(), flags, data) };
        match outcome {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)),
        }
    };
    match mount(c"", c"none", libc::MS_PRIVATE | libc::MS_REC, None) {
        // Not a mount point yet.
        Err(libc::EINVAL) => {
            mount(directory, c"none", libc::MS_BIND, None)?;
            mount(c"", c"none", libc::MS_PRIVATE | libc::MS_REC, None)?;
        }
        outcome => outcome?,
    }
    mount(c"bpf", c"bpf", 0, Some(c"mode=0700"))
}

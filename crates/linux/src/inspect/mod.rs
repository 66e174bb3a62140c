//! The running kernel as [`bombus_kernel::inspect::Inspect`] shows it: every question opens what it
//! asks about, and closes it again.

mod devices;
mod events;
mod objects;
mod procfs;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bombus_kernel::inspect::{
    AttachedProgram, Attachments, BtfInfo, Holder, Hook, Inspect, KernelSymbol, LinkInfo, MapInfo,
    NetDevice, NewMap, NewValue, ObjectKind, ProgramCode, ProgramInfo, TaskFd, Which,
};
use bombus_kernel::{Error, MapFd, Result, TestRun, UpdateFlag};

pub use events::{Event, EventPipe, Place};

pub(crate) use procfs::kernel_symbols;

use crate::links::set_xdp;
use crate::sys::link::{self, Target};
use crate::sys::map::{Map, MapAttr};
use crate::sys::netlink::Netlink;
use crate::sys::object::Kind;
use crate::sys::{self, Errno, hook, object, prog};
use crate::{Linux, maps};

/// `BPF_F_RDONLY`: enough to read a map, and granted where writing is not.
const READ_ONLY: u32 = 1 << 3;
/// `BPF_F_QUERY_EFFECTIVE`.
const EFFECTIVE: u32 = 1;

fn kind_of(kind: ObjectKind) -> Kind {
    match kind {
        ObjectKind::Program => Kind::Program,
        ObjectKind::Map => Kind::Map,
        ObjectKind::Link => Kind::Link,
        ObjectKind::Btf => Kind::Btf,
    }
}

fn noun(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Program => "program",
        ObjectKind::Map => "map",
        ObjectKind::Link => "link",
        ObjectKind::Btf => "BTF object",
    }
}

fn describe(kind: ObjectKind, which: &Which) -> String {
    match which {
        Which::Id(id) => format!("{} {id}", noun(kind)),
        Which::Pin(path) => format!("{} {}", noun(kind), path.display()),
    }
}

fn path_of(path: &Path) -> std::result::Result<CString, Errno> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| libc::EINVAL)
}

/// An object of this kind, opened. `flags` counts for maps only.
fn open(kind: ObjectKind, which: &Which, flags: u32) -> Result<OwnedFd> {
    let flags = if kind == ObjectKind::Map { flags } else { 0 };
    let opened = match which {
        Which::Id(id) => object::by_id(kind_of(kind), *id, flags),
        Which::Pin(path) => path_of(path).and_then(|path| object::pinned(&path, flags)),
    };
    let fd = opened.map_err(|errno| Error::os(format!("open {}", describe(kind, which)), errno))?;
    if matches!(which, Which::Pin(_)) && procfs::kind_of_fd(fd.as_fd()) != Some(kind) {
        return Err(Error::os(format!("open {}", describe(kind, which)), libc::EINVAL));
    }
    Ok(fd)
}

/// Opens an object and does something with it.
fn with<T>(
    kind: ObjectKind,
    which: &Which,
    flags: u32,
    doing: &str,
    action: impl FnOnce(&OwnedFd) -> std::result::Result<T, Errno>,
) -> Result<T> {
    let fd = open(kind, which, flags)?;
    action(&fd).map_err(|errno| Error::os(format!("{doing} {}", describe(kind, which)), errno))
}

/// `Ok(None)` for `ENOENT`.
fn found<T>(outcome: std::result::Result<T, Errno>) -> std::result::Result<Option<T>, Errno> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(libc::ENOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// A hook that stays open while it is used.
enum OpenHook {
    Device(u32),
    File(OwnedFd),
}

impl OpenHook {
    fn new(hook: &Hook) -> Result<OpenHook> {
        let open_file = |path: &Path| {
            File::open(path).map(OwnedFd::from).map_err(|error| {
                Error::os(format!("open {}", path.display()), crate::error::errno_of(&error))
            })
        };
        Ok(match hook {
            Hook::Device(ifindex) => OpenHook::Device(*ifindex),
            Hook::Cgroup(path) => OpenHook::File(open_file(path)?),
            Hook::Netns => OpenHook::File(open_file(Path::new("/proc/self/ns/net"))?),
            Hook::Map(map) => OpenHook::File(open(ObjectKind::Map, map, 0)?),
        })
    }

    fn target(&self) -> Target<'_> {
        match self {
            OpenHook::Device(ifindex) => Target::Device(*ifindex),
            OpenHook::File(fd) => Target::Fd(fd.as_fd()),
        }
    }
}

impl Inspect for Linux {
    fn object_ids(&self, kind: ObjectKind) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        let mut last = 0;
        while let Some(id) = object::next_id(kind_of(kind), last)
            .map_err(|errno| Error::os(format!("list every {}", noun(kind)), errno))?
        {
            ids.push(id);
            last = id;
        }
        Ok(ids)
    }

    fn pin_kind(&self, path: &Path) -> Result<Option<ObjectKind>> {
        let fd = path_of(path)
            .and_then(|path| match object::pinned(&path, 0) {
                // A map may be readable and no more.
                Err(libc::EACCES | libc::EPERM) => object::pinned(&path, READ_ONLY),
                outcome => outcome,
            })
            .map_err(|errno| Error::os(format!("open {}", path.display()), errno))?;
        Ok(procfs::kind_of_fd(fd.as_fd()))
    }

    fn pins(&self, kind: ObjectKind) -> Result<Vec<(u32, PathBuf)>> {
        let id = |path: &Path| {
            let which = Which::Pin(path.to_owned());
            match kind {
                ObjectKind::Program => self.program_info(&which).map(|info| info.id),
                ObjectKind::Map => self.map_info(&which).map(|info| info.id),
                ObjectKind::Link => self.link_info(&which).map(|info| info.id),
                ObjectKind::Btf => Err(Error::os("open a pin", libc::EINVAL)),
            }
        };
        let mut pins = Vec::new();
        for mount in procfs::bpf_mounts() {
            procfs::files_below(&mount, &mut |path| {
                if self.pin_kind(&path).is_ok_and(|found| found == Some(kind))
                    && let Ok(id) = id(&path)
                {
                    pins.push((id, path));
                }
            });
        }
        Ok(pins)
    }

    fn holders(&self, kind: ObjectKind) -> Result<BTreeMap<u32, Vec<Holder>>> {
        Ok(procfs::holders(kind))
    }

    fn program_info(&self, which: &Which) -> Result<ProgramInfo> {
        with(ObjectKind::Program, which, 0, "ask about", |fd| objects::program(fd.as_fd()))
    }

    fn program_code(&self, which: &Which) -> Result<ProgramCode> {
        with(ObjectKind::Program, which, 0, "read the code of", |fd| objects::code(fd.as_fd()))
    }

    fn map_info(&self, which: &Which) -> Result<MapInfo> {
        with(ObjectKind::Map, which, READ_ONLY, "ask about", |fd| objects::map(fd.as_fd()))
    }

    fn raw_map_info(&self, which: &Which, len: usize) -> Result<Vec<u8>> {
        with(ObjectKind::Map, which, READ_ONLY, "ask about", |fd| {
            sys::record::raw_info(fd.as_fd(), len)
        })
    }

    fn link_info(&self, which: &Which) -> Result<LinkInfo> {
        with(ObjectKind::Link, which, 0, "ask about", |fd| objects::link(fd.as_fd()))
    }

    fn btf_info(&self, id: u32) -> Result<BtfInfo> {
        with(ObjectKind::Btf, &Which::Id(id), 0, "ask about", |fd| objects::btf(fd.as_fd()))
    }

    fn btf_data(&self, id: u32) -> Result<Vec<u8>> {
        with(ObjectKind::Btf, &Which::Id(id), 0, "read", |fd| sys::btf::blob(fd.as_fd()))
    }

    fn kernel_symbols(&self) -> Result<Vec<KernelSymbol>> {
        procfs::kernel_symbols()
    }

    fn device_name(&self, ifindex: u32) -> Option<String> {
        sys::socket::interface_name(ifindex)
    }

    fn elements(
        &self,
        map: &Which,
        each: &mut dyn FnMut(&[u8], std::result::Result<Vec<u8>, i32>),
    ) -> Result<()> {
        self.with_map(map, READ_ONLY, "read", |elements| {
            let mut key = found(elements.next_key(None))?;
            while let Some(current) = key {
                each(&current, elements.lookup(&current));
                key = found(elements.next_key(Some(&current)))?;
            }
            Ok(())
        })
    }

    fn element(&self, map: &Which, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.with_map(map, READ_ONLY, "read", |map| found(map.lookup(key)))
    }

    fn key_after(&self, map: &Which, key: Option<&[u8]>) -> Result<Option<Vec<u8>>> {
        self.with_map(map, READ_ONLY, "read keys of", |map| found(map.next_key(key)))
    }

    fn set_element(
        &self,
        map: &Which,
        key: &[u8],
        value: &NewValue,
        flag: UpdateFlag,
    ) -> Result<()> {
        let object = match value {
            NewValue::Bytes(_) => None,
            NewValue::Map(map) => Some(open(ObjectKind::Map, map, 0)?),
            NewValue::Program(program) => Some(open(ObjectKind::Program, program, 0)?),
        };
        let handle = object.as_ref().map(|fd| fd.as_raw_fd().to_ne_bytes());
        let bytes = match (value, &handle) {
            (NewValue::Bytes(bytes), _) => &bytes[..],
            (_, Some(handle)) => &handle[..],
            (_, None) => &[],
        };
        self.with_map(map, 0, "write to", |map| map.update(key, bytes, flag as u64))
    }

    fn remove_element(&self, map: &Which, key: &[u8]) -> Result<()> {
        self.with_map(map, 0, "delete from", |map| map.delete(key))
    }

    fn take_element(&self, map: &Which, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.with_map(map, 0, "take from", |map| found(map.take(key)))
    }

    fn freeze(&self, map: &Which) -> Result<()> {
        self.with_map(map, 0, "freeze", |map| map.freeze())
    }

    fn create_map(&self, map: &NewMap, path: &Path) -> Result<()> {
        let inner = map.inner.as_ref().map(|inner| open(ObjectKind::Map, inner, READ_ONLY));
        let inner = inner.transpose()?;
        let attr = MapAttr {
            map_type: map.map_type,
            key_size: map.key_size,
            value_size: map.value_size,
            max_entries: map.max_entries,
            flags: map.flags,
            inner: inner.as_ref().map(AsFd::as_fd),
            name: &map.name,
            ifindex: map.ifindex,
            ..MapAttr::default()
        };
        let create =
            |token: Option<BorrowedFd<'_>>| Map::create(&MapAttr { token, ..attr }, self.cpus());
        let name = &map.name;
        let map = self
            .permitted(create)
            .map_err(|errno| Error::os(format!("create map {name}"), errno))?;
        path_of(path)
            .and_then(|path| object::pin(map.fd(), &path))
            .map_err(|errno| Error::os(format!("pin map {}", path.display()), errno))
    }

    fn pin_object(&self, kind: ObjectKind, which: &Which, path: &Path) -> Result<()> {
        with(kind, which, READ_ONLY, "pin", |fd| object::pin(fd.as_fd(), &path_of(path)?))
    }

    fn is_bpf_file_system(&self, directory: &Path) -> bool {
        path_of(directory).is_ok_and(|directory| sys::mount::is_bpf(&directory))
    }

    fn mount_bpf_file_system(&self, directory: &Path) -> Result<()> {
        path_of(directory).and_then(|directory| sys::mount::mount_bpf(&directory)).map_err(
            |errno| {
                let doing = format!("mount a BPF file system on {}", directory.display());
                Error::os(doing, errno)
            },
        )
    }

    fn detach_link(&self, which: &Which) -> Result<()> {
        with(ObjectKind::Link, which, 0, "detach", |fd| link::detach(fd.as_fd()))
    }

    fn query(&self, hook: &Hook, attach_type: u32, effective: bool) -> Result<Attachments> {
        let open = OpenHook::new(hook)?;
        let target = open.target();
        let flags = if effective { EFFECTIVE } else { 0 };
        let cgroup = matches!(hook, Hook::Cgroup(_));
        let device = matches!(hook, Hook::Device(_));
        let outcome = match hook::query(target, attach_type, flags, cgroup && !effective, device) {
            // An older kernel, which does not know the newer fields.
            Err(libc::E2BIG | libc::EINVAL) => {
                hook::query(target, attach_type, flags, false, false)
            }
            outcome => outcome,
        };
        let query = outcome.map_err(|errno| Error::os("ask what is attached", errno))?;
        let programs = query
            .prog_ids
            .into_iter()
            .zip(query.prog_flags)
            .zip(query.link_ids)
            .map(|((prog_id, flags), link_id)| AttachedProgram { prog_id, flags, link_id })
            .collect();
        Ok(Attachments { flags: query.attach_flags, programs })
    }

    fn attach_to_hook(
        &self,
        program: &Which,
        hook: &Hook,
        attach_type: u32,
        flags: u32,
    ) -> Result<()> {
        let open = OpenHook::new(hook)?;
        with(ObjectKind::Program, program, 0, "attach", |fd| {
            hook::attach(fd.as_fd(), open.target(), attach_type, flags)
        })
    }

    fn detach_from_hook(
        &self,
        program: Option<&Which>,
        hook: &Hook,
        attach_type: u32,
    ) -> Result<()> {
        let open = OpenHook::new(hook)?;
        match program {
            Some(program) => with(ObjectKind::Program, program, 0, "detach", |fd| {
                hook::detach(Some(fd.as_fd()), open.target(), attach_type)
            }),
            None => hook::detach(None, open.target(), attach_type)
                .map_err(|errno| Error::os("detach a program", errno)),
        }
    }

    fn set_xdp(&self, ifindex: u32, program: Option<&Which>, flags: u32) -> Result<()> {
        let doing = || format!("set the XDP program of network device {ifindex}");
        let program = program.map(|program| open(ObjectKind::Program, program, 0)).transpose()?;
        let fd = program.as_ref().map_or(-1, |program| program.as_raw_fd());
        Netlink::open()
            .and_then(|netlink| set_xdp(&netlink, ifindex, fd, flags, None))
            .map_err(|errno| Error::os(doing(), errno))
    }

    fn task_fds(&self) -> Result<Vec<TaskFd>> {
        Ok(procfs::task_fds())
    }

    fn net_devices(&self, ifindex: Option<u32>) -> Result<Vec<NetDevice>> {
        devices::all(ifindex)
    }

    fn run_program(&self, program: &Which, run: &mut TestRun, room: [usize; 2]) -> Result<()> {
        let [mut data, mut ctx] = room.map(|room| vec![0; room]);
        with(ObjectKind::Program, program, 0, "run", |fd| {
            let mut call = prog::Run {
                data: &run.data,
                data_out: &mut data,
                ctx: &mut run.ctx,
                ctx_out: &mut ctx,
                repeat: run.repeat,
                flags: run.flags,
            };
            let (outcome, ran) = prog::prog_run(fd.as_fd(), &mut call);
            outcome?;
            data.truncate(ran.data_size);
            ctx.truncate(ran.ctx_size);
            (run.retval, run.duration) = (ran.retval, ran.duration);
            Ok(())
        })?;
        (run.data, run.ctx) = (data, ctx);
        Ok(())
    }

    fn read_stream(
        &self,
        program: &Which,
        errors: bool,
        each: &mut dyn FnMut(&[u8]),
    ) -> Result<()> {
        let stream = if errors { prog::Stream::Stderr } else { prog::Stream::Stdout };
        with(ObjectKind::Program, program, 0, "read what was printed by", |fd| {
            let mut buffer = [0; 4096];
            loop {
                match prog::stream_read(fd.as_fd(), stream, &mut buffer)? {
                    0 => return Ok(()),
                    read => each(&buffer[..read]),
                }
            }
        })
    }

    fn hold_map(&self, map: &Which) -> Result<MapFd> {
        let fd = open(ObjectKind::Map, map, 0)?;
        maps::open(self, fd, &format!("open {}", describe(ObjectKind::Map, map)))
    }
}

impl Linux {
    /// Opens a map and does something with it.
    fn with_map<T>(
        &self,
        map: &Which,
        flags: u32,
        doing: &str,
        action: impl FnOnce(&Map) -> std::result::Result<T, Errno>,
    ) -> Result<T> {
        let fd = open(ObjectKind::Map, map, flags)?;
        Map::open(fd, self.cpus()).and_then(|map| action(&map)).map_err(|errno| {
            Error::os(format!("{doing} {}", describe(ObjectKind::Map, map)), errno)
        })
    }

    fn cpus(&self) -> usize {
        self.features.possible_cpus as usize
    }
}

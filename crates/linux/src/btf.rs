//! The types of the kernel and of its modules: read once, and only when somebody asks.

use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use bombus_btf::{Btf, Kind};
use bombus_kernel::{BtfFd, Error, ModuleBtf, Result};
use bombus_platform::AttachType;

use crate::Linux;
use crate::caps::Wants;
use crate::error::privileged;
use crate::sys::{self, object};

/// Each tracepoint `X` has a typedef `btf_trace_X` (`include/trace/bpf_probe.h`).
const TRACEPOINT_PREFIX: &str = "btf_trace_";
/// Each security hook `X` has a function `bpf_lsm_X` (`include/linux/bpf_lsm.h`).
const LSM_PREFIX: &str = "bpf_lsm_";
/// Each iterator `X` has a function `bpf_iter_X` (`DEFINE_BPF_ITER_FUNC`).
const ITER_PREFIX: &str = "bpf_iter_";

/// Where the kernel shows its types and those of its modules.
const DIRECTORY: &str = "/sys/kernel/btf";
/// The kernel's own.
const KERNEL: &str = "vmlinux";

/// What has been read.
#[derive(Default)]
pub(crate) struct KernelTypes {
    kernel: OnceCell<Option<Arc<Btf>>>,
    /// A copy of the kernel's own, for who wants to keep it.
    blob: OnceCell<Option<Arc<[u8]>>>,
    modules: OnceCell<Vec<ModuleBtf>>,
}

impl KernelTypes {
    fn kernel(&self) -> Option<&Arc<Btf>> {
        self.kernel.get_or_init(|| kernel().map(Arc::new)).as_ref()
    }

    /// The blob of the kernel proper; `None` when it does not describe its types.
    pub(crate) fn blob(&self) -> Option<Arc<[u8]>> {
        let copy = || self.kernel().map(|types| types.bytes().into());
        self.blob.get_or_init(copy).clone()
    }
}

/// The types of the kernel proper; `None` when it does not describe them.
pub(crate) fn kernel() -> Option<Btf> {
    Btf::parse(KernelBtf::open().ok()?).ok()
}

/// The blob of the kernel's own types. Linux 6.16 lets it be used where it lies, which takes no time
/// and no memory; before that it is read, a page at a time.
pub struct KernelBtf(Bytes);

enum Bytes {
    Mapped(sys::mapping::KernelTypes),
    Read(Vec<u8>),
}

impl KernelBtf {
    /// Where the kernel shows it.
    pub const PATH: &str = "/sys/kernel/btf/vmlinux";

    /// Whether the kernel shows it.
    pub fn exists() -> bool {
        Path::new(KernelBtf::PATH).exists()
    }

    /// Fails as opening and reading the file do.
    pub fn open() -> io::Result<KernelBtf> {
        let mut file = File::open(KernelBtf::PATH)?;
        if let Ok(mapped) = sys::mapping::KernelTypes::new(&file) {
            return Ok(KernelBtf(Bytes::Mapped(mapped)));
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(KernelBtf(Bytes::Read(bytes)))
    }
}

impl AsRef<[u8]> for KernelBtf {
    fn as_ref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Mapped(types) => types.as_ref(),
            Bytes::Read(bytes) => bytes,
        }
    }
}

/// The modules' types, with handles (`BPF_BTF_GET_NEXT_ID`; Linux 5.11). Modules may be unloaded
/// at any time: those that are gone before they could be opened are left out.
pub(crate) fn modules(linux: &Linux) -> Result<&[ModuleBtf]> {
    let cell = &linux.kernel_types.modules;
    if let Some(modules) = cell.get() {
        return Ok(modules);
    }
    let failed = |errno| privileged("look for the types of modules", errno, Wants::Admin);
    let mut modules = Vec::new();
    let mut last = 0;
    while let Some(id) = object::next_id(object::Kind::Btf, last).map_err(failed)? {
        last = id;
        let fd = match object::by_id(object::Kind::Btf, id, 0) {
            Ok(fd) => fd,
            Err(libc::ENOENT) => continue,
            Err(errno) => return Err(failed(errno)),
        };
        let Some(name) = sys::btf::kernel_name(fd.as_fd()).map_err(failed)? else { continue };
        if name == KERNEL {
            continue;
        }
        let btf = sys::btf::blob(fd.as_fd()).map_err(failed)?.into();
        let handle = BtfFd(fd.as_raw_fd() as u32);
        linux.types.borrow_mut().insert(handle, fd);
        modules.push(ModuleBtf { name, btf, fd: handle });
    }
    Ok(cell.get_or_init(|| modules))
}

/// What a program attaches to: the number of its type, and the module that it is in.
pub(crate) struct AttachTarget {
    pub(crate) type_id: u32,
    pub(crate) module: Option<BtfFd>,
}

/// Finds what a program of this attach type attaches to by name; `module:name` if it has to be
/// that module's.
pub(crate) fn attach_target(
    linux: &Linux,
    attach_type: AttachType,
    symbol: &str,
) -> Result<AttachTarget> {
    let (module, plain) = match symbol.split_once(':') {
        Some((module, plain)) => (Some(module), plain),
        None => (None, symbol),
    };
    let (kind, prefix, what) = match attach_type {
        AttachType::TraceRawTp => (Kind::Typedef, TRACEPOINT_PREFIX, "tracepoint"),
        AttachType::LsmMac | AttachType::LsmCgroup => (Kind::Func, LSM_PREFIX, "security hook"),
        AttachType::TraceIter => (Kind::Func, ITER_PREFIX, "iterator"),
        _ => (Kind::Func, "", "function"),
    };
    let name = format!("{prefix}{plain}");
    let kernel = linux.kernel_types.kernel().ok_or_else(|| Error::Unsupported {
        what: format!(
            "{plain} cannot be found by its type: this kernel does not describe its types"
        ),
        help: Some("it was built without CONFIG_DEBUG_INFO_BTF".into()),
    })?;
    if module.is_none_or(|module| module == KERNEL)
        && let Some(id) = kernel.find(kind, &name)
    {
        return Ok(AttachTarget { type_id: id.0, module: None });
    }
    // Who may not ask for modules finds nothing in them.
    for each in modules(linux).unwrap_or_default() {
        if module.is_some_and(|module| module != each.name) {
            continue;
        }
        let types = Btf::parse_split(Arc::clone(&each.btf), Arc::clone(kernel));
        let id = types.ok().and_then(|types| {
            // The kernel's own come first, and are not what was asked for.
            types.find(kind, &name).filter(|id| *id >= types.first_id())
        });
        if let Some(id) = id {
            return Ok(AttachTarget { type_id: id.0, module: Some(each.fd) });
        }
    }
    let version = linux.features.version;
    Err(Error::Unsupported {
        what: match what {
            "function" => format!("this kernel has no function {plain} to attach to"),
            what => format!("this kernel has no {what} {plain}"),
        },
        help: Some(format!("Linux {}.{}", version.major, version.minor)),
    })
}

/// The number of a function in the types of a loaded program.
pub(crate) fn function_of(
    program: BorrowedFd<'_>,
    program_name: &str,
    function: &str,
) -> Result<u32> {
    let doing = || format!("find function {function} of program {program_name}");
    let failed = |errno| privileged(doing(), errno, Wants::Admin);
    let btf_id = object::program(program).map_err(failed)?.btf_id;
    if btf_id == 0 {
        return Err(Error::Unsupported {
            what: format!("could not {}: it was loaded without types", doing()),
            help: None,
        });
    }
    let blob =
        object::by_id(object::Kind::Btf, btf_id, 0).and_then(|btf| sys::btf::blob(btf.as_fd()));
    let types = Btf::parse(blob.map_err(failed)?).map_err(|_| failed(libc::EINVAL))?;
    types.find(Kind::Func, function).map(|id| id.0).ok_or_else(|| Error::Os {
        doing: doing(),
        errno: libc::ENOENT,
        help: None,
    })
}

/// The names of all tracepoints of the kernel and of the modules that are loaded, unsorted.
pub(crate) fn tracepoints(kernel: Btf) -> Vec<String> {
    let mut names = Vec::new();
    add_tracepoints(&kernel, &mut names);
    let kernel = Arc::new(kernel);
    for entry in std::fs::read_dir(DIRECTORY).into_iter().flatten().flatten() {
        let Ok(module) = std::fs::read(entry.path()) else { continue };
        if entry.file_name() != KERNEL
            && let Ok(module) = Btf::parse_split(module, Arc::clone(&kernel))
        {
            add_tracepoints(&module, &mut names);
        }
    }
    names
}

fn add_tracepoints(types: &Btf, names: &mut Vec<String>) {
    for id in types.ids().filter(|&id| types.kind(id) == Some(Kind::Typedef)) {
        names.extend(types.name(id).strip_prefix(TRACEPOINT_PREFIX).map(str::to_owned));
    }
}

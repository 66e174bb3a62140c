//! Making maps, and taking hold of those that others made.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use bombus_kernel::{BtfFd, Error, Feature, Kernel, MapFd, MapTypes, Result};
use bombus_platform::MapType;
use bombus_spec::{MapRole, MapSpec};

use super::{OpenMap, get};
use crate::Linux;
use crate::caps::Wants;
use crate::error::privileged;
use crate::sys::map::{Map, MapAttr};
use crate::sys::{Errno, object};

/// `BPF_F_NUMA_NODE`.
const NUMA_NODE: u32 = 1 << 2;
/// `BPF_F_MMAPABLE`.
const MMAPABLE: u32 = 1 << 10;

/// Types of maps whose keys and values the kernel does not want described.
const UNTYPED: &[MapType] = &[
    MapType::PerfEventArray,
    MapType::CgroupArray,
    MapType::StackTrace,
    MapType::ArrayOfMaps,
    MapType::HashOfMaps,
    MapType::Devmap,
    MapType::DevmapHash,
    MapType::Cpumap,
    MapType::Xskmap,
    MapType::Sockmap,
    MapType::Sockhash,
];

/// `BPF_MAP_CREATE`. What a kernel lacks and a map can do without is left out, as libbpf does: the
/// types of key and value, and the mapping of global variables.
pub(crate) fn create(linux: &Linux, spec: &MapSpec, types: MapTypes) -> Result<MapFd> {
    let doing = || format!("create map {}", spec.name);
    let inner = types.inner.map(|inner| get(linux, inner)).transpose()?;
    let open_types = linux.types.borrow();
    let fd_of = |btf: Option<BtfFd>| match btf {
        None => Ok(None),
        Some(btf) => match open_types.get(&btf) {
            Some(fd) => Ok(Some(fd.as_fd())),
            None => Err(Error::os(doing(), libc::EBADF)),
        },
    };
    let mut flags = spec.flags;
    let of_variables = matches!(spec.role, MapRole::Data { .. } | MapRole::Kconfig);
    if of_variables && flags & MMAPABLE != 0 && !linux.supports(Feature::MmapableArrays) {
        flags &= !MMAPABLE;
    }
    if spec.numa_node.is_some() {
        flags |= NUMA_NODE;
    }
    let described = spec.key_type != 0 || spec.value_type != 0;
    let typed = described && !UNTYPED.contains(&spec.map_type);
    let attr = MapAttr {
        name: &spec.name,
        map_type: spec.map_type as u32,
        key_size: spec.key_size,
        value_size: spec.value_size,
        max_entries: spec.max_entries,
        flags,
        numa_node: spec.numa_node.unwrap_or(0),
        inner: inner.as_ref().map(|inner| inner.fd()),
        btf: if typed || types.kernel_value_type != 0 { fd_of(types.btf)? } else { None },
        key_type: if typed { spec.key_type } else { 0 },
        value_type: if typed { spec.value_type } else { 0 },
        kernel_value_type: types.kernel_value_type,
        module: fd_of(types.module)?,
        extra: spec.extra,
        ifindex: 0,
        token: None,
    };
    let cpus = linux.features.possible_cpus as usize;
    let create = |attr: &MapAttr<'_>| {
        linux.permitted(|token: Option<BorrowedFd<'_>>| {
            Map::create(&MapAttr { token, ..*attr }, cpus)
        })
    };
    let map = match create(&attr) {
        Err(errno) if typed && types.kernel_value_type == 0 => {
            create(&MapAttr { btf: None, key_type: 0, value_type: 0, ..attr }).map_err(|_| errno)
        }
        outcome => outcome,
    };
    let map = map.map_err(|errno| refused(spec, doing(), errno))?;
    Ok(register(linux, spec.name.clone(), spec.map_type, map))
}

fn refused(spec: &MapSpec, doing: String, errno: Errno) -> Error {
    match errno {
        libc::EINVAL => Error::Os {
            doing,
            errno,
            help: Some(format!(
                "a {} with keys of {} and values of {} bytes, {} entries, flags {:#x}",
                spec.map_type.name(),
                spec.key_size,
                spec.value_size,
                spec.max_entries,
                spec.flags,
            )),
        },
        libc::ENOMEM | libc::E2BIG => {
            Error::Os { doing, errno, help: Some("fewer entries need less memory".into()) }
        }
        errno => privileged(doing, errno, wanted(spec.map_type)),
    }
}

/// Maps of devices and of sockets are for who administers the network
/// (`map_create`, `kernel/bpf/syscall.c`).
fn wanted(map_type: MapType) -> Wants {
    match map_type {
        MapType::Sockmap
        | MapType::Sockhash
        | MapType::Devmap
        | MapType::DevmapHash
        | MapType::Xskmap => Wants::Network,
        _ => Wants::Bpf,
    }
}

fn register(linux: &Linux, name: String, map_type: MapType, map: Map) -> MapFd {
    let fd = MapFd(map.raw());
    let open = OpenMap { name, map_type, map, shared: Default::default() };
    linux.maps.borrow_mut().insert(fd, Rc::new(open));
    fd
}

/// A map that somebody else has made.
pub(crate) fn open(linux: &Linux, fd: OwnedFd, doing: &str) -> Result<MapFd> {
    let failed = |errno| privileged(doing, errno, Wants::Bpf);
    let facts = object::map(fd.as_fd()).map_err(failed)?;
    let map_type = MapType::from_number(facts.map_type).ok_or_else(|| Error::Unsupported {
        what: format!("could not {doing}: maps of type {} are not known", facts.map_type),
        help: None,
    })?;
    let map = Map::open(fd, linux.features.possible_cpus as usize).map_err(failed)?;
    Ok(register(linux, facts.name, map_type, map))
}

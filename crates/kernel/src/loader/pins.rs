//! Maps that are shared with others: by their name in a BPF file system, or by handle.

use std::path::Path;

use bombus_platform::MapType;
use bombus_spec::MapSpec;

use crate::{Error, Kernel, MapFd, Object, Result};

const ENOENT: i32 = 2;
/// `BPF_F_RDONLY_PROG`, which device maps report whether they were made with it or not.
const RDONLY_PROG: u32 = 1 << 7;

/// The map that is pinned there, if there is one. It has to be like `spec`.
pub(super) fn find(kernel: &dyn Kernel, spec: &MapSpec, path: &Path) -> Result<Option<MapFd>> {
    let map = match kernel.pinned_map(path) {
        Err(error) if error.errno() == Some(ENOENT) => return Ok(None),
        map => map?,
    };
    match check_same(kernel, spec, map, || format!("the map pinned at {}", path.display())) {
        Ok(()) => Ok(Some(map)),
        Err(error) => {
            let _ = kernel.close(Object::Map(map));
            Err(error)
        }
    }
}

/// An error unless the map is like `spec` in all that programs depend on; it says what differs.
pub(super) fn check_same(
    kernel: &dyn Kernel,
    spec: &MapSpec,
    map: MapFd,
    which: impl Fn() -> String,
) -> Result<()> {
    let there = kernel.map_spec(map)?;
    let flags = match spec.map_type {
        MapType::Devmap | MapType::DevmapHash => there.flags & !RDONLY_PROG,
        _ => there.flags,
    };
    let mut different = Vec::new();
    if there.map_type != spec.map_type {
        different.push(format!("type {} and not {}", there.map_type.name(), spec.map_type.name()));
    }
    let numbers = [
        ("key size", u64::from(there.key_size), u64::from(spec.key_size)),
        ("value size", u64::from(there.value_size), u64::from(spec.value_size)),
        ("max_entries", u64::from(there.max_entries), u64::from(spec.max_entries)),
        ("flags", u64::from(flags), u64::from(spec.flags)),
        ("map_extra", there.extra, spec.extra),
    ];
    for (what, there, wanted) in numbers {
        if there != wanted {
            different.push(format!("{what} {there} and not {wanted}"));
        }
    }
    if different.is_empty() {
        return Ok(());
    }
    Err(Error::Invalid {
        what: format!("{} is not like map {}: it has {}", which(), spec.name, different.join(", ")),
        help: Some("use the same definition, or another place for pins".into()),
    })
}

//! Maps.

mod batch;
mod create;
mod shared;

use std::rc::Rc;

use bombus_kernel::{Error, MapFd, Result, UpdateFlag};
use bombus_platform::MapType;
use bombus_spec::MapSpec;

pub(crate) use self::create::{create, open};
use crate::Linux;
use crate::sys::map::Map;
use crate::sys::object;

/// A map that is open here.
pub(crate) struct OpenMap {
    name: String,
    map_type: MapType,
    map: Map,
    shared: shared::Shared,
}

/// The open map with this handle.
pub(crate) fn get(linux: &Linux, map: MapFd) -> Result<Rc<OpenMap>> {
    let maps = linux.maps.borrow();
    maps.get(&map).cloned().ok_or_else(|| Error::os(format!("use map {}", map.0), libc::EBADF))
}

/// Keys with their values.
pub(crate) type Elements = Vec<(Vec<u8>, Vec<u8>)>;

impl OpenMap {
    fn error(&self, doing: &str, errno: i32) -> Error {
        Error::os(format!("{doing} map {}", self.name), errno)
    }

    pub(crate) fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.map.fd()
    }

    /// The number of its descriptor.
    pub(crate) fn raw(&self) -> u32 {
        self.map.raw()
    }

    pub(crate) fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.map.lookup(key) {
            Ok(value) => Ok(Some(value)),
            Err(libc::ENOENT) => Ok(None),
            Err(errno) => Err(self.error("read", errno)),
        }
    }

    pub(crate) fn update(&self, key: &[u8], value: &[u8], flag: UpdateFlag) -> Result<()> {
        self.map.update(key, value, flag as u64).map_err(|errno| self.error("write to", errno))
    }

    pub(crate) fn delete(&self, key: &[u8]) -> Result<bool> {
        match self.map.delete(key) {
            Ok(()) => Ok(true),
            Err(libc::ENOENT) => Ok(false),
            Err(errno) => Err(self.error("delete from", errno)),
        }
    }

    pub(crate) fn next_key(&self, key: Option<&[u8]>) -> Result<Option<Vec<u8>>> {
        match self.map.next_key(key) {
            Ok(next) => Ok(Some(next)),
            Err(libc::ENOENT) => Ok(None),
            Err(errno) => Err(self.error("read keys of", errno)),
        }
    }

    /// Takes an element out.
    pub(crate) fn take(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.map.take(key) {
            Ok(value) => Ok(Some(value)),
            Err(libc::ENOENT) => Ok(None),
            Err(errno) => Err(self.error("take from", errno)),
        }
    }

    /// `BPF_MAP_FREEZE`.
    pub(crate) fn freeze(&self) -> Result<()> {
        self.map.freeze().map_err(|errno| match errno {
            libc::EBUSY => Error::Os {
                doing: format!("freeze map {}", self.name),
                errno,
                help: Some("it is frozen, or mapped to be written to".into()),
            },
            errno => self.error("freeze", errno),
        })
    }

    fn facts(&self) -> Result<object::MapFacts> {
        object::map(self.map.fd()).map_err(|errno| self.error("ask about", errno))
    }

    /// The kernel's id of it.
    pub(crate) fn id(&self) -> Result<u32> {
        Ok(self.facts()?.id)
    }

    /// What it is, as the kernel has it.
    pub(crate) fn spec(&self) -> Result<MapSpec> {
        let facts = self.facts()?;
        Ok(MapSpec {
            name: facts.name,
            map_type: self.map_type,
            key_size: facts.key_size,
            value_size: facts.value_size,
            max_entries: facts.max_entries,
            flags: facts.flags,
            extra: facts.extra,
            ..MapSpec::default()
        })
    }
}

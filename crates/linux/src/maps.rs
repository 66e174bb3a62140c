//! Maps, and the reading side of ring buffers.

use std::cell::OnceCell;
use std::rc::Rc;

use bombus_kernel::{Error, MapFd, Result, UpdateFlag};
use bombus_platform::MapType;
use bombus_spec::MapSpec;

use crate::Linux;
use crate::caps::Wants;
use crate::error::privileged;
use crate::sys::Errno;
use crate::sys::map::{Map, MapAttr};
use crate::sys::mapping::RingBuffer;

/// A map that is open here.
pub(crate) struct OpenMap {
    name: String,
    map_type: MapType,
    map: Map,
    /// The user's side of a ring buffer, mapped when it is first read.
    ring: OnceCell<RingBuffer>,
}

/// `BPF_MAP_CREATE`.
pub(crate) fn create(linux: &Linux, spec: &MapSpec) -> Result<MapFd> {
    let attr = MapAttr {
        name: &spec.name,
        map_type: spec.map_type as u32,
        key_size: spec.key_size,
        value_size: spec.value_size,
        max_entries: spec.max_entries,
        flags: spec.flags,
    };
    let values = if spec.map_type.is_per_cpu() { linux.features.possible_cpus as usize } else { 1 };
    let map = match Map::create(&attr, values) {
        Err(libc::EPERM) if linux.lift_memlock_limit() => Map::create(&attr, values),
        outcome => outcome,
    };
    let map = map.map_err(|errno| {
        let doing = format!("create map {}", spec.name);
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
            errno => privileged(doing, errno, Wants::Bpf),
        }
    })?;
    let fd = MapFd(map.raw());
    let open =
        OpenMap { name: spec.name.clone(), map_type: spec.map_type, map, ring: OnceCell::new() };
    linux.maps.borrow_mut().insert(fd, Rc::new(open));
    Ok(fd)
}

/// The open map with this handle.
pub(crate) fn get(linux: &Linux, map: MapFd) -> Result<Rc<OpenMap>> {
    let maps = linux.maps.borrow();
    maps.get(&map).cloned().ok_or_else(|| Error::os(format!("use map {}", map.0), libc::EBADF))
}

/// Keys with their values.
pub(crate) type Elements = Vec<(Vec<u8>, Vec<u8>)>;

/// Room for keys or values of one batch, in bytes.
const BATCH_BYTES: usize = 256 << 10;

impl OpenMap {
    fn error(&self, doing: &str, errno: i32) -> Error {
        Error::os(format!("{doing} map {}", self.name), errno)
    }

    pub(crate) fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.map.fd()
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

    /// All elements: in batches (Linux 5.6) where the type has them, otherwise one by one.
    pub(crate) fn elements(&self) -> Result<Elements> {
        match self.elements_in_batches() {
            Ok(elements) => Ok(elements),
            // No such command, or not for this type. (ENOTSUPP is the kernel's own number.)
            Err(libc::EINVAL | libc::EOPNOTSUPP | 524) => self.elements_one_by_one(),
            Err(errno) => Err(self.error("read", errno)),
        }
    }

    fn elements_in_batches(&self) -> std::result::Result<Elements, Errno> {
        let (key_size, value_len) = (self.map.key_size().max(1), self.map.value_len().max(1));
        let fitting = BATCH_BYTES / key_size.max(value_len);
        let mut room = fitting.clamp(1, self.map.max_entries().max(1) as usize);
        let mut elements = Vec::new();
        let (mut position, mut first) = (Vec::new(), true);
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        loop {
            keys.resize(room * key_size, 0);
            values.resize(room * value_len, 0);
            let before = position.clone();
            match self.map.lookup_batch(&mut position, first, &mut keys, &mut values) {
                Ok(found) => {
                    let keys = keys.chunks_exact(key_size);
                    let values = values.chunks_exact(value_len);
                    let pairs = keys.zip(values).take(found.count);
                    elements.extend(pairs.map(|(key, value)| (key.to_vec(), value.to_vec())));
                    if found.end {
                        return Ok(elements);
                    }
                    first = false;
                }
                // A hash table's bucket is given whole or not at all.
                Err(libc::ENOSPC) if room < self.map.max_entries() as usize => {
                    position = before;
                    room *= 2;
                }
                Err(errno) => return Err(errno),
            }
        }
    }

    fn elements_one_by_one(&self) -> Result<Elements> {
        let mut elements = Vec::new();
        let mut key = self.next_key(None)?;
        while let Some(current) = key {
            key = self.next_key(Some(&current))?;
            if let Some(value) = self.lookup(&current)? {
                elements.push((current, value));
            }
            // A key that was deleted meanwhile makes the kernel start again from the first.
            if elements.len() > self.map.max_entries() as usize {
                break;
            }
        }
        Ok(elements)
    }

    /// Gives every record that is ready to `each`, where it lies in the ring buffer.
    pub(crate) fn consume(&self, each: &mut dyn FnMut(&[u8])) -> Result<usize> {
        if self.map_type != MapType::Ringbuf {
            return Err(self.error("read records of", libc::EINVAL));
        }
        let ring = match self.ring.get() {
            Some(ring) => ring,
            None => {
                let ring = RingBuffer::new(self.map.fd(), self.map.max_entries())
                    .map_err(|errno| self.error("map the memory of", errno))?;
                self.ring.get_or_init(|| ring)
            }
        };
        Ok(ring.consume(each))
    }
}

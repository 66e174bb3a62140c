//! Maps, and typed views of them.
//!
//! A view knows the types of a map's keys and values: any that are plain bytes ([`zerocopy`]). It
//! is checked against the map once, when it is made.

mod array;
mod buffer;
mod hash;
mod nested;
mod queue;
mod sockets;
mod trie;

use std::borrow::Cow;
use std::fmt;
use std::path::Path;

use bombus_kernel::{Kernel, MapFd, MapMemory, Object};
use bombus_platform::MapType;
use bombus_spec::MapSpec;
use zerocopy::{FromBytes, Immutable, IntoBytes};

pub use array::{Array, PerCpuArray};
pub use buffer::{PerfBuffer, RingBuf, UserRingBuf, Watched};
pub use hash::{HashMap, PerCpuHashMap};
pub use nested::{MapOfMaps, ProgArray};
pub use queue::{BloomFilter, Queue, Stack};
pub use sockets::SocketMap;
pub use trie::{LpmTrie, Prefix};

use crate::{Error, Host, Result};

/// What keys and values can be: plain bytes, as C has them. Derive [`FromBytes`], [`IntoBytes`] and
/// [`Immutable`] for a `#[repr(C)]` structure.
pub trait Plain: FromBytes + IntoBytes + Immutable {}

impl<T: FromBytes + IntoBytes + Immutable> Plain for T {}

/// A typed way to look at a map.
pub trait View<'l>: Sized {
    /// The view of a map. Fails when the map is of another type, or its keys or values of another
    /// size.
    fn of(map: Map<'l>) -> Result<Self>;
}

/// A map: what there is to say of any of them, and bytes in and out.
pub struct Map<'l> {
    kernel: &'l dyn Host,
    fd: MapFd,
    spec: Cow<'l, MapSpec>,
    /// It is let go of when this is dropped.
    owned: bool,
}

impl<'l> Map<'l> {
    pub(crate) fn borrowed(kernel: &'l dyn Host, fd: MapFd, spec: &'l MapSpec) -> Map<'l> {
        Map { kernel, fd, spec: Cow::Borrowed(spec), owned: false }
    }

    /// Creates a map that belongs to no object.
    pub fn create(kernel: &'l dyn Host, spec: MapSpec) -> Result<Map<'l>> {
        let fd = kernel.map_create(&spec)?;
        Ok(Map { kernel, fd, spec: Cow::Owned(spec), owned: true })
    }

    /// Opens a map that is pinned there.
    pub fn pinned(kernel: &'l dyn Host, path: impl AsRef<Path>) -> Result<Map<'l>> {
        let fd = kernel.pinned_map(path.as_ref())?;
        let spec = match kernel.map_spec(fd) {
            Ok(spec) => spec,
            Err(error) => {
                // The first error is the one to hear of.
                drop(kernel.close(Object::Map(fd)));
                return Err(error.into());
            }
        };
        Ok(Map { kernel, fd, spec: Cow::Owned(spec), owned: true })
    }

    /// Its handle, for the commands of [`bombus_kernel::Kernel`].
    pub fn fd(&self) -> MapFd {
        self.fd
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// What it is.
    pub fn spec(&self) -> &MapSpec {
        &self.spec
    }

    /// The kernel that it is in.
    pub fn kernel(&self) -> &'l dyn Host {
        self.kernel
    }

    /// A typed view of it.
    pub fn view<V: View<'l>>(self) -> Result<V> {
        V::of(self)
    }

    /// Gives it a name in a BPF file system; it lives on until that is removed.
    pub fn pin(&self, path: impl AsRef<Path>) -> Result<()> {
        Ok(self.kernel.pin(Object::Map(self.fd), path.as_ref())?)
    }

    /// From now on only programs may write to it.
    pub fn freeze(&self) -> Result<()> {
        Ok(self.kernel.map_freeze(self.fd)?)
    }

    /// The values of an array with `BPF_F_MMAPABLE`, or an arena, as memory shared with programs.
    pub fn memory(&self) -> Result<Box<dyn MapMemory>> {
        Ok(self.kernel.map_mmap(self.fd)?)
    }

    /// All elements: key, value, as bytes.
    pub fn elements(&self) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        Ok(self.kernel.map_elements(self.fd)?)
    }

    /// An error unless the map is of one of these types, and its keys and values of these sizes.
    fn check(&self, types: &[MapType], key: Option<usize>, value: Option<usize>) -> Result<()> {
        let spec = &self.spec;
        if !types.contains(&spec.map_type) {
            return Err(Error::mismatch(format!(
                "map {} is of type {}, which this view is not for",
                spec.name,
                spec.map_type.name()
            )));
        }
        for (what, has, wanted) in
            [("keys", spec.key_size, key), ("values", spec.value_size, value)]
        {
            if let Some(wanted) = wanted.filter(|&wanted| wanted != has as usize) {
                return Err(Error::mismatch(format!(
                    "the {what} of map {} have {has} bytes, not {wanted}",
                    spec.name
                )));
            }
        }
        Ok(())
    }

    fn lookup<V: Plain>(&self, key: &[u8]) -> Result<Option<V>> {
        let value = self.kernel.map_lookup(self.fd, key)?;
        value.map(|bytes| self.decode(&bytes)).transpose()
    }

    /// Key or value from its bytes.
    fn decode<T: Plain>(&self, bytes: &[u8]) -> Result<T> {
        T::read_from_bytes(bytes).map_err(|_| {
            Error::mismatch(format!(
                "map {} gave {} bytes, not {}",
                self.spec.name,
                bytes.len(),
                size_of::<T>()
            ))
        })
    }

    /// Every CPU's value: each is rounded up to 8 bytes.
    fn decode_per_cpu<V: Plain>(&self, bytes: &[u8]) -> Result<Vec<V>> {
        let stride = size_of::<V>().next_multiple_of(8).max(8);
        let one = |bytes: &[u8]| self.decode(&bytes[..size_of::<V>().min(bytes.len())]);
        bytes.chunks(stride).map(one).collect()
    }

    /// The bytes of every CPU's value.
    fn encode_per_cpu<V: Plain>(&self, values: &[V]) -> Result<Vec<u8>> {
        let cpus = self.kernel.features().possible_cpus as usize;
        if values.len() != cpus {
            return Err(Error::mismatch(format!(
                "map {} has a value for each of {cpus} CPUs, not {}",
                self.spec.name,
                values.len()
            )));
        }
        let stride = size_of::<V>().next_multiple_of(8);
        let mut bytes = Vec::with_capacity(stride * cpus);
        for value in values {
            bytes.extend_from_slice(value.as_bytes());
            bytes.resize(bytes.len().next_multiple_of(8), 0);
        }
        Ok(bytes)
    }
}

impl<'l> View<'l> for Map<'l> {
    fn of(map: Map<'l>) -> Result<Map<'l>> {
        Ok(map)
    }
}

impl Drop for Map<'_> {
    fn drop(&mut self) {
        if self.owned {
            // What cannot be closed is closed with the kernel.
            drop(Kernel::close(self.kernel, Object::Map(self.fd)));
        }
    }
}

impl fmt::Debug for Map<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Map({}, {})", self.spec.name, self.fd.0)
    }
}

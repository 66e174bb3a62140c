//! Maps of sockets, whose packets and messages programs pass on.

use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd};

use bombus_kernel::UpdateFlag;
use bombus_platform::MapType;

use super::{Map, Plain, View};
use crate::Result;

/// `BPF_MAP_TYPE_SOCKMAP`, whose keys are `u32`, and `BPF_MAP_TYPE_SOCKHASH`. Programs attach to it
/// by [`crate::AttachPoint::Sockmap`].
#[derive(Debug)]
pub struct SocketMap<'l, K> {
    map: Map<'l>,
    types: PhantomData<fn(K)>,
}

impl<'l, K: Plain> View<'l> for SocketMap<'l, K> {
    fn of(map: Map<'l>) -> Result<Self> {
        map.check(&[MapType::Sockmap, MapType::Sockhash], Some(size_of::<K>()), None)?;
        Ok(SocketMap { map, types: PhantomData })
    }
}

impl<K: Plain> SocketMap<'_, K> {
    /// Stores a socket. It leaves the map when it is closed.
    pub fn insert(&self, key: &K, socket: impl AsFd) -> Result<()> {
        let descriptor = socket.as_fd().as_raw_fd();
        let mut value = descriptor.to_ne_bytes().to_vec();
        // Some are made with values of 8 bytes, to hold a cookie.
        if self.map.spec.value_size == 8 {
            value = i64::from(descriptor).to_ne_bytes().to_vec();
        }
        Ok(self.map.kernel.map_update(self.map.fd, key.as_bytes(), &value, UpdateFlag::Any)?)
    }

    /// Removes a socket; whether there was one.
    pub fn remove(&self, key: &K) -> Result<bool> {
        const EINVAL: i32 = 22;
        match self.map.kernel.map_delete(self.map.fd, key.as_bytes()) {
            // What the kernel says of a place in the array that is empty.
            Err(error) if self.map.spec.map_type == MapType::Sockmap => match error.errno() {
                Some(EINVAL) => Ok(false),
                _ => Err(error.into()),
            },
            removed => Ok(removed?),
        }
    }

    /// The map behind the view.
    pub fn map(&self) -> &Map<'_> {
        &self.map
    }
}

//! Streams of records between programs and user space.

use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use bombus_kernel::{PerfRecord, Wake};
use bombus_platform::MapType;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{Map, View};
use crate::Result;

/// `BPF_MAP_TYPE_RINGBUF`: records that programs send, in order.
///
/// ```no_run
/// # use std::time::Duration;
/// # use bombus::{Error, Linux, Object, RingBuf};
/// # fn main() -> Result<(), Error> {
/// let kernel = Linux::new()?;
/// let loaded = Object::open("tcp_logger.bpf.o")?.load(&kernel)?;
/// let _link = loaded.attach_all()?;
/// let events: RingBuf = loaded.map("events")?;
/// while events.wait(Duration::from_secs(1))? {
///     events.consume(|record| println!("{} bytes", record.len()))?;
/// }
/// # Ok(())
/// # }
/// ```
///
/// To wait for it among other things, [`RingBuf::watched`] gives it a descriptor: for `poll(2)`, or
/// for an asynchronous runtime (`tokio::io::unix::AsyncFd::new(events.watched()?)`).
#[derive(Debug)]
pub struct RingBuf<'l> {
    map: Map<'l>,
}

impl<'l> View<'l> for RingBuf<'l> {
    fn of(map: Map<'l>) -> Result<Self> {
        map.check(&[MapType::Ringbuf], None, None)?;
        Ok(RingBuf { map })
    }
}

impl<'l> RingBuf<'l> {
    /// Takes every record that is there. Gives how many there were.
    pub fn consume(&self, mut each: impl FnMut(&[u8])) -> Result<usize> {
        Ok(self.map.kernel.ringbuf_consume(self.map.fd, &mut each)?)
    }

    /// Takes every record that is there as a `T`. Records of another size (shorter, or longer) are
    /// given to nobody and counted: the first number is how many were given, the second how many
    /// were not.
    pub fn consume_as<T: FromBytes + KnownLayout + Immutable>(
        &self,
        mut each: impl FnMut(T),
    ) -> Result<(usize, usize)> {
        let (mut given, mut others) = (0, 0);
        self.consume(|record| match T::read_from_bytes(record) {
            Ok(record) => {
                given += 1;
                each(record);
            }
            Err(_) => others += 1,
        })?;
        Ok((given, others))
    }

    /// Waits until there may be records; false when the time is over or a signal came. On the
    /// embedded kernel the traced processes make progress only meanwhile.
    pub fn wait(&self, time: Duration) -> Result<bool> {
        let wake = self.map.kernel.wait(&[self.map.fd], Instant::now().checked_add(time))?;
        Ok(wake == Wake::Records)
    }

    /// The same with a descriptor that becomes readable when there are records.
    pub fn watched(self) -> Result<Watched<'l>> {
        let descriptor = self.map.kernel.records_ready(self.map.fd)?;
        Ok(Watched { ring: self, descriptor })
    }

    /// The map behind the view.
    pub fn map(&self) -> &Map<'l> {
        &self.map
    }
}

/// A ring buffer with a descriptor to wait for.
#[derive(Debug)]
pub struct Watched<'l> {
    ring: RingBuf<'l>,
    descriptor: OwnedFd,
}

impl<'l> Deref for Watched<'l> {
    type Target = RingBuf<'l>;

    fn deref(&self) -> &RingBuf<'l> {
        &self.ring
    }
}

impl AsFd for Watched<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl AsRawFd for Watched<'_> {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

/// `BPF_MAP_TYPE_PERF_EVENT_ARRAY`: records that programs send, by CPU.
#[derive(Debug)]
pub struct PerfBuffer<'l> {
    map: Map<'l>,
}

impl<'l> View<'l> for PerfBuffer<'l> {
    fn of(map: Map<'l>) -> Result<Self> {
        map.check(&[MapType::PerfEventArray], None, None)?;
        Ok(PerfBuffer { map })
    }
}

impl PerfBuffer<'_> {
    /// Takes every record that is there, and hears how many were lost. The first call opens the
    /// buffers; before it, everything is lost.
    pub fn consume(&self, mut each: impl FnMut(PerfRecord<'_>)) -> Result<usize> {
        Ok(self.map.kernel.perf_buffer_consume(self.map.fd, &mut each)?)
    }

    /// Waits until there may be records; false when the time is over or a signal came.
    pub fn wait(&self, time: Duration) -> Result<bool> {
        let wake = self.map.kernel.wait(&[self.map.fd], Instant::now().checked_add(time))?;
        Ok(wake == Wake::Records)
    }

    /// A descriptor that becomes readable when there are records.
    pub fn ready(&self) -> Result<OwnedFd> {
        Ok(self.map.kernel.records_ready(self.map.fd)?)
    }

    /// The map behind the view.
    pub fn map(&self) -> &Map<'_> {
        &self.map
    }
}

/// `BPF_MAP_TYPE_USER_RINGBUF`: records for programs.
#[derive(Debug)]
pub struct UserRingBuf<'l> {
    map: Map<'l>,
}

impl<'l> View<'l> for UserRingBuf<'l> {
    fn of(map: Map<'l>) -> Result<Self> {
        map.check(&[MapType::UserRingbuf], None, None)?;
        Ok(UserRingBuf { map })
    }
}

impl UserRingBuf<'_> {
    /// Adds a record. Fails with `ENOSPC` when there is no room.
    pub fn submit<T: IntoBytes + Immutable + ?Sized>(&self, record: &T) -> Result<()> {
        Ok(self.map.kernel.user_ringbuf_submit(self.map.fd, record.as_bytes())?)
    }

    /// The map behind the view.
    pub fn map(&self) -> &Map<'_> {
        &self.map
    }
}

//! What programs send by a map of perf events, as `map event_pipe` shows it.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use bombus_kernel::inspect::{ObjectKind, Which};
use bombus_kernel::{Error, Result};

use super::{describe, open};
use crate::caps::Wants;
use crate::error::privileged;
use crate::sys::map::Map;
use crate::sys::perf_ring::PerfRing;
use crate::sys::poll::Epoll;
use crate::sys::{Errno, perf};
use crate::{Linux, features};

/// Pages of each CPU's buffer, as many as bpftool has.
const PAGES: usize = 16;

/// One CPU's events in one element of the map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// The CPU.
    pub cpu: u32,
    /// The element.
    pub index: u32,
}

/// What came out of an [`EventPipe`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event<'a> {
    /// What a program sent, rounded up by the kernel; nanoseconds of the kernel's clock.
    Sample {
        /// When.
        time: u64,
        /// What.
        data: &'a [u8],
    },
    /// So many there was no room for.
    Lost {
        /// The perf event.
        id: u64,
        /// How many.
        count: u64,
    },
    /// Something else: `enum perf_event_type`, bytes.
    Other {
        /// Its type.
        kind: u32,
        /// Bytes with its header.
        size: u32,
    },
}

impl Event<'_> {
    /// `enum perf_event_type`.
    pub fn kind(&self) -> u32 {
        match self {
            Event::Sample { .. } => perf::RECORD_SAMPLE,
            Event::Lost { .. } => perf::RECORD_LOST,
            Event::Other { kind, .. } => *kind,
        }
    }
}

/// The reader's side of a map of perf events. As long as it is there, the elements that it reads
/// are its own.
pub struct EventPipe {
    /// What is put into a map of perf events is taken out when that descriptor is closed.
    _map: Map,
    rings: Vec<(Place, OwnedFd, PerfRing)>,
    epoll: Epoll,
}

impl EventPipe {
    /// Puts events of its own into the map: for every CPU that is online, or for one place.
    pub fn new(linux: &Linux, map: &Which, place: Option<Place>) -> Result<EventPipe> {
        let fd = open(ObjectKind::Map, map, 0)?;
        let made = Map::open(fd, linux.cpus()).and_then(|map| EventPipe::fill(map, place));
        made.map_err(|errno| {
            let doing = format!("open the buffers of {}", describe(ObjectKind::Map, map));
            privileged(doing, errno, Wants::Tracing)
        })
    }

    fn fill(map: Map, place: Option<Place>) -> std::result::Result<EventPipe, Errno> {
        let places = match place {
            Some(place) => vec![place],
            None => {
                let cpus = features::online_cpus().into_iter();
                let cpus = cpus.filter(|&cpu| cpu < map.max_entries());
                cpus.map(|cpu| Place { cpu, index: cpu }).collect()
            }
        };
        let (mut rings, epoll) = (Vec::new(), Epoll::new()?);
        for place in places {
            let event = perf::bpf_output_with_time(place.cpu)?;
            let ring = PerfRing::new(event.as_fd(), PAGES)?;
            map.update(&place.index.to_ne_bytes(), &event.as_raw_fd().to_ne_bytes(), 0)?;
            perf::enable(event.as_fd())?;
            epoll.add(event.as_fd(), rings.len() as u64)?;
            rings.push((place, event, ring));
        }
        Ok(EventPipe { _map: map, rings, epoll })
    }

    /// Waits until there is something, but not longer; gives everything that there is.
    pub fn wait(&mut self, limit: Duration, each: &mut dyn FnMut(Place, Event<'_>)) -> Result<()> {
        let ready = self.epoll.wait(Some(limit));
        let ready = ready.map_err(|errno| Error::os("wait for events", errno))?;
        for number in ready {
            let Some((place, _, ring)) = self.rings.get_mut(number as usize) else { continue };
            ring.records(&mut |kind, body| each(*place, decode(kind, body)));
        }
        Ok(())
    }
}

/// From what follows the header: for a sample its time, its size, what was sent; for lost ones the
/// number of the event, how many.
fn decode(kind: u32, body: &[u8]) -> Event<'_> {
    let number = |at: usize| {
        let bytes = body.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_ne_bytes)
    };
    // A record's size is a multiple of eight, so that these are whole even where nothing was sent.
    match kind {
        perf::RECORD_SAMPLE => {
            let data = body.get(12..).unwrap_or_default();
            let len = number(8) as u32 as usize;
            Event::Sample { time: number(0), data: &data[..len.min(data.len())] }
        }
        perf::RECORD_LOST => Event::Lost { id: number(0), count: number(8) },
        kind => Event::Other { kind, size: (body.len() + perf::RECORD_HEADER) as u32 },
    }
}

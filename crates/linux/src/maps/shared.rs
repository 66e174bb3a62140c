//! What user space and programs share: ring buffers in both directions, perf buffers, and the
//! values of arrays. Each is mapped when it is first used.

use std::cell::{OnceCell, RefCell};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use bombus_kernel::{Error, MapMemory, PerfRecord, Result};
use bombus_platform::MapType;

use super::OpenMap;
use crate::caps::Wants;
use crate::error::privileged;
use crate::features;
use crate::sys::mapping::RingBuffer;
use crate::sys::memory::Memory;
use crate::sys::perf_ring::{PerfRing, Record};
use crate::sys::user_ring::UserRing;
use crate::sys::{Errno, perf};

/// What of a map is mapped.
#[derive(Default)]
pub(super) struct Shared {
    ring: OnceCell<RingBuffer>,
    user_ring: OnceCell<RefCell<UserRing>>,
    perf: OnceCell<PerfBuffer>,
    arena: OnceCell<Rc<Memory>>,
}

/// The perf events whose descriptors a map of them holds, with their buffers.
struct PerfBuffer {
    /// By CPU. A buffer is borrowed while its records are given out.
    cpus: Vec<(u32, OwnedFd, RefCell<PerfRing>)>,
}

/// Pages of each CPU's perf buffer: 256 KiB, as libbpf's examples have.
const PERF_PAGES: usize = 64;
/// The values can be mapped (`BPF_F_MMAPABLE`).
const MMAPABLE: u32 = 1 << 10;
/// User space may not write (`BPF_F_RDONLY`).
const READ_ONLY: u32 = 1 << 3;

/// The value if there is one, else a new one.
fn get_or_try<T, E>(
    cell: &OnceCell<T>,
    make: impl FnOnce() -> std::result::Result<T, E>,
) -> std::result::Result<&T, E> {
    match cell.get() {
        Some(value) => Ok(value),
        None => {
            let value = make()?;
            Ok(cell.get_or_init(|| value))
        }
    }
}

impl OpenMap {
    /// Gives every record that is ready to `each`, where it lies in the ring buffer.
    pub(crate) fn consume(&self, each: &mut dyn FnMut(&[u8])) -> Result<usize> {
        if self.map_type != MapType::Ringbuf {
            return Err(self.error("read records of", libc::EINVAL));
        }
        let ring = get_or_try(&self.shared.ring, || {
            RingBuffer::new(self.map.fd(), self.map.max_entries())
                .map_err(|errno| self.error("map the memory of", errno))
        })?;
        Ok(ring.consume(each))
    }

    /// Adds a record to a user ring buffer.
    pub(crate) fn submit(&self, record: &[u8]) -> Result<()> {
        if self.map_type != MapType::UserRingbuf {
            return Err(self.error("add a record to", libc::EINVAL));
        }
        let ring = get_or_try(&self.shared.user_ring, || {
            UserRing::new(self.map.fd(), self.map.max_entries())
                .map(RefCell::new)
                .map_err(|errno| self.error("map the memory of", errno))
        })?;
        ring.borrow_mut().submit(record).map_err(|errno| match errno {
            libc::ENOSPC => Error::Os {
                doing: format!("add a record to map {}", self.name),
                errno,
                help: Some("the program has not taken out enough yet".into()),
            },
            errno => self.error("add a record to", errno),
        })
    }

    fn perf_buffer(&self) -> Result<&PerfBuffer> {
        if self.map_type != MapType::PerfEventArray {
            return Err(self.error("read events of", libc::EINVAL));
        }
        let doing = || format!("open the buffers of map {}", self.name);
        get_or_try(&self.shared.perf, || {
            self.open_perf_buffer().map_err(|errno| privileged(doing(), errno, Wants::Tracing))
        })
    }

    fn open_perf_buffer(&self) -> std::result::Result<PerfBuffer, Errno> {
        let mut cpus = Vec::new();
        for cpu in features::online_cpus() {
            if cpu >= self.map.max_entries() {
                break;
            }
            let event = match perf::bpf_output(cpu) {
                // The CPU went away since.
                Err(libc::ENODEV) => continue,
                event => event?,
            };
            let ring = PerfRing::new(event.as_fd(), PERF_PAGES)?;
            perf::enable(event.as_fd())?;
            self.map.update(&cpu.to_ne_bytes(), &event.as_raw_fd().to_ne_bytes(), 0)?;
            cpus.push((cpu, event, RefCell::new(ring)));
        }
        Ok(PerfBuffer { cpus })
    }

    /// Gives every record that is ready to `each`, CPU by CPU.
    pub(crate) fn consume_perf(&self, each: &mut dyn FnMut(PerfRecord<'_>)) -> Result<usize> {
        let mut records = 0;
        for (cpu, _, ring) in &self.perf_buffer()?.cpus {
            let cpu = *cpu;
            // Somebody reads it already, further up.
            let Ok(mut ring) = ring.try_borrow_mut() else { continue };
            records += ring.consume(&mut |record| {
                each(match record {
                    Record::Sample(data) => PerfRecord::Sample { cpu, data },
                    Record::Lost(count) => PerfRecord::Lost { cpu, count },
                });
            });
        }
        Ok(records)
    }

    /// What becomes readable when there are records: the map itself, or the events in it.
    pub(crate) fn readable(&self) -> Result<Vec<BorrowedFd<'_>>> {
        if self.map_type == MapType::PerfEventArray {
            Ok(self.perf_buffer()?.cpus.iter().map(|(_, event, _)| event.as_fd()).collect())
        } else {
            Ok(vec![self.map.fd()])
        }
    }

    /// The values as memory.
    pub(crate) fn memory(&self) -> Result<Box<dyn MapMemory>> {
        let facts = self.facts()?;
        let entries = facts.max_entries as usize;
        let len = match self.map_type {
            MapType::Array if facts.flags & MMAPABLE != 0 => {
                (facts.value_size as usize).next_multiple_of(8).checked_mul(entries)
            }
            MapType::Arena => return self.arena(facts.extra as usize, entries),
            _ => {
                return Err(Error::Unsupported {
                    what: format!("map {} has no values that can be mapped", self.name),
                    help: Some("an array with the flag BPF_F_MMAPABLE has".into()),
                });
            }
        };
        let len = len.ok_or_else(|| self.error("map the memory of", libc::E2BIG))?;
        let writable = facts.flags & READ_ONLY == 0;
        let memory = match Memory::new(self.map.fd(), len, writable) {
            // It is frozen.
            Err(libc::EPERM) if writable => Memory::new(self.map.fd(), len, false),
            memory => memory,
        };
        let memory = memory.map_err(|errno| self.error("map the memory of", errno))?;
        Ok(Box::new(MappedValues { name: self.name.clone(), memory: Rc::new(memory) }))
    }

    /// An arena. Pointers in it are addresses of user space, so that it has one address, which the
    /// map says or the first mapping makes (`arena_map_mmap` in `kernel/bpf/arena.c`). It is kept
    /// as long as the map.
    fn arena(&self, address: usize, pages: usize) -> Result<Box<dyn MapMemory>> {
        let memory = get_or_try(&self.shared.arena, || {
            let len = pages.checked_mul(4096).ok_or(libc::E2BIG)?;
            Memory::at(address, self.map.fd(), len, true).map(Rc::new)
        });
        let memory = memory.map_err(|errno: Errno| match errno {
            libc::EEXIST => Error::Os {
                doing: format!("map the memory of map {}", self.name),
                errno,
                help: Some(format!("something else is at {address:#x}, where it has to be")),
            },
            errno => self.error("map the memory of", errno),
        })?;
        Ok(Box::new(MappedValues { name: self.name.clone(), memory: memory.clone() }))
    }
}

/// [`MapMemory`] with the map's name for errors.
struct MappedValues {
    name: String,
    memory: Rc<Memory>,
}

impl MappedValues {
    fn error(&self, doing: &str, errno: Errno) -> Error {
        Error::os(format!("{doing} the memory of map {}", self.name), errno)
    }
}

impl MapMemory for MappedValues {
    fn size(&self) -> usize {
        self.memory.size()
    }

    fn is_writable(&self) -> bool {
        self.memory.is_writable()
    }

    fn read(&self, offset: usize, to: &mut [u8]) -> Result<()> {
        self.memory.read(offset, to).map_err(|errno| self.error("read", errno))
    }

    fn write(&self, offset: usize, from: &[u8]) -> Result<()> {
        self.memory.write(offset, from).map_err(|errno| self.error("write to", errno))
    }

    fn fetch_add(&self, offset: usize, value: u64) -> Result<u64> {
        self.memory.fetch_add(offset, value).map_err(|errno| self.error("add to", errno))
    }
}

//! Perf event arrays: records by CPU, in the order in which they came.

use std::collections::VecDeque;

use super::Errno;

/// Bytes that one CPU's buffer has room for, as many as Bombus asks Linux for by default (64 pages).
const ROOM: usize = 64 * 4096;
/// What the kernel keeps with each record (`struct perf_event_header`, and its size).
const HEADER: usize = 12;

/// A perf event array.
#[derive(Clone, Debug)]
pub(crate) struct PerfArray {
    entries: u32,
    /// One a CPU once somebody reads; until then programs find no buffers.
    buffers: Vec<Buffer>,
}

/// The records of a CPU.
#[derive(Clone, Default, Debug)]
struct Buffer {
    records: VecDeque<Vec<u8>>,
    used: usize,
    lost: u64,
}

impl PerfArray {
    pub(crate) fn new(entries: u32) -> PerfArray {
        PerfArray { entries, buffers: Vec::new() }
    }

    /// Opens the buffers, if they are not open yet.
    pub(crate) fn open(&mut self, cpus: u32) {
        if self.buffers.is_empty() {
            self.buffers.resize(self.entries.min(cpus) as usize, Buffer::default());
        }
    }

    /// Adds a record to the buffer `index`, from a program on `cpu` (`__bpf_perf_event_output`,
    /// `kernel/trace/bpf_trace.c`).
    pub(crate) fn output(&mut self, index: u32, cpu: u32, record: Vec<u8>) -> Result<(), Errno> {
        if index >= self.entries {
            return Err(libc::E2BIG);
        }
        let buffer = self.buffers.get_mut(index as usize).ok_or(libc::ENOENT)?;
        if index != cpu {
            return Err(libc::EOPNOTSUPP);
        }
        let size = (record.len() + HEADER).next_multiple_of(8);
        if buffer.used + size > ROOM {
            buffer.lost += 1;
            return Err(libc::ENOSPC);
        }
        buffer.used += size;
        buffer.records.push_back(record);
        Ok(())
    }

    /// Takes everything: CPU, records, and how many were lost.
    pub(crate) fn take(&mut self) -> Vec<(u32, VecDeque<Vec<u8>>, u64)> {
        let buffers = (0..).zip(&mut self.buffers);
        let taken = buffers.map(|(cpu, buffer)| {
            let Buffer { records, lost, .. } = std::mem::take(buffer);
            (cpu, records, lost)
        });
        taken.collect()
    }
}

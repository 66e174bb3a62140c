//! A program at work: the host that the virtual machine sees.

mod deferred;
mod helpers;
mod kfuncs;
mod maps;
mod memory;

use bombus_isa::Size;
use bombus_kernel::Error;
use bombus_platform::pt_regs;
use bombus_vm::{Call, Execution, Host, Return, Stack, TrapKind, View};

use crate::deferred::Deferred;
use crate::hooks::Task;
use crate::maps::{Map, Ringbuf};
use crate::objects::Objects;
use crate::packet::Packet;
use crate::programs::Loaded;

pub(crate) use helpers::is_supported;
pub(crate) use kfuncs::{Streams, kfunc_number};
use maps::Maps;
pub(crate) use maps::lookup;
pub(crate) use memory::{
    MAX_MAPS, PACKET_CONTEXT, REGISTERS_ADDRESS, SOCKET, arena_address, map_address, value_address,
};

/// What outlives a run: buffers, the random number generator.
#[derive(Debug, Default)]
pub(crate) struct Workspace {
    pub(crate) stack: Stack,
    buffers: Buffers,
    random: u64,
    /// Start of the hashes of packets' flows.
    flow_seed: u64,
    /// What programs printed.
    pub(crate) printed: Printed,
    /// What they allocated.
    pub(crate) objects: Objects,
    pub(crate) streams: Streams,
    /// What they put off.
    pub(crate) deferred: Deferred,
}

/// A line that a program printed with `bpf_printk`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PrintedLine {
    /// Name of the task that the program ran for.
    pub comm: String,
    /// Its number.
    pub tid: u32,
    /// CPU that the program ran on.
    pub cpu: u32,
    /// The text, without the end of the line.
    pub text: String,
}

/// Lines that nobody has read.
#[derive(Debug, Default)]
pub(crate) struct Printed {
    pub(crate) lines: Vec<PrintedLine>,
    /// Lines that there was no room for.
    pub(crate) lost: u64,
}

impl Workspace {
    pub(crate) fn new(seed: u64) -> Workspace {
        Workspace { random: seed, flow_seed: seed, ..Workspace::default() }
    }
}

/// Copies of what helpers are given, so that they can change maps meanwhile.
#[derive(Debug, Default)]
struct Buffers {
    key: Vec<u8>,
    value: Vec<u8>,
    /// Keys of arrays that callbacks are looking at.
    array_keys: Vec<[u8; 4]>,
}

/// What set a program off, beside the context.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Occasion {
    /// `bpf_get_attach_cookie`.
    pub(crate) cookie: u64,
    /// `bpf_get_func_ip`.
    pub(crate) func_ip: u64,
    /// CPU whose per-CPU values the program sees.
    pub(crate) cpu: u32,
}

/// One run of a program.
pub(crate) struct Run<'a> {
    maps: Maps<'a>,
    programs: &'a [Loaded],
    buffers: &'a mut Buffers,
    random: &'a mut u64,
    task: &'a mut dyn Task,
    /// What the program is about, when it is a packet.
    packet: Option<&'a mut Packet>,
    flow_seed: u64,
    printed: &'a mut Printed,
    objects: &'a mut Objects,
    streams: &'a mut Streams,
    deferred: &'a mut Deferred,
    occasion: Occasion,
    /// The map that the program's null page belongs to.
    pub(crate) arena: Option<usize>,
    /// Records that are reserved in ring buffers.
    held_records: usize,
    /// The task's registers, once somebody looked at them; `None` inside: there are none.
    registers: Option<Option<[u8; pt_regs::SIZE]>>,
}

impl<'a> Run<'a> {
    /// A run and the stack that it needs.
    pub(crate) fn new(
        maps: &'a mut [Map],
        programs: &'a [Loaded],
        workspace: &'a mut Workspace,
        task: &'a mut dyn Task,
        packet: Option<&'a mut Packet>,
        occasion: Occasion,
    ) -> (Run<'a>, &'a mut Stack) {
        let Workspace { stack, buffers, random, flow_seed, printed, objects, streams, deferred } =
            workspace;
        let flow_seed = *flow_seed;
        buffers.array_keys.clear();
        let (held_records, registers) = (0, None);
        let run = Run {
            maps: Maps { all: maps, cpu: occasion.cpu },
            programs,
            buffers,
            random,
            task,
            packet,
            flow_seed,
            printed,
            objects,
            streams,
            deferred,
            occasion,
            arena: None,
            held_records,
            registers,
        };
        (run, stack)
    }

    /// Keeps a line until somebody reads it.
    fn print(&mut self, text: String) {
        /// Lines that are kept.
        const MOST: usize = 4096;
        if self.printed.lines.len() >= MOST {
            self.printed.lost += 1;
            return;
        }
        let comm = self.task.comm();
        let end = comm.iter().position(|byte| *byte == 0).unwrap_or(comm.len());
        let comm = String::from_utf8_lossy(&comm[..end]).into_owned();
        let text = text.strip_suffix('\n').map(str::to_owned).unwrap_or(text);
        let (tid, cpu) = (self.task.tid(), self.occasion.cpu);
        self.printed.lines.push(PrintedLine { comm, tid, cpu, text });
    }

    /// Takes back what the program left behind: the next run may begin.
    #[inline]
    pub(crate) fn finish(&mut self) {
        if self.held_records > 0 {
            self.maps.iter_mut().filter_map(Map::ringbuf_mut).for_each(Ringbuf::finish_run);
            self.held_records = 0;
        }
        self.buffers.array_keys.clear();
    }

    /// The packet that the program is about.
    #[inline]
    pub(crate) fn packet(&mut self) -> Option<&mut Packet> {
        self.packet.as_deref_mut()
    }

    /// Whether there are lines that nobody has read.
    #[inline]
    pub(crate) fn has_printed(&self) -> bool {
        !self.printed.lines.is_empty() || self.printed.lost > 0
    }

    /// The registers of the task as `struct pt_regs`.
    fn registers(&mut self) -> Option<&[u8; pt_regs::SIZE]> {
        let task = &mut self.task;
        let fetch = || registers(*task).ok();
        self.registers.get_or_insert_with(fetch).as_ref()
    }
}

/// The registers of a task as `struct pt_regs`.
pub(crate) fn registers(task: &mut dyn Task) -> Result<[u8; pt_regs::SIZE], Error> {
    let words = task.regs()?.pt_regs();
    let mut bytes = [0; pt_regs::SIZE];
    for (to, word) in bytes.chunks_exact_mut(8).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    Ok(bytes)
}

impl Host for Run<'_> {
    #[inline]
    fn call(&mut self, vm: &mut Execution<'_>, call: &Call<'_>) -> Result<Return, TrapKind> {
        helpers::call(self, vm, call)
    }

    fn load_packet(
        &mut self,
        _: &Execution<'_>,
        context: u64,
        offset: i32,
        size: Size,
    ) -> Result<Option<u32>, TrapKind> {
        let is_context = context == PACKET_CONTEXT;
        let packet = self.packet.as_deref().filter(|_| is_context).ok_or(TrapKind::Unsupported)?;
        Ok(packet.legacy_load(offset, size.bytes()))
    }

    fn memory(&mut self, address: u64, len: usize) -> Option<&[u8]> {
        self.readable(address, len)
    }

    fn memory_mut(&mut self, address: u64, len: usize) -> Option<&mut [u8]> {
        self.writable(address, len)
    }

    #[inline(always)]
    fn show<'v>(&'v mut self, recent: u64, view: &mut View<'_, 'v>) {
        self.visible(recent, view);
    }

    #[inline(always)]
    fn show_subject<'v>(&'v mut self, view: &mut View<'_, 'v>) {
        self.visible_again(view);
    }
}

//! Breakpoints: where they are to be, where they are in an address space, and what a hit means.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::rc::Rc;

use super::agent;
use super::displaced::{Displaced, MAX_LENGTH, SLOT};
use super::engine::Engine;
use super::procfs::{self, Mapping};
use super::stop::On;
use super::sys;
use super::uretprobe::Frame;
use super::{Breakpoint, Control, Event, Regs};

const INT3: u8 = 0xcc;

/// All that are wanted, by file and offset.
#[derive(Debug, Default)]
pub(super) struct Breakpoints {
    wanted: Vec<Breakpoint>,
    files: Vec<ProbedFile>,
}

#[derive(Debug)]
struct ProbedFile {
    path: PathBuf,
    device: (u32, u32),
    inode: u64,
    /// Offset in the file, indices of the breakpoints there.
    offsets: BTreeMap<u64, Vec<usize>>,
}

impl Breakpoints {
    /// Looks the files up. One that is not there has no breakpoints.
    pub(super) fn new(wanted: &[Breakpoint]) -> Breakpoints {
        let mut files: Vec<ProbedFile> = vec![];
        for (index, breakpoint) in wanted.iter().enumerate() {
            let Ok(found) = fs::metadata(&breakpoint.path) else { continue };
            let device = (libc::major(found.dev()), libc::minor(found.dev()));
            let same = |file: &&mut ProbedFile| (file.device, file.inode) == (device, found.ino());
            let file = match files.iter_mut().find(same) {
                Some(file) => file,
                None => {
                    let path = fs::canonicalize(&breakpoint.path);
                    files.push(ProbedFile {
                        path: path.unwrap_or_else(|_| breakpoint.path.clone()),
                        device,
                        inode: found.ino(),
                        offsets: BTreeMap::new(),
                    });
                    files.last_mut().expect("one was added")
                }
            };
            file.offsets.entry(breakpoint.offset).or_default().push(index);
        }
        Breakpoints { wanted: wanted.to_vec(), files }
    }

    /// Whether none are wanted.
    pub(super) fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// The breakpoints in a mapping: address, indices.
    fn within(&self, mapping: &Mapping) -> Vec<(u64, Vec<usize>)> {
        let Some(file) = self.files.iter().find(|file| file.is(mapping)) else { return vec![] };
        let end = mapping.offset + (mapping.end - mapping.start);
        let here = file.offsets.range(mapping.offset..end);
        here.map(|(offset, all)| (mapping.start + (offset - mapping.offset), all.clone())).collect()
    }
}

impl ProbedFile {
    /// Whether it is what is mapped. Some file systems give another device in the memory map than
    /// in `stat`: then the path decides.
    fn is(&self, mapping: &Mapping) -> bool {
        self.inode == mapping.inode && (self.device == mapping.device || self.path == mapping.path)
    }
}

/// The breakpoints in one address space.
#[derive(Clone, Debug, Default)]
pub(super) struct AddressSpace {
    sites: HashMap<u64, Site>,
    scratch: Vec<Scratch>,
    /// Records system calls.
    pub(super) agent: agent::State,
}

/// A breakpoint in memory. It stays known after it was removed: a task may have met it just
/// before.
#[derive(Clone, Debug)]
struct Site {
    original: u8,
    /// Where the task goes on.
    next: u64,
    /// Indices of the breakpoints.
    probes: Vec<usize>,
    inserted: bool,
}

/// Memory for out-of-line code. It begins with the trampoline for returns.
#[derive(Clone, Copy, Debug)]
struct Scratch {
    start: u64,
    used: u64,
    size: u64,
}

impl AddressSpace {
    fn trampoline(&self) -> Option<u64> {
        self.scratch.first().map(|scratch| scratch.start)
    }
}

impl Engine {
    /// Inserts the breakpoints of every file that the process has mapped and that are not there
    /// yet. The task is stopped.
    pub(super) fn insert_breakpoints(&mut self, tid: u32) {
        if self.quiet {
            return;
        }
        let mappings = procfs::mappings(tid);
        for mapping in mappings.iter().filter(|mapping| mapping.executable) {
            let mut here = self.breakpoints.within(mapping);
            here.retain(|(address, _)| !self.is_inserted(tid, *address));
            if !here.is_empty() {
                let room = (here.len() as u64 + 1) * SLOT;
                for (address, probes) in here {
                    if self.insert(tid, &mappings, room, address, probes).is_none() {
                        self.stops.missed_breakpoints += 1;
                    }
                }
            }
        }
    }

    /// When a file with breakpoints is not mapped yet, watches the process for when it is.
    pub(super) fn watch_for_missing(&mut self, tid: u32) {
        let mappings = procfs::mappings(tid);
        let mapped = |file: &ProbedFile| mappings.iter().any(|mapping| file.is(mapping));
        let missing = !self.breakpoints.files.iter().all(mapped);
        if let Some((_, process, _)) = self.tasks.get(tid) {
            process.every_syscall |= missing;
        }
    }

    fn is_inserted(&mut self, tid: u32, address: u64) -> bool {
        let Some((_, process, _)) = self.tasks.get(tid) else { return true };
        let space = Rc::clone(&process.space);
        let known = space.borrow().sites.get(&address).is_some_and(|site| site.inserted);
        let mut byte = [0];
        // The library may have been unmapped and mapped again.
        known && process.read(address, &mut byte) == 1 && byte[0] == INT3
    }

    fn insert(
        &mut self,
        tid: u32,
        mappings: &[Mapping],
        room: u64,
        address: u64,
        probes: Vec<usize>,
    ) -> Option<()> {
        let returns = probes.iter().any(|&probe| self.breakpoints.wanted[probe].on_return);
        let (_, process, _) = self.tasks.get(tid)?;
        let space = Rc::clone(&process.space);
        let mut code = [0; MAX_LENGTH];
        let length = process.read(address, &mut code);
        let displaced = Displaced::decode(&code[..length], address)?;
        if returns && space.borrow().scratch.is_empty() {
            self.add_scratch(tid, mappings, address, room)?;
        }
        let next = match displaced {
            Displaced::Skip { length } => address + length,
            Displaced::OutOfLine { .. } => {
                self.out_of_line(tid, mappings, room, address, displaced)?
            }
        };
        let site = Site { original: code[0], next, probes, inserted: true };
        // Known before it can be met: other threads may be running.
        space.borrow_mut().sites.insert(address, site);
        let (_, process, _) = self.tasks.get(tid)?;
        process.write(address, &[INT3]).then_some(())
    }

    /// Writes an instruction to out-of-line memory within its reach; returns where.
    fn out_of_line(
        &mut self,
        tid: u32,
        mappings: &[Mapping],
        room: u64,
        address: u64,
        displaced: Displaced,
    ) -> Option<u64> {
        let (_, process, _) = self.tasks.get(tid)?;
        let space = Rc::clone(&process.space);
        let try_existing = |engine: &mut Engine| {
            let mut space = space.borrow_mut();
            space.scratch.iter_mut().filter(|scratch| scratch.used < scratch.size).find_map(
                |scratch| {
                    let slot = scratch.start + scratch.used;
                    let code = displaced.relocate(slot)?;
                    let (_, process, _) = engine.tasks.get(tid)?;
                    process.write(slot, &code).then_some(())?;
                    scratch.used += SLOT;
                    Some(slot)
                },
            )
        };
        if let Some(slot) = try_existing(self) {
            return Some(slot);
        }
        self.add_scratch(tid, mappings, address, room)?;
        try_existing(self)
    }

    fn add_scratch(&mut self, tid: u32, mappings: &[Mapping], near: u64, room: u64) -> Option<()> {
        // What was mapped before is not in `mappings`: its place is taken all the same.
        let (_, process, _) = self.tasks.get(tid)?;
        let space = Rc::clone(&process.space);
        let mut mappings = mappings.to_vec();
        for scratch in &space.borrow().scratch {
            let Scratch { start, size, .. } = *scratch;
            mappings.push(Mapping { start, end: start + size, ..mappings.first()?.clone() });
        }
        mappings.sort_by_key(|mapping| mapping.start);
        let start = self.map_code_near(tid, &mappings, near, room)?;
        let size = room.next_multiple_of(4096);
        let (_, process, _) = self.tasks.get(tid)?;
        process.write(start, &[INT3]).then_some(())?;
        space.borrow_mut().scratch.push(Scratch { start, used: SLOT, size });
        Some(())
    }

    /// A trap: if it was a breakpoint of ours, reports it and lets the task go on.
    pub(super) fn breakpoint_stop(&mut self, tid: u32, on: On<'_>) -> Option<Control> {
        let (_, process, _) = self.tasks.get(tid)?;
        let space = Rc::clone(&process.space);
        let (_, code) = sys::signal_info(tid).ok()?;
        // An int3, no trap that somebody sent.
        if code != SI_KERNEL {
            return None;
        }
        let mut regs = sys::get_regs(tid).ok()?;
        let address = regs.rip.wrapping_sub(1);
        let site = space.borrow().sites.get(&address).cloned();
        let is_trampoline = space.borrow().scratch.iter().any(|scratch| scratch.start == address);
        let control = if let Some(site) = site {
            regs.rip = address;
            if site.inserted {
                let control = self.entered_function(tid, &site, &space.borrow(), regs, on);
                regs.rip = site.next;
                control
            } else {
                Control::Continue
            }
        } else if is_trampoline {
            self.returned_from_function(tid, address, &mut regs, on)
        } else {
            return None;
        };
        let _ = sys::set_regs(tid, &regs);
        self.resume(tid, 0);
        Some(control)
    }

    fn entered_function(
        &mut self,
        tid: u32,
        site: &Site,
        space: &AddressSpace,
        regs: Regs,
        on: On<'_>,
    ) -> Control {
        let mut control = Control::Continue;
        for &probe in &site.probes {
            let Some((thread, process, _)) = self.tasks.get(tid) else { break };
            let Breakpoint { on_return, pid, id, .. } = self.breakpoints.wanted[probe];
            if self.quiet || pid.is_some_and(|pid| pid != process.pid) {
                continue;
            }
            if !on_return {
                let event = Event::Breakpoint { id };
                control = self.emit(tid, event, Some(regs), on).or(control);
            } else if let (Some(trampoline), Some(return_to)) =
                (space.trampoline(), process.read_u64(regs.rsp))
                && process.write(regs.rsp, &trampoline.to_le_bytes())
            {
                thread.returns.push(Frame { slot: regs.rsp, return_to, probe }, trampoline);
            }
        }
        control
    }

    /// A function jumped to the trampoline instead of its caller.
    fn returned_from_function(
        &mut self,
        tid: u32,
        trampoline: u64,
        regs: &mut Regs,
        on: On<'_>,
    ) -> Control {
        let slot = regs.rsp.wrapping_sub(8);
        let mut frames = vec![];
        while let Some(frame) = self.pop_frame(tid, slot) {
            frames.push(frame);
            if frame.return_to != trampoline {
                break;
            }
        }
        let mut control = Control::Continue;
        let Some(&Frame { return_to, .. }) = frames.last() else { return control };
        regs.rip = return_to;
        for frame in frames {
            let id = self.breakpoints.wanted[frame.probe].id;
            control = self.emit(tid, Event::Return { id }, Some(*regs), on).or(control);
        }
        control
    }

    /// Takes the frame from the thread; from another one of the process when a coroutine has moved.
    fn pop_frame(&mut self, tid: u32, slot: u64) -> Option<Frame> {
        let thread = self.tasks.threads.get_mut(&tid)?;
        let pid = thread.pid;
        thread.returns.pop(slot).or_else(|| {
            let others = self.tasks.threads.values_mut().filter(|other| other.pid == pid);
            others.into_iter().find_map(|other| other.returns.pop(slot))
        })
    }

    /// Puts every original instruction back.
    pub(super) fn remove_breakpoints(&mut self) {
        for process in self.tasks.processes.values_mut() {
            let space = Rc::clone(&process.space);
            for (&address, site) in &mut space.borrow_mut().sites {
                let mut byte = [0];
                if process.read(address, &mut byte) == 1 && byte[0] == INT3 {
                    process.write(address, &[site.original]);
                }
                site.inserted = false;
            }
        }
    }

    /// Whether the task has met a breakpoint that was removed meanwhile, and its trap is pending.
    pub(super) fn has_met_breakpoint(&mut self, tid: u32) -> bool {
        let Ok(regs) = sys::get_regs(tid) else { return false };
        let Some((_, process, _)) = self.tasks.get(tid) else { return false };
        let space = process.space.borrow();
        let address = regs.rip.wrapping_sub(1);
        let ours = space.sites.contains_key(&address)
            || space.scratch.iter().any(|scratch| scratch.start == address);
        ours && procfs::status_field(tid, "SigPnd")
            .and_then(|mask| u64::from_str_radix(&mask, 16).ok())
            .is_some_and(|mask| mask >> (libc::SIGTRAP - 1) & 1 == 1)
    }

    /// Puts the true return addresses back on the stack of a stopped task.
    pub(super) fn restore_returns(&mut self, tid: u32) {
        let Some((thread, process, _)) = self.tasks.get(tid) else { return };
        let space = Rc::clone(&process.space);
        let Some(trampoline) = space.borrow().trampoline() else { return };
        // Of several on one slot, the first has the true address.
        for frame in thread.returns.take().into_iter().rev() {
            if process.read_u64(frame.slot) == Some(trampoline) && frame.return_to != trampoline {
                process.write(frame.slot, &frame.return_to.to_le_bytes());
            }
        }
    }
}

/// `si_code` of an exception (`include/uapi/asm-generic/siginfo.h`).
const SI_KERNEL: i32 = 0x80;

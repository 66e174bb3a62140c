//! The agent: code inside a traced process that takes down system calls without a stop.
//!
//! A stop costs 6 to 30 us; a record costs 10 ns. Where nothing but aggregates depends on a system
//! call (see [`super::Interest::deferred`]), its entry need not be seen at once: the instruction
//! that makes it is replaced by a jump to a [`code`] trampoline, which appends number and arguments
//! to a ring that the process shares with the tracer ([`ring`]), and then makes the call from the
//! *gate*, the one place whose system calls the filter lets through. The tracer turns records into
//! events at the next stop of the process, before anybody looks at a map, and at its end.
//!
//! Whatever is not exactly understood stays as it is without an agent, for every other way into the
//! kernel still stops. In particular:
//! * an instruction is replaced at its own stop, and only if it is followed by the comparison that
//!   C libraries make, which nothing nearby jumps to ([`site`]);
//! * an address space with two tasks that could run at once has no agent: its trampolines make
//!   their calls outside the gate. A `vfork` child runs alone until its maker goes on;
//! * after `fork` the copy has none either, until it has stopped a few times: the page that says
//!   where the ring is reads as zeros there (`MADV_WIPEONFORK`);
//! * a task that stops elsewhere than at a system call is moved out of the gate, so that a restart
//!   of its call is seen, and back to the start of a record that is not complete.

pub(super) mod code;
mod install;
mod ring;
mod site;

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use self::ring::{Lease, Rings};
use self::site::Sites;
use super::engine::changes_identity;
use super::{Interest, Regs, filter};

/// Where the gate is in every process that has an agent. The filter knows this address; `rr` has
/// used the same for long, so little else wants it. The code takes 64 KiB, the control page and the
/// rings follow.
pub(super) const GATE: u64 = 0x7000_0000;
/// Bytes of code that the filter lets through.
pub(super) const GATE_SIZE: u64 = 0x1_0000;
/// The control page: address of the ring, and what to do with each system call.
pub(super) const CONTROL: u64 = GATE + GATE_SIZE;
/// All rings.
pub(super) const RINGS: u64 = CONTROL + 0x1_0000;

/// Where the table of [`Treatment`]s is in the control page.
const TABLE: usize = 64;
/// System calls that it knows.
const TABLE_SIZE: usize = 512;

/// What a trampoline does with a system call. Zero, what a wiped page says, is always right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Treatment {
    /// The filter decides.
    Ask = 0,
    /// It is taken down, and made.
    Record = 1,
    /// Nobody wants to know.
    Pass = 2,
}

/// Stops at system calls that could have been recorded, before a program is worth an agent.
const WORTH: u32 = 3;
/// The same for a copy that has the code already.
const WORTH_REARMING: u32 = 1;

/// What all agents share.
#[derive(Debug)]
pub(super) struct Agents {
    table: [Treatment; TABLE_SIZE],
    rings: Rc<Rings>,
    sites: Sites,
}

impl Agents {
    /// Agents for what is wanted; nothing when they could not help, or there is no memory.
    pub(super) fn new(interest: &Interest) -> Option<Agents> {
        if !interest.breakpoints.is_empty() {
            return None;
        }
        let table = table(interest);
        if !table.contains(&Treatment::Record) {
            return None;
        }
        Some(Agents { table, rings: Rc::new(Rings::new().ok()?), sites: Sites::default() })
    }

    /// Whether this system call could be recorded.
    pub(super) fn records(&self, nr: u32) -> bool {
        self.table.get(nr as usize) == Some(&Treatment::Record)
    }

    fn control_page(&self, ring: u64) -> Vec<u8> {
        let mut page = vec![0; TABLE];
        page[..8].copy_from_slice(&ring.to_le_bytes());
        page.extend(self.table.iter().map(|&treatment| treatment as u8));
        page
    }
}

/// System calls that change what a task is, or do not return: always a stop when wanted.
const NEVER_RECORDED: [i64; 9] = [
    libc::SYS_rt_sigreturn,
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

fn table(interest: &Interest) -> [Treatment; TABLE_SIZE] {
    let mut table = [Treatment::Pass; TABLE_SIZE];
    for (nr, treatment) in (0..).zip(&mut table) {
        let wanted = interest.sys_enter.contains(nr) || interest.sys_exit.contains(nr);
        let plain = !changes_identity(nr) && !NEVER_RECORDED.contains(&nr.into());
        if wanted && plain && interest.deferred.contains(nr) && !interest.sys_exit.contains(nr) {
            *treatment = Treatment::Record;
        } else if wanted || !plain {
            *treatment = Treatment::Ask;
        }
    }
    table
}

/// The state of an address space.
#[derive(Debug)]
pub(super) enum State {
    /// No agent yet; how often one would have helped.
    Without(u32),
    /// There can be none.
    Refused,
    /// The code is there.
    Installed(Agent),
}

impl Default for State {
    fn default() -> State {
        State::Without(0)
    }
}

/// As `fork` copies an address space: the code is there, the ring is not.
impl Clone for State {
    fn clone(&self) -> State {
        match self {
            State::Without(_) => State::Without(0),
            State::Refused => State::Refused,
            State::Installed(agent) => State::Installed(Agent {
                sites: agent.sites.clone(),
                hopeless: agent.hopeless.clone(),
                ..Agent::new(agent.near)
            }),
        }
    }
}

impl State {
    /// The agent, when there is one.
    pub(super) fn agent(&mut self) -> Option<&mut Agent> {
        match self {
            State::Installed(agent) => Some(agent),
            _ => None,
        }
    }
}

/// The agent of an address space.
#[derive(Debug)]
pub(super) struct Agent {
    /// Address of the trampolines.
    near: u64,
    /// Replaced instructions and the positions of their trampolines.
    sites: HashMap<u64, usize>,
    /// Instructions that cannot be replaced.
    hopeless: HashSet<u64>,
    /// Stops since there is no ring.
    dormant: u32,
    /// Several tasks may run here at once.
    forbidden: bool,
    ring: Option<Recorder>,
}

/// A ring and who writes to it.
#[derive(Debug)]
struct Recorder {
    lease: Lease,
    /// The tasks that live in the address space; all but the last wait for it (`vfork`).
    runners: Vec<u32>,
    /// Bytes that were read already.
    read: usize,
}

impl Agent {
    /// An agent that has replaced nothing and has no ring yet.
    fn new(near: u64) -> Agent {
        let (sites, hopeless) = (HashMap::new(), HashSet::new());
        Agent { near, sites, hopeless, dormant: 0, forbidden: false, ring: None }
    }

    /// Moves a task that stopped by chance to where it may stop. Whether that changed anything.
    pub(super) fn leave(&self, regs: &mut Regs) -> bool {
        let to = code::way_out(regs.rip, self.near);
        to.map(|to| regs.rip = to).is_some()
    }
}

/// The filter's test for the gate: high and low half of the instruction pointer, mask of the latter.
pub(super) const GATE_TEST: filter::Region =
    filter::Region { high: 0, low: GATE as u32, mask: !(GATE_SIZE as u32 - 1) };

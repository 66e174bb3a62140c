//! A kernel in user space behind [`bombus_kernel::Kernel`]: maps, helpers and programs of its own,
//! and hooks into the processes that the user may trace anyway.
//!
//! What the verifier does not prove safe is not loaded. Programs run in the checked interpreter of `bombus-vm` and, when they run often, in its guarded
//! machine code, both on guest addresses: this crate resolves those of maps, ring buffers and
//! registers, and never hands out a pointer. Everything runs on the
//! thread that calls [`bombus_kernel::Tracer::wait`].
#![deny(unsafe_code)]

mod carrying;
pub mod catalog;
mod context_use;
mod core;
mod cpus;
mod deferred;
mod dispatch;
pub mod guard;
#[allow(unsafe_code, reason = "ptrace, fork and seccomp; each block says why it is sound")]
pub mod hooks;
mod kernel;
mod links;
mod maps;
mod network;
mod objects;
mod os;
mod over_packets;
mod packet;
mod patient;
mod programs;
mod proof;
mod random;
mod records;
mod run;
mod runs;
mod shared;
mod test_run;
mod this_task;
mod timers;
mod tracer;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use bombus_btf::Btf;
use bombus_kernel::{Features, KernelVersion};

pub use crate::catalog::EmbeddedCatalog;
use crate::core::Core;
use crate::hooks::Engine;
use crate::links::Links;
use crate::network::Network;
pub use crate::network::Port;
pub use crate::over_packets::{PacketRunner, Traffic};
pub use crate::run::PrintedLine;
use crate::timers::Timers;

/// What a caller may choose, for tests that need the same result every time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Options {
    /// Start of the random numbers that programs get; chance when absent.
    pub seed: Option<u64>,
    /// Possible CPUs; the machine's when absent.
    pub cpus: Option<u32>,
    /// Bring no code into traced processes: stop them at every event.
    pub no_agents: bool,
    /// Load programs that the verifier refuses, too: each access is checked when it happens.
    pub unproved: bool,
}

/// What is traced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Target {
    /// A command of ours, by its process id.
    Command(u32),
    /// A process that ran already.
    Process,
}

/// The embedded kernel.
#[derive(Debug)]
pub struct Embedded {
    features: Features,
    unproved: bool,
    /// The types of the kernel that programs are proved for.
    types: RefCell<Option<Arc<Btf>>>,
    core: Rc<RefCell<Core>>,
    links: RefCell<Links>,
    timers: RefCell<Timers>,
    network: RefCell<Network>,
    /// Links that were ever made.
    attached: Cell<u32>,
    engine: RefCell<Engine>,
    /// The command or process to trace.
    target: Cell<Option<Target>>,
    /// Records on their way out of a ring buffer; kept for its memory.
    taken: RefCell<Vec<u8>>,
}

impl Default for Embedded {
    fn default() -> Embedded {
        Embedded::new(Options::default())
    }
}

impl Embedded {
    /// A kernel without maps, programs or processes.
    pub fn new(options: Options) -> Embedded {
        let cpus = options.cpus.unwrap_or_else(cpus::possible).max(1);
        let mut engine = Engine::new();
        if options.no_agents {
            engine.without_agents();
        }
        let seed = options.seed.unwrap_or_else(random::seed);
        Embedded {
            features: Features {
                name: "embedded",
                version: KernelVersion { major: 6, minor: 12, patch: 0 },
                possible_cpus: cpus,
                isa: 4,
                perf_link: true,
                for_each_map_elem: true,
                bpf_loop: true,
                tp_btf: false,
                syscall_dispatch_above: None,
            },
            unproved: options.unproved,
            types: RefCell::default(),
            core: Rc::new(RefCell::new(Core::new(cpus, seed))),
            links: RefCell::default(),
            timers: RefCell::default(),
            network: RefCell::default(),
            attached: Cell::new(0),
            engine: RefCell::new(engine),
            target: Cell::new(None),
            taken: RefCell::default(),
        }
    }

    /// Makes a wire of two ends: the device `name` of the calling thread's network namespace,
    /// `stack` being its port, and a port to whatever there is outside. What passes between them
    /// passes the programs that are attached to the device, as long as somebody is in
    /// [`bombus_kernel::Tracer::wait`]. Gives the device's number.
    pub fn add_wire(&self, name: &str, stack: Port, outside: Port) -> bombus_kernel::Result<u32> {
        self.network.borrow_mut().add_wire(name, stack, outside)
    }

    /// Programs are proved as for a kernel with these types, which is what their kernel functions and
    /// the objects that they are given are named by.
    pub fn set_types(&self, types: Arc<Btf>) {
        self.types.replace(Some(types));
    }

    /// Commands are started with this environment variable.
    pub fn set_variable(&self, name: &str, value: &str) {
        self.engine.borrow_mut().set_variable(name, value);
    }

    /// Whether traced processes need this process to stay: their system calls would fail without,
    /// or their network would be cut off.
    pub fn needs_keeper(&self) -> bool {
        let engine = self.engine.borrow();
        engine.needs_keeper() || engine.has_tasks() && !self.network.borrow().is_idle()
    }

    /// Takes what programs printed with `bpf_printk` since it was asked last, and how many lines
    /// there was no room for.
    pub fn take_printed(&self) -> (Vec<PrintedLine>, u64) {
        let printed = std::mem::take(&mut self.core.borrow_mut().workspace.printed);
        (printed.lines, printed.lost)
    }

    /// Whether there is something that [`Embedded::take_printed`] would give.
    #[inline]
    pub fn has_printed(&self) -> bool {
        let core = self.core.borrow();
        !core.workspace.printed.lines.is_empty() || core.workspace.printed.lost > 0
    }

    /// Runs no more programs and lets the traced processes go on, until none is left that needs
    /// this process. See [`Engine::keep_until_gone`].
    pub fn keep_until_gone(&self) {
        if self.network.borrow().is_idle() {
            return self.engine.borrow_mut().keep_until_gone();
        }
        self.carry_until_gone();
    }
}

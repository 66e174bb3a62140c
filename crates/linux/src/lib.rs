//! The running Linux kernel behind [`bombus_kernel::Kernel`] and [`bombus_kernel::Tracer`].
//!
//! Start-up is lazy: [`Linux::new`] asks for the version and the number of CPUs and nothing else;
//! tracefs, the kernel's BTF and the event sources are looked up when they are first needed.
//!
//! Nothing is left behind. Programs live as long as file descriptors do, so they are gone however
//! the process ends; there are no pins and no named events. A command that runs under observation
//! goes on when the observer dies, and ends when it had not been started yet.
#![deny(unsafe_code)]

mod btf;
mod caps;
mod catalog;
mod error;
mod features;
mod inspect;
mod links;
mod maps;
mod programs;
mod signals;
mod spawn;
mod statistics;
mod sys;
mod tracefs;
mod wait;

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use bombus_kernel::{
    AttachPoint, BtfFd, Command, Features, Kernel, LinkFd, MapFd, ProgFd, ProgLoad, Result, Tracer,
    UpdateFlag, Wake,
};
use bombus_spec::MapSpec;

pub use caps::can_load_programs;
pub use catalog::LinuxCatalog;
pub use programs::program_exists;
pub use signals::Signals;
pub use statistics::RunStatistics;

/// The running kernel, by system calls.
///
/// Dropping it detaches everything as [`Kernel::detach_all`] does, and closes the rest.
pub struct Linux {
    features: Features,
    maps: RefCell<HashMap<MapFd, Rc<maps::OpenMap>>>,
    programs: RefCell<HashMap<ProgFd, programs::Program>>,
    types: RefCell<HashMap<BtfFd, OwnedFd>>,
    links: RefCell<links::Links>,
    tracefs: OnceCell<Option<tracefs::Tracefs>>,
    memlock_lifted: OnceCell<()>,
    waiter: RefCell<wait::Waiter>,
    target: RefCell<spawn::Target>,
}

impl Linux {
    /// Takes hold of the running kernel. Needs no privilege and fails only when the process is out
    /// of file descriptors; what is not allowed fails when it is tried.
    pub fn new() -> Result<Linux> {
        Ok(Linux {
            features: features::probe(),
            maps: RefCell::default(),
            programs: RefCell::default(),
            types: RefCell::default(),
            links: RefCell::default(),
            tracefs: OnceCell::new(),
            memlock_lifted: OnceCell::new(),
            waiter: RefCell::new(wait::Waiter::new()?),
            target: RefCell::default(),
        })
    }

    /// The kernel's id of a loaded program, as `bpftool prog` shows it.
    pub fn program_id(&self, program: ProgFd) -> Result<u32> {
        programs::id(self, program)
    }

    /// Kernels before 5.11 count maps and programs against the limit on locked memory. Called when
    /// something was refused; true the first time.
    fn lift_memlock_limit(&self) -> bool {
        let first = self.memlock_lifted.get().is_none();
        self.memlock_lifted.get_or_init(|| {
            // Without the privilege to lift it, the limit stays and the error says so.
            let _ = sys::process::lift_memlock_limit();
        });
        first
    }

    fn tracefs(&self) -> Option<&tracefs::Tracefs> {
        self.tracefs.get_or_init(tracefs::Tracefs::find).as_ref()
    }
}

impl Drop for Linux {
    fn drop(&mut self) {
        links::detach_all(self);
        self.target.take().give_up();
    }
}

impl Kernel for Linux {
    fn features(&self) -> &Features {
        &self.features
    }

    fn map_create(&self, spec: &MapSpec) -> Result<MapFd> {
        maps::create(self, spec)
    }

    fn map_lookup(&self, map: MapFd, key: &[u8]) -> Result<Option<Vec<u8>>> {
        maps::get(self, map)?.lookup(key)
    }

    fn map_update(&self, map: MapFd, key: &[u8], value: &[u8], flag: UpdateFlag) -> Result<()> {
        maps::get(self, map)?.update(key, value, flag)
    }

    fn map_delete(&self, map: MapFd, key: &[u8]) -> Result<bool> {
        maps::get(self, map)?.delete(key)
    }

    fn map_next_key(&self, map: MapFd, key: Option<&[u8]>) -> Result<Option<Vec<u8>>> {
        maps::get(self, map)?.next_key(key)
    }

    fn map_elements(&self, map: MapFd) -> Result<maps::Elements> {
        maps::get(self, map)?.elements()
    }

    fn ringbuf_consume(&self, map: MapFd, each: &mut dyn FnMut(&[u8])) -> Result<usize> {
        // The map is kept alive by a reference of its own: `each` may use this kernel.
        maps::get(self, map)?.consume(each)
    }

    fn btf_load(&self, btf: &[u8]) -> Result<BtfFd> {
        programs::load_types(self, btf)
    }

    fn prog_load(&self, program: &ProgLoad<'_>) -> Result<ProgFd> {
        programs::load(self, program)
    }

    fn prog_test_run(&self, program: ProgFd, ctx: &[u8]) -> Result<u32> {
        programs::test_run(self, program, ctx)
    }

    fn attach(&self, program: ProgFd, at: &AttachPoint, cookie: u64) -> Result<LinkFd> {
        links::attach(self, program, at, cookie)
    }

    fn detach_all(&self) {
        links::detach_all(self);
    }
}

impl Tracer for Linux {
    fn spawn(&self, command: &Command) -> Result<u32> {
        spawn::spawn(self, command)
    }

    fn follow(&self, pid: u32) -> Result<()> {
        spawn::follow(self, pid)
    }

    fn release(&self, before_exec: &mut dyn FnMut(u32) -> Result<()>) -> Result<()> {
        spawn::release(self, before_exec)
    }

    fn watch_signals(&self, signals: std::os::fd::BorrowedFd<'_>) -> Result<()> {
        self.waiter.borrow_mut().watch_signals(signals)
    }

    fn wait(&self, wanted: &[MapFd], deadline: Option<std::time::Instant>) -> Result<Wake> {
        wait::wait(self, wanted, deadline)
    }
}

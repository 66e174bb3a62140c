//! The running Linux kernel behind [`bombus_kernel::Kernel`] and [`bombus_kernel::Tracer`].
//!
//! Start-up is lazy: [`Linux::new`] asks for the version and the number of CPUs and nothing else;
//! tracefs, the kernel's BTF and the event sources are looked up when they are first needed.
//!
//! Nothing is left behind. Programs live as long as file descriptors do, so they are gone however
//! the process ends, unless the caller pins them; there are no named events. (What the kernel
//! attaches without a link is taken off when [`Linux`] is dropped, but stays when the process is
//! killed: filters of the classic traffic control, programs of sockets and infrared devices,
//! callbacks of maps without a link, and what had no links yet in old kernels.) A command that runs
//! under observation goes on when the observer dies, and ends when it had not been started yet.
#![deny(unsafe_code)]

mod btf;
mod caps;
mod catalog;
mod error;
mod features;
mod inspect;
mod links;
mod maps;
pub mod net;
mod permission;
pub mod probe;
mod programs;
mod resources;
mod signals;
mod spawn;
mod statistics;
mod sys;
mod tracefs;
mod wait;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bombus_kernel::{
    AttachPoint, BtfFd, Command, Feature, Features, Kernel, LinkFd, MapFd, MapMemory, MapTypes,
    ModuleBtf, Object, PerfRecord, ProgFd, ProgLoad, Result, TestRun, Tracer, UpdateFlag, Wake,
};
use bombus_spec::MapSpec;

pub use btf::KernelBtf;
pub use caps::{can_load_programs, give_up_bpf};
pub use catalog::LinuxCatalog;
pub use inspect::{Event, EventPipe, Place};
pub use programs::program_exists;
pub use signals::Signals;
pub use statistics::RunStatistics;
pub use tracefs::Tracefs;

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
    permission: permission::Permission,
    kernel_types: btf::KernelTypes,
    resources: resources::Resources,
    answers: probe::Answers,
    waiter: RefCell<wait::Waiter>,
    target: RefCell<spawn::Target>,
    load_time: Cell<Duration>,
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
            permission: Default::default(),
            kernel_types: Default::default(),
            resources: Default::default(),
            answers: Default::default(),
            waiter: RefCell::new(wait::Waiter::new()?),
            target: RefCell::default(),
            load_time: Cell::default(),
        })
    }

    /// The processor time of this thread that `BPF_PROG_LOAD` took, of all programs together: proving
    /// them and making machine code of them.
    pub fn load_time(&self) -> Duration {
        self.load_time.get()
    }

    /// The kernel's id of a loaded program, as `bpftool prog` shows it.
    pub fn program_id(&self, program: ProgFd) -> Result<u32> {
        programs::id(self, program)
    }

    /// The kernel's id of a map.
    pub fn map_id(&self, map: MapFd) -> Result<u32> {
        maps::get(self, map)?.id()
    }

    /// The kernel's id of a link.
    pub fn link_id(&self, link: LinkFd) -> Result<u32> {
        links::id(self, link)
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

    fn supports(&self, feature: Feature) -> bool {
        probe::feature(self, feature)
    }

    fn map_create(&self, spec: &MapSpec) -> Result<MapFd> {
        maps::create(self, spec, MapTypes::default())
    }

    fn map_create_typed(&self, spec: &MapSpec, types: MapTypes) -> Result<MapFd> {
        maps::create(self, spec, types)
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

    fn map_take(&self, map: MapFd, key: &[u8]) -> Result<Option<Vec<u8>>> {
        maps::get(self, map)?.take(key)
    }

    fn map_update_batch(
        &self,
        map: MapFd,
        elements: &[(Vec<u8>, Vec<u8>)],
        flag: UpdateFlag,
    ) -> Result<usize> {
        maps::get(self, map)?.update_batch(elements, flag)
    }

    fn map_delete_batch(&self, map: MapFd, keys: &[Vec<u8>]) -> Result<usize> {
        maps::get(self, map)?.delete_batch(keys)
    }

    fn map_freeze(&self, map: MapFd) -> Result<()> {
        maps::get(self, map)?.freeze()
    }

    fn map_mmap(&self, map: MapFd) -> Result<Box<dyn MapMemory>> {
        maps::get(self, map)?.memory()
    }

    fn map_spec(&self, map: MapFd) -> Result<MapSpec> {
        maps::get(self, map)?.spec()
    }

    fn user_ringbuf_submit(&self, map: MapFd, record: &[u8]) -> Result<()> {
        maps::get(self, map)?.submit(record)
    }

    fn perf_buffer_consume(
        &self,
        map: MapFd,
        each: &mut dyn FnMut(PerfRecord<'_>),
    ) -> Result<usize> {
        maps::get(self, map)?.consume_perf(each)
    }

    fn records_ready(&self, map: MapFd) -> Result<OwnedFd> {
        let map = maps::get(self, map)?;
        let copy = map.fd().try_clone_to_owned();
        copy.map_err(|e| bombus_kernel::Error::os("watch a ring buffer", error::errno_of(&e)))
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

    fn prog_run(&self, program: ProgFd, run: &mut TestRun) -> Result<()> {
        programs::run(self, program, run)
    }

    fn attach(&self, program: ProgFd, at: &AttachPoint, cookie: u64) -> Result<LinkFd> {
        links::attach(self, program, at, cookie)
    }

    fn link_update(&self, link: LinkFd, program: ProgFd) -> Result<()> {
        links::update(self, link, program)
    }

    fn link_update_map(&self, link: LinkFd, map: MapFd) -> Result<()> {
        links::update_map(self, link, &*maps::get(self, map)?)
    }

    fn detach(&self, link: LinkFd) -> Result<()> {
        links::detach(self, link)
    }

    fn iterate(&self, link: LinkFd) -> Result<Vec<u8>> {
        links::iterate(self, link)
    }

    fn pin(&self, object: Object, path: &Path) -> Result<()> {
        resources::pin(self, object, path)
    }

    fn pinned_map(&self, path: &Path) -> Result<MapFd> {
        resources::pinned_map(self, path)
    }

    fn pinned_program(&self, path: &Path) -> Result<ProgFd> {
        resources::pinned_program(self, path)
    }

    fn pinned_link(&self, path: &Path) -> Result<LinkFd> {
        resources::pinned_link(self, path)
    }

    fn close(&self, object: Object) -> Result<()> {
        resources::close(self, object)
    }

    fn interface_index(&self, name: &str) -> Result<u32> {
        net::interface_index(name)
    }

    fn kernel_btf(&self) -> Result<Option<Arc<[u8]>>> {
        Ok(self.kernel_types.blob())
    }

    fn module_btfs(&self) -> Result<Vec<ModuleBtf>> {
        btf::modules(self).map(<[ModuleBtf]>::to_vec)
    }

    fn kernel_symbol(&self, name: &str) -> Result<Option<u64>> {
        self.resources.symbol(name)
    }

    fn kernel_config(&self) -> Result<Arc<HashMap<String, String>>> {
        self.resources.config()
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

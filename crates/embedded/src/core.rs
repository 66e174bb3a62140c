//! Maps and programs, and how a program is run.

use std::sync::Arc;

use bombus_btf::Btf;
use bombus_kernel::BtfFd;
use bombus_vm::{Context, DEFAULT_FUEL, Execution, Trap};

use crate::hooks::Task;
use crate::kernel::index;
use crate::links::Attached;
use crate::maps::Map;
use crate::packet::{Packet, Redirect};
use crate::programs::Loaded;
use crate::run::{Occasion, Run, Workspace};
use crate::runs::Runs;

/// What programs are and work on.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) cpus: u32,
    pub(crate) maps: Vec<Map>,
    pub(crate) programs: Vec<Loaded>,
    /// Type information, as it was loaded.
    pub(crate) btfs: Vec<Arc<Btf>>,
    pub(crate) workspace: Workspace,
    /// Instructions that a run may take.
    pub(crate) fuel: u64,
    /// Whether any program can tell on which CPU it runs. When none can, asking the traced task is
    /// not worth a system call for every event, and all run on CPU 0.
    sees_cpu: bool,
}

impl Core {
    pub(crate) fn new(cpus: u32, seed: u64) -> Core {
        let workspace = Workspace::new(seed);
        let (maps, programs, btfs) = (Vec::new(), Vec::new(), Vec::new());
        Core { cpus, maps, programs, btfs, workspace, fuel: DEFAULT_FUEL, sees_cpu: false }
    }

    pub(crate) fn add_program(&mut self, program: Loaded) {
        self.sees_cpu |= program.sees_cpu;
        self.programs.push(program);
    }

    /// Runs an attached program; gives its value, or nothing when it was stopped.
    pub(crate) fn run(
        &mut self,
        attached: Attached,
        context: Context<'_>,
        task: &mut dyn Task,
        func_ip: u64,
    ) -> Option<u64> {
        let loaded = self.programs.get(attached.program as usize)?;
        loaded.about_to_run(2);
        let program = &loaded.program;
        let cpu = if self.sees_cpu { task.cpu() % self.cpus } else { 0 };
        let occasion = Occasion { cookie: attached.cookie, func_ip, cpu };
        let (maps, workspace) = (&mut self.maps, &mut self.workspace);
        let (mut run, stack) = Run::new(maps, &self.programs, workspace, task, None, occasion);
        run.arena = loaded.arena;
        let mut execution = Execution::new(stack, context).with_fuel(self.fuel);
        let result = execution.run(program, &mut run);
        run.finish();
        self.outcome(result)
    }

    /// Runs a program over a packet; gives its value, or nothing when it was stopped.
    pub(crate) fn run_packet(
        &mut self,
        program: usize,
        packet: &mut Packet,
        task: &mut dyn Task,
    ) -> Option<u64> {
        let result = self.runs(program, packet, task)?.next();
        self.outcome(result)
    }

    /// Prepares runs of a program over a packet that is another each time.
    pub(crate) fn runs<'a>(
        &'a mut self,
        program: usize,
        packet: &'a mut Packet,
        task: &'a mut dyn Task,
    ) -> Option<Runs<'a>> {
        let loaded = self.programs.get(program)?;
        let cpu = if self.sees_cpu { task.cpu() % self.cpus } else { 0 };
        let occasion = Occasion { cpu, ..Occasion::default() };
        let (maps, workspace) = (&mut self.maps, &mut self.workspace);
        let (mut run, stack) =
            Run::new(maps, &self.programs, workspace, task, Some(packet), occasion);
        run.arena = loaded.arena;
        Some(Runs::new(run, stack, self.fuel, loaded))
    }

    /// The number of the device that a program sent a packet to.
    pub(crate) fn device_of(&self, to: Redirect) -> Option<u32> {
        let Some(map) = to.map else { return Some(to.target) };
        let table = self.maps.get(map as usize)?.table()?;
        let value = table.lookup_all(&to.target.to_ne_bytes())?;
        Some(u32::from_ne_bytes(*value.first_chunk()?))
    }

    /// Types that were loaded.
    pub(crate) fn types(&self, fd: BtfFd) -> Option<&Arc<Btf>> {
        self.btfs.get(index(fd.0)?)
    }

    /// Counts runs that were stopped.
    pub(crate) fn outcome(&mut self, result: Result<u64, Trap>) -> Option<u64> {
        match result {
            Ok(value) => Some(value),
            Err(trap) => {
                if let Some(program) = self.programs.get_mut(trap.program as usize) {
                    program.fault(&trap);
                }
                None
            }
        }
    }

    /// Runs several programs on the same read-only context.
    pub(crate) fn run_all(&mut self, programs: &[Attached], context: &[u8], task: &mut dyn Task) {
        for &attached in programs {
            self.run(attached, Context::ReadOnly(context), task, 0);
        }
    }
}

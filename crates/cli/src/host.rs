//! Which kernel runs the programs, and what there is to probe on it.

use std::process::ExitCode;
use std::sync::Arc;

use bombus_btf::Btf;
use bombus_embedded::guard::{self, Ending, Role};
use bombus_embedded::{Embedded, EmbeddedCatalog, Options};
use bombus_kernel::catalog::Catalog;
use bombus_kernel::{Error, Features, Kernel, Tracer};
use bombus_linux::{Linux, LinuxCatalog, can_load_programs};

use crate::failure::Failure;
use crate::flags::KernelChoice;
use crate::wires::{self, Wire};

/// What a shell adds to the signal that ended a process.
pub(crate) const KILLED: i32 = 128;

/// A choice, and why the running kernel was not it.
pub(crate) struct Chosen {
    pub(crate) kernel: KernelChoice,
    /// Why programs cannot be loaded into the running kernel, when nobody asked for another.
    pub(crate) not_linux: Option<Error>,
    /// Traced processes are stopped at every event.
    pub(crate) no_agents: bool,
    /// Wires of the embedded kernel.
    pub(crate) wires: Vec<Wire>,
    /// The kernel's types, where the user gave them.
    pub(crate) types: Option<Arc<Btf>>,
}

impl Chosen {
    /// A kernel that was asked for.
    pub(crate) fn asked(kernel: KernelChoice) -> Chosen {
        Chosen { kernel, not_linux: None, no_agents: false, wires: Vec::new(), types: None }
    }
}

/// The kernel that was asked for; otherwise the running one where programs can be loaded.
pub(crate) fn choose(asked: Option<KernelChoice>) -> Chosen {
    match asked {
        Some(kernel) => Chosen::asked(kernel),
        None => match can_load_programs() {
            Ok(()) => Chosen::asked(KernelChoice::Linux),
            Err(error) => {
                Chosen { not_linux: Some(error), ..Chosen::asked(KernelChoice::Embedded) }
            }
        },
    }
}

/// What programs for a kernel may use.
pub(crate) fn features(kernel: KernelChoice) -> Result<Features, Failure> {
    Ok(match kernel {
        KernelChoice::Linux => {
            Linux::new().map_err(|error| Failure::kernel(&error, false))?.features().clone()
        }
        KernelChoice::Embedded => Embedded::default().features().clone(),
    })
}

/// What there is to probe.
pub(crate) fn catalog(kernel: KernelChoice) -> Box<dyn Catalog> {
    match kernel {
        KernelChoice::Linux => Box::new(LinuxCatalog::new()),
        KernelChoice::Embedded => Box::new(EmbeddedCatalog),
    }
}

/// Works on the chosen kernel; gives what to exit with. `follows`: a command or a process.
pub(crate) fn on_kernel(
    chosen: &Chosen,
    follows: bool,
    work: impl FnOnce(&dyn Tracer) -> Result<u8, Failure>,
) -> Result<ExitCode, Failure> {
    let code = match chosen.kernel {
        KernelChoice::Linux => {
            work(&Linux::new().map_err(|error| Failure::kernel(&error, false))?)?
        }
        KernelChoice::Embedded if !follows => work(&embedded(chosen)?)?,
        KernelChoice::Embedded => {
            let split = guard::split().map_err(|error| {
                Failure::new(format!("could not start the process that traces: {error}"))
            })?;
            match split {
                Role::Front(front) => match front.wait() {
                    Ending::Exit(code) => code as u8,
                    Ending::Killed(signal) => (KILLED + signal) as u8,
                },
                Role::Worker(worker) => as_worker(worker, chosen, work),
            }
        }
    };
    Ok(ExitCode::from(code))
}

/// The embedded kernel, as it was chosen.
pub(crate) fn embedded(chosen: &Chosen) -> Result<Embedded, Failure> {
    let kernel = Embedded::new(Options { no_agents: chosen.no_agents, ..Options::default() });
    if let Some(types) = &chosen.types {
        kernel.set_types(types.clone());
    }
    if !chosen.wires.is_empty() {
        wires::lay(&chosen.wires, &kernel).map_err(|error| Failure::kernel(&error, false))?;
    }
    Ok(kernel)
}

/// Works on the embedded kernel in a process that the user does not see, so that what is traced
/// survives whatever happens to the one that they do.
fn as_worker(
    worker: guard::Worker,
    chosen: &Chosen,
    work: impl FnOnce(&dyn Tracer) -> Result<u8, Failure>,
) -> u8 {
    let show = |failure: Failure| {
        failure.show();
        1
    };
    let (kernel, code) = match embedded(chosen) {
        Ok(kernel) => {
            let code = work(&kernel).unwrap_or_else(show);
            (Some(kernel), code)
        }
        Err(failure) => (None, show(failure)),
    };
    worker.finish(i32::from(code));
    if let Some(kernel) = kernel.filter(Embedded::needs_keeper) {
        kernel.keep_until_gone();
    }
    code
}

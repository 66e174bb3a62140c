//! Which kernel runs the programs, and what there is to probe on it.

use std::process::ExitCode;

use bombus_embedded::guard::{self, Ending, Role};
use bombus_embedded::{Embedded, EmbeddedCatalog, Options};
use bombus_kernel::catalog::Catalog;
use bombus_kernel::{Error, Features, Kernel, Tracer};
use bombus_linux::{Linux, LinuxCatalog, can_load_programs};

use crate::failure::Failure;
use crate::flags::KernelChoice;

/// What a shell adds to the signal that ended a process.
pub(crate) const KILLED: i32 = 128;

/// A choice, and why the running kernel was not it.
pub(crate) struct Chosen {
    pub(crate) kernel: KernelChoice,
    /// Why programs cannot be loaded into the running kernel, when nobody asked for another.
    pub(crate) not_linux: Option<Error>,
    /// Traced processes are stopped at every event.
    pub(crate) no_agents: bool,
}

/// The kernel that was asked for; otherwise the running one where programs can be loaded.
pub(crate) fn choose(asked: Option<KernelChoice>) -> Chosen {
    match asked {
        Some(kernel) => Chosen { kernel, not_linux: None, no_agents: false },
        None => match can_load_programs() {
            Ok(()) => Chosen { kernel: KernelChoice::Linux, not_linux: None, no_agents: false },
            Err(error) => {
                Chosen { kernel: KernelChoice::Embedded, not_linux: Some(error), no_agents: false }
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
        KernelChoice::Embedded if !follows => work(&embedded(chosen))?,
        KernelChoice::Embedded => {
            let split = guard::split().map_err(|error| {
                Failure::new(format!("could not start the process that traces: {error}"))
            })?;
            match split {
                Role::Front(front) => match front.wait() {
                    Ending::Exit(code) => code as u8,
                    Ending::Killed(signal) => (KILLED + signal) as u8,
                },
                Role::Worker(worker) => as_worker(worker, &embedded(chosen), work),
            }
        }
    };
    Ok(ExitCode::from(code))
}

fn embedded(chosen: &Chosen) -> Embedded {
    Embedded::new(Options { no_agents: chosen.no_agents, ..Options::default() })
}

/// Works on the embedded kernel in a process that the user does not see, so that what is traced
/// survives whatever happens to the one that they do.
fn as_worker(
    worker: guard::Worker,
    embedded: &Embedded,
    work: impl FnOnce(&dyn Tracer) -> Result<u8, Failure>,
) -> u8 {
    let code = work(embedded).unwrap_or_else(|failure| {
        failure.show();
        1
    });
    worker.finish(i32::from(code));
    if embedded.needs_keeper() {
        embedded.keep_until_gone();
    }
    code
}

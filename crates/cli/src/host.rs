//! Which kernel runs the programs, and what there is to probe on it.

use bombus_embedded::{Embedded, EmbeddedCatalog};
use bombus_kernel::catalog::Catalog;
use bombus_kernel::{Error, Features, Kernel};
use bombus_linux::{Linux, LinuxCatalog, can_load_programs};

use crate::failure::Failure;
use crate::flags::KernelChoice;

/// A choice, and why the running kernel was not it.
pub(crate) struct Chosen {
    pub(crate) kernel: KernelChoice,
    /// Why programs cannot be loaded into the running kernel, when nobody asked for another.
    pub(crate) not_linux: Option<Error>,
}

/// The kernel that was asked for; otherwise the running one where programs can be loaded.
pub(crate) fn choose(asked: Option<KernelChoice>) -> Chosen {
    match asked {
        Some(kernel) => Chosen { kernel, not_linux: None },
        None => match can_load_programs() {
            Ok(()) => Chosen { kernel: KernelChoice::Linux, not_linux: None },
            Err(error) => Chosen { kernel: KernelChoice::Embedded, not_linux: Some(error) },
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

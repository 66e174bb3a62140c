//! Kernels to load into.

use bombus_embedded::{Embedded, EmbeddedCatalog};
use bombus_kernel::Tracer;
use bombus_kernel::catalog::Catalog;
use bombus_linux::{Linux, LinuxCatalog};

/// A kernel that objects are loaded into: [`Linux`], or [`Embedded`] in this process.
///
/// Its methods are the commands of `bpf(2)` ([`bombus_kernel::Kernel`]), for what this crate has no
/// shorter way to say.
pub trait Host: Tracer {
    /// What there is to probe on it.
    fn catalog(&self) -> Box<dyn Catalog>;
}

impl Host for Linux {
    fn catalog(&self) -> Box<dyn Catalog> {
        Box::new(LinuxCatalog::new())
    }
}

impl Host for Embedded {
    fn catalog(&self) -> Box<dyn Catalog> {
        Box::new(EmbeddedCatalog)
    }
}

//! What there is to probe on the running kernel.

use std::cell::OnceCell;

use bombus_kernel::catalog::{Catalog, TracepointFormat};

use crate::btf;
use crate::inspect::kernel_symbols;
use crate::tracefs::{Tracefs, aliases};

/// Tracepoints and functions from tracefs and, where that is not to be had, raw tracepoints from the kernel's
/// types. Nothing is read before it is asked for.
#[derive(Default)]
pub struct LinuxCatalog {
    tracefs: OnceCell<Option<Tracefs>>,
}

impl LinuxCatalog {
    /// A catalog of the running kernel.
    pub fn new() -> LinuxCatalog {
        LinuxCatalog::default()
    }

    fn tracefs(&self) -> Option<&Tracefs> {
        self.tracefs.get_or_init(Tracefs::find).as_ref()
    }
}

/// Raw tracepoints that are not events of tracefs by these names.
const SYSCALL_TRACEPOINTS: [&str; 2] = ["sys_enter", "sys_exit"];

impl Catalog for LinuxCatalog {
    fn tracepoints(&self) -> Vec<(String, String)> {
        self.tracefs().map(Tracefs::tracepoints).unwrap_or_default()
    }

    fn tracepoint_format(&self, category: &str, name: &str) -> Option<TracepointFormat> {
        self.tracefs()?.format(category, name)
    }

    fn raw_tracepoints(&self) -> Vec<String> {
        let mut names: Vec<String> = match btf::kernel() {
            Some(kernel) => btf::tracepoints(kernel),
            // The events of `syscalls` are all made by two tracepoints.
            None => {
                let events = self.tracepoints().into_iter();
                let own = events.filter(|(category, _)| category != "syscalls");
                own.map(|(_, name)| name).chain(SYSCALL_TRACEPOINTS.map(str::to_owned)).collect()
            }
        };
        names.sort();
        names.dedup();
        names
    }

    /// What ftrace can trace; nothing where tracefs is not to be had or the kernel has no ftrace.
    fn kernel_functions(&self) -> Vec<String> {
        self.tracefs().map(Tracefs::functions).unwrap_or_default()
    }

    /// By the addresses in `/proc/kallsyms`; nothing where it does not show them.
    fn kernel_function_aliases(&self) -> Vec<(String, String)> {
        let symbols = kernel_symbols().unwrap_or_default();
        aliases(&self.kernel_functions(), &symbols)
    }
}

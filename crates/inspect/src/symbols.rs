//! The kernel's symbols, by address.

use bombus_kernel::inspect::KernelSymbol;

/// The kernel's symbols, by address.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    by_address: Vec<KernelSymbol>,
    call_base: u64,
}

impl Symbols {
    /// From a list that is sorted by address.
    pub fn new(by_address: Vec<KernelSymbol>) -> Symbols {
        // What helper calls count from (`kernel/bpf/core.c`).
        let base = by_address.iter().find(|symbol| symbol.name == "__bpf_call_base");
        let call_base = base.map_or(0, |symbol| symbol.address);
        // Where this one is hidden, all are.
        let by_address = if call_base == 0 { Vec::new() } else { by_address };
        Symbols { by_address, call_base }
    }

    /// The symbol at exactly this address.
    pub fn at(&self, address: u64) -> Option<&KernelSymbol> {
        let found = self.by_address.binary_search_by_key(&address, |symbol| symbol.address);
        found.ok().map(|index| &self.by_address[index])
    }

    /// What a helper call's number counts from.
    pub(crate) fn call_base(&self) -> u64 {
        self.call_base
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[KernelSymbol] {
        &self.by_address
    }
}

//! What a kernel can do, as far as code generation and loading depend on it.

/// A kernel's version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct KernelVersion {
    /// For example 6.
    pub major: u32,
    /// For example 18.
    pub minor: u32,
    /// For example 44.
    pub patch: u32,
}

/// Facts about a kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Features {
    /// `linux` or `embedded`.
    pub name: &'static str,
    /// The version that it has or stands for.
    pub version: KernelVersion,
    /// Possible CPUs: how many values a per-CPU map gives.
    pub possible_cpus: u32,
    /// Highest instruction set version that it accepts, 1 to 4.
    pub isa: u8,
    /// Links on perf events, with cookies (Linux 5.15).
    pub perf_link: bool,
    /// `bpf_for_each_map_elem` (Linux 5.13).
    pub for_each_map_elem: bool,
    /// `bpf_loop` (Linux 5.17).
    pub bpf_loop: bool,
    /// Programs may read through BTF pointers (`tp_btf`).
    pub tp_btf: bool,
    /// System call tracepoints are served best by one raw tracepoint that dispatches on the
    /// number once there are more than this many; `None`: attach each on its own.
    pub syscall_dispatch_above: Option<usize>,
}

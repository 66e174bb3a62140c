//! What there is to probe: the front end asks a [`Catalog`] and [`Binaries`], never the host.

/// One field of a tracepoint's record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Field {
    /// Name, for example `filename`.
    pub name: String,
    /// C type as the format file has it, without array brackets: `const char *`, `char`,
    /// `__data_loc char[]`.
    pub c_type: String,
    /// Elements when it is an array (`char comm[16]`: 16).
    pub array: Option<u32>,
    /// Bytes from the start of the record.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
    /// Whether an integer is signed.
    pub signed: bool,
}

/// A tracepoint's record layout, without the common fields.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TracepointFormat {
    /// The fields, in order.
    pub fields: Vec<Field>,
}

/// What there is to probe on one kernel. Lists are sorted.
pub trait Catalog {
    /// Every tracepoint as (category, name).
    fn tracepoints(&self) -> Vec<(String, String)>;
    /// The layout of one; `None` when there is no such tracepoint. Must not list all to find one.
    fn tracepoint_format(&self, category: &str, name: &str) -> Option<TracepointFormat>;
    /// Every raw tracepoint.
    fn raw_tracepoints(&self) -> Vec<String>;
    /// Every kernel function that a kprobe can be set on (`available_filter_functions`).
    fn kernel_functions(&self) -> Vec<String> {
        Vec::new()
    }
    /// Other names of these functions, as (name, name in [`Catalog::kernel_functions`]): what the
    /// compiler found to be the same code has one entry in that list, under one of its names.
    fn kernel_function_aliases(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// User programs and libraries to probe. (`bombus-symbols` implements it.)
pub trait Binaries {
    /// The file that a uprobe names: a path, a program in `PATH`, a library's short name (`libc`).
    fn resolve(&self, name: &str, pid: Option<u32>) -> Option<std::path::PathBuf>;
    /// Function symbols of a file, sorted by name.
    fn functions(&self, path: &std::path::Path) -> Result<Vec<Symbol>, String>;
    /// Where in the file an address of its code (as the linker gave it) lies; `None` when it lies
    /// nowhere.
    fn file_offset(&self, path: &std::path::Path, address: u64) -> Option<u64> {
        let _ = path;
        Some(address)
    }
    /// The places of the static probes (USDT) of a file that have this provider and name.
    fn static_probes(
        &self,
        path: &std::path::Path,
        provider: &str,
        name: &str,
    ) -> Result<Vec<StaticProbe>, String> {
        let _ = (path, provider, name);
        Ok(Vec::new())
    }
}

/// One place of a static probe (USDT), from the file's `.note.stapsdt`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StaticProbe {
    /// Where its instruction lies, as an offset in the file.
    pub offset: u64,
    /// The address of its instruction as the linker gave it.
    pub address: u64,
    /// Whether it may run at other addresses: that of a library, or a position-independent program.
    pub relocatable: bool,
    /// Offset in the file of its semaphore; 0: none.
    pub semaphore: u64,
    /// Where its arguments are, in the note's own form: `-4@%edi 8@-8(%rbp)`.
    pub arguments: String,
}

/// A function in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Symbol {
    /// Its name in the symbol table.
    pub name: String,
    /// Where it starts, as an offset in the file.
    pub offset: u64,
    /// Bytes; 0 when unknown.
    pub size: u64,
}

//! The typed commands of `bpf(2)`.

use std::path::PathBuf;

use bombus_isa::Insn;
use bombus_platform::{AttachType, ProgType};
use bombus_spec::MapSpec;

use crate::{Features, Result};

macro_rules! handle {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        ///
        /// A plain number, as a file descriptor is: the kernel that gave it owns what it names
        /// until it is closed or the kernel is dropped.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub struct $name(pub u32);
    )*};
}

handle! {
    /// A map.
    MapFd;
    /// A loaded program.
    ProgFd;
    /// An attachment.
    LinkFd;
    /// Type information.
    BtfFd;
}

/// What `BPF_PROG_LOAD` takes. Immediates are resolved: maps are named by their [`MapFd`].
#[derive(Clone, Debug)]
pub struct ProgLoad<'a> {
    /// At most 15 characters count.
    pub name: &'a str,
    /// The type.
    pub prog_type: ProgType,
    /// Expected attach type.
    pub attach_type: AttachType,
    /// Kernel symbol to attach to by BTF, for tracing programs.
    pub attach_to: Option<&'a str>,
    /// The code.
    pub insns: &'a [Insn],
    /// Declared licence.
    pub license: &'a str,
    /// Types that the next two fields name.
    pub btf: Option<BtfFd>,
    /// `struct bpf_func_info` records, 8 bytes each.
    pub func_info: &'a [u8],
    /// `struct bpf_line_info` records, 16 bytes each.
    pub line_info: &'a [u8],
}

/// What `BPF_MAP_UPDATE_ELEM` does about an element that is or is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum UpdateFlag {
    /// Add or replace.
    Any = 0,
    /// Add only.
    NoExist = 1,
    /// Replace only.
    Exist = 2,
}

/// How often a timer fires.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Period {
    /// Times a second.
    Hertz(u64),
    /// Nanoseconds between two.
    Nanoseconds(u64),
}

/// Where a program attaches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AttachPoint {
    /// A tracepoint, by its tracefs category and name.
    Tracepoint {
        /// For example `syscalls`.
        category: String,
        /// For example `sys_enter_openat`.
        name: String,
    },
    /// A raw tracepoint (also `tp_btf` programs, by program type).
    RawTracepoint {
        /// For example `sys_enter`.
        name: String,
    },
    /// An instruction of a user program or library, or the return of the function there.
    Uprobe {
        /// The file.
        path: PathBuf,
        /// Offset in the file.
        offset: u64,
        /// Fire when the function returns.
        on_return: bool,
        /// Only in this process.
        pid: Option<u32>,
    },
    /// A clock on every CPU (`profile`) or on one (`interval`).
    Timer {
        /// How often.
        period: Period,
        /// Every CPU, or one.
        every_cpu: bool,
    },
}

/// The commands of `bpf(2)`.
///
/// Keys and values are in host byte order, in the layouts of the map's specification. Values of
/// per-CPU maps hold every possible CPU's value in turn, each rounded up to 8 bytes.
pub trait Kernel {
    /// What this kernel can do.
    fn features(&self) -> &Features;

    /// `BPF_MAP_CREATE`. (The loader stores `spec.contents` afterwards.)
    fn map_create(&self, spec: &MapSpec) -> Result<MapFd>;
    /// `BPF_MAP_LOOKUP_ELEM`: the value, or `None` when there is none.
    fn map_lookup(&self, map: MapFd, key: &[u8]) -> Result<Option<Vec<u8>>>;
    /// `BPF_MAP_UPDATE_ELEM`.
    fn map_update(&self, map: MapFd, key: &[u8], value: &[u8], flag: UpdateFlag) -> Result<()>;
    /// `BPF_MAP_DELETE_ELEM`: whether it was there.
    fn map_delete(&self, map: MapFd, key: &[u8]) -> Result<bool>;
    /// `BPF_MAP_GET_NEXT_KEY`: the key after `key`, or the first.
    fn map_next_key(&self, map: MapFd, key: Option<&[u8]>) -> Result<Option<Vec<u8>>>;
    /// All elements at one go (`BPF_MAP_LOOKUP_BATCH` where there is one): key, value.
    fn map_elements(&self, map: MapFd) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let mut elements = Vec::new();
        let mut key = self.map_next_key(map, None)?;
        while let Some(current) = key {
            if let Some(value) = self.map_lookup(map, &current)? {
                elements.push((current.clone(), value));
            }
            key = self.map_next_key(map, Some(&current))?;
        }
        Ok(elements)
    }
    /// Takes every record that is ready out of a ring buffer, in order. Returns how many.
    fn ringbuf_consume(&self, map: MapFd, each: &mut dyn FnMut(&[u8])) -> Result<usize>;

    /// `BPF_BTF_LOAD`.
    fn btf_load(&self, btf: &[u8]) -> Result<BtfFd>;
    /// `BPF_PROG_LOAD`. When refused, the error carries the verifier's log.
    fn prog_load(&self, program: &ProgLoad<'_>) -> Result<ProgFd>;
    /// `BPF_PROG_TEST_RUN` with this context: runs it once, here and now; gives its value.
    fn prog_test_run(&self, program: ProgFd, ctx: &[u8]) -> Result<u32>;

    /// `BPF_LINK_CREATE` and its older forms. `cookie` is what `bpf_get_attach_cookie` gives.
    fn attach(&self, program: ProgFd, at: &AttachPoint, cookie: u64) -> Result<LinkFd>;
    /// Stops every attached program from firing and lets go of all links, without making the
    /// caller wait for the kernel's grace periods.
    fn detach_all(&self);
}

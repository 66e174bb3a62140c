//! What is loaded, whoever loaded it: the questions that tools such as bpftool ask.
//!
//! Objects are named by [`Which`], never by a handle: each question opens what it asks about and
//! lets go of it again, so that a listing of thousands keeps nothing alive.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bombus_platform::MapType;

use crate::{Kernel, MapFd, Result, TestRun, UpdateFlag};

/// What is called for each element of a map: its key, and its value or why that cannot be read.
pub type EachElement<'a> = &'a mut dyn FnMut(&[u8], std::result::Result<Vec<u8>, i32>);

/// What kind of object has an id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ObjectKind {
    /// A program.
    Program,
    /// A map.
    Map,
    /// A link.
    Link,
    /// Type information.
    Btf,
}

/// Which object of a kind.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Which {
    /// The one with this id.
    Id(u32),
    /// The one pinned here.
    Pin(PathBuf),
}

/// A network device that something is offloaded to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Device {
    /// Its number.
    pub ifindex: u32,
    /// Device of its network namespace's file.
    pub netns_dev: u64,
    /// Inode of its network namespace's file.
    pub netns_ino: u64,
}

/// A moment, to the second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// Seconds since 1970, in UTC.
    pub unix_seconds: i64,
    /// How many seconds the asker's clock on the wall is ahead of UTC.
    pub utc_offset: i32,
}

/// A loaded program (`struct bpf_prog_info`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProgramInfo {
    /// Its id.
    pub id: u32,
    /// `enum bpf_prog_type`; may be newer than [`bombus_platform::ProgType`].
    pub prog_type: u32,
    /// Hash of its code.
    pub tag: [u8; 8],
    /// At most 15 characters.
    pub name: String,
    /// When it was loaded.
    pub loaded_at: Option<Moment>,
    /// Who loaded it.
    pub uid: u32,
    /// Its licence is compatible with the GPL.
    pub gpl_compatible: bool,
    /// Bytes of its code after verification.
    pub xlated_len: u32,
    /// Bytes of its machine code; 0: interpreted, or hidden from the asker.
    pub jited_len: u32,
    /// The maps it uses.
    pub map_ids: Vec<u32>,
    /// Where it is offloaded to.
    pub device: Option<Device>,
    /// Its types; 0: none.
    pub btf_id: u32,
    /// How many functions its types describe.
    pub functions: u32,
    /// Nanoseconds it ran, when `kernel.bpf_stats_enabled` is set.
    pub run_time_ns: u64,
    /// How often it ran, when `kernel.bpf_stats_enabled` is set.
    pub run_count: u64,
    /// How often it was not run because it ran already.
    pub recursion_misses: u64,
    /// Instructions that the verifier looked at.
    pub verified_insns: u32,
    /// BTF object of what it attaches to; 0: none.
    pub attach_btf_obj_id: u32,
    /// Type of what it attaches to; 0: none.
    pub attach_btf_id: u32,
    /// Bytes of memory that it keeps.
    pub memlock: Option<u64>,
    /// The device that it was offloaded to is gone.
    pub orphaned: bool,
}

/// A program's code.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProgramCode {
    /// BPF instructions after verification, 8 bytes each.
    pub xlated: Vec<u8>,
    /// Machine code of all functions, one after the other.
    pub jited: Vec<u8>,
    /// Addresses of its functions in the kernel.
    pub symbols: Vec<u64>,
    /// Bytes of machine code of each function.
    pub jited_lens: Vec<u32>,
    /// First instruction and type of each function that has one.
    pub functions: Vec<FunctionType>,
    /// Source lines, by instruction.
    pub lines: Vec<CodeLine>,
    /// Address of the machine code of each of [`ProgramCode::lines`].
    pub jited_lines: Vec<u64>,
}

/// A function's type (`struct bpf_func_info`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FunctionType {
    /// Slot of its first instruction.
    pub insn: u32,
    /// Its type in the program's BTF.
    pub type_id: u32,
}

/// Where an instruction comes from (`struct bpf_line_info`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CodeLine {
    /// Slot of the instruction.
    pub insn: u32,
    /// Offset in the BTF's strings of the file's name.
    pub file: u32,
    /// Offset in the BTF's strings of the line's text.
    pub text: u32,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1.
    pub column: u32,
}

/// A map (`struct bpf_map_info`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MapInfo {
    /// Its id.
    pub id: u32,
    /// `enum bpf_map_type`; may be newer than [`MapType`].
    pub map_type: u32,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value, of one CPU's where every CPU has one.
    pub value_size: u32,
    /// Most elements.
    pub max_entries: u32,
    /// `BPF_F_*`.
    pub flags: u32,
    /// At most 15 characters.
    pub name: String,
    /// Where it is offloaded to.
    pub device: Option<Device>,
    /// Its types; 0: none.
    pub btf_id: u32,
    /// Type of the key; 0: none.
    pub key_type: u32,
    /// Type of the value; 0: none.
    pub value_type: u32,
    /// For struct_ops: type of the value in the kernel's BTF; 0: none.
    pub kernel_value_type: u32,
    /// Bytes of memory that it keeps.
    pub memlock: Option<u64>,
    /// User space may not write to it.
    pub frozen: bool,
    /// For tables of programs: the type of the program that uses it.
    pub owner_prog_type: Option<u32>,
    /// For tables of programs: the program that uses it is compiled.
    pub owner_jited: Option<bool>,
}

impl MapInfo {
    /// Its type, when known.
    pub fn map_type(&self) -> Option<MapType> {
        MapType::from_number(self.map_type)
    }

    /// Every CPU has a value of its own.
    pub fn is_per_cpu(&self) -> bool {
        self.map_type().is_some_and(MapType::is_per_cpu)
    }
}

/// Type information (`struct bpf_btf_info`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BtfInfo {
    /// Its id.
    pub id: u32,
    /// Bytes.
    pub size: u32,
    /// `vmlinux`, a module's name, or nothing.
    pub name: String,
    /// It comes with the kernel or with a module.
    pub kernel: bool,
}

/// A link (`struct bpf_link_info`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkInfo {
    /// Its id.
    pub id: u32,
    /// `enum bpf_link_type`; may be newer than [`bombus_platform::LinkType`].
    pub link_type: u32,
    /// What is attached; 0: none (struct_ops).
    pub prog_id: u32,
    /// Where to.
    pub target: LinkTarget,
}

/// Where a link attaches its program.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are those of struct bpf_link_info")]
pub enum LinkTarget {
    RawTracepoint { name: String, cookie: u64 },
    Tracing { attach_type: u32, target_obj_id: u32, target_btf_id: u32, cookie: u64 },
    Cgroup { cgroup_id: u64, attach_type: u32 },
    Iter { target: String, map_id: u32, cgroup_id: u64, order: u32, tid: u32, pid: u32 },
    Netns { netns_ino: u32, attach_type: u32 },
    Xdp { ifindex: u32 },
    StructOps { map_id: u32 },
    Netfilter { family: u32, hook: u32, priority: i32, flags: u32 },
    KprobeMulti { flags: u32, missed: u64, functions: Vec<ProbedAddress> },
    UprobeMulti { flags: u32, path: String, pid: u32, places: Vec<ProbedOffset> },
    PerfKprobe { returns: bool, function: String, offset: u32, addr: u64, missed: u64, cookie: u64 },
    PerfUprobe { returns: bool, file: String, offset: u32, cookie: u64, ref_ctr_offset: u64 },
    PerfTracepoint { name: String, cookie: u64 },
    PerfEvent { event_type: u32, config: u64, cookie: u64 },
    Tcx { ifindex: u32, attach_type: u32 },
    Netkit { ifindex: u32, attach_type: u32 },
    Sockmap { map_id: u32, attach_type: u32 },
    Other,
}

/// A kernel function that a link probes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProbedAddress {
    /// Its address; 0 when hidden from the asker.
    pub address: u64,
    /// What `bpf_get_attach_cookie` gives.
    pub cookie: u64,
}

/// A place in a file that a link probes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProbedOffset {
    /// Offset in the file.
    pub offset: u64,
    /// Offset in the file of a semaphore; 0: none.
    pub ref_ctr_offset: u64,
    /// What `bpf_get_attach_cookie` gives.
    pub cookie: u64,
}

/// A process that holds an object open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// Its name.
    pub comm: String,
}

/// A kernel symbol.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KernelSymbol {
    /// Its address; never 0.
    pub address: u64,
    /// Its name.
    pub name: String,
    /// The module it is in; empty: the kernel itself.
    pub module: String,
}

/// What a hook runs (`BPF_PROG_QUERY`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct AttachedProgram {
    /// The program.
    pub prog_id: u32,
    /// `BPF_F_ALLOW_*` of this program alone, where the kernel tells.
    pub flags: u32,
    /// The link that attaches it; 0: none.
    pub link_id: u32,
}

/// Where programs are attached without a link of their own.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Hook {
    /// A directory of the cgroup file system.
    Cgroup(PathBuf),
    /// The asker's network namespace.
    Netns,
    /// A network device.
    Device(u32),
    /// A map of sockets.
    Map(Which),
}

/// What [`Inspect::query`] found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Attachments {
    /// `BPF_F_ALLOW_*` of the hook.
    pub flags: u32,
    /// In the order in which they run.
    pub programs: Vec<AttachedProgram>,
}

/// What a descriptor of a process traces (`BPF_TASK_FD_QUERY`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskFd {
    /// The process.
    pub pid: u32,
    /// Its descriptor.
    pub fd: u32,
    /// The program.
    pub prog_id: u32,
    /// `enum bpf_task_fd_type`.
    pub fd_type: u32,
    /// Tracepoint, symbol or file.
    pub name: String,
    /// Offset from the symbol, or in the file.
    pub offset: u64,
    /// Address of the probe.
    pub addr: u64,
}

/// A new value for an element.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NewValue {
    /// Bytes.
    Bytes(Vec<u8>),
    /// A map, for maps of maps.
    Map(Which),
    /// A program, for tables of programs.
    Program(Which),
}

/// What a new map is like.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NewMap {
    /// `enum bpf_map_type`.
    pub map_type: u32,
    /// The kernel keeps 15 characters.
    pub name: String,
    /// Bytes of a key.
    pub key_size: u32,
    /// Bytes of a value.
    pub value_size: u32,
    /// Most elements.
    pub max_entries: u32,
    /// `BPF_F_*`.
    pub flags: u32,
    /// Device to offload it to; 0: none.
    pub ifindex: u32,
    /// What its values are like, for maps of maps.
    pub inner: Option<Which>,
}

/// A network device, and what it runs that no link tells of.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NetDevice {
    /// Its number.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// Programs for received packets, by mode; more than one only where several modes are in use.
    pub xdp: Vec<XdpProgram>,
    /// Filters of the old traffic control that are programs.
    pub filters: Vec<TcFilter>,
}

/// A program for received packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct XdpProgram {
    /// `driver`, `generic` or `offload`.
    pub mode: &'static str,
    /// The program.
    pub prog_id: u32,
    /// Several modes are in use.
    pub multi: bool,
}

/// A filter of the old traffic control.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TcFilter {
    /// Where: `clsact/ingress`, or the kind of the class or queue.
    pub kind: String,
    /// Its own name, when it has one.
    pub name: Option<String>,
    /// The program, when the kernel tells.
    pub prog_id: Option<u32>,
    /// Actions that are programs: name, program.
    pub actions: Vec<(Option<String>, Option<u32>)>,
}

/// A look at everything that a kernel has loaded.
///
/// Asking about objects by id needs `CAP_SYS_ADMIN`, by path the right to open the file.
/// Every error that comes from the kernel is [`crate::Error::Os`] with its number.
pub trait Inspect: Kernel {
    /// The ids of all objects of a kind, ascending (`BPF_*_GET_NEXT_ID`).
    fn object_ids(&self, kind: ObjectKind) -> Result<Vec<u32>>;
    /// What kind of object is pinned here; `None`: one that has no kind of its own.
    fn pin_kind(&self, path: &Path) -> Result<Option<ObjectKind>>;
    /// All pins of a kind, in every mounted BPF file system, with the object's id.
    fn pins(&self, kind: ObjectKind) -> Result<Vec<(u32, PathBuf)>>;
    /// The processes that hold objects of a kind open, by id.
    fn holders(&self, kind: ObjectKind) -> Result<BTreeMap<u32, Vec<Holder>>>;

    /// About a program.
    fn program_info(&self, which: &Which) -> Result<ProgramInfo>;
    /// A program's code with its types and lines.
    fn program_code(&self, which: &Which) -> Result<ProgramCode>;
    /// About a map.
    fn map_info(&self, which: &Which) -> Result<MapInfo>;
    /// About a map, as the kernel has it (`struct bpf_map_info`); at most so many bytes.
    fn raw_map_info(&self, which: &Which, len: usize) -> Result<Vec<u8>>;
    /// About a link.
    fn link_info(&self, which: &Which) -> Result<LinkInfo>;
    /// About type information.
    fn btf_info(&self, id: u32) -> Result<BtfInfo>;
    /// The blob of type information.
    fn btf_data(&self, id: u32) -> Result<Vec<u8>>;
    /// The kernel's symbols by address; empty when they are hidden from the asker.
    fn kernel_symbols(&self) -> Result<Vec<KernelSymbol>>;
    /// The name of a network device.
    fn device_name(&self, ifindex: u32) -> Option<String>;

    /// Every element: its key, and its value or the error number of the look-up.
    fn elements(&self, map: &Which, each: EachElement<'_>) -> Result<()>;
    /// One element's value.
    fn element(&self, map: &Which, key: &[u8]) -> Result<Option<Vec<u8>>>;
    /// The key after this one, or the first.
    fn key_after(&self, map: &Which, key: Option<&[u8]>) -> Result<Option<Vec<u8>>>;
    /// Adds or changes an element.
    fn set_element(
        &self,
        map: &Which,
        key: &[u8],
        value: &NewValue,
        flag: UpdateFlag,
    ) -> Result<()>;
    /// Removes an element.
    fn remove_element(&self, map: &Which, key: &[u8]) -> Result<()>;
    /// Takes an element out (of a queue or stack: the next).
    fn take_element(&self, map: &Which, key: &[u8]) -> Result<Option<Vec<u8>>>;
    /// Keeps user space from writing to a map.
    fn freeze(&self, map: &Which) -> Result<()>;
    /// Makes a map and pins it.
    fn create_map(&self, map: &NewMap, path: &Path) -> Result<()>;
    /// Gives an object a (further) name in a BPF file system.
    fn pin_object(&self, kind: ObjectKind, which: &Which, path: &Path) -> Result<()>;
    /// Whether a file in this directory would be in a BPF file system.
    fn is_bpf_file_system(&self, directory: &Path) -> bool;
    /// Mounts a BPF file system on this directory.
    fn mount_bpf_file_system(&self, directory: &Path) -> Result<()>;
    /// Detaches a link; it stays as an empty shell as long as somebody holds it.
    fn detach_link(&self, which: &Which) -> Result<()>;

    /// What a hook runs (`BPF_PROG_QUERY`); `effective`: with what its ancestors run.
    fn query(&self, hook: &Hook, attach_type: u32, effective: bool) -> Result<Attachments>;
    /// `BPF_PROG_ATTACH`.
    fn attach_to_hook(
        &self,
        program: &Which,
        hook: &Hook,
        attach_type: u32,
        flags: u32,
    ) -> Result<()>;
    /// `BPF_PROG_DETACH`; of no program in particular, where the hook lets one: the last.
    fn detach_from_hook(
        &self,
        program: Option<&Which>,
        hook: &Hook,
        attach_type: u32,
    ) -> Result<()>;
    /// Sets the program that a device runs for received packets, without a link, or takes it off.
    /// `flags` are `XDP_FLAGS_*`.
    fn set_xdp(&self, ifindex: u32, program: Option<&Which>, flags: u32) -> Result<()>;
    /// Every descriptor of every process that traces with a program.
    fn task_fds(&self) -> Result<Vec<TaskFd>>;
    /// The network devices of the asker's namespace; one of them, or all.
    fn net_devices(&self, ifindex: Option<u32>) -> Result<Vec<NetDevice>>;
    /// `BPF_PROG_TEST_RUN`, with room for so many bytes of packet and of context to come back.
    fn run_program(&self, program: &Which, run: &mut TestRun, room: [usize; 2]) -> Result<()>;
    /// What a program has printed to its own stream since the last time: what it says, or the
    /// kernel's complaints about it (`BPF_PROG_STREAM_READ_BY_FD`, Linux 6.17).
    fn read_stream(&self, program: &Which, errors: bool, each: &mut dyn FnMut(&[u8]))
    -> Result<()>;
    /// A map to use as one of this kernel's own.
    fn hold_map(&self, map: &Which) -> Result<MapFd>;
}

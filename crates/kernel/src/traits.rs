//! The typed commands of `bpf(2)`.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use bombus_btf::{Btf, Support as BtfSupport};
use bombus_isa::Insn;
use bombus_platform::{AttachType, ProgType};
use bombus_spec::MapSpec;

use crate::{AttachPoint, Error, Feature, Features, Result};

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
#[derive(Clone, Copy, Debug)]
pub struct ProgLoad<'a> {
    /// At most 15 characters count.
    pub name: &'a str,
    /// The type.
    pub prog_type: ProgType,
    /// Expected attach type.
    pub attach_type: AttachType,
    /// What to attach to by BTF.
    pub attach_to: AttachTo<'a>,
    /// The code.
    pub insns: &'a [Insn],
    /// Declared licence.
    pub license: &'a str,
    /// `BPF_F_*` flags.
    pub flags: u32,
    /// Types that the next two fields name.
    pub btf: Option<BtfFd>,
    /// `struct bpf_func_info` records, 8 bytes each.
    pub func_info: &'a [u8],
    /// `struct bpf_line_info` records, 16 bytes each.
    pub line_info: &'a [u8],
    /// Types of the modules that the code's kfuncs are in; `call` instructions name them by place,
    /// from 1 (`fd_array`).
    pub module_types: &'a [BtfFd],
    /// `LINUX_VERSION_CODE`, which kprobes had to name before Linux 5.0; 0: whatever runs.
    pub kern_version: u32,
    /// Network device that it is offloaded or bound to; 0: none.
    pub ifindex: u32,
    /// How much the verifier says when it refuses: 1 what it did on the refused path, 2 everything,
    /// 4 added: statistics. 0 is the same as 1.
    pub log_level: u32,
}

/// What a program attaches to, as far as it has to be said when it is loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AttachTo<'a> {
    /// Nothing.
    Nothing,
    /// A kernel function, hook, tracepoint or iterator, by name without prefix; the attach type
    /// tells which. It may be a module's.
    Kernel(&'a str),
    /// A member of a structure of kernel callbacks (struct_ops).
    Member {
        /// The structure, in the kernel's BTF or in the module's.
        structure: u32,
        /// Which of its members, from 0.
        member: u32,
        /// The types of the module that has the structure.
        module: Option<BtfFd>,
    },
    /// A function of another program.
    Program(ProgFd, &'a str),
}

/// An empty socket filter, to be filled in.
impl Default for ProgLoad<'_> {
    fn default() -> Self {
        ProgLoad {
            name: "",
            prog_type: ProgType::SocketFilter,
            attach_type: AttachType::NONE,
            attach_to: AttachTo::Nothing,
            insns: &[],
            license: "",
            flags: 0,
            btf: None,
            func_info: &[],
            line_info: &[],
            module_types: &[],
            kern_version: 0,
            ifindex: 0,
            log_level: 0,
        }
    }
}

/// What `BPF_MAP_CREATE` takes beside a map's specification.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct MapTypes {
    /// The types that the specification names its key and value by.
    pub btf: Option<BtfFd>,
    /// A map like those it holds.
    pub inner: Option<MapFd>,
    /// For struct_ops: the value's type in the kernel's BTF; 0: none.
    pub kernel_value_type: u32,
    /// For struct_ops: the types of the module that has it, when it is not the kernel's own.
    pub module: Option<BtfFd>,
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

/// What a perf buffer gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PerfRecord<'a> {
    /// A record.
    Sample {
        /// Whose.
        cpu: u32,
        /// Its bytes, possibly with zeros after them: the kernel rounds their number up.
        data: &'a [u8],
    },
    /// Records that there was no room for.
    Lost {
        /// Whose.
        cpu: u32,
        /// How many.
        count: u64,
    },
}

/// Something with a handle.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Object {
    /// A map.
    Map(MapFd),
    /// A program.
    Program(ProgFd),
    /// A link.
    Link(LinkFd),
}

/// The types of a kernel module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModuleBtf {
    /// The module's name.
    pub name: String,
    /// Its own types.
    pub btf: Arc<[u8]>,
    /// The handle.
    pub fd: BtfFd,
}

/// What a test run takes and gives (`BPF_PROG_TEST_RUN`).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TestRun {
    /// The packet, for programs over packets; afterwards as the program left it.
    pub data: Vec<u8>,
    /// The context; afterwards as the program left it.
    pub ctx: Vec<u8>,
    /// How often it runs; 0 is once.
    pub repeat: u32,
    /// `BPF_F_TEST_*` flags.
    pub flags: u32,
    /// Given: what the program returned.
    pub retval: u32,
    /// Given: nanoseconds a run.
    pub duration: u32,
}

/// The values of a map, one after the other, each rounded up to 8 bytes. Programs and other
/// processes may change them at any time; each aligned word of 1, 2, 4 or 8 bytes is read and
/// written at once.
pub trait MapMemory {
    /// Bytes, rounded up to whole pages.
    fn size(&self) -> usize;
    /// Whether it can be written to; a map that is read-only for user space, or frozen, cannot.
    fn is_writable(&self) -> bool;
    /// Copies bytes out. Fails with `EFAULT` outside of the memory.
    fn read(&self, offset: usize, to: &mut [u8]) -> Result<()>;
    /// Copies bytes in. Fails with `EFAULT` outside of the memory, `EPERM` when it is read-only.
    fn write(&self, offset: usize, from: &[u8]) -> Result<()>;
    /// Adds to an aligned 64-bit word, atomically, and gives what it was. Fails as
    /// [`MapMemory::write`], and with `EINVAL` when `offset` is not a multiple of 8.
    fn fetch_add(&self, offset: usize, value: u64) -> Result<u64>;
}

/// The commands of `bpf(2)`.
///
/// Keys and values are in host byte order, in the layouts of the map's specification. Values of
/// per-CPU maps hold every possible CPU's value in turn, each rounded up to 8 bytes.
pub trait Kernel {
    /// What this kernel can do.
    fn features(&self) -> &Features;
    /// Whether it can do this. It is asked, once, where asking changes nothing; else its version
    /// decides.
    fn supports(&self, feature: Feature) -> bool {
        self.features().version >= feature.since()
    }
    /// Which type information it accepts; `None`: none at all.
    fn btf_support(&self) -> Option<BtfSupport> {
        self.supports(Feature::Btf).then(|| BtfSupport {
            func: self.supports(Feature::BtfFunc),
            func_global: self.supports(Feature::BtfFuncGlobal),
            datasec: self.supports(Feature::BtfDatasec),
            qmark_datasec: self.supports(Feature::BtfQuestionMark),
            float: self.supports(Feature::BtfFloat),
            decl_tag: self.supports(Feature::BtfDeclTag),
            type_tag: self.supports(Feature::BtfTypeTag),
            enum64: self.supports(Feature::BtfEnum64),
        })
    }

    /// `BPF_MAP_CREATE`. (The loader stores `spec.contents` afterwards.)
    fn map_create(&self, spec: &MapSpec) -> Result<MapFd>;
    /// `BPF_MAP_CREATE` with types, and with what else is known only once other things are loaded.
    fn map_create_typed(&self, spec: &MapSpec, types: MapTypes) -> Result<MapFd> {
        let _ = types;
        self.map_create(spec)
    }
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
    /// `BPF_MAP_LOOKUP_AND_DELETE_ELEM`: takes an element out; of a queue or stack, the next.
    fn map_take(&self, map: MapFd, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let _ = (map, key);
        Err(unsupported("taking elements out of maps"))
    }
    /// `BPF_MAP_UPDATE_BATCH`, one by one where there is none. Returns how many were stored: all,
    /// for it fails with the first that cannot be, those before it stored.
    fn map_update_batch(
        &self,
        map: MapFd,
        elements: &[(Vec<u8>, Vec<u8>)],
        flag: UpdateFlag,
    ) -> Result<usize> {
        for (key, value) in elements {
            self.map_update(map, key, value, flag)?;
        }
        Ok(elements.len())
    }
    /// `BPF_MAP_DELETE_BATCH`, one by one where there is none. Returns how many there were.
    fn map_delete_batch(&self, map: MapFd, keys: &[Vec<u8>]) -> Result<usize> {
        keys.iter().try_fold(0, |count, key| Ok(count + usize::from(self.map_delete(map, key)?)))
    }
    /// `BPF_MAP_FREEZE`: user space may not write to it any more.
    fn map_freeze(&self, map: MapFd) -> Result<()> {
        let _ = map;
        Err(unsupported("freezing maps"))
    }
    /// The values of an array with `BPF_F_MMAPABLE`, or an arena, as memory shared with programs.
    /// It stays valid for as long as it is held.
    fn map_mmap(&self, map: MapFd) -> Result<Box<dyn MapMemory>> {
        let _ = map;
        Err(unsupported("mapping the values of maps"))
    }
    /// Adds a record to a user ring buffer.
    fn user_ringbuf_submit(&self, map: MapFd, record: &[u8]) -> Result<()> {
        let _ = (map, record);
        Err(unsupported("user ring buffers"))
    }
    /// Takes every record that is ready out of a perf event array, by CPU: a record, or how many
    /// were lost. The first call opens the buffers.
    fn perf_buffer_consume(
        &self,
        map: MapFd,
        each: &mut dyn FnMut(PerfRecord<'_>),
    ) -> Result<usize> {
        let _ = (map, each);
        Err(unsupported("perf buffers"))
    }
    /// A descriptor that becomes readable when a ring or perf buffer has records, for `poll(2)` and
    /// whatever waits for many things at once. It is the caller's.
    fn records_ready(&self, map: MapFd) -> Result<OwnedFd> {
        let _ = map;
        Err(unsupported("waiting for the records of one map"))
    }
    /// Takes every record that is ready out of a ring buffer, in order. Returns how many.
    fn ringbuf_consume(&self, map: MapFd, each: &mut dyn FnMut(&[u8])) -> Result<usize>;

    /// `BPF_BTF_LOAD`.
    fn btf_load(&self, btf: &[u8]) -> Result<BtfFd>;
    /// `BPF_PROG_LOAD`. When refused, the error carries the verifier's log.
    fn prog_load(&self, program: &ProgLoad<'_>) -> Result<ProgFd>;
    /// `BPF_PROG_TEST_RUN` with this context: runs it once, here and now; gives its value.
    fn prog_test_run(&self, program: ProgFd, ctx: &[u8]) -> Result<u32>;

    /// `BPF_PROG_TEST_RUN` with packet and context.
    fn prog_run(&self, program: ProgFd, run: &mut TestRun) -> Result<()> {
        let _ = (program, run);
        Err(unsupported("test runs with packets"))
    }

    /// `BPF_LINK_CREATE` and its older forms. `cookie` is what `bpf_get_attach_cookie` gives.
    fn attach(&self, program: ProgFd, at: &AttachPoint, cookie: u64) -> Result<LinkFd>;
    /// `BPF_LINK_UPDATE`: another program in its place, at once.
    fn link_update(&self, link: LinkFd, program: ProgFd) -> Result<()> {
        let _ = (link, program);
        Err(unsupported("updating links"))
    }
    /// `BPF_LINK_UPDATE` of a structure of callbacks: those of another map.
    fn link_update_map(&self, link: LinkFd, map: MapFd) -> Result<()> {
        let _ = (link, map);
        Err(unsupported("updating links"))
    }
    /// Lets go of one link.
    fn detach(&self, link: LinkFd) -> Result<()> {
        let _ = link;
        Err(unsupported("detaching one link"))
    }
    /// Text that an iterator's link gives (`BPF_ITER_CREATE`, and reading to the end).
    fn iterate(&self, link: LinkFd) -> Result<Vec<u8>> {
        let _ = link;
        Err(unsupported("iterators"))
    }
    /// `BPF_OBJ_PIN`: gives an object a name in a BPF file system; it lives on until that is
    /// removed.
    fn pin(&self, object: Object, path: &Path) -> Result<()> {
        let _ = (object, path);
        Err(unsupported("pins"))
    }
    /// `BPF_OBJ_GET`: a pinned map.
    fn pinned_map(&self, path: &Path) -> Result<MapFd> {
        let _ = path;
        Err(unsupported("pins"))
    }
    /// `BPF_OBJ_GET`: a pinned program.
    fn pinned_program(&self, path: &Path) -> Result<ProgFd> {
        let _ = path;
        Err(unsupported("pins"))
    }
    /// `BPF_OBJ_GET`: a pinned link.
    fn pinned_link(&self, path: &Path) -> Result<LinkFd> {
        let _ = path;
        Err(unsupported("pins"))
    }
    /// Lets go of a handle before the kernel is dropped. The object lives on for as long as
    /// something else holds it: a program its maps, a link its program, a pin. For a link this is
    /// [`Kernel::detach`].
    fn close(&self, object: Object) -> Result<()> {
        match object {
            Object::Link(link) => self.detach(link),
            Object::Map(_) | Object::Program(_) => Err(unsupported("closing one handle")),
        }
    }
    /// What kind of map it is, and how large: name, type, sizes, flags.
    fn map_spec(&self, map: MapFd) -> Result<MapSpec> {
        let _ = map;
        Err(unsupported("asking what a map is"))
    }

    /// The number of a network device, in the network namespace of the calling thread.
    fn interface_index(&self, name: &str) -> Result<u32> {
        let _ = name;
        Err(unsupported("network devices"))
    }
    /// The kernel's own types: a blob of BTF, `None` when it has none.
    fn kernel_btf(&self) -> Result<Option<Arc<[u8]>>> {
        Ok(None)
    }
    /// The same, read.
    fn kernel_types(&self) -> Result<Option<Arc<Btf>>> {
        let Some(blob) = self.kernel_btf()? else { return Ok(None) };
        let types = Btf::parse(blob).map_err(|error| Error::Unsupported {
            what: format!("the kernel's types cannot be read: {error}"),
            help: None,
        })?;
        Ok(Some(Arc::new(types)))
    }
    /// The types of its modules, each going on from [`Kernel::kernel_btf`]: name, blob, and a
    /// handle for [`ProgLoad::module_types`].
    fn module_btfs(&self) -> Result<Vec<ModuleBtf>> {
        Ok(Vec::new())
    }
    /// The address of a kernel symbol.
    fn kernel_symbol(&self, name: &str) -> Result<Option<u64>> {
        let _ = name;
        Ok(None)
    }
    /// The kernel's configuration as `name -> value` text (`/proc/config.gz`): `CONFIG_HZ` -> `250`.
    fn kernel_config(&self) -> Result<Arc<HashMap<String, String>>> {
        Ok(Arc::default())
    }

    /// Stops every attached program from firing and lets go of all links, without making the
    /// caller wait for the kernel's grace periods.
    fn detach_all(&self);
}

fn unsupported(what: &str) -> Error {
    Error::Unsupported { what: format!("this kernel does not support {what}"), help: None }
}

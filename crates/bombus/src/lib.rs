//! Load, attach and talk to BPF programs: typed, safe, without libbpf and without LLVM.
//!
//! An [`Object`] is what clang made of your C; a kernel is [`Linux`], or [`Embedded`] in this very
//! process, where nobody needs to be root. Loading the one into the other gives a [`Loaded`] with
//! programs to attach and maps to read:
//!
//! ```
//! use bombus::{Array, Linux, Object};
//!
//! # fn main() -> Result<(), bombus::Error> {
//! # if bombus::can_load_programs().is_err() { return Ok(()) }
//! # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/latency_histogram.bpf.o");
//! let kernel = Linux::new()?;
//! let mut object = Object::open(path)?;
//! object.set("only", std::process::id())?; // a constant, before the verifier sees it
//! let loaded = object.load(&kernel)?;
//! let link = loaded.attach_all()?; // by section: SEC("raw_tp/sys_enter")
//! std::fs::metadata("/").unwrap();
//! let histogram: Array<u64> = loaded.map("histogram")?;
//! assert!(histogram.values()?.iter().sum::<u64>() > 0);
//! drop(link); // detached
//! # Ok(())
//! # }
//! ```
//!
//! * **What depends on the kernel** is resolved when the object is loaded: fields of its types
//!   (CO-RE), its configuration, functions and structures of callbacks. A field that it does not
//!   have is an error only where the program uses it, and then the error names it, with the line.
//! * **Maps are views** with the types of keys and values: [`HashMap`], [`Array`],
//!   [`PerCpuHashMap`], [`RingBuf`], [`Queue`] and so on; any plain `#[repr(C)]` type will do
//!   ([`zerocopy`]). A view that does not fit its map is refused when it is made, not misread.
//! * **What is attached is a value**: a [`Link`] detaches when it is dropped, unless it was pinned
//!   or forgotten.
//! * **Nothing is hidden**: a [`Program`] or [`Map`] gives its handle, and a kernel has every
//!   command of `bpf(2)` ([`bombus_kernel::Kernel`]).
//!
//! The folder `examples/` has an XDP firewall, a histogram of latencies, a security policy and a log
//! of TCP connections, each with its C beside it: `cargo run --example tcp_logger`.
//!
//! # Making objects
//!
//! `clang -g -O2 -target bpf -c program.bpf.c -o program.bpf.o`, with the headers of libbpf
//! (`<bpf/bpf_helpers.h>`), as for any other loader. Names of sections mean what libbpf takes them
//! to mean.
#![forbid(unsafe_code)]

mod error;
mod host;
mod link;
mod loaded;
mod maps;
mod object;

pub use error::{Error, Result};
pub use host::Host;
pub use link::Link;
pub use loaded::{Loaded, Program};
pub use maps::{
    Array, BloomFilter, HashMap, LpmTrie, Map, MapOfMaps, PerCpuArray, PerCpuHashMap, PerfBuffer,
    Plain, Prefix, ProgArray, Queue, RingBuf, SocketMap, Stack, UserRingBuf, View, Watched,
};
pub use object::Object;

pub use bombus_embedded::Embedded;
pub use bombus_kernel::{
    AttachPoint, Command, Feature, IterTarget, Kernel, KernelVersion, MapMemory, Order, PerfPeriod,
    PerfRecord, TestRun, Tracer, UprobePlace, Usdt, Wake,
};
pub use bombus_linux::{Linux, can_load_programs};
pub use bombus_platform::{AttachType, MapType, ProgType};
pub use bombus_spec::{MapSpec, ObjectSpec, ProgramSpec};
pub use zerocopy;

//! The `bpf(2)` boundary as one trait, and the loader over it.
//!
//! [`Kernel`] has the typed commands of `bpf(2)`. [`Tracer`] adds what tracing needs beside them:
//! a command or process to follow, and one place to wait for everything that can happen.
//! Two crates implement both: `bombus-linux` by system calls, `bombus-embedded` in user space.
#![forbid(unsafe_code)]

mod attach;
mod error;
mod features;
pub mod glob;
pub mod inspect;
mod loader;
mod nearest;
mod proving;
mod tracer;
mod traits;

pub use attach::{AttachPoint, IterTarget, Order, PerfPeriod, Period, UprobePlace};
pub use error::{ENOTSUPP, Error, Result};
pub use features::{Feature, Features, KernelVersion};
pub use loader::{
    Loaded, LoadedProgram, Loader, Module, PIN_ROOT, Places, Target, Usdt, load, resolve_offline,
};
pub use nearest::nearest;
pub use proving::{
    Asked, Described, Handles, Machine, Proved, Prover, described_map, hook_type, prove_each,
    prove_load,
};
pub use tracer::{Command, PacketVerdicts, Scope, Tracer, Wake};
pub use traits::{
    AttachTo, BtfFd, Kernel, LinkFd, MapFd, MapMemory, MapTypes, ModuleBtf, Object, PerfRecord,
    ProgFd, ProgLoad, TestRun, UpdateFlag,
};

pub mod catalog;

//! Programs and the types that describe them.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use bombus_kernel::{AttachTo, BtfFd, Error, ProgFd, ProgLoad, Result, TestRun};
use bombus_platform::{AttachType, ProgType};

use crate::caps::Wants;
use crate::error::privileged;
use crate::sys::clock::processor_time;
use crate::sys::{self, ENOTSUPP, Errno, prog};
use crate::{Linux, btf};

/// A loaded program.
pub(crate) struct Program {
    pub(crate) fd: OwnedFd,
    pub(crate) name: String,
    pub(crate) prog_type: ProgType,
    pub(crate) attach_type: AttachType,
}

/// Where a verifier's log starts, in bytes; it doubles until it fits.
const LOG_START: usize = 64 << 10;
/// The longest log that the kernel writes (`UINT_MAX >> 2`, `kernel/bpf/log.c`).
const LOG_LIMIT: usize = (u32::MAX >> 2) as usize;

/// `BPF_PROG_LOAD`: without a log at first, which is faster; when refused, again for the log.
pub(crate) fn load(linux: &Linux, program: &ProgLoad<'_>) -> Result<ProgFd> {
    let doing = || format!("load program {}", program.name);
    let insns: Vec<[u8; 8]> = program.insns.iter().map(|insn| insn.to_bytes()).collect();
    let license = CString::new(program.license).map_err(|_| Error::os(doing(), libc::EINVAL))?;
    let target = attach_target(linux, program)?;
    let types = linux.types.borrow();
    let programs = linux.programs.borrow();
    let bad = || Error::os(doing(), libc::EBADF);
    let types_of = |handle: BtfFd| types.get(&handle).map(OwnedFd::as_fd).ok_or_else(bad);
    let mut fd_array = Vec::new();
    for (place, &module) in program.module_types.iter().enumerate() {
        if place == 0 {
            fd_array.push(0);
        }
        fd_array.push(types_of(module)?.as_raw_fd());
    }
    let attr = prog::ProgAttr {
        name: program.name,
        prog_type: program.prog_type as u32,
        expected_attach_type: match program.attach_to {
            AttachTo::Member { member, .. } => member,
            _ => program.attach_type as u32,
        },
        insns: &insns,
        license: &license,
        btf: program.btf.map(types_of).transpose()?,
        func_info: program.func_info,
        line_info: program.line_info,
        attach_btf_id: target.type_id,
        attach_object: match target.of {
            Owner::Kernel => None,
            Owner::Module(module) => Some(types_of(module)?),
            Owner::Program(other) => Some(programs.get(&other).ok_or_else(bad)?.fd()),
        },
        fd_array: &fd_array,
        flags: program.flags,
        kern_version: kern_version(linux, program),
        ifindex: program.ifindex,
        log_level: program.log_level,
        token: None,
    };
    let attempt =
        |token: Option<BorrowedFd<'_>>| load_retrying(&prog::ProgAttr { token, ..attr }, &mut []);
    let before = processor_time();
    let outcome = linux.permitted(attempt);
    linux.load_time.set(linux.load_time.get() + (processor_time() - before));
    let fd = match outcome {
        Ok(fd) => fd,
        // Nothing that the verifier could explain.
        Err(errno @ (libc::EPERM | libc::ENOSYS | libc::ENOMEM)) => {
            return Err(privileged(doing(), errno, wanted(program.prog_type)));
        }
        Err(errno) => match load_with_log(linux, &attr) {
            Ok(fd) => fd,
            Err((errno, log)) if !log.is_empty() => {
                return Err(Error::Rejected { program: program.name.to_owned(), errno, log });
            }
            Err(_) => return Err(privileged(doing(), errno, wanted(program.prog_type))),
        },
    };
    drop(programs);
    let name = program.name.to_owned();
    let (prog_type, attach_type) = (program.prog_type, program.attach_type);
    Ok(register(linux, Program { fd, name, prog_type, attach_type }))
}

fn register(linux: &Linux, program: Program) -> ProgFd {
    let handle = ProgFd(program.fd.as_raw_fd() as u32);
    linux.programs.borrow_mut().insert(handle, program);
    handle
}

/// A program that somebody else has loaded.
pub(crate) fn open(linux: &Linux, fd: OwnedFd, doing: &str) -> Result<ProgFd> {
    let facts =
        sys::object::program(fd.as_fd()).map_err(|errno| privileged(doing, errno, Wants::Bpf))?;
    let prog_type = ProgType::from_number(facts.prog_type).ok_or_else(|| Error::Unsupported {
        what: format!("could not {doing}: programs of type {} are not known", facts.prog_type),
        help: None,
    })?;
    // The kernel does not say for which attach type it was loaded.
    let attach_type = AttachType::NONE;
    Ok(register(linux, Program { fd, name: facts.name, prog_type, attach_type }))
}

/// Whose type it is that a program attaches to.
enum Owner {
    Kernel,
    Module(BtfFd),
    Program(ProgFd),
}

/// What a program attaches to by type.
struct Target {
    /// 0: nothing.
    type_id: u32,
    of: Owner,
}

fn attach_target(linux: &Linux, program: &ProgLoad<'_>) -> Result<Target> {
    let of_module = |module: Option<BtfFd>| module.map_or(Owner::Kernel, Owner::Module);
    Ok(match program.attach_to {
        AttachTo::Nothing => Target { type_id: 0, of: Owner::Kernel },
        AttachTo::Kernel(symbol) => {
            let target = btf::attach_target(linux, program.attach_type, symbol)?;
            Target { type_id: target.type_id, of: of_module(target.module) }
        }
        AttachTo::Member { structure, module, .. } => {
            Target { type_id: structure, of: of_module(module) }
        }
        AttachTo::Program(other, function) => with(linux, other, |target| {
            let type_id = btf::function_of(target.fd(), &target.name, function)?;
            Ok(Target { type_id, of: Owner::Program(other) })
        })?,
    })
}

/// Before Linux 5.0 probes had to be made for the kernel that runs.
fn kern_version(linux: &Linux, program: &ProgLoad<'_>) -> u32 {
    match (program.kern_version, program.prog_type) {
        (0, ProgType::Kprobe) => version_code(linux),
        (version, _) => version,
    }
}

/// `LINUX_VERSION_CODE`.
pub(crate) fn version_code(linux: &Linux) -> u32 {
    let version = linux.features.version;
    version.major << 16 | version.minor << 8 | version.patch.min(255)
}

pub(crate) fn wanted(prog_type: ProgType) -> Wants {
    match prog_type {
        ProgType::SocketFilter
        | ProgType::CgroupSkb
        | ProgType::SkReuseport
        | ProgType::CgroupDevice
        | ProgType::Syscall => Wants::Bpf,
        ProgType::Kprobe
        | ProgType::Tracepoint
        | ProgType::PerfEvent
        | ProgType::RawTracepoint
        | ProgType::RawTracepointWritable
        | ProgType::Tracing
        | ProgType::Lsm => Wants::Tracing,
        // The rest is about packets and sockets (`is_net_admin_prog_type`).
        _ => Wants::Network,
    }
}

/// Loads; again when the verifier gave up its work for a pending signal (`EAGAIN`).
fn load_retrying(attr: &prog::ProgAttr<'_>, log: &mut [u8]) -> std::result::Result<OwnedFd, Errno> {
    const TRIES: usize = 5;
    let mut outcome = prog::prog_load(attr, log);
    for _ in 1..TRIES {
        if !matches!(outcome, Err(libc::EAGAIN)) {
            break;
        }
        outcome = prog::prog_load(attr, log);
    }
    outcome
}

fn load_with_log(
    linux: &Linux,
    attr: &prog::ProgAttr<'_>,
) -> std::result::Result<OwnedFd, (Errno, String)> {
    let mut log = vec![0; LOG_START];
    loop {
        let attempt = |token: Option<BorrowedFd<'_>>| {
            load_retrying(&prog::ProgAttr { token, ..*attr }, &mut log)
        };
        match linux.permitted(attempt) {
            Err(libc::ENOSPC) if log.len() < LOG_LIMIT => {
                let len = (log.len() * 2).min(LOG_LIMIT);
                log.clear();
                log.resize(len, 0);
            }
            Err(errno) => return Err((errno, text(&log))),
            Ok(fd) => return Ok(fd),
        }
    }
}

/// A log up to its closing zero.
fn text(log: &[u8]) -> String {
    let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
    String::from_utf8_lossy(&log[..end]).into_owned()
}

/// `BPF_BTF_LOAD`.
pub(crate) fn load_types(linux: &Linux, types: &[u8]) -> Result<BtfFd> {
    let loaded = linux.permitted(|token| sys::btf::load(types, token, &mut []));
    let fd = loaded.map_err(|errno| {
        let mut log = vec![0; LOG_START];
        let _ = linux.permitted(|token| sys::btf::load(types, token, &mut log));
        match text(&log) {
            log if log.is_empty() => privileged("load type information", errno, Wants::Bpf),
            log => Error::Os { doing: "load type information".into(), errno, help: Some(log) },
        }
    })?;
    let handle = BtfFd(fd.as_raw_fd() as u32);
    linux.types.borrow_mut().insert(handle, fd);
    Ok(handle)
}

/// `BPF_PROG_TEST_RUN`.
pub(crate) fn test_run(linux: &Linux, program: ProgFd, ctx: &[u8]) -> Result<u32> {
    with(linux, program, |program| {
        let doing = || format!("run program {}", program.name);
        // A raw tracepoint's context must be at least as long as what the program reads; the
        // arguments that the caller did not give are zero.
        let padded;
        let ctx = match program.prog_type {
            ProgType::RawTracepoint if ctx.len() < prog::RAW_CONTEXT_SIZE => {
                let mut bytes = [0; prog::RAW_CONTEXT_SIZE];
                bytes[..ctx.len()].copy_from_slice(ctx);
                padded = bytes;
                &padded[..]
            }
            ProgType::RawTracepoint | ProgType::Syscall => ctx,
            other => {
                return Err(Error::Unsupported {
                    what: format!("programs of type {} cannot be run with a context", other.name()),
                    help: None,
                });
            }
        };
        match prog::prog_test_run(program.fd.as_fd(), ctx) {
            Ok(value) => Ok(value),
            Err(ENOTSUPP) => Err(Error::Unsupported {
                what: format!(
                    "could not {}: this kernel cannot run such programs on demand",
                    doing()
                ),
                help: Some("raw tracepoints can be run since Linux 5.10".into()),
            }),
            Err(errno) => Err(privileged(doing(), errno, Wants::Tracing)),
        }
    })
}

/// Room that a program may make in a packet (`XDP_PACKET_HEADROOM`), and to spare.
const PACKET_GROWTH: usize = 4096;
/// The packets of the run are real ones (`BPF_F_TEST_XDP_LIVE_FRAMES`): nothing comes back.
const LIVE_FRAMES: u32 = 1 << 1;

/// `BPF_PROG_TEST_RUN` with packet and context.
pub(crate) fn run(linux: &Linux, program: ProgFd, run: &mut TestRun) -> Result<()> {
    with(linux, program, |program| {
        let doing = || format!("run program {}", program.name);
        let packets = !run.data.is_empty() && run.flags & LIVE_FRAMES == 0;
        let mut data = vec![0; if packets { run.data.len() + PACKET_GROWTH } else { 0 }];
        // Only programs over packets give their context back; others refuse to be asked.
        let mut ctx = vec![0; if packets { run.ctx.len() } else { 0 }];
        loop {
            let mut call = prog::Run {
                data: &run.data,
                data_out: &mut data,
                ctx: &mut run.ctx,
                ctx_out: &mut ctx,
                repeat: run.repeat,
                flags: run.flags,
            };
            let (outcome, ran) = prog::prog_run(program.fd(), &mut call);
            match outcome {
                Err(libc::ENOSPC) if ran.data_size > data.len() => {
                    data.resize(ran.data_size, 0);
                    continue;
                }
                Err(libc::EINTR) => continue,
                Err(ENOTSUPP) => {
                    return Err(Error::Unsupported {
                        what: format!(
                            "could not {}: this kernel cannot run {} programs on demand",
                            doing(),
                            program.prog_type.name()
                        ),
                        help: None,
                    });
                }
                Err(errno) => return Err(privileged(doing(), errno, wanted(program.prog_type))),
                Ok(()) => {}
            }
            if packets {
                data.truncate(ran.data_size);
                ctx.truncate(ran.ctx_size);
                run.data = data;
                run.ctx = ctx;
            }
            (run.retval, run.duration) = (ran.retval, ran.duration);
            return Ok(());
        }
    })
}

/// The kernel's id of a program.
pub(crate) fn id(linux: &Linux, program: ProgFd) -> Result<u32> {
    with(linux, program, |program| {
        sys::object::program(program.fd.as_fd())
            .map(|facts| facts.id)
            .map_err(|errno| Error::os(format!("ask for the id of {}", program.name), errno))
    })
}

/// Whether the kernel still has the program with this id.
pub fn program_exists(id: u32) -> Result<bool> {
    match sys::object::by_id(sys::object::Kind::Program, id, 0) {
        Ok(_) => Ok(true),
        Err(libc::ENOENT) => Ok(false),
        Err(errno) => Err(privileged(format!("look for program {id}"), errno, Wants::Bpf)),
    }
}

/// Does something with a loaded program.
pub(crate) fn with<T>(
    linux: &Linux,
    program: ProgFd,
    action: impl FnOnce(&Program) -> Result<T>,
) -> Result<T> {
    let programs = linux.programs.borrow();
    let program = programs
        .get(&program)
        .ok_or_else(|| Error::os(format!("use program {}", program.0), libc::EBADF))?;
    action(program)
}

impl Program {
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

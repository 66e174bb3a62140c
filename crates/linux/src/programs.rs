//! Programs and the types that describe them.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use bombus_btf::Kind;
use bombus_kernel::{AttachTo, BtfFd, Error, ProgFd, ProgLoad, Result};
use bombus_platform::{AttachType, ProgType};

use crate::caps::Wants;
use crate::error::privileged;
use crate::sys::{Errno, bpf};
use crate::{Linux, btf};

/// A loaded program.
pub(crate) struct Program {
    pub(crate) fd: OwnedFd,
    pub(crate) name: String,
    pub(crate) prog_type: ProgType,
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
    let attach_btf_id = match program.attach_to {
        AttachTo::Nothing => 0,
        AttachTo::Kernel(symbol) => attach_type_id(linux, program.attach_type, symbol)?,
        AttachTo::Member { structure, .. } => structure,
        AttachTo::Program(..) => return Err(Error::os(doing(), libc::EINVAL)),
    };
    let types = linux.types.borrow();
    let btf = match program.btf {
        None => None,
        Some(fd) => {
            let fd = types.get(&fd).ok_or_else(|| Error::os(doing(), libc::EBADF))?;
            Some(fd.as_fd())
        }
    };
    let attr = bpf::ProgAttr {
        name: program.name,
        prog_type: program.prog_type as u32,
        expected_attach_type: match program.attach_to {
            AttachTo::Member { member, .. } => member,
            _ => program.attach_type as u32,
        },
        insns: &insns,
        license: &license,
        btf,
        func_info: program.func_info,
        line_info: program.line_info,
        attach_btf_id,
    };
    let outcome = match load_retrying(&attr, &mut []) {
        Err(libc::EPERM) if linux.lift_memlock_limit() => load_retrying(&attr, &mut []),
        outcome => outcome,
    };
    let fd = match outcome {
        Ok(fd) => fd,
        // Nothing that the verifier could explain.
        Err(errno @ (libc::EPERM | libc::ENOSYS | libc::ENOMEM)) => {
            return Err(privileged(doing(), errno, wanted(program.prog_type)));
        }
        Err(errno) => match load_with_log(&attr) {
            Ok(fd) => fd,
            Err((errno, log)) if !log.is_empty() => {
                return Err(Error::Rejected { program: program.name.to_owned(), errno, log });
            }
            Err(_) => return Err(privileged(doing(), errno, wanted(program.prog_type))),
        },
    };
    let handle = ProgFd(fd.as_raw_fd() as u32);
    let name = program.name.to_owned();
    linux.programs.borrow_mut().insert(handle, Program { fd, name, prog_type: program.prog_type });
    Ok(handle)
}

fn wanted(prog_type: ProgType) -> Wants {
    match prog_type {
        ProgType::SocketFilter | ProgType::Syscall => Wants::Bpf,
        _ => Wants::Tracing,
    }
}

/// Loads; again when the verifier gave up its work for a pending signal (`EAGAIN`).
fn load_retrying(attr: &bpf::ProgAttr<'_>, log: &mut [u8]) -> std::result::Result<OwnedFd, Errno> {
    const TRIES: usize = 5;
    let mut outcome = bpf::prog_load(attr, log);
    for _ in 1..TRIES {
        if !matches!(outcome, Err(libc::EAGAIN)) {
            break;
        }
        outcome = bpf::prog_load(attr, log);
    }
    outcome
}

fn load_with_log(attr: &bpf::ProgAttr<'_>) -> std::result::Result<OwnedFd, (Errno, String)> {
    let mut log = vec![0; LOG_START];
    loop {
        match load_retrying(attr, &mut log) {
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

/// The kernel type that a program attaches to by BTF.
fn attach_type_id(linux: &Linux, attach_type: AttachType, symbol: &str) -> Result<u32> {
    let name = match attach_type {
        AttachType::TraceRawTp => format!("{}{symbol}", btf::TRACEPOINT_PREFIX),
        _ => symbol.to_owned(),
    };
    let kind = match attach_type {
        AttachType::TraceRawTp => Kind::Typedef,
        _ => Kind::Func,
    };
    let types = btf::kernel().ok_or_else(|| Error::Unsupported {
        what: format!(
            "{symbol} cannot be found by its type: this kernel does not describe its types"
        ),
        help: Some("it was built without CONFIG_DEBUG_INFO_BTF".into()),
    })?;
    types.find(kind, &name).map(|id| id.0).ok_or_else(|| Error::Unsupported {
        what: match attach_type {
            AttachType::TraceRawTp => format!("this kernel has no tracepoint {symbol}"),
            _ => format!("this kernel has no function {symbol} to attach to"),
        },
        help: Some(format!(
            "Linux {}.{}",
            linux.features.version.major, linux.features.version.minor
        )),
    })
}

/// `BPF_BTF_LOAD`.
pub(crate) fn load_types(linux: &Linux, types: &[u8]) -> Result<BtfFd> {
    let loaded = match bpf::btf_load(types, &mut []) {
        Err(libc::EPERM) if linux.lift_memlock_limit() => bpf::btf_load(types, &mut []),
        outcome => outcome,
    };
    let fd = loaded.map_err(|errno| {
        let mut log = vec![0; LOG_START];
        let _ = bpf::btf_load(types, &mut log);
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
            ProgType::RawTracepoint if ctx.len() < bpf::RAW_CONTEXT_SIZE => {
                let mut bytes = [0; bpf::RAW_CONTEXT_SIZE];
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
        match bpf::prog_test_run(program.fd.as_fd(), ctx) {
            Ok(value) => Ok(value),
            // ENOTSUPP, the kernel's own number.
            Err(524) => Err(Error::Unsupported {
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

/// The kernel's id of a program.
pub(crate) fn id(linux: &Linux, program: ProgFd) -> Result<u32> {
    with(linux, program, |program| {
        bpf::prog_id(program.fd.as_fd())
            .map_err(|errno| Error::os(format!("ask for the id of {}", program.name), errno))
    })
}

/// Whether the kernel still has the program with this id.
pub fn program_exists(id: u32) -> Result<bool> {
    match bpf::prog_by_id(id) {
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

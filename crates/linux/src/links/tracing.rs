//! Programs that the kernel's own hooks run: tracepoints, functions by their types, security hooks,
//! iterators, and programs in the place of other programs' functions.

use std::ffi::CString;
use std::os::fd::AsFd;

use bombus_kernel::{Error, IterTarget, KernelVersion, ProgFd, Result};
use bombus_platform::{AttachType, ProgType};

use super::{Attached, perf_events::on_event};
use crate::caps::Wants;
use crate::error::{errno_of, privileged};
use crate::programs::{self, Program};
use crate::sys::link::{self, LinkOptions, Target, raw_tracepoint_open};
use crate::sys::perf;
use crate::{Linux, btf, maps};

/// `bpf_get_attach_cookie` in raw tracepoints.
const RAW_TRACEPOINT_COOKIE: KernelVersion = KernelVersion { major: 6, minor: 10, patch: 0 };

/// A tracepoint, as perf event.
pub(super) fn tracepoint(
    linux: &Linux,
    program: &Program,
    category: &str,
    name: &str,
    cookie: u64,
) -> Result<Attached> {
    let doing = || format!("attach to tracepoint {category}:{name}");
    let tracefs = linux.tracefs().ok_or_else(|| no_tracefs(doing()))?;
    let id = tracefs.tracepoint_id(category, name).map_err(|errno| match errno {
        libc::ENOENT => Error::Unsupported {
            what: format!("this kernel has no tracepoint {category}:{name}"),
            help: None,
        },
        errno => privileged(doing(), errno, Wants::Tracing),
    })?;
    let failed = |errno| privileged(doing(), errno, Wants::Tracing);
    let event = perf::tracepoint(id).map_err(failed)?;
    on_event(linux, program, event, cookie).map_err(failed)
}

fn no_tracefs(doing: String) -> Error {
    Error::Privilege {
        doing,
        missing: "tracefs (CAP_SYS_ADMIN to mount it, or to read /sys/kernel/tracing)".into(),
    }
}

/// A raw tracepoint; by name, or by the type that the program was loaded for.
pub(super) fn raw_tracepoint(
    linux: &Linux,
    program: &Program,
    name: &str,
    cookie: u64,
) -> Result<Attached> {
    let doing = || format!("attach to raw tracepoint {name}");
    let c_name = CString::new(name).map_err(|_| Error::os(doing(), libc::EINVAL))?;
    // A program that was loaded for one tracepoint by its type must not name it again.
    let c_name = (program.prog_type != ProgType::Tracing).then_some(c_name.as_c_str());
    // Before, programs cannot ask for the cookie and it is not missed.
    let cookie = if linux.features.version >= RAW_TRACEPOINT_COOKIE { cookie } else { 0 };
    match raw_tracepoint_open(program.fd(), c_name, cookie) {
        Ok(link) => Ok(Attached::tracing(link)),
        Err(libc::ENOENT) => Err(Error::Unsupported {
            what: format!("this kernel has no raw tracepoint {name}"),
            help: None,
        }),
        Err(errno) => Err(privileged(doing(), errno, Wants::Tracing)),
    }
}

/// What the program was loaded for.
pub(super) fn loaded(linux: &Linux, program: &Program, cookie: u64) -> Result<Attached> {
    let doing = || format!("attach program {} to what it was loaded for", program.name);
    let attach_type = program.attach_type as u32;
    let options = LinkOptions::Tracing { function: 0, cookie };
    let link = match link::create(program.fd(), Target::Nothing, attach_type, 0, &options) {
        // Before Linux 5.18; no program can ask for a cookie there.
        Err(libc::EINVAL) => {
            let cookie = if linux.features.version >= RAW_TRACEPOINT_COOKIE { cookie } else { 0 };
            raw_tracepoint_open(program.fd(), None, cookie)
        }
        link => link,
    };
    match link {
        Ok(link) => Ok(Attached::tracing(link)),
        Err(errno @ (libc::EOPNOTSUPP | crate::sys::ENOTSUPP)) => Err(Error::Os {
            doing: doing(),
            errno,
            help: Some("this kernel was built without trampolines or ftrace for it".into()),
        }),
        Err(libc::EBUSY) => Err(Error::Os {
            doing: doing(),
            errno: libc::EBUSY,
            help: Some("something that excludes it is attached there".into()),
        }),
        Err(errno) => Err(privileged(doing(), errno, Wants::Tracing)),
    }
}

/// A function of another program than the one that it was loaded for, with the same prototype.
pub(super) fn replace(
    linux: &Linux,
    program: &Program,
    target: ProgFd,
    function: &str,
    cookie: u64,
) -> Result<Attached> {
    programs::with(linux, target, |target| {
        let doing =
            format!("put program {} in place of {function} of {}", program.name, target.name);
        let function = btf::function_of(target.fd(), &target.name, function)?;
        let options = LinkOptions::Tracing { function, cookie };
        // An extension has no attach type of its own.
        let attach_type = match program.prog_type {
            ProgType::Ext => AttachType::NONE,
            _ => program.attach_type,
        };
        link::create(program.fd(), Target::Fd(target.fd()), attach_type as u32, 0, &options)
            .map(Attached::tracing)
            .map_err(|errno| privileged(doing, errno, Wants::Tracing))
    })
}

/// An iterator.
pub(super) fn iterator(linux: &Linux, program: &Program, over: &IterTarget) -> Result<Attached> {
    let doing = || format!("attach iterator {}", program.name);
    let map;
    let directory;
    // `union bpf_iter_link_info`.
    let words = match over {
        IterTarget::All => vec![],
        IterTarget::Map(over) => {
            map = maps::get(linux, *over)?;
            vec![map.raw()]
        }
        IterTarget::Thread(tid) => vec![*tid, 0, 0],
        IterTarget::Process(pid) => vec![0, *pid, 0],
        IterTarget::Cgroup(path, order) => {
            directory = std::fs::File::open(path).map_err(|error| {
                Error::os(format!("open cgroup {}", path.display()), errno_of(&error))
            })?;
            let fd = std::os::fd::AsRawFd::as_raw_fd(&directory.as_fd());
            vec![*order, fd as u32, 0, 0]
        }
    };
    let (attach_type, options) = (AttachType::TraceIter as u32, LinkOptions::Iter(&words));
    link::create(program.fd(), Target::Nothing, attach_type, 0, &options)
        .map(Attached::quick)
        .map_err(|errno| match errno {
            libc::EINVAL => Error::Os {
                doing: doing(),
                errno,
                help: Some("does this kernel's iterator take what it is to go over?".into()),
            },
            errno => privileged(doing(), errno, Wants::Tracing),
        })
}

//! Many probes by one link. Where the kernel or the program is not made for it, many probes.

use std::ffi::CString;
use std::path::Path;

use bombus_kernel::{Error, Feature, Kernel, Result, UprobePlace};
use bombus_platform::AttachType;

use super::{Attached, probes};
use crate::Linux;
use crate::caps::Wants;
use crate::error::privileged;
use crate::programs::Program;
use crate::sys::link::{self, LinkOptions, Target};

/// Whether one link is to do it. A kernel that knows what the program was loaded for, but cannot do
/// it, does not run it at single probes either.
fn by_link(linux: &Linux, made_for_it: bool, feature: Feature) -> Result<bool> {
    let able = linux.supports(feature);
    if made_for_it && !able && linux.features.version >= feature.since() {
        return Err(Error::Unsupported {
            what: format!("this kernel was built without {}", feature.name()),
            help: Some("load the program without this attach type for single probes".into()),
        });
    }
    Ok(made_for_it && able)
}

fn no_session(what: &str) -> Error {
    Error::Unsupported {
        what: format!("this kernel cannot run one program at both ends of {what} functions"),
        help: Some("kprobe.session needs Linux 6.10, uprobe.session 6.13".into()),
    }
}

/// Many kernel functions. `ends`: only the return, or both as one session.
pub(super) fn kprobes(
    linux: &Linux,
    program: &Program,
    symbols: &[String],
    (on_return, session): (bool, bool),
    cookie: u64,
) -> Result<Attached> {
    let doing = || match symbols {
        [one] => format!("attach to kernel function {one}"),
        many => format!("attach to {} kernel functions", many.len()),
    };
    let made_for_it = matches!(
        program.attach_type,
        AttachType::TraceKprobeMulti | AttachType::TraceKprobeSession
    );
    if !by_link(linux, made_for_it, Feature::KprobeMultiLink)? {
        if session {
            return Err(no_session("kernel"));
        }
        let mut attached = Attached::default();
        for symbol in symbols {
            attached.add(probes::kprobe(linux, program, symbol, 0, on_return, cookie)?);
        }
        return Ok(attached);
    }
    let names: std::result::Result<Vec<CString>, _> =
        symbols.iter().map(|symbol| CString::new(symbol.as_str())).collect();
    let names = names.map_err(|_| Error::os(doing(), libc::EINVAL))?;
    let cookies = vec![cookie; names.len()];
    let options = LinkOptions::Kprobes { on_return, symbols: &names, cookies: &cookies };
    let attach_type =
        if session { AttachType::TraceKprobeSession } else { AttachType::TraceKprobeMulti };
    link::create(program.fd(), Target::Nothing, attach_type as u32, 0, &options)
        .map(Attached::tracing)
        .map_err(|errno| match errno {
            libc::ESRCH => Error::Os {
                doing: doing(),
                errno,
                help: Some("one of them is not a function that can be traced".into()),
            },
            libc::EINVAL if session => no_session("kernel"),
            libc::EOPNOTSUPP => Error::Unsupported {
                what: format!("could not {}: this kernel has no function probes", doing()),
                help: Some("it was built without CONFIG_FPROBE".into()),
            },
            errno => privileged(doing(), errno, Wants::Tracing),
        })
}

/// Many places of one file.
pub(super) fn uprobes(
    linux: &Linux,
    program: &Program,
    path: &Path,
    places: &[UprobePlace],
    (on_return, session): (bool, bool),
    pid: Option<u32>,
    cookie: u64,
) -> Result<Attached> {
    let cookie_of = |place: &UprobePlace| if place.cookie == 0 { cookie } else { place.cookie };
    let made_for_it = matches!(
        program.attach_type,
        AttachType::TraceUprobeMulti | AttachType::TraceUprobeSession
    );
    if !by_link(linux, made_for_it, Feature::UprobeMultiLink)? {
        if session {
            return Err(no_session("user"));
        }
        let mut attached = Attached::default();
        for each in places {
            let place = probes::Place { path, offset: each.offset, semaphore: each.semaphore };
            let one = probes::uprobe(linux, program, &place, on_return, pid, cookie_of(each))?;
            attached.add(one);
        }
        return Ok(attached);
    }
    let doing = || format!("attach to {} places in {}", places.len(), path.display());
    let c_path = probes::c_path(path, doing)?;
    let column = |of: &dyn Fn(&UprobePlace) -> u64| places.iter().map(of).collect::<Vec<u64>>();
    let options = LinkOptions::Uprobes {
        on_return,
        path: &c_path,
        offsets: &column(&|place| place.offset),
        semaphores: &column(&|place| place.semaphore),
        cookies: &column(&cookie_of),
        pid: pid.unwrap_or(0),
    };
    let attach_type =
        if session { AttachType::TraceUprobeSession } else { AttachType::TraceUprobeMulti };
    link::create(program.fd(), Target::Nothing, attach_type as u32, 0, &options)
        .map(Attached::tracing)
        .map_err(|errno| match errno {
            libc::EINVAL if session => no_session("user"),
            libc::EINVAL | libc::EBADF => Error::Os {
                doing: doing(),
                errno,
                help: Some("are they starts of instructions in a regular file?".into()),
            },
            errno => privileged(doing(), errno, Wants::UserProbes),
        })
}

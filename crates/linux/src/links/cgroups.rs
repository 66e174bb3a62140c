//! Programs at what a directory or file stands for: cgroups, network namespaces, infrared devices.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use bombus_kernel::{Error, Result};
use bombus_platform::AttachType;

use super::{Attached, Undo};
use crate::caps::Wants;
use crate::error::{errno_of, privileged};
use crate::programs::Program;
use crate::sys::link::{self, LinkOptions, Target};
use crate::sys::prog;

fn open(what: &str, path: &Path) -> Result<OwnedFd> {
    File::open(path)
        .map(OwnedFd::from)
        .map_err(|error| Error::os(format!("open {what} {}", path.display()), errno_of(&error)))
}

fn own(program: &Program, doing: &str) -> Result<OwnedFd> {
    program.fd().try_clone_to_owned().map_err(|error| Error::os(doing, errno_of(&error)))
}

/// A hook of a cgroup: by link, or as one of several programs before Linux 5.7.
pub(super) fn cgroup(program: &Program, path: &Path, attach_type: AttachType) -> Result<Attached> {
    let doing = format!("attach program {} to cgroup {}", program.name, path.display());
    let directory = open("cgroup", path)?;
    let (number, target) = (attach_type as u32, Target::Fd(directory.as_fd()));
    let failed = |errno| match errno {
        libc::EBADF => Error::Os {
            doing: doing.clone(),
            errno,
            help: Some("it is not a directory of a cgroup v2 hierarchy".into()),
        },
        libc::EINVAL => Error::Os {
            doing: doing.clone(),
            errno,
            help: Some(format!("was it loaded for {}?", attach_type.name())),
        },
        errno => privileged(doing.clone(), errno, Wants::Network),
    };
    match link::create(program.fd(), target, number, 0, &LinkOptions::Plain) {
        Ok(link) => Ok(Attached::quick(link)),
        Err(errno @ libc::EINVAL) => {
            prog::prog_attach(program.fd(), directory.as_fd(), number, prog::ALLOW_MULTI)
                .map_err(|_| failed(errno))?;
            Ok(Attached::without_link(Undo::Program {
                program: own(program, &doing)?,
                target: directory,
                attach_type: number,
            }))
        }
        Err(errno) => Err(failed(errno)),
    }
}

/// A hook of a network namespace.
pub(super) fn netns(program: &Program, path: &Path, attach_type: AttachType) -> Result<Attached> {
    let doing = || format!("attach program {} to {}", program.name, path.display());
    let file = open("network namespace", path)?;
    let target = Target::Fd(file.as_fd());
    link::create(program.fd(), target, attach_type as u32, 0, &LinkOptions::Plain)
        .map(Attached::quick)
        .map_err(|errno| match errno {
            libc::EEXIST | libc::E2BIG => Error::Os {
                doing: doing(),
                errno,
                help: Some("the namespace has such a program already".into()),
            },
            errno => privileged(doing(), errno, Wants::Network),
        })
}

/// An infrared device. There are no links for them.
pub(super) fn lirc(program: &Program, path: &Path) -> Result<Attached> {
    let doing = format!("attach program {} to {}", program.name, path.display());
    let device = open("infrared device", path)?;
    let attach_type = AttachType::LircMode2 as u32;
    prog::prog_attach(program.fd(), device.as_fd(), attach_type, 0)
        .map_err(|errno| privileged(doing.clone(), errno, Wants::Network))?;
    let program = own(program, &doing)?;
    Ok(Attached::without_link(Undo::Program { program, target: device, attach_type }))
}

//! Programs at sockets, and at maps of sockets.

use std::os::fd::{AsFd, RawFd};

use bombus_kernel::{Error, MapFd, Result};
use bombus_platform::AttachType;

use super::{Attached, Undo};
use crate::caps::Wants;
use crate::error::{errno_of, privileged};
use crate::programs::Program;
use crate::sys::link::{self, LinkOptions, Target};
use crate::sys::{hook, socket};
use crate::{Linux, maps};

/// Every socket of a map: by link (Linux 6.10), or directly.
pub(super) fn sockmap(
    linux: &Linux,
    program: &Program,
    map: MapFd,
    attach_type: AttachType,
) -> Result<Attached> {
    let map = maps::get(linux, map)?;
    let doing = format!("attach program {} to a map of sockets", program.name);
    let (number, target) = (attach_type as u32, Target::Fd(map.fd()));
    match link::create(program.fd(), target, number, 0, &LinkOptions::Plain) {
        Ok(link) => Ok(Attached::quick(link)),
        Err(libc::EINVAL) => {
            let own = |fd: std::os::fd::BorrowedFd<'_>| {
                fd.try_clone_to_owned().map_err(|error| Error::os(&*doing, errno_of(&error)))
            };
            let (own_program, target) = (own(program.fd())?, own(map.fd())?);
            hook::attach(program.fd(), Target::Fd(target.as_fd()), number, 0)
                .map_err(|errno| privileged(&*doing, errno, Wants::Network))?;
            Ok(Attached::without_link(Undo::Program {
                program: own_program,
                target,
                attach_type: number,
            }))
        }
        Err(errno) => Err(privileged(doing, errno, Wants::Network)),
    }
}

/// A socket with a program as its filter. It is the caller's, so that it is not kept open.
pub(super) struct Filtered {
    socket: RawFd,
    /// What the number stood for.
    identity: (u64, u64),
    reuseport: bool,
}

/// One socket.
pub(super) fn socket(program: &Program, fd: RawFd, reuseport: bool) -> Result<Attached> {
    let failed = |errno| {
        privileged(format!("attach program {} to socket {fd}", program.name), errno, Wants::Bpf)
    };
    let identity = socket::identity(fd).map_err(failed)?;
    socket::attach(fd, program.fd(), reuseport).map_err(failed)?;
    Ok(Attached::without_link(Undo::Socket(Filtered { socket: fd, identity, reuseport })))
}

impl Filtered {
    /// Takes the filter off, unless the socket has been closed.
    pub(super) fn detach(self) -> Result<()> {
        if socket::identity(self.socket) != Ok(self.identity) {
            return Ok(());
        }
        match socket::detach(self.socket, self.reuseport) {
            Ok(()) | Err(libc::ENOENT) => Ok(()),
            Err(errno) => Err(privileged("take a filter off a socket", errno, Wants::Bpf)),
        }
    }
}

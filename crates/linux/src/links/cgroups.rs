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
use crate::sys::hook;
use crate::sys::link::{self, LinkOptions, Target};

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
        Err(libc::EINVAL) => {
            let undo = without_link(program, directory, number, &doing)?;
            undo.map_err(failed).map(Attached::without_link)
        }
        Err(errno) => Err(failed(errno)),
    }
}

/// `BPF_PROG_ATTACH` as one of several. The inner error is the kernel's.
fn without_link(
    program: &Program,
    target: OwnedFd,
    attach_type: u32,
    doing: &str,
) -> Result<std::result::Result<Undo, i32>> {
    let own = own(program, doing)?;
    Ok(hook::attach(program.fd(), Target::Fd(target.as_fd()), attach_type, hook::ALLOW_MULTI)
        .map(|()| Undo::Program { program: own, target, attach_type }))
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
    hook::attach(program.fd(), Target::Fd(device.as_fd()), attach_type, 0)
        .map_err(|errno| privileged(doing.clone(), errno, Wants::Network))?;
    let program = own(program, &doing)?;
    Ok(Attached::without_link(Undo::Program { program, target: device, attach_type }))
}

#[cfg(test)]
mod tests {
    use bombus_isa::{Insn, Reg};
    use bombus_kernel::{Kernel, ProgLoad};
    use bombus_platform::ProgType;

    use super::*;
    use crate::{Linux, programs};

    /// How programs were attached before Linux 5.7 works on later kernels as well.
    #[test]
    fn without_links() {
        let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
        let root = roots.iter().find(|root| root.join("cgroup.controllers").exists());
        let path = root.map(|root| root.join(format!("bombus-unit-{}", std::process::id())));
        let Some(path) = path.filter(|path| std::fs::create_dir(path).is_ok()) else {
            println!("skipped: no cgroup v2 hierarchy to make a cgroup in");
            return;
        };
        if let Err(error) = crate::can_load_programs() {
            println!("skipped: {error}");
        } else {
            let linux = Linux::new().unwrap();
            let attach_type = AttachType::CgroupInetSockCreate;
            let program = linux.prog_load(&ProgLoad {
                prog_type: ProgType::CgroupSock,
                attach_type,
                insns: &[Insn::mov_imm(Reg::R0, 1), Insn::exit()],
                ..ProgLoad::default()
            });
            let undone = programs::with(&linux, program.unwrap(), |program| {
                let number = attach_type as u32;
                let directory = || open("cgroup", &path);
                let undo = without_link(program, directory()?, number, "")?.unwrap();
                // Once is enough.
                assert!(without_link(program, directory()?, number, "")?.is_err());
                undo.perform()?;
                without_link(program, directory()?, number, "")?.unwrap().perform()
            });
            undone.unwrap();
        }
        std::fs::remove_dir(&path).unwrap();
    }
}

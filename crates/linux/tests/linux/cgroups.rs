//! Programs at cgroups that the tests make, with one process in them.

use std::path::{Path, PathBuf};

use bombus_kernel::{AttachPoint, AttachTo, Kernel};
use bombus_linux::Linux;
use bombus_platform::{AttachType, ProgType};
use libtest_mimic::Failed;

use crate::workload::Held;
use crate::{Test, cell, code, ensure, load_for, read_cell, same};

pub(crate) const TESTS: &[Test] =
    &[("cgroups::sockets", sockets), ("cgroups::update", update), ("cgroups::errors", errors)];

const SOCKETS: u64 = 19;

/// A cgroup that goes away with the test.
struct Cgroup(PathBuf);

impl Cgroup {
    /// `None` where there is no hierarchy of version 2.
    fn new(name: &str) -> Option<Cgroup> {
        let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
        let root = roots.iter().find(|root| Path::new(root).join("cgroup.controllers").exists());
        let path = root
            .map(|root| Path::new(root).join(format!("bombus-test-{}-{name}", std::process::id())));
        match path.filter(|path| std::fs::create_dir(path).is_ok()) {
            Some(path) => Some(Cgroup(path)),
            None => {
                println!("skipped: no cgroup v2 hierarchy to make a cgroup in");
                None
            }
        }
    }

    fn take(&self, held: &Held) -> std::io::Result<()> {
        std::fs::write(self.0.join("cgroup.procs"), held.pid().to_string())
    }

    fn hook(&self) -> AttachPoint {
        AttachPoint::Cgroup { path: self.0.clone(), attach_type: AttachType::CgroupInetSockCreate }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Lets sockets be made, and counts them.
fn program(linux: &Linux, cell: bombus_kernel::MapFd) -> Result<bombus_kernel::ProgFd, Failed> {
    let code = code::always(&code::count(cell), 1);
    let attach_type = AttachType::CgroupInetSockCreate;
    Ok(load_for(linux, ProgType::CgroupSock, attach_type, AttachTo::Nothing, &code)?)
}

fn make_sockets(cgroup: &Cgroup) -> Result<(), Failed> {
    let held = Held::start("sockets", SOCKETS)?;
    cgroup.take(&held)?;
    held.go()?;
    Ok(())
}

fn sockets() -> Result<(), Failed> {
    let Some(cgroup) = Cgroup::new("sockets") else { return Ok(()) };
    let linux = Linux::new()?;
    let cell = cell(&linux)?;
    let program = program(&linux, cell)?;
    linux.attach(program, &cgroup.hook(), 0)?;
    make_sockets(&cgroup)?;
    same(read_cell(&linux, cell)?, SOCKETS)?;
    linux.detach_all();
    make_sockets(&cgroup)?;
    same(read_cell(&linux, cell)?, SOCKETS)
}

fn update() -> Result<(), Failed> {
    let Some(cgroup) = Cgroup::new("update") else { return Ok(()) };
    let linux = Linux::new()?;
    let (first, second) = (cell(&linux)?, cell(&linux)?);
    let link = linux.attach(program(&linux, first)?, &cgroup.hook(), 0)?;
    make_sockets(&cgroup)?;
    linux.link_update(link, program(&linux, second)?)?;
    make_sockets(&cgroup)?;
    // Two at once.
    linux.attach(program(&linux, first)?, &cgroup.hook(), 0)?;
    make_sockets(&cgroup)?;
    same((read_cell(&linux, first)?, read_cell(&linux, second)?), (2 * SOCKETS, 2 * SOCKETS))
}

fn errors() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let program = program(&linux, cell(&linux)?)?;
    let at = |path: &str, attach_type| AttachPoint::Cgroup { path: path.into(), attach_type };
    let create = AttachType::CgroupInetSockCreate;
    let cases = [
        (at("/no/such/cgroup", create), "could not open cgroup /no/such/cgroup: No such file"),
        (at("/tmp", create), "could not attach program bombus_test to cgroup /tmp: "),
    ];
    for (at, wanted) in cases {
        let error = linux.attach(program, &at, 0).unwrap_err().to_string();
        ensure(error.starts_with(wanted), || error.clone())?;
    }
    let Some(cgroup) = Cgroup::new("errors") else { return Ok(()) };
    let at = AttachPoint::Cgroup {
        path: cgroup.0.clone(),
        attach_type: AttachType::CgroupInet4PostBind,
    };
    let error = linux.attach(program, &at, 0).unwrap_err().to_string();
    ensure(error.contains("was it loaded for cgroup_inet4_post_bind?"), || error.clone())
}

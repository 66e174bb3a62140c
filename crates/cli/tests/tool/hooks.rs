//! Programs on hooks: of cgroups, of sockets' maps, of processes.

use std::path::{Path, PathBuf};

use bombus_isa::asm;
use bombus_kernel::{Feature, Kernel, Object, ProgLoad};
use bombus_linux::Linux;
use bombus_platform::{AttachType, ProgType};

use crate::fixture::{Pins, Running};
use crate::oracle::{run, same, same_text};
use crate::{Outcome, Test, Unmet};

pub(crate) const TESTS: &[Test] =
    &[("cgroup", cgroups), ("perf", traced), ("prog::attach", sockets)];

/// Skips the trial where the kernel cannot do this.
pub(crate) fn supported(feature: Feature) -> Outcome {
    match Linux::new().is_ok_and(|linux| linux.supports(feature)) {
        true => Ok(()),
        false => Err(Unmet::Skipped(format!("this kernel has no {}", feature.name()))),
    }
}

/// Loads a program that does nothing, and pins it.
pub(crate) fn load(
    pins: &Pins,
    name: &str,
    prog_type: ProgType,
    attach_type: AttachType,
) -> Result<String, String> {
    let text = |error: bombus_kernel::Error| error.to_string();
    let linux = Linux::new().map_err(text)?;
    let insns = asm("r0 = 1\nexit").map_err(|error| error.to_string())?;
    let load = ProgLoad {
        name,
        prog_type,
        attach_type,
        insns: &insns,
        license: "GPL",
        ..ProgLoad::default()
    };
    let program = linux.prog_load(&load).map_err(text)?;
    let path = pins.path(name);
    linux.pin(Object::Program(program), Path::new(&path)).map_err(text)?;
    Ok(path)
}

/// A cgroup of its own.
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    pub(crate) fn new(name: &str) -> Result<Cgroup, String> {
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap_or_default();
        let root = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
        let root = root.and_then(|line| line.split(' ').nth(1)).ok_or("no cgroup2 is mounted")?;
        let path = Path::new(root).join(format!("bombus-tool-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(|error| error.to_string())?;
        Ok(Cgroup(path))
    }
}

impl Cgroup {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(self.0.join("inner"));
        let _ = std::fs::remove_dir(&self.0);
    }
}

fn cgroups() -> Outcome {
    let pins = Pins::new()?;
    pins.map("first", "array", [4, 4, 1], &[])?;
    let cgroup = match Cgroup::new("hooks") {
        Ok(cgroup) => cgroup,
        Err(reason) => return Err(Unmet::Skipped(reason)),
    };
    let path = cgroup.0.to_string_lossy().into_owned();
    let inner = format!("{path}/inner");
    std::fs::create_dir(&inner).map_err(|error| error.to_string())?;
    let packets = load(&pins, "packets", ProgType::CgroupSkb, AttachType::CgroupInetEgress)?;
    let sockets = load(&pins, "sockets", ProgType::CgroupSock, AttachType::CgroupInetSockCreate)?;
    same(&["cgroup", "show", &path])?;
    run(&["cgroup", "attach", &path, "cgroup_inet_egress", "pinned", &packets, "multi"])?;
    run(&["cgroup", "attach", &inner, "sock_create", "pinned", &sockets, "override"])?;
    for path in [&path, &inner] {
        same(&["cgroup", "show", path])?;
        same(&["cgroup", "show", path, "effective"])?;
        same(&["cgroup", "list", path, "effective", "effective"])?;
        same(&["cgroup", "show", path, "what"])?;
    }
    same(&["cgroup", "tree", &path])?;
    same(&["cgroup", "tree", &path, "effective"])?;
    same(&["cgroup", "attach", &path, "what", "pinned", &packets])?;
    same(&["cgroup", "attach", &path, "egress", "pinned", &sockets])?;
    same(&["cgroup", "attach", &path, "egress"])?;
    same(&["cgroup", "detach", &path, "ingress", "pinned", &packets])?;
    run(&["cgroup", "detach", &path, "egress", "pinned", &packets])?;
    run(&["cgroup", "detach", &inner, "sock_create", "pinned", &sockets])?;
    same(&["cgroup", "show", &path])?;
    same(&["cgroup", "show", "/nowhere"])?;
    Ok(())
}

/// Both list the same descriptors of a script's process; nobody else's are looked at.
fn traced() -> Outcome {
    let script = "tracepoint:syscalls:sys_enter_nanosleep / comm == \"nobody\" / { @x = 1; }";
    let running = Running::new(script, 1)?;
    let mine = format!("pid {}  ", running.pid());
    let lines = |text: &str| -> Vec<String> {
        let mut lines: Vec<String> =
            text.lines().filter(|line| line.starts_with(&mine)).map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let ours = lines(&run(&["perf", "show"])?);
    let theirs = lines(&crate::oracle::bpftool_says(&["perf", "show"])?);
    if ours.is_empty() || ours != theirs {
        return Err(format!("bombus: {ours:?}\nbpftool: {theirs:?}").into());
    }
    Ok(())
}

fn sockets() -> Outcome {
    let pins = Pins::new()?;
    let map = pins.map("sockets", "sockmap", [4, 4, 4], &[])?;
    let verdict = load(&pins, "verdict", ProgType::SkSkb, AttachType::NONE)?;
    let attach = ["prog", "attach", "pinned", &verdict, "stream_verdict", "pinned", &map];
    run(&attach)?;
    same_text(&["map", "show", "pinned", &map])?;
    run(&["prog", "detach", "pinned", &verdict, "stream_verdict", "pinned", &map])?;
    same(&["prog", "detach", "pinned", &verdict, "stream_verdict", "pinned", &map])?;
    same(&["prog", "attach", "pinned", &verdict, "what", "pinned", &map])?;
    same(&["prog", "attach", "pinned", &verdict])?;
    Ok(())
}

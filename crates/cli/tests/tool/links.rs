//! Links that are detached while they are in use, on a cgroup of the test's own.

use std::path::Path;

use bombus_isa::asm;
use bombus_kernel::{AttachPoint, Kernel, Object, ProgLoad};
use bombus_linux::Linux;
use bombus_platform::{AttachType, ProgType};

use crate::fixture::Pins;
use crate::hooks::Cgroup;
use crate::oracle::{bpftool_runs, run, same};
use crate::{Outcome, Test, Unmet};

pub(crate) const TESTS: &[Test] = &[("link::detach", detach)];

/// Two links, pinned: one that ours detaches, one that bpftool does.
fn detach() -> Outcome {
    let text = |error: bombus_kernel::Error| error.to_string();
    let pins = Pins::new()?;
    pins.map("first", "array", [4, 4, 1], &[])?;
    let cgroup = Cgroup::new("links").map_err(Unmet::Skipped)?;
    let linux = Linux::new().map_err(text)?;
    let insns = asm("r0 = 1\nexit").map_err(|error| error.to_string())?;
    let mut ids = Vec::new();
    for name in ["ours", "theirs"] {
        let load = ProgLoad {
            name,
            prog_type: ProgType::CgroupSkb,
            attach_type: AttachType::CgroupInetEgress,
            insns: &insns,
            license: "GPL",
            ..ProgLoad::default()
        };
        let program = linux.prog_load(&load).map_err(text)?;
        let at = AttachPoint::Cgroup {
            path: cgroup.path().to_owned(),
            attach_type: AttachType::CgroupInetEgress,
        };
        let link = linux.attach(program, &at, 0).map_err(text)?;
        linux.pin(Object::Link(link), Path::new(&pins.path(name))).map_err(text)?;
        ids.push(linux.link_id(link).map_err(text)?.to_string());
    }
    let path = cgroup.path().to_string_lossy().into_owned();
    let attached = || Ok::<_, String>(run(&["cgroup", "show", &path])?.lines().skip(1).count());
    for id in &ids {
        same(&["link", "show", "id", id])?;
    }
    same(&["cgroup", "show", &path])?;
    let before = attached()?;
    run(&["link", "detach", "id", &ids[0]])?;
    let after_ours = attached()?;
    bpftool_runs(&["link", "detach", "pinned", &pins.path("theirs")])?;
    let after_theirs = attached()?;
    if [before, after_ours, after_theirs] != [2, 1, 0] {
        return Err(format!("programs: {before}, {after_ours}, {after_theirs}").into());
    }
    for id in &ids {
        // An empty shell stays as long as it is pinned.
        same(&["link", "show", "id", id])?;
        same(&["link", "detach", "id", id])?;
    }
    Ok(())
}

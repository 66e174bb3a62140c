//! Structures of kernel callbacks (struct_ops).

use bombus_kernel::{Error, MapFd, Result};
use bombus_platform::AttachType;

use super::{Attached, Undo};
use crate::caps::Wants;
use crate::error::privileged;
use crate::sys::link::{self, LinkOptions, Target};
use crate::{Linux, maps};

/// The map's structure is used by link (`BPF_F_LINK`, Linux 6.4).
const BY_LINK: u32 = 1 << 13;
/// `BPF_STRUCT_OPS_STATE_INUSE`: the map has a structure, and the kernel uses it.
const IN_USE: u32 = 1;

/// Puts the structure into use that has been stored in a map. Without a link, storing it has done
/// so already: then it is ours to take out again.
pub(super) fn attach(linux: &Linux, map: MapFd) -> Result<Attached> {
    let map = maps::get(linux, map)?;
    let spec = map.spec()?;
    let doing = || format!("put the callbacks of map {} into use", spec.name);
    if spec.flags & BY_LINK != 0 {
        let attach_type = AttachType::StructOps as u32;
        // What stands where a program's descriptor does is the map's.
        let link = link::create(map.fd(), Target::Nothing, attach_type, 0, &LinkOptions::Plain);
        return link
            .map(Attached::quick)
            .map_err(|errno| privileged(doing(), errno, Wants::Network));
    }
    // `struct bpf_struct_ops_common_value`: reference count, state.
    let value = map.lookup(&[0; 4])?.unwrap_or_default();
    let state = value.get(4..8).and_then(|state| state.try_into().ok()).map(u32::from_ne_bytes);
    if state != Some(IN_USE) {
        return Err(Error::Os {
            doing: doing(),
            errno: libc::ENOENT,
            help: Some("store the structure in the map first".into()),
        });
    }
    Ok(Attached::without_link(Undo::Callbacks(map)))
}

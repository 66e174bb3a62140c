//! Types of maps, and what can be done to maps.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use bombus_btf::{Builder, Member};
use bombus_kernel::{Feature, Result};
use bombus_platform::MapType;

use super::allowed;
use crate::Linux;
use crate::caps::Wants;
use crate::error::privileged;
use crate::sys::map::{Map, MapAttr};
use crate::sys::{self, ENOTSUPP, Errno};

/// `BPF_F_NO_PREALLOC`.
const NO_PREALLOC: u32 = 1 << 0;
/// `BPF_F_MMAPABLE`.
const MMAPABLE: u32 = 1 << 10;

fn create(linux: &Linux, attr: &MapAttr<'_>) -> std::result::Result<Map, Errno> {
    linux.permitted(|token: Option<BorrowedFd<'_>>| Map::create(&MapAttr { token, ..*attr }, 1))
}

/// Types of a storage map's key and value: an integer, and a structure with a lock in it.
fn storage_types(linux: &Linux) -> std::result::Result<OwnedFd, Errno> {
    let mut types = Builder::new();
    let int = types.int("int", 4, true);
    let member = |name, ty, bit_offset| Member { name, ty, bit_offset, bit_size: 0 };
    let lock = types.structure("bpf_spin_lock", 4, &[member("val", int, 0)]);
    let members = [member("cnt", int, 0), member("l", lock, 32)];
    types.structure("val", 8, &members);
    let blob = types.finish();
    linux.permitted(|token| sys::btf::load(&blob, token, &mut []))
}

pub(super) fn map_type(linux: &Linux, map_type: MapType) -> Result<bool> {
    let (mut types, mut inner) = (None, None);
    let mut attr = MapAttr {
        name: "",
        map_type: map_type as u32,
        key_size: 4,
        value_size: 4,
        max_entries: 1,
        ..MapAttr::default()
    };
    match map_type {
        MapType::StackTrace => attr.value_size = 8,
        MapType::LpmTrie => {
            (attr.key_size, attr.value_size, attr.flags) = (8, 8, NO_PREALLOC);
        }
        MapType::CgroupStorage | MapType::PercpuCgroupStorage => {
            (attr.key_size, attr.value_size, attr.max_entries) = (16, 8, 0);
        }
        MapType::Queue | MapType::Stack | MapType::BloomFilter => attr.key_size = 0,
        MapType::SkStorage
        | MapType::InodeStorage
        | MapType::TaskStorage
        | MapType::CgrpStorage => {
            (attr.key_type, attr.value_type) = (1, 3);
            (attr.value_size, attr.max_entries, attr.flags) = (8, 0, NO_PREALLOC);
            types = storage_types(linux).ok();
        }
        MapType::Ringbuf | MapType::UserRingbuf => {
            (attr.key_size, attr.value_size, attr.max_entries) = (0, 0, 4096);
        }
        // Of a type that does not exist: that this is the complaint shows that the kernel knows
        // what it is about.
        MapType::StructOps => attr.kernel_value_type = 1,
        MapType::Arena => {
            (attr.key_size, attr.value_size, attr.flags) = (0, 0, MMAPABLE);
            // Where user space will see it: far away from everything.
            attr.extra = 1 << 44;
        }
        MapType::ArrayOfMaps | MapType::HashOfMaps => {
            let like = MapAttr { map_type: MapType::Hash as u32, ..attr };
            inner = create(linux, &like).ok();
        }
        _ => {}
    }
    attr.btf = types.as_ref().map(OwnedFd::as_fd);
    attr.inner = inner.as_ref().map(Map::fd);
    match create(linux, &attr) {
        Ok(_) => Ok(true),
        Err(ENOTSUPP) if map_type == MapType::StructOps => Ok(true),
        Err(errno @ (libc::EPERM | libc::EACCES)) => Err(privileged(
            format!("find out about maps of type {}", map_type.name()),
            errno,
            Wants::Bpf,
        )),
        Err(_) => Ok(false),
    }
}

/// An array of one number.
pub(super) fn array(linux: &Linux, flags: u32) -> std::result::Result<Map, Errno> {
    create(
        linux,
        &MapAttr {
            map_type: MapType::Array as u32,
            key_size: 4,
            value_size: 4,
            max_entries: 1,
            flags,
            ..MapAttr::default()
        },
    )
}

pub(super) fn ask(linux: &Linux, feature: Feature) -> Option<bool> {
    match feature {
        Feature::MmapableArrays => allowed(array(linux, MMAPABLE)),
        Feature::MapFreeze => allowed(array(linux, 0).and_then(|map| map.freeze())),
        Feature::MapBatch => allowed(array(linux, 0).and_then(|map| {
            let (_, outcome) = map.update_batch(&[0; 4], &[0; 4], 0);
            outcome
        })),
        _ => None,
    }
}

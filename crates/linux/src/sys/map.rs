//! `bpf(2)`: maps. [`Map`] knows the sizes of keys and values, so that the kernel never reads or
//! writes past a buffer of ours.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use bombus_platform::MapType;

use super::bpf::{Command, FLAG_TOKEN, NAME_LEN, bpf, bpf_fd, object_name};
use super::{ENOTSUPP, Errno};

/// What `BPF_MAP_CREATE` takes.
#[derive(Clone, Copy, Default)]
pub(crate) struct MapAttr<'a> {
    pub(crate) name: &'a str,
    pub(crate) map_type: u32,
    pub(crate) key_size: u32,
    pub(crate) value_size: u32,
    pub(crate) max_entries: u32,
    pub(crate) flags: u32,
    pub(crate) numa_node: u32,
    pub(crate) inner: Option<BorrowedFd<'a>>,
    pub(crate) btf: Option<BorrowedFd<'a>>,
    pub(crate) key_type: u32,
    pub(crate) value_type: u32,
    /// For struct_ops: the value's type in the kernel's BTF or the module's.
    pub(crate) kernel_value_type: u32,
    pub(crate) module: Option<BorrowedFd<'a>>,
    pub(crate) extra: u64,
    /// Device to offload it to; 0: none.
    pub(crate) ifindex: u32,
    pub(crate) token: Option<BorrowedFd<'a>>,
}

/// A map and the sizes of what it holds.
pub(crate) struct Map {
    fd: OwnedFd,
    key_size: usize,
    value_len: usize,
    max_entries: u32,
}

#[repr(C)]
#[derive(Default)]
struct Create {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; NAME_LEN],
    map_ifindex: u32,
    btf_fd: u32,
    btf_key_type_id: u32,
    btf_value_type_id: u32,
    btf_vmlinux_value_type_id: u32,
    map_extra: u64,
    value_type_btf_obj_fd: i32,
    map_token_fd: i32,
}

/// The types are those of a module (`BPF_F_VTYPE_BTF_OBJ_FD`).
const FLAG_MODULE: u32 = 1 << 15;

#[repr(C)]
#[derive(Default)]
struct Element {
    map_fd: u32,
    pad: u32,
    key: u64,
    /// Or the next key.
    value: u64,
    flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// What [`Map::lookup_batch`] found.
pub(crate) struct Found {
    /// How many elements.
    pub(crate) count: usize,
    /// Whether there is nothing after them.
    pub(crate) end: bool,
}

impl Map {
    /// `BPF_MAP_CREATE`. `cpus` is how many values an element of a per-CPU map has.
    pub(crate) fn create(attr: &MapAttr<'_>, cpus: usize) -> Result<Map, Errno> {
        let raw = |fd: Option<BorrowedFd<'_>>| fd.map_or(0, |fd| fd.as_raw_fd());
        let mut create = Create {
            map_type: attr.map_type,
            key_size: attr.key_size,
            value_size: attr.value_size,
            max_entries: attr.max_entries,
            map_flags: attr.flags,
            inner_map_fd: raw(attr.inner) as u32,
            numa_node: attr.numa_node,
            map_name: object_name(attr.name),
            map_ifindex: attr.ifindex,
            btf_fd: raw(attr.btf) as u32,
            btf_key_type_id: attr.key_type,
            btf_value_type_id: attr.value_type,
            btf_vmlinux_value_type_id: attr.kernel_value_type,
            map_extra: attr.extra,
            value_type_btf_obj_fd: raw(attr.module),
            map_token_fd: raw(attr.token),
        };
        if attr.module.is_some() {
            create.map_flags |= FLAG_MODULE;
        }
        if attr.token.is_some() {
            create.map_flags |= FLAG_TOKEN;
        }
        // SAFETY: there are no pointers.
        let fd = unsafe { bpf_fd(Command::MapCreate, &mut create) }?;
        let sizes = [attr.key_size, attr.value_size, attr.max_entries];
        Ok(Map::sized(fd, attr.map_type, sizes, cpus))
    }

    /// A map that somebody else has made. Its sizes are the kernel's answer, so that buffers made
    /// by them are large enough.
    pub(crate) fn open(fd: OwnedFd, cpus: usize) -> Result<Map, Errno> {
        let about = super::object::map(fd.as_fd())?;
        let sizes = [about.key_size, about.value_size, about.max_entries];
        Ok(Map::sized(fd, about.map_type, sizes, cpus))
    }

    fn sized(fd: OwnedFd, map_type: u32, sizes: [u32; 3], cpus: usize) -> Map {
        let [key_size, value_size, max_entries] = sizes;
        let value_size = value_size as usize;
        // What is not known is given room for every CPU.
        let per_cpu = MapType::from_number(map_type).is_none_or(MapType::is_per_cpu);
        // Per-CPU values are rounded up to eight bytes each (`bpf_map_value_size`,
        // `kernel/bpf/syscall.c`).
        let value_len = if per_cpu { value_size.next_multiple_of(8) * cpus } else { value_size };
        Map { fd, key_size: key_size as usize, value_len, max_entries }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(crate) fn raw(&self) -> u32 {
        self.fd.as_raw_fd() as u32
    }

    /// Bytes of a key.
    pub(crate) fn key_size(&self) -> usize {
        self.key_size
    }

    /// Bytes of an element's values together.
    pub(crate) fn value_len(&self) -> usize {
        self.value_len
    }

    /// Elements that fit, or bytes of a ring buffer.
    pub(crate) fn max_entries(&self) -> u32 {
        self.max_entries
    }

    fn check_key(&self, key: &[u8]) -> Result<(), Errno> {
        if key.len() == self.key_size { Ok(()) } else { Err(libc::EINVAL) }
    }

    fn element(&self, key: &[u8], value: u64, flags: u64) -> Element {
        Element {
            map_fd: self.raw(),
            key: if key.is_empty() { 0 } else { key.as_ptr() as u64 },
            value,
            flags,
            ..Element::default()
        }
    }

    /// `BPF_MAP_LOOKUP_ELEM`; `ENOENT` when there is none.
    pub(crate) fn lookup(&self, key: &[u8]) -> Result<Vec<u8>, Errno> {
        self.check_key(key)?;
        let mut value = vec![0; self.value_len];
        let mut attr = self.element(key, value.as_mut_ptr() as u64, 0);
        // SAFETY: `key` has the map's key size and `value` room for all values of an element.
        unsafe { bpf(Command::MapLookupElem, &mut attr) }?;
        Ok(value)
    }

    /// `BPF_MAP_UPDATE_ELEM`.
    pub(crate) fn update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.check_key(key)?;
        if value.len() != self.value_len {
            return Err(libc::EINVAL);
        }
        let mut attr = self.element(key, value.as_ptr() as u64, flags);
        // SAFETY: `key` and `value` have the map's sizes and are only read.
        unsafe { bpf(Command::MapUpdateElem, &mut attr) }.map(drop)
    }

    /// `BPF_MAP_DELETE_ELEM`.
    pub(crate) fn delete(&self, key: &[u8]) -> Result<(), Errno> {
        self.check_key(key)?;
        let mut attr = self.element(key, 0, 0);
        // SAFETY: `key` has the map's key size and is only read.
        unsafe { bpf(Command::MapDeleteElem, &mut attr) }.map(drop)
    }

    /// `BPF_MAP_LOOKUP_AND_DELETE_ELEM`; `ENOENT` when there is none.
    pub(crate) fn take(&self, key: &[u8]) -> Result<Vec<u8>, Errno> {
        self.check_key(key)?;
        let mut value = vec![0; self.value_len];
        let mut attr = self.element(key, value.as_mut_ptr() as u64, 0);
        // SAFETY: `key` has the map's key size and `value` room for all values of an element.
        unsafe { bpf(Command::MapLookupAndDeleteElem, &mut attr) }?;
        Ok(value)
    }

    /// `BPF_MAP_FREEZE`.
    pub(crate) fn freeze(&self) -> Result<(), Errno> {
        let mut attr = Element { map_fd: self.raw(), ..Element::default() };
        // SAFETY: there are no pointers.
        unsafe { bpf(Command::MapFreeze, &mut attr) }.map(drop)
    }

    /// `BPF_MAP_GET_NEXT_KEY`; `ENOENT` after the last.
    pub(crate) fn next_key(&self, key: Option<&[u8]>) -> Result<Vec<u8>, Errno> {
        key.map_or(Ok(()), |key| self.check_key(key))?;
        let mut next = vec![0; self.key_size];
        let mut attr = self.element(key.unwrap_or_default(), next.as_mut_ptr() as u64, 0);
        // SAFETY: `key` has the map's key size or is null, `next` has room for a key.
        unsafe { bpf(Command::MapGetNextKey, &mut attr) }?;
        Ok(next)
    }

    /// `BPF_MAP_LOOKUP_BATCH`: as many elements as `keys` and `values` have room for. `position`
    /// is where the last call stopped, and where this one did; `first` says that there was none.
    pub(crate) fn lookup_batch(
        &self,
        position: &mut Vec<u8>,
        first: bool,
        keys: &mut [u8],
        values: &mut [u8],
    ) -> Result<Found, Errno> {
        let room = (keys.len() / self.key_size.max(1)).min(values.len() / self.value_len.max(1));
        // A hash table's position is a bucket's number, an array's an index, others' a key.
        position.resize(self.key_size.max(4), 0);
        let mut next = vec![0; position.len()];
        let mut attr = Batch {
            in_batch: if first { 0 } else { position.as_ptr() as u64 },
            out_batch: next.as_mut_ptr() as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: u32::try_from(room).unwrap_or(u32::MAX),
            map_fd: self.raw(),
            ..Batch::default()
        };
        // SAFETY: `keys` and `values` have room for `count` elements, the positions for whichever
        // of bucket, index or key the map's type stores there.
        let outcome = unsafe { bpf(Command::MapLookupBatch, &mut attr) };
        *position = next;
        match outcome {
            Ok(_) => Ok(Found { count: attr.count as usize, end: false }),
            Err(libc::ENOENT) => Ok(Found { count: attr.count as usize, end: true }),
            Err(errno) => Err(errno),
        }
    }

    /// `BPF_MAP_UPDATE_BATCH`, or `BPF_MAP_DELETE_BATCH` without values: how many elements it did,
    /// and why it stopped before the last.
    fn change_batch(
        &self,
        command: Command,
        keys: &[u8],
        values: Option<&[u8]>,
        flags: u64,
    ) -> (usize, Result<(), Errno>) {
        let count = keys.len() / self.key_size.max(1);
        if self.key_size == 0
            || values.is_some_and(|values| values.len() != count * self.value_len)
            || keys.len() != count * self.key_size
        {
            return (0, Err(libc::EINVAL));
        }
        let mut attr = Batch {
            keys: keys.as_ptr() as u64,
            values: values.map_or(0, |values| values.as_ptr() as u64),
            count: u32::try_from(count).unwrap_or(u32::MAX),
            map_fd: self.raw(),
            elem_flags: flags,
            ..Batch::default()
        };
        // SAFETY: `keys` and `values` have `count` of each and are only read.
        let outcome = unsafe { bpf(command, &mut attr) }.map(drop);
        // An error before the first element leaves the count as it was (`bpf_map_do_batch`).
        let early = [libc::EINVAL, libc::EPERM, libc::ENOMEM, libc::EFAULT, ENOTSUPP];
        let done = match outcome {
            Err(errno) if early.contains(&errno) => 0,
            _ => attr.count as usize,
        };
        (done.min(count), outcome)
    }

    /// `BPF_MAP_UPDATE_BATCH`: how many were stored, and why not all.
    pub(crate) fn update_batch(
        &self,
        keys: &[u8],
        values: &[u8],
        flags: u64,
    ) -> (usize, Result<(), Errno>) {
        self.change_batch(Command::MapUpdateBatch, keys, Some(values), flags)
    }

    /// `BPF_MAP_DELETE_BATCH`: how many were there and are gone, and why not all.
    pub(crate) fn delete_batch(&self, keys: &[u8]) -> (usize, Result<(), Errno>) {
        self.change_batch(Command::MapDeleteBatch, keys, None, 0)
    }
}

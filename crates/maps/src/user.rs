//! The commands of `bpf(2)` on a map's elements: what user space does, with its own rights.

use std::sync::atomic::Ordering;

use crate::def::flag;
use crate::hash::elements::Element;
use crate::hash::key::with_key;
use crate::map::{Kind, Map};
use crate::update::{LOCK, Whose};
use crate::words::{Bytes, Place};
use crate::{ENOTSUPP, Errno, spin};

impl Map {
    /// That user space may read (`BPF_F_WRONLY`).
    pub(crate) fn may_read(&self) -> Result<(), Errno> {
        if self.def.flags & flag::WRONLY == 0 { Ok(()) } else { Err(libc::EPERM) }
    }

    /// That user space may write (`BPF_F_RDONLY`, `BPF_MAP_FREEZE`).
    pub(crate) fn may_write(&self) -> Result<(), Errno> {
        let frozen = self.frozen.load(Ordering::Acquire);
        if self.def.flags & flag::RDONLY == 0 && !frozen { Ok(()) } else { Err(libc::EPERM) }
    }

    /// That the flags have nothing but `BPF_F_LOCK`, and that only if the value has a lock.
    pub(crate) fn only_lock(&self, flags: u64) -> Result<(), Errno> {
        let known = flags & !LOCK == 0 && (flags == 0 || self.def.spin_lock.is_some());
        if known { Ok(()) } else { Err(libc::EINVAL) }
    }

    /// `BPF_MAP_LOOKUP_ELEM`: the value, of all CPUs where each has one.
    pub fn user_lookup(&self, key: &[u8], flags: u64) -> Result<Vec<u8>, Errno> {
        if flags & !LOCK != 0 {
            return Err(libc::EINVAL);
        }
        self.may_read()?;
        self.only_lock(flags)?;
        let key = self.key(key.into())?;
        let mut value = vec![0; self.user_value_size];
        let found = match &self.kind {
            Kind::Array(array) => array.value(key.first_u32(), 0).map(|_| {
                let each = |cpu| array.value(key.first_u32(), cpu);
                self.copy_values(each, &mut value, flags);
            }),
            Kind::Hash(table) => with_key!(key, |key| {
                table.read(key, |element| self.copy_element(element, &mut value, flags))
            }),
            Kind::Lpm(trie) => trie.read(key, &mut value),
            Kind::Queue(queue) => return queue.read(false, &mut value).map(|()| value),
            Kind::Stacks(stacks) => {
                return stacks.read(key.first_u32(), &mut value).map(|()| value);
            }
            // What is asked is the value: `Map::user_ask`.
            Kind::Bloom(_) => return Err(libc::EINVAL),
            _ => return Err(ENOTSUPP),
        };
        found.map(|()| value).ok_or(libc::ENOENT)
    }

    /// `BPF_MAP_LOOKUP_ELEM` of a bloom filter: whether the value may be there, `ENOENT` when it is
    /// not.
    pub fn user_ask(&self, value: &[u8]) -> Result<(), Errno> {
        self.may_read()?;
        match &self.kind {
            Kind::Bloom(bloom) if value.len() == self.value_size() => bloom.peek(value.into()),
            _ => Err(libc::EINVAL),
        }
    }

    /// Copies the values of an element out.
    pub(crate) fn copy_element(&self, element: Element<'_>, into: &mut [u8], flags: u64) {
        self.copy_values(|cpu| Some(element.value(cpu)), into, flags);
    }

    /// Copies the value of each CPU out, or the only one. A spin lock shows as zeros.
    fn copy_values<'a>(
        &self,
        value: impl Fn(u32) -> Option<Place<'a>>,
        into: &mut [u8],
        flags: u64,
    ) {
        let size = self.value_size();
        for (cpu, part) in (0..).zip(into.chunks_mut(size.next_multiple_of(8))) {
            let Some(place) = value(cpu) else { continue };
            let part = &mut part[..size];
            let Some(offset) = self.def.spin_lock.map(|offset| offset as usize) else {
                place.load(part);
                continue;
            };
            if flags & LOCK != 0 {
                spin::with(place, offset, || place.load(part));
            } else {
                place.load(part);
            }
            part[offset..offset + 4].fill(0);
        }
    }

    /// `BPF_MAP_UPDATE_ELEM`: `value` has the values of all CPUs where each has one.
    pub fn user_update(&self, key: &[u8], value: &[u8], flags: u64) -> Result<(), Errno> {
        self.may_write()?;
        if flags & LOCK != 0 && self.def.spin_lock.is_none() {
            return Err(libc::EINVAL);
        }
        if value.len() != self.user_value_size {
            return Err(libc::EINVAL);
        }
        match &self.kind {
            Kind::Queue(_) | Kind::Bloom(_) => {
                self.key(key.into())?;
                self.push(value, flags)
            }
            _ => self.store(key.into(), value.into(), Whose::All, flags),
        }
    }

    /// `BPF_MAP_DELETE_ELEM`.
    pub fn user_delete(&self, key: &[u8]) -> Result<(), Errno> {
        self.may_write()?;
        self.delete(key)
    }

    /// `BPF_MAP_GET_NEXT_KEY`: the first key without one, or after one that is not there; `ENOENT`
    /// after the last.
    pub fn user_next_key(&self, key: Option<&[u8]>) -> Result<Vec<u8>, Errno> {
        self.may_read()?;
        let key = key.map(|key| self.key(key.into())).transpose()?;
        match &self.kind {
            Kind::Array(array) | Kind::References(array) => {
                let index = key.map(Bytes::first_u32).filter(|&index| index < array.len());
                let next = index.map_or(0, |index| index + 1);
                if next < array.len() { Ok(next.to_ne_bytes().to_vec()) } else { Err(libc::ENOENT) }
            }
            Kind::Hash(table) | Kind::HashOfReferences(table) => {
                let take = |element: Element<'_>| {
                    let mut next = vec![0; self.key_size()];
                    element.key().load(&mut next);
                    next
                };
                let next = match key {
                    None => table.after(None::<Bytes<'_>>, take),
                    Some(key) => with_key!(key, |key| table.after(Some(key), take)),
                };
                next.ok_or(libc::ENOENT)
            }
            Kind::Lpm(trie) => trie.after(key).ok_or(libc::ENOENT),
            Kind::Stacks(stacks) => {
                let next = stacks.after(key.map(Bytes::first_u32)).ok_or(libc::ENOENT)?;
                Ok(next.to_ne_bytes().to_vec())
            }
            Kind::Queue(_) => Err(libc::EINVAL),
            Kind::Bloom(_) => Err(libc::EOPNOTSUPP),
            Kind::Ringbuf(_) | Kind::UserRingbuf(_) => Err(ENOTSUPP),
        }
    }

    /// `BPF_MAP_LOOKUP_AND_DELETE_ELEM`.
    pub fn user_take(&self, key: &[u8], flags: u64) -> Result<Vec<u8>, Errno> {
        if flags & !LOCK != 0 {
            return Err(libc::EINVAL);
        }
        self.may_read()?;
        self.may_write()?;
        self.only_lock(flags)?;
        let key = self.key(key.into())?;
        match &self.kind {
            Kind::Queue(queue) => {
                if flags != 0 {
                    return Err(libc::EINVAL);
                }
                let mut value = vec![0; self.user_value_size];
                queue.read(true, &mut value).map(|()| value)
            }
            Kind::Hash(table) => {
                let mut value = vec![0; self.user_value_size];
                with_key!(key, |key| {
                    table.delete(key, |element| self.copy_element(element, &mut value, flags))
                })?;
                Ok(value)
            }
            _ => Err(ENOTSUPP),
        }
    }

    /// `BPF_MAP_FREEZE`: from now on user space may not write.
    pub fn user_freeze(&self) -> Result<(), Errno> {
        if self.def.spin_lock.is_some() {
            return Err(ENOTSUPP);
        }
        // Also when it is frozen already.
        self.may_write()?;
        let before = self.frozen.swap(true, Ordering::AcqRel);
        if before { Err(libc::EBUSY) } else { Ok(()) }
    }
}

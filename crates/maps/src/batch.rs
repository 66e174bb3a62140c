//! Many elements at one go: `BPF_MAP_*_BATCH` (`generic_map_*_batch`, `kernel/bpf/syscall.c`, and
//! `__htab_map_lookup_and_delete_batch`, `kernel/bpf/hashtab.c`).

use crate::hash::Position;
use crate::hash::elements::Element;
use crate::map::{Kind, Map};
use crate::{ENOTSUPP, Errno};

/// How far a change of many elements came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Batch {
    /// How many elements were changed.
    pub count: u32,
    /// Why it stopped before the last.
    pub outcome: Result<(), Errno>,
}

/// What a look-up of many elements found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// The keys, one after the other.
    pub keys: Vec<u8>,
    /// The values of user space, likewise.
    pub values: Vec<u8>,
    /// How many.
    pub count: u32,
    /// Where the next call goes on: a bucket's number for hash tables, a key for others.
    pub next: Vec<u8>,
    /// Whether there is nothing after them (`ENOENT` of the system call).
    pub end: bool,
}

impl Map {
    fn check_batch(&self, elem_flags: u64, writes: bool, reads: bool) -> Result<(), Errno> {
        if reads {
            self.may_read()?;
        }
        if writes {
            self.may_write()?;
        }
        self.only_lock(elem_flags)
    }

    /// `BPF_MAP_LOOKUP_BATCH`, or with `take` `BPF_MAP_LOOKUP_AND_DELETE_BATCH`: at most `room`
    /// elements from a position on; `None` is the start. `ENOSPC` when there is no room for all
    /// elements of a hash table's bucket.
    pub fn user_lookup_batch(
        &self,
        from: Option<&[u8]>,
        room: u32,
        elem_flags: u64,
        take: bool,
    ) -> Result<Found, Errno> {
        let supported = match &self.kind {
            Kind::Hash(_) => true,
            Kind::Array(_) | Kind::Lpm(_) => !take,
            _ => false,
        };
        // The kernel asks for the rights before it knows whether there is such an operation.
        self.check_batch(0, take, true)?;
        if !supported {
            return Err(ENOTSUPP);
        }
        self.only_lock(elem_flags)?;
        if room == 0 {
            return Ok(Found::default());
        }
        match &self.kind {
            Kind::Hash(_) => self.buckets(from, room, elem_flags, take),
            _ => self.key_by_key(from, room, elem_flags),
        }
    }

    fn key_by_key(&self, from: Option<&[u8]>, room: u32, flags: u64) -> Result<Found, Errno> {
        let mut found = Found::default();
        let mut last = from.map(<[u8]>::to_vec);
        while found.count < room {
            let key = match self.user_next_key(last.as_deref()) {
                Ok(key) => key,
                Err(libc::ENOENT) => {
                    found.end = true;
                    break;
                }
                Err(errno) => return Err(errno),
            };
            match self.user_lookup(&key, flags) {
                Ok(value) => {
                    found.keys.extend(&key);
                    found.values.extend(value);
                    found.count += 1;
                }
                // It was deleted meanwhile.
                Err(libc::ENOENT) => {}
                Err(errno) => return Err(errno),
            }
            last = Some(key);
        }
        found.next = last.unwrap_or_else(|| vec![0; self.key_size()]);
        Ok(found)
    }

    fn buckets(
        &self,
        from: Option<&[u8]>,
        room: u32,
        flags: u64,
        take: bool,
    ) -> Result<Found, Errno> {
        let Kind::Hash(table) = &self.kind else { return Err(ENOTSUPP) };
        let start = match from.map(<[u8]>::first_chunk::<4>) {
            None => 0,
            Some(Some(bytes)) => u32::from_ne_bytes(*bytes),
            Some(None) => return Err(libc::EINVAL),
        };
        if table.is_end(Position(start)) {
            return Err(libc::ENOENT);
        }
        let mut found = Found::default();
        let mut position = Position(start);
        loop {
            position = table.inhabited_from(position);
            if table.is_end(position) {
                found.end = true;
                break;
            }
            let mut full = false;
            let copy = |elements: &[Element<'_>]| {
                full = elements.len() > (room - found.count) as usize;
                if full {
                    return false;
                }
                for element in elements {
                    let (keys, values) = (found.keys.len(), found.values.len());
                    found.keys.resize(keys + self.key_size(), 0);
                    found.values.resize(values + self.user_value_size, 0);
                    element.key().load(&mut found.keys[keys..]);
                    self.copy_element(*element, &mut found.values[values..], flags);
                    found.count += 1;
                }
                take
            };
            table.empty_bucket(position, copy);
            if full {
                if found.count == 0 {
                    return Err(libc::ENOSPC);
                }
                break;
            }
            position.0 += 1;
        }
        found.next = position.0.to_ne_bytes().to_vec();
        Ok(found)
    }

    /// `BPF_MAP_UPDATE_BATCH`: keys and values one after the other.
    pub fn user_update_batch(
        &self,
        keys: &[u8],
        values: &[u8],
        elem_flags: u64,
    ) -> Result<Batch, Errno> {
        self.check_batch(0, true, false)?;
        if !matches!(self.kind, Kind::Hash(_) | Kind::Array(_) | Kind::Lpm(_)) {
            return Err(ENOTSUPP);
        }
        self.only_lock(elem_flags)?;
        let pairs = keys.chunks(self.key_size()).zip(values.chunks(self.user_value_size));
        Ok(one_by_one(pairs, |(key, value)| self.user_update(key, value, elem_flags)))
    }

    /// `BPF_MAP_DELETE_BATCH`: keys one after the other.
    pub fn user_delete_batch(&self, keys: &[u8], elem_flags: u64) -> Result<Batch, Errno> {
        self.check_batch(0, true, false)?;
        if !matches!(self.kind, Kind::Hash(_) | Kind::Lpm(_)) {
            return Err(ENOTSUPP);
        }
        self.only_lock(elem_flags)?;
        Ok(one_by_one(keys.chunks(self.key_size()), |key| self.user_delete(key)))
    }
}

fn one_by_one<T>(
    elements: impl Iterator<Item = T>,
    mut change: impl FnMut(T) -> Result<(), Errno>,
) -> Batch {
    let mut batch = Batch { count: 0, outcome: Ok(()) };
    for element in elements {
        batch.outcome = change(element);
        if batch.outcome.is_err() {
            break;
        }
        batch.count += 1;
    }
    batch
}

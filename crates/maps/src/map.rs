//! A map, whatever its type, as programs see it.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bombus_platform::MapType;

use crate::array::{Array, ArrayLayout};
use crate::bloom::Bloom;
use crate::def::{MapDef, flag};
use crate::hash::chain::Node;
use crate::hash::elements::Layout;
use crate::hash::key::with_key;
use crate::hash::{HashTable, Position, Shape};
use crate::lpm::Lpm;
use crate::queue::Queue;
use crate::ringbuf::{Ringbuf, UserRingbuf};
use crate::stacks::Stacks;
use crate::update::{Update, Whose};
use crate::words::Bytes;
use crate::{ENOTSUPP, Errno};

/// A map. What points into it lives as long as it does.
pub struct Map {
    pub(crate) def: MapDef,
    /// Bytes that user space gives and gets as a value.
    pub(crate) user_value_size: usize,
    pub(crate) frozen: AtomicBool,
    pub(crate) kind: Kind,
}

/// What a map is made of.
pub(crate) enum Kind {
    Array(Array),
    Hash(HashTable),
    Lpm(Lpm),
    Queue(Queue),
    Bloom(Bloom),
    Stacks(Stacks),
    /// An array of references; 0 for none.
    References(Array),
    /// A hash table of references.
    HashOfReferences(HashTable),
    Ringbuf(Ringbuf),
    UserRingbuf(UserRingbuf),
}

impl Map {
    /// Makes a map as `BPF_MAP_CREATE` does, for programs that run on so many CPUs. The same `seed`
    /// gives a hash table the same order.
    pub fn new(def: &MapDef, cpus: u32, seed: u64) -> Result<Arc<Map>, Errno> {
        def.check()?;
        let mut def = *def;
        let per_cpu = def.map_type.is_per_cpu();
        let (value_size, copies) = (def.value_size as usize, per_cpu.then_some(cpus.max(1)));
        let seed = if def.flags & flag::ZERO_SEED != 0 { 0 } else { seed };
        if def.evicts() && def.flags & flag::NO_COMMON_LRU != 0 {
            // As many for each CPU (`htab_map_alloc`, `kernel/bpf/hashtab.c`).
            let up = def.max_entries.checked_next_multiple_of(cpus.max(1));
            def.max_entries = up.unwrap_or(def.max_entries);
        }
        let (key_size, max_entries) = (def.key_size as usize, def.max_entries);
        let hash = |value_size| {
            HashTable::new(Shape {
                key_size,
                value_size,
                max_entries,
                cpus: copies,
                evicts: def.evicts(),
                sparse: def.flags & flag::NO_PREALLOC != 0,
                seed,
            })
        };
        let kind = match def.map_type {
            MapType::Array | MapType::PercpuArray => {
                Kind::Array(Array::new(max_entries, value_size, copies)?)
            }
            MapType::Hash | MapType::PercpuHash | MapType::LruHash | MapType::LruPercpuHash => {
                Kind::Hash(hash(value_size)?)
            }
            MapType::LpmTrie => Kind::Lpm(Lpm::new(key_size, value_size, max_entries)?),
            MapType::Queue => Kind::Queue(Queue::new(max_entries, value_size, false)?),
            MapType::Stack => Kind::Queue(Queue::new(max_entries, value_size, true)?),
            MapType::BloomFilter => {
                Kind::Bloom(Bloom::new(max_entries, def.map_extra as u32, seed)?)
            }
            MapType::StackTrace => Kind::Stacks(Stacks::new(max_entries, value_size)?),
            MapType::ProgArray
            | MapType::PerfEventArray
            | MapType::CgroupArray
            | MapType::ArrayOfMaps => Kind::References(Array::new(max_entries, 8, None)?),
            MapType::HashOfMaps => Kind::HashOfReferences(hash(8)?),
            MapType::Ringbuf => Kind::Ringbuf(Ringbuf::new(max_entries)?),
            MapType::UserRingbuf => Kind::UserRingbuf(UserRingbuf::new(max_entries)?),
            _ => return Err(libc::EOPNOTSUPP),
        };
        let rounded = value_size.next_multiple_of(8);
        let user_value_size = copies.map_or(value_size, |cpus| rounded * cpus as usize);
        let map = Arc::new(Map { def, user_value_size, frozen: AtomicBool::new(false), kind });
        if let Kind::Ringbuf(ring) = &map.kind {
            ring.set_owner(Arc::as_ptr(&map) as u64);
        }
        Ok(map)
    }

    /// What it was made from; `max_entries` may have been rounded.
    pub fn def(&self) -> &MapDef {
        &self.def
    }

    /// Bytes of a key.
    pub fn key_size(&self) -> usize {
        self.def.key_size as usize
    }

    /// Bytes of a value as programs see it.
    pub fn value_size(&self) -> usize {
        self.def.value_size as usize
    }

    /// Bytes of a value as user space sees it: those of all CPUs, each rounded up to eight.
    pub fn user_value_size(&self) -> usize {
        self.user_value_size
    }

    /// How many values an element has.
    pub fn cpus(&self) -> u32 {
        match &self.kind {
            Kind::Array(array) => array.cpus(),
            Kind::Hash(table) => table.elements().cpus(),
            _ => 1,
        }
    }

    /// Where the values are, if it is an array of values or of references.
    pub fn as_array(&self) -> Option<ArrayLayout> {
        match &self.kind {
            Kind::Array(array) | Kind::References(array) => Some(array.layout()),
            _ => None,
        }
    }

    /// Where the values of elements are, if they have any in place.
    pub fn values(&self) -> Option<Layout> {
        match &self.kind {
            Kind::Array(array) => Some(array.values()),
            Kind::Hash(table) => Some(table.elements().values(self.value_size())),
            Kind::Lpm(trie) => Some(trie.values()),
            _ => None,
        }
    }

    /// Where the keys of elements are, if they are kept.
    pub fn keys(&self) -> Option<Layout> {
        match &self.kind {
            Kind::Hash(table) | Kind::HashOfReferences(table) => {
                Some(table.elements().keys(self.key_size()))
            }
            _ => None,
        }
    }

    /// `bpf_map_lookup_elem` on a CPU: the value, which stays where it is.
    ///
    /// A key of the wrong length is not there.
    pub fn lookup<'a>(&self, key: impl Into<Bytes<'a>>, cpu: u32) -> Option<NonNull<u8>> {
        let key = self.key(key.into()).ok()?;
        let place = match &self.kind {
            Kind::Array(array) => array.value(key.first_u32(), cpu),
            Kind::Hash(table) => {
                with_key!(key, |key| table.get_for_program(key)).map(|element| element.value(cpu))
            }
            Kind::Lpm(trie) => trie.lookup(key),
            _ => None,
        };
        NonNull::new(place?.start())
    }

    /// `bpf_map_lookup_percpu_elem`: `None` also when there is no such CPU.
    pub fn lookup_percpu<'a>(&self, key: impl Into<Bytes<'a>>, cpu: u32) -> Option<NonNull<u8>> {
        if self.def.map_type.is_per_cpu() && cpu < self.cpus() {
            self.lookup(key, cpu)
        } else {
            None
        }
    }

    /// `bpf_map_update_elem` on a CPU.
    pub fn update<'a>(
        &self,
        key: impl Into<Bytes<'a>>,
        value: impl Into<Bytes<'a>>,
        flags: u64,
        cpu: u32,
    ) -> Result<(), Errno> {
        let value = value.into();
        if value.len() != self.value_size() {
            return Err(libc::EINVAL);
        }
        self.store(key.into(), value, Whose::One(cpu), flags)
    }

    /// Stores a value of one CPU or those of all.
    #[inline]
    pub(crate) fn store(
        &self,
        key: Bytes<'_>,
        value: Bytes<'_>,
        whose: Whose,
        flags: u64,
    ) -> Result<(), Errno> {
        let key = self.key(key)?;
        let spin_lock = self.def.spin_lock.map(|offset| offset as usize);
        let update = Update { value, whose, flags, size: self.value_size(), spin_lock };
        match &self.kind {
            Kind::Array(array) => array.update(key.first_u32(), &update),
            Kind::Hash(table) => with_key!(key, |key| table.update(key, &update)),
            Kind::Lpm(trie) => trie.update(key, &update),
            Kind::Queue(_) | Kind::Bloom(_) | Kind::Stacks(_) => Err(libc::EINVAL),
            _ => Err(ENOTSUPP),
        }
    }

    /// `bpf_map_delete_elem`.
    pub fn delete<'a>(&self, key: impl Into<Bytes<'a>>) -> Result<(), Errno> {
        let key = self.key(key.into())?;
        match &self.kind {
            Kind::Hash(table) => with_key!(key, |key| table.delete(key, |_| ())),
            Kind::Lpm(trie) => trie.delete(key),
            Kind::Stacks(stacks) => stacks.delete(key.first_u32()),
            Kind::Array(_) | Kind::Queue(_) => Err(libc::EINVAL),
            Kind::Bloom(_) => Err(libc::EOPNOTSUPP),
            _ => Err(ENOTSUPP),
        }
    }

    /// `bpf_map_push_elem`: adds a value to a queue, a stack or a bloom filter.
    pub fn push<'a>(&self, value: impl Into<Bytes<'a>>, flags: u64) -> Result<(), Errno> {
        let value = value.into();
        if value.len() != self.value_size() {
            return Err(libc::EINVAL);
        }
        match &self.kind {
            Kind::Queue(queue) => queue.push(value, flags),
            Kind::Bloom(bloom) => bloom.push(value, flags),
            _ => Err(ENOTSUPP),
        }
    }

    /// `bpf_map_pop_elem`: takes the next value of a queue or a stack; `into` is as long as one.
    pub fn pop(&self, into: &mut [u8]) -> Result<(), Errno> {
        match &self.kind {
            Kind::Queue(queue) if into.len() == self.value_size() => queue.read(true, into),
            Kind::Queue(_) => Err(libc::EINVAL),
            Kind::Bloom(_) => Err(libc::EOPNOTSUPP),
            _ => Err(ENOTSUPP),
        }
    }

    /// `bpf_map_peek_elem`: reads the next value of a queue or a stack, or asks a bloom filter
    /// for the value in `value`, which is as long as one. `ENOENT` when there is none.
    pub fn peek(&self, value: &mut [u8]) -> Result<(), Errno> {
        if value.len() != self.value_size() {
            return Err(libc::EINVAL);
        }
        match &self.kind {
            Kind::Queue(queue) => queue.read(false, value),
            Kind::Bloom(bloom) => bloom.peek(Bytes::from(&value[..])),
            _ => Err(ENOTSUPP),
        }
    }

    /// `bpf_get_stackid`: the number of a stack trace of so many frames. Flags are those of the
    /// helper; what frames to take is the caller's business.
    pub fn stack_id(&self, frames: &[u8], flags: u64) -> Result<u32, Errno> {
        match &self.kind {
            Kind::Stacks(stacks) => stacks.put(frames.into(), flags),
            _ => Err(libc::EINVAL),
        }
    }

    /// The ring buffer that it is.
    pub fn ringbuf(&self) -> Option<&Ringbuf> {
        match &self.kind {
            Kind::Ringbuf(ring) => Some(ring),
            _ => None,
        }
    }

    /// The ring buffer from user space that it is.
    pub fn user_ringbuf(&self) -> Option<&UserRingbuf> {
        match &self.kind {
            Kind::UserRingbuf(ring) => Some(ring),
            _ => None,
        }
    }

    /// A key of the right length.
    #[inline]
    pub(crate) fn key<'a>(&self, key: Bytes<'a>) -> Result<Bytes<'a>, Errno> {
        if key.len() == self.key_size() { Ok(key) } else { Err(libc::EINVAL) }
    }

    /// Goes through the elements as `bpf_for_each_map_elem` does on a CPU; `ENOTSUPP` where there
    /// is nothing to go through.
    pub fn walk(self: &Arc<Map>, cpu: u32) -> Result<Walk, Errno> {
        if !matches!(self.kind, Kind::Array(_) | Kind::Hash(_)) {
            return Err(ENOTSUPP);
        }
        let (position, pending) = (Position(0), Vec::new());
        Ok(Walk { map: Arc::clone(self), cpu, position, pending, index: 0 })
    }
}

/// A walk through a map's elements, which may change meanwhile: one that is there all the time is
/// met once.
pub struct Walk {
    map: Arc<Map>,
    cpu: u32,
    position: Position,
    /// Elements of the bucket before `position` that are still to come, the last one first.
    pending: Vec<u32>,
    index: u32,
}

/// What a walk meets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Visited {
    /// An element of an array: its index and its value.
    Index(u32, NonNull<u8>),
    /// An element with a key in memory, and its value.
    Key(NonNull<u8>, NonNull<u8>),
}

impl Iterator for Walk {
    type Item = Visited;

    fn next(&mut self) -> Option<Visited> {
        match &self.map.kind {
            Kind::Array(array) => {
                let value = NonNull::new(array.value(self.index, self.cpu)?.start())?;
                self.index += 1;
                Some(Visited::Index(self.index - 1, value))
            }
            Kind::Hash(table) => loop {
                while let Some(link) = self.pending.pop() {
                    // Whoever was called before may have deleted it.
                    if table.is_in(Position(self.position.0 - 1), link) {
                        let element = table.elements().get(link);
                        let key = NonNull::new(element.key().start())?;
                        return Some(Visited::Key(
                            key,
                            NonNull::new(element.value(self.cpu).start())?,
                        ));
                    }
                }
                self.position = table.inhabited_from(self.position);
                if table.is_end(self.position) {
                    return None;
                }
                table.visit_bucket(self.position, |element| self.pending.push(element.link()));
                self.pending.reverse();
                self.position.0 += 1;
            },
            _ => None,
        }
    }
}

//! Longest prefix match (`kernel/bpf/lpm_trie.c`): a binary trie of prefixes, where a node without
//! a value stands only where two prefixes part.
//!
//! Writers take the map's lock. Readers do not: they walk, and walk again if something changed
//! meanwhile. A value stays in its node; an update puts a new node in the old one's place.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::hash::elements::Layout;
use crate::lock::{SequenceLock, wait};
use crate::region::Region;
use crate::update::Update;
use crate::words::{Bytes, Place};
use crate::{EXIST, Errno, NOEXIST};

/// Bytes of a node before its data: two children, length, whether it has a value.
const HEADER: usize = 16;
/// Bytes of a key before its data.
const LENGTH: usize = 4;
/// How often a reader tries without the lock.
const TRIES: u32 = 12;

/// A trie.
pub(crate) struct Lpm {
    nodes: Region,
    stride: usize,
    data_len: usize,
    value_offset: usize,
    value_size: usize,
    max_entries: u32,
    max_nodes: u32,
    lock: SequenceLock,
    root: AtomicU32,
    /// Prefixes there are.
    len: AtomicU32,
    /// Nodes ever taken, and the first of those that were given up.
    fresh: AtomicU32,
    free: AtomicU32,
}

/// A node's number; 0 is none.
type Link = u32;

/// What a walk found, or that it got lost among changes.
struct Lost;

impl Lpm {
    pub(crate) fn new(key_size: usize, value_size: usize, max_entries: u32) -> Result<Lpm, Errno> {
        let data_len = key_size - LENGTH;
        let value_offset = HEADER + data_len.next_multiple_of(8);
        let stride = value_offset + value_size.next_multiple_of(8);
        // Each prefix may need a node that parts it from others, and one more while it is replaced.
        let max_nodes = (u64::from(max_entries) * 2 + 2).min((1 << 38) / stride as u64);
        let max_nodes = u32::try_from(max_nodes).unwrap_or(u32::MAX - 1);
        Ok(Lpm {
            nodes: Region::sparse(stride * (max_nodes as usize + 1))?,
            stride,
            data_len,
            value_offset,
            value_size,
            max_entries,
            max_nodes,
            lock: SequenceLock::default(),
            root: AtomicU32::new(0),
            len: AtomicU32::new(0),
            fresh: AtomicU32::new(0),
            free: AtomicU32::new(0),
        })
    }

    fn half(&self, node: Link, index: usize) -> &AtomicU32 {
        self.nodes.half(node as usize * self.stride + index * 4)
    }

    fn child(&self, node: Link, bit: bool) -> &AtomicU32 {
        self.half(node, usize::from(bit))
    }

    fn prefix(&self, node: Link) -> u32 {
        self.half(node, 2).load(Ordering::Acquire)
    }

    fn has_value(&self, node: Link) -> &AtomicU32 {
        self.half(node, 3)
    }

    fn data(&self, node: Link) -> Place<'_> {
        self.nodes.place(node as usize * self.stride + HEADER, self.data_len)
    }

    fn value(&self, node: Link) -> Place<'_> {
        self.nodes.place(node as usize * self.stride + self.value_offset, self.value_size)
    }

    /// Where the values are.
    pub(crate) fn values(&self) -> Layout {
        Layout {
            base: self.nodes.start().wrapping_add(self.value_offset),
            stride: self.stride,
            size: self.value_size,
            count: self.max_nodes as usize + 1,
            cpu_stride: 0,
            cpus: 1,
        }
    }

    /// The length of a key's prefix and its data; `None` when it is longer than the data.
    fn parse<'a>(&self, key: Bytes<'a>) -> Option<(u32, Bytes<'a>)> {
        let prefix = key.first_u32();
        let data = key.part(LENGTH, self.data_len);
        (prefix as usize <= self.data_len * 8).then_some((prefix, data))
    }

    /// How many leading bits a node and a key have in common, at most those of both prefixes.
    fn common(&self, node: Link, prefix: u32, data: Bytes<'_>) -> u32 {
        let limit = self.prefix(node).min(prefix);
        let there = self.data(node);
        for (index, word) in there.words(self.data_len.div_ceil(8)).iter().enumerate() {
            let difference = word.load(Ordering::Acquire) ^ data.word(index);
            if difference != 0 {
                return limit.min(index as u32 * 64 + u64::from_be(difference).leading_zeros());
            }
        }
        limit
    }

    fn bit(data: Bytes<'_>, index: u32) -> bool {
        u64::from_be(data.word(index as usize / 64)) >> (63 - index % 64) & 1 == 1
    }

    /// The value of the longest prefix of a key.
    pub(crate) fn lookup(&self, key: Bytes<'_>) -> Option<Place<'_>> {
        let (prefix, data) = self.parse(key)?;
        let mut round = 0;
        while round < TRIES {
            let before = self.lock.begin();
            let found = self.walk(prefix, data);
            if let Ok(found) = found
                && self.lock.unchanged(before)
            {
                return found.map(|node| self.value(node));
            }
            wait(&mut round);
        }
        let _held = self.lock.lock();
        self.walk(prefix, data).ok().flatten().map(|node| self.value(node))
    }

    fn walk(&self, prefix: u32, data: Bytes<'_>) -> Result<Option<Link>, Lost> {
        let most = self.data_len as u32 * 8;
        let mut node = self.root.load(Ordering::Acquire);
        let mut found = None;
        // Each step is a longer prefix.
        for _ in 0..=most + 1 {
            if node == 0 {
                return Ok(found);
            }
            let common = self.common(node, prefix, data);
            let own = self.prefix(node);
            if common < own {
                return Ok(found);
            }
            if self.has_value(node).load(Ordering::Acquire) != 0 {
                found = Some(node);
            }
            if own >= prefix || own >= most {
                return Ok(found);
            }
            node = self.child(node, Lpm::bit(data, own)).load(Ordering::Acquire);
        }
        Err(Lost)
    }

    /// A free node; the lock is held.
    fn take_node(&self) -> Result<Link, Errno> {
        let free = self.free.load(Ordering::Relaxed);
        if free != 0 {
            self.free.store(self.child(free, false).load(Ordering::Relaxed), Ordering::Relaxed);
            return Ok(free);
        }
        let fresh = self.fresh.load(Ordering::Relaxed);
        if fresh == self.max_nodes {
            return Err(libc::ENOMEM);
        }
        self.fresh.store(fresh + 1, Ordering::Relaxed);
        Ok(fresh + 1)
    }

    fn give_node(&self, node: Link) {
        self.child(node, false).store(self.free.load(Ordering::Relaxed), Ordering::Relaxed);
        self.free.store(node, Ordering::Relaxed);
    }

    /// Where a node is that a key leads to: its slot, and the node there, or 0.
    fn slot(&self, prefix: u32, data: Bytes<'_>) -> (&AtomicU32, Link, u32) {
        let mut slot = &self.root;
        loop {
            let node = slot.load(Ordering::Relaxed);
            if node == 0 {
                return (slot, 0, 0);
            }
            let (common, own) = (self.common(node, prefix, data), self.prefix(node));
            if own != common || own == prefix {
                return (slot, node, common);
            }
            slot = self.child(node, Lpm::bit(data, own));
        }
    }

    /// Stores a value (`trie_update_elem`).
    pub(crate) fn update(&self, key: Bytes<'_>, update: &Update<'_>) -> Result<(), Errno> {
        if update.flags > EXIST {
            return Err(libc::EINVAL);
        }
        let (prefix, data) = self.parse(key).ok_or(libc::EINVAL)?;
        let _held = self.lock.lock();
        let (slot, node, common) = self.slot(prefix, data);
        let replaces = node != 0 && self.prefix(node) == common && common == prefix;
        let len = self.len.load(Ordering::Relaxed);
        let new_prefix = !replaces || self.has_value(node).load(Ordering::Relaxed) == 0;
        match new_prefix {
            false if update.flags == NOEXIST => return Err(libc::EEXIST),
            true if update.flags == EXIST => return Err(libc::ENOENT),
            true if len == self.max_entries => return Err(libc::ENOSPC),
            _ => {}
        }
        let new = self.take_node()?;
        let parts = node != 0 && !replaces && common != prefix;
        let fork = if parts { self.take_node().inspect_err(|_| self.give_node(new))? } else { 0 };
        self.len.store(len + u32::from(new_prefix), Ordering::Relaxed);
        let write = |at: Link, prefix: u32, valued: u32, children: [Link; 2]| {
            self.half(at, 2).store(prefix, Ordering::Release);
            self.has_value(at).store(valued, Ordering::Release);
            self.child(at, false).store(children[0], Ordering::Release);
            self.child(at, true).store(children[1], Ordering::Release);
        };
        update.write(self.value(new), update.value);
        self.data(new).store(data);
        if node == 0 {
            write(new, prefix, 1, [0, 0]);
        } else if replaces {
            let children = [false, true].map(|bit| self.child(node, bit).load(Ordering::Relaxed));
            write(new, prefix, 1, children);
            slot.store(new, Ordering::Release);
            self.give_node(node);
            return Ok(());
        } else if fork == 0 {
            // The new prefix is part of the node's.
            let bit = self.data_bit(node, common);
            write(new, prefix, 1, if bit { [0, node] } else { [node, 0] });
        } else {
            write(new, prefix, 1, [0, 0]);
            let mut copy = vec![0; self.data_len];
            self.data(node).load(&mut copy);
            self.data(fork).store(Bytes::from(&copy[..]));
            let bit = Lpm::bit(data, common);
            write(fork, common, 0, if bit { [node, new] } else { [new, node] });
            slot.store(fork, Ordering::Release);
            return Ok(());
        }
        slot.store(new, Ordering::Release);
        Ok(())
    }

    fn data_bit(&self, node: Link, index: u32) -> bool {
        let words = self.data(node).words(self.data_len.div_ceil(8));
        let word = words.get(index as usize / 64).map_or(0, |word| word.load(Ordering::Relaxed));
        u64::from_be(word) >> (63 - index % 64) & 1 == 1
    }

    /// Deletes a prefix (`trie_delete_elem`). A node that parts two others stays, without a value;
    /// one that has nothing to part any more goes, too.
    pub(crate) fn delete(&self, key: Bytes<'_>) -> Result<(), Errno> {
        let (prefix, data) = self.parse(key).ok_or(libc::EINVAL)?;
        let _held = self.lock.lock();
        let (mut slot, mut above, mut parent) = (&self.root, &self.root, 0);
        let node = loop {
            let node = slot.load(Ordering::Relaxed);
            if node == 0 {
                return Err(libc::ENOENT);
            }
            let (common, own) = (self.common(node, prefix, data), self.prefix(node));
            if own != common {
                return Err(libc::ENOENT);
            }
            if own == prefix {
                break node;
            }
            (parent, above) = (node, slot);
            slot = self.child(node, Lpm::bit(data, own));
        };
        if self.has_value(node).load(Ordering::Relaxed) == 0 {
            return Err(libc::ENOENT);
        }
        self.len.fetch_sub(1, Ordering::Relaxed);
        let [left, right] = [false, true].map(|bit| self.child(node, bit).load(Ordering::Relaxed));
        if left != 0 && right != 0 {
            self.has_value(node).store(0, Ordering::Release);
            return Ok(());
        }
        let lone = left == 0 && right == 0;
        if lone && parent != 0 && self.has_value(parent).load(Ordering::Relaxed) == 0 {
            let [one, other] =
                [false, true].map(|bit| self.child(parent, bit).load(Ordering::Relaxed));
            above.store(if one == node { other } else { one }, Ordering::Release);
            self.give_node(parent);
        } else {
            slot.store(left | right, Ordering::Release);
        }
        self.give_node(node);
        Ok(())
    }

    /// The next prefix, children before parents (`trie_get_next_key`): the first one when there is
    /// no such key, `None` after the last.
    pub(crate) fn after(&self, key: Option<Bytes<'_>>) -> Option<Vec<u8>> {
        let _held = self.lock.lock();
        let next = match key.and_then(|key| self.parse(key)) {
            None => self.leftmost(self.root.load(Ordering::Relaxed)),
            Some((prefix, data)) => self.after_prefix(prefix, data),
        };
        (next != 0).then(|| self.key_of(next))
    }

    fn after_prefix(&self, prefix: u32, data: Bytes<'_>) -> Link {
        let root = self.root.load(Ordering::Relaxed);
        let mut path = Vec::new();
        let mut node = root;
        loop {
            if node == 0 {
                return self.leftmost(root);
            }
            let (common, own) = (self.common(node, prefix, data), self.prefix(node));
            path.push(node);
            if own != common || own == prefix {
                let exact = own == common && self.has_value(node).load(Ordering::Relaxed) != 0;
                if !exact {
                    return self.leftmost(root);
                }
                break;
            }
            node = self.child(node, Lpm::bit(data, own)).load(Ordering::Relaxed);
        }
        while let Some(node) = path.pop() {
            let Some(&parent) = path.last() else { return 0 };
            let [left, right] =
                [false, true].map(|bit| self.child(parent, bit).load(Ordering::Relaxed));
            if left == node && right != 0 {
                return self.leftmost(right);
            }
            if self.has_value(parent).load(Ordering::Relaxed) != 0 {
                return parent;
            }
        }
        0
    }

    /// The first prefix below a node in the order of children before parents.
    fn leftmost(&self, mut node: Link) -> Link {
        let mut last = 0;
        while node != 0 {
            let [left, right] =
                [false, true].map(|bit| self.child(node, bit).load(Ordering::Relaxed));
            last = node;
            node = if left != 0 { left } else { right };
        }
        last
    }

    fn key_of(&self, node: Link) -> Vec<u8> {
        let mut key = vec![0; LENGTH + self.data_len];
        key[..LENGTH].copy_from_slice(&self.prefix(node).to_ne_bytes());
        self.data(node).load(&mut key[LENGTH..]);
        key
    }

    /// Copies the value of the longest prefix out, whole as far as updates are concerned.
    pub(crate) fn read(&self, key: Bytes<'_>, into: &mut [u8]) -> Option<()> {
        let (prefix, data) = self.parse(key)?;
        let _held = self.lock.lock();
        let node = self.walk(prefix, data).ok().flatten()?;
        self.value(node).load(into);
        Some(())
    }
}

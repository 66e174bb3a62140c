//! Going through all elements, bucket by bucket.
//!
//! A bucket's elements are taken down under its lock. So an element that is there all the time is
//! met exactly once, updated or not, and one that comes or goes meanwhile at most once; more than
//! the kernel promises.

use std::sync::atomic::Ordering;

use super::HashTable;
use super::chain::Node;
use super::elements::Element;
use super::key::Key;

/// Where a walk is: the next bucket.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Position(pub(crate) u32);

impl HashTable {
    /// The first bucket from a position on in which there is something; the number of buckets when
    /// there is none.
    pub(crate) fn inhabited_from(&self, Position(from): Position) -> Position {
        let count = self.buckets.len() as u32;
        let mut bucket = from;
        while bucket < count {
            // Groups of buckets in which there never was anything are passed over.
            let (word, bit) = (bucket / (64 * 64), bucket / 64 % 64);
            let groups = self.inhabited.get(word as usize).0.load(Ordering::Relaxed) >> bit;
            if groups & 1 == 0 {
                let groups_to_skip = match groups {
                    0 => 64 - bit,
                    _ => groups.trailing_zeros(),
                };
                bucket = (bucket / 64).saturating_add(groups_to_skip).saturating_mul(64);
                continue;
            }
            if self.buckets.get(bucket).head().load(Ordering::Relaxed) != 0 {
                return Position(bucket);
            }
            bucket += 1;
        }
        Position(count)
    }

    /// Whether a position is past the last bucket.
    pub(crate) fn is_end(&self, position: Position) -> bool {
        position.0 as usize >= self.buckets.len()
    }

    /// Calls `visit` with each element of a bucket, whose lock is held.
    pub(crate) fn visit_bucket(&self, position: Position, mut visit: impl FnMut(Element<'_>)) {
        let bucket = self.buckets.get(position.0);
        let _held = self.lock(position.0);
        let mut link = bucket.head().load(Ordering::Relaxed);
        while link != 0 {
            let element = self.elements.get(link);
            visit(element);
            link = element.next().load(Ordering::Relaxed);
        }
    }

    /// Takes everything out of a bucket, if `visit` of them all says so.
    pub(crate) fn empty_bucket(
        &self,
        position: Position,
        visit: impl FnOnce(&[Element<'_>]) -> bool,
    ) {
        let bucket = self.buckets.get(position.0);
        let held = self.lock(position.0);
        let mut elements = Vec::new();
        let mut link = bucket.head().load(Ordering::Relaxed);
        while link != 0 {
            let element = self.elements.get(link);
            elements.push(element);
            link = element.next().load(Ordering::Relaxed);
        }
        if visit(&elements) {
            bucket.clear();
            elements.into_iter().for_each(|element| held.push(element));
        }
    }

    /// Whether an element that [`HashTable::visit_bucket`] met is still in that bucket.
    pub(crate) fn is_in(&self, position: Position, element: u32) -> bool {
        let mut found = false;
        self.visit_bucket(position, |each| found |= each.link() == element);
        found
    }

    /// The element after the one with a key, or the first one when there is no such key or none is
    /// given, as in the kernel (`htab_map_get_next_key`); what `take` makes of it.
    pub(crate) fn after<K: Key, R>(
        &self,
        key: Option<K>,
        take: impl Fn(Element<'_>) -> R,
    ) -> Option<R> {
        let mut position = Position(0);
        if let Some(key) = key {
            let bucket = Position(self.buckets.index(key.hash(self.seed)));
            let (mut met, mut result) = (false, None);
            self.visit_bucket(bucket, |element| {
                if met && result.is_none() {
                    result = Some(take(element));
                }
                met |= key.is_at(element.key());
            });
            if result.is_some() {
                return result;
            }
            if met {
                position = Position(bucket.0 + 1);
            }
        }
        loop {
            position = self.inhabited_from(position);
            if self.is_end(position) {
                return None;
            }
            let mut result = None;
            self.visit_bucket(position, |element| {
                if result.is_none() {
                    result = Some(take(element));
                }
            });
            if result.is_some() {
                return result;
            }
            position.0 += 1;
        }
    }
}

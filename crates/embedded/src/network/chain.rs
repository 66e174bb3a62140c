//! The programs of one hook of a device, in order.

use bombus_kernel::Order;

use crate::maps::Errno;

/// A program at a hook.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) link: u32,
    /// Its number in the kernel, from 0.
    pub(crate) program: u32,
}

/// The programs of traffic control in one direction: those by link (`tcx`), then the filters of the
/// classic discipline (`clsact`).
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    links: Vec<Entry>,
    /// How often the programs by link changed, from 1.
    revision: u64,
    filters: Vec<Filter>,
}

#[derive(Clone, Copy, Debug)]
struct Filter {
    priority: u16,
    handle: u32,
    entry: Entry,
}

impl Default for Chain {
    fn default() -> Chain {
        Chain { links: Vec::new(), revision: 1, filters: Vec::new() }
    }
}

impl Chain {
    pub(crate) fn is_empty(&self) -> bool {
        self.links.is_empty() && self.filters.is_empty()
    }

    pub(crate) fn links(&self) -> &[Entry] {
        &self.links
    }

    pub(crate) fn filters(&self) -> impl Iterator<Item = Entry> {
        self.filters.iter().map(|filter| filter.entry)
    }

    /// Attaches by link (`bpf_mprog_attach`, `kernel/bpf/mprog.c`). Programs are named by handle:
    /// one more than the number.
    pub(crate) fn attach(
        &mut self,
        entry: Entry,
        order: Order,
        revision: u64,
    ) -> Result<(), Errno> {
        if revision != 0 && revision != self.revision {
            return Err(libc::ESTALE);
        }
        if self.links.iter().any(|other| other.program == entry.program) {
            return Err(libc::EEXIST);
        }
        let position = |handle: u32| {
            let found = self.links.iter().position(|other| other.program + 1 == handle);
            found.ok_or(libc::ENOENT)
        };
        let at = match order {
            Order::First => 0,
            Order::Default | Order::Last => self.links.len(),
            Order::Before(handle) => position(handle)?,
            Order::After(handle) => position(handle)? + 1,
        };
        self.links.insert(at, entry);
        self.revision += 1;
        Ok(())
    }

    /// Adds a filter; 0 as priority or handle is the next free (`tc_new_tfilter`,
    /// `net/sched/cls_api.c`).
    pub(crate) fn filter(&mut self, entry: Entry, priority: u16, handle: u32) -> Result<(), Errno> {
        /// What the first filter without a priority gets (`tcf_auto_prio`); later ones go before
        /// all others.
        const FIRST: u16 = 0xc000;
        let priority = match priority {
            0 => self.filters.iter().map(|filter| filter.priority - 1).min().unwrap_or(FIRST),
            priority => priority,
        };
        if priority == 0 {
            return Err(libc::ENOSPC);
        }
        let mut same = self.filters.iter().filter(|filter| filter.priority == priority);
        let handle = match handle {
            0 => same.map(|filter| filter.handle).max().unwrap_or(0) + 1,
            handle if same.any(|filter| filter.handle == handle) => return Err(libc::EEXIST),
            handle => handle,
        };
        let at = self.filters.partition_point(|filter| filter.priority <= priority);
        self.filters.insert(at, Filter { priority, handle, entry });
        Ok(())
    }

    /// Takes a link off; whether it was here.
    pub(crate) fn detach(&mut self, link: u32) -> bool {
        let before = (self.links.len(), self.filters.len());
        self.links.retain(|entry| entry.link != link);
        self.filters.retain(|filter| filter.entry.link != link);
        self.revision += u64::from(self.links.len() != before.0);
        before != (self.links.len(), self.filters.len())
    }

    /// The program of a link.
    pub(crate) fn find(&mut self, link: u32) -> Option<&mut Entry> {
        self.links.iter_mut().find(|entry| entry.link == link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(program: u32) -> Entry {
        Entry { link: program + 10, program }
    }

    fn programs(chain: &Chain) -> Vec<u32> {
        chain.links().iter().copied().chain(chain.filters()).map(|entry| entry.program).collect()
    }

    #[test]
    fn links_go_where_they_are_told() {
        let mut chain = Chain::default();
        chain.attach(entry(0), Order::Default, 0).unwrap();
        chain.attach(entry(1), Order::First, 2).unwrap();
        chain.attach(entry(2), Order::Before(1), 0).unwrap();
        chain.attach(entry(3), Order::After(2), 0).unwrap();
        assert_eq!(programs(&chain), [1, 3, 2, 0]);
        assert_eq!(chain.attach(entry(3), Order::Last, 0), Err(libc::EEXIST));
        assert_eq!(chain.attach(entry(4), Order::Last, 1), Err(libc::ESTALE));
        assert_eq!(chain.attach(entry(4), Order::Before(9), 0), Err(libc::ENOENT));
        assert!(chain.detach(13) && !chain.detach(13));
        assert_eq!(programs(&chain), [1, 2, 0]);
    }

    #[test]
    fn filters_go_by_priority() {
        let mut chain = Chain::default();
        chain.filter(entry(0), 0, 0).unwrap();
        chain.filter(entry(1), 0, 0).unwrap();
        chain.filter(entry(2), 7, 0).unwrap();
        chain.filter(entry(3), 7, 0).unwrap();
        assert_eq!(chain.filter(entry(4), 7, 2), Err(libc::EEXIST));
        chain.attach(entry(5), Order::Default, 0).unwrap();
        assert_eq!(programs(&chain), [5, 2, 3, 1, 0]);
        assert!(chain.detach(11));
        assert_eq!(programs(&chain), [5, 2, 3, 0]);
    }
}

//! What a load has made so far. If it fails half-way, all of it is closed again.

use crate::{Kernel, MapFd, Object, ProgFd};

/// Handles, closed when dropped unless they are taken.
pub(super) struct Opened<'a> {
    kernel: &'a dyn Kernel,
    /// The maps in order; `None` for one that is not to be created.
    pub(super) maps: Vec<Option<MapFd>>,
    /// The programs in order; `None` for one that is not loaded (yet).
    pub(super) programs: Vec<Option<ProgFd>>,
    /// Maps that belong to somebody else.
    kept: Vec<MapFd>,
}

impl<'a> Opened<'a> {
    pub(super) fn new(kernel: &'a dyn Kernel) -> Opened<'a> {
        Opened { kernel, maps: Vec::new(), programs: Vec::new(), kept: Vec::new() }
    }

    /// The next map is one that somebody else had before.
    pub(super) fn keep_map(&mut self, map: MapFd) {
        self.maps.push(Some(map));
        self.kept.push(map);
    }

    /// All of it: maps and programs by index.
    pub(super) fn take(mut self) -> (Vec<Option<MapFd>>, Vec<Option<ProgFd>>) {
        (std::mem::take(&mut self.maps), std::mem::take(&mut self.programs))
    }
}

impl Drop for Opened<'_> {
    fn drop(&mut self) {
        let maps = self.maps.iter().flatten().filter(|map| !self.kept.contains(map));
        let maps = maps.map(|&map| Object::Map(map));
        let programs = self.programs.iter().flatten().map(|&program| Object::Program(program));
        // An error is on its way already; what cannot be closed is closed with the kernel.
        programs.chain(maps).for_each(|object| drop(self.kernel.close(object)));
    }
}

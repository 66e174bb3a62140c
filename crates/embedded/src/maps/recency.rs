//! The order in which cells were last used: a doubly linked list in two arrays.

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Neighbours {
    newer: u32,
    older: u32,
}

/// Cells from the most to the least recently used one.
#[derive(Clone, Debug)]
pub(crate) struct Recency {
    cells: Vec<Neighbours>,
    newest: u32,
    oldest: u32,
}

impl Default for Recency {
    fn default() -> Recency {
        Recency { cells: Vec::new(), newest: NONE, oldest: NONE }
    }
}

impl Recency {
    pub(crate) fn oldest(&self) -> Option<usize> {
        (self.oldest != NONE).then_some(self.oldest as usize)
    }

    /// Adds a cell that is not in the list, as the newest.
    pub(crate) fn insert(&mut self, cell: usize) {
        if cell >= self.cells.len() {
            self.cells.resize(cell + 1, Neighbours { newer: NONE, older: NONE });
        }
        self.cells[cell] = Neighbours { newer: NONE, older: self.newest };
        match self.newest {
            NONE => self.oldest = cell as u32,
            newest => self.cells[newest as usize].newer = cell as u32,
        }
        self.newest = cell as u32;
    }

    /// Takes a cell that is in the list out of it.
    pub(crate) fn remove(&mut self, cell: usize) {
        let Neighbours { newer, older } = self.cells[cell];
        match newer {
            NONE => self.newest = older,
            newer => self.cells[newer as usize].older = older,
        }
        match older {
            NONE => self.oldest = newer,
            older => self.cells[older as usize].newer = newer,
        }
    }

    /// Makes a cell that is in the list the newest.
    pub(crate) fn touch(&mut self, cell: usize) {
        if self.newest as usize != cell {
            self.remove(cell);
            self.insert(cell);
        }
    }
}

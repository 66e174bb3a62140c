//! A look at the counters of every program.

use std::collections::BTreeMap;
use std::time::Instant;

use bombus_kernel::inspect::{Holder, Inspect, ObjectKind, ProgramInfo, Which};
use bombus_kernel::{Error, Result};
use bombus_platform::ProgType;

use super::rates::{Counters, Sample};

/// Looks after which the holders are asked for again, when no program is new: that reads the
/// descriptors of every process.
const HOLDERS_EVERY: u32 = 16;

/// Looks at a kernel, again and again.
pub(crate) struct Sampler<'a> {
    kernel: &'a dyn Inspect,
    start: Instant,
    ids: Vec<u32>,
    holders: BTreeMap<u32, Vec<Holder>>,
    looks: u32,
}

impl<'a> Sampler<'a> {
    pub(crate) fn new(kernel: &'a dyn Inspect) -> Sampler<'a> {
        Sampler {
            kernel,
            start: Instant::now(),
            ids: Vec::new(),
            holders: BTreeMap::new(),
            looks: 0,
        }
    }

    /// Looks at every program. One that is unloaded meanwhile is left out.
    pub(crate) fn look(&mut self) -> Result<Sample> {
        let ids = self.kernel.object_ids(ObjectKind::Program)?;
        if ids != self.ids || self.looks.is_multiple_of(HOLDERS_EVERY) {
            self.holders = self.kernel.holders(ObjectKind::Program)?;
        }
        self.looks = self.looks.wrapping_add(1);
        self.ids = ids;
        // The time belongs to the counters: finding the holders may have taken long.
        let at_ns = self.start.elapsed().as_nanos() as u64;
        let mut programs = Vec::with_capacity(self.ids.len());
        for &id in &self.ids {
            match self.kernel.program_info(&Which::Id(id)) {
                Ok(info) => programs.push(self.counters(info)),
                Err(Error::Os { errno: libc::ENOENT, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Sample { at_ns, programs })
    }

    fn counters(&self, info: ProgramInfo) -> Counters {
        let kind = ProgType::from_number(info.prog_type);
        Counters {
            id: info.id,
            kind: kind.map_or(format!("type {}", info.prog_type), |kind| kind.name().to_owned()),
            name: info.name,
            runs: info.run_count,
            run_time_ns: info.run_time_ns,
            holders: self.holders.get(&info.id).cloned().unwrap_or_default(),
        }
    }
}

//! Register allocation by regalloc2.

use regalloc2::{Algorithm, MachineEnv, Output, PRegSet, RegallocOptions};

use super::vcode::{VCode, preg};

/// `r0` to `r5` first: the others cost nothing on BPF either, but some JITs save those that are
/// used. `r10` is the frame's.
fn machine() -> MachineEnv {
    let set = |range: std::ops::RangeInclusive<usize>| {
        range.fold(PRegSet::empty(), |set, number| set.with(preg(number)))
    };
    MachineEnv {
        preferred_regs_by_class: [set(0..=5), PRegSet::empty(), PRegSet::empty()],
        non_preferred_regs_by_class: [set(6..=9), PRegSet::empty(), PRegSet::empty()],
        // regalloc2 finds one itself where moves form a circle.
        scratch_by_class: [None; 3],
        fixed_stack_slots: Vec::new(),
    }
}

/// Allocates. In debug builds the result is checked symbolically.
pub(super) fn allocate(code: &VCode) -> Result<Output, String> {
    let machine = machine();
    let options = RegallocOptions {
        verbose_log: false,
        validate_ssa: cfg!(debug_assertions),
        algorithm: Algorithm::Ion,
    };
    let output = regalloc2::run(code, &machine, &options).map_err(|error| format!("{error}"))?;
    #[cfg(debug_assertions)]
    {
        let mut checker = regalloc2::checker::Checker::new(code, &machine);
        checker.prepare(&output);
        checker.run().map_err(|errors| format!("{errors:?}"))?;
    }
    Ok(output)
}

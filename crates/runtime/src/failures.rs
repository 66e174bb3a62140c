//! What went wrong in programs, which count it: told when there is more than the last time.

use bombus_kernel::{Kernel, Loaded, Result};
use bombus_report::{Message, Severity};
use bombus_script::plan::{self, FAILURE_BYTES, FailureKind, Plan};

use crate::action::shown;
use crate::decode::{slice, unsigned};
use crate::output::Output;

/// Looks at the counters, and remembers what it has told.
pub(crate) struct Failures<'a> {
    plan: Option<&'a plan::Failures>,
    /// What each counter stood at.
    told: Vec<u64>,
    warnings: bool,
    /// Records that found the ring buffer full.
    pub(crate) lost: u64,
}

impl<'a> Failures<'a> {
    pub(crate) fn new(plan: &'a Plan, warnings: bool) -> Failures<'a> {
        let plan = plan.failures.as_ref();
        let count = plan.map_or(0, |plan| plan.counted.len());
        Failures { plan, told: vec![0; count], warnings, lost: 0 }
    }

    /// Whether there may be more to tell while no record comes. (Records are lost where others
    /// wait to be read.)
    pub(crate) fn come_unannounced(&self) -> bool {
        let mut counted = self.plan.iter().flat_map(|plan| &plan.counted);
        self.warnings && counted.any(|failure| failure.what != FailureKind::LostRecord)
    }

    /// Tells what is new.
    pub(crate) fn tell(
        &mut self,
        kernel: &dyn Kernel,
        loaded: &Loaded,
        output: &mut Output<'_>,
    ) -> Result<()> {
        let Some(plan) = self.plan else { return Ok(()) };
        let counters = kernel.map_lookup(loaded.map_at(plan.map)?, &[0; 4])?.unwrap_or_default();
        let counters = counters.chunks(FAILURE_BYTES as usize);
        for ((failure, counter), told) in plan.counted.iter().zip(counters).zip(&mut self.told) {
            let count = unsigned(slice(counter, 0, 8), 8);
            let times = count.saturating_sub(*told);
            if times == 0 {
                continue;
            }
            *told = count;
            let place = failure.place.as_ref().map(shown);
            let place = place.as_ref();
            match &failure.what {
                FailureKind::LostRecord => {
                    self.lost += times;
                    output.show(&Message::LostEvents(times));
                }
                _ if !self.warnings => {}
                FailureKind::Runtime { message } => {
                    let (severity, text) = (Severity::Runtime, message.as_bytes());
                    output.show(&Message::Report { severity, text, place, times });
                }
                FailureKind::Helper { helper } => {
                    let code = unsigned(slice(counter, 8, 8), 8) as i32;
                    let meaning = &meaning(code.saturating_neg());
                    let helper = helper.name();
                    output.show(&Message::HelperError { helper, code, meaning, place, times });
                }
            }
        }
        Ok(())
    }
}

/// What an error number means, in the C library's words.
fn meaning(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    text.strip_suffix(&format!(" (os error {errno})")).map(str::to_owned).unwrap_or(text)
}

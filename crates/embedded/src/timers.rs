//! Programs that run by the clock.

use std::time::{Duration, Instant};

use bombus_kernel::{Error, Period, Result};

use crate::core::Core;
use crate::hooks::Engine;
use crate::links::Attached;
use crate::this_task::ThisTask;

/// `struct bpf_perf_event_data`: registers, period and address
/// (`include/uapi/linux/bpf_perf_event.h`). Those of a running task cannot be had; zeros.
const CONTEXT: [u8; 168 + 16] = [0; 168 + 16];

#[derive(Clone, Copy, Debug)]
struct Timer {
    attached: Attached,
    period: Duration,
    due: Instant,
    /// For every running task (`profile`), not just once (`interval`).
    every_cpu: bool,
}

/// The timers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timers {
    timers: Vec<Timer>,
}

impl Timers {
    /// Starts a timer.
    pub(crate) fn add(
        &mut self,
        period: Period,
        every_cpu: bool,
        attached: Attached,
    ) -> Result<()> {
        let nanoseconds = match period {
            Period::Hertz(hertz) => 1_000_000_000u64.checked_div(hertz).unwrap_or(0),
            Period::Nanoseconds(nanoseconds) => nanoseconds,
        };
        let period = Duration::from_nanos(nanoseconds);
        let due = Instant::now().checked_add(period).filter(|_| nanoseconds > 0);
        let due = due.ok_or_else(|| Error::os("set a timer", libc::EINVAL))?;
        self.timers.push(Timer { attached, period, due, every_cpu });
        Ok(())
    }

    /// When the next one fires.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.timers.iter().map(|timer| timer.due).min()
    }

    /// Runs the programs whose time has come. Ticks that were missed do not come twice.
    pub(crate) fn fire(&mut self, now: Instant, engine: &mut Engine, core: &mut Core) {
        for timer in self.timers.iter_mut().filter(|timer| timer.due <= now) {
            if timer.every_cpu {
                engine.running(&mut |task| core.run_all(&[timer.attached], &CONTEXT, task));
            } else {
                core.run_all(&[timer.attached], &CONTEXT, &mut ThisTask);
            }
            let missed = (now - timer.due).as_nanos() / timer.period.as_nanos();
            let steps = u32::try_from(missed + 1).unwrap_or(u32::MAX);
            timer.due = timer.period.checked_mul(steps).map_or(now, |step| timer.due + step);
        }
    }
}

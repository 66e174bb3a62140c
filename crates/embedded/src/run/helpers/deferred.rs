//! Timers, and what work queues do in the same way (`kernel/bpf/helpers.c`).

use std::time::{Duration, Instant};

use bombus_vm::TrapKind;

use super::{Context, failure};
use crate::deferred::Callback;
use crate::os::{self, Clock};

/// Clocks are below this (`MAX_CLOCKS`, `include/uapi/linux/time.h`).
const MAX_CLOCKS: u64 = 16;
/// The time is not counted from now (`BPF_F_TIMER_ABS`).
const ABSOLUTE: u64 = 1;
/// On this CPU (`BPF_F_TIMER_CPU_PIN`), as ever.
const PINNED: u64 = 2;
/// `hrtimer_try_to_cancel` of a timer whose callback runs.
const IS_RUNNING: u64 = -1i64 as u64;

/// `timer_init(timer, map, flags)`: the flags are a clock.
pub(super) fn timer_init(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let clock = match i32::try_from(context.arg(2) % (1 << 32)) {
        Ok(libc::CLOCK_REALTIME) => Clock::Realtime,
        Ok(libc::CLOCK_MONOTONIC) => Clock::Monotonic,
        Ok(libc::CLOCK_BOOTTIME) => Clock::Boot,
        _ => return Ok(failure(libc::EINVAL)),
    };
    match context.arg(2) {
        ..MAX_CLOCKS => context.init_work(clock),
        _ => Ok(failure(libc::EINVAL)),
    }
}

/// `timer_set_callback(timer, function)`.
pub(super) fn timer_set_callback(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    context.set_work()
}

/// `timer_start(timer, nanoseconds, flags)`.
pub(super) fn timer_start(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (nanoseconds, flags) = (context.arg(1), context.arg(2));
    if flags & !(ABSOLUTE | PINNED) != 0 {
        return Ok(failure(libc::EINVAL));
    }
    let is_absolute = flags & ABSOLUTE != 0;
    context.start_work(|clock| match is_absolute {
        true => nanoseconds.saturating_sub(os::now(clock)),
        false => nanoseconds,
    })
}

/// `timer_cancel(timer)`: whether it was running; what it was to do is forgotten.
pub(super) fn timer_cancel(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let number = context.word(context.arg(0))?;
    if context.run.deferred.is_running(number) {
        return Ok(failure(libc::EDEADLK));
    }
    let Some(work) = context.run.deferred.get_mut(number) else {
        return Ok(failure(libc::EINVAL));
    };
    work.callback = None;
    Ok(context.run.deferred.stop(number).into())
}

/// `timer_cancel_async(timer)`: the same from its own callback, too, and it may be started again.
pub(in crate::run) fn timer_cancel_async(
    context: &mut Context<'_, '_, '_>,
) -> Result<u64, TrapKind> {
    let number = context.word(context.arg(0))?;
    let deferred = &mut *context.run.deferred;
    if deferred.get_mut(number).is_none() {
        return Ok(failure(libc::EINVAL));
    }
    let was_waiting = deferred.stop(number);
    Ok(if deferred.is_running(number) && !was_waiting { IS_RUNNING } else { was_waiting.into() })
}

impl Context<'_, '_, '_> {
    /// Argument 0 is where a value is to name new work.
    pub(in crate::run) fn init_work(&mut self, clock: Clock) -> Result<u64, TrapKind> {
        let place = self.arg(0);
        if self.word(place)? != 0 {
            return Ok(failure(libc::EBUSY));
        }
        let number = self.run.deferred.add(place, clock);
        self.set_word(place, number)?;
        Ok(0)
    }

    /// The work is to call the function that argument 1 names.
    pub(in crate::run) fn set_work(&mut self) -> Result<u64, TrapKind> {
        let number = self.word(self.arg(0))?;
        let callback = Callback { program: self.call.program.id(), function: self.arg(1) };
        let Some(work) = self.run.deferred.get_mut(number) else {
            return Ok(failure(libc::EINVAL));
        };
        work.callback = Some(callback);
        Ok(0)
    }

    /// The work is to be done in so many nanoseconds.
    pub(in crate::run) fn start_work(
        &mut self,
        nanoseconds: impl FnOnce(Clock) -> u64,
    ) -> Result<u64, TrapKind> {
        let number = self.word(self.arg(0))?;
        let Some(work) = self.run.deferred.get_mut(number) else {
            return Ok(failure(libc::EINVAL));
        };
        let due = Instant::now().checked_add(Duration::from_nanos(nanoseconds(work.clock)));
        let is_started = due.is_some_and(|due| self.run.deferred.start(number, due));
        Ok(if is_started { 0 } else { failure(libc::EINVAL) })
    }
}

//! Work queues, and what else is done later.

use bombus_vm::TrapKind;

use super::{Context, failure};
use crate::os::Clock;
pub(super) use crate::run::helpers::timer_cancel_async;

/// `wq_init(work, map, flags)`.
pub(super) fn wq_init(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    match context.arg(2) {
        0 => context.init_work(Clock::Monotonic),
        _ => Ok(failure(libc::EINVAL)),
    }
}

/// `wq_set_callback(work, function, flags)`.
pub(super) fn wq_set_callback(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    match context.arg(2) {
        0 => context.set_work(),
        _ => Ok(failure(libc::EINVAL)),
    }
}

/// `wq_start(work, flags)`: it is done when no program runs.
pub(super) fn wq_start(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    match context.arg(1) {
        0 => context.start_work(|_| 0),
        _ => Ok(failure(libc::EINVAL)),
    }
}

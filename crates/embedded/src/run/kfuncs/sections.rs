//! Sections in which something does not happen: nothing else happens here while a program runs, so
//! most of them are only marks. And casts, and the way out.

use bombus_vm::TrapKind;

use super::{Context, failure};

/// `EDEADLK`.
const DEADLOCK: i32 = libc::EDEADLK;

pub(super) fn nothing(_: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    Ok(0)
}

pub(super) fn same(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    Ok(context.arg(0))
}

/// `local_irq_save(flags)`.
pub(super) fn irq_save(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    context.set_word(context.arg(0), 0)?;
    Ok(0)
}

/// `res_spin_lock(lock)`: only this program can have it, and then it would wait for itself.
pub(super) fn lock(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let lock = context.arg(0);
    if context.half(lock)? != 0 {
        return Ok(failure(DEADLOCK));
    }
    context.set_half(lock, 1)?;
    Ok(0)
}

/// `res_spin_lock_irqsave(lock, flags)`.
pub(super) fn lock_irqsave(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    context.set_word(context.arg(1), 0)?;
    lock(context)
}

pub(super) fn unlock(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    context.set_half(context.arg(0), 0)?;
    Ok(0)
}

/// `throw(cookie)`: ends the program with this value.
pub(super) fn throw(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    Err(TrapKind::Thrown(context.arg(0)))
}

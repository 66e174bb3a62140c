//! The current task, clocks, chance.

use bombus_vm::TrapKind;

use super::{Context, status};
use crate::os::{self, Clock};
use crate::run::memory::task_address;
use crate::{cpus, random};

pub(super) fn ktime_get_ns(_: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    Ok(os::now(Clock::Monotonic))
}

pub(super) fn ktime_get_boot_ns(_: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    Ok(os::now(Clock::Boot))
}

pub(super) fn ktime_get_tai_ns(_: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    Ok(os::now(Clock::Tai))
}

pub(super) fn get_prandom_u32(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    Ok(random::next(context.run.random) >> 32)
}

pub(super) fn get_smp_processor_id(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    Ok(context.run.occasion.cpu.into())
}

pub(super) fn get_numa_node_id(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    Ok(cpus::node_of(context.run.occasion.cpu).into())
}

pub(super) fn get_current_pid_tgid(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let task = &context.run.task;
    Ok(u64::from(task.pid()) << 32 | u64::from(task.tid()))
}

pub(super) fn get_current_uid_gid(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (uid, gid) = context.run.task.uid_gid();
    Ok(u64::from(gid) << 32 | u64::from(uid))
}

/// `get_current_comm(buf, size)`: cut off to fit, filled up with zeros.
pub(super) fn get_current_comm(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let (to, size) = (context.arg(0), context.size(1)?);
    let comm = context.run.task.comm();
    let buffer = context.vm.write(context.run, to, size)?;
    buffer.fill(0);
    let len = size.min(comm.len());
    buffer[..len].copy_from_slice(&comm[..len]);
    if let Some(last) = buffer.last_mut() {
        *last = 0;
    }
    Ok(0)
}

pub(super) fn get_current_task(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    Ok(task_address(context.run.task.tid()))
}

pub(super) fn get_current_cgroup_id(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    Ok(context.run.task.cgroup_id())
}

/// `send_signal(signal)`, to the current process.
pub(super) fn send_signal(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    let signal = context.arg(0) as u32 as i32;
    Ok(status(os::kill(context.run.task.pid(), signal)))
}

pub(super) fn get_func_ip(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    Ok(context.run.occasion.func_ip)
}

pub(super) fn get_attach_cookie(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    Ok(context.run.occasion.cookie)
}

/// `jiffies64()`: ticks of 4 ms, as most distributions have them (`CONFIG_HZ=250`); the count starts
/// five minutes before it overflows 32 bits (`INITIAL_JIFFIES`).
pub(super) fn jiffies64(_: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    const HZ: u64 = 250;
    const INITIAL: u64 = (300 * HZ as u32).wrapping_neg() as u64;
    Ok(INITIAL + os::now(Clock::Monotonic) / (1_000_000_000 / HZ))
}

pub(super) fn ktime_get_coarse_ns(_: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    Ok(os::now(Clock::MonotonicCoarse))
}

/// `spin_lock(lock)`, `spin_unlock(lock)`: programs run one at a time.
pub(super) fn spin_lock(context: &mut Context<'_, '_, '_>) -> Result<u64, TrapKind> {
    context.vm.write(context.run, context.arg(0), 4)?;
    Ok(0)
}

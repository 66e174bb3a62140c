//! Helper functions (`include/uapi/linux/bpf.h`, the comment above `___BPF_FUNC_MAPPER`).

mod control;
mod deferred;
mod dynptr;
mod format;
mod kept;
mod map;
mod memory;
mod packet;
mod perf;
mod ring;
mod socket;
mod task;
mod text;

use bombus_platform::{HELPERS, Helper};
use bombus_vm::{Call, Execution, Return, TrapKind};

pub(super) use self::deferred::timer_cancel_async;
pub(super) use self::memory::USER_END;
use super::Run;
use crate::maps::{Errno, Map};

/// What a helper is given to work with.
pub(super) struct Context<'a, 'b, 'c> {
    pub(super) run: &'a mut Run<'b>,
    pub(super) vm: &'a mut Execution<'c>,
    pub(super) call: &'a Call<'a>,
    /// The helper's, or the kernel function's.
    pub(super) name: &'static str,
}

/// A helper: gives `r0`.
pub(super) type Implementation = fn(&mut Context<'_, '_, '_>) -> Result<u64, TrapKind>;

/// Every helper there is, but for the tail call, which is no function.
const fn implementation(helper: Helper) -> Option<Implementation> {
    Some(match helper {
        Helper::MapLookupElem => map::lookup,
        Helper::MapLookupPercpuElem => map::lookup_percpu,
        Helper::MapUpdateElem => map::update,
        Helper::MapDeleteElem => map::delete,
        Helper::MapPushElem => map::push,
        Helper::MapPopElem => map::pop,
        Helper::MapPeekElem => map::peek,
        Helper::ForEachMapElem => control::for_each_map_elem,
        Helper::Loop => control::repeat,
        Helper::ProbeRead => memory::probe_read,
        Helper::ProbeReadStr => memory::probe_read_str,
        Helper::ProbeReadUser => memory::probe_read_user,
        Helper::ProbeReadUserStr => memory::probe_read_user_str,
        Helper::ProbeReadKernel => memory::probe_read_kernel,
        Helper::ProbeReadKernelStr => memory::probe_read_kernel_str,
        Helper::Strncmp => memory::strncmp,
        Helper::RingbufOutput => ring::output,
        Helper::RingbufReserve => ring::reserve,
        Helper::RingbufSubmit => ring::submit,
        Helper::RingbufDiscard => ring::discard,
        Helper::RingbufQuery => ring::query,
        Helper::RingbufReserveDynptr => dynptr::reserve,
        Helper::RingbufSubmitDynptr => dynptr::submit,
        Helper::RingbufDiscardDynptr => dynptr::discard,
        Helper::DynptrFromMem => dynptr::from_mem,
        Helper::DynptrRead => dynptr::read,
        Helper::DynptrWrite => dynptr::write,
        Helper::DynptrData => dynptr::data,
        Helper::PerfEventOutput => perf::output,
        Helper::KtimeGetNs => task::ktime_get_ns,
        Helper::KtimeGetBootNs => task::ktime_get_boot_ns,
        Helper::KtimeGetTaiNs => task::ktime_get_tai_ns,
        Helper::GetPrandomU32 => task::get_prandom_u32,
        Helper::GetSmpProcessorId => task::get_smp_processor_id,
        Helper::GetNumaNodeId => task::get_numa_node_id,
        Helper::GetCurrentPidTgid => task::get_current_pid_tgid,
        Helper::GetCurrentUidGid => task::get_current_uid_gid,
        Helper::GetCurrentComm => task::get_current_comm,
        Helper::GetCurrentTask => task::get_current_task,
        Helper::GetCurrentCgroupId => task::get_current_cgroup_id,
        Helper::SendSignal => task::send_signal,
        Helper::GetFuncIp => task::get_func_ip,
        Helper::GetAttachCookie => task::get_attach_cookie,
        Helper::TracePrintk => format::trace_printk,
        Helper::Snprintf => format::snprintf,
        Helper::Jiffies64 => task::jiffies64,
        Helper::KtimeGetCoarseNs => task::ktime_get_coarse_ns,
        Helper::SpinLock | Helper::SpinUnlock => task::spin_lock,
        Helper::Strtol => text::strtol,
        Helper::Strtoul => text::strtoul,
        Helper::XdpAdjustHead => packet::xdp_adjust_head,
        Helper::XdpAdjustMeta => packet::xdp_adjust_meta,
        Helper::XdpAdjustTail => packet::xdp_adjust_tail,
        Helper::XdpGetBuffLen => packet::xdp_get_buff_len,
        Helper::XdpLoadBytes => packet::xdp_load_bytes,
        Helper::XdpStoreBytes => packet::xdp_store_bytes,
        Helper::KptrXchg => kept::exchange,
        Helper::UserRingbufDrain => ring::drain,
        Helper::SkStorageGet => kept::sk_storage_get,
        Helper::SkStorageDelete => kept::sk_storage_delete,
        Helper::SkLookupTcp | Helper::SkLookupUdp | Helper::SkcLookupTcp => socket::lookup,
        Helper::SkRelease => socket::release,
        Helper::SkFullsock => socket::fullsock,
        Helper::TcpSock | Helper::GetListenerSock => socket::as_tcp,
        Helper::GetNetnsCookie => socket::get_netns_cookie,
        Helper::TimerInit => deferred::timer_init,
        Helper::TimerSetCallback => deferred::timer_set_callback,
        Helper::TimerStart => deferred::timer_start,
        Helper::TimerCancel => deferred::timer_cancel,
        Helper::GetLocalStorage => kept::get_local_storage,
        Helper::SkbLoadBytes => packet::skb_load_bytes,
        Helper::SkbLoadBytesRelative => packet::skb_load_bytes_relative,
        Helper::SkbStoreBytes => packet::skb_store_bytes,
        Helper::SkbPullData => packet::skb_pull_data,
        Helper::SkbChangeType => packet::skb_change_type,
        Helper::SkbChangeTail => packet::skb_change_tail,
        Helper::SkbChangeHead => packet::skb_change_head,
        Helper::SkbChangeProto => packet::skb_change_proto,
        Helper::SkbVlanPush => packet::skb_vlan_push,
        Helper::SkbVlanPop => packet::skb_vlan_pop,
        Helper::SkbAdjustRoom => packet::skb_adjust_room,
        Helper::CheckMtu => packet::check_mtu,
        Helper::L3CsumReplace => packet::l3_csum_replace,
        Helper::L4CsumReplace => packet::l4_csum_replace,
        Helper::CsumUpdate => packet::csum_update,
        Helper::CsumDiff => packet::csum_diff,
        Helper::GetHashRecalc => packet::get_hash_recalc,
        Helper::SetHashInvalid => packet::set_hash_invalid,
        Helper::SetHash => packet::set_hash,
        Helper::Redirect => packet::redirect,
        Helper::RedirectMap => packet::redirect_map,
        Helper::CloneRedirect => packet::clone_redirect,
        Helper::FibLookup => packet::fib_lookup,
        _ => return None,
    })
}

/// Whether programs may call a helper.
pub(crate) fn is_supported(helper: Helper) -> bool {
    helper == Helper::TailCall || implementation(helper).is_some()
}

/// Helpers by number.
static BY_ID: [Option<(Helper, Option<Implementation>)>; 256] = {
    let mut table = [None; 256];
    let mut index = 0;
    while index < HELPERS.len() {
        let helper = HELPERS[index];
        table[helper.id() as usize] = Some((helper, implementation(helper)));
        index += 1;
    }
    table
};

/// Performs a call.
#[inline]
pub(super) fn call(
    run: &mut Run<'_>,
    vm: &mut Execution<'_>,
    call: &Call<'_>,
) -> Result<Return, TrapKind> {
    if call.helper == Helper::MapLookupElem.id()
        && let Some(found) = map::plain_lookup(run, vm, call)
    {
        return Ok(Return::Value(found));
    }
    let found = usize::try_from(call.helper).ok().and_then(|id| *BY_ID.get(id)?);
    match found {
        Some((helper, Some(implementation))) => {
            implementation(&mut Context { run, vm, call, name: helper.name() }).map(Return::Value)
        }
        Some((Helper::TailCall, None)) => {
            control::tail_call(&mut Context { run, vm, call, name: "tail_call" })
        }
        _ => super::kfuncs::call(run, vm, call),
    }
}

/// A failure as `r0` has it.
pub(super) fn failure(errno: Errno) -> u64 {
    i64::from(-errno) as u64
}

/// A result as `r0` has it: 0, or the negative error number.
pub(super) fn status(result: Result<(), Errno>) -> u64 {
    result.map_or_else(failure, |()| 0)
}

impl Context<'_, '_, '_> {
    /// The 64-bit word at a guest address.
    pub(super) fn word(&mut self, address: u64) -> Result<u64, TrapKind> {
        let bytes = self.vm.read(self.run, address, 8)?;
        Ok(bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word)))
    }

    pub(super) fn set_word(&mut self, address: u64, value: u64) -> Result<(), TrapKind> {
        self.vm.write(self.run, address, 8)?.copy_from_slice(&value.to_le_bytes());
        Ok(())
    }

    pub(super) fn half(&mut self, address: u64) -> Result<u32, TrapKind> {
        let bytes = self.vm.read(self.run, address, 4)?;
        Ok(bytes.first_chunk().map_or(0, |word| u32::from_le_bytes(*word)))
    }

    pub(super) fn set_half(&mut self, address: u64, value: u32) -> Result<(), TrapKind> {
        self.vm.write(self.run, address, 4)?.copy_from_slice(&value.to_le_bytes());
        Ok(())
    }

    /// An argument, counted from 0.
    pub(super) fn arg(&self, index: usize) -> u64 {
        self.call.args[index]
    }

    pub(super) fn bad_argument(&self, index: usize, reason: &'static str) -> TrapKind {
        let (helper, argument) = (self.name, index as u8 + 1);
        TrapKind::BadArgument { helper, argument, reason }
    }

    /// The number of the map that an argument names.
    pub(super) fn map(&self, index: usize) -> Result<usize, TrapKind> {
        let map = super::memory::map_at(self.arg(index)).filter(|&map| map < self.run.maps.len());
        map.ok_or_else(|| self.bad_argument(index, "is no map"))
    }

    /// A size argument, as the kernel's verifier would have it.
    pub(super) fn size(&self, index: usize) -> Result<usize, TrapKind> {
        let size = i32::try_from(self.arg(index)).ok().and_then(|size| usize::try_from(size).ok());
        size.ok_or_else(|| self.bad_argument(index, "is no size"))
    }

    /// Copies guest memory over the contents of `into`.
    pub(super) fn copy(
        &mut self,
        address: u64,
        len: usize,
        into: &mut Vec<u8>,
    ) -> Result<(), TrapKind> {
        into.clear();
        into.extend_from_slice(self.vm.read(self.run, address, len)?);
        Ok(())
    }

    /// Calls `then` with the map's number, the map and a copy of the key at argument 1.
    fn with_key<R>(
        &mut self,
        then: impl FnOnce(&mut Self, usize, &[u8]) -> Result<R, TrapKind>,
    ) -> Result<R, TrapKind> {
        let map = self.map(0)?;
        let len = self.run.maps[map].key_size;
        let mut key = std::mem::take(&mut self.run.buffers.key);
        self.copy(self.arg(1), len, &mut key)?;
        let result = then(self, map, &key);
        self.run.buffers.key = key;
        result
    }

    /// A map that is there.
    fn map_mut(&mut self, map: usize) -> &mut Map {
        &mut self.run.maps[map]
    }
}

//! Helpers of programs over packets (`net/core/filter.c`). What they do to a packet stands in
//! [`crate::packet`]; here is how programs call it.

use bombus_platform::ETHERNET_HEADER;
use bombus_vm::TrapKind;

use super::{Context, failure, status};
use crate::maps::Errno;
use crate::packet::{Packet, Redirect, csum_diff as difference};
use crate::run::memory::PACKET_CONTEXT;
use crate::run::memory::map_at;

/// `XDP_ABORTED`, `XDP_REDIRECT`.
const XDP_ABORTED: u64 = 0;
const XDP_REDIRECT: u64 = 4;
/// `TC_ACT_SHOT`, `TC_ACT_REDIRECT`.
const TC_SHOT: u64 = 2;
const TC_REDIRECT: u64 = 7;
/// `BPF_F_INGRESS`.
const INGRESS: u64 = 1;

impl Context<'_, '_, '_> {
    /// The packet whose context argument 1 is.
    fn packet(&mut self) -> Result<&mut Packet, TrapKind> {
        let not_one = self.bad_argument(0, "is not the context of a packet");
        let is_context = self.arg(0) == PACKET_CONTEXT;
        self.run.packet.as_deref_mut().filter(|_| is_context).ok_or(not_one)
    }

    /// Does something with a packet in XDP's form.
    fn xdp(
        &mut self,
        with: impl FnOnce(&mut Packet) -> Result<(), Errno>,
    ) -> Result<u64, TrapKind> {
        Ok(status(self.packet()?.as_xdp().and_then(with)))
    }

    /// Does something with a packet in a socket buffer.
    fn skb(
        &mut self,
        with: impl FnOnce(&mut Packet) -> Result<(), Errno>,
    ) -> Result<u64, TrapKind> {
        Ok(status(self.packet()?.as_skb().and_then(with)))
    }

    /// Copies what is found of the packet to where argument 3 points; zeros when there is nothing
    /// and `clear`.
    fn load(
        &mut self,
        clear: bool,
        find: impl FnOnce(&Packet, u32) -> Result<&[u8], Errno>,
    ) -> Result<u64, TrapKind> {
        let (to, len) = (self.arg(2), self.size(3)?);
        let mut bytes = std::mem::take(&mut self.run.buffers.value);
        bytes.clear();
        let found = find(self.packet()?, len as u32).map(|found| bytes.extend_from_slice(found));
        if found.is_ok() || clear {
            let place = self.vm.write(self.run, to, len)?;
            place.fill(0);
            place[..bytes.len()].copy_from_slice(&bytes);
        }
        self.run.buffers.value = bytes;
        Ok(status(found))
    }

    /// Gives the bytes that arguments 3 and 4 name.
    fn store(
        &mut self,
        store: impl FnOnce(&mut Packet, &[u8]) -> Result<(), Errno>,
    ) -> Result<u64, TrapKind> {
        let len = self.size(3)?;
        let mut bytes = std::mem::take(&mut self.run.buffers.value);
        self.copy(self.arg(2), len, &mut bytes)?;
        let result = store(self.packet()?, &bytes);
        self.run.buffers.value = bytes;
        Ok(status(result))
    }

    fn is_xdp(&mut self) -> bool {
        self.run.packet.as_deref_mut().is_some_and(|packet| packet.as_xdp().is_ok())
    }

    fn redirected(&mut self, to: Redirect) {
        if let Some(packet) = &mut self.run.packet {
            packet.redirected = Some(to);
        }
    }
}

type Result64 = Result<u64, TrapKind>;

pub(super) fn xdp_adjust_head(context: &mut Context<'_, '_, '_>) -> Result64 {
    let by = context.arg(1) as i32;
    context.xdp(|packet| packet.xdp_adjust_head(by))
}

pub(super) fn xdp_adjust_meta(context: &mut Context<'_, '_, '_>) -> Result64 {
    let by = context.arg(1) as i32;
    context.xdp(|packet| packet.xdp_adjust_meta(by))
}

pub(super) fn xdp_adjust_tail(context: &mut Context<'_, '_, '_>) -> Result64 {
    let by = context.arg(1) as i32;
    context.xdp(|packet| packet.xdp_adjust_tail(by))
}

pub(super) fn xdp_get_buff_len(context: &mut Context<'_, '_, '_>) -> Result64 {
    Ok(context.packet()?.len() as u64)
}

pub(super) fn xdp_load_bytes(context: &mut Context<'_, '_, '_>) -> Result64 {
    let offset = context.arg(1) as u32;
    context.load(false, |packet, len| packet.xdp_bytes(offset, len))
}

pub(super) fn xdp_store_bytes(context: &mut Context<'_, '_, '_>) -> Result64 {
    let offset = context.arg(1) as u32;
    context.store(|packet, bytes| packet.as_xdp()?.xdp_store(offset, bytes))
}

pub(super) fn skb_load_bytes(context: &mut Context<'_, '_, '_>) -> Result64 {
    let offset = context.arg(1) as u32;
    context.load(true, |packet, len| packet.skb_bytes(offset, len))
}

pub(super) fn skb_load_bytes_relative(context: &mut Context<'_, '_, '_>) -> Result64 {
    let (offset, start) = (context.arg(1) as u32, context.arg(4) as u32);
    context.load(true, |packet, len| packet.skb_bytes_from(start, offset, len))
}

pub(super) fn skb_store_bytes(context: &mut Context<'_, '_, '_>) -> Result64 {
    let (offset, flags) = (context.arg(1) as u32, context.arg(4));
    context.store(|packet, bytes| packet.as_skb()?.skb_store(offset, bytes, flags))
}

pub(super) fn skb_pull_data(context: &mut Context<'_, '_, '_>) -> Result64 {
    let len = context.arg(1) as u32;
    context.skb(|packet| packet.skb_pull(len))
}

pub(super) fn skb_change_type(context: &mut Context<'_, '_, '_>) -> Result64 {
    let packet_type = context.arg(1) as u32;
    context.skb(|packet| packet.skb_change_type(packet_type))
}

pub(super) fn skb_change_tail(context: &mut Context<'_, '_, '_>) -> Result64 {
    let (len, flags) = (context.arg(1) as u32, context.arg(2));
    context.skb(|packet| packet.skb_change_tail(len, flags))
}

pub(super) fn skb_change_head(context: &mut Context<'_, '_, '_>) -> Result64 {
    let (by, flags) = (context.arg(1) as u32, context.arg(2));
    context.skb(|packet| packet.skb_change_head(by, flags))
}

pub(super) fn skb_change_proto(context: &mut Context<'_, '_, '_>) -> Result64 {
    let (protocol, flags) = (context.arg(1) as u16, context.arg(2));
    context.skb(|packet| packet.skb_change_proto(protocol, flags))
}

/// `skb_vlan_push(skb, vlan_proto, vlan_tci)`.
pub(super) fn skb_vlan_push(context: &mut Context<'_, '_, '_>) -> Result64 {
    let (protocol, tci) = (context.arg(1) as u16, context.arg(2) as u16);
    context.skb(|packet| packet.skb_vlan_push(protocol, tci))
}

/// `skb_vlan_pop(skb)`.
pub(super) fn skb_vlan_pop(context: &mut Context<'_, '_, '_>) -> Result64 {
    context.skb(Packet::skb_vlan_pop)
}

/// `skb_adjust_room(skb, len_diff, mode, flags)`.
pub(super) fn skb_adjust_room(context: &mut Context<'_, '_, '_>) -> Result64 {
    let (by, mode, flags) = (context.arg(1) as i32, context.arg(2) as u32, context.arg(3));
    context.skb(|packet| packet.skb_adjust_room(by, mode, flags))
}

/// `check_mtu(ctx, ifindex, mtu_len, len_diff, flags)`: whether the packet, or as many bytes of a network
/// packet as `mtu_len` says, and `len_diff` more fit a device; `mtu_len` is its limit afterwards.
pub(super) fn check_mtu(context: &mut Context<'_, '_, '_>) -> Result64 {
    /// `BPF_MTU_CHK_SEGS`, for packets of several segments, which are none here.
    const SEGMENTS: u64 = 1;
    /// `BPF_MTU_CHK_RET_FRAG_NEEDED`.
    const TOO_LARGE: u64 = 1;
    let [_, ifindex, place, by, flags] = context.call.args;
    let (ifindex, by) = (ifindex as u32, by as i32);
    let given = context.half(place)?;
    let allowed = if context.is_xdp() { 0 } else { SEGMENTS };
    if flags & !allowed != 0 || flags & SEGMENTS != 0 && (by != 0 || given != 0) {
        return Ok(failure(libc::EINVAL));
    }
    let packet = context.packet()?;
    let (len, device) = (packet.len() as u32, packet.device());
    let ifindex = if ifindex == 0 { device } else { ifindex };
    let Some(mtu) = crate::network::mtu(ifindex) else { return Ok(failure(libc::ENODEV)) };
    // (Every device here has Ethernet's header, the loopback device, too. As numbers of C's `int`.)
    let with_header = |len: u32| len.wrapping_add(ETHERNET_HEADER as u32) as i32;
    let len = if given == 0 { len as i32 } else { with_header(given) };
    let is_too_large = len.wrapping_add(by) > with_header(mtu);
    context.set_half(place, mtu)?;
    Ok(if is_too_large { TOO_LARGE } else { 0 })
}

pub(super) fn l3_csum_replace(context: &mut Context<'_, '_, '_>) -> Result64 {
    let [_, offset, from, to, flags] = context.call.args;
    context.skb(|packet| packet.l3_csum_replace(offset as u32, from, to, flags))
}

pub(super) fn l4_csum_replace(context: &mut Context<'_, '_, '_>) -> Result64 {
    let [_, offset, from, to, flags] = context.call.args;
    context.skb(|packet| packet.l4_csum_replace(offset as u32, from, to, flags))
}

/// `csum_update(skb, csum)`: no packet here has a sum over all of it (`CHECKSUM_COMPLETE`).
pub(super) fn csum_update(context: &mut Context<'_, '_, '_>) -> Result64 {
    context.skb(|_| Err(crate::maps::ENOTSUPP))
}

/// `csum_diff(from, from_size, to, to_size, seed)`.
pub(super) fn csum_diff(context: &mut Context<'_, '_, '_>) -> Result64 {
    let (from_len, to_len) = (context.size(1)?, context.size(3)?);
    let mut from = std::mem::take(&mut context.run.buffers.key);
    let mut to = std::mem::take(&mut context.run.buffers.value);
    // Null goes with no bytes.
    from.clear();
    to.clear();
    if from_len > 0 {
        context.copy(context.arg(0), from_len, &mut from)?;
    }
    if to_len > 0 {
        context.copy(context.arg(2), to_len, &mut to)?;
    }
    let sum = difference(&from, &to, context.arg(4) as u32);
    (context.run.buffers.key, context.run.buffers.value) = (from, to);
    Ok(sum.into())
}

pub(super) fn get_hash_recalc(context: &mut Context<'_, '_, '_>) -> Result64 {
    let seed = context.run.flow_seed;
    Ok(context.packet()?.flow_hash(seed).into())
}

pub(super) fn set_hash_invalid(context: &mut Context<'_, '_, '_>) -> Result64 {
    context.packet()?.set_hash(None);
    Ok(0)
}

pub(super) fn set_hash(context: &mut Context<'_, '_, '_>) -> Result64 {
    let hash = context.arg(1) as u32;
    context.packet()?.set_hash(Some(hash));
    Ok(0)
}

/// `redirect(ifindex, flags)`: noted; the packet goes when the program has ended.
pub(super) fn redirect(context: &mut Context<'_, '_, '_>) -> Result64 {
    let (ifindex, flags) = (context.arg(0) as u32, context.arg(1));
    let (allowed, refused, accepted) = match context.is_xdp() {
        true => (0, XDP_ABORTED, XDP_REDIRECT),
        false => (INGRESS, TC_SHOT, TC_REDIRECT),
    };
    if flags & !allowed != 0 {
        return Ok(refused);
    }
    let ingress = flags & INGRESS != 0;
    context.redirected(Redirect { target: ifindex, map: None, ingress });
    Ok(accepted)
}

/// `redirect_map(map, key, flags)`: the lowest two flags are what to give when there is no entry.
pub(super) fn redirect_map(context: &mut Context<'_, '_, '_>) -> Result64 {
    const OTHERWISE: u64 = 3;
    let (key, flags) = (context.arg(1) as u32, context.arg(2));
    let map = context.map(0)?;
    if flags & !OTHERWISE != 0 {
        return Ok(XDP_ABORTED);
    }
    let table = context.map_mut(map).table_mut();
    let found = table.and_then(|table| table.lookup(&key.to_ne_bytes(), 0));
    if found.is_none() {
        return Ok(flags);
    }
    let map = map_at(context.arg(0)).map(|map| map as u32);
    context.redirected(Redirect { target: key, map, ingress: false });
    Ok(XDP_REDIRECT)
}

/// `clone_redirect(skb, ifindex, flags)`.
pub(super) fn clone_redirect(context: &mut Context<'_, '_, '_>) -> Result64 {
    let (target, flags) = (context.arg(1) as u32, context.arg(2));
    context.skb(|packet| {
        if flags & !INGRESS != 0 {
            return Err(libc::EINVAL);
        }
        packet.clone_to(Redirect { target, map: None, ingress: flags & INGRESS != 0 });
        Ok(())
    })
}

/// `fib_lookup(ctx, params, size, flags)`: there is no routing table, so no packet is forwarded.
pub(super) fn fib_lookup(context: &mut Context<'_, '_, '_>) -> Result64 {
    /// `sizeof(struct bpf_fib_lookup)`, `BPF_FIB_LKUP_RET_NOT_FWDED`.
    const PARAMS: usize = 64;
    const NOT_FORWARDED: u64 = 4;
    /// Every flag that there is.
    const FLAGS: u64 = 0x3f;
    let size = context.size(2)?;
    if size < PARAMS || context.arg(3) & !FLAGS != 0 {
        return Ok(failure(libc::EINVAL));
    }
    let family = context.vm.read(context.run, context.arg(1), PARAMS)?[0];
    Ok(match i32::from(family) {
        libc::AF_INET | libc::AF_INET6 => NOT_FORWARDED,
        _ => failure(libc::EAFNOSUPPORT),
    })
}

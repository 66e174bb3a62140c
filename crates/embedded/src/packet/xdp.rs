//! Packets as `struct xdp_md` (`net/core/filter.c`, `net/bpf/test_run.c`).

use bombus_platform::{ETHERNET_HEADER, ProgType};

use super::{PAGE, Packet, TAILROOM};
use crate::maps::{ENOTSUPP, Errno};

/// Offsets of the context's fields.
pub(super) const DATA: usize = 0;
pub(super) const DATA_END: usize = 4;
pub(super) const DATA_META: usize = 8;
pub(super) const INGRESS_IFINDEX: usize = 12;
const RX_QUEUE_INDEX: usize = 16;

/// Bytes before a packet (`XDP_PACKET_HEADROOM`).
const HEADROOM: usize = 256;
/// Of these the kernel keeps some to itself (`struct xdp_frame`).
const FRAME: usize = 40;
/// Bytes that may stand before a packet (`xdp_metalen_invalid`).
const MAX_META: usize = 255;

impl Packet {
    /// Makes it a packet that came from a queue of a device. The first `meta` bytes are no part of
    /// the packet but stand before it.
    pub(crate) fn receive_xdp(
        &mut self,
        bytes: &[u8],
        meta: usize,
        ifindex: u32,
        queue: u32,
    ) -> Result<(), Errno> {
        self.expect_xdp(bytes.len(), meta, ifindex, queue)?;
        self.fill(bytes);
        Ok(())
    }

    /// The same without the bytes, which are still to come.
    #[inline]
    pub(super) fn expect_xdp(
        &mut self,
        len: usize,
        meta: usize,
        ifindex: u32,
        queue: u32,
    ) -> Result<(), Errno> {
        if meta > len || !meta.is_multiple_of(4) || meta > MAX_META {
            return Err(libc::EINVAL);
        }
        self.is_xdp = true;
        self.renew(ProgType::Xdp, HEADROOM - meta, len)?;
        self.data += meta;
        self.set_word(INGRESS_IFINDEX, ifindex);
        self.set_word(RX_QUEUE_INDEX, queue);
        self.update_context();
        if (meta, queue) == (0, 0) && self.limit == PAGE - TAILROOM {
            self.plain_from = Some(ifindex);
        }
        Ok(())
    }

    /// The same after a packet of the same device's first queue that is [unchanged](Packet::is_unchanged):
    /// only their lengths differ. False: it is another, or one of them has no room in a page.
    #[inline]
    pub(super) fn expect_similar_xdp(&mut self, len: usize, ifindex: u32) -> bool {
        const MOST: usize = PAGE - TAILROOM - HEADROOM;
        if !self.is_unchanged || self.plain_from != Some(ifindex) || len > MOST {
            return false;
        }
        self.is_unchanged = false;
        self.end = HEADROOM + len;
        self.redirected = None;
        self.set_word(DATA_END, self.address(self.end));
        true
    }

    /// `struct xdp_md` with offsets instead of addresses, as test runs give it: what they were
    /// given after these is left as it was.
    pub(crate) fn xdp_context(&self, rest: &[u8]) -> Vec<u8> {
        let words = [self.data - self.meta, self.end - self.meta, 0];
        let offsets = words.into_iter().flat_map(|word| (word as u32).to_ne_bytes());
        offsets.chain(rest.iter().copied()).collect()
    }

    /// `bpf_xdp_adjust_head`.
    pub(crate) fn xdp_adjust_head(&mut self, by: i32) -> Result<(), Errno> {
        let meta = self.data - self.meta;
        let data = self.data.checked_add_signed(by as isize).ok_or(libc::EINVAL)?;
        if data < FRAME + meta || data + ETHERNET_HEADER > self.end {
            return Err(libc::EINVAL);
        }
        self.memory.own().copy_within(self.meta..self.data, data - meta);
        (self.meta, self.data) = (data - meta, data);
        self.update_context();
        Ok(())
    }

    /// `bpf_xdp_adjust_meta`.
    pub(crate) fn xdp_adjust_meta(&mut self, by: i32) -> Result<(), Errno> {
        let meta = self.meta.checked_add_signed(by as isize).ok_or(libc::EINVAL)?;
        if meta < FRAME || meta > self.data {
            return Err(libc::EINVAL);
        }
        let len = self.data - meta;
        if !len.is_multiple_of(4) || len > MAX_META {
            return Err(libc::EACCES);
        }
        self.meta = meta;
        self.update_context();
        Ok(())
    }

    /// `bpf_xdp_adjust_tail`.
    pub(crate) fn xdp_adjust_tail(&mut self, by: i32) -> Result<(), Errno> {
        let end = self.end.checked_add_signed(by as isize).ok_or(libc::EINVAL)?;
        if end > self.limit || end < self.data + ETHERNET_HEADER {
            return Err(libc::EINVAL);
        }
        if end > self.end {
            self.memory.own()[self.end..end].fill(0);
        }
        self.end = end;
        self.update_context();
        Ok(())
    }

    /// `bpf_xdp_load_bytes`.
    pub(crate) fn xdp_bytes(&self, offset: u32, len: u32) -> Result<&[u8], Errno> {
        let (offset, len) = within(offset, len)?;
        self.slice(offset, len).ok_or(libc::EINVAL)
    }

    /// `bpf_xdp_store_bytes`.
    pub(crate) fn xdp_store(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Errno> {
        let (offset, len) = within(offset, bytes.len() as u32)?;
        self.slice_mut(offset, len).ok_or(libc::EINVAL)?.copy_from_slice(bytes);
        Ok(())
    }

    /// Checks that a helper is given what it is made for.
    pub(crate) fn as_xdp(&mut self) -> Result<&mut Packet, Errno> {
        if self.is_xdp { Ok(self) } else { Err(ENOTSUPP) }
    }
}

/// `bpf_xdp_pointer`.
fn within(offset: u32, len: u32) -> Result<(usize, usize), Errno> {
    const MOST: u32 = 0xffff;
    if offset > MOST || len > MOST {
        return Err(libc::EFAULT);
    }
    Ok((offset as usize, len as usize))
}

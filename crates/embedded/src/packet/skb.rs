//! Packets as `struct __sk_buff` (`net/core/filter.c`, `net/bpf/test_run.c`).

use bombus_platform::{ETHERNET_HEADER, ProgType};

use super::checksum::{after_change, after_change_16, by_change};
use super::{Direction, Packet, Redirect, Socket, TAILROOM};
use crate::maps::{ENOTSUPP, Errno};

/// Offsets of the context's fields.
pub(super) const LEN: usize = 0;
const PKT_TYPE: usize = 4;
const MARK: usize = 8;
const QUEUE_MAPPING: usize = 12;
pub(super) const PROTOCOL: usize = 16;
const PRIORITY: usize = 32;
const INGRESS_IFINDEX: usize = 36;
const IFINDEX: usize = 40;
const TC_INDEX: usize = 44;
const CB: usize = 48;
const HASH: usize = 68;
const TC_CLASSID: usize = 72;
const TSTAMP: usize = 152;
const WIRE_LEN: usize = 160;
const GSO_SEGS: usize = 164;
const GSO_SIZE: usize = 176;
const HWTSTAMP: usize = 184;
/// `data`, `data_end`, `data_meta`.
pub(super) const POINTERS: (usize, usize, usize) = (76, 80, 140);

/// What test runs let callers set (`convert___skb_to_skb`): offset and size.
const INPUTS: [(usize, usize); 10] = [
    (MARK, 4),
    (PRIORITY, 4),
    (INGRESS_IFINDEX, 4),
    (IFINDEX, 4),
    (CB, 20),
    (TSTAMP, 8),
    (WIRE_LEN, 4),
    (GSO_SEGS, 4),
    (GSO_SIZE, 4),
    (HWTSTAMP, 8),
];

/// Bytes before a packet: more than in the kernel (`NET_SKB_PAD`), which makes room when it has to.
const HEADROOM: usize = 512;
/// The kernel's largest packets in one piece (`BPF_SKB_MAX_LEN`).
pub(super) const MAX_LEN: usize = (4 << 12) - TAILROOM;
/// The largest length on the wire, and the largest number of segments (`GSO_LEGACY_MAX_SIZE`,
/// `GSO_MAX_SEGS`).
const MAX_WIRE_LEN: u32 = 65_536;
const MAX_SEGMENTS: u32 = 65_535;

/// The loopback device, which test runs take.
const LOOPBACK: u32 = 1;

pub(super) const IPV4: u16 = 0x0800;
pub(super) const IPV6: u16 = 0x86dd;
/// Bytes between the headers of the two.
const HEADER_CHANGE: usize = 20;

/// Which header an offset counts from (`enum bpf_hdr_start_off`).
const FROM_MAC: u32 = 0;
const FROM_NETWORK: u32 = 1;

impl Packet {
    /// Makes it a packet that came from the loopback device, as test runs do it. `context` is a
    /// `struct __sk_buff` or empty.
    pub(crate) fn receive_skb(
        &mut self,
        prog_type: ProgType,
        bytes: &[u8],
        context: &[u8],
    ) -> Result<(), Errno> {
        self.expect_skb(prog_type, bytes, context)?;
        self.fill(bytes);
        Ok(())
    }

    /// The same without the bytes, which are still to come.
    pub(super) fn expect_skb(
        &mut self,
        prog_type: ProgType,
        bytes: &[u8],
        context: &[u8],
    ) -> Result<(), Errno> {
        self.is_xdp = false;
        self.renew(prog_type, HEADROOM, bytes.len())?;
        self.network = self.mac + bytes.len().min(ETHERNET_HEADER);
        let has_link_layer = matches!(prog_type, ProgType::SchedCls | ProgType::SchedAct);
        if !has_link_layer {
            (self.data, self.meta) = (self.network, self.network);
        }
        self.set_word(IFINDEX, LOOPBACK);
        self.set_word(PROTOCOL, protocol(bytes).to_be().into());
        self.set_word(PKT_TYPE, packet_type(bytes, [0; 6], [0; 6]));
        self.limit = self.limit.max(self.data + MAX_LEN);
        self.memory.grow(self.limit)?;
        self.take_context(context)?;
        if self.word(WIRE_LEN) == 0 {
            self.set_word(WIRE_LEN, self.len() as u32);
        }
        self.update_context();
        Ok(())
    }

    /// Gives it the socket of a test run, which is at this address (`bpf_prog_test_run_skb`): one that
    /// was just made, with the packet's addresses.
    pub(crate) fn set_socket(&mut self, address: u64) {
        let header = self.memory.bytes(self.network..self.end);
        let socket = match u16::from_be(self.word(PROTOCOL) as u16) {
            IPV4 if header.len() >= 20 => {
                Socket::new(address, libc::AF_INET, &header[12..16], &header[16..20])
            }
            IPV6 if header.len() >= 40 => {
                Socket::new(address, libc::AF_INET6, &header[8..24], &header[24..40])
            }
            _ => Socket::new(address, libc::AF_UNSPEC, &[], &[]),
        };
        self.socket = Some(Box::new(socket));
    }

    /// Has only so many bytes, counted from the link layer's header, be where programs can access them.
    pub(crate) fn set_linear(&mut self, len: usize) {
        self.linear_end = self.mac + len;
        self.update_context();
    }

    /// Makes it a packet that passes the traffic control of a device.
    pub(crate) fn pass(
        &mut self,
        prog_type: ProgType,
        bytes: &[u8],
        ifindex: u32,
        direction: Direction,
    ) -> Result<(), Errno> {
        self.receive_skb(prog_type, bytes, &[])?;
        self.set_word(IFINDEX, ifindex);
        let packet_type = match direction {
            Direction::In { mac } => {
                self.set_word(INGRESS_IFINDEX, ifindex);
                self.next_tag()?;
                packet_type(bytes, mac, [0xff; 6])
            }
            Direction::Out => HOST,
        };
        self.set_word(PKT_TYPE, packet_type);
        Ok(())
    }

    /// `bpf_clone_redirect`: the packet as it is now goes there, too.
    pub(crate) fn clone_to(&mut self, to: Redirect) {
        let bytes = self.frame().into_owned();
        self.clones.push((to, bytes));
    }

    /// The copies that were sent.
    pub(crate) fn take_clones(&mut self) -> Vec<(Redirect, Vec<u8>)> {
        std::mem::take(&mut self.clones)
    }

    /// Takes what a caller set.
    fn take_context(&mut self, given: &[u8]) -> Result<(), Errno> {
        let mut rest = given.to_vec();
        for (at, size) in INPUTS {
            let Some(from) = given.get(at..at + size) else { continue };
            rest[at..at + size].fill(0);
            if at != IFINDEX || from.iter().any(|byte| *byte != 0) {
                self.context[at..at + size].copy_from_slice(from);
            }
        }
        let wire_len = self.word(WIRE_LEN);
        let len = self.len() as u32;
        let wrong = rest.iter().any(|byte| *byte != 0)
            || (wire_len != 0 && (wire_len < len || wire_len > MAX_WIRE_LEN))
            || self.word(GSO_SEGS) > MAX_SEGMENTS;
        if wrong { Err(libc::EINVAL) } else { Ok(()) }
    }

    /// The number of the device that it is at.
    pub(crate) fn device(&self) -> u32 {
        self.word(if self.is_xdp { super::xdp::INGRESS_IFINDEX } else { IFINDEX })
    }

    /// Whether it starts with the whole header of its protocol.
    pub(crate) fn has_network_header(&self) -> bool {
        let len = self.end - self.network;
        match u16::from_be(self.word(PROTOCOL) as u16) {
            IPV4 => len >= 20,
            IPV6 => len >= 40,
            _ => true,
        }
    }

    /// `struct __sk_buff` with the fields that test runs give back.
    pub(crate) fn skb_context(&self) -> Vec<u8> {
        let mut context = vec![0; self.context.len()];
        for (at, size) in INPUTS {
            context[at..at + size].copy_from_slice(&self.context[at..at + size]);
        }
        context
    }

    /// All bytes from the link layer's header on, also of programs that do not see it.
    pub(crate) fn with_link_layer(&self) -> &[u8] {
        self.memory.bytes(self.mac.min(self.data)..self.end)
    }

    /// Some fields have 16 bits in the kernel: what was written above them is lost.
    pub(super) fn shorten(&mut self, field: usize) {
        if is_short(field) {
            self.set_word(field, self.word(field) & 0xffff);
        }
    }

    /// Checks that a helper is given what it is made for.
    pub(crate) fn as_skb(&mut self) -> Result<&mut Packet, Errno> {
        if self.is_xdp { Err(ENOTSUPP) } else { Ok(self) }
    }

    /// `bpf_skb_load_bytes`.
    pub(crate) fn skb_bytes(&self, offset: u32, len: u32) -> Result<&[u8], Errno> {
        let offset = i32::try_from(offset).map_err(|_| libc::EFAULT)?;
        self.slice(offset as usize, len as usize).ok_or(libc::EFAULT)
    }

    /// A number of up to 4 bytes for legacy packet access (`bpf_skb_load_helper_convert_offset`).
    pub(crate) fn legacy_load(&self, offset: i32, len: usize) -> Option<u32> {
        /// `SKF_NET_OFF`, `SKF_LL_OFF`: where counting begins, at the network or link layer's
        /// header (`include/uapi/linux/filter.h`).
        const FROM_NETWORK: i32 = -0x10_0000;
        const FROM_LINK: i32 = -0x20_0000;
        let (start, offset) = match offset {
            0.. => (self.data, offset),
            FROM_NETWORK.. => (self.network, offset - FROM_NETWORK),
            FROM_LINK.. => (self.mac, offset - FROM_LINK),
            _ => return None,
        };
        let start = start.checked_add(usize::try_from(offset).ok()?)?;
        let end = start.checked_add(len).filter(|end| *end <= self.end)?;
        let mut word = [0; 4];
        word.get_mut(4 - len..)?.copy_from_slice(self.memory.get(start..end)?);
        Some(u32::from_be_bytes(word))
    }

    /// `bpf_skb_load_bytes_relative`.
    pub(crate) fn skb_bytes_from(&self, start: u32, offset: u32, len: u32) -> Result<&[u8], Errno> {
        let header = match start {
            FROM_MAC => self.mac,
            FROM_NETWORK => self.network,
            _ => return Err(libc::EFAULT),
        };
        if offset > 0xffff {
            return Err(libc::EFAULT);
        }
        let start = header + offset as usize;
        let end = start.checked_add(len as usize).filter(|end| *end <= self.end);
        end.and_then(|end| self.memory.get(start..end)).ok_or(libc::EFAULT)
    }

    /// `bpf_skb_store_bytes`.
    pub(crate) fn skb_store(&mut self, offset: u32, bytes: &[u8], flags: u64) -> Result<(), Errno> {
        /// `BPF_F_RECOMPUTE_CSUM`, `BPF_F_INVALIDATE_HASH`.
        const INVALIDATE_HASH: u64 = 2;
        const FLAGS: u64 = 1 | INVALIDATE_HASH;
        if flags & !FLAGS != 0 {
            return Err(libc::EINVAL);
        }
        let offset = i32::try_from(offset).map_err(|_| libc::EFAULT)?;
        let place = self.slice_mut(offset as usize, bytes.len()).ok_or(libc::EFAULT)?;
        place.copy_from_slice(bytes);
        if flags & INVALIDATE_HASH != 0 {
            self.set_hash(None);
        }
        Ok(())
    }

    /// `bpf_skb_pull_data`.
    pub(crate) fn skb_pull(&mut self, len: u32) -> Result<(), Errno> {
        if len as usize > self.len() {
            return Err(libc::ENOMEM);
        }
        let wanted = self.data + len as usize;
        if wanted > self.linear_end {
            self.linear_end = wanted;
            self.update_context();
        }
        Ok(())
    }

    /// The 16 bits of a checksum that a helper changes.
    fn sum_at(&mut self, offset: u32) -> Result<&mut [u8; 2], Errno> {
        if offset > 0xffff || offset % 2 == 1 {
            return Err(libc::EFAULT);
        }
        let place = self.slice_mut(offset as usize, 2).and_then(|place| place.first_chunk_mut());
        place.ok_or(libc::EFAULT)
    }

    /// `bpf_l3_csum_replace`.
    pub(crate) fn l3_csum_replace(
        &mut self,
        offset: u32,
        from: u64,
        to: u64,
        flags: u64,
    ) -> Result<(), Errno> {
        if flags & !0xf != 0 {
            return Err(libc::EINVAL);
        }
        let place = self.sum_at(offset)?;
        *place = replaced(*place, from, to, flags)?;
        Ok(())
    }

    /// `bpf_l4_csum_replace`.
    pub(crate) fn l4_csum_replace(
        &mut self,
        offset: u32,
        from: u64,
        to: u64,
        flags: u64,
    ) -> Result<(), Errno> {
        /// `BPF_F_PSEUDO_HDR`, `BPF_F_MARK_MANGLED_0`, `BPF_F_MARK_ENFORCE`, `BPF_F_IPV6`.
        const PSEUDO_HEADER: u64 = 1 << 4;
        const ZERO_IS_NONE: u64 = 1 << 5;
        const ENFORCE: u64 = 1 << 6;
        const FLAGS: u64 = 0xf | PSEUDO_HEADER | ZERO_IS_NONE | ENFORCE | 1 << 7;
        if flags & !FLAGS != 0 {
            return Err(libc::EINVAL);
        }
        let place = self.sum_at(offset)?;
        let zero_is_none = flags & ZERO_IS_NONE != 0;
        if zero_is_none && flags & ENFORCE == 0 && *place == [0; 2] {
            return Ok(());
        }
        *place = replaced(*place, from, to, flags & 0xf)?;
        if zero_is_none && *place == [0; 2] {
            *place = [0xff; 2];
        }
        Ok(())
    }

    /// `bpf_skb_change_type`: only packets that came in change whom they are for.
    pub(crate) fn skb_change_type(&mut self, packet_type: u32) -> Result<(), Errno> {
        const OTHER_HOST: u32 = 3;
        if packet_type > OTHER_HOST || self.word(PKT_TYPE) > OTHER_HOST {
            return Err(libc::EINVAL);
        }
        self.set_word(PKT_TYPE, packet_type);
        Ok(())
    }

    /// `bpf_skb_change_tail`.
    pub(crate) fn skb_change_tail(&mut self, len: u32, flags: u64) -> Result<(), Errno> {
        let len = len as usize;
        let least = self.network.saturating_sub(self.data);
        if flags != 0 || len > MAX_LEN || len < least {
            return Err(libc::EINVAL);
        }
        let end = self.data + len;
        self.memory.grow(end)?;
        if end > self.end {
            self.memory.own()[self.end..end].fill(0);
        }
        self.end = end;
        self.update_context();
        Ok(())
    }

    /// `bpf_skb_change_head`.
    pub(crate) fn skb_change_head(&mut self, by: u32, flags: u64) -> Result<(), Errno> {
        let by = by as usize;
        if flags != 0 || by > i32::MAX as usize || self.len() + by > MAX_LEN {
            return Err(libc::EINVAL);
        }
        self.push(by)?;
        self.memory.own()[self.data..self.data + by].fill(0);
        self.mac = self.data;
        self.update_context();
        Ok(())
    }

    /// Moves the packet's start to the front; what is there is left as it is.
    pub(super) fn push(&mut self, by: usize) -> Result<(), Errno> {
        if by > self.data {
            // As the kernel does: everything moves to larger memory.
            let shift = by.next_multiple_of(HEADROOM);
            self.memory.grow(self.end + shift)?;
            self.memory.own().copy_within(0..self.end, shift);
            self.linear_end = self.linear_end.saturating_add(shift);
            for offset in [
                &mut self.meta,
                &mut self.data,
                &mut self.end,
                &mut self.limit,
                &mut self.mac,
                &mut self.network,
            ] {
                *offset += shift;
            }
        }
        self.data -= by;
        self.meta = self.data;
        Ok(())
    }

    /// `bpf_skb_change_proto`: only makes or takes the room; the rest is the program's business.
    pub(crate) fn skb_change_proto(&mut self, protocol: u16, flags: u64) -> Result<(), Errno> {
        if flags != 0 {
            return Err(libc::EINVAL);
        }
        let current = u16::from_be(self.word(PROTOCOL) as u16);
        let link = self.network.checked_sub(self.data).ok_or(ENOTSUPP)?;
        match (current, u16::from_be(protocol)) {
            (IPV4, IPV6) => {
                self.push(HEADER_CHANGE)?;
                let from = self.data + HEADER_CHANGE;
                self.memory.own().copy_within(from..from + link, self.data);
                self.memory.own()[self.data + link..from + link].fill(0);
                self.network -= HEADER_CHANGE;
            }
            (IPV6, IPV4) => {
                if self.len() < link + HEADER_CHANGE {
                    return Err(libc::ENOMEM);
                }
                self.memory
                    .own()
                    .copy_within(self.data..self.data + link, self.data + HEADER_CHANGE);
                self.data += HEADER_CHANGE;
                self.meta = self.data;
                self.network += HEADER_CHANGE;
            }
            _ => return Err(ENOTSUPP),
        }
        self.mac = self.data;
        self.set_word(PROTOCOL, protocol.into());
        self.set_hash(None);
        self.update_context();
        Ok(())
    }

    /// The flow's hash: what was set, else one of the addresses, which `seed` keeps from being
    /// guessed.
    pub(crate) fn flow_hash(&mut self, seed: u64) -> u32 {
        let hash = self.hash.unwrap_or_else(|| {
            let header =
                self.memory.bytes(self.network..self.end.min(self.network + 44).max(self.network));
            let mut hash = seed | 1;
            for byte in header.iter().skip(8) {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
            }
            (hash >> 32) as u32
        });
        self.set_hash(Some(hash));
        hash
    }

    /// Sets or forgets the flow's hash.
    pub(crate) fn set_hash(&mut self, hash: Option<u32>) {
        self.hash = hash;
        self.set_word(HASH, hash.unwrap_or(0));
    }
}

/// Whether a field has 16 bits in the kernel.
pub(super) const fn is_short(field: usize) -> bool {
    matches!(field, QUEUE_MAPPING | TC_INDEX | TC_CLASSID)
}

/// A checksum after a change; the lowest four flags say how many bytes changed, 0 that `to` is the
/// difference.
fn replaced(sum: [u8; 2], from: u64, to: u64, flags: u64) -> Result<[u8; 2], Errno> {
    let sum = u16::from_ne_bytes(sum);
    let sum = match flags {
        0 if from != 0 => return Err(libc::EINVAL),
        0 => by_change(sum, to as u32),
        2 => after_change_16(sum, from as u16, to as u16),
        4 => after_change(sum, from as u32, to as u32),
        _ => return Err(libc::EINVAL),
    };
    Ok(sum.to_ne_bytes())
}

/// The protocol of what follows the Ethernet header (`eth_type_trans`, `net/ethernet/eth.c`).
pub(super) fn protocol(bytes: &[u8]) -> u16 {
    /// Below these are lengths (`ETH_P_802_3_MIN`); then it is one of two old forms.
    const SMALLEST: u16 = 0x600;
    const RAW_8023: u16 = 1;
    const LLC: u16 = 4;
    let half = |at| bytes.get(at..).and_then(|rest| rest.first_chunk()).copied();
    match half(12).map(u16::from_be_bytes) {
        Some(protocol @ SMALLEST..) => protocol,
        _ if half(14) == Some([0xff; 2]) => RAW_8023,
        _ => LLC,
    }
}

/// `PACKET_HOST` (`include/uapi/linux/if_packet.h`).
const HOST: u32 = 0;

/// Whom a packet is for that came to a device with this address (`eth_type_trans`). The loopback
/// device has zeros as its own and as its broadcast address.
fn packet_type(bytes: &[u8], own: [u8; 6], broadcast: [u8; 6]) -> u32 {
    const BROADCAST: u32 = 1;
    const MULTICAST: u32 = 2;
    const OTHER_HOST: u32 = 3;
    match bytes.first_chunk() {
        Some(to) if *to == own => HOST,
        Some(to) if to[0] & 1 == 1 && *to == broadcast => BROADCAST,
        Some(to) if to[0] & 1 == 1 => MULTICAST,
        _ => OTHER_HOST,
    }
}

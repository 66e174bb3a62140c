//! Room for headers that a program puts around a packet or takes away (`bpf_skb_adjust_room`,
//! `net/core/filter.c`).

use super::Packet;
use super::skb::{IPV4, IPV6, MAX_LEN, PROTOCOL};
use crate::maps::{ENOTSUPP, Errno};

/// `BPF_F_ADJ_ROOM_*`.
mod flag {
    pub(super) const FIXED_GSO: u64 = 1 << 0;
    pub(super) const ENCAP_IPV4: u64 = 1 << 1;
    pub(super) const ENCAP_IPV6: u64 = 1 << 2;
    pub(super) const ENCAP_GRE: u64 = 1 << 3;
    pub(super) const ENCAP_UDP: u64 = 1 << 4;
    pub(super) const NO_CSUM_RESET: u64 = 1 << 5;
    pub(super) const ENCAP_ETHERNET: u64 = 1 << 6;
    pub(super) const DECAP_IPV4: u64 = 1 << 7;
    pub(super) const DECAP_IPV6: u64 = 1 << 8;
    /// Bytes of a link layer's header within.
    pub(super) const INNER_LINK_SHIFT: u32 = 56;
    pub(super) const ENCAP: u64 = ENCAP_IPV4 | ENCAP_IPV6;
    pub(super) const DECAP: u64 = DECAP_IPV4 | DECAP_IPV6;
    pub(super) const SHRINKING: u64 = FIXED_GSO | DECAP | NO_CSUM_RESET;
    pub(super) const ALL: u64 =
        SHRINKING | ENCAP | ENCAP_GRE | ENCAP_UDP | ENCAP_ETHERNET | 0xff << INNER_LINK_SHIFT;
}

/// Where the room is: behind the network layer's header, or before it (`enum bpf_adj_room_mode`).
const BEHIND_NETWORK: u32 = 0;
const BEHIND_LINK: u32 = 1;

/// Bytes that room may be changed by at once.
const MOST: usize = 0xfff;
const ETHERNET: usize = 14;
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;

impl Packet {
    /// `bpf_skb_adjust_room`.
    pub(crate) fn skb_adjust_room(&mut self, by: i32, mode: u32, flags: u64) -> Result<(), Errno> {
        let (change, shrinks) = (by.unsigned_abs() as usize, by < 0);
        if flags & !flag::ALL != 0 {
            return Err(libc::EINVAL);
        }
        if change > MOST {
            return Err(libc::EFAULT);
        }
        let header = match u16::from_be(self.word(PROTOCOL) as u16) {
            IPV4 => IPV4_HEADER,
            IPV6 => IPV6_HEADER,
            _ => return Err(ENOTSUPP),
        };
        let at = self.network - self.mac
            + match mode {
                BEHIND_NETWORK => header,
                BEHIND_LINK => 0,
                _ => return Err(ENOTSUPP),
            };
        let least = match flags & flag::DECAP {
            0 => header,
            _ if !shrinks => return Err(libc::EINVAL),
            flag::DECAP_IPV4 => IPV4_HEADER,
            flag::DECAP_IPV6 => IPV6_HEADER,
            _ => return Err(libc::EINVAL),
        };
        let len = self.end - self.network;
        if shrinks && (change >= len || len - change < least) {
            return Err(ENOTSUPP);
        }
        if !shrinks && self.len() + change > MAX_LEN {
            return Err(ENOTSUPP);
        }
        match shrinks {
            true => self.shrink(at, change, flags)?,
            false => self.grow(at, change, flags)?,
        }
        self.update_context();
        Ok(())
    }

    /// `bpf_skb_net_shrink`.
    fn shrink(&mut self, at: usize, by: usize, flags: u64) -> Result<(), Errno> {
        if flags & !flag::SHRINKING != 0 {
            return Err(libc::EINVAL);
        }
        if self.len() < at + by {
            return Err(libc::ENOMEM);
        }
        let start = self.data;
        self.memory.own().copy_within(start..start + at, start + by);
        self.data += by;
        self.meta = self.data;
        (self.mac, self.network) = (self.mac + by, self.network + by);
        self.becomes(flags & flag::DECAP_IPV4 != 0, flags & flag::DECAP_IPV6 != 0);
        Ok(())
    }

    /// `bpf_skb_net_grow`.
    fn grow(&mut self, at: usize, by: usize, flags: u64) -> Result<(), Errno> {
        let wraps = flags & flag::ENCAP != 0;
        let link = self.network - self.mac;
        if wraps {
            let both = |flags: u64, these: u64| flags & these == these;
            let inner_link = (flags >> flag::INNER_LINK_SHIFT) as usize;
            if both(flags, flag::ENCAP)
                || both(flags, flag::ENCAP_GRE | flag::ENCAP_UDP)
                || flags & flag::ENCAP_ETHERNET != 0 && inner_link < ETHERNET
            {
                return Err(libc::EINVAL);
            }
            if self.is_wrapped {
                return Err(libc::EALREADY);
            }
            if inner_link > by {
                return Err(libc::EINVAL);
            }
        }
        self.push(by)?;
        let (start, end) = (self.data, self.end);
        let memory = self.memory.own();
        // Of headers that are not all there the rest is zeros, not what was there before the packet.
        memory[end..end.max(start + by + at)].fill(0);
        memory.copy_within(start + by..start + by + at, start);
        memory[start + at..][..by].fill(0);
        (self.mac, self.network) = (self.mac - by, self.network - by);
        if wraps {
            self.is_wrapped = true;
            self.network = self.data + link;
            self.becomes(flags & flag::ENCAP_IPV4 != 0, flags & flag::ENCAP_IPV6 != 0);
        }
        Ok(())
    }

    /// Its protocol is that of the outermost header now.
    fn becomes(&mut self, ipv4: bool, ipv6: bool) {
        match u16::from_be(self.word(PROTOCOL) as u16) {
            IPV4 if ipv6 => self.set_word(PROTOCOL, IPV6.to_be().into()),
            IPV6 if ipv4 => self.set_word(PROTOCOL, IPV4.to_be().into()),
            _ => {}
        }
    }
}

//! VLAN tags of `struct __sk_buff` (`net/core/skbuff.c`, `include/linux/if_vlan.h`): the outermost stands
//! beside the packet, as network cards give it, the others in it.

use std::borrow::Cow;

use super::Packet;
use super::skb::{PROTOCOL, protocol};
use crate::maps::Errno;

/// Offsets of the context's fields.
const PRESENT: usize = 20;
const TCI: usize = 24;
const PROTO: usize = 28;

/// A tag, and the addresses before it.
const TAG: usize = 4;
const ADDRESSES: usize = 12;
/// An Ethernet header with a tag.
const TAGGED_HEADER: usize = ADDRESSES + TAG + 2;

/// `ETH_P_8021Q`, `ETH_P_8021AD`.
const CUSTOMER: u16 = 0x8100;
const SERVICE: u16 = 0x88a8;

/// Whether this is the protocol of a tag (`eth_type_vlan`).
const fn is_tag(protocol: u16) -> bool {
    matches!(protocol, CUSTOMER | SERVICE)
}

/// A tag as it stands in a packet.
fn tag_bytes((protocol, tci): (u16, u16)) -> [u8; TAG] {
    let ([a, b], [c, d]) = (protocol.to_be_bytes(), tci.to_be_bytes());
    [a, b, c, d]
}

impl Packet {
    /// `bpf_skb_vlan_push`: `protocol` is in network order.
    pub(crate) fn skb_vlan_push(&mut self, protocol: u16, tci: u16) -> Result<(), Errno> {
        let protocol = Some(u16::from_be(protocol)).filter(|protocol| is_tag(*protocol));
        if let Some(tag) = self.tag() {
            self.insert_tag(tag)?;
        }
        self.set_tag(Some((protocol.unwrap_or(CUSTOMER), tci)));
        self.update_context();
        Ok(())
    }

    /// `bpf_skb_vlan_pop`.
    pub(crate) fn skb_vlan_pop(&mut self) -> Result<(), Errno> {
        if self.tag().is_some() {
            self.set_tag(None);
        } else if is_tag(self.protocol()) {
            self.take_tag()?;
        }
        self.next_tag()
    }

    /// The outermost tag in the packet comes to stand beside it (`skb_vlan_untag`, `skb_vlan_pop`).
    pub(super) fn next_tag(&mut self) -> Result<(), Errno> {
        let protocol = self.protocol();
        if is_tag(protocol) {
            let tci = self.take_tag()?;
            self.set_tag(Some((protocol, tci)));
        }
        self.update_context();
        Ok(())
    }

    /// What is on a wire: with the link layer's header and every tag (`validate_xmit_vlan`).
    pub(crate) fn frame(&self) -> Cow<'_, [u8]> {
        let bytes = self.with_link_layer();
        match (self.tag(), bytes.split_at_checked(ADDRESSES)) {
            (Some(tag), Some((addresses, rest))) => {
                [addresses, &tag_bytes(tag), rest].concat().into()
            }
            _ => bytes.into(),
        }
    }

    fn protocol(&self) -> u16 {
        u16::from_be(self.word(PROTOCOL) as u16)
    }

    /// The tag beside the packet: protocol, contents.
    fn tag(&self) -> Option<(u16, u16)> {
        let tag = (u16::from_be(self.word(PROTO) as u16), self.word(TCI) as u16);
        (self.word(PRESENT) != 0).then_some(tag)
    }

    fn set_tag(&mut self, tag: Option<(u16, u16)>) {
        // It belongs to what the packet is: this one is not as it was lent.
        self.memory.own();
        let (protocol, tci) = tag.unwrap_or_default();
        self.set_word(PRESENT, tag.is_some().into());
        self.set_word(TCI, tci.into());
        self.set_word(PROTO, protocol.to_be().into());
    }

    /// Puts a tag behind the addresses (`__vlan_insert_tag`).
    fn insert_tag(&mut self, tag: (u16, u16)) -> Result<(), Errno> {
        if self.data != self.mac {
            return Err(libc::EINVAL);
        }
        if self.len() < ADDRESSES {
            return Err(libc::ENOMEM);
        }
        self.push(TAG)?;
        let start = self.data;
        let memory = self.memory.own();
        memory.copy_within(start + TAG..start + TAG + ADDRESSES, start);
        memory[start + ADDRESSES..][..TAG].copy_from_slice(&tag_bytes(tag));
        (self.mac, self.network) = (start, self.network - TAG);
        self.set_word(PROTOCOL, tag.0.to_be().into());
        Ok(())
    }

    /// Takes out the tag behind the addresses; gives its contents (`__skb_vlan_pop`).
    fn take_tag(&mut self) -> Result<u16, Errno> {
        if self.data != self.mac {
            return Err(libc::EINVAL);
        }
        if self.len() < TAGGED_HEADER {
            return Err(libc::ENOMEM);
        }
        let start = self.data;
        let memory = self.memory.own();
        let tci =
            u16::from_be_bytes([memory[start + ADDRESSES + 2], memory[start + ADDRESSES + 3]]);
        memory.copy_within(start..start + ADDRESSES, start + TAG);
        self.data += TAG;
        (self.mac, self.meta) = (self.data, self.data);
        self.network = self.network.max(self.data + ADDRESSES + 2);
        let protocol = protocol(self.memory.bytes(self.data..self.end));
        self.set_word(PROTOCOL, protocol.to_be().into());
        Ok(tci)
    }
}

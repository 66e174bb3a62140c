//! A packet in memory, as programs over packets see it: its bytes with room before and behind them,
//! and its context (`struct xdp_md` or `struct __sk_buff`).
//!
//! The bytes lie below 4 GiB, so the 32-bit fields `data` and `data_end` of the context hold whole
//! addresses. (The kernel has to rewrite the loads of these fields; here nothing has to be rewritten,
//! and an engine that runs on addresses of this process needs nothing else either.)

mod checksum;
mod memory;
mod room;
mod skb;
mod socket;
mod vlan;
mod xdp;

use bombus_platform::{ContextField, ProgType, SK_BUFF_SIZE, XDP_MD_SIZE, context_fields};
use bombus_vm::{Context, View};

use crate::maps::Errno;
use memory::Memory;
use socket::Socket;

pub(crate) use checksum::csum_diff;

/// What the kernel keeps behind a packet in the same memory (`struct skb_shared_info`, aligned).
pub(crate) const TAILROOM: usize = 320;

/// A page.
const PAGE: usize = 4096;

/// Where a program sent a packet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Redirect {
    /// The device, or the map's key.
    pub(crate) target: u32,
    /// The map, when it was one.
    pub(crate) map: Option<u32>,
    /// To be received there, not sent.
    pub(crate) ingress: bool,
}

/// Which way a packet passes traffic control.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Direction {
    /// It came to the device with this address.
    In {
        /// The address on the wire.
        mac: [u8; 6],
    },
    /// The network stack sends it.
    Out,
}

/// A packet. Its memory is kept from one packet to the next.
#[derive(Debug)]
pub(crate) struct Packet {
    memory: Memory,
    fields: &'static [ContextField],
    is_xdp: bool,
    /// Programs may write it.
    is_writable: bool,
    context: [u8; SK_BUFF_SIZE],
    /// Offsets in the memory. Before `meta` and from `end` on nothing is accessible.
    meta: usize,
    data: usize,
    end: usize,
    /// How far `end` may go.
    limit: usize,
    /// Behind this offset the packet lies elsewhere: programs get there by helpers only.
    linear_end: usize,
    /// The socket that a test run gives it.
    socket: Option<Box<Socket>>,
    /// Of socket buffers: where the headers of link and network layer start.
    mac: usize,
    network: usize,
    /// Where it goes, if somewhere else.
    pub(crate) redirected: Option<Redirect>,
    /// Copies that were sent, and where to.
    clones: Vec<(Redirect, Vec<u8>)>,
    /// A program has put headers around it (`skb->encapsulation`).
    is_wrapped: bool,
    /// The hash of its flow, once it is known.
    hash: Option<u32>,
    /// It was borrowed and given back as it was, and nobody has used it since.
    is_unchanged: bool,
    /// The device from whose first queue it came, when it is one for XDP that a page has room for.
    plain_from: Option<u32>,
}

impl Packet {
    /// Memory for packets, without one.
    pub(crate) fn new() -> Result<Packet, Errno> {
        Ok(Packet {
            memory: Memory::new(16 * PAGE)?,
            fields: &[],
            is_xdp: false,
            is_writable: false,
            context: [0; SK_BUFF_SIZE],
            meta: 0,
            data: 0,
            end: 0,
            limit: 0,
            linear_end: usize::MAX,
            socket: None,
            mac: 0,
            network: 0,
            redirected: None,
            clones: Vec::new(),
            is_wrapped: false,
            hash: None,
            is_unchanged: false,
            plain_from: None,
        })
    }

    /// Makes it a packet of so many bytes at an offset of the memory, for programs of a type. The bytes
    /// are still to come.
    #[inline]
    fn renew(&mut self, prog_type: ProgType, headroom: usize, len: usize) -> Result<(), Errno> {
        let frame = frame(headroom, len);
        (self.is_unchanged, self.plain_from) = (false, None);
        self.memory.take_back();
        self.memory.grow(frame)?;
        let fields = context_fields(prog_type);
        if !std::ptr::eq(self.fields, fields) {
            self.fields = fields;
            let writes = |field: &ContextField| field.name == "tc_index" && field.access == WRITE;
            let may_write = self.is_xdp || prog_type == ProgType::LwtXmit;
            self.is_writable = may_write || fields.iter().any(writes);
        }
        if self.is_xdp {
            self.context[..XDP_MD_SIZE].fill(0);
        } else {
            self.context.fill(0);
        }
        (self.meta, self.data, self.end) = (headroom, headroom, headroom + len);
        self.limit = frame - TAILROOM;
        (self.linear_end, self.socket) = (usize::MAX, None);
        (self.mac, self.network) = (headroom, headroom);
        (self.redirected, self.hash, self.is_wrapped) = (None, None, false);
        self.clones.clear();
        Ok(())
    }

    /// Puts the bytes in.
    #[inline]
    fn fill(&mut self, bytes: &[u8]) {
        let start = self.mac;
        self.memory.own()[start..start + bytes.len()].copy_from_slice(bytes);
    }

    /// Makes it a packet that came from a device, or from the loopback device as test runs have it. The
    /// bytes stay where they are until somebody writes to them.
    ///
    /// # Safety
    ///
    /// They must stay as they are until [`Packet::take_back`], or until this packet is gone or made
    /// another.
    #[inline]
    #[expect(unsafe_code, reason = "see above")]
    pub(crate) unsafe fn borrow(
        &mut self,
        prog_type: ProgType,
        bytes: &[u8],
        ifindex: u32,
    ) -> Result<(), Errno> {
        match prog_type {
            ProgType::Xdp if self.expect_similar_xdp(bytes.len(), ifindex) => {}
            ProgType::Xdp => self.expect_xdp(bytes.len(), 0, ifindex, 0)?,
            _ => self.expect_skb(prog_type, bytes, &[])?,
        }
        // SAFETY: the caller's.
        unsafe { self.memory.lend(self.mac, bytes) };
        Ok(())
    }

    /// Gives back what was borrowed; whether the packet is what it was then. If it is not, it has its
    /// own bytes; if it is, it has none.
    #[inline]
    pub(crate) fn take_back(&mut self) -> bool {
        self.is_unchanged = self.memory.take_back();
        self.is_unchanged
    }

    /// The bytes, with what stands before them.
    pub(crate) fn with_meta(&self) -> &[u8] {
        self.memory.bytes(self.meta..self.end)
    }

    /// The bytes.
    pub(crate) fn data(&self) -> &[u8] {
        self.memory.bytes(self.data..self.end)
    }

    fn data_mut(&mut self) -> &mut [u8] {
        &mut self.memory.own()[self.data..self.end]
    }

    /// How many bytes there are.
    pub(crate) fn len(&self) -> usize {
        self.end - self.data
    }

    /// The memory at an address, when it is the packet's.
    pub(crate) fn at(&self, address: u64, len: usize) -> Option<&[u8]> {
        let range = self.range(address, len)?;
        self.memory.get(range)
    }

    /// The memory at an address, when it is the packet's and programs may write it.
    pub(crate) fn at_mut(&mut self, address: u64, len: usize) -> Option<&mut [u8]> {
        let range = self.range(address, len)?;
        if self.is_writable { self.memory.own().get_mut(range) } else { None }
    }

    fn range(&self, address: u64, len: usize) -> Option<std::ops::Range<usize>> {
        let start = usize::try_from(address.checked_sub(self.memory.address().into())?).ok()?;
        let end = start.checked_add(len)?;
        (start >= self.meta && end <= self.direct_end()).then_some(start..end)
    }

    /// Where what can be accessed directly ends.
    #[inline]
    fn direct_end(&self) -> usize {
        self.end.min(self.linear_end)
    }

    /// What programs see of its socket.
    pub(crate) fn socket(&self) -> Option<&[u8]> {
        self.socket.as_ref().map(|socket| socket.shown.as_slice())
    }

    /// Shows what programs may use without asking: the packet; the context at this address, for what
    /// [`reads_plainly`].
    #[inline(always)]
    pub(crate) fn show<'v>(&'v mut self, context: u64, view: &mut View<'_, 'v>) {
        let address = self.address(self.meta).into();
        view.fields(context, &self.context);
        let range = self.meta..self.direct_end();
        // Who writes to lent memory has to ask.
        if self.is_writable && self.memory.is_own() {
            view.subject(address, Context::Writable(&mut self.memory.own()[range]));
        } else {
            view.subject(address, Context::ReadOnly(self.memory.bytes(range)));
        }
    }

    /// Bytes of the context, when a program may read them.
    pub(crate) fn context(&mut self, offset: u64, len: usize) -> Option<&[u8]> {
        let Some((start, end, _)) = self.access(offset, len) else {
            let is_xdp = self.is_xdp;
            let socket = self.socket.as_deref().unwrap_or(&socket::NONE);
            return socket.in_context(offset, len).filter(|_| !is_xdp);
        };
        if !self.is_xdp {
            self.shorten(start & !3);
        }
        self.context.get(start..end)
    }

    /// Bytes of the context, when a program may write them.
    pub(crate) fn context_mut(&mut self, offset: u64, len: usize) -> Option<&mut [u8]> {
        let (start, end, _) = self.access(offset, len).filter(|field| field.2 == WRITE)?;
        self.context.get_mut(start..end)
    }

    fn access(&self, offset: u64, len: usize) -> Option<(usize, usize, bombus_platform::Access)> {
        access(self.fields, offset, len)
    }

    /// A 32-bit field of the context, by its offset.
    fn word(&self, offset: usize) -> u32 {
        let bytes = self.context.get(offset..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| u32::from_ne_bytes(*bytes))
    }

    fn set_word(&mut self, offset: usize, value: u32) {
        self.context[offset..offset + 4].copy_from_slice(&value.to_ne_bytes());
    }

    /// The address of an offset in the memory.
    fn address(&self, offset: usize) -> u32 {
        self.memory.address() + offset as u32
    }

    /// Writes where the packet is into the context. What has moved its ends is its own from then on:
    /// there is nothing around what is borrowed.
    #[inline]
    fn update_context(&mut self) {
        self.memory.own();
        let (data, end) = (self.address(self.data), self.address(self.direct_end()));
        let meta = self.address(self.meta);
        let (data_at, end_at, meta_at) =
            if self.is_xdp { (xdp::DATA, xdp::DATA_END, xdp::DATA_META) } else { skb::POINTERS };
        self.set_word(data_at, data);
        self.set_word(end_at, end);
        self.set_word(meta_at, meta);
        if !self.is_xdp {
            self.set_word(skb::LEN, (self.end - self.data) as u32);
        }
    }

    /// Bytes of the packet from `offset` on.
    fn slice(&self, offset: usize, len: usize) -> Option<&[u8]> {
        self.data().get(offset..offset.checked_add(len)?)
    }

    fn slice_mut(&mut self, offset: usize, len: usize) -> Option<&mut [u8]> {
        self.data_mut().get_mut(offset..offset.checked_add(len)?)
    }
}

/// Memory that a packet takes, with what is kept before and behind it.
#[inline]
fn frame(headroom: usize, len: usize) -> usize {
    (headroom + len + TAILROOM).next_multiple_of(PAGE)
}

/// Start and end of a place in a context, and what programs may do with the field that it is in.
fn access(
    fields: &[ContextField],
    offset: u64,
    len: usize,
) -> Option<(usize, usize, bombus_platform::Access)> {
    let start = usize::try_from(offset).ok()?;
    let end = start.checked_add(len)?;
    let field = fields.iter().find(|field| {
        let at = usize::from(field.offset);
        at <= start && end <= at + usize::from(field.size)
    })?;
    Some((start, end, field.access))
}

/// Whether programs of a type read so many bytes at an offset of the context as they are there.
pub(crate) fn reads_plainly(prog_type: ProgType, offset: u64, len: usize) -> bool {
    let found = access(context_fields(prog_type), offset, len);
    found.is_some_and(|(start, ..)| prog_type == ProgType::Xdp || !skb::is_short(start & !3))
}

const WRITE: bombus_platform::Access = bombus_platform::Access::Write;

//! The socket of a packet, as programs see it: `struct bpf_sock`, and what `struct __sk_buff` says of it
//! (`include/uapi/linux/bpf.h`).

use std::ops::Range;

/// Bytes of `struct bpf_sock`.
const SIZE: usize = 80;
/// Where it has the family, the sender's addresses (IPv4, IPv6), the receiver's, the state, and the queue.
const FAMILY: usize = 4;
const SOURCE: (usize, usize) = (24, 28);
const DESTINATION: (usize, usize) = (52, 56);
const STATE: usize = 72;
const RX_QUEUE: usize = 76;
/// `TCP_CLOSE`: every new socket is that.
const CLOSED: u32 = 7;

/// Where `struct __sk_buff` has the socket, and its family and addresses: the other end's, its own.
const IN_CONTEXT: Range<u64> = 168..176;
const FIELDS: Range<u64> = 88..140;
const REMOTE: (usize, usize) = (92 - 88, 100 - 88);
const LOCAL: (usize, usize) = (96 - 88, 116 - 88);

/// A socket that was just made.
#[derive(Debug)]
pub(super) struct Socket {
    address: [u8; 8],
    pub(super) shown: [u8; SIZE],
    fields: [u8; (FIELDS.end - FIELDS.start) as usize],
}

/// There is none: null, and zeros.
pub(super) static NONE: Socket =
    Socket { address: [0; 8], shown: [0; SIZE], fields: [0; (FIELDS.end - FIELDS.start) as usize] };

impl Socket {
    /// One at an address of the program's, of a family; its addresses are those of a packet.
    pub(super) fn new(address: u64, family: i32, source: &[u8], destination: &[u8]) -> Socket {
        let address = address.to_ne_bytes();
        let mut socket =
            Socket { address, shown: [0; SIZE], fields: [0; (FIELDS.end - FIELDS.start) as usize] };
        let family = (family as u32).to_ne_bytes();
        put(&mut socket.shown, FAMILY, &family);
        put(&mut socket.shown, STATE, &CLOSED.to_ne_bytes());
        put(&mut socket.shown, RX_QUEUE, &u32::MAX.to_ne_bytes());
        put(&mut socket.fields, 0, &family);
        let of_length =
            |places: (usize, usize)| if source.len() == 4 { places.0 } else { places.1 };
        put(&mut socket.shown, of_length(SOURCE), source);
        put(&mut socket.shown, of_length(DESTINATION), destination);
        put(&mut socket.fields, of_length(LOCAL), source);
        put(&mut socket.fields, of_length(REMOTE), destination);
        socket
    }

    /// Bytes of the context that are about the socket.
    pub(super) fn in_context(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let (range, bytes) = if IN_CONTEXT.contains(&offset) {
            (IN_CONTEXT, self.address.as_slice())
        } else {
            (FIELDS, self.fields.as_slice())
        };
        let start = usize::try_from(offset.checked_sub(range.start)?).ok()?;
        bytes.get(start..start.checked_add(len)?)
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

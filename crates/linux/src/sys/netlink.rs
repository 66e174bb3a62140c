//! `rtnetlink(7)`: messages, and one exchange at a time over a socket of its own.

use std::os::fd::{AsRawFd, OwnedFd};

use super::{Errno, check, check_fd};

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Bytes of `struct nlattr`.
const ATTRIBUTE: usize = 4;

const FLAG_REQUEST: u16 = 1;
const FLAG_ACK: u16 = 4;
/// The kernel answers with the message that it made of ours.
pub(crate) const FLAG_ECHO: u16 = 8;
/// Fail if there is one already.
pub(crate) const FLAG_EXCL: u16 = 0x200;
/// Make one if there is none.
pub(crate) const FLAG_CREATE: u16 = 0x400;
/// List all.
pub(crate) const FLAG_DUMP: u16 = 0x300;

const TYPE_ERROR: u16 = 2;
const TYPE_DONE: u16 = 3;

/// An attribute's payload is attributes (`NLA_F_NESTED`).
const NESTED: u16 = 1 << 15;

/// A request under construction.
pub(crate) struct Message(Vec<u8>);

impl Message {
    /// A message of this type with a fixed head (`struct ifinfomsg`, `struct tcmsg`, ...).
    pub(crate) fn new(message_type: u16, flags: u16, head: &[u8]) -> Message {
        let mut bytes = vec![0; 4];
        bytes.extend(message_type.to_ne_bytes());
        bytes.extend((flags | FLAG_REQUEST | FLAG_ACK).to_ne_bytes());
        // Sequence number, port: there is one request at a time, and the kernel knows us.
        bytes.extend([0; 8]);
        bytes.extend(head);
        let mut message = Message(bytes);
        message.pad();
        message
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// An attribute.
    pub(crate) fn attribute(&mut self, attribute_type: u16, payload: &[u8]) -> &mut Message {
        // No caller has one that comes near the limit.
        let len = (ATTRIBUTE + payload.len()) as u16;
        self.0.extend(len.to_ne_bytes());
        self.0.extend(attribute_type.to_ne_bytes());
        self.0.extend(payload);
        self.pad();
        self
    }

    /// A string, with its closing zero.
    pub(crate) fn text(&mut self, attribute_type: u16, text: &str) -> &mut Message {
        self.attribute(attribute_type, &[text.as_bytes(), &[0]].concat())
    }

    /// An attribute made of attributes (after a head, if it has one).
    pub(crate) fn nested(
        &mut self,
        attribute_type: u16,
        head: &[u8],
        fill: impl FnOnce(&mut Message),
    ) -> &mut Message {
        let start = self.0.len();
        self.attribute(attribute_type | NESTED, head);
        fill(self);
        let len = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        self
    }

    fn finish(&mut self) -> &[u8] {
        let len = self.0.len() as u32;
        self.0[..4].copy_from_slice(&len.to_ne_bytes());
        &self.0
    }
}

/// What the kernel said against a request.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) errno: Errno,
    /// In the kernel's own words, if it has some (`NETLINK_EXT_ACK`).
    pub(crate) words: Option<String>,
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Refusal {
        Refusal { errno, words: None }
    }
}

/// A socket for requests, in the network namespace that the calling thread is in now.
pub(crate) struct Netlink(OwnedFd);

impl Netlink {
    pub(crate) fn open() -> Result<Netlink, Errno> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
        // SAFETY: the descriptor is new.
        let socket =
            unsafe { check_fd(libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE).into()) }?;
        for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK] {
            let on: libc::c_int = 1;
            let size = size_of_val(&on) as u32;
            let fd = socket.as_raw_fd();
            // SAFETY: `on` outlives the call. A failure only means fewer words.
            unsafe {
                libc::setsockopt(fd, libc::SOL_NETLINK, option, (&raw const on).cast(), size)
            };
        }
        Ok(Netlink(socket))
    }

    /// Sends a request and gives what was answered, each message's type and what follows its
    /// header, up to the acknowledgement.
    pub(crate) fn request(&self, mut message: Message) -> Result<Vec<(u16, Vec<u8>)>, Refusal> {
        let bytes = message.finish();
        let (fd, start, len) = (self.0.as_raw_fd(), bytes.as_ptr().cast(), bytes.len());
        // SAFETY: the kernel reads `len` bytes of a live slice.
        check(unsafe { libc::send(fd, start, len, 0) } as libc::c_long)?;
        let mut answers = Vec::new();
        let mut buffer = vec![0u8; 64 << 10];
        loop {
            // SAFETY: the kernel writes at most the buffer's length.
            let got = unsafe { libc::recv(fd, buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            let got = match check(got as libc::c_long) {
                Ok(got) => got as usize,
                Err(libc::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let mut rest = &buffer[..got];
            while let Some((message_type, body, after)) = split_message(rest) {
                rest = after;
                match message_type {
                    TYPE_ERROR => return refusal(body).map_or(Ok(answers), Err),
                    TYPE_DONE => return Ok(answers),
                    _ => answers.push((message_type, body.to_vec())),
                }
            }
        }
    }
}

/// Type and body of the first message, and what comes after it.
fn split_message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let len = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let message_type = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let body = bytes.get(HEADER..len)?;
    Some((message_type, body, bytes.get(len.next_multiple_of(4)..).unwrap_or_default()))
}

/// From the body of an error message; `None` is the acknowledgement.
fn refusal(body: &[u8]) -> Option<Refusal> {
    const WORDS: u16 = 1;
    let errno = i32::from_ne_bytes(body.get(..4)?.try_into().ok()?);
    if errno == 0 {
        return None;
    }
    // The header of our message, without the rest of it (`NETLINK_CAP_ACK`).
    let attributes = body.get(4 + HEADER..).unwrap_or_default();
    let words = attributes_of(attributes).find(|(kind, _)| *kind == WORDS);
    let words = words.map(|(_, text)| {
        String::from_utf8_lossy(text.strip_suffix(&[0]).unwrap_or(text)).into_owned()
    });
    Some(Refusal { errno: -errno, words })
}

/// The attributes in these bytes: type, payload.
pub(crate) fn attributes_of(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
        let payload = bytes.get(ATTRIBUTE..len)?;
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & !NESTED, payload))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_lengths_and_padding() {
        let mut message = Message::new(16, FLAG_CREATE, &[1, 2, 3, 4]);
        message.text(3, "lo").nested(18, &[], |inner| {
            inner.text(1, "veth");
        });
        let bytes = message.finish().to_vec();
        assert_eq!(&bytes[..8], [44, 0, 0, 0, 16, 0, 5, 4]);
        assert_eq!(&bytes[16..28], [1, 2, 3, 4, 7, 0, 3, 0, b'l', b'o', 0, 0]);
        assert_eq!(&bytes[28..], b"\x10\0\x12\x80\x09\0\x01\0veth\0\0\0\0");
        let attributes: Vec<_> = attributes_of(&bytes[20..]).collect();
        assert_eq!(attributes, [(3, &b"lo\0"[..]), (18, &b"\x09\0\x01\0veth\0\0\0\0"[..])]);
    }

    #[test]
    fn refusals_come_with_words() {
        let body = [&(-17i32).to_ne_bytes()[..], &[0; 16], b"\x07\0\x01\0No\0\0"].concat();
        let refusal = refusal(&body).unwrap();
        assert_eq!((refusal.errno, refusal.words.as_deref()), (17, Some("No")));
        assert!(super::refusal(&[0; 20]).is_none());
        assert!(split_message(&[200, 0, 0, 0, 1, 0]).is_none());
    }
}

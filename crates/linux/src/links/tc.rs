//! Traffic control by filters of the `clsact` queueing discipline: the way before TCX (Linux 6.6),
//! and still the one to go among other filters. Nothing here has a link, so that a filter stays
//! when this process is killed.

use std::os::fd::AsRawFd;

use bombus_kernel::{Error, Result};

use super::{Attached, Undo};
use crate::caps::Wants;
use crate::error::privileged;
use crate::programs::Program;
use crate::sys::netlink::{
    FLAG_CREATE, FLAG_DUMP, FLAG_ECHO, FLAG_EXCL, Message, Netlink, Refusal,
};

/// `RTM_*` (`include/uapi/linux/rtnetlink.h`).
const NEW_QDISC: u16 = 36;
const DEL_QDISC: u16 = 37;
const NEW_FILTER: u16 = 44;
const DEL_FILTER: u16 = 45;
const GET_FILTER: u16 = 46;

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
/// In the options of a filter of kind `bpf`.
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
/// The program's value is the verdict (`TCA_BPF_FLAG_ACT_DIRECT`).
const DIRECT: u32 = 1;

/// `TC_H_CLSACT`.
const CLSACT: u32 = 0xffff_fff1;
/// `TC_H_MAKE(TC_H_CLSACT, 0)`.
const CLSACT_HANDLE: u32 = 0xffff_0000;
/// `TC_H_MIN_INGRESS`, `TC_H_MIN_EGRESS`.
const INGRESS: u32 = 0xffff_fff2;
const EGRESS: u32 = 0xffff_fff3;

/// `struct tcmsg`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Head {
    ifindex: u32,
    handle: u32,
    parent: u32,
    /// Of a filter: priority and protocol.
    info: u32,
}

impl Head {
    fn bytes(&self) -> [u8; 20] {
        let mut bytes = [0; 20];
        let words = [self.ifindex, self.handle, self.parent, self.info];
        for (to, word) in bytes[4..].chunks_exact_mut(4).zip(words) {
            to.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Head> {
        let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        Some(Head { ifindex: word(4)?, handle: word(8)?, parent: word(12)?, info: word(16)? })
    }
}

/// Priority, and every protocol (`ETH_P_ALL`, in the network's byte order).
fn info(priority: u16) -> u32 {
    u32::from(priority) << 16 | u32::from(3u16.to_be())
}

/// A filter of ours.
pub(super) struct Filter {
    /// In the device's namespace.
    netlink: Netlink,
    head: Head,
    /// The device had no `clsact` before.
    made_qdisc: bool,
}

fn refused(doing: String, refusal: Refusal) -> Error {
    match (refusal.errno, refusal.words) {
        (libc::EEXIST, _) => Error::Os {
            doing,
            errno: libc::EEXIST,
            help: Some("there is a filter of this priority and handle".into()),
        },
        (libc::ENOENT | libc::EOPNOTSUPP, _) => Error::Unsupported {
            what: format!("could not {doing}: this kernel has no such traffic control"),
            help: Some("it was built without CONFIG_NET_CLS_BPF or CONFIG_NET_SCH_INGRESS".into()),
        },
        (errno @ (libc::EPERM | libc::EACCES), _) => privileged(doing, errno, Wants::Network),
        (errno, words) => Error::Os { doing, errno, help: words },
    }
}

/// Adds a filter to a device; makes the discipline that it needs if there is none.
pub(super) fn attach(
    program: &Program,
    ifindex: u32,
    egress: bool,
    priority: u16,
    handle: u32,
) -> Result<Attached> {
    let direction = if egress { "outgoing" } else { "incoming" };
    let doing =
        || format!("filter {direction} packets of network device {ifindex} by {}", program.name);
    let netlink = Netlink::open().map_err(|errno| Error::os(doing(), errno))?;
    let made_qdisc = match netlink.request(qdisc(NEW_QDISC, FLAG_CREATE | FLAG_EXCL, ifindex)) {
        Ok(_) => true,
        Err(refusal) if refusal.errno == libc::EEXIST => false,
        Err(refusal) => return Err(refused(doing(), refusal)),
    };
    let parent = if egress { EGRESS } else { INGRESS };
    let wanted = Head { ifindex, handle, parent, info: info(priority) };
    let mut message =
        Message::new(NEW_FILTER, FLAG_CREATE | FLAG_EXCL | FLAG_ECHO, &wanted.bytes());
    let fd = program.fd().as_raw_fd() as u32;
    message.text(TCA_KIND, "bpf").nested(TCA_OPTIONS, &[], |options| {
        options.attribute(TCA_BPF_FD, &fd.to_ne_bytes());
        options.text(TCA_BPF_NAME, &program.name);
        options.attribute(TCA_BPF_FLAGS, &DIRECT.to_ne_bytes());
    });
    let mut filter = Filter { netlink, head: wanted, made_qdisc };
    match filter.netlink.request(message) {
        Ok(answers) => {
            // The kernel chose what was not said.
            let made = answers.iter().find(|(kind, _)| *kind == NEW_FILTER);
            if let Some(head) = made.and_then(|(_, body)| Head::parse(body)) {
                filter.head = head;
            }
            Ok(Attached::without_link(Undo::Filter(filter)))
        }
        Err(refusal) => {
            filter.remove_qdisc();
            Err(refused(doing(), refusal))
        }
    }
}

fn qdisc(message_type: u16, flags: u16, ifindex: u32) -> Message {
    let head = Head { ifindex, handle: CLSACT_HANDLE, parent: CLSACT, info: 0 };
    let mut message = Message::new(message_type, flags, &head.bytes());
    message.text(TCA_KIND, "clsact");
    message
}

impl Filter {
    /// Removes the filter, and the discipline if it was made for it and nobody else uses it.
    pub(super) fn remove(self) -> Result<()> {
        // The kernel would take no priority for all filters.
        if self.head.info >> 16 == 0 {
            return Err(Error::os("remove a filter of unknown priority", libc::ENOENT));
        }
        let mut message = Message::new(DEL_FILTER, 0, &self.head.bytes());
        message.text(TCA_KIND, "bpf");
        let outcome = match self.netlink.request(message) {
            // Somebody has removed it, or the device.
            Err(refusal) if matches!(refusal.errno, libc::ENOENT | libc::ENODEV | libc::EINVAL) => {
                Ok(())
            }
            Err(refusal) => Err(refused("remove a filter".into(), refusal)),
            Ok(_) => Ok(()),
        };
        self.remove_qdisc();
        outcome
    }

    fn remove_qdisc(&self) {
        let unused = |parent: u32| {
            let head = Head { ifindex: self.head.ifindex, handle: 0, parent, info: 0 };
            let answers = self.netlink.request(Message::new(GET_FILTER, FLAG_DUMP, &head.bytes()));
            answers.is_ok_and(|filters| filters.is_empty())
        };
        if self.made_qdisc && unused(INGRESS) && unused(EGRESS) {
            // Left behind, it does nothing.
            let _ = self.netlink.request(qdisc(DEL_QDISC, 0, self.head.ifindex));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_read_as_they_were_written() {
        let head = Head { ifindex: 3, handle: 1, parent: INGRESS, info: info(49152) };
        assert_eq!(Head::parse(&head.bytes()), Some(head));
        assert_eq!(head.bytes()[16..], [0, 3, 0, 0xc0]);
        assert_eq!(Head::parse(&[0; 19]), None);
    }
}

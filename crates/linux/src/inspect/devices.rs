//! Network devices and their programs, by netlink (`include/uapi/linux/rtnetlink.h`).

use bombus_kernel::inspect::{NetDevice, TcFilter, XdpProgram};
use bombus_kernel::{Error, Result};

use crate::sys::netlink::{FLAG_DUMP, Message, Netlink, Refusal, attributes_of};
use crate::sys::record::text;

/// `RTM_GETLINK` and so on.
const GET_LINK: u16 = 18;
const GET_QDISC: u16 = 38;
const GET_CLASS: u16 = 42;
const GET_FILTER: u16 = 46;

/// `IFLA_*`, `IFLA_XDP_*`.
const IFLA_IFNAME: u16 = 3;
const IFLA_XDP: u16 = 43;
const XDP_ATTACHED: u16 = 2;
const XDP_PROG_ID: u16 = 4;
/// Each mode's own program, where several modes are in use.
const XDP_MODES: [(u16, &str); 3] = [(6, "generic"), (5, "driver"), (7, "offload")];
/// `XDP_ATTACHED_MULTI`.
const MULTI: u8 = 4;

/// `TCA_*`, `TCA_BPF_*`, `TCA_ACT_*`, `TCA_ACT_BPF_*`.
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const BPF_ACT: u16 = 1;
const BPF_NAME: u16 = 7;
const BPF_ID: u16 = 11;
const ACT_KIND: u16 = 1;
const ACT_OPTIONS: u16 = 2;
const ACT_BPF_NAME: u16 = 6;
const ACT_BPF_ID: u16 = 9;

/// `struct ifinfomsg` and `struct tcmsg`.
const LINK_HEAD: usize = 16;
const TC_HEAD: usize = 20;

/// Handles that every device has: `TC_H_ROOT`, and the two of `clsact`.
const FIXED: [(u32, &str); 3] =
    [(0xffff_ffff, "root"), (0xffff_fff2, "clsact/ingress"), (0xffff_fff3, "clsact/egress")];

type Asked<T> = std::result::Result<T, Refusal>;

pub(super) fn all(ifindex: Option<u32>) -> Result<Vec<NetDevice>> {
    let asked = || {
        let netlink = Netlink::open().map_err(Refusal::from)?;
        let mut devices = devices(&netlink, ifindex)?;
        for device in &mut devices {
            // Not every device has queues.
            device.filters = filters(&netlink, device.ifindex).unwrap_or_default();
        }
        Ok(devices)
    };
    asked().map_err(|refusal: Refusal| Error::os("ask for network devices", refusal.errno))
}

/// The attribute of this type.
fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes_of(bytes).find(|(found, _)| *found == kind).map(|(_, payload)| payload)
}

fn word(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn devices(netlink: &Netlink, ifindex: Option<u32>) -> Asked<Vec<NetDevice>> {
    let answers = netlink.request(Message::new(GET_LINK, FLAG_DUMP, &[0; LINK_HEAD]))?;
    let device = |(_, message): (u16, Vec<u8>)| {
        let number = word(message.get(4..)?)?;
        let attributes = message.get(LINK_HEAD..)?;
        Some(NetDevice {
            ifindex: number,
            name: attribute(attributes, IFLA_IFNAME).map(text).unwrap_or_default(),
            xdp: attribute(attributes, IFLA_XDP).map(xdp).unwrap_or_default(),
            filters: Vec::new(),
        })
    };
    let wanted = |device: &NetDevice| ifindex.is_none_or(|ifindex| ifindex == device.ifindex);
    Ok(answers.into_iter().filter_map(device).filter(wanted).collect())
}

fn xdp(attributes: &[u8]) -> Vec<XdpProgram> {
    let program = |kind, mode, multi| {
        let prog_id = word(attribute(attributes, kind)?)?;
        Some(XdpProgram { mode, prog_id, multi })
    };
    let mode = match attribute(attributes, XDP_ATTACHED).and_then(<[u8]>::first) {
        Some(1) => "driver",
        Some(2) => "generic",
        Some(3) => "offload",
        Some(&MULTI) => {
            let modes = XDP_MODES.iter();
            return modes.filter_map(|&(kind, mode)| program(kind, mode, true)).collect();
        }
        _ => return Vec::new(),
    };
    program(XDP_PROG_ID, mode, false).into_iter().collect()
}

/// `struct tcmsg`.
fn tc_head(ifindex: u32, parent: u32) -> [u8; TC_HEAD] {
    let mut head = [0; TC_HEAD];
    head[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    head[12..16].copy_from_slice(&parent.to_ne_bytes());
    head
}

/// The classes or queues of a device: handle, kind.
fn handles(netlink: &Netlink, request: u16, ifindex: u32) -> Asked<Vec<(u32, String)>> {
    let answers = netlink.request(Message::new(request, FLAG_DUMP, &tc_head(ifindex, 0)))?;
    let handle = |(_, message): (u16, Vec<u8>)| {
        let (of, handle) = (word(message.get(4..)?)?, word(message.get(8..)?)?);
        let kind = attribute(message.get(TC_HEAD..)?, TCA_KIND).map(text);
        (of == ifindex).then(|| (handle, kind.unwrap_or_else(|| "unknown".to_owned())))
    };
    Ok(answers.into_iter().filter_map(handle).collect())
}

fn filters(netlink: &Netlink, ifindex: u32) -> Asked<Vec<TcFilter>> {
    let mut places = handles(netlink, GET_CLASS, ifindex)?;
    let queues = handles(netlink, GET_QDISC, ifindex)?;
    places.extend(queues.into_iter().filter(|(handle, kind)| *handle != 0 && kind != "clsact"));
    places.extend(FIXED.map(|(handle, kind)| (handle, kind.to_owned())));
    let mut filters = Vec::new();
    for (handle, kind) in places {
        let request = Message::new(GET_FILTER, FLAG_DUMP, &tc_head(ifindex, handle));
        for (_, message) in netlink.request(request)? {
            let of = message.get(4..).and_then(word);
            let attributes = message.get(TC_HEAD..).unwrap_or_default();
            let is_program = attribute(attributes, TCA_KIND).map(text).as_deref() == Some("bpf");
            let options = attribute(attributes, TCA_OPTIONS).filter(|_| is_program);
            if let (true, Some(options)) = (of == Some(ifindex), options) {
                filters.push(TcFilter {
                    kind: kind.clone(),
                    name: attribute(options, BPF_NAME).map(text),
                    prog_id: attribute(options, BPF_ID).and_then(word),
                    actions: attribute(options, BPF_ACT).map(actions).unwrap_or_default(),
                });
            }
        }
    }
    Ok(filters)
}

/// Those of a filter's actions that are programs, in order.
fn actions(attributes: &[u8]) -> Vec<(Option<String>, Option<u32>)> {
    attributes_of(attributes)
        .filter(|(_, action)| attribute(action, ACT_KIND).map(text).as_deref() == Some("bpf"))
        .filter_map(|(_, action)| {
            let options = attribute(action, ACT_OPTIONS)?;
            let name = attribute(options, ACT_BPF_NAME).map(text);
            Some((name, attribute(options, ACT_BPF_ID).and_then(word)))
        })
        .collect()
}

//! Programs of network devices: `net show`.

use bombus_kernel::inspect::{LinkInfo, LinkTarget, NetDevice, TcFilter};
use serde_json::{Value, json};

use crate::link::netfilter_text;

/// A program that a device runs by the newer traffic control or as a netkit device.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attached {
    /// `tcx/ingress` and so on.
    pub kind: &'static str,
    /// The program's whole name, when it has one.
    pub name: Option<String>,
    /// The program.
    pub prog_id: u32,
    /// `BPF_F_*` of the attachment.
    pub flags: u32,
    /// The link that attaches it; 0: none.
    pub link_id: u32,
}

/// What a namespace's devices and hooks run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Network {
    /// The devices, with what the newer traffic control has for each.
    pub devices: Vec<(NetDevice, Vec<Attached>)>,
    /// The flow dissector; 0: none.
    pub flow_dissector: u32,
    /// Links to netfilter's hooks.
    pub netfilter: Vec<LinkInfo>,
}

/// The single bits that are set.
fn bits(flags: u32) -> Vec<u32> {
    (0..32).map(|bit| 1 << bit).filter(|bit| flags & bit != 0).collect()
}

fn numbers(numbers: &[u32]) -> String {
    numbers.iter().map(|number| format!("{number} ")).collect()
}

impl Network {
    /// Links in the order in which their hooks run.
    fn sorted_netfilter(&self) -> Vec<&LinkInfo> {
        let mut links: Vec<&LinkInfo> = self.netfilter.iter().collect();
        links.sort_by_key(|link| match link.target {
            LinkTarget::Netfilter { family, hook, priority, flags } => {
                (family, hook, priority, flags)
            }
            _ => (u32::MAX, 0, 0, 0),
        });
        links
    }

    /// The text form.
    pub fn text(&self) -> String {
        let mut text = String::from("xdp:\n");
        for (device, _) in &self.devices {
            if device.xdp.is_empty() {
                continue;
            }
            text += &format!("{}({})", device.name, device.ifindex);
            for program in &device.xdp {
                text += &format!(" {} id {}", program.mode, program.prog_id);
            }
            text += "\n";
        }
        text += "\ntc:\n";
        for (device, attached) in &self.devices {
            let start = format!("{}({})", device.name, device.ifindex);
            text.extend(attached.iter().map(|program| program.text(&start)));
            text.extend(device.filters.iter().map(|filter| filter_text(filter, &start)));
        }
        text += "\nflow_dissector:\n";
        if self.flow_dissector != 0 {
            text += &format!("id {}", self.flow_dissector);
        }
        text += "\nnetfilter:\n";
        for link in self.sorted_netfilter() {
            if let LinkTarget::Netfilter { family, hook, priority, flags } = link.target {
                text += &netfilter_text(family, hook, priority, flags);
                text += &format!(" prog_id {}", link.prog_id);
            }
        }
        text + "\n"
    }

    /// The JSON form.
    pub fn json(&self) -> Value {
        let xdp = |(device, _): &(NetDevice, Vec<Attached>)| {
            let mut object = json!({ "devname": device.name, "ifindex": device.ifindex });
            let first = device.xdp.first()?;
            if first.multi {
                object["multi_attachments"] = device
                    .xdp
                    .iter()
                    .map(|program| json!({ "mode": program.mode, "id": program.prog_id }))
                    .collect();
            } else {
                object["mode"] = first.mode.into();
                object["id"] = first.prog_id.into();
            }
            Some(object)
        };
        let tc = self.devices.iter().flat_map(|(device, attached)| {
            let newer = attached.iter().map(move |program| program.json(device));
            newer.chain(device.filters.iter().map(move |filter| filter_json(filter, device)))
        });
        // bpftool puts a name without an object into this list.
        let dissector: Vec<Value> = match self.flow_dissector {
            0 => Vec::new(),
            id => vec![json!({ "id": id })],
        };
        let netfilter = self.sorted_netfilter().into_iter().filter_map(|link| {
            let LinkTarget::Netfilter { family, hook, priority, flags } = link.target else {
                return None;
            };
            let id = link.prog_id;
            Some(json!({ "pf": family, "hook": hook, "prio": priority, "flags": flags, "id": id }))
        });
        json!([{
            "xdp": self.devices.iter().filter_map(xdp).collect::<Vec<_>>(),
            "tc": tc.collect::<Vec<_>>(),
            "flow_dissector": dissector,
            "netfilter": netfilter.collect::<Vec<_>>(),
        }])
    }
}

impl Attached {
    fn text(&self, start: &str) -> String {
        let mut text = format!("{start} {}", self.kind);
        if let Some(name) = &self.name {
            text += &format!(" {name}");
        }
        text += &format!(" prog_id {} ", self.prog_id);
        if self.flags != 0 {
            text += &format!("prog_flags {}", numbers(&bits(self.flags)));
        }
        if self.link_id != 0 {
            text += &format!("link_id {} ", self.link_id);
        }
        text + "\n"
    }

    fn json(&self, device: &NetDevice) -> Value {
        let mut object =
            json!({ "devname": device.name, "ifindex": device.ifindex, "kind": self.kind });
        if let Some(name) = &self.name {
            object["name"] = name.as_str().into();
        }
        object["prog_id"] = self.prog_id.into();
        object["prog_flags"] = bits(self.flags).into();
        object["link_id"] = self.link_id.into();
        // The kernel has no flags of links.
        object["link_flags"] = json!([]);
        object
    }
}

fn filter_text(filter: &TcFilter, start: &str) -> String {
    let named = |name: &Option<String>, before: &str| match name {
        Some(name) => format!("{before}{name}"),
        None => String::new(),
    };
    let numbered = |id: Option<u32>| id.map_or(String::new(), |id| format!(" id {id}"));
    let mut text = format!("{start} {}", filter.kind);
    text += &named(&filter.name, " ");
    text += &numbered(filter.prog_id);
    if !filter.actions.is_empty() {
        let actions = filter.actions.iter();
        let actions: String =
            actions.map(|(name, id)| format!("{{{}{}}}", named(name, ""), numbered(*id))).collect();
        text += &format!(" act [{actions}] ");
    }
    text + "\n"
}

fn filter_json(filter: &TcFilter, device: &NetDevice) -> Value {
    let mut object =
        json!({ "devname": device.name, "ifindex": device.ifindex, "kind": filter.kind });
    if let Some(name) = &filter.name {
        object["name"] = name.as_str().into();
    }
    if let Some(id) = filter.prog_id {
        object["id"] = id.into();
    }
    if !filter.actions.is_empty() {
        let action = |(name, id): &(Option<String>, Option<u32>)| {
            let mut object = json!({});
            if let Some(name) = name {
                object["name"] = name.as_str().into();
            }
            if let Some(id) = id {
                object["id"] = (*id).into();
            }
            object
        };
        object["act"] = filter.actions.iter().map(action).collect();
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use bombus_kernel::inspect::XdpProgram;

    #[test]
    fn devices() {
        let filter = TcFilter {
            kind: "clsact/ingress".into(),
            name: Some("p.o:[tc]".into()),
            prog_id: Some(5),
            actions: vec![(Some("a".into()), Some(6))],
        };
        let device = NetDevice {
            ifindex: 2,
            name: "eth0".into(),
            xdp: vec![XdpProgram { mode: "generic", prog_id: 4, multi: false }],
            filters: vec![filter],
        };
        let attached = Attached {
            kind: "tcx/egress",
            name: Some("out".into()),
            prog_id: 7,
            flags: 0,
            link_id: 8,
        };
        let network = Network { devices: vec![(device, vec![attached])], ..Network::default() };
        assert_eq!(
            network.text(),
            "xdp:\neth0(2) generic id 4\n\ntc:\neth0(2) tcx/egress out prog_id 7 link_id 8 \n\
             eth0(2) clsact/ingress p.o:[tc] id 5 act [{a id 6}] \n\nflow_dissector:\n\n\
             netfilter:\n\n"
        );
        let json = network.json();
        assert_eq!(json[0]["xdp"][0]["mode"], "generic");
        assert_eq!(json[0]["tc"][1]["act"][0]["id"], 6);
    }
}

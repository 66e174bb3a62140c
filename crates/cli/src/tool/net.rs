//! `bombus net`.

use bombus_inspect::net::{Attached, Network};
use bombus_kernel::inspect::{Hook, Inspect, LinkTarget, NetDevice, ObjectKind, Which};
use bombus_platform::AttachType;

use super::Tool;
use super::output::{Failed, Output, because};
use super::words::Words;

/// The hooks of a device, by what bpftool calls them.
const HOOKS: [(AttachType, &str); 4] = [
    (AttachType::TcxIngress, "tcx/ingress"),
    (AttachType::TcxEgress, "tcx/egress"),
    (AttachType::NetkitPrimary, "netkit/primary"),
    (AttachType::NetkitPeer, "netkit/peer"),
];

pub(super) fn run(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    let device = match words.peek().map(str::to_owned) {
        None => None,
        Some(_) if words.take("dev") => {
            let name = words.next().unwrap_or_default();
            let index = bombus_linux::net::interface_index(&name);
            Some(index.map_err(|_| Failed::new(format!("invalid devname {name}")))?)
        }
        Some(word) => return Err(Failed::new(format!("expected 'dev', got: '{word}'?"))),
    };
    words.end()?;
    let devices = tool.linux.net_devices(device).map_err(because("failed to open netlink sock"))?;
    // A kernel that cannot be asked has none.
    let dissector = tool.linux.query(&Hook::Netns, AttachType::FlowDissector as u32, false);
    let dissector = dissector.unwrap_or_default().programs.first().map_or(0, |first| first.prog_id);
    let links = tool.linux.object_ids(ObjectKind::Link).unwrap_or_default();
    let network = Network {
        devices: devices.into_iter().map(|device| with_attached(tool, device)).collect(),
        flow_dissector: dissector,
        netfilter: links
            .into_iter()
            .filter_map(|id| tool.linux.link_info(&Which::Id(id)).ok())
            .filter(|link| matches!(link.target, LinkTarget::Netfilter { .. }))
            .collect(),
    };
    Ok(tool.either(|| network.text(), || network.json()))
}

fn with_attached(tool: &Tool, device: NetDevice) -> (NetDevice, Vec<Attached>) {
    let mut attached = Vec::new();
    for (hook, kind) in HOOKS {
        let found = tool.linux.query(&Hook::Device(device.ifindex), hook as u32, false);
        for program in found.unwrap_or_default().programs {
            let info = tool.linux.program_info(&Which::Id(program.prog_id)).ok();
            let name = info.map(|info| tool.full_name(&info)).filter(|name| !name.is_empty());
            attached.push(Attached {
                kind,
                name,
                prog_id: program.prog_id,
                flags: program.flags,
                link_id: program.link_id,
            });
        }
    }
    (device, attached)
}

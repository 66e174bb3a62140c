//! `bombus net`.

use bombus_inspect::net::{Attached, Network};
use bombus_kernel::inspect::{Hook, Inspect, LinkTarget, NetDevice, ObjectKind, Which};
use bombus_platform::AttachType;

use super::Tool;
use super::output::{Failed, Output, because, because_of};
use super::words::Words;

/// The hooks of a device, by what bpftool calls them.
const HOOKS: [(AttachType, &str); 4] = [
    (AttachType::TcxIngress, "tcx/ingress"),
    (AttachType::TcxEgress, "tcx/egress"),
    (AttachType::NetkitPrimary, "netkit/primary"),
    (AttachType::NetkitPeer, "netkit/peer"),
];

pub(super) fn run(tool: &Tool, command: &str, words: Words) -> Result<Output, Failed> {
    match command {
        "show" => show(tool, words),
        "attach" => attach(tool, words),
        "detach" => detach(tool, words),
        _ => Err(Failed::new(format!("there is no command net {command}"))),
    }
}

/// How a program is attached to a device: as its XDP program, with flags (`XDP_FLAGS_*`), or by the
/// newer traffic control.
#[derive(Clone, Copy)]
enum Way {
    Xdp(u32),
    Tcx(AttachType),
}

/// What each is called. Of those that begin alike the first is meant.
const WAYS: [(&str, Way); 6] = [
    ("xdp", Way::Xdp(0)),
    ("xdpgeneric", Way::Xdp(1 << 1)),
    ("xdpdrv", Way::Xdp(1 << 2)),
    ("xdpoffload", Way::Xdp(1 << 3)),
    ("tcx_ingress", Way::Tcx(AttachType::TcxIngress)),
    ("tcx_egress", Way::Tcx(AttachType::TcxEgress)),
];

/// `XDP_FLAGS_UPDATE_IF_NOEXIST`.
const IF_NONE: u32 = 1 << 0;
/// `BPF_F_BEFORE`.
const BEFORE: u32 = 1 << 3;

fn invalid(failed: Failed) -> Failed {
    failed.with_errno(libc::EINVAL)
}

fn way(words: &mut Words) -> Result<(&'static str, Way), Failed> {
    let word = words.next().unwrap_or_default();
    let found = WAYS.into_iter().find(|(name, _)| name.starts_with(&word));
    found.ok_or_else(|| invalid(Failed::new(format!("invalid net attach/detach type: {word}"))))
}

fn device(words: &mut Words) -> Result<u32, Failed> {
    if !words.take("dev") {
        let word = words.peek().unwrap_or_default();
        return Err(Failed::new(format!("expected 'dev', got: '{word}'?")));
    }
    let name = words.next().unwrap_or_default();
    let index = bombus_linux::net::interface_index(&name);
    index.map_err(|_| Failed::new(format!("invalid devname {name}")))
}

fn attach(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    words.at_least(5).map_err(invalid)?;
    let (name, way) = way(&mut words)?;
    let program = tool.program(&mut words).map_err(invalid)?;
    let ifindex = device(&mut words).map_err(invalid)?;
    let (mut overwrite, mut prepend) = (false, false);
    if words.take("overwrite") {
        if !matches!(way, Way::Xdp(_)) {
            let message = "'overwrite' is only supported for xdp types";
            return Err(invalid(Failed::new(message)));
        }
        overwrite = true;
    } else if words.take("prepend") {
        if !matches!(way, Way::Tcx(_)) {
            let message = "'prepend' is only supported for tcx_ingress/tcx_egress";
            return Err(invalid(Failed::new(message)));
        }
        prepend = true;
    } else if let Some(word) = words.peek() {
        let message = format!("expected 'overwrite' or 'prepend', got: '{word}'?");
        return Err(invalid(Failed::new(message)));
    }
    let outcome = match way {
        Way::Xdp(mode) => {
            let flags = if overwrite { mode } else { mode | IF_NONE };
            tool.linux.set_xdp(ifindex, Some(&program), flags)
        }
        Way::Tcx(attach_type) => {
            let flags = if prepend { BEFORE } else { 0 };
            let hook = Hook::Device(ifindex);
            tool.linux.attach_to_hook(&program, &hook, attach_type as u32, flags)
        }
    };
    outcome.map_err(because_of(format_args!("interface {name} attach failed")))?;
    Ok(Output::Nothing)
}

fn detach(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    words.at_least(3).map_err(invalid)?;
    let (name, way) = way(&mut words)?;
    let ifindex = device(&mut words).map_err(invalid)?;
    let outcome = match way {
        Way::Xdp(mode) => tool.linux.set_xdp(ifindex, None, mode | IF_NONE),
        Way::Tcx(attach_type) => {
            tool.linux.detach_from_hook(None, &Hook::Device(ifindex), attach_type as u32)
        }
    };
    outcome.map_err(because_of(format_args!("interface {name} detach failed")))?;
    Ok(Output::Nothing)
}

fn show(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    let device = if words.is_empty() { None } else { Some(device(&mut words)?) };
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

//! `bombus link`.

use bombus_inspect::link::{self, Around};
use bombus_inspect::{Extras, Symbols};
use bombus_kernel::Kernel;
use bombus_kernel::inspect::{Inspect, LinkInfo, LinkTarget, ObjectKind, Which};
use serde_json::Value;

use super::Tool;
use super::objects::Known;
use super::output::{Failed, Output, because};
use super::words::Words;

pub(super) fn run(tool: &Tool, command: &str, mut words: Words) -> Result<Output, Failed> {
    match command {
        "show" => show(tool, words),
        "pin" => {
            words.at_least(3).map_err(|failed| failed.with_errno(libc::EINVAL))?;
            let which = tool.link(&mut words)?;
            let path = words.path("file path")?;
            tool.pin_to(&path, || tool.linux.pin_object(ObjectKind::Link, &which, &path))?;
            Ok(Output::Nothing)
        }
        "detach" => {
            if words.len() != 2 {
                return Err(Failed::new("link specifier is invalid or missing").with_code(1));
            }
            let which = tool.link(&mut words).map_err(|failed| failed.with_code(1))?;
            tool.linux
                .detach_link(&which)
                .map_err(|error| because("failed link detach")(error).with_code(1))?;
            Ok(Output::Nothing)
        }
        _ => Err(Failed::new(format!("there is no command link {command}"))),
    }
}

fn show(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    let known = Known::new(tool, ObjectKind::Link);
    let one = words.len() == 2;
    let links = if one {
        vec![tool.link(&mut words)?]
    } else {
        words.end()?;
        let ids = tool.linux.object_ids(ObjectKind::Link);
        ids.map_err(because("can't get next link"))?.into_iter().map(Which::Id).collect()
    };
    let mut shown: Vec<(LinkInfo, Extras)> = Vec::new();
    for which in &links {
        match tool.linux.link_info(which) {
            Ok(info) => {
                let extras = known.of(info.id);
                shown.push((info, extras));
            }
            Err(error) if !one && error.errno() == Some(libc::ENOENT) => {}
            Err(error) => return Err(because("can't get link info")(error)),
        }
    }
    let many = shown.iter().any(|(info, _)| matches!(info.target, LinkTarget::KprobeMulti { .. }));
    let symbols = if many { tool.linux.kernel_symbols().unwrap_or_default() } else { Vec::new() };
    let (symbols, endbr) = (Symbols::new(symbols), many && has_endbr(tool));
    let (mut text, mut values) = (String::new(), Vec::<Value>::new());
    for (info, extras) in &shown {
        let device = device(info).and_then(|ifindex| tool.linux.device_name(ifindex));
        let prog_type = matches!(info.target, LinkTarget::Tracing { .. })
            .then(|| tool.linux.program_info(&Which::Id(info.prog_id)).ok())
            .flatten()
            .map(|program| program.prog_type);
        let around = Around { prog_type, device: device.as_deref(), symbols: &symbols, endbr };
        if tool.options.json {
            values.push(link::json(info, around, extras));
        } else {
            text += &link::text(info, around, extras);
        }
    }
    let json = || if one && values.len() == 1 { values.remove(0) } else { values.into() };
    Ok(tool.either(|| text, json))
}

fn device(info: &LinkInfo) -> Option<u32> {
    match info.target {
        LinkTarget::Xdp { ifindex }
        | LinkTarget::Tcx { ifindex, .. }
        | LinkTarget::Netkit { ifindex, .. } => Some(ifindex),
        _ => None,
    }
}

/// Whether functions start with an `endbr`.
fn has_endbr(tool: &Tool) -> bool {
    let config = tool.linux.kernel_config();
    config.is_ok_and(|config| config.contains_key("CONFIG_X86_KERNEL_IBT"))
}

//! Links: `link show`.

use bombus_kernel::inspect::{LinkInfo, LinkTarget, ProbedAddress};
use serde_json::{Map, Value, json};

use crate::names::{attach_type, link_type, named, named_text, program_type};
use crate::perf_names::{event_config, event_type};
use crate::{Extras, Symbols};

/// What a link's lines need to know beside what the link says.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// The type of the program, for tracing links.
    pub prog_type: Option<u32>,
    /// The name of the device.
    pub device: Option<&'a str>,
    /// The kernel's symbols, for links to many kernel functions.
    pub symbols: &'a Symbols,
    /// Functions start with an `endbr` that probes come after (`CONFIG_X86_KERNEL_IBT`).
    pub endbr: bool,
}

/// `BPF_F_KPROBE_MULTI_RETURN`, `BPF_F_UPROBE_MULTI_RETURN`.
const MULTI_RETURN: u32 = 1;

fn is_map_iterator(target: &str) -> bool {
    matches!(target, "bpf_map_elem" | "bpf_sk_storage_map")
}

fn is_task_iterator(target: &str) -> bool {
    matches!(target, "task" | "task_file" | "task_vma")
}

/// `enum bpf_cgroup_iter_order`.
fn cgroup_order(order: u32) -> &'static str {
    match order {
        0 => "order_unspec",
        1 => "self_only",
        2 => "descendants_pre",
        3 => "descendants_post",
        4 => "ancestors_up",
        _ => "unknown",
    }
}

/// The functions at probed addresses: where, name, module, cookie.
fn probed<'a>(
    functions: &[ProbedAddress],
    around: Around<'a>,
) -> Vec<(u64, &'a str, &'a str, u64)> {
    let mut functions = functions.to_vec();
    functions.sort_by_key(|function| function.address);
    let mut rows = Vec::new();
    let mut symbols = around.symbols.all().iter();
    for ProbedAddress { address, cookie } in functions {
        let here = |symbol: &&bombus_kernel::inspect::KernelSymbol| {
            symbol.address == address
                || around.endbr && symbol.address.checked_add(4) == Some(address)
        };
        // Symbols are by address, too: each function is looked for after the one before it.
        let Some(symbol) = symbols.find(here) else { break };
        rows.push((address, symbol.name.as_str(), symbol.module.as_str(), cookie));
    }
    rows
}

/// All lines of the text form.
pub fn text(info: &LinkInfo, around: Around<'_>, extras: &Extras) -> String {
    let kind = named_text(link_type(info.link_type), "type ", info.link_type);
    let what = match info.target {
        LinkTarget::StructOps { map_id } => format!("map {map_id}"),
        _ => format!("prog {}", info.prog_id),
    };
    let target = target_text(&info.target, around);
    format!(
        "{}: {kind}  {what}  {target}{}{}\n",
        info.id,
        extras.pins_text(),
        extras.holders_text()
    )
}

fn attached(number: u32) -> String {
    format!("attach_type {}  ", named_text(attach_type(number), "", number))
}

fn device(ifindex: u32, around: Around<'_>) -> String {
    match (ifindex, around.device) {
        (0, _) => "ifindex (detached)  ".to_owned(),
        (_, None) => "ifindex (unknown)  ".to_owned(),
        (_, Some(name)) => format!("ifindex {name}({ifindex})  "),
    }
}

/// `before value after` when the value is not zero.
fn unless_zero(before: &str, value: u64, after: &str) -> String {
    if value == 0 { String::new() } else { format!("{before}{value}{after}") }
}

fn target_text(target: &LinkTarget, around: Around<'_>) -> String {
    match target {
        LinkTarget::RawTracepoint { name, cookie } => {
            format!("\n\ttp '{name}'  {}", unless_zero("cookie ", *cookie, "  "))
        }
        LinkTarget::Tracing { attach_type, target_obj_id, target_btf_id, cookie } => {
            let prog_type = around.prog_type.unwrap_or(0);
            let mut text = format!(
                "\n\tprog_type {}  {}",
                named_text(program_type(prog_type), "", prog_type),
                attached(*attach_type)
            );
            if *target_obj_id != 0 || *target_btf_id != 0 {
                text +=
                    &format!("\n\ttarget_obj_id {target_obj_id}  target_btf_id {target_btf_id}  ");
            }
            text + &unless_zero("\n\tcookie ", *cookie, "  ")
        }
        LinkTarget::Cgroup { cgroup_id, attach_type } => {
            format!("\n\tcgroup_id {cgroup_id}  {}", attached(*attach_type))
        }
        LinkTarget::Iter { target, map_id, cgroup_id, order, tid, pid } => {
            let mut text = format!("target_name {target}  ");
            if is_map_iterator(target) {
                text += &format!("map_id {map_id}  ");
            } else if is_task_iterator(target) {
                text += &match tid {
                    0 => unless_zero("pid ", (*pid).into(), " "),
                    tid => format!("tid {tid} "),
                };
            } else if target == "cgroup" {
                text += &format!("cgroup_id {cgroup_id}  order {}  ", cgroup_order(*order));
            }
            text
        }
        LinkTarget::Netns { netns_ino, attach_type } => {
            format!("\n\tnetns_ino {netns_ino}  {}", attached(*attach_type))
        }
        LinkTarget::Netfilter { family, hook, priority, flags } => {
            netfilter_text(*family, *hook, *priority, *flags)
        }
        LinkTarget::Xdp { ifindex } => format!("\n\t{}", device(*ifindex, around)),
        LinkTarget::Tcx { ifindex, attach_type } | LinkTarget::Netkit { ifindex, attach_type } => {
            format!("\n\t{}{}", device(*ifindex, around), attached(*attach_type))
        }
        LinkTarget::Sockmap { map_id, attach_type } => {
            format!("\n\tmap_id {map_id}  {}", attached(*attach_type))
        }
        LinkTarget::KprobeMulti { flags, missed, functions } => {
            kprobe_multi_text(*flags, *missed, functions, around)
        }
        LinkTarget::UprobeMulti { flags, path, pid, places } if !places.is_empty() => {
            let kind = if flags & MULTI_RETURN != 0 { "uretprobe" } else { "uprobe" };
            let mut text = format!("\n\t{kind}.multi  path {path}  func_cnt {}  ", places.len());
            text += &unless_zero("pid ", (*pid).into(), "  ");
            text += &format!("\n\t{:<16}   {:<16}   {:<16}", "offset", "ref_ctr_offset", "cookies");
            for place in places {
                text += &format!(
                    "\n\t0x{:<16x} 0x{:<16x} 0x{:<16x}",
                    place.offset, place.ref_ctr_offset, place.cookie
                );
            }
            text
        }
        LinkTarget::PerfKprobe { returns, function, offset, addr, missed, cookie }
            if !function.is_empty() || *addr != 0 =>
        {
            let mut text = format!("\n\t{} ", if *returns { "kretprobe" } else { "kprobe" });
            if *addr != 0 {
                text += &format!("{addr:x} ");
            }
            text += function;
            if *offset != 0 {
                text += &format!("+{offset:#x}");
            }
            text += &unless_zero("  missed ", *missed, "");
            text + &unless_zero("  cookie ", *cookie, "") + "  "
        }
        LinkTarget::PerfUprobe { returns, file, offset, cookie, ref_ctr_offset }
            if !file.is_empty() =>
        {
            let kind = if *returns { "uretprobe" } else { "uprobe" };
            // `%#x` of C prints zero without its prefix.
            let offset = if *offset == 0 { "0".to_owned() } else { format!("{offset:#x}") };
            let mut text = format!("\n\t{kind} {file}+{offset}  ");
            text += &unless_zero("cookie ", *cookie, "  ");
            if *ref_ctr_offset != 0 {
                text += &format!("ref_ctr_offset {ref_ctr_offset:#x}  ");
            }
            text
        }
        LinkTarget::PerfTracepoint { name, cookie } if !name.is_empty() => {
            format!("\n\ttracepoint {name}  {}", unless_zero("cookie ", *cookie, "  "))
        }
        LinkTarget::PerfEvent { event_type: number, config, cookie } => {
            let kind = event_type(*number)
                .map_or_else(|| format!("{number} :"), |name| format!("{name}:"));
            let config = event_config(*number, *config).unwrap_or_else(|| config.to_string());
            format!("\n\tevent {kind}{config}  {}", unless_zero("cookie ", *cookie, "  "))
        }
        LinkTarget::StructOps { .. } | LinkTarget::Other => String::new(),
        _ => String::new(),
    }
}

fn kprobe_multi_text(
    flags: u32,
    missed: u64,
    functions: &[ProbedAddress],
    around: Around<'_>,
) -> String {
    if functions.is_empty() {
        return String::new();
    }
    let kind = if flags & MULTI_RETURN != 0 { "kretprobe" } else { "kprobe" };
    let mut text = format!("\n\t{kind}.multi  func_cnt {}  ", functions.len());
    text += &unless_zero("missed ", missed, "  ");
    if around.symbols.all().is_empty() {
        return text;
    }
    text += &format!("\n\t{:<16} {:<16} func [module]", "addr", "cookie");
    for (address, name, module, cookie) in probed(functions, around) {
        let module = if module.is_empty() { String::new() } else { format!(" [{module}]") };
        text += &format!("\n\t{address:016x} {cookie:<16x} {name}{module}  ");
    }
    text
}

/// Names of `NFPROTO_*` and `NF_INET_*`.
pub(crate) fn netfilter_text(family: u32, hook: u32, priority: i32, flags: u32) -> String {
    let family_name = match family {
        1 => Some("inet"),
        2 => Some("ip"),
        3 => Some("arp"),
        5 => Some("netdev"),
        7 => Some("bridge"),
        10 => Some("ip6"),
        _ => None,
    };
    const INET: [&str; 5] = ["prerouting", "input", "forward", "output", "postrouting"];
    const ARP: [&str; 2] = ["input", "output"];
    let names: &[&str] = match family {
        1 | 2 | 7 | 10 => &INET,
        3 => &ARP,
        _ => &[],
    };
    let mut text = match family_name {
        Some(name) => format!("\n\t{name}"),
        None => format!("\n\tpf: {family}"),
    };
    text += &match names.get(hook as usize) {
        Some(name) => format!(" {name}"),
        None => format!(", hook {hook},"),
    };
    text += &format!(" prio {priority}");
    if flags != 0 {
        text += &format!(" flags {flags:#x}");
    }
    text
}

/// The JSON form.
pub fn json(info: &LinkInfo, around: Around<'_>, extras: &Extras) -> Value {
    let mut object = Map::new();
    object.insert("id".into(), info.id.into());
    object.insert("type".into(), named(link_type(info.link_type), info.link_type));
    object.insert("prog_id".into(), info.prog_id.into());
    if let Value::Object(target) = target_json(&info.target, around) {
        object.extend(target);
    }
    extras.add_to(&mut object);
    object.into()
}

fn target_json(target: &LinkTarget, around: Around<'_>) -> Value {
    let attached = |number: u32| named(attach_type(number), number);
    let devname = |ifindex: u32| match ifindex {
        0 => "(detached)",
        _ => around.device.unwrap_or("(unknown)"),
    };
    match target {
        LinkTarget::RawTracepoint { name, cookie } => json!({ "tp_name": name, "cookie": cookie }),
        LinkTarget::Tracing { attach_type, target_obj_id, target_btf_id, cookie } => {
            let prog_type = around.prog_type.unwrap_or(0);
            json!({
                "prog_type": named(program_type(prog_type), prog_type),
                "attach_type": attached(*attach_type),
                "target_obj_id": target_obj_id,
                "target_btf_id": target_btf_id,
                "cookie": cookie,
            })
        }
        LinkTarget::Cgroup { cgroup_id, attach_type } => {
            json!({ "cgroup_id": cgroup_id, "attach_type": attached(*attach_type) })
        }
        LinkTarget::Iter { target, map_id, cgroup_id, order, tid, pid } => {
            let mut object = json!({ "target_name": target });
            if is_map_iterator(target) {
                object["map_id"] = (*map_id).into();
            } else if is_task_iterator(target) && *tid != 0 {
                object["tid"] = (*tid).into();
            } else if is_task_iterator(target) && *pid != 0 {
                object["pid"] = (*pid).into();
            } else if target == "cgroup" {
                object["cgroup_id"] = (*cgroup_id).into();
                object["order"] = cgroup_order(*order).into();
            }
            object
        }
        LinkTarget::Netns { netns_ino, attach_type } => {
            json!({ "netns_ino": netns_ino, "attach_type": attached(*attach_type) })
        }
        LinkTarget::Netfilter { family, hook, priority, flags } => {
            json!({ "pf": family, "hook": hook, "prio": priority, "flags": flags })
        }
        LinkTarget::Xdp { ifindex } => json!({ "devname": devname(*ifindex), "ifindex": ifindex }),
        LinkTarget::Tcx { ifindex, attach_type } | LinkTarget::Netkit { ifindex, attach_type } => {
            json!({
                "devname": devname(*ifindex),
                "ifindex": ifindex,
                "attach_type": attached(*attach_type),
            })
        }
        LinkTarget::Sockmap { map_id, attach_type } => {
            json!({ "map_id": map_id, "attach_type": attached(*attach_type) })
        }
        LinkTarget::StructOps { map_id } => json!({ "map_id": map_id }),
        LinkTarget::KprobeMulti { flags, missed, functions } => {
            let rows = probed(functions, around).into_iter().map(|(addr, func, module, cookie)| {
                let module = if module.is_empty() { Value::Null } else { module.into() };
                json!({ "addr": addr, "func": func, "module": module, "cookie": cookie })
            });
            json!({
                "retprobe": flags & MULTI_RETURN != 0,
                "func_cnt": functions.len(),
                "missed": missed,
                "funcs": rows.collect::<Vec<_>>(),
            })
        }
        LinkTarget::UprobeMulti { flags, path, pid, places } => {
            let places = places.iter().map(|place| {
                json!({
                    "offset": place.offset,
                    "ref_ctr_offset": place.ref_ctr_offset,
                    "cookie": place.cookie,
                })
            });
            json!({
                "retprobe": flags & MULTI_RETURN != 0,
                "path": path,
                "func_cnt": places.len(),
                "pid": pid,
                "funcs": places.collect::<Vec<_>>(),
            })
        }
        LinkTarget::PerfKprobe { returns, function, offset, addr, missed, cookie } => json!({
            "retprobe": returns,
            "addr": addr,
            "func": function,
            "offset": offset,
            "missed": missed,
            "cookie": cookie,
        }),
        LinkTarget::PerfUprobe { returns, file, offset, cookie, ref_ctr_offset } => json!({
            "retprobe": returns,
            "file": file,
            "offset": offset,
            "cookie": cookie,
            "ref_ctr_offset": ref_ctr_offset,
        }),
        LinkTarget::PerfTracepoint { name, cookie } => {
            json!({ "tracepoint": name, "cookie": cookie })
        }
        LinkTarget::PerfEvent { event_type: number, config, cookie } => {
            let config_name = event_config(*number, *config);
            json!({
                "event_type": named(event_type(*number), *number),
                "event_config": config_name.map_or(Value::from(*config), Value::from),
                "cookie": cookie,
            })
        }
        _ => json!({}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bombus_kernel::inspect::{KernelSymbol, ProbedOffset};

    fn lines(link_type: u32, target: LinkTarget) -> String {
        let symbol = |address, name: &str, module: &str| KernelSymbol {
            address,
            name: name.into(),
            module: module.into(),
        };
        let symbols = Symbols::new(vec![
            symbol(0x1000, "__bpf_call_base", ""),
            symbol(0x2000, "vfs_read", ""),
            symbol(0x3000, "ext4_open", "ext4"),
        ]);
        let around =
            Around { prog_type: Some(26), device: Some("eth0"), symbols: &symbols, endbr: true };
        let info = LinkInfo { id: 7, link_type, prog_id: 9, target };
        text(&info, around, &Extras::default())
    }

    #[test]
    fn many_functions() {
        let functions =
            [(0x3004, 2), (0x2004, 1)].map(|(address, cookie)| ProbedAddress { address, cookie });
        let target = LinkTarget::KprobeMulti { flags: 1, missed: 3, functions: functions.to_vec() };
        assert_eq!(
            lines(8, target),
            "7: kprobe_multi  prog 9  \n\tkretprobe.multi  func_cnt 2  missed 3  \n\t\
             addr             cookie           func [module]\n\t\
             0000000000002004 1                vfs_read  \n\t\
             0000000000003004 2                ext4_open [ext4]  \n"
        );
    }

    #[test]
    fn many_places() {
        let places = vec![ProbedOffset { offset: 0x40, ref_ctr_offset: 0, cookie: 5 }];
        let target = LinkTarget::UprobeMulti { flags: 0, path: "/bin/sh".into(), pid: 3, places };
        assert_eq!(
            lines(12, target),
            "7: uprobe_multi  prog 9  \n\tuprobe.multi  path /bin/sh  func_cnt 1  pid 3  \n\t\
             offset             ref_ctr_offset     cookies         \n\t\
             0x40               0x0                0x5               \n"
        );
    }

    #[test]
    fn hooks() {
        let netfilter = LinkTarget::Netfilter { family: 2, hook: 1, priority: -128, flags: 1 };
        assert_eq!(
            lines(10, netfilter),
            "7: netfilter  prog 9  \n\tip input prio -128 flags 0x1\n"
        );
        let tcx = LinkTarget::Tcx { ifindex: 2, attach_type: 46 };
        assert_eq!(
            lines(11, tcx),
            "7: tcx  prog 9  \n\tifindex eth0(2)  attach_type tcx_ingress  \n"
        );
        let tracing =
            LinkTarget::Tracing { attach_type: 24, target_obj_id: 1, target_btf_id: 5, cookie: 0 };
        assert_eq!(
            lines(2, tracing),
            "7: tracing  prog 9  \n\tprog_type tracing  attach_type trace_fentry  \n\t\
             target_obj_id 1  target_btf_id 5  \n"
        );
        assert_eq!(lines(9, LinkTarget::StructOps { map_id: 4 }), "7: struct_ops  map 4  \n");
        let kprobe = LinkTarget::PerfKprobe {
            returns: true,
            function: "vfs_read".into(),
            offset: 4,
            addr: 0x2000,
            missed: 0,
            cookie: 6,
        };
        assert_eq!(
            lines(7, kprobe),
            "7: perf_event  prog 9  \n\tkretprobe 2000 vfs_read+0x4  cookie 6  \n"
        );
        assert_eq!(lines(99, LinkTarget::Other), "7: type 99  prog 9  \n");
    }
}

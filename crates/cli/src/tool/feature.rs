//! `bombus feature`.

use bombus_inspect::feature::{Form, Report};
use bombus_isa::{Insn, asm};
use bombus_kernel::Kernel;
use bombus_linux::{Linux, probe};
use bombus_platform::{AttachType, HELPER_NAMES, LinkType, MapType, ProgType};

use super::Tool;
use super::output::{Failed, Output, because};
use super::words::Words;

pub(super) fn run(tool: &Tool, command: &str, words: Words) -> Result<Output, Failed> {
    match command {
        "probe" => probe(tool, words),
        "list_builtins" => builtins(tool, words),
        _ => Err(Failed::new(format!("there is no command feature {command}"))),
    }
}

fn builtins(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    words.at_least(1)?;
    // The kernel has names for number 0 of most.
    let with_none = |names: Vec<&'static str>| ["unspec"].into_iter().chain(names).collect();
    let names: Vec<&str> = if words.take("prog_types") {
        with_none(ProgType::ALL.iter().map(|each| each.name()).collect())
    } else if words.take("map_types") {
        with_none(MapType::ALL.iter().map(|each| each.name()).collect())
    } else if words.take("attach_types") {
        AttachType::ALL.iter().map(|each| each.name()).collect()
    } else if words.take("link_types") {
        with_none(LinkType::ALL.iter().map(|each| each.name()).collect())
    } else if words.take("helpers") {
        let names: Vec<String> = HELPER_NAMES.iter().map(|name| format!("bpf_{name}")).collect();
        let lines = || names.iter().map(|name| format!("{name}\n")).collect();
        return Ok(tool.either(lines, || names.clone().into()));
    } else {
        let word = words.next().unwrap_or_default();
        return Err(Failed::new(format!(
            "expected 'prog_types', 'map_types', 'attach_types', 'link_types' or 'helpers', got: \
             {word}"
        )));
    };
    let lines = || names.iter().map(|name| format!("{name}\n")).collect();
    Ok(tool.either(lines, || names.iter().copied().collect()))
}

/// What is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Target {
    Kernel,
    /// A network device, for what it runs by itself.
    Device(u32),
}

impl Target {
    fn ifindex(self) -> u32 {
        match self {
            Target::Kernel => 0,
            Target::Device(ifindex) => ifindex,
        }
    }

    fn prog_types(self) -> &'static [ProgType] {
        match self {
            Target::Kernel => ProgType::ALL,
            Target::Device(_) => &[ProgType::SchedCls, ProgType::Xdp],
        }
    }

    fn map_types(self) -> &'static [MapType] {
        match self {
            Target::Kernel => MapType::ALL,
            Target::Device(_) => &[MapType::Hash, MapType::Array],
        }
    }

    fn has_prog_type(self, linux: &Linux, prog_type: ProgType) -> bool {
        // There are devices that take no program that gives 0.
        const TWO: [Insn; 2] = [Insn::mov_imm(bombus_isa::Reg::R0, 2), Insn::exit()];
        match self {
            Target::Kernel => probe::prog_type(linux, prog_type).unwrap_or(false),
            Target::Device(ifindex) => probe::device::loads(linux, prog_type, &TWO, ifindex),
        }
    }

    fn has_map_type(self, linux: &Linux, map_type: MapType) -> bool {
        match self {
            Target::Kernel => probe::map_type(linux, map_type).unwrap_or(false),
            Target::Device(ifindex) => probe::device::map_type(linux, map_type, ifindex),
        }
    }

    fn has_helper(self, linux: &Linux, prog_type: ProgType, id: u32) -> bool {
        match self {
            Target::Kernel => probe::helper(linux, prog_type, id).unwrap_or(false),
            Target::Device(ifindex) => probe::device::helper(linux, prog_type, id, ifindex),
        }
    }
}

fn probe(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    let mut prefix: Option<String> = None;
    let mut target = None;
    let (mut full, mut unprivileged) = (false, false);
    let twice = || Failed::new("component to probe already specified");
    while !words.is_empty() {
        if words.take("kernel") {
            if target.replace(Target::Kernel).is_some() {
                return Err(twice());
            }
        } else if words.take("dev") {
            if target.is_some() {
                return Err(twice());
            }
            words.at_least(1)?;
            let name = words.next().unwrap_or_default();
            let index = bombus_linux::net::interface_index(&name);
            let what = format_args!("unrecognized netdevice '{name}'").to_string();
            target = Some(Target::Device(index.map_err(because(what))?));
        } else if words.take("full") {
            full = true;
        } else if words.take("unprivileged") {
            unprivileged = true;
        } else if prefix.is_none() && words.take("macros") {
            prefix = Some(String::new());
        } else if words.take("prefix") {
            match prefix.as_deref() {
                None => {
                    return Err(Failed::new("'prefix' argument can only be use after 'macros'"));
                }
                Some("") => {
                    words.at_least(1)?;
                    prefix = words.next();
                }
                Some(_) => return Err(Failed::new("'prefix' already defined")),
            }
        } else {
            let word = words.next().unwrap_or_default();
            return Err(Failed::new(format!(
                "expected no more arguments, 'kernel', 'dev', 'macros' or 'prefix', got: '{word}'?"
            )));
        }
    }
    let mut report = Report::new(match prefix {
        _ if tool.options.json => Form::Json,
        Some(prefix) => Form::Macros(prefix),
        None => Form::Plain,
    });
    if unprivileged {
        bombus_linux::give_up_bpf()?;
    }
    let target = target.unwrap_or(Target::Kernel);
    if target == Target::Kernel {
        system(tool, &mut report);
    }
    report.start(
        "syscall_config",
        "Scanning system call availability...",
        "/*** System call availability ***/",
    );
    let there = probe::system_call();
    report.available("have_bpf_syscall", "bpf() syscall", "BPF_SYSCALL", there);
    report.end();
    if there {
        types(tool, &mut report, target, full);
        misc(tool, &mut report, target);
    }
    Ok(match tool.options.json {
        true => Output::Json(report.into_json()),
        false => Output::Text(report.into_text()),
    })
}

/// A setting of the kernel's; -1 when it cannot be read.
fn setting(path: &str) -> i64 {
    let text = std::fs::read_to_string(format!("/proc/sys/{path}"));
    text.ok().and_then(|text| text.trim_end().parse().ok()).unwrap_or(-1)
}

/// What the values of a setting, from 0, mean; what it means that there is none; what others mean.
type Meanings = (&'static str, &'static [&'static str], &'static str, &'static str);

const SETTINGS: &[Meanings] = &[
    (
        "kernel/unprivileged_bpf_disabled",
        &[
            "bpf() syscall for unprivileged users is enabled",
            "bpf() syscall restricted to privileged users (without recovery)",
            "bpf() syscall restricted to privileged users (admin can change)",
        ],
        "Unable to retrieve required privileges for bpf() syscall",
        "bpf() syscall restriction has unknown value ",
    ),
    (
        "net/core/bpf_jit_enable",
        &[
            "JIT compiler is disabled",
            "JIT compiler is enabled",
            "JIT compiler is enabled with debugging traces in kernel logs",
        ],
        "Unable to retrieve JIT-compiler status",
        "JIT-compiler status has unknown value ",
    ),
    (
        "net/core/bpf_jit_harden",
        &[
            "JIT compiler hardening is disabled",
            "JIT compiler hardening is enabled for unprivileged users",
            "JIT compiler hardening is enabled for all users",
        ],
        "Unable to retrieve JIT hardening status",
        "JIT hardening status has unknown value ",
    ),
    (
        "net/core/bpf_jit_kallsyms",
        &[
            "JIT compiler kallsyms exports are disabled",
            "JIT compiler kallsyms exports are enabled for root",
        ],
        "Unable to retrieve JIT kallsyms export status",
        "JIT kallsyms exports status has unknown value ",
    ),
];

/// The options that matter to programs, as far as bpftool asks for them.
const OPTIONS: &[&str] = &[
    "CONFIG_BPF",
    "CONFIG_BPF_SYSCALL",
    "CONFIG_HAVE_EBPF_JIT",
    "CONFIG_BPF_JIT",
    "CONFIG_BPF_JIT_ALWAYS_ON",
    "CONFIG_DEBUG_INFO_BTF",
    "CONFIG_DEBUG_INFO_BTF_MODULES",
    "CONFIG_CGROUPS",
    "CONFIG_CGROUP_BPF",
    "CONFIG_CGROUP_NET_CLASSID",
    "CONFIG_SOCK_CGROUP_DATA",
    "CONFIG_BPF_EVENTS",
    "CONFIG_KPROBE_EVENTS",
    "CONFIG_UPROBE_EVENTS",
    "CONFIG_TRACING",
    "CONFIG_FTRACE_SYSCALLS",
    "CONFIG_FUNCTION_ERROR_INJECTION",
    "CONFIG_BPF_KPROBE_OVERRIDE",
    "CONFIG_NET",
    "CONFIG_XDP_SOCKETS",
    "CONFIG_LWTUNNEL_BPF",
    "CONFIG_NET_ACT_BPF",
    "CONFIG_NET_CLS_BPF",
    "CONFIG_NET_CLS_ACT",
    "CONFIG_NET_SCH_INGRESS",
    "CONFIG_XFRM",
    "CONFIG_IP_ROUTE_CLASSID",
    "CONFIG_IPV6_SEG6_BPF",
    "CONFIG_BPF_LIRC_MODE2",
    "CONFIG_BPF_STREAM_PARSER",
    "CONFIG_NETFILTER_XT_MATCH_BPF",
    "CONFIG_TEST_BPF",
    HZ,
];

/// The only option that has a macro.
const HZ: &str = "CONFIG_HZ";

fn system(tool: &Tool, report: &mut Report) {
    report.start(
        "system_config",
        "Scanning system configuration...",
        "/*** Misc kernel config items ***/",
    );
    for (path, meanings, missing, unknown) in SETTINGS {
        let value = setting(path);
        let known = usize::try_from(value).ok().and_then(|value| meanings.get(value));
        let sentence = match (known, value) {
            (Some(sentence), _) => (*sentence).to_owned(),
            (None, -1) => (*missing).to_owned(),
            (None, value) => format!("{unknown}{value}"),
        };
        report.setting(path.rsplit('/').next().unwrap_or(path), value, &sentence);
    }
    const LIMIT: &str = "lobal memory limit for JIT compiler for unprivileged users";
    let limit = setting("net/core/bpf_jit_limit");
    let sentence = match limit {
        -1 => format!("Unable to retrieve g{LIMIT}"),
        limit => format!("G{LIMIT} is {limit} bytes"),
    };
    report.setting("bpf_jit_limit", limit, &sentence);
    match tool.linux.kernel_config() {
        Ok(config) if !config.is_empty() => {
            for name in OPTIONS {
                report.option(name, config.get(*name).map(String::as_str), *name == HZ);
            }
        }
        _ => tool.say("skipping kernel config, can't open file: No such file or directory"),
    }
    report.end();
}

/// `trace_printk`, `trace_vprintk` and `probe_write_user`: asking for them makes the kernel write
/// to its log.
const LOUD: [usize; 3] = [6, 177, 36];

fn types(tool: &Tool, report: &mut Report, target: Target, full: bool) {
    let linux = &tool.linux;
    report.start("program_types", "Scanning eBPF program types...", "/*** eBPF program types ***/");
    let mut supported = Vec::new();
    for &prog_type in target.prog_types() {
        let (name, there) = (prog_type.name(), target.has_prog_type(linux, prog_type));
        report.available(
            &format!("have_{name}_prog_type"),
            &format!("eBPF program_type {name}"),
            &format!("{name}_prog_type").to_uppercase(),
            there,
        );
        supported.push((prog_type, there));
    }
    report.end();
    report.start("map_types", "Scanning eBPF map types...", "/*** eBPF map types ***/");
    for &map_type in target.map_types() {
        let (name, there) = (map_type.name(), target.has_map_type(linux, map_type));
        report.available(
            &format!("have_{name}_map_type"),
            &format!("eBPF map_type {name}"),
            &format!("{name}_map_type").to_uppercase(),
            there,
        );
    }
    report.end();
    report.start("helpers", "Scanning eBPF helper functions...", "/*** eBPF helper functions ***/");
    report.helpers_title();
    for (prog_type, there) in supported {
        let ids = (1..HELPER_NAMES.len()).filter(|id| full || !LOUD.contains(id));
        let helpers: Vec<(String, bool)> = ids
            .map(|id| {
                let callable = there && target.has_helper(linux, prog_type, id as u32);
                (format!("bpf_{}", HELPER_NAMES[id]), callable)
            })
            .collect();
        report.helpers(prog_type.name(), there, &helpers);
    }
    report.end();
}

/// Programs that load only where something is there: name, name in a sentence, name in a macro,
/// text.
const PROGRAMS: &[(&str, &str, &str, &str)] = &[
    (
        "have_bounded_loops",
        "Bounded loop support",
        "BOUNDED_LOOPS",
        "r0 = 10\nagain: r0 -= 1\nif r0 != 0x0 goto again\nexit",
    ),
    (
        "have_v2_isa_extension",
        "ISA extension v2",
        "V2_ISA_EXTENSION",
        "r0 = 0\nif r0 < 0x0 goto out\nr0 = 1\nout: exit",
    ),
    (
        "have_v3_isa_extension",
        "ISA extension v3",
        "V3_ISA_EXTENSION",
        "r0 = 0\nif w0 < 0x0 goto out\nr0 = 1\nout: exit",
    ),
    (
        "have_v4_isa_extension",
        "ISA extension v4",
        "V4_ISA_EXTENSION",
        "r0 = 0\nif w0 == 0x1 goto set\ngotol out\nset: r0 = 1\nout: exit",
    ),
];

fn misc(tool: &Tool, report: &mut Report, target: Target) {
    /// `BPF_MAXINSNS`: longer programs came with Linux 5.2.
    const OLD_LIMIT: usize = 4096;
    report.start("misc", "Scanning miscellaneous eBPF features...", "/*** eBPF misc features ***/");
    let loads = |insns: &[Insn]| {
        probe::device::loads(&tool.linux, ProgType::SocketFilter, insns, target.ifindex())
    };
    let mut long = vec![Insn::mov_imm(bombus_isa::Reg::R0, 1); OLD_LIMIT];
    long.push(Insn::exit());
    report.available(
        "have_large_insn_limit",
        "Large program size limit",
        "LARGE_INSN_LIMIT",
        loads(&long),
    );
    for (name, sentence, macro_name, text) in PROGRAMS {
        let there = asm(text).is_ok_and(|insns| loads(&insns));
        report.available(name, sentence, macro_name, there);
    }
    report.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_can_be_read() {
        for (name, _, _, text) in PROGRAMS {
            assert!(asm(text).is_ok(), "{name}");
        }
    }

    #[test]
    fn options_are_named_once() {
        let mut names = OPTIONS.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), OPTIONS.len());
        assert_eq!(serde_json::Value::from(HELPER_NAMES[1]), "map_lookup_elem");
    }
}

//! Where `--attach` attaches a program: `[PROGRAM=]KIND:WHERE`.

use std::path::Path;

use bombus_kernel::catalog::Binaries;
use bombus_kernel::{AttachPoint, Kernel, Loaded, LoadedProgram, Order, PerfPeriod};
use bombus_platform::{AttachType, ProgType};
use bombus_spec::ObjectSpec;

use super::literal::with_nearest;

/// The kinds with their forms, as `--help` has them.
pub(crate) const FORMS: [(&str, &str); 14] = [
    ("xdp", "xdp:DEVICE[:native|generic|offload]"),
    ("tc", "tc:DEVICE:ingress|egress"),
    ("tcx", "tcx:DEVICE:ingress|egress"),
    ("netkit", "netkit:DEVICE[:peer]"),
    ("cgroup", "cgroup:DIRECTORY"),
    ("netns", "netns:FILE"),
    ("netfilter", "netfilter:ipv4|ipv6:HOOK[:PRIORITY]"),
    ("sockmap", "sockmap:MAP"),
    ("kprobe", "kprobe:FUNCTION[+OFFSET]"),
    ("kretprobe", "kretprobe:FUNCTION"),
    ("uprobe", "uprobe:FILE:FUNCTION[+OFFSET]"),
    ("uretprobe", "uretprobe:FILE:FUNCTION"),
    ("tracepoint", "tracepoint:CATEGORY:NAME"),
    ("raw_tracepoint", "raw_tracepoint:NAME"),
];

/// `profile` is a kind, too, but one of numbers.
const PROFILE: (&str, &str) = ("profile", "profile:HERTZ");

/// Netfilter's hooks (`enum nf_inet_hooks`).
const HOOKS: [&str; 5] = ["pre_routing", "local_in", "forward", "local_out", "post_routing"];

/// `XDP_FLAGS_*_MODE`.
const XDP_MODES: [(&str, u32); 3] = [("generic", 2), ("native", 4), ("offload", 8)];

/// `PERF_TYPE_SOFTWARE`, `PERF_COUNT_SW_CPU_CLOCK`.
const CPU_CLOCK: (u32, u64) = (1, 0);

/// One `--attach`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    /// The program; `None`: the only one that there is.
    pub(crate) program: Option<String>,
    kind: &'static str,
    /// What is between the colons after the kind.
    words: Vec<String>,
}

impl Place {
    /// Reads a place. What it names is looked up by [`Place::resolve`].
    pub(crate) fn parse(text: &str) -> Result<Place, String> {
        // A file's name may have a sign of equality: one before the first colon is ours.
        let (head, rest) = text.split_once(':').ok_or_else(|| {
            format!("{text} is not [PROGRAM=]KIND:WHERE, for example my_prog=xdp:eth0")
        })?;
        let (program, kind) = match head.split_once('=') {
            Some((program, kind)) => (Some(program.to_owned()), kind),
            None => (None, head),
        };
        let kinds = || FORMS.iter().chain([&PROFILE]).map(|(kind, _)| *kind);
        let short = [("tp", "tracepoint"), ("raw_tp", "raw_tracepoint")];
        let kind = short.iter().find(|(short, _)| *short == kind).map_or(kind, |(_, long)| long);
        let kind = kinds().find(|each| *each == kind).ok_or_else(|| {
            let complaint = format!("programs cannot be attached to {kind}");
            format!("{} (there are {})", with_nearest(&complaint, kind, kinds()), join(kinds()))
        })?;
        let words = match kind {
            // Colons are part of a directory's name.
            "cgroup" | "netns" => vec![rest.to_owned()],
            "tracepoint" => rest.split([':', '/']).map(str::to_owned).collect(),
            "uprobe" | "uretprobe" => rest
                .rsplitn(2, ':')
                .map(str::to_owned)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .collect(),
            _ => rest.split(':').map(str::to_owned).collect(),
        };
        Ok(Place { program, kind, words })
    }

    /// The network device that it is at.
    pub(crate) fn device(&self) -> Option<&str> {
        let is_device = ["xdp", "tc", "tcx", "netkit"].contains(&self.kind);
        self.words.first().filter(|_| is_device).map(String::as_str)
    }

    /// The attach point for a program.
    pub(crate) fn resolve(
        &self,
        kernel: &dyn Kernel,
        binaries: &dyn Binaries,
        loaded: &Loaded,
        program: &LoadedProgram,
        pid: Option<u32>,
    ) -> Result<AttachPoint, String> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        let device = |name: &str| {
            kernel.interface_index(name).map_err(|error| match error.errno() {
                Some(libc::ENODEV) => {
                    format!("there is no network device {name} (`ip link` lists those there are)")
                }
                _ => error.to_string(),
            })
        };
        Ok(match (self.kind, &words[..]) {
            ("xdp", [name]) => AttachPoint::Xdp { ifindex: device(name)?, flags: 0 },
            ("xdp", [name, mode]) => {
                let flags = XDP_MODES.iter().find(|(each, _)| each == mode);
                let flags = flags.ok_or_else(|| self.wrong())?.1;
                AttachPoint::Xdp { ifindex: device(name)?, flags }
            }
            ("tc", [name, direction]) => AttachPoint::TcFilter {
                ifindex: device(name)?,
                egress: self.egress(direction)?,
                priority: 0,
                handle: 0,
            },
            ("tcx", [name, direction]) => AttachPoint::Tcx {
                ifindex: device(name)?,
                egress: self.egress(direction)?,
                order: Order::Default,
                revision: 0,
            },
            ("netkit", [name, rest @ ..]) if matches!(rest, [] | ["peer"]) => AttachPoint::Netkit {
                ifindex: device(name)?,
                peer: !rest.is_empty(),
                order: Order::Default,
                revision: 0,
            },
            ("cgroup", [path]) => {
                AttachPoint::Cgroup { path: path.into(), attach_type: attach_type(program)? }
            }
            ("netns", [path]) => {
                AttachPoint::Netns { path: path.into(), attach_type: attach_type(program)? }
            }
            ("netfilter", [family, hook, rest @ ..]) if rest.len() <= 1 => AttachPoint::Netfilter {
                family: match *family {
                    "ipv4" => 2,
                    "ipv6" => 10,
                    _ => return Err(self.wrong()),
                },
                hook: HOOKS.iter().position(|each| each == hook).ok_or_else(|| {
                    format!("{}; hooks are {}", self.wrong(), join(HOOKS.iter().copied()))
                })? as u32,
                priority: rest
                    .first()
                    .map_or(Ok(0), |number| number.parse().map_err(|_| self.wrong()))?,
                defrag: false,
            },
            ("sockmap", [map]) => AttachPoint::Sockmap {
                map: loaded.map(map).ok_or_else(|| {
                    let maps = loaded.all_maps().map(|(_, spec)| spec.name.as_str());
                    with_nearest(&format!("the object has no map {map}"), map, maps)
                })?,
                attach_type: attach_type(program)?,
            },
            ("kprobe" | "kretprobe", [function]) => {
                let (symbol, offset) = self.with_offset(function)?;
                AttachPoint::Kprobe { symbol, offset, on_return: self.kind == "kretprobe" }
            }
            ("uprobe" | "uretprobe", [file, function]) => {
                let path = binaries.resolve(file, pid);
                let path = path.ok_or_else(|| format!("there is no program or library {file}"))?;
                let offset = self.function_offset(binaries, &path, function)?;
                AttachPoint::Uprobe { path, offset, on_return: self.kind == "uretprobe", pid }
            }
            ("tracepoint", [category, name]) => {
                AttachPoint::Tracepoint { category: category.to_string(), name: name.to_string() }
            }
            ("raw_tracepoint", [name]) => AttachPoint::RawTracepoint { name: name.to_string() },
            ("profile", [hertz]) => AttachPoint::PerfEvent {
                event_type: CPU_CLOCK.0,
                config: CPU_CLOCK.1,
                period: PerfPeriod::Hertz(
                    hertz.parse().ok().filter(|&hertz| hertz > 0).ok_or_else(|| self.wrong())?,
                ),
                pid,
                cpu: None,
            },
            _ => return Err(self.wrong()),
        })
    }

    fn egress(&self, direction: &str) -> Result<bool, String> {
        match direction {
            "ingress" => Ok(false),
            "egress" => Ok(true),
            _ => Err(self.wrong()),
        }
    }

    fn with_offset(&self, function: &str) -> Result<(String, u64), String> {
        let (name, offset) = function.split_once('+').unwrap_or((function, "0"));
        let offset = offset_of(offset).ok_or_else(|| self.wrong())?;
        Ok((name.to_owned(), offset))
    }

    fn function_offset(
        &self,
        binaries: &dyn Binaries,
        path: &Path,
        function: &str,
    ) -> Result<u64, String> {
        if let Some(offset) = offset_of(function) {
            return Ok(offset);
        }
        let (name, offset) = self.with_offset(function)?;
        let symbols = binaries.functions(path)?;
        let found = symbols.iter().find(|symbol| symbol.name == name);
        let found = found.ok_or_else(|| {
            let names = symbols.iter().map(|symbol| symbol.name.as_str());
            with_nearest(&format!("{} has no function {name}", path.display()), &name, names)
        })?;
        Ok(found.offset + offset)
    }

    fn wrong(&self) -> String {
        let form = FORMS.iter().chain([&PROFILE]).find(|(kind, _)| *kind == self.kind);
        let form = form.map_or(self.kind, |(_, form)| form);
        format!("{}:{} is not {form}", self.kind, self.words.join(":"))
    }
}

/// Whether the object has the program that a place is for.
pub(crate) fn check_program(place: &Place, object: &ObjectSpec) -> Result<(), String> {
    let names = || object.programs.iter().map(|program| program.name.as_str());
    match &place.program {
        None if object.programs.len() == 1 => Ok(()),
        None => Err(format!("--attach has to say which program, PROGRAM=...: {}", join(names()))),
        Some(name) if names().any(|each| each == name) => Ok(()),
        Some(name) => {
            Err(with_nearest(&format!("the object has no program {name}"), name, names()))
        }
    }
}

/// The hook that a program was made for. (`cgroup/skb` says none, and the number of none is that of
/// `cgroup_inet_ingress`.)
fn attach_type(program: &LoadedProgram) -> Result<AttachType, String> {
    if program.prog_type == ProgType::CgroupSkb && program.section.ends_with("/skb") {
        return Err(format!(
            "SEC(\"{}\") of {} does not say which packets; cgroup_skb/ingress does",
            program.section, program.name
        ));
    }
    Ok(program.attach_type)
}

fn offset_of(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn join<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

/// The form of a place for a program whose section names none.
pub(crate) fn suggestion(program: &LoadedProgram) -> Option<&'static str> {
    let kind = match program.prog_type {
        ProgType::Xdp => "xdp",
        ProgType::SchedCls if program.section.starts_with("netkit") => "netkit",
        ProgType::SchedCls => "tcx",
        ProgType::CgroupSkb
        | ProgType::CgroupSock
        | ProgType::CgroupSockAddr
        | ProgType::CgroupSockopt
        | ProgType::CgroupSysctl
        | ProgType::CgroupDevice
        | ProgType::SockOps => "cgroup",
        ProgType::FlowDissector | ProgType::SkLookup => "netns",
        ProgType::SkSkb | ProgType::SkMsg => "sockmap",
        ProgType::Netfilter => "netfilter",
        ProgType::Kprobe if program.section.starts_with('u') => "uprobe",
        ProgType::Kprobe => "kprobe",
        ProgType::Tracepoint => "tracepoint",
        ProgType::RawTracepoint | ProgType::RawTracepointWritable => "raw_tracepoint",
        ProgType::PerfEvent => return Some(PROFILE.1),
        _ => return None,
    };
    FORMS.iter().find(|(each, _)| *each == kind).map(|(_, form)| *form)
}

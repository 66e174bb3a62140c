//! What this process may do, and what it would need.

use bombus_kernel::Result;

use crate::error::privileged;
use crate::sys::{process, prog};

/// Which privileges a command needs.
#[derive(Clone, Copy)]
pub(crate) enum Wants {
    /// `bpf(2)`: `CAP_BPF` (Linux 5.8).
    Bpf,
    /// Tracing programs and perf events: `CAP_BPF` and `CAP_PERFMON` (Linux 5.8).
    Tracing,
    /// Probes on user functions (`perf_uprobe_event_init`, `kernel/events/core.c`).
    UserProbes,
    /// Devices, sockets and cgroups' traffic: `CAP_BPF` and `CAP_NET_ADMIN`.
    Network,
    /// Looking things up that others made: `CAP_SYS_ADMIN`.
    Admin,
    /// Reading kernel addresses (`kptr_restrict`).
    Addresses,
}

struct Capability {
    bit: u32,
    name: &'static str,
}

/// `include/uapi/linux/capability.h`.
const NET_ADMIN: Capability = Capability { bit: 12, name: "CAP_NET_ADMIN" };
const SYSLOG: Capability = Capability { bit: 34, name: "CAP_SYSLOG" };
const SYS_ADMIN: Capability = Capability { bit: 21, name: "CAP_SYS_ADMIN" };
const PERFMON: Capability = Capability { bit: 38, name: "CAP_PERFMON" };
const BPF: Capability = Capability { bit: 39, name: "CAP_BPF" };

/// What is in the way of a call that was refused with `EPERM` or `EACCES`.
pub(crate) fn missing(wants: Wants) -> String {
    let effective = process::effective_capabilities().unwrap_or(0);
    let has = |capability: &Capability| effective & (1 << capability.bit) != 0;
    let wanted: &[Capability] = match wants {
        Wants::Bpf => &[BPF],
        Wants::Tracing => &[BPF, PERFMON],
        Wants::UserProbes | Wants::Admin => &[SYS_ADMIN],
        Wants::Network => &[BPF, NET_ADMIN],
        Wants::Addresses => &[SYSLOG],
    };
    // Which of them CAP_SYS_ADMIN stands for.
    let by_admin = matches!(wants, Wants::Bpf | Wants::Tracing | Wants::Network);
    let lacking: Vec<&str> =
        wanted.iter().filter(|wanted| !has(wanted)).map(|wanted| wanted.name).collect();
    let setting = |path: &str| {
        let text = std::fs::read_to_string(path).ok()?;
        Some(text.trim().to_owned())
    };
    // CAP_SYS_ADMIN does for all but CAP_NET_ADMIN.
    let enough = match wants {
        Wants::Network => has(&SYS_ADMIN) && has(&NET_ADMIN),
        Wants::Addresses => false,
        _ => has(&SYS_ADMIN),
    };
    if !lacking.is_empty() && !enough {
        let mut hints = Vec::new();
        if matches!(wants, Wants::Bpf | Wants::Tracing) {
            hints.push(format!("or {}", SYS_ADMIN.name));
        }
        let mut hint = |name: &str| {
            if let Some(level) = setting(&format!("/proc/sys/kernel/{name}")) {
                hints.push(format!("kernel.{name}={level}"));
            }
        };
        if by_admin {
            hint("unprivileged_bpf_disabled");
        }
        if matches!(wants, Wants::Tracing) {
            hint("perf_event_paranoid");
        }
        if matches!(wants, Wants::Addresses) {
            hint("kptr_restrict");
        }
        return match hints.join("; ") {
            none if none.is_empty() => lacking.join(" and "),
            hints => format!("{} ({hints})", lacking.join(" and ")),
        };
    }
    // All capabilities are there, so it is where they count, or something above them.
    if let Some(map) = setting("/proc/self/uid_map")
        && map.split_whitespace().collect::<Vec<_>>() != ["0", "0", "4294967295"]
    {
        return format!("{} in the machine's own user namespace", wanted[0].name);
    }
    match setting("/sys/kernel/security/lockdown") {
        Some(lockdown) if lockdown.contains("[confidentiality]") => {
            "a kernel that is not locked down (lockdown=confidentiality)".to_owned()
        }
        _ => {
            "the permission of a security policy or sandbox (the capabilities are there)".to_owned()
        }
    }
}

/// Gives up, for this thread, everything that [`missing`] may name for `bpf(2)`: what is asked of
/// the kernel from now on, an unprivileged user asks.
pub fn give_up_bpf() -> Result<()> {
    let bits = [SYS_ADMIN, BPF, NET_ADMIN, PERFMON].map(|capability| 1 << capability.bit);
    process::drop_effective(bits.into_iter().sum())
        .map_err(|errno| bombus_kernel::Error::os("give up capabilities", errno))
}

/// Whether this process may load tracing programs: one of two instructions is loaded to see, and
/// let go. The error names what is missing.
pub fn can_load_programs() -> Result<()> {
    use bombus_isa::{Insn, Reg};
    let insns = [Insn::mov_imm(Reg::R0, 0).to_bytes(), Insn::exit().to_bytes()];
    let program = prog::ProgAttr {
        name: "bombus_probe",
        prog_type: bombus_platform::ProgType::RawTracepoint as u32,
        insns: &insns,
        ..prog::ProgAttr::default()
    };
    let load = || prog::prog_load(&program, &mut []).map(drop);
    // Kernels before 5.11 count programs against the limit on locked memory, and say EPERM.
    let outcome = match load() {
        Err(libc::EPERM) if process::lift_memlock_limit().is_ok() => load(),
        outcome => outcome,
    };
    outcome.map_err(|errno| privileged("load programs into the kernel", errno, Wants::Tracing))
}

//! What the kernel can do, against what bpftool finds out.

use std::process::Command;

use bombus_kernel::{Feature, Kernel};
use bombus_linux::{Linux, probe};
use bombus_platform::{HELPERS, MapType, ProgType};
use libtest_mimic::Failed;

use crate::{Test, ensure, same};

pub(crate) const TESTS: &[Test] =
    &[("probe::features", features), ("probe::against_bpftool", against_bpftool)];

/// What is asked is what the version says, on kernels that have all their parts.
fn features() -> Result<(), Failed> {
    let linux = Linux::new()?;
    ensure(probe::system_call(), || "no bpf(2)".into())?;
    let version = linux.features().version;
    // These depend on how a kernel was built.
    let optional = [
        Feature::KernelBtf,
        Feature::ModuleBtf,
        Feature::KprobeMultiLink,
        Feature::NetfilterLink,
        Feature::NetkitLink,
        Feature::TcxLink,
    ];
    let unexpected: Vec<_> = probe::features(&linux)
        .into_iter()
        .filter(|(feature, answer)| {
            let expected = version >= feature.since();
            *answer != expected && (*answer || !optional.contains(feature))
        })
        .collect();
    same(unexpected, vec![])
}

fn against_bpftool() -> Result<(), Failed> {
    let Ok(output) = Command::new("bpftool").args(["feature", "probe", "full"]).output() else {
        println!("skipped: there is no bpftool");
        return Ok(());
    };
    let text = String::from_utf8(output.stdout)?;
    // Linux 6.14 refuses helpers in other words, which the library learned in version 1.6.
    let version = Command::new("bpftool").arg("version").output()?.stdout;
    let old =
        String::from_utf8_lossy(&version).split_once("libbpf v1.").is_none_or(|(_, minor)| {
            minor.split('.').next().and_then(|minor| minor.trim().parse().ok()).unwrap_or(0) < 6
        });
    let linux = Linux::new()?;
    let said = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim() == "is available")
    };
    let mut compared = 0;
    for &prog_type in ProgType::ALL {
        if let Some(said) = said(&format!("eBPF program_type {} ", prog_type.name())) {
            let ours = probe::prog_type(&linux, prog_type);
            // A sandbox is in the way; to bpftool that is a no.
            let ours = !crate::lacking(&ours) && ours?;
            ensure(ours == said, || format!("{}: {ours}", prog_type.name()))?;
            compared += 1;
        }
        compared += helpers(&linux, prog_type, &text, old)?;
    }
    for &map_type in MapType::ALL {
        if let Some(said) = said(&format!("eBPF map_type {} ", map_type.name())) {
            let ours = probe::map_type(&linux, map_type)?;
            ensure(ours == said, || format!("{}: {ours}", map_type.name()))?;
            compared += 1;
        }
    }
    for (name, feature) in [
        ("Large program size limit ", Feature::LargePrograms),
        ("Bounded loop support ", Feature::BoundedLoops),
        ("ISA extension v2 ", Feature::IsaV2),
        ("ISA extension v3 ", Feature::IsaV3),
        ("ISA extension v4 ", Feature::IsaV4),
    ] {
        if let Some(said) = said(name) {
            same(linux.supports(feature), said)?;
            compared += 1;
        }
    }
    ensure(compared > 500, || format!("only {compared} answers of bpftool's understood"))
}

/// Compares the helpers of one type: those that both know. An old bpftool takes some for allowed
/// that are not.
fn helpers(linux: &Linux, prog_type: ProgType, text: &str, old: bool) -> Result<usize, Failed> {
    let title = format!("eBPF helpers supported for program type {}:", prog_type.name());
    let Some(start) = text.find(&title) else { return Ok(0) };
    let list = text[start..].lines().skip(1).take_while(|line| line.starts_with('\t'));
    let list: Vec<&str> = list.filter_map(|line| line.trim().strip_prefix("- ")).collect();
    if list.is_empty() {
        return Ok(0);
    }
    // What Debian's bpftool does not know yet comes last.
    let newest =
        HELPERS.iter().rposition(|helper| text.contains(&format!("- {}\n", helper.symbol())));
    let mut compared = 0;
    for helper in &HELPERS[..newest.unwrap_or(0)] {
        let ours = probe::helper(linux, prog_type, helper.id() as u32)?;
        let said = list.contains(&helper.symbol());
        ensure(ours == said || (old && said), || {
            format!("{} in {}: {ours}, bpftool: {said}", helper.symbol(), prog_type.name())
        })?;
        compared += 1;
    }
    Ok(compared)
}

//! Programs of network devices, in a network namespace of the test's own.

use bombus_kernel::Feature;
use bombus_platform::{AttachType, ProgType};

use crate::fixture::{Netns, Pins};
use crate::hooks::{load, supported};
use crate::oracle::{bpftool_runs, needs, run, same, same_fields, since};
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[
    ("net::show", show),
    ("net::xdp", xdp),
    ("net::tcx", tcx),
    ("net::tc", tc),
    ("feature::device", device),
];

/// The listing: older ones know no netfilter.
fn same_listing(words: &[&str]) -> Result<(), String> {
    let args = [&["net", "show"], words].concat();
    if since(7, 3) { same(&args) } else { same_fields(&args) }
}

fn show() -> Outcome {
    let netns = Netns::new()?;
    let _within = netns.enter();
    same_listing(&[])?;
    same_listing(&["dev", "bombus0"])?;
    same(&["net", "show", "dev", "no_such_device"]).or_else(|error| {
        // Older ones go on after they have said it.
        if since(7, 3) { Err(error) } else { Ok(()) }
    })?;
    Ok(())
}

/// What one attaches the other shows and detaches.
fn xdp() -> Outcome {
    let (netns, pins) = (Netns::new()?, Pins::new()?);
    pins.map("first", "array", [4, 4, 1], &[])?;
    let first = load(&pins, "first_xdp", ProgType::Xdp, AttachType::Xdp)?;
    let second = load(&pins, "second_xdp", ProgType::Xdp, AttachType::Xdp)?;
    let _within = netns.enter();
    for way in ["xdp", "xdpgeneric", "xdpdrv"] {
        let attach = |program: &'static str| {
            let path = if program == "first" { &first } else { &second };
            ["net", "attach", way, "pinned", path, "dev", "bombus0"].map(str::to_owned)
        };
        let attach_first = attach("first");
        let attach_first: Vec<&str> = attach_first.iter().map(String::as_str).collect();
        let attach_second = attach("second");
        let attach_second: Vec<&str> = attach_second.iter().map(String::as_str).collect();
        let detach = ["net", "detach", way, "dev", "bombus0"];
        run(&attach_first)?;
        same_listing(&[])?;
        same_listing(&["dev", "bombus0"])?;
        // There is one already.
        same(&attach_second)?;
        run(&[&attach_second[..], &["overwrite"]].concat())?;
        same_listing(&[])?;
        bpftool_runs(&detach)?;
        same_listing(&[])?;
        bpftool_runs(&attach_first)?;
        same_listing(&[])?;
        run(&detach)?;
        let listed = run(&["net", "show"])?;
        if !listed.starts_with("xdp:\n\n") {
            return Err(format!("{way} is still there: {listed}").into());
        }
    }
    Ok(())
}

fn tcx() -> Outcome {
    supported(Feature::TcxLink)?;
    let (netns, pins) = (Netns::new()?, Pins::new()?);
    pins.map("first", "array", [4, 4, 1], &[])?;
    let program = |name| load(&pins, name, ProgType::SchedCls, AttachType::NONE);
    let [first, second, third] = [program("one")?, program("two")?, program("three")?];
    let _within = netns.enter();
    for way in ["tcx_ingress", "tcx_egress"] {
        let attach = |path: &str, more: &[&str]| {
            run(&[&["net", "attach", way, "pinned", path, "dev", "bombus0"], more].concat())
        };
        attach(&first, &[])?;
        attach(&second, &[])?;
        attach(&third, &["prepend"])?;
        let listed = run(&["net", "show"])?;
        let order: Vec<&str> = listed.lines().filter_map(|line| line.split(' ').nth(2)).collect();
        if order != ["three", "one", "two"] {
            return Err(format!("{way}: {listed}").into());
        }
        run(&["net", "detach", way, "dev", "bombus0"])?;
        run(&["net", "detach", way, "dev", "bombus0"])?;
        run(&["net", "detach", way, "dev", "bombus0"])?;
    }
    needs(7, 8, "has no tcx")?;
    run(&["net", "attach", "tcx_ingress", "pinned", &first, "dev", "bombus0"])?;
    bpftool_runs(&["net", "attach", "tcx_in", "pinned", &second, "dev", "bombus0", "prep"])?;
    same(&["net", "show"])?;
    same(&["net", "attach", "tcx_ingress", "pinned", &second, "dev", "bombus0"])?;
    same(&["net", "attach", "tcx_ingress", "pinned", &third, "dev", "bombus0", "overwrite"])?;
    same(&["net", "attach", "xdp", "pinned", &third, "dev", "bombus0", "prepend"])?;
    same(&["net", "attach", "xdp", "pinned", &third, "dev", "bombus0", "what"])?;
    run(&["net", "detach", "tcx_ingress", "dev", "bombus0"])?;
    bpftool_runs(&["net", "detach", "tcx_ingress", "dev", "bombus0"])?;
    same(&["net", "detach", "tcx_ingress", "dev", "bombus0"])?;
    same(&["net", "show"])?;
    Ok(())
}

/// Filters of the old traffic control, which only `tc` attaches here.
fn tc() -> Outcome {
    let (netns, pins) = (Netns::new()?, Pins::new()?);
    pins.map("first", "array", [4, 4, 1], &[])?;
    let path = load(&pins, "filter", ProgType::SchedCls, AttachType::NONE)?;
    let within = netns.enter();
    let tc = |line: &str| {
        let mut command = crate::oracle::command("tc");
        let status = command.args(line.split(' ')).args(["object-pinned", &path]).status();
        status.is_ok_and(|status| status.success())
    };
    let mut made = crate::oracle::command("tc");
    let made = made.args(["qdisc", "add", "dev", "bombus0", "clsact"]).status();
    let there =
        made.is_ok_and(|status| status.success()) && tc("filter add dev bombus0 ingress bpf da");
    if !there {
        return Err(crate::Unmet::Skipped("tc cannot attach a pinned program here".into()));
    }
    same_listing(&[])?;
    drop(within);
    Ok(())
}

/// What a device without offload says to everything.
fn device() -> Outcome {
    let netns = Netns::new()?;
    let _within = netns.enter();
    needs(7, 8, "has other words for what is probed")?;
    same(&["feature", "probe", "dev", "bombus0"])?;
    same(&["feature", "probe", "dev", "bombus0", "full"])?;
    crate::oracle::same_text(&["feature", "probe", "dev", "bombus0", "macros", "prefix", "X_"])?;
    Ok(())
}

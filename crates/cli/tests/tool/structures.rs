//! Structures of kernel callbacks: a congestion control that nobody uses; and tokens.

use bombus_kernel::Feature;

use crate::fixture::{Files, Pins};
use crate::hooks::supported;
use crate::oracle::{
    bombus, bpftool, bpftool_runs, needs, run, said_by, same, same_json, same_text, since,
};
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[
    ("struct_ops::show", show),
    ("struct_ops::register", register),
    ("struct_ops::by_link", by_link),
    ("token::list", tokens),
];

/// `NAME` is the congestion control's, `SECTION` where its structure is.
const SOURCE: &str = r#"
    struct sock;
    struct tcp_congestion_ops {
        u32 (*ssthresh)(struct sock *);
        void (*cong_avoid)(struct sock *, u32, u32);
        u32 (*undo_cwnd)(struct sock *);
        char name[16];
    } __attribute__((preserve_access_index));
    SEC("struct_ops") u32 bombus_ssthresh(u64 *ctx) { return 2; }
    SEC("struct_ops") void bombus_avoid(u64 *ctx) {}
    SEC("struct_ops") u32 bombus_undo(u64 *ctx) { return 2; }
    SEC("SECTION") struct tcp_congestion_ops NAME = {
        .ssthresh = (void *)bombus_ssthresh,
        .cong_avoid = (void *)bombus_avoid,
        .undo_cwnd = (void *)bombus_undo,
        .name = "NAME",
    };
"#;

/// A name of its own, and an object with a structure of that name.
fn object(files: &Files, test: char, section: &str) -> Result<(String, String), crate::Unmet> {
    if !std::path::Path::new("/sys/kernel/btf/vmlinux").exists() {
        return Err(crate::Unmet::Skipped("this kernel does not describe its types".into()));
    }
    let name = format!("bombus_{test}{}", std::process::id() % 100_000);
    let source = SOURCE.replace("NAME", &name).replace("SECTION", section);
    Ok((name.clone(), files.object(&name, &source)?))
}

/// Takes the structure out of use again, however the test ends.
struct Registered(String);

impl Drop for Registered {
    fn drop(&mut self) {
        let _ = bombus().args(["struct_ops", "unregister", "name", &self.0]).output();
    }
}

fn is_known(name: &str) -> bool {
    let known = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control");
    known.unwrap_or_default().split_whitespace().any(|known| known == name)
}

fn id_of(name: &str) -> Result<String, String> {
    let listed = run(&["struct_ops", "show", "name", name])?;
    Ok(listed.split(':').next().unwrap_or_default().to_owned())
}

fn show() -> Outcome {
    let files = Files::new()?;
    let (name, object) = object(&files, 's', ".struct_ops")?;
    let _registered = Registered(name.clone());
    run(&["struct_ops", "register", &object])?;
    let id = id_of(&name)?;
    for which in [["name", &name], ["id", &id]] {
        // Older ones make no list of one.
        let compare = if which[0] == "name" || since(7, 3) { same } else { same_text };
        compare(&[&["struct_ops", "show"], &which[..]].concat())?;
        compare(&[&["struct_ops", "list"], &which[..]].concat())?;
        // Older ones leave out the quotes of addresses.
        if since(7, 3) {
            same(&[&["struct_ops", "dump"], &which[..]].concat())?;
        } else if which[0] == "name" {
            same_json(&[&["struct_ops", "dump"], &which[..]].concat())?;
        }
    }
    Ok(())
}

/// Whichever registers it, either takes it out of use, with the same words but for numbers.
fn register() -> Outcome {
    let files = Files::new()?;
    let (name, object) = object(&files, 'r', ".struct_ops")?;
    let _registered = Registered(name.clone());
    let mut said = Vec::new();
    for [ours_first, ours_last] in [[true, false], [false, true]] {
        let tool = |ours: bool| if ours { bombus() } else { bpftool() };
        let registered = said_by(tool(ours_first), &["struct_ops", "register", &object])?;
        if !is_known(&name) {
            return Err(format!("it is not registered: {registered}").into());
        }
        let taken = said_by(tool(ours_last), &["struct_ops", "unregister", "name", &name])?;
        if is_known(&name) {
            return Err(format!("it is registered still: {taken}").into());
        }
        said.push((registered, taken));
    }
    let digits = |text: &String| text.replace(|c: char| c.is_ascii_digit(), "");
    let [(ours, taken_theirs), (theirs, taken_ours)] = &said[..] else { return Ok(()) };
    if digits(ours) != digits(theirs) || digits(taken_ours) != digits(taken_theirs) {
        return Err(format!("{said:#?}").into());
    }
    same_text(&["struct_ops", "unregister", "name", &name])?;
    Ok(())
}

/// A link that is pinned keeps it in use.
fn by_link() -> Outcome {
    supported(Feature::StructOpsLink)?;
    let (files, pins) = (Files::new()?, Pins::new()?);
    pins.map("first", "array", [4, 4, 1], &[])?;
    let (name, object) = object(&files, 'l', ".struct_ops.link")?;
    run(&["struct_ops", "register", &object])?;
    if is_known(&name) {
        return Err("it is in use without a link".into());
    }
    run(&["struct_ops", "register", &object, &pins.path("links")])?;
    if !is_known(&name) {
        return Err("the link does not keep it in use".into());
    }
    let link = format!("{}/{name}", pins.path("links"));
    same(&["struct_ops", "show", "name", &name])?;
    same(&["link", "show", "pinned", &link]).or_else(|error| {
        // Older ones do not know such links.
        if since(7, 3) { Err(error) } else { Ok(()) }
    })?;
    run(&["link", "detach", "pinned", &link])?;
    match is_known(&name) {
        false => Ok(()),
        true => Err("it is in use still".into()),
    }
}

/// In a mount namespace, so that nobody else sees the file system.
fn tokens() -> Outcome {
    supported(Feature::Token)?;
    let files = Files::new()?;
    let directory = files.path("");
    let options = "delegate_cmds=prog_load:map_create:btf_load:link_create:map_freeze,\
                   delegate_maps=hash:array,delegate_progs=any";
    let mount = format!("mount -t bpf -o {options} bpf {directory} && exec \"$@\"");
    let _within = crate::oracle::Within::new(&["unshare", "-m", "sh", "-c", &mount, "sh"]);
    let listed = run(&["token", "list"])
        .map_err(|_| crate::Unmet::Skipped("no file system that passes rights on".into()))?;
    if !listed.contains("\tallowed_maps:\n\t  ") {
        return Err(listed.into());
    }
    needs(7, 8, "knows no tokens")?;
    same(&["token", "list"])?;
    same(&["token", "show"])?;
    bpftool_runs(&["token"])?;
    Ok(())
}

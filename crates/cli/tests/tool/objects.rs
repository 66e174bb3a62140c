//! What the kernel can do, what its devices run, and objects that are loaded only to try.

use std::path::Path;

use crate::fixture::{Pins, compile};
use crate::oracle::{bombus, bpftool, bpftool_says, needs, run, said_by, same, same_text, since};
use crate::{Outcome, Test, Unmet};

pub(crate) const TESTS: &[Test] = &[
    ("feature::probe", features),
    ("feature::arguments", arguments),
    ("feature::unprivileged", unprivileged),
    ("feature::macros", macros),
    ("feature::list_builtins", builtins),
    ("prog::load", load),
];

/// Lines of the one that the other does not have.
fn missing<'a>(of: &'a str, others: &str) -> Vec<&'a str> {
    let others: std::collections::HashSet<&str> = others.lines().collect();
    of.lines().filter(|line| !others.contains(line)).collect()
}

/// Everything that bpftool finds out, and what is newer than it is more.
fn same_lines(args: &[&str]) -> Result<(), String> {
    let (ours, theirs) = (run(args)?, bpftool_says(args)?);
    let lost = missing(&theirs, &ours);
    let more = if since(7, 8) { missing(&ours, &theirs) } else { Vec::new() };
    if lost.is_empty() && more.is_empty() {
        return Ok(());
    }
    Err(format!("{}\n  only bpftool: {lost:#?}\n  only bombus: {more:#?}", args.join(" ")))
}

fn features() -> Outcome {
    needs(7, 8, "takes every answer but the expected for a helper that is there")?;
    same(&["feature", "probe", "kernel"])?;
    same(&["feature", "probe"])?;
    same_text(&["feature", "probe", "full"])?;
    Ok(())
}

fn arguments() -> Outcome {
    same(&["feature", "probe", "what"])?;
    same(&["feature", "probe", "prefix", "x"])?;
    same(&["feature", "probe", "macros", "prefix"])?;
    same(&["feature", "probe", "kernel", "kernel"])?;
    Ok(())
}

fn unprivileged() -> Outcome {
    needs(7, 8, "takes every answer but the expected for a helper that is there")?;
    let args = ["feature", "probe", "unprivileged"];
    if said_by(bpftool(), &args)?.contains("recompile") {
        let reason = "this bpftool was built without the library for capabilities";
        return Err(Unmet::Skipped(reason.into()));
    }
    same(&args)?;
    same_text(&["feature", "probe", "kernel", "unprivileged", "macros"])?;
    Ok(())
}

fn macros() -> Outcome {
    needs(7, 8, "takes every answer but the expected for a helper that is there")?;
    same_text(&["feature", "probe", "full", "macros", "prefix", "X_"])?;
    Ok(())
}

fn builtins() -> Outcome {
    needs(7, 3, "lists nothing, or lists it under other names")?;
    for group in ["prog_types", "map_types", "attach_types", "link_types", "helpers"] {
        same_lines(&["feature", "list_builtins", group])?;
    }
    same(&["feature", "list_builtins", "what"])?;
    Ok(())
}

/// Two programs, one of which reads what it must not.
const SOURCE: &str = r#"
    #define SEC(name) __attribute__((section(name), used))
    SEC("socket") int good(void *ctx) { return 1; }
    SEC("socket") int bad(unsigned char *ctx) { return *(volatile int *)(ctx + 4096); }
    char _license[] SEC("license") = "GPL";
"#;

fn load() -> Outcome {
    let directory = std::env::temp_dir().join(format!("bombus-tool-load-{}", std::process::id()));
    std::fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
    let (source, object) = (directory.join("p.bpf.c"), directory.join("p.bpf.o"));
    std::fs::write(&source, SOURCE).map_err(|error| error.to_string())?;
    compile(&source, &object)?;
    let object = object.to_string_lossy().into_owned();
    let checked = bombus().args(["prog", "load", "--check", &object]).output();
    let checked = checked.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let as_expected = matches!(lines[..], [good, bad]
        if good.ends_with("good (socket): loaded, 2 instructions")
            && bad.contains("bad (socket): refused: ") && bad.contains("invalid bpf_context access"));
    if !as_expected || checked.status.code() != Some(255) {
        return Err(format!("{text}status {:?}", checked.status.code()).into());
    }
    let pins = Pins::new()?;
    pins.map("first", "array", [4, 4, 1], &[])?;
    // Both refuse the object as a whole.
    let path = pins.path("both");
    let refused = bombus().args(["prog", "load", &object, &path]).output();
    if refused.is_ok_and(|output| output.status.success()) {
        return Err("an object with a refused program was loaded".into());
    }
    std::fs::write(&source, SOURCE.replace("ctx + 4096", "ctx")).map_err(|e| e.to_string())?;
    compile(&source, Path::new(&object))?;
    run(&["prog", "load", &object, &pins.path("one")])?;
    run(&["prog", "loadall", &object, &pins.path("all"), "pinmaps", &pins.path("maps")])?;
    same(&["prog", "show", "pinned", &pins.path("one")])?;
    same(&["prog", "show", "pinned", &pins.path("all/bad")])?;
    let packet = directory.join("packet");
    std::fs::write(&packet, [7; 64]).map_err(|error| error.to_string())?;
    let packet = packet.to_string_lossy().into_owned();
    let text = run(&["prog", "run", "pinned", &pins.path("one"), "data_in", &packet])?;
    let _ = std::fs::remove_dir_all(&directory);
    match text.starts_with("Return value: 1, duration: ") {
        true => Ok(()),
        false => Err(text.into()),
    }
}

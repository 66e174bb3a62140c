//! What a running script has loaded: programs with types and lines, maps, links.

use crate::fixture::{Pins, Running};
use crate::oracle::{needs, run, same, same_fields, same_json, same_text, since};
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[
    ("prog::show", programs),
    ("prog::dump", code),
    ("prog::dump_file", file),
    ("prog::dump_file_with_more", file_with_more),
    ("prog::pinned", pinned),
    ("prog::pinned_twice", pinned_twice),
    ("map::of_a_script", maps),
    ("link::show", links),
];

/// Probes of every kind that a script has, none of which changes a map once it runs. The longest
/// name that a program gets is longer than the kernel's fifteen characters.
const SCRIPT: &str = r#"
    BEGIN { @start = 1; @text["a", 1] = "a text"; @count = count(); @hist = hist(17); }
    rawtracepoint:sched_switch / comm == "nobody at all" / { @c[cpu] = count(); }
    tracepoint:syscalls:sys_enter_nanosleep / comm == "nobody at all" / { printf("%s\n", comm); }
    uprobe:/bin/sh:main / comm == "nobody at all" / { @u = 1; }
    interval:s:3600 { for ($pair : @text) { print($pair); } }
    profile:hz:1 / comm == "nobody at all" / { @p = avg(nsecs); }
"#;

fn running() -> Result<Running, String> {
    // `uprobe` needs a symbol, which not every shell has.
    let script = SCRIPT.replace("uprobe:/bin/sh:main", "uprobe:/bin/sh:0x4000");
    Running::new(&script, 4)
}

/// Compares all objects of a kind; says all that differs.
fn each(ids: &[u32], least: usize, compare: impl Fn(&str) -> Result<(), String>) -> Outcome {
    if ids.len() < least {
        return Err(format!("only {} objects to look at", ids.len()).into());
    }
    let failures = ids.iter().filter_map(|id| compare(&id.to_string()).err());
    let failures: Vec<String> = failures.collect();
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
}

fn programs() -> Outcome {
    let running = running()?;
    each(&running.ids("prog_id"), 5, |id| {
        same(&["prog", "show", "id", id])?;
        same(&["prog", "list", "id", &format!("{:#x}", id.parse::<u32>().unwrap_or(0))])
    })
}

fn code() -> Outcome {
    needs(7, 8, "spells some instructions in another way")?;
    let running = running()?;
    each(&running.ids("prog_id"), 5, |id| {
        let dump = ["prog", "dump", "xlated", "id", id];
        same(&dump)?;
        same(&[&dump[..], &["opcodes"]].concat())?;
        same(&[&dump[..], &["linum"]].concat())?;
        same(&[&dump[..], &["opcodes", "linum"]].concat())?;
        same_text(&[&dump[..], &["visual"]].concat())?;
        same_text(&[&dump[..], &["visual", "opcodes", "linum"]].concat())?;
        same_json(&[&dump[..], &["visual"]].concat())
    })
}

fn file() -> Outcome {
    let (running, pins) = (running()?, Pins::new()?);
    each(&running.ids("prog_id"), 5, |id| {
        let paths = [pins.path("ours"), pins.path("theirs")];
        let dump = |path| ["prog", "dump", "xlated", "id", id, "file", path];
        run(&dump(&paths[0]))?;
        same_text(&dump(&paths[1]))?;
        let [ours, theirs] = paths.map(|path| std::fs::read(path).unwrap_or_default());
        if ours.is_empty() || ours != theirs {
            return Err(format!("{} and {} bytes", ours.len(), theirs.len()));
        }
        Ok(())
    })
}

fn file_with_more() -> Outcome {
    needs(7, 3, "wants its words in an order")?;
    let running = running()?;
    each(&running.ids("prog_id"), 5, |id| {
        same(&["prog", "dump", "xlated", "id", id, "file", "/dev/null", "opcodes"])
    })
}

fn pinned() -> Outcome {
    let (running, pins) = (running()?, Pins::new()?);
    // The directory becomes a BPF file system.
    pins.map("first", "array", [4, 4, 1], &[])?;
    each(&running.ids("prog_id"), 5, |id| {
        let path = pins.path(&format!("prog{id}"));
        run(&["prog", "pin", "id", id, &path])?;
        same(&["prog", "show", "pinned", &path])?;
        same(&["prog", "show", "pinned", &path, "-f"])?;
        same(&["map", "show", "pinned", &path])?;
        same(&["link", "show", "pinned", &path])
    })?;
    each(&running.ids("link_id"), 4, |id| {
        let path = pins.path(&format!("link{id}"));
        run(&["link", "pin", "id", id, &path])?;
        // Older ones do not know where perf events are.
        let compare = if since(7, 8) { same } else { same_fields };
        compare(&["link", "show", "pinned", &path, "-f"])
    })
}

fn pinned_twice() -> Outcome {
    needs(7, 3, "lets the kernel say that the file is there already")?;
    let (running, pins) = (running()?, Pins::new()?);
    pins.map("first", "array", [4, 4, 1], &[])?;
    each(&running.ids("prog_id"), 5, |id| {
        let path = pins.path(&format!("prog{id}"));
        run(&["prog", "pin", "id", id, &path])?;
        same(&["prog", "pin", "id", id, &path])
    })
}

fn maps() -> Outcome {
    let running = running()?;
    each(&running.ids("map_id"), 5, |id| {
        same(&["map", "show", "id", id])?;
        same(&["map", "dump", "id", id])
    })
}

fn links() -> Outcome {
    let running = running()?;
    // Older ones do not know where perf events are.
    let compare = if since(7, 8) { same } else { same_fields };
    each(&running.ids("link_id"), 4, |id| compare(&["link", "show", "id", id]))
}

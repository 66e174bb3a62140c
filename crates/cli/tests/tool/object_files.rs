//! What is made of object files: one of several, iterators.

use std::fs;

use crate::fixture::{Files, Pins};
use crate::oracle::{bpftool_runs, run, same_text};
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[("gen::object", linked), ("iter::pin", iterator)];

const ONE: &str = r#"
    struct { __uint(type, 1); __type(key, u32); __type(value, u64); __uint(max_entries, 4); }
        counts SEC(".maps");
    extern int twice(int);
    int own = 7;
    SEC("socket") int first(void *ctx) {
        u32 key = 1;
        u64 *count = map_lookup(&counts, &key);
        if (count) *count += own;
        return twice(own);
    }
"#;

const OTHER: &str = r#"
    struct { __uint(type, 2); __type(key, u32); __type(value, u32); __uint(max_entries, 1); }
        numbers SEC(".maps");
    int factor = 2;
    __attribute__((noinline)) int twice(int number) { return number * factor; }
    SEC("socket") int second(void *ctx) {
        u32 key = 0;
        u32 *number = map_lookup(&numbers, &key);
        return number ? twice(*number) : 0;
    }
"#;

/// The listing of a program, without what differs from load to load: ids of maps, addresses.
fn listing(path: &str) -> Result<String, String> {
    let text = bpftool_runs(&["prog", "dump", "xlated", "pinned", path])?;
    let mut masked = String::new();
    for word in text.split_inclusive([' ', '\n', '[']) {
        match word.strip_prefix("id:") {
            Some(_) => masked += "id\n",
            None => masked += word,
        }
    }
    Ok(masked)
}

/// The maps that were pinned: name, kind and sizes.
fn maps(directory: &str) -> Result<Vec<String>, String> {
    let entries = fs::read_dir(directory).map_err(|error| format!("{directory}: {error}"))?;
    let mut maps = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path().to_string_lossy().into_owned();
        let text = bpftool_runs(&["map", "show", "pinned", &path])?;
        let what = text.split_once(": ").map_or("", |(_, text)| text);
        let lines = what.lines().filter(|line| !line.contains("btf_id"));
        maps.push(lines.collect::<Vec<_>>().join("\n"));
    }
    maps.sort();
    Ok(maps)
}

/// Objects that ours and bpftool link are loaded by either: the same programs and maps.
fn linked() -> Outcome {
    let (files, pins) = (Files::new()?, Pins::new()?);
    pins.map("first", "array", [4, 4, 1], &[])?;
    let inputs = [files.object("one", ONE)?, files.object("other", OTHER)?];
    // Maps have names of the file's.
    let elsewhere = Files::new()?;
    let outputs = [files.path("linked.bpf.o"), elsewhere.path("linked.bpf.o")];
    run(&["gen", "object", &outputs[0], &inputs[0], &inputs[1]])?;
    bpftool_runs(&["gen", "object", &outputs[1], &inputs[0], &inputs[1]])?;
    let mut loaded = Vec::new();
    for (number, output) in outputs.iter().enumerate() {
        for (loader, load) in [("ours", run as fn(&[&str]) -> _), ("theirs", bpftool_runs)] {
            let place = |what: &str| pins.path(&format!("{what}{number}{loader}"));
            let (programs, kept) = (place("programs"), place("maps"));
            load(&["prog", "loadall", output, &programs, "pinmaps", &kept])?;
            let listings = ["first", "second"].map(|name| listing(&format!("{programs}/{name}")));
            let [first, second] = listings;
            loaded.push((format!("{output} by {loader}"), first?, second?, maps(&kept)?));
        }
    }
    let (of, first, second, maps) = &loaded[3];
    for (what, ours_first, ours_second, ours_maps) in &loaded[..3] {
        if (ours_first, ours_second) != (first, second) || ours_maps != maps {
            return Err(format!(
                "{what}:\n{ours_first}\n{ours_second}\n{ours_maps:#?}\n{of}:\n{first}\n{second}\n\
                 {maps:#?}"
            )
            .into());
        }
    }
    same_text(&["gen", "object", &outputs[0], "/nowhere"])?;
    Ok(())
}

const ITERATOR: &str = r#"
    struct bpf_iter_meta { void *seq; u64 session; u64 number; }
        __attribute__((preserve_access_index));
    struct bpf_iter__bpf_map_elem { struct bpf_iter_meta *meta; void *map; void *key; void *value; }
        __attribute__((preserve_access_index));
    SEC("iter/bpf_map_elem") int walk(struct bpf_iter__bpf_map_elem *ctx) {
        u32 *key = ctx->key;
        char text[] = "element 0\n";
        if (!key) return 0;
        text[8] += *key;
        seq_write(ctx->meta->seq, text, sizeof(text) - 1);
        return 0;
    }
"#;

/// Whoever reads the file gets what the program prints of the test's own map.
fn iterator() -> Outcome {
    let (files, pins) = (Files::new()?, Pins::new()?);
    let map = pins.map("walked", "array", [4, 4, 3], &[])?;
    let object = files.object("iterator", ITERATOR)?;
    let (ours, theirs) = (pins.path("iterator_ours"), pins.path("iterator_theirs"));
    run(&["iter", "pin", &object, &ours, "map", "pinned", &map])?;
    bpftool_runs(&["iter", "pin", &object, &theirs, "map", "pinned", &map])?;
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let (ours, theirs) = (read(&ours)?, read(&theirs)?);
    if ours != theirs || ours != "element 0\nelement 1\nelement 2\n" {
        return Err(format!("bombus: {ours}bpftool: {theirs}").into());
    }
    // By number, too.
    let id = run(&["map", "show", "pinned", &map])?;
    let id = id.split(':').next().unwrap_or_default();
    let again = pins.path("iterator_by_id");
    run(&["iter", "pin", &object, &again, "map", "id", id])?;
    match read(&again)? == theirs {
        true => Ok(()),
        false => Err("the map by its number is another".into()),
    }
}

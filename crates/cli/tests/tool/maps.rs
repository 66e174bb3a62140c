//! Maps of every kind that user space can make, and what is in them.

use crate::fixture::Pins;
use crate::oracle::{needs, run, same, same_text};
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[
    ("map::kinds", kinds),
    ("map::elements", elements),
    ("map::per_cpu", per_cpu),
    ("map::of_maps", of_maps),
    ("map::in_maps_of_maps", in_maps_of_maps),
    ("map::queues", queues),
    ("map::frozen", frozen),
];

/// Kind, bytes of key and value, entries, flags.
const KINDS: &[(&str, [u32; 3], u32)] = &[
    ("hash", [4, 8, 16], 0),
    ("hash", [20, 40, 16], 1),
    ("array", [4, 8, 3], 0),
    ("array", [4, 24, 2], 0),
    ("percpu_hash", [4, 8, 4], 0),
    ("percpu_array", [4, 4, 2], 0),
    ("lru_hash", [8, 8, 8], 0),
    ("lru_percpu_hash", [8, 20, 8], 0),
    ("lpm_trie", [8, 4, 8], 1),
    ("prog_array", [4, 4, 2], 0),
    ("perf_event_array", [4, 4, 2], 0),
    ("stack_trace", [4, 8, 2], 0),
    ("cgroup_array", [4, 4, 2], 0),
    ("devmap", [4, 4, 2], 0),
    ("devmap_hash", [4, 8, 2], 0),
    ("cpumap", [4, 4, 2], 0),
    ("sockmap", [4, 4, 2], 0),
    ("sockhash", [8, 4, 2], 0),
    ("xskmap", [4, 4, 2], 0),
    ("reuseport_sockarray", [4, 4, 2], 0),
    ("queue", [0, 4, 4], 0),
    ("stack", [0, 4, 4], 0),
    ("ringbuf", [0, 0, 4096], 0),
    ("user_ringbuf", [0, 0, 4096], 0),
    ("bloom_filter", [0, 4, 16], 0),
];

fn kinds() -> Outcome {
    let pins = Pins::new()?;
    let mut failures = Vec::new();
    for (number, &(kind, sizes, flags)) in KINDS.iter().enumerate() {
        let flags = flags.to_string();
        // Whoever else runs these tests has maps of such names, too.
        let name = format!("k{number}_{}", std::process::id());
        let path = pins.map(&name, kind, sizes, &["flags", &flags])?;
        failures.extend(same(&["map", "show", "pinned", &path]).err());
        failures.extend(same(&["map", "show", "pinned", &path, "-f"]).err());
        failures.extend(same(&["map", "dump", "pinned", &path]).err());
        failures.extend(same(&["map", "show", "name", &name]).err());
    }
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
}

fn elements() -> Outcome {
    let pins = Pins::new()?;
    let map = pins.map("elements", "hash", [4, 8, 8], &[])?;
    let update = ["map", "update", "pinned", &map];
    for (key, value) in [("1 0 0 0", "0x10 2 3 4 5 6 7 8"), ("hex ff 0 0 a", "hex 1 2 3 4 5 6 7 f")]
    {
        let words = key.split(' ').chain(["value"]).chain(value.split(' '));
        run(&update.into_iter().chain(["key"]).chain(words).collect::<Vec<_>>())?;
    }
    let of_map = |command, more: &str| {
        let words = ["map", command, "pinned", &map].into_iter().chain(more.split_whitespace());
        same(&words.collect::<Vec<_>>())
    };
    of_map("dump", "")?;
    of_map("lookup", "key 1 0 0 0")?;
    of_map("lookup", "key hex 1 0 0 0")?;
    of_map("lookup", "key 9 0 0 0")?;
    of_map("lookup", "key 9 0 0")?;
    of_map("lookup", "key 9 0 0 x")?;
    of_map("lookup", "")?;
    of_map("lookup", "value 1")?;
    of_map("getnext", "")?;
    of_map("getnext", "key 1 0 0 0")?;
    of_map("getnext", "key 255 0 0 10")?;
    of_map("update", "key 1 0 0 0 value 1 2 3 4 5 6 7 8 noexist")?;
    of_map("update", "key 7 0 0 0 value 1 2 3 4 5 6 7 8 exist")?;
    of_map("update", "key 1 0 0 0 value 1 2 3 4 5 6 7 9 any")?;
    of_map("update", "key 1 0 0 0")?;
    of_map("update", "key 1 0 0 0 key 1 0 0 0")?;
    of_map("update", "key 1 0 0 0 value 1 2 3 4 5 6 7 9 any any")?;
    of_map("update", "what")?;
    of_map("delete", "key 9 0 0 0")?;
    of_map("dump", "")?;
    run(&["map", "delete", "pinned", &map, "key", "1", "0", "0", "0"])?;
    of_map("dump", "")?;
    Ok(())
}

fn per_cpu() -> Outcome {
    let pins = Pins::new()?;
    for (name, value_size) in [("narrow", 4), ("wide", 20)] {
        let map = pins.map(name, "percpu_array", [4, value_size, 2], &[])?;
        let value: Vec<String> = (0..value_size).map(|byte| byte.to_string()).collect();
        let update = ["map", "update", "pinned", &map, "key", "1", "0", "0", "0", "value"];
        run(&update.into_iter().chain(value.iter().map(String::as_str)).collect::<Vec<_>>())?;
        same(&["map", "dump", "pinned", &map])?;
        same(&["map", "lookup", "pinned", &map, "key", "1", "0", "0", "0"])?;
    }
    Ok(())
}

fn of_maps() -> Outcome {
    let pins = Pins::new()?;
    let inner = pins.map("inner", "hash", [4, 4, 4], &[])?;
    for kind in ["array_of_maps", "hash_of_maps"] {
        let outer = pins.map(&kind[..7], kind, [4, 4, 3], &["inner_map", "pinned", &inner])?;
        let key = ["key", "1", "0", "0", "0"];
        let update = ["map", "update", "pinned", &outer];
        run(&[&update[..], &key, &["value", "pinned", &inner]].concat())?;
        same(&["map", "show", "pinned", &outer])?;
    }
    Ok(())
}

fn in_maps_of_maps() -> Outcome {
    needs(7, 3, "does not know what the values of maps of maps are")?;
    let pins = Pins::new()?;
    let inner = pins.map("inner", "hash", [4, 4, 4], &[])?;
    for kind in ["array_of_maps", "hash_of_maps"] {
        let outer = pins.map(&kind[..7], kind, [4, 4, 3], &["inner_map", "pinned", &inner])?;
        let key = ["key", "1", "0", "0", "0"];
        let update = ["map", "update", "pinned", &outer];
        run(&[&update[..], &key, &["value", "pinned", &inner]].concat())?;
        same(&["map", "dump", "pinned", &outer])?;
        same(&[&["map", "lookup", "pinned", &outer][..], &key].concat())?;
        same(&[&update[..], &key, &["value", "pinned"]].concat())?;
    }
    Ok(())
}

fn queues() -> Outcome {
    let pins = Pins::new()?;
    for (kind, push, pop) in [("queue", "enqueue", "dequeue"), ("stack", "push", "pop")] {
        let map = pins.map(kind, kind, [0, 4, 8], &[])?;
        same(&["map", "peek", "pinned", &map])?;
        same(&["map", pop, "pinned", &map])?;
        for value in ["1", "1", "2", "2"] {
            run(&["map", push, "pinned", &map, "value", value, "0", "0", "0"])?;
        }
        same(&["map", "peek", "pinned", &map])?;
        // Each takes one out: two that are the same.
        same_text(&["map", pop, "pinned", &map])?;
        same_text(&["map", pop, "pinned", &map])?;
        same(&["map", push, "pinned", &map, "key", "1"])?;
    }
    Ok(())
}

fn frozen() -> Outcome {
    let pins = Pins::new()?;
    let map = pins.map("frozen", "array", [4, 4, 1], &[])?;
    run(&["map", "freeze", "pinned", &map])?;
    same(&["map", "show", "pinned", &map])?;
    same(&["map", "freeze", "pinned", &map])?;
    same(&[
        "map", "update", "pinned", &map, "key", "0", "0", "0", "0", "value", "1", "0", "0", "0",
    ])?;
    Ok(())
}

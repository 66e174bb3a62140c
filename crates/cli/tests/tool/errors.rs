//! What both say when they are asked for nonsense.

use crate::oracle::{needs, same};
use crate::{Outcome, Test};

pub(crate) const TESTS: &[Test] = &[("errors", errors), ("errors::newer", newer)];

/// Command lines that cannot work.
const NONSENSE: &[&str] = &[
    "prog show id 4000000000",
    "prog show id x",
    "prog show what 1",
    "prog show one",
    "prog show tag zz",
    "prog show tag 0000000000000000",
    "prog show name nobody_has_this_name",
    "prog show pinned /nowhere",
    "prog dump what id 1",
    "prog dump xlated id 4000000000",
    "prog pin id 4000000000 /nowhere/at/all",
    "prog pin id",
    "map show id 4000000000",
    "map show id x",
    "map show what 1",
    "map show name a_name_that_is_too_long",
    "map dump id 4000000000",
    "map lookup id 4000000000 key 1",
    "map create /nowhere type hash",
    "map create /nowhere type what key 4 value 4 entries 1 name x",
    "map create /nowhere type hash key 4 value 4 entries 1 entries 1 name x",
    "map create /nowhere type hash key x value 4 entries 1 name x",
    "map create /nowhere type hash key 4 value 4 entries 1 what x",
    "map freeze id",
    "link show what 1",
    "link show x",
];

/// Those of which older versions say something else, or which they do not know.
const NEWER: &[&str] = &[
    "link show id 4000000000",
    "link detach id 4000000000",
    "map create /nowhere/x type hash key 4 value 4 entries 1 name x",
    "net attach xdp id 1",
    "net attach what id 1 dev lo",
    "net attach tcx_ingress id 4000000000 dev lo",
    "net detach xdp",
    "net detach what dev lo",
    "net detach xdp dev no_such_device",
    "net detach xdp what lo",
    "struct_ops show id 0",
    "struct_ops show id x",
    "struct_ops show id 4000000000",
    "struct_ops show name nobody_has_this",
    "struct_ops dump name nobody_has_this",
    "struct_ops unregister name nobody_has_this",
    "struct_ops unregister id 4000000000",
    "token list what",
    "feature probe dev",
    "feature probe dev no_such_device",
    "feature probe dev lo kernel",
    "map event_pipe id 4000000000",
    "batch file /nowhere",
];

fn errors() -> Outcome {
    all(NONSENSE)
}

fn newer() -> Outcome {
    needs(7, 8, "says something else, or knows no such thing")?;
    all(NEWER)
}

fn all(lines: &[&str]) -> Outcome {
    let failures = lines.iter().filter_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        same(&words).err()
    });
    let failures: Vec<String> = failures.collect();
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n").into()) }
}

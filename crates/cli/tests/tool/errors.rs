//! What both say when they are asked for nonsense.

use crate::Test;
use crate::oracle::{same, since};

pub(crate) const TESTS: &[Test] = &[("errors", errors)];

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
    "map create /nowhere/x type hash key 4 value 4 entries 1 name x",
    "map create /nowhere type hash key x value 4 entries 1 name x",
    "map create /nowhere type hash key 4 value 4 entries 1 what x",
    "map freeze id",
    "link show id 4000000000",
    "link show what 1",
    "link show x",
    "link detach id 4000000000",
];

/// Those of which older versions say something else.
const NEWER: &[&str] = &[
    "link show id 4000000000",
    "link detach id 4000000000",
    "map create /nowhere/x type hash key 4 value 4 entries 1 name x",
];

fn errors() -> Result<(), String> {
    let known = |line: &&&str| since(7, 8) || !NEWER.contains(line);
    let failures = NONSENSE.iter().filter(known).filter_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        same(&words).err()
    });
    let failures: Vec<String> = failures.collect();
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

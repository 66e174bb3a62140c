//! Type information: `btf show`.

use bombus_kernel::inspect::BtfInfo;
use serde_json::{Map, Value};

use crate::Extras;

/// What uses a BTF object.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Users<'a> {
    /// Ids of programs.
    pub programs: &'a [u32],
    /// Ids of maps.
    pub maps: &'a [u32],
}

/// The text form.
pub fn text(info: &BtfInfo, users: Users<'_>, extras: &Extras) -> String {
    let name = match (info.kernel, info.name.as_str()) {
        (true, name) => format!("[{name}]"),
        (false, "") => "<anon>".to_owned(),
        (false, name) => name.to_owned(),
    };
    let list = |what: &str, ids: &[u32]| {
        let numbers: Vec<String> = ids.iter().map(u32::to_string).collect();
        if ids.is_empty() { String::new() } else { format!("  {what} {}", numbers.join(",")) }
    };
    format!(
        "{}: name {name}  size {}B{}{}{}\n",
        info.id,
        info.size,
        list("prog_ids", users.programs),
        list("map_ids", users.maps),
        extras.holders_text()
    )
}

/// The JSON form.
pub fn json(info: &BtfInfo, users: Users<'_>, extras: &Extras) -> Value {
    let mut object = Map::new();
    object.insert("id".into(), info.id.into());
    object.insert("size".into(), info.size.into());
    object.insert("prog_ids".into(), users.programs.into());
    object.insert("map_ids".into(), users.maps.into());
    extras.add_to(&mut object);
    object.insert("kernel".into(), info.kernel.into());
    if !info.name.is_empty() {
        object.insert("name".into(), info.name.clone().into());
    }
    object.into()
}

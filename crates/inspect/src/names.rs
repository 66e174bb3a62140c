//! Names of types, and what stands for them when there is none.

use bombus_platform::{AttachType, LinkType, MapType, ProgType};
use serde_json::Value;

/// The name of a program type.
pub fn program_type(number: u32) -> Option<&'static str> {
    // Type 0 is what the kernel calls unspecified.
    if number == 0 { Some("unspec") } else { ProgType::from_number(number).map(ProgType::name) }
}

/// The name of a map type.
pub fn map_type(number: u32) -> Option<&'static str> {
    if number == 0 { Some("unspec") } else { MapType::from_number(number).map(MapType::name) }
}

/// The name of a link type.
pub fn link_type(number: u32) -> Option<&'static str> {
    if number == 0 { Some("unspec") } else { LinkType::from_number(number).map(LinkType::name) }
}

/// The name of an attach type.
pub fn attach_type(number: u32) -> Option<&'static str> {
    AttachType::from_number(number).map(AttachType::name)
}

/// A name, or the number in its place.
pub(crate) fn named(name: Option<&'static str>, number: u32) -> Value {
    name.map_or(Value::from(number), Value::from)
}

/// A name, or with `before` the number in its place.
pub(crate) fn named_text(name: Option<&'static str>, before: &str, number: u32) -> String {
    name.map_or_else(|| format!("{before}{number}"), str::to_owned)
}

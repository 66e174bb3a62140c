//! Elements of maps: `map dump` and `map lookup`.

use bombus_btf::Btf;
use bombus_kernel::inspect::MapInfo;
use bombus_platform::MapType;
use serde_json::{Value, json};

use crate::notation::Node;
use crate::value::Style;
use crate::{hex, hex_json};

/// `ENOENT` and `ENOSPC`, which the kernel says for an element that it cannot show.
const ENOENT: i32 = 2;
const ENOSPC: i32 = 28;

/// What an element's bytes mean, by the map's types.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Meaning {
    /// The key, where its type is known.
    pub key: Option<Node>,
    /// The value; on per-CPU maps each CPU's.
    pub values: Vec<Node>,
}

impl Meaning {
    /// By the types of an element's bytes; `btf` has those of the map.
    pub fn new(btf: &Btf, info: &MapInfo, key: &[u8], bytes: &[u8], style: Style) -> Meaning {
        let value_type = match info.kernel_value_type {
            0 => info.value_type,
            id => id,
        };
        let of_type = |id: u32, data: &[u8]| crate::value::value(btf, id, data, style);
        Meaning {
            key: (info.key_type != 0).then(|| of_type(info.key_type, key)),
            values: values(info, bytes)
                .into_iter()
                .map(|value| of_type(value_type, value))
                .collect(),
        }
    }

    /// As one object.
    pub fn node(self, info: &MapInfo) -> Node {
        let mut fields = Vec::new();
        fields.extend(self.key.map(|key| ("key".to_owned(), key)));
        if info.is_per_cpu() {
            let of_cpu = |(cpu, value): (usize, Node)| {
                let cpu = Node::Raw(cpu.to_string());
                Node::Object(vec![("cpu".to_owned(), cpu), ("value".to_owned(), value)])
            };
            let values = self.values.into_iter().enumerate().map(of_cpu).collect();
            fields.push(("values".to_owned(), Node::List(values)));
        } else {
            fields.extend(self.values.into_iter().next().map(|value| ("value".to_owned(), value)));
        }
        Node::Object(fields)
    }
}

fn is_map_of_maps(info: &MapInfo) -> bool {
    matches!(info.map_type(), Some(MapType::ArrayOfMaps | MapType::HashOfMaps))
}

/// The values of the CPUs, one after the other.
pub fn values<'a>(info: &MapInfo, value: &'a [u8]) -> Vec<&'a [u8]> {
    let size = info.value_size as usize;
    if !info.is_per_cpu() {
        return vec![value];
    }
    let each = value.chunks(size.next_multiple_of(8).max(1));
    each.map(|value| value.get(..size).unwrap_or(value)).collect()
}

fn inner_id(value: &[u8]) -> u32 {
    value.first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

/// The text form of an element.
pub fn text(info: &MapInfo, key: &[u8], value: &[u8]) -> String {
    let mut text = String::new();
    let gap = |wide: bool| if wide { '\n' } else { ' ' };
    if info.is_per_cpu() {
        if !key.is_empty() {
            text += &format!("key:\n{}\n", hex(key, " "));
        }
        for (cpu, value) in values(info, value).into_iter().enumerate() {
            let gap = gap(info.value_size > 16);
            text += &format!("value (CPU {cpu:02}):{gap}{}\n", hex(value, " "));
        }
        return text;
    }
    let wide = info.key_size > 16 || info.value_size > 16;
    let one_line = info.key_size + info.value_size <= 24 && !wide;
    if !key.is_empty() {
        let end = if one_line { "  " } else { "\n" };
        text += &format!("key:{}{}{end}", gap(wide), hex(key, " "));
    }
    if !value.is_empty() {
        text += &match is_map_of_maps(info) {
            true => format!("inner_map_id:{}{} ", gap(wide), inner_id(value)),
            false => format!("value:{}{}", gap(wide), hex(value, " ")),
        };
    }
    text + "\n"
}

/// The JSON form of an element.
pub fn json(info: &MapInfo, key: &[u8], value: &[u8], meaning: Option<Meaning>) -> Value {
    let mut element = json!({ "key": hex_json(key) });
    if info.is_per_cpu() {
        let each = values(info, value).into_iter().enumerate();
        element["values"] =
            each.map(|(cpu, value)| json!({ "cpu": cpu, "value": hex_json(value) })).collect();
    } else {
        element["value"] = hex_json(value);
        if is_map_of_maps(info) {
            element["inner_map_id"] = inner_id(value).into();
        }
    }
    if let Some(meaning) = meaning {
        element["formatted"] = meaning.node(info).to_json();
    }
    element
}

/// Whether an element that cannot be looked up is simply not there.
fn is_hole(info: &MapInfo, errno: i32) -> bool {
    let of_objects = is_map_of_maps(info) || info.map_type() == Some(MapType::ProgArray);
    of_objects && errno == ENOENT
}

/// The text form of an element that could not be looked up; `reason` is what the number means.
pub fn error_text(info: &MapInfo, key: &[u8], errno: i32, reason: &str) -> String {
    if is_hole(info, errno) {
        return String::new();
    }
    let reason = match errno {
        ENOENT => "<no entry>",
        ENOSPC if info.map_type() == Some(MapType::ReuseportSockarray) => "<cannot read>",
        _ => reason,
    };
    let wide = info.key_size > 16 || reason.len() > 16;
    let one_line = info.key_size as usize + reason.len() <= 24 && !wide;
    let gap = if wide { '\n' } else { ' ' };
    let end = if one_line { "  " } else { "\n" };
    format!("key:{gap}{}{end}value:{gap}{reason}\n", hex(key, " "))
}

/// The JSON form of an element that could not be looked up.
pub fn error_json(info: &MapInfo, key: &[u8], errno: i32, reason: &str) -> Option<Value> {
    let error = json!({ "key": hex_json(key), "value": { "error": reason } });
    (!is_hole(info, errno)).then_some(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(map_type: MapType, key_size: u32, value_size: u32) -> MapInfo {
        MapInfo { map_type: map_type as u32, key_size, value_size, ..MapInfo::default() }
    }

    #[test]
    fn what_fits_a_line_stands_on_one() {
        let small = info(MapType::Hash, 4, 8);
        assert_eq!(
            text(&small, &[1, 0, 0, 0], &[2; 8]),
            "key: 01 00 00 00  value: 02 02 02 02 02 02 02 02\n"
        );
        let long = info(MapType::Hash, 16, 16);
        assert!(text(&long, &[1; 16], &[2; 16]).contains("01\nvalue: 02"));
        let wide = info(MapType::Hash, 4, 17);
        assert!(text(&wide, &[1; 4], &[2; 17]).starts_with("key:\n01 01 01 01\nvalue:\n02"));
    }

    #[test]
    fn every_cpu_has_a_value() {
        let info = info(MapType::PercpuArray, 4, 4);
        let value = [1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(
            text(&info, &[0; 4], &value),
            "key:\n00 00 00 00\nvalue (CPU 00): 01 00 00 00\nvalue (CPU 01): 02 00 00 00\n"
        );
        assert_eq!(json(&info, &[0; 4], &value, None)["values"][1]["value"][0], "0x02");
    }

    #[test]
    fn elements_that_are_not_there() {
        let plain = info(MapType::PerfEventArray, 4, 4);
        assert_eq!(
            error_text(&plain, &[0; 4], ENOENT, "No such file or directory"),
            "key: 00 00 00 00  value: <no entry>\n"
        );
        assert_eq!(
            error_text(&plain, &[0; 4], 95, "Operation not supported"),
            "key:\n00 00 00 00\nvalue:\nOperation not supported\n"
        );
        let table = info(MapType::ProgArray, 4, 4);
        assert_eq!(error_text(&table, &[0; 4], ENOENT, ""), "");
        assert_eq!(error_json(&table, &[0; 4], ENOENT, ""), None);
    }
}

//! What is in maps: `bombus map dump|lookup|update|...`.

use bombus_btf::Btf;
use bombus_inspect::elements::{self, Meaning};
use bombus_inspect::notation::Node;
use bombus_inspect::value::Style;
use bombus_inspect::{hex, hex_json, map};
use bombus_kernel::UpdateFlag;
use bombus_kernel::inspect::{Inspect, MapInfo, NewValue, Which};
use bombus_platform::MapType;
use serde_json::{Value, json};

use super::Tool;
use super::output::{Failed, Output, because, because_of, meaning};
use super::words::{Words, number};

/// A map, and what it is.
fn map_and_info(tool: &Tool, words: &mut Words) -> Result<(Which, MapInfo), Failed> {
    words.at_least(2)?;
    let which = tool.map(words)?;
    let info = tool.linux.map_info(&which).map_err(because("can't get map info"))?;
    Ok((which, info))
}

impl Tool {
    /// The types of a map's elements, where it has some.
    fn types_of(&self, info: &MapInfo) -> Result<Option<Btf>, Failed> {
        let types = match info {
            MapInfo { kernel_value_type: 1.., .. } => self.kernel_types(),
            MapInfo { value_type: 1.., .. } => self.types(info.btf_id),
            _ => return Ok(None),
        };
        types.map(Some).ok_or_else(|| Failed::new("failed to get btf"))
    }
}

pub(super) fn dump(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    words.at_least(2)?;
    let maps = tool.maps(&mut words)?;
    words.end()?;
    let several = maps.len() > 1;
    let (mut texts, mut values) = (Vec::new(), Vec::new());
    // Elements are shown by their types when all maps have some.
    let typed = |which| tool.linux.map_info(which).is_ok_and(|info| info.btf_id != 0);
    let formatted = maps.iter().all(typed);
    let mut typed = Vec::new();
    for which in &maps {
        let info = tool.linux.map_info(which).map_err(because("can't get map info"))?;
        if info.map_type() == Some(MapType::ReuseportSockarray) && info.value_size != 8 {
            tool.say(
                "Warning: cannot read values from reuseport_sockarray map with value_size != 8",
            );
        }
        let types = tool.types_of(&info)?;
        let (mut text, mut list, mut count) = (String::new(), Vec::new(), 0);
        let mut nodes = Vec::new();
        let outcome =
            tool.linux.elements(which, &mut |key, value| match (value, tool.options.json) {
                (Ok(value), true) => {
                    let meaning = meaning_of(&info, types.as_ref(), key, &value, Style::Json);
                    list.push(elements::json(&info, key, &value, meaning));
                }
                (Ok(value), false) if formatted => {
                    let meaning = meaning_of(&info, types.as_ref(), key, &value, Style::Plain);
                    nodes.extend(meaning.map(|meaning| meaning.node(&info)));
                }
                (Ok(value), false) => {
                    count += 1;
                    text += &elements::text(&info, key, &value);
                }
                (Err(errno), true) => {
                    list.extend(elements::error_json(&info, key, errno, &meaning(errno)));
                }
                (Err(errno), false) => {
                    text += &elements::error_text(&info, key, errno, &meaning(errno));
                }
            });
        if formatted {
            typed.push((info.clone(), Node::List(nodes)));
        }
        let plural = if count == 1 { "" } else { "s" };
        text += &format!("Found {count} element{plural}\n");
        if several {
            text = map::header_text(&info, tool.device_of(info.device).as_deref()) + &text;
            let mut object = map::header_json(&info);
            object.insert("elements".into(), list.into());
            values.push(object.into());
        } else {
            values.push(list.into());
        }
        texts.push(text);
        if let Err(error) = outcome {
            // bpftool prints what there is, and says no more.
            let before = match tool.options.json {
                true => values.pop().unwrap_or(Value::Null),
                false => texts.join("\n").into(),
            };
            let errno = error.errno().unwrap_or(1);
            return Err(Failed::silent(Some(before)).with_errno(errno));
        }
    }
    let json = || if several { values.into() } else { values.remove(0) };
    let text = || if formatted { typed_text(typed) } else { texts.join("\n") };
    Ok(tool.either(text, json))
}

/// The elements of maps with types.
fn typed_text(mut maps: Vec<(MapInfo, Node)>) -> String {
    let node = match maps.len() {
        1 => maps.remove(0).1,
        _ => Node::List(
            maps.into_iter()
                .map(|(info, elements)| {
                    let header = Node::from(&Value::Object(map::header_json(&info)));
                    let Node::Object(mut fields) = header else { return elements };
                    fields.push(("elements".to_owned(), elements));
                    Node::Object(fields)
                })
                .collect(),
        ),
    };
    node.pretty() + "\n"
}

fn meaning_of(
    info: &MapInfo,
    types: Option<&Btf>,
    key: &[u8],
    value: &[u8],
    style: Style,
) -> Option<Meaning> {
    types.map(|btf| Meaning::new(btf, info, key, value, style))
}

/// The words after a map: key, value and flag, in any order.
#[derive(Default)]
struct Element {
    key: Option<Vec<u8>>,
    value: Option<NewValue>,
    flag: Option<UpdateFlag>,
}

impl Element {
    /// `value`: whether one is wanted.
    fn parse(
        tool: &Tool,
        words: &mut Words,
        info: &MapInfo,
        wants_value: bool,
    ) -> Result<Element, Failed> {
        let mut element = Element::default();
        let (wants_key, wants_value) = (info.key_size != 0, wants_value && info.value_size != 0);
        let is_flag = |words: &Words| ["any", "noexist", "exist"].iter().any(|flag| words.is(flag));
        while !words.is_empty() {
            if words.take("key") {
                if !wants_key || element.key.is_some() {
                    return Err(Failed::new(match wants_key {
                        true => "duplicate key",
                        false => "unnecessary key",
                    }));
                }
                element.key = Some(bytes(words, "key", info.key_size)?);
            } else if words.take("value") {
                if !wants_value || element.value.is_some() {
                    return Err(Failed::new(match wants_value {
                        true => "duplicate value",
                        false => "unnecessary value",
                    }));
                }
                element.value = Some(value(tool, words, info)?);
            } else if is_flag(words) {
                let word = words.next().unwrap_or_default();
                if element.flag.is_some() {
                    return Err(Failed::new(format!("flags specified multiple times: {word}")));
                }
                element.flag = Some(match word {
                    word if "any".starts_with(&word) => UpdateFlag::Any,
                    word if "noexist".starts_with(&word) => UpdateFlag::NoExist,
                    _ => UpdateFlag::Exist,
                });
            } else {
                let word = words.next().unwrap_or_default();
                return Err(Failed::new(format!("expected key or value, got: {word}")));
            }
        }
        if wants_key && element.key.is_none() {
            return Err(Failed::new("did not find key"));
        }
        if wants_value && element.value.is_none() {
            return Err(Failed::new("did not find value"));
        }
        Ok(element)
    }

    fn key(&self) -> &[u8] {
        self.key.as_deref().unwrap_or_default()
    }
}

/// `[hex] 1 2 3`: each a byte, in C's notation unless `hex` says otherwise.
fn bytes(words: &mut Words, name: &str, count: u32) -> Result<Vec<u8>, Failed> {
    let hexadecimal = words.take("hex");
    let mut bytes = Vec::new();
    while bytes.len() < count as usize {
        let Some(word) = words.next() else {
            let got = bytes.len();
            return Err(Failed::new(format!("{name} expected {count} bytes got {got}")));
        };
        let value = match hexadecimal {
            true => u64::from_str_radix(word.trim_start_matches("0x"), 16).ok(),
            false => number(&word),
        };
        bytes.push(value.ok_or_else(|| Failed::new(format!("error parsing byte: {word}")))? as u8);
    }
    Ok(bytes)
}

fn value(tool: &Tool, words: &mut Words, info: &MapInfo) -> Result<NewValue, Failed> {
    match info.map_type() {
        Some(MapType::ArrayOfMaps | MapType::HashOfMaps) => {
            if info.value_size != 4 {
                return Err(Failed::new("value smaller than 4B for map in map?"));
            }
            if words.len() < 2 {
                return Err(Failed::new("not enough value arguments for map in map"));
            }
            Ok(NewValue::Map(tool.map(words)?))
        }
        Some(MapType::ProgArray) => {
            if info.value_size != 4 {
                return Err(Failed::new("value smaller than 4B for map of progs?"));
            }
            if words.len() < 2 {
                return Err(Failed::new("not enough value arguments for map of progs"));
            }
            if words.is("id") {
                tool.say(
                    "Warning: updating program array via MAP_ID, make sure this map is kept open\n         \
                     by some process or pinned otherwise update will be lost",
                );
            }
            Ok(NewValue::Program(tool.program(words)?))
        }
        _ => {
            let value = bytes(words, "value", info.value_size)?;
            if !info.is_per_cpu() {
                return Ok(NewValue::Bytes(value));
            }
            // Every CPU gets the same.
            let mut padded = value;
            padded.resize(padded.len().next_multiple_of(8), 0);
            Ok(NewValue::Bytes(padded.repeat(tool.cpus())))
        }
    }
}

pub(super) fn update(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    let (which, info) = map_and_info(tool, &mut words)?;
    let element = Element::parse(tool, &mut words, &info, true)?;
    let value = element.value.clone().unwrap_or(NewValue::Bytes(Vec::new()));
    let flag = element.flag.unwrap_or(UpdateFlag::Any);
    tool.linux
        .set_element(&which, element.key(), &value, flag)
        .map_err(because_of("update failed"))?;
    Ok(Output::Nothing)
}

/// An element that is not there.
fn missing(tool: &Tool, text: String) -> Failed {
    let said = if tool.options.json { Value::Null } else { text.into() };
    Failed::silent(Some(said)).with_errno(libc::ENOENT)
}

/// An element that was found.
fn found(tool: &Tool, info: &MapInfo, key: &[u8], value: &[u8]) -> Result<Output, Failed> {
    let types = tool.types_of(info)?;
    let meaning = |style| meaning_of(info, types.as_ref(), key, value, style);
    let text = || match meaning(Style::Plain) {
        Some(meaning) => meaning.node(info).pretty() + "\n",
        None => elements::text(info, key, value),
    };
    Ok(tool.either(text, || elements::json(info, key, value, meaning(Style::Json))))
}

pub(super) fn lookup(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    let (which, info) = map_and_info(tool, &mut words)?;
    let element = Element::parse(tool, &mut words, &info, false)?;
    let value = tool.linux.element(&which, element.key()).map_err(because_of("lookup failed"))?;
    match value {
        Some(value) => found(tool, &info, element.key(), &value),
        None => Err(missing(tool, format!("key:\n{}\n\nNot found\n", hex(element.key(), " ")))),
    }
}

pub(super) fn take(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    let (which, info) = map_and_info(tool, &mut words)?;
    let key = vec![0; info.key_size as usize];
    match tool.linux.take_element(&which, &key).map_err(because_of("pop failed"))? {
        Some(value) => found(tool, &info, &key, &value),
        None => Err(missing(tool, "Error: empty map\n".to_owned())),
    }
}

pub(super) fn next(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    let (which, info) = map_and_info(tool, &mut words)?;
    let key = match words.is_empty() {
        true => None,
        false => Element::parse(tool, &mut words, &info, false)?.key,
    };
    let next = tool.linux.key_after(&which, key.as_deref());
    let next = next.map_err(because_of("can't get next key"))?.ok_or_else(|| {
        let message = format!("can't get next key: {}", meaning(libc::ENOENT));
        Failed::new(message).with_errno(libc::ENOENT)
    })?;
    let text = || {
        let key = key
            .as_deref()
            .map_or("key: None\n".to_owned(), |key| format!("key:\n{}\n", hex(key, " ")));
        format!("{key}next key:\n{}\n", hex(&next, " "))
    };
    let json = || {
        let key = key.as_deref().map_or(Value::Null, hex_json);
        json!({ "key": key, "next_key": hex_json(&next) })
    };
    Ok(tool.either(text, json))
}

pub(super) fn delete(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    let (which, info) = map_and_info(tool, &mut words)?;
    let element = Element::parse(tool, &mut words, &info, false)?;
    tool.linux.remove_element(&which, element.key()).map_err(because_of("delete failed"))?;
    Ok(Output::Nothing)
}

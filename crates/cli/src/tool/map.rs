//! `bombus map`: the maps themselves. What is in them is in [`super::element`].

use bombus_inspect::{Extras, map};
use bombus_kernel::inspect::{Inspect, MapInfo, NewMap, ObjectKind, Which};
use bombus_platform::MapType;
use serde_json::Value;

use super::Tool;
use super::element;
use super::events;
use super::objects::Known;
use super::output::{Failed, Output, because, because_of};
use super::words::{Words, number};

pub(super) fn run(tool: &Tool, command: &str, words: Words) -> Result<Output, Failed> {
    match command {
        "show" => show(tool, words),
        "dump" => element::dump(tool, words),
        "update" | "push" | "enqueue" => element::update(tool, words),
        "lookup" | "peek" => element::lookup(tool, words),
        "pop" | "dequeue" => element::take(tool, words),
        "getnext" => element::next(tool, words),
        "delete" => element::delete(tool, words),
        "pin" => pin(tool, words),
        "create" => create(tool, words),
        "freeze" => freeze(tool, words),
        "event_pipe" => events::pipe(tool, words),
        _ => Err(Failed::new(format!("there is no command map {command}"))),
    }
}

fn show(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    let known = Known::new(tool, ObjectKind::Map);
    let one = words.len() == 2;
    let maps = if one {
        tool.maps(&mut words)?
    } else {
        words.end()?;
        let ids = tool.linux.object_ids(ObjectKind::Map);
        ids.map_err(because("can't get next map"))?.into_iter().map(Which::Id).collect()
    };
    let mut shown: Vec<(MapInfo, Option<String>, Extras)> = Vec::new();
    for which in &maps {
        match tool.linux.map_info(which) {
            Ok(info) => {
                let (device, extras) = (tool.device_of(info.device), known.of(info.id));
                shown.push((info, device, extras));
            }
            Err(error) if !one && error.errno() == Some(libc::ENOENT) => {}
            Err(error) => return Err(because("can't get map info")(error)),
        }
    }
    let text = || {
        let each = shown.iter();
        each.map(|(info, device, extras)| map::text(info, device.as_deref(), extras)).collect()
    };
    let json = || {
        let each = shown.iter();
        let mut values: Vec<Value> =
            each.map(|(info, device, extras)| map::json(info, device.as_deref(), extras)).collect();
        if one && values.len() == 1 { values.remove(0) } else { values.into() }
    };
    Ok(tool.either(text, json))
}

fn pin(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    words.at_least(3).map_err(|failed| failed.with_errno(libc::EINVAL))?;
    let which = tool.map(&mut words)?;
    let path = words.path("file path")?;
    tool.pin_to(&path, || tool.linux.pin_object(ObjectKind::Map, &which, &path))?;
    Ok(Output::Nothing)
}

fn freeze(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    words.at_least(2)?;
    let which = tool.map(&mut words)?;
    words.end()?;
    tool.linux.freeze(&which).map_err(because_of("failed to freeze map"))?;
    Ok(Output::Nothing)
}

fn map_type(name: &str) -> Option<u32> {
    MapType::ALL.iter().find(|each| each.name() == name).map(|each| *each as u32)
}

fn create(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    words.at_least(7)?;
    let path = words.path("file path")?;
    let mut map = NewMap::default();
    let mut named = false;
    while !words.is_empty() {
        words.at_least(2)?;
        if words.take("type") {
            if map.map_type != 0 {
                return Err(Failed::new("map type already specified"));
            }
            let name = words.expect("map type")?;
            map.map_type = map_type(&name)
                .ok_or_else(|| Failed::new(format!("unrecognized map type: {name}")))?;
        } else if words.take("name") {
            map.name = words.expect("map name")?;
            named = true;
            if map.name.len() > 15 {
                tool.say("Warning: map name is longer than 15 characters, it will be truncated.");
            }
        } else if words.take("key") {
            once(&mut words, &mut map.key_size, "key size")?;
        } else if words.take("value") {
            once(&mut words, &mut map.value_size, "value size")?;
        } else if words.take("entries") {
            once(&mut words, &mut map.max_entries, "max entries")?;
        } else if words.take("flags") {
            once(&mut words, &mut map.flags, "flags")?;
        } else if words.take("dev") || words.take("offload_dev") {
            let name = words.expect("device")?;
            let file = format!("/sys/class/net/{name}/ifindex");
            let index =
                std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok());
            map.ifindex = index.ok_or_else(|| {
                Failed::new(format!("unrecognized netdevice '{name}': No such device"))
            })?;
        } else if words.take("inner_map") {
            words.at_least(2)?;
            map.inner = Some(tool.map(&mut words)?);
        } else {
            let word = words.next().unwrap_or_default();
            return Err(Failed::new(format!("unknown arg {word}")));
        }
    }
    if !named {
        return Err(Failed::new("map name not specified"));
    }
    tool.mount_for(&path)?;
    tool.linux.create_map(&map, &path).map_err(because("map create failed"))?;
    Ok(Output::Nothing)
}

fn once(words: &mut Words, value: &mut u32, what: &str) -> Result<(), Failed> {
    if *value != 0 {
        return Err(Failed::new(format!("{what} already specified")));
    }
    let word = words.next().unwrap_or_default();
    let parsed = number(&word);
    *value = parsed.ok_or_else(|| Failed::new(format!("can't parse {word} as {what}")))? as u32;
    Ok(())
}

//! Maps: `map show`.

use bombus_kernel::inspect::MapInfo;
use bombus_platform::MapType;
use serde_json::{Map, Value};

use crate::Extras;
use crate::names::{map_type, named, named_text, program_type};
use crate::program::{add_device, device_text};

/// The first line of the text form.
pub fn header_text(info: &MapInfo, device: Option<&str>) -> String {
    let mut text =
        format!("{}: {}  ", info.id, named_text(map_type(info.map_type), "type ", info.map_type));
    if !info.name.is_empty() {
        text += &format!("name {}  ", info.name);
    }
    text + &format!("flags {:#x}", info.flags) + &device_text(info.device, device) + "\n"
}

/// All lines of the text form. `device` is the name of the device that it is offloaded to.
pub fn text(info: &MapInfo, device: Option<&str>, extras: &Extras) -> String {
    let mut text = header_text(info, device);
    text += &format!(
        "\tkey {}B  value {}B  max_entries {}",
        info.key_size, info.value_size, info.max_entries
    );
    if let Some(memlock) = info.memlock {
        text += &format!("  memlock {memlock}B");
    }
    if info.map_type() == Some(MapType::ProgArray) {
        if info.owner_prog_type.is_some() || info.owner_jited.is_some() {
            text += "\n\t";
        }
        if let Some(owner) = info.owner_prog_type {
            text += &format!("owner_prog_type {}  ", named_text(program_type(owner), "", owner));
        }
        if let Some(jited) = info.owner_jited {
            text += if jited { "owner jited" } else { "owner not jited" };
        }
    }
    text += &extras.pins_text();
    if info.btf_id != 0 || info.frozen {
        text += "\n\t";
    }
    if info.btf_id != 0 {
        text += &format!("btf_id {}", info.btf_id);
    }
    if info.frozen {
        text += if info.btf_id != 0 { "  frozen" } else { "frozen" };
    }
    text + &extras.holders_text() + "\n"
}

/// The fields of the JSON form that stand before its elements, too.
pub fn header_json(info: &MapInfo) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("id".into(), info.id.into());
    object.insert("type".into(), named(map_type(info.map_type), info.map_type));
    if !info.name.is_empty() {
        object.insert("name".into(), info.name.clone().into());
    }
    object.insert("flags".into(), info.flags.into());
    object
}

/// The JSON form.
pub fn json(info: &MapInfo, device: Option<&str>, extras: &Extras) -> Value {
    let mut object = header_json(info);
    add_device(&mut object, info.device, device);
    object.insert("bytes_key".into(), info.key_size.into());
    object.insert("bytes_value".into(), info.value_size.into());
    object.insert("max_entries".into(), info.max_entries.into());
    if let Some(memlock) = info.memlock {
        object.insert("bytes_memlock".into(), memlock.into());
    }
    if info.map_type() == Some(MapType::ProgArray) {
        if let Some(owner) = info.owner_prog_type {
            object.insert("owner_prog_type".into(), named(program_type(owner), owner));
        }
        if let Some(jited) = info.owner_jited {
            object.insert("owner_jited".into(), jited.into());
        }
    }
    object.insert("frozen".into(), u8::from(info.frozen).into());
    if info.btf_id != 0 {
        object.insert("btf_id".into(), info.btf_id.into());
    }
    extras.add_to(&mut object);
    object.into()
}

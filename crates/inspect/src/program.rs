//! Programs: `prog show`.

use bombus_kernel::inspect::{Device, Moment, ProgramInfo};
use serde_json::{Map, Value, json};

use crate::names::{named, named_text, program_type};
use crate::{Extras, hex};

/// A program as it is listed.
#[derive(Clone, Debug)]
pub struct Program<'a> {
    /// What the kernel says.
    pub info: &'a ProgramInfo,
    /// Its name, whole: the kernel has 15 characters of it, its types have all.
    pub name: &'a str,
    /// The name of the device that it is offloaded to, when it is in the asker's namespace.
    pub device: Option<&'a str>,
    /// What its `bpf_metadata_` variables say, as text and as JSON.
    pub metadata: &'a [(String, String, Value)],
    /// Pins and holders.
    pub extras: &'a Extras,
}

/// The first line of the text form.
pub fn header_text(program: &Program<'_>) -> String {
    let info = program.info;
    let mut text = format!(
        "{}: {}  ",
        info.id,
        named_text(program_type(info.prog_type), "type ", info.prog_type)
    );
    if !program.name.is_empty() {
        text += &format!("name {}  ", program.name);
    }
    text += &format!("tag {}", hex(&info.tag, ""));
    text += &device_text(info.device, program.device);
    if info.gpl_compatible {
        text += "  gpl";
    }
    if info.run_time_ns != 0 {
        text += &format!(" run_time_ns {} run_cnt {}", info.run_time_ns, info.run_count);
    }
    if info.recursion_misses != 0 {
        text += &format!(" recursion_misses {}", info.recursion_misses);
    }
    text + "\n"
}

/// All lines of the text form.
pub fn text(program: &Program<'_>) -> String {
    let info = program.info;
    let mut text = header_text(program);
    if let Some(moment) = info.loaded_at {
        text += &format!("\tloaded_at {}  uid {}\n", iso_8601(moment), info.uid);
    }
    text += &format!("\txlated {}B", info.xlated_len);
    text += &match info.jited_len {
        0 => "  not jited".to_owned(),
        len => format!("  jited {len}B"),
    };
    if let Some(memlock) = info.memlock {
        text += &format!("  memlock {memlock}B");
    }
    if info.orphaned {
        text += "  orphaned";
    }
    if !info.map_ids.is_empty() {
        let ids: Vec<String> = info.map_ids.iter().map(u32::to_string).collect();
        text += &format!("  map_ids {}", ids.join(","));
    }
    text += &program.extras.pins_text();
    if info.btf_id != 0 {
        text += &format!("\n\tbtf_id {}", info.btf_id);
    }
    text += &program.extras.holders_text();
    text += "\n";
    if !program.metadata.is_empty() {
        text += "\tmetadata:";
        for (name, value, _) in program.metadata {
            text += &format!("\n\t\t{name} = {value}");
        }
        text += "\n";
    }
    text
}

/// The fields of the JSON form that stand before its code, too.
pub fn header_json(program: &Program<'_>) -> Map<String, Value> {
    let info = program.info;
    let mut object = Map::new();
    object.insert("id".into(), info.id.into());
    object.insert("type".into(), named(program_type(info.prog_type), info.prog_type));
    if !program.name.is_empty() {
        object.insert("name".into(), program.name.into());
    }
    object.insert("tag".into(), hex(&info.tag, "").into());
    object.insert("gpl_compatible".into(), info.gpl_compatible.into());
    if info.run_time_ns != 0 {
        object.insert("run_time_ns".into(), info.run_time_ns.into());
        object.insert("run_cnt".into(), info.run_count.into());
    }
    if info.recursion_misses != 0 {
        object.insert("recursion_misses".into(), info.recursion_misses.into());
    }
    object
}

/// The JSON form.
pub fn json(program: &Program<'_>) -> Value {
    let info = program.info;
    let mut object = header_json(program);
    add_device(&mut object, info.device, program.device);
    if let Some(moment) = info.loaded_at {
        object.insert("loaded_at".into(), moment.unix_seconds.into());
        object.insert("uid".into(), info.uid.into());
    }
    object.insert("orphaned".into(), info.orphaned.into());
    object.insert("bytes_xlated".into(), info.xlated_len.into());
    object.insert("jited".into(), (info.jited_len != 0).into());
    if info.jited_len != 0 {
        object.insert("bytes_jited".into(), info.jited_len.into());
    }
    if let Some(memlock) = info.memlock {
        object.insert("bytes_memlock".into(), memlock.into());
    }
    if !info.map_ids.is_empty() {
        object.insert("map_ids".into(), info.map_ids.clone().into());
    }
    if info.btf_id != 0 {
        object.insert("btf_id".into(), info.btf_id.into());
    }
    program.extras.add_to(&mut object);
    if !program.metadata.is_empty() {
        let metadata =
            program.metadata.iter().map(|(name, _, value)| (name.clone(), value.clone()));
        object.insert("metadata".into(), Value::Object(metadata.collect()));
    }
    object.into()
}

/// Where something is offloaded to.
pub(crate) fn device_text(device: Option<Device>, name: Option<&str>) -> String {
    match (device, name) {
        (None, _) => String::new(),
        (Some(_), Some(name)) => format!("  offloaded_to {name}"),
        (Some(Device { ifindex, netns_dev, netns_ino }), None) => {
            format!("  offloaded_to ifindex {ifindex} ns_dev {netns_dev} ns_ino {netns_ino}")
        }
    }
}

pub(crate) fn add_device(
    object: &mut Map<String, Value>,
    device: Option<Device>,
    name: Option<&str>,
) {
    let Some(Device { ifindex, netns_dev, netns_ino }) = device else { return };
    let mut device = json!({ "ifindex": ifindex, "ns_dev": netns_dev, "ns_inode": netns_ino });
    if let Some(name) = name {
        device["ifname"] = name.into();
    }
    object.insert("dev".into(), device);
}

/// `2024-02-29T23:59:59+0100`.
fn iso_8601(moment: Moment) -> String {
    let local = moment.unix_seconds + i64::from(moment.utc_offset);
    let (days, second) = (local.div_euclid(86_400), local.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let (sign, offset) = match moment.utc_offset {
        offset if offset < 0 => ('-', -offset / 60),
        offset => ('+', offset / 60),
    };
    format!(
        "{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{sign}{:02}{:02}",
        offset / 60,
        offset % 60
    )
}

/// Year, month and day from days since 1970. Years start in March here, so that the leap day is the
/// last one and months' lengths follow one formula.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let at = |unix_seconds, utc_offset| iso_8601(Moment { unix_seconds, utc_offset });
        assert_eq!(at(0, 0), "1970-01-01T00:00:00+0000");
        assert_eq!(at(1_709_247_599, 3600), "2024-02-29T23:59:59+0100");
        assert_eq!(at(951_868_800, -12_600), "2000-02-29T20:30:00-0330");
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00+0000");
    }
}

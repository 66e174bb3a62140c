//! `bombus struct_ops`: structures of kernel callbacks, each a map of one element.

use std::path::Path;

use bombus_btf::{Btf, Kind, Type, TypeId};
use bombus_inspect::notation::Node;
use bombus_inspect::value::{self, Style};
use bombus_kernel::inspect::{Inspect, MapInfo, ObjectKind, Which};
use bombus_kernel::{Kernel, Loader, Object};
use bombus_platform::MapType;
use serde_json::{Value, json};

use super::Tool;
use super::load::{explained, open};
use super::output::{Failed, Output, because, reason};
use super::words::{Words, number};

/// What the kernel calls a structure with its state: this and the structure's name.
const PREFIX: &str = "bpf_struct_ops_";
/// The map's structure is used by link (`BPF_F_LINK`).
const BY_LINK: u32 = 1 << 13;

pub(super) fn run(tool: &Tool, command: &str, words: Words) -> Result<Output, Failed> {
    match command {
        "show" => show(tool, words),
        "dump" => dump(tool, words),
        "register" => register(tool, words),
        "unregister" => unregister(tool, words),
        _ => Err(Failed::new(format!("there is no command struct_ops {command}"))),
    }
}

/// The structures that the words name: `id ID`, `name NAME`, or nothing for all.
struct Found {
    maps: Vec<MapInfo>,
    /// The name that was asked for.
    name: Option<String>,
}

impl Found {
    fn parse(tool: &Tool, words: &mut Words) -> Result<Found, Failed> {
        if words.is_empty() {
            return Found::all(tool, None);
        }
        let by_id = words.take("id");
        if !by_id && !words.take("name") {
            let word = words.peek().unwrap_or_default();
            return Err(Failed::new(format!("expected 'id' or 'name', got: '{word}'?")));
        }
        let word = words.expect(if by_id { "an id" } else { "a name" })?;
        words.end()?;
        if !by_id {
            return Found::all(tool, Some(word));
        }
        let id = number(&word).and_then(|id| u32::try_from(id).ok()).filter(|&id| id != 0);
        let id = id.ok_or_else(|| Failed::new(format!("invalid id {word}")))?;
        let map = tool.linux.map_info(&Which::Id(id));
        let map = map.map_err(because(format_args!("can't get map by id ({id})")))?;
        match map.map_type() {
            Some(MapType::StructOps) => Ok(Found { maps: vec![map], name: None }),
            _ => Err(Failed::new(format!("{} id {id} is not a struct_ops map", map.name))),
        }
    }

    fn all(tool: &Tool, name: Option<String>) -> Result<Found, Failed> {
        let ids = tool.linux.object_ids(ObjectKind::Map).map_err(because("can't get next map"))?;
        let mut maps = Vec::new();
        for id in ids {
            match tool.linux.map_info(&Which::Id(id)) {
                Ok(map) => maps.push(map),
                Err(error) if error.errno() == Some(libc::ENOENT) => {}
                Err(error) => return Err(because("can't get map info")(error)),
            }
        }
        maps.retain(|map| {
            map.map_type() == Some(MapType::StructOps)
                && name.as_ref().is_none_or(|name| map.name == *name)
        });
        Ok(Found { maps, name })
    }

    /// Nothing of this name: with what has been said so far.
    fn missing(&self, said: Option<Value>) -> Result<(), Failed> {
        match &self.name {
            Some(name) if self.maps.is_empty() => Err(match said {
                Some(said) => Failed::silent(Some(said)),
                None => Failed::new(format!("no struct_ops found for {name}")),
            }),
            _ => Ok(()),
        }
    }
}

/// The kernel's types, without which there are no such structures.
fn types(tool: &Tool) -> Result<Btf, Failed> {
    let types = tool.kernel_types();
    types.ok_or_else(|| Failed::new("struct_ops requires kernel CONFIG_DEBUG_INFO_BTF=y"))
}

/// What the kernel calls the structure in a map.
fn structure<'a>(types: &'a Btf, map: &MapInfo) -> &'a str {
    let name = types.name(TypeId(map.kernel_value_type));
    name.strip_prefix(PREFIX).unwrap_or_default()
}

fn show(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    let found = Found::parse(tool, &mut words)?;
    found.missing(tool.options.json.then(|| json!([])))?;
    let types = types(tool)?;
    let text = || {
        let line = |map: &MapInfo| {
            format!("{}: {:<15} {:<32}\n", map.id, map.name, structure(&types, map))
        };
        found.maps.iter().map(line).collect()
    };
    let json = || {
        let object = |map: &MapInfo| {
            let kernel = structure(&types, map);
            json!({ "id": map.id, "name": map.name, "kernel_struct_ops": kernel })
        };
        found.maps.iter().map(object).collect()
    };
    Ok(tool.either(text, json))
}

fn dump(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    let types = types(tool)?;
    let found = Found::parse(tool, &mut words)?;
    let empty = if tool.options.json { json!([]) } else { "[]\n".into() };
    found.missing(Some(empty))?;
    let about = types.find(Kind::Struct, "bpf_map_info");
    let Some((about, Type::Struct(layout))) = about.and_then(|id| Some((id, types.ty(id)?))) else {
        return Err(Failed::new("can't find bpf_map_info from btf_vmlinux"));
    };
    let style = if tool.options.json { Style::Json } else { Style::Plain };
    let names = |id| {
        let info = tool.linux.program_info(&Which::Id(id)).ok()?;
        let code = tool.linux.program_code(&Which::Id(id)).ok()?;
        let function = code.functions.first()?.type_id;
        let types = tool.types(info.btf_id)?;
        Some(types.name(TypeId(function)).to_owned())
    };
    let object = |id: u32, data: &[u8]| {
        let name = types.name(TypeId(id)).to_owned();
        Node::Object(vec![(name, value::callbacks(&types, id, data, style, &names))])
    };
    let mut nodes = Vec::new();
    for map in &found.maps {
        let which = Which::Id(map.id);
        let said = tool.linux.raw_map_info(&which, layout.size as usize);
        let said = said.map_err(because("can't get map info"))?;
        let structure = tool.linux.element(&which, &[0; 4]).ok().flatten().ok_or_else(|| {
            Failed::new(format!("can't lookup struct_ops map {} id {}", map.name, map.id))
        })?;
        nodes.push(object(about.0, &said));
        nodes.push(object(map.kernel_value_type, &structure));
    }
    let list = Node::List(nodes);
    Ok(tool.either(|| list.pretty() + "\n", || list.to_json()))
}

fn unregister(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    if words.len() != 2 {
        return Err(Failed::new("expected 'id ID' or 'name NAME'"));
    }
    let found = Found::parse(tool, &mut words)?;
    found.missing(None)?;
    let types = types(tool)?;
    let mut failed = None;
    for map in &found.maps {
        let said = format!("{} {} id {}", structure(&types, map), map.name, map.id);
        match tool.linux.remove_element(&Which::Id(map.id), &[0; 4]) {
            Ok(()) => tool.say(&format!("Unregistered {said}")),
            Err(error) => failed = Some(format!("can't unload {said}: {}", reason(&error))),
        }
    }
    failed.map_or(Ok(Output::Nothing), |message| Err(Failed::new(message)))
}

fn register(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    if !matches!(words.len(), 1 | 2) {
        return Err(Failed::new("expected 'OBJ [LINK_DIR]'"));
    }
    let file = words.path("file")?;
    let directory = (!words.is_empty()).then(|| words.path("directory")).transpose()?;
    if let Some(directory) = &directory {
        tool.directory(directory).map_err(|_| Failed::new("can't mount bpffs for pinning"))?;
    }
    let shown = file.display();
    let refused = |message: String| {
        tool.say(&message);
        Failed::silent(None)
    };
    let object = open(&file).map_err(|error| refused(format!("{shown}: {error}")))?;
    let loader = Loader::new(&object).log_level(tool.log_level());
    let loaded = loader.load(&tool.linux).map_err(|error| refused(explained(tool, &error)))?;
    let types = types(tool)?;
    let (mut registered, mut failures) = (0, Vec::new());
    for (map, spec) in loaded.all_maps().filter(|(_, spec)| spec.map_type == MapType::StructOps) {
        let name = &spec.name;
        let link = match loaded.attach_structure(&tool.linux, name) {
            Ok(link) => link,
            Err(error) => {
                let reason = reason(&error);
                failures.push(format!("can't register struct_ops {name}: {reason}"));
                continue;
            }
        };
        registered += 1;
        let info = tool.linux.map_id(map).and_then(|id| tool.linux.map_info(&Which::Id(id)))?;
        let said = format!("{} {}", structure(&types, &info), info.name);
        let Some(link) = link.filter(|_| spec.flags & BY_LINK != 0 || info.flags & BY_LINK != 0)
        else {
            tool.say(&format!("Registered {said} id {}", info.id));
            continue;
        };
        let id = tool.linux.link_id(link)?;
        if let Some(directory) = &directory
            && let Err(error) = pin(tool, link, &directory.join(&info.name))
        {
            let (name, reason) = (&info.name, reason(&error));
            failures.push(format!("can't pin link {id} for {name}: {reason}"));
            continue;
        }
        tool.say(&format!("Registered {said} map id {} link id {id}", info.id));
    }
    match failures.last() {
        Some(failure) => Err(Failed::new(failure)),
        None if registered == 0 => Err(Failed::new(format!("no struct_ops found in {shown}"))),
        None => Ok(Output::Nothing),
    }
}

fn pin(tool: &Tool, link: bombus_kernel::LinkFd, path: &Path) -> bombus_kernel::Result<()> {
    tool.linux.pin(Object::Link(link), path)
}

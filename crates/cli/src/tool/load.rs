//! `bombus prog load|loadall`: objects that clang made, as programs that stay because they are
//! pinned; and `--check`, which only tries.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bombus_btf::Btf;
use bombus_kernel::inspect::{Inspect, Which};
use bombus_kernel::{Error, Kernel, Loaded, Loader, Object, Places};
use bombus_platform::find_section;
use bombus_spec::ObjectSpec;
use bombus_symbols::Files;
use serde_json::{Value, json};

use super::Tool;
use super::output::{Failed, Output, meaning, reason};
use super::words::{Words, number};

/// What a file specifies.
pub(super) fn open(file: &Path) -> Result<ObjectSpec, String> {
    let bytes =
        std::fs::read(file).map_err(|error| meaning(error.raw_os_error().unwrap_or(libc::EIO)))?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    bombus_object::open_named(&bytes, &name).map_err(|error| error.to_string())
}

/// Opens, relocates and loads each program of each file by itself, and lets go of it again.
pub(super) fn check(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    words.at_least(1)?;
    let (mut text, mut values) = (String::new(), Vec::new());
    let mut refused = false;
    while let Some(file) = words.next() {
        let object = match open(Path::new(&file)) {
            Ok(object) => object,
            Err(error) => {
                refused = true;
                text += &format!("{file}: not opened: {error}\n");
                values.push(json!({ "file": file, "error": error }));
                continue;
            }
        };
        for program in &object.programs {
            let outcome = load_alone(tool, &object, &program.name);
            let (name, section) = (&program.name, &program.section);
            let mut value = json!({
                "file": file,
                "name": name,
                "section": section,
                "type": program.prog_type.name(),
                "loaded": outcome.is_ok(),
            });
            text += &format!("{file}: {name} ({section}): ");
            match outcome {
                Ok(insns) => {
                    text += &format!("loaded, {insns} instructions\n");
                    value["insns"] = insns.into();
                }
                Err(error) => {
                    refused = true;
                    text += &format!("refused: {error}\n");
                    value["error"] = error.into();
                }
            }
            values.push(value);
        }
    }
    match refused {
        false => Ok(tool.either(|| text, || values.into())),
        true if tool.options.json => Err(Failed::silent(Some(values.into()))),
        true => Err(Failed::silent(Some(Value::String(text)))),
    }
}

/// One program of an object; gives how many instructions it has.
fn load_alone(tool: &Tool, object: &ObjectSpec, name: &str) -> Result<usize, String> {
    let mut loader = Loader::new(object).log_level(tool.log_level());
    for program in &object.programs {
        loader = loader.autoload(&program.name, program.name == name);
    }
    let loaded = loader.load(&tool.linux).map_err(|error| explained(tool, &error))?;
    close(tool, &loaded);
    let program = object.programs.iter().find(|program| program.name == name);
    Ok(program.map_or(0, |program| program.insns.len()))
}

fn close(tool: &Tool, loaded: &Loaded) {
    let programs = loaded.programs.iter().flatten().map(|&fd| Object::Program(fd));
    let maps = loaded.maps.iter().flatten().map(|&fd| Object::Map(fd));
    for object in programs.chain(maps) {
        // What cannot be closed ends with the process.
        let _ = tool.linux.close(object);
    }
}

/// Why something was refused, on one line; with the whole log when that is asked for.
pub(super) fn explained(tool: &Tool, error: &Error) -> String {
    let Error::Rejected { log, .. } = error else { return error.to_string() };
    if tool.options.debug {
        return format!("{error}\n{log}");
    }
    let statistics = ["processed ", "verification time ", "stack depth ", "peak_states "];
    let said = |line: &&str| {
        !line.trim().is_empty() && !statistics.iter().any(|start| line.starts_with(start))
    };
    match log.lines().rev().find(said) {
        Some(line) => format!("{error}: {}", line.trim()),
        None => error.to_string(),
    }
}

/// What `prog load` takes beside the file and the place.
#[derive(Default)]
struct Wanted {
    section: Option<String>,
    maps: Vec<(MapName, Which)>,
    pinmaps: Option<PathBuf>,
    attach: bool,
    kernel_btf: Option<PathBuf>,
}

/// Which map of the object another is put in place of.
enum MapName {
    Index(usize),
    Name(String),
}

impl Wanted {
    fn parse(tool: &Tool, words: &mut Words) -> Result<Wanted, Failed> {
        let mut wanted = Wanted::default();
        while !words.is_empty() {
            if words.take("type") {
                if wanted.section.is_some() {
                    return Err(Failed::new("program type already specified"));
                }
                wanted.section = Some(words.expect("program type")?);
            } else if words.take("map") {
                words.at_least(4)?;
                let name = if words.take("idx") {
                    let word = words.next().unwrap_or_default();
                    let index = number(&word)
                        .ok_or_else(|| Failed::new(format!("can't parse {word} as IDX")))?;
                    MapName::Index(index as usize)
                } else if words.take("name") {
                    MapName::Name(words.expect("map name")?)
                } else {
                    let word = words.next().unwrap_or_default();
                    return Err(Failed::new(format!("expected 'idx' or 'name', got: '{word}'?")));
                };
                wanted.maps.push((name, tool.map(words)?));
            } else if words.take("pinmaps") {
                wanted.pinmaps = Some(words.path("directory")?);
            } else if words.take("autoattach") {
                wanted.attach = true;
            } else if words.take("kernel_btf") {
                wanted.kernel_btf = Some(words.path("file")?);
            } else {
                let word = words.next().unwrap_or_default();
                return Err(Failed::new(format!(
                    "expected no more arguments, 'type', 'map', 'pinmaps', 'autoattach', or \
                     'kernel_btf', got: '{word}'?"
                )));
            }
        }
        Ok(wanted)
    }
}

/// `all`: every program is pinned, in a directory of that path; else the first, as that path.
pub(super) fn load(tool: &Tool, mut words: Words, all: bool) -> Result<Output, Failed> {
    words.at_least(2)?;
    let (file, path) = (words.path("file")?, words.path("file path")?);
    let wanted = Wanted::parse(tool, &mut words)?;
    let mut object = open(&file).map_err(|error| {
        tool.say(&format!("{}: {error}", file.display()));
        Failed::new("failed to open object file")
    })?;
    if let Some(section) = &wanted.section {
        set_type(&mut object, section)?;
    }
    if !all {
        tool.mount_for(&path)?;
    }
    let mut loader = Loader::new(&object).log_level(tool.log_level());
    for (name, map) in &wanted.maps {
        let name = match name {
            MapName::Name(name) => object.maps.iter().find(|map| map.name == *name),
            MapName::Index(index) => object.maps.get(*index),
        };
        let name = name.ok_or_else(|| Failed::new("unable to find map"))?.name.as_str();
        loader = loader.reuse_map(name, tool.linux.hold_map(map)?);
    }
    if let Some(file) = &wanted.kernel_btf {
        let types = std::fs::read(file).ok().and_then(|bytes| Btf::parse(bytes).ok());
        let types = types.ok_or_else(|| Failed::new(format!("no types in {}", file.display())))?;
        loader = loader.kernel_btf(Arc::new(types));
    }
    let loaded = loader.load(&tool.linux).map_err(|error| {
        tool.say(&explained(tool, &error));
        Failed::new("failed to load object file")
    })?;
    let names: Vec<&str> = object
        .programs
        .iter()
        .map(|program| program.name.as_str())
        .filter(|name| loaded.program(name).is_some())
        .collect();
    if all {
        tool.directory(&path)?;
        for name in names {
            pin(tool, &loaded, name, &path.join(name), wanted.attach)
                .map_err(|_| Failed::new("failed to pin all programs"))?;
        }
    } else {
        let name = *names
            .first()
            .ok_or_else(|| Failed::new("object file doesn't contain any bpf program"))?;
        let section = object.programs.first().map_or("", |program| program.section.as_str());
        pin(tool, &loaded, name, &path, wanted.attach)
            .map_err(|_| Failed::new(format!("failed to pin program {section}")))?;
    }
    if let Some(directory) = &wanted.pinmaps {
        tool.directory(directory)?;
        for (map, spec) in loaded.all_maps() {
            // Dots mean something in a BPF file system.
            let path = directory.join(spec.name.replace('.', "_"));
            tool.linux
                .pin(Object::Map(map), &path)
                .map_err(|_| Failed::new("failed to pin all maps"))?;
        }
    }
    Ok(Output::Nothing)
}

fn pin(tool: &Tool, loaded: &Loaded, name: &str, path: &Path, attach: bool) -> Result<(), Error> {
    let linux = &tool.linux;
    if attach {
        let catalog = bombus_linux::LinuxCatalog::new();
        let places = Places { catalog: &catalog, binaries: &Files::new() };
        match loaded.attach(linux, places, name) {
            Ok(link) => return linux.pin(Object::Link(link), path),
            Err(_) => tool.say(&format!(
                "Program {name} does not support autoattach, falling back to pinning"
            )),
        }
    }
    let Some(program) = loaded.program(name) else { return Ok(()) };
    linux.pin(Object::Program(program), path)
}

/// All programs are of this type, by the name of a section.
fn set_type(object: &mut ObjectSpec, section: &str) -> Result<(), Failed> {
    let with_slash = format!("{section}/");
    let row = find_section(section).or_else(|| find_section(&with_slash));
    let (row, _) = row.ok_or_else(|| Failed::new(format!("unknown program type '{section}'")))?;
    for program in &mut object.programs {
        program.prog_type = row.prog_type;
        program.attach_type = row.attach_type;
    }
    Ok(())
}

impl Tool {
    /// How much the verifier is asked to say.
    pub(super) fn log_level(&self) -> u32 {
        // What happened, everything, statistics.
        if self.options.debug { 1 | 2 | 4 } else { 0 }
    }

    /// Makes sure that a directory is there, in a BPF file system.
    pub(super) fn directory(&self, path: &Path) -> Result<(), Failed> {
        if self.linux.is_bpf_file_system(path) {
            return Ok(());
        }
        let shown = path.display();
        let create = || {
            std::fs::create_dir(path).map_err(|error| {
                let reason = meaning(error.raw_os_error().unwrap_or(libc::EIO));
                Failed::new(format!("failed to create dir '{shown}': {reason}"))
            })
        };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        if !path.exists() {
            if !parent.exists() {
                return Err(Failed::new(format!(
                    "can't create dir '{shown}' to pin BPF object: parent dir '{}' doesn't exist",
                    parent.display()
                )));
            }
            if self.linux.is_bpf_file_system(parent) {
                return create();
            }
        }
        if self.options.no_mount {
            return Err(Failed::new(
                "no BPF file system found, not mounting it due to --nomount option",
            ));
        }
        if !path.exists() {
            create()?;
        }
        self.linux.mount_bpf_file_system(path).map_err(|error| {
            let reason = reason(&error);
            Failed::new(format!("can't mount BPF file system on given dir '{shown}': {reason}"))
        })
    }
}

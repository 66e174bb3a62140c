//! `bombus iter` and `bombus gen`: what needs an object file and is no program that stays.

use std::path::Path;

use bombus_kernel::inspect::Inspect;
use bombus_kernel::{AttachPoint, IterTarget, Kernel, Loader, Object};
use bombus_object::ObjectFile;

use super::Tool;
use super::load::open;
use super::output::{Failed, Output, meaning};
use super::words::Words;

/// Pins an iterator: whoever reads the file gets what the program prints.
pub(super) fn pin(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    words.at_least(2)?;
    let (file, path) = (words.path("file")?, words.path("file path")?);
    let shown = file.display();
    let linux = &tool.linux;
    let target = if words.take("map") {
        if words.len() < 2 {
            return Err(Failed::new("incorrect map spec"));
        }
        let map = tool.map(&mut words)?;
        IterTarget::Map(linux.hold_map(&map)?)
    } else {
        IterTarget::All
    };
    words.end()?;
    let object = open(&file).map_err(|error| {
        tool.say(&format!("{shown}: {error}"));
        Failed::new(format!("can't open objfile {shown}"))
    })?;
    let loaded = Loader::new(&object).load(linux).map_err(|error| {
        tool.say(&error.to_string());
        Failed::new(format!("can't load objfile {shown}"))
    })?;
    let name = object.programs.first().map_or("", |program| program.name.as_str());
    let program = loaded
        .program(name)
        .ok_or_else(|| Failed::new(format!("can't find bpf program in objfile {shown}")))?;
    let link = linux.attach(program, &AttachPoint::Iter(target), 0).map_err(|error| {
        tool.say(&error.to_string());
        Failed::new(format!("attach_iter failed for program {name}"))
    })?;
    tool.mount_for(&path)?;
    linux.pin(Object::Link(link), &path).map_err(|_| {
        Failed::new(format!("pin_iter failed for program {name} to path {}", path.display()))
    })?;
    Ok(Output::Nothing)
}

/// Links several objects into one.
pub(super) fn link(_: &Tool, mut words: Words) -> Result<Output, Failed> {
    words.at_least(2)?;
    let output = words.path("output file")?;
    let failed = |file: &Path, error: std::io::Error| {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        let reason = meaning(errno);
        Failed::new(format!("failed to link '{}': {reason} ({errno})", file.display()))
            .with_errno(errno)
    };
    let mut files = Vec::new();
    while let Some(name) = words.next() {
        let bytes = std::fs::read(&name).map_err(|error| failed(Path::new(&name), error))?;
        files.push((name, bytes));
    }
    let inputs: Vec<ObjectFile<'_>> =
        files.iter().map(|(name, bytes)| ObjectFile { name, bytes }).collect();
    let linked = bombus_object::link(&inputs)
        .map_err(|error| Failed::new(format!("failed to link: {error}")))?;
    std::fs::write(&output, linked).map_err(|error| failed(&output, error))?;
    Ok(Output::Nothing)
}

//! `bombus btf`.

use std::collections::BTreeMap;
use std::path::Path;

use bombus_btf::{Btf, TypeId, c_dump, json as types_json};
use bombus_inspect::btf::{self, Users};
use bombus_kernel::inspect::{BtfInfo, Inspect, ObjectKind, Which};
use bombus_linux::KernelBtf;
use serde_json::{Value, json};

use super::Tool;
use super::objects::Known;
use super::output::{Failed, Output, because, meaning};
use super::words::{Words, number};

const VMLINUX: &str = KernelBtf::PATH;

pub(super) fn run(tool: &Tool, command: &str, words: Words) -> Result<Output, Failed> {
    match command {
        "show" => show(tool, words),
        "dump" => dump(tool, words),
        _ => Err(Failed::new(format!("there is no command btf {command}"))),
    }
}

/// Programs or maps by the types they use.
fn users(tool: &Tool, kind: ObjectKind) -> BTreeMap<u32, Vec<u32>> {
    let mut users = BTreeMap::<u32, Vec<u32>>::new();
    for id in tool.linux.object_ids(kind).unwrap_or_default() {
        let which = Which::Id(id);
        let btf = match kind {
            ObjectKind::Program => tool.linux.program_info(&which).map(|info| info.btf_id),
            _ => tool.linux.map_info(&which).map(|info| info.btf_id),
        };
        // The newest stands first, as bpftool has it.
        users.entry(btf.unwrap_or(0)).or_default().insert(0, id);
    }
    users
}

fn show(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    let one = words.len() == 2;
    let ids = if one {
        if !words.take("id") {
            let word = words.peek().unwrap_or_default();
            return Err(Failed::new(format!("expected 'id', got: '{word}'?")));
        }
        let word = words.next().unwrap_or_default();
        let id = number(&word).ok_or_else(|| Failed::new(format!("can't parse {word} as ID")))?;
        vec![id as u32]
    } else {
        words.end()?;
        tool.linux.object_ids(ObjectKind::Btf).map_err(because("can't get next BTF object"))?
    };
    let mut shown: Vec<BtfInfo> = Vec::new();
    for id in ids {
        match tool.linux.btf_info(id) {
            Ok(info) => shown.push(info),
            Err(error) if !one && error.errno() == Some(libc::ENOENT) => {}
            Err(error) => {
                return Err(because(format_args!("can't get BTF object by id ({id})"))(error));
            }
        }
    }
    let known = Known::new(tool, ObjectKind::Btf);
    let (programs, maps) = (users(tool, ObjectKind::Program), users(tool, ObjectKind::Map));
    let of = |info: &BtfInfo| Users {
        programs: programs.get(&info.id).map_or(&[], Vec::as_slice),
        maps: maps.get(&info.id).map_or(&[], Vec::as_slice),
    };
    let text = || shown.iter().map(|info| btf::text(info, of(info), &known.of(info.id))).collect();
    let json = || {
        let each = shown.iter().map(|info| btf::json(info, of(info), &known.of(info.id)));
        let mut values: Vec<_> = each.collect();
        if one && values.len() == 1 { values.remove(0) } else { values.into() }
    };
    Ok(tool.either(text, json))
}

/// Which types are to be printed, and how.
#[derive(Default)]
struct Wanted {
    roots: Vec<u32>,
    c: bool,
    unsorted: bool,
}

/// A source's object, with the types of it that are meant.
fn source(tool: &Tool, words: &mut Words, wanted: &mut Wanted) -> Result<Btf, Failed> {
    let kind = words.expect("BTF source")?;
    let is = |keyword: &str| keyword.starts_with(&kind);
    if is("map") {
        words.at_least(2)?;
        let which = tool.map(words)?;
        let info = tool.linux.map_info(&which).map_err(because("can't get map info"))?;
        let (key, value) = (info.key_type, info.value_type);
        wanted.roots = if words.take("key") {
            vec![key]
        } else if words.take("value") {
            vec![value]
        } else if words.take("all") {
            Vec::new()
        } else {
            words.take("kv");
            vec![key, value]
        };
        loaded(tool, info.btf_id)
    } else if is("prog") {
        words.at_least(2)?;
        let which = tool.program(words)?;
        let info = tool.linux.program_info(&which).map_err(because("can't get prog info"))?;
        loaded(tool, info.btf_id)
    } else if is("id") {
        let word = words.next().unwrap_or_default();
        let id = number(&word).ok_or_else(|| Failed::new(format!("can't parse {word} as ID")))?;
        loaded(tool, id as u32)
    } else if is("file") {
        file(tool, &words.path("file")?)
    } else {
        Err(Failed::new(format!("unrecognized BTF source specifier: '{kind}'")))
    }
}

fn loaded(tool: &Tool, id: u32) -> Result<Btf, Failed> {
    let data = tool.linux.btf_data(id).map_err(because(format_args!("get btf by id ({id})")))?;
    let info = tool.linux.btf_info(id)?;
    if !info.kernel || info.name == "vmlinux" {
        return parse(data, None, Path::new("the kernel"));
    }
    let base = match &tool.options.base_btf {
        Some(path) => file(tool, path)?,
        None => {
            tool.say(&format!(
                "Warning: valid base BTF was not specified with -B option, falling back to \
                 standard base BTF ({VMLINUX})"
            ));
            read(Path::new(VMLINUX), None)?
        }
    };
    parse(data, Some(base), Path::new("the kernel"))
}

/// The types of a file; of one that goes on from the kernel's, with those before.
fn file(tool: &Tool, path: &Path) -> Result<Btf, Failed> {
    let own = tool.options.base_btf.as_deref().filter(|base| *base != path);
    let module = path.starts_with("/sys/kernel/btf") && path != Path::new(VMLINUX);
    let base = own.or_else(|| module.then_some(Path::new(VMLINUX)));
    let base = base.map(|base| read(base, None)).transpose()?;
    read(path, base)
}

fn read(path: &Path, base: Option<Btf>) -> Result<Btf, Failed> {
    let failed = |error: std::io::Error| {
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        let message = format!("failed to load BTF from {}: {}", path.display(), meaning(errno));
        Failed::new(message).with_errno(errno)
    };
    match path == Path::new(VMLINUX) {
        true => parse(KernelBtf::open().map_err(failed)?, base, path),
        false => parse(std::fs::read(path).map_err(failed)?, base, path),
    }
}

fn parse(
    data: impl AsRef<[u8]> + Send + Sync + 'static,
    base: Option<Btf>,
    from: &Path,
) -> Result<Btf, Failed> {
    let parsed = match base {
        Some(base) => Btf::parse_split(data, base.into()),
        None => Btf::parse(data),
    };
    parsed.map_err(|error| {
        Failed::new(format!("failed to load BTF from {}: {error}", from.display()))
    })
}

fn dump(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    words.at_least(2)?;
    let mut wanted = Wanted::default();
    let btf = source(tool, &mut words, &mut wanted)?;
    let invalid = |message: String| Failed::new(message).with_errno(libc::EINVAL);
    let filtered = !wanted.roots.is_empty();
    while !words.is_empty() {
        if words.take("format") {
            let Some(format) = words.next() else {
                return Err(invalid("expecting value for 'format' option\n".to_owned()));
            };
            wanted.c = match format.as_str() {
                "c" => true,
                "raw" => false,
                format => {
                    return Err(invalid(format!(
                        "unrecognized format specifier: '{format}', possible values: raw, c"
                    )));
                }
            };
        } else if words.take("root_id") {
            if filtered {
                return Err(invalid("cannot use root_id with other type filtering".to_owned()));
            }
            let word = words.next().unwrap_or_default();
            let id = number(&word)
                .ok_or_else(|| Failed::new(format!("can't parse {word} as root ID")))?
                as u32;
            if wanted.roots.contains(&id) {
                return Err(invalid(format!("duplicate root_id {id} supplied")));
            }
            wanted.roots.push(id);
        } else if words.take("unsorted") {
            wanted.unsorted = true;
        } else {
            let word = words.next().unwrap_or_default();
            return Err(invalid(format!("unrecognized option: '{word}'")));
        }
    }
    if let Some(id) = wanted.roots.iter().find(|&&id| id >= btf.next_id().0) {
        return Err(invalid(format!("invalid root ID: {id}")));
    }
    print(tool, &btf, &wanted)
}

fn print(tool: &Tool, btf: &Btf, wanted: &Wanted) -> Result<Output, Failed> {
    let roots: Vec<TypeId> = wanted.roots.iter().copied().map(TypeId).collect();
    if wanted.c {
        if tool.options.json {
            return Err(Failed::new("JSON output for C-syntax dump is not supported")
                .with_errno(libc::EOPNOTSUPP));
        }
        let written = match roots.is_empty() {
            true => c_dump::vmlinux(btf, !wanted.unsorted, &mut Printed),
            false => c_dump::vmlinux_of(btf, roots, &mut Printed),
        };
        return written.map(|()| Output::Nothing).map_err(|error| Failed::new(error.to_string()));
    }
    let mut text = String::new();
    let written = if tool.options.json && roots.contains(&TypeId::VOID) {
        return roots_as_json(btf, roots);
    } else if tool.options.json {
        let written = match roots.is_empty() {
            true => types_json::dump(btf, &mut text),
            false => types_json::dump_types(btf, roots, &mut text),
        };
        text.push('\n');
        written.map_err(|error| error.to_string())
    } else {
        let own: Vec<TypeId> = if roots.is_empty() { btf.ids().collect() } else { roots };
        own.into_iter()
            .try_for_each(|id| {
                if id == TypeId::VOID {
                    return std::fmt::Write::write_str(&mut text, "[0] UNKNOWN '(anon)'\n");
                }
                std::fmt::Write::write_fmt(&mut text, format_args!("{}\n", btf.display(id)))
            })
            .map_err(|error| error.to_string())
    };
    written.map_err(Failed::new)?;
    if tool.options.pretty
        && let Ok(value) = serde_json::from_str(&text)
    {
        return Ok(Output::Json(value));
    }
    Ok(Output::Text(text))
}

/// What is printed as it comes: declarations of a kernel's types are megabytes.
struct Printed;

impl std::fmt::Write for Printed {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        crate::print(text);
        Ok(())
    }
}

/// Types of which one is none: that of the key of a map without keys.
fn roots_as_json(btf: &Btf, roots: Vec<TypeId>) -> Result<Output, Failed> {
    let each = |id: TypeId| {
        let mut text = String::new();
        let dumped = types_json::dump_types(btf, [id], &mut text).ok();
        let value: Option<Value> = dumped.and_then(|()| serde_json::from_str(&text).ok());
        match id {
            TypeId::VOID => json!({ "id": 0, "kind": "UNKNOWN", "name": "(anon)" }),
            _ => value.map_or(Value::Null, |value| value["types"][0].clone()),
        }
    };
    let types: Vec<Value> = roots.into_iter().map(each).collect();
    Ok(Output::Json(json!({ "types": types })))
}

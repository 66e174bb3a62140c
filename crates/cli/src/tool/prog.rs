//! `bombus prog`.

use std::path::PathBuf;

use bombus_btf::{SectionVar, Type, TypeId};
use bombus_inspect::program::{self, Program};
use bombus_inspect::value::{self, Style};
use bombus_inspect::{Extras, Listing, Shown, Symbols, machine};
use bombus_kernel::inspect::{Hook, Inspect, ObjectKind, ProgramInfo, Which};
use bombus_platform::{AttachType, MapType};
use serde_json::Value;

use super::objects::Known;
use super::output::{Failed, Output, because, reason};
use super::words::Words;
use super::{Tool, load, test_run, tracelog};

pub(super) fn run(tool: &Tool, command: &str, words: Words) -> Result<Output, Failed> {
    match command {
        "show" => show(tool, words),
        "dump" => dump(tool, words),
        "pin" => pin(tool, words),
        "load" if tool.options.check => load::check(tool, words),
        "load" => load::load(tool, words, false),
        "loadall" => load::load(tool, words, true),
        "run" => test_run::run(tool, words),
        "tracelog" => tracelog::run(tool, words),
        "attach" => hook(tool, words, true),
        "detach" => hook(tool, words, false),
        "profile" => Err(Failed::new(
            "prog profile is not supported: it counts the processor's events by programs at a \
             program's entry and exit; `bombus top` shows runs and their time",
        )),
        _ => Err(Failed::new(format!("there is no command prog {command}"))),
    }
}

/// A program with its names, as it is rendered.
struct Named {
    info: ProgramInfo,
    name: String,
    device: Option<String>,
    metadata: Vec<(String, String, Value)>,
    extras: Extras,
}

impl Named {
    fn new(tool: &Tool, info: ProgramInfo, known: Option<&Known>) -> Named {
        Named {
            name: tool.full_name(&info),
            device: tool.device_of(info.device),
            metadata: metadata(tool, &info).unwrap_or_default(),
            extras: known.map(|known| known.of(info.id)).unwrap_or_default(),
            info,
        }
    }

    fn program(&self) -> Program<'_> {
        Program {
            info: &self.info,
            name: &self.name,
            device: self.device.as_deref(),
            metadata: &self.metadata,
            extras: &self.extras,
        }
    }
}

/// The variables that start with `bpf_metadata_`, with their values as text and as JSON: they are
/// what a program says about itself (`bpftool-prog(8)`).
fn metadata(tool: &Tool, info: &ProgramInfo) -> Option<Vec<(String, String, Value)>> {
    const PREFIX: &str = "bpf_metadata_";
    let maps = info.map_ids.iter().filter_map(|&id| tool.linux.map_info(&Which::Id(id)).ok());
    let map = maps.into_iter().find(|map| {
        map.map_type() == Some(MapType::Array)
            && map.key_size == 4
            && map.max_entries == 1
            && map.value_type != 0
            && map.name.contains(".rodata")
    })?;
    let bytes = tool.linux.element(&Which::Id(map.id), &[0; 4]).ok()??;
    let btf = tool.types(map.btf_id)?;
    let Type::Datasec { vars, .. } = btf.ty(TypeId(map.value_type))? else { return None };
    let variable = |var: SectionVar| {
        let Type::Var { name, ty, .. } = btf.ty(var.ty)? else { return None };
        let name = name.strip_prefix(PREFIX)?;
        let data = bytes.get(var.offset as usize..)?;
        let value = |style| value::value(&btf, ty.0, data, style);
        Some((name.to_owned(), value(Style::Plain).compact(), value(Style::Json).to_json()))
    };
    Some(vars.filter_map(variable).collect())
}

fn show(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    let known = Known::new(tool, ObjectKind::Program);
    let one = words.len() == 2;
    let programs = if one {
        tool.programs(&mut words)?
    } else {
        words.end()?;
        let ids = tool.linux.object_ids(ObjectKind::Program);
        let ids = ids.map_err(because("can't get next program"))?;
        ids.into_iter().map(Which::Id).collect()
    };
    let mut shown = Vec::new();
    for which in &programs {
        match tool.linux.program_info(which) {
            Ok(info) => shown.push(Named::new(tool, info, Some(&known))),
            // Gone since it was listed.
            Err(error) if !one && error.errno() == Some(libc::ENOENT) => {}
            Err(error) => return Err(because("can't get prog info")(error)),
        }
    }
    let text = || shown.iter().map(|each| program::text(&each.program())).collect();
    let json = || {
        let mut values: Vec<Value> =
            shown.iter().map(|each| program::json(&each.program())).collect();
        if one && values.len() == 1 { values.remove(0) } else { values.into() }
    };
    Ok(tool.either(text, json))
}

/// What `prog dump` is asked for.
#[derive(Default)]
struct Wanted {
    jited: bool,
    file: Option<PathBuf>,
    visual: bool,
    shown: Shown,
}

fn dump(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    let jited = words.is("jited");
    if !jited && !words.is("xlated") {
        let word = words.next().unwrap_or_default();
        return Err(Failed::new(format!("expected 'xlated' or 'jited', got: {word}")));
    }
    words.next();
    words.at_least(2)?;
    let programs = tool.programs(&mut words)?;
    let several = programs.len() > 1;
    let mut wanted = Wanted { jited, ..Wanted::default() };
    while !words.is_empty() {
        if words.take("file") {
            if several {
                return Err(Failed::new("several programs matched"));
            }
            wanted.file = Some(words.path("file path")?);
        } else if words.take("opcodes") {
            wanted.shown.opcodes = true;
        } else if words.take("visual") {
            if several {
                return Err(Failed::new("several programs matched"));
            }
            wanted.visual = true;
        } else if words.take("linum") {
            wanted.shown.linum = true;
        } else {
            words.end()?;
        }
    }
    if wanted.file.is_some() && (wanted.shown != Shown::default() || wanted.visual) {
        return Err(Failed::new("'file' is not compatible with 'opcodes', 'visual', or 'linum'"));
    }
    if tool.options.json && wanted.visual {
        return Err(Failed::new("'visual' is not compatible with JSON output"));
    }
    let symbols = Symbols::new(tool.linux.kernel_symbols().unwrap_or_default());
    let (mut texts, mut values) = (Vec::new(), Vec::new());
    for which in &programs {
        let info = tool.linux.program_info(which).map_err(because("can't get prog info"))?;
        let header = several.then(|| Named::new(tool, info.clone(), None));
        match dump_one(tool, which, &info, &wanted, &symbols)? {
            Output::Text(text) => {
                let header = header.map(|header| program::header_text(&header.program()));
                texts.push(header.unwrap_or_default() + &text);
            }
            Output::Json(code) => values.push(match header {
                None => code,
                Some(header) => {
                    let mut object = program::header_json(&header.program());
                    object.insert("insns".into(), code);
                    object.into()
                }
            }),
            Output::Nothing => return Ok(Output::Nothing),
        }
    }
    let json =
        || if several { values.into() } else { values.into_iter().collect::<Vec<_>>().remove(0) };
    Ok(tool.either(|| texts.join("\n"), json))
}

fn dump_one(
    tool: &Tool,
    which: &Which,
    info: &ProgramInfo,
    wanted: &Wanted,
    symbols: &Symbols,
) -> Result<Output, Failed> {
    let code = tool.linux.program_code(which).map_err(because("can't get prog info"))?;
    let bytes = if wanted.jited { &code.jited } else { &code.xlated };
    if bytes.is_empty() {
        return Err(Failed::new(match wanted.jited {
            true => {
                "error retrieving jit dump: no instructions returned or kernel.kptr_restrict set?"
            }
            false => "error retrieving insn dump: kernel.kptr_restrict set?",
        }));
    }
    if let Some(file) = &wanted.file {
        std::fs::write(file, bytes).map_err(|error| {
            let error =
                bombus_kernel::Error::os("write", error.raw_os_error().unwrap_or(libc::EIO));
            Failed::new(format!("can't open file {}: {}", file.display(), reason(&error)))
        })?;
        return Ok(Output::Nothing);
    }
    let btf = match info.btf_id {
        0 => None,
        id => Some(tool.types(id).ok_or_else(|| Failed::new("failed to get btf"))?),
    };
    let (btf, shown) = (btf.as_ref(), wanted.shown);
    if wanted.jited {
        return Ok(tool.either(
            || machine::text(&code, btf, symbols, shown),
            || machine::json(&code, btf, symbols, shown),
        ));
    }
    let listing = Listing { code: &code, btf, symbols };
    let text = || if wanted.visual { listing.graph(shown) } else { listing.text(shown) };
    Ok(tool.either(text, || listing.json(shown)))
}

fn pin(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    words.at_least(3).map_err(|failed| failed.with_errno(libc::EINVAL))?;
    let which = tool.program(&mut words)?;
    let path = words.path("file path")?;
    tool.pin_to(&path, || tool.linux.pin_object(ObjectKind::Program, &which, &path))?;
    Ok(Output::Nothing)
}

/// The hooks that `prog attach` knows, by names that may be shortened.
const HOOKS: &[(AttachType, &str)] = &[
    (AttachType::SkSkbStreamParser, "stream_parser"),
    (AttachType::SkSkbStreamVerdict, "stream_verdict"),
    (AttachType::SkSkbVerdict, "skb_verdict"),
    (AttachType::SkMsgVerdict, "msg_verdict"),
    (AttachType::FlowDissector, "flow_dissector"),
];

fn hook(tool: &Tool, mut words: Words, attach: bool) -> Result<Output, Failed> {
    let invalid = |failed: Failed| failed.with_errno(libc::EINVAL);
    words.at_least(3).map_err(invalid)?;
    let program = tool.program(&mut words)?;
    let word = words.next().unwrap_or_default();
    let found = HOOKS.iter().find(|(hook, old)| hook.name() == word || old.starts_with(&word));
    let &(attach_type, _) =
        found.ok_or_else(|| invalid(Failed::new("invalid attach/detach type")))?;
    let hook = match attach_type {
        AttachType::FlowDissector => Hook::Netns,
        _ => {
            words.at_least(2).map_err(invalid)?;
            Hook::Map(tool.map(&mut words)?)
        }
    };
    let (outcome, what) = match attach {
        true => (
            tool.linux.attach_to_hook(&program, &hook, attach_type as u32, 0),
            "failed prog attach to map",
        ),
        false => (
            tool.linux.detach_from_hook(Some(&program), &hook, attach_type as u32),
            "failed prog detach from map",
        ),
    };
    outcome.map_err(|_| invalid(Failed::new(what)))?;
    Ok(Output::Nothing)
}

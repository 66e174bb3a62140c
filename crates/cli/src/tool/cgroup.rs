//! `bombus cgroup`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use bombus_btf::{Btf, TypeId};
use bombus_inspect::cgroup::{self, Attached};
use bombus_kernel::inspect::{Hook, Inspect, Which};
use serde_json::{Value, json};

use super::Tool;
use super::output::{Failed, Output, meaning, reason};
use super::words::Words;

pub(super) fn run(tool: &Tool, command: &str, words: Words) -> Result<Output, Failed> {
    match command {
        "show" => show(tool, words),
        "tree" => tree(tool, words),
        "attach" => hook(tool, words, true),
        "detach" => hook(tool, words, false),
        _ => Err(Failed::new(format!("there is no command cgroup {command}"))),
    }
}

fn effective(words: &mut Words) -> Result<bool, Failed> {
    let mut effective = false;
    while let Some(word) = words.peek().map(str::to_owned) {
        if !words.take("effective") {
            return Err(Failed::new(format!(
                "expected no more arguments, 'effective', got: '{word}'?"
            )));
        }
        if effective {
            return Err(Failed::new(format!("duplicated argument: {word}")));
        }
        effective = true;
    }
    Ok(effective)
}

/// The programs of a cgroup; `None`: it has none of any kind.
fn programs(tool: &Tool, path: &Path, effective: bool) -> Result<Option<Vec<Attached>>, Failed> {
    let hook = Hook::Cgroup(path.to_owned());
    let mut found = Vec::new();
    let mut any = false;
    for &attach_type in cgroup::HOOKS {
        match tool.linux.query(&hook, attach_type as u32, effective) {
            Ok(attachments) => {
                any |= !attachments.programs.is_empty();
                for program in &attachments.programs {
                    let own = if program.flags == 0 { attachments.flags } else { program.flags };
                    found.push((program.prog_id, attach_type as u32, own));
                }
            }
            // A hook that this kernel does not have.
            Err(error) if error.errno() == Some(libc::EINVAL) => {}
            Err(error) => {
                return Err(Failed::new(format!(
                    "can't query bpf programs attached to {}: {}",
                    path.display(),
                    reason(&error)
                )));
            }
        }
    }
    let types = if any { tool.kernel_types() } else { None };
    // bpftool takes the kernel's types for number 0 until a program tells their number.
    let mut kernel_types = 0;
    let attached = |(id, attach_type, flags)| {
        let info = tool.linux.program_info(&Which::Id(id)).ok()?;
        if kernel_types == 0
            && let Ok(btf) = tool.linux.btf_info(info.attach_btf_obj_id)
            && btf.kernel
            && btf.name == "vmlinux"
        {
            kernel_types = btf.id;
        }
        let known = types.as_ref().filter(|_| info.attach_btf_obj_id == kernel_types);
        let name = |btf: &Btf| btf.name(TypeId(info.attach_btf_id)).to_owned();
        Some(Attached {
            id,
            attach_type,
            flags: (!effective).then_some(flags),
            name: tool.full_name(&info),
            btf_name: known.map(name),
            btf_obj_id: info.attach_btf_obj_id,
            btf_id: info.attach_btf_id,
        })
    };
    Ok(any.then(|| found.into_iter().filter_map(attached).collect()))
}

fn show(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    words.at_least(1)?;
    let path = words.path("cgroup")?;
    let effective = effective(&mut words)?;
    if fs::File::open(&path).is_err() {
        return Err(Failed::new(format!("can't open cgroup {}", path.display())));
    }
    let Some(programs) = programs(tool, &path, effective)? else {
        // bpftool says nothing at all.
        return Ok(Output::Text(String::new()));
    };
    let text = || {
        let lines = programs.iter().map(|program| program.text(false));
        cgroup::title(effective) + &lines.collect::<String>()
    };
    Ok(tool.either(text, || programs.iter().map(Attached::json).collect()))
}

/// Where the second version's hierarchy is mounted.
fn root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (_, directory, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| directory.into())
    })
}

/// A directory and those below it in the same file system, each before what is in it.
fn directories(path: &Path, device: u64, level: usize, each: &mut dyn FnMut(&Path, usize)) {
    each(path, level);
    let Ok(entries) = fs::read_dir(path) else { return };
    for entry in entries.flatten() {
        let here = |about: fs::Metadata| about.is_dir() && about.dev() == device;
        if fs::symlink_metadata(entry.path()).is_ok_and(here) {
            directories(&entry.path(), device, level + 1, each);
        }
    }
}

fn tree(tool: &Tool, mut words: Words) -> Result<Output, Failed> {
    let root = match words.is_empty() {
        true => root().ok_or_else(|| Failed::new("cgroup v2 isn't mounted"))?,
        false => words.path("cgroup")?,
    };
    let effective = effective(&mut words)?;
    let about = fs::metadata(&root).map_err(|error| {
        let reason = meaning(error.raw_os_error().unwrap_or(libc::EIO));
        Failed::new(format!("can't iterate over {}: {reason}", root.display()))
    })?;
    let mut text = String::from("CgroupPath\n") + &cgroup::title(effective);
    let mut values: Vec<Value> = Vec::new();
    let mut outcome = Ok(());
    directories(&root, about.dev(), 0, &mut |path, level| match programs(tool, path, effective) {
        Ok(None) => {}
        Ok(Some(programs)) => {
            text += &format!("{}\n", path.display());
            text.extend(programs.iter().map(|program| program.text(level != 0)));
            let programs: Vec<Value> = programs.iter().map(Attached::json).collect();
            values.push(json!({ "cgroup": path.to_string_lossy(), "programs": programs }));
        }
        Err(failed) if outcome.is_ok() => outcome = Err(failed),
        Err(_) => {}
    });
    outcome?;
    Ok(tool.either(|| text, || values.into()))
}

fn hook(tool: &Tool, mut words: Words, attach: bool) -> Result<Output, Failed> {
    let verb = if attach { "attach" } else { "detach" };
    if words.len() < 4 {
        return Err(Failed::new(format!("too few parameters for cgroup {verb}")));
    }
    let path = words.path("cgroup")?;
    if fs::File::open(&path).is_err() {
        return Err(Failed::new(format!("can't open cgroup {}", path.display())));
    }
    let attach_type = cgroup::hook(&words.next().unwrap_or_default());
    let attach_type = attach_type.ok_or_else(|| Failed::new("invalid attach type"))?;
    let program = tool.program(&mut words)?;
    let hook = Hook::Cgroup(path);
    let outcome = if attach {
        let mut flags = 0;
        while let Some(word) = words.next() {
            flags |= match word.as_str() {
                word if "multi".starts_with(word) => 2,
                word if "override".starts_with(word) => 1,
                word => return Err(Failed::new(format!("unknown option: {word}"))),
            };
        }
        tool.linux.attach_to_hook(&program, &hook, attach_type, flags)
    } else {
        tool.linux.detach_from_hook(Some(&program), &hook, attach_type)
    };
    outcome.map_err(|_| Failed::new(format!("failed to {verb} program")))?;
    Ok(Output::Nothing)
}

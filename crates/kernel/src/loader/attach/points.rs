//! The attach points that the text of a section names.

use std::collections::HashSet;
use std::path::PathBuf;

use bombus_platform::AutoAttach;

use super::Wanted;
use crate::catalog::Symbol;
use crate::{AttachPoint, Error, Feature, IterTarget, Result, UprobePlace};

/// The point of a program, unless it is a static probe.
pub(super) fn of(wanted: &Wanted<'_>) -> Result<AttachPoint> {
    let on_return = wanted.section.on_return();
    Ok(match wanted.section.auto_attach {
        AutoAttach::Kprobe => kprobe(wanted)?,
        AutoAttach::KprobeMulti => AttachPoint::KprobeMulti {
            symbols: kernel_functions(wanted)?,
            on_return,
            session: wanted.is_session(),
        },
        AutoAttach::Uprobe => uprobe(wanted)?,
        AutoAttach::UprobeMulti => uprobe_multi(wanted)?,
        AutoAttach::Ksyscall => {
            // Where there are wrappers, they are what takes the arguments as `struct pt_regs`.
            let prefix = match wanted.kernel.supports(Feature::SyscallWrapper) {
                true => "__x64_sys_",
                false => "__se_sys_",
            };
            let symbol = format!("{prefix}{}", wanted.target()?);
            AttachPoint::Kprobe { symbol, offset: 0, on_return }
        }
        AutoAttach::Tracepoint => {
            let (category, name) = wanted
                .target()?
                .split_once('/')
                .ok_or_else(|| wanted.wrong("a tracepoint is category/name"))?;
            AttachPoint::Tracepoint { category: category.into(), name: name.into() }
        }
        AutoAttach::RawTracepoint => AttachPoint::RawTracepoint { name: wanted.target()?.into() },
        AutoAttach::Trace | AutoAttach::Lsm => AttachPoint::Loaded,
        AutoAttach::Iter => AttachPoint::Iter(IterTarget::All),
        AutoAttach::Nothing => {
            return Err(Error::Invalid {
                what: format!(
                    "SEC(\"{}\") of {} does not say what it attaches to",
                    wanted.program.section, wanted.program.name
                ),
                help: Some(
                    "attach it to a device, cgroup, socket or the like by an attach point".into(),
                ),
            });
        }
        // Its places are in a file, see `static_probes`.
        AutoAttach::Usdt => return Err(wrong_kind(wanted, None)),
        AutoAttach::TracingMulti => {
            let help = "one link for many functions by BTF is not supported yet; SEC(\"fentry/...\") \
                        attaches to one, SEC(\"kprobe.multi/...\") to many";
            return Err(wrong_kind(wanted, Some(help)));
        }
    })
}

fn wrong_kind(wanted: &Wanted<'_>, help: Option<&str>) -> Error {
    Error::Unsupported {
        what: format!("SEC(\"{}\") cannot be attached", wanted.program.section),
        help: help.map(str::to_owned),
    }
}

fn kprobe(wanted: &Wanted<'_>) -> Result<AttachPoint> {
    let on_return = wanted.section.on_return();
    let (symbol, offset) = with_offset(wanted, wanted.target()?)?;
    let named = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == '.';
    if symbol.is_empty() || !symbol.chars().all(named) {
        return Err(wanted.wrong("a kprobe is function or function+offset"));
    }
    Ok(AttachPoint::Kprobe { symbol: symbol.into(), offset, on_return })
}

fn kernel_functions(wanted: &Wanted<'_>) -> Result<Vec<String>> {
    let pattern = wanted.target()?;
    if !is_pattern(pattern) {
        return Ok(vec![pattern.to_owned()]);
    }
    let mut names = wanted.places.catalog.kernel_functions();
    if names.is_empty() {
        return Err(Error::Unsupported {
            what: format!("the functions that {pattern} could match cannot be listed"),
            help: Some(
                "available_filter_functions in tracefs has them, where the kernel has ftrace"
                    .into(),
            ),
        });
    }
    names.retain(|name| matches(pattern, name));
    if names.is_empty() {
        names = aliases(wanted, pattern);
    }
    if names.is_empty() {
        return Err(wanted.wrong("no kernel function matches"));
    }
    Ok(names)
}

/// Names that the list of functions does not have, of functions that it has: one of each function.
fn aliases(wanted: &Wanted<'_>, pattern: &str) -> Vec<String> {
    let mut found = wanted.places.catalog.kernel_function_aliases();
    found.retain(|(name, _)| matches(pattern, name));
    let mut seen = HashSet::new();
    found.retain(|(_, listed)| seen.insert(listed.clone()));
    found.into_iter().map(|(name, _)| name).collect()
}

fn uprobe(wanted: &Wanted<'_>) -> Result<AttachPoint> {
    let on_return = wanted.section.on_return();
    let (path, function) = file_and_rest(wanted, "a user function is path:function+offset")?;
    let offset = match number(function) {
        Some(offset) => offset,
        None => {
            let (name, offset) = with_offset(wanted, function)?;
            let symbols = functions(wanted, &path)?;
            let symbol = symbols.iter().find(|symbol| symbol.name == name);
            let symbol = symbol.ok_or_else(|| {
                wanted.wrong(&format!("{} has no function {name}", path.display()))
            })?;
            symbol.offset + offset
        }
    };
    Ok(AttachPoint::Uprobe { path, offset, on_return, pid: None })
}

fn uprobe_multi(wanted: &Wanted<'_>) -> Result<AttachPoint> {
    let (path, pattern) = file_and_rest(wanted, "user functions are path:pattern")?;
    let symbols = functions(wanted, &path)?;
    let chosen = symbols.iter().filter(|symbol| matches(pattern, &symbol.name));
    let mut offsets: Vec<u64> = chosen.map(|symbol| symbol.offset).collect();
    offsets.sort_unstable();
    // Names that stand for one function.
    offsets.dedup();
    if offsets.is_empty() {
        return Err(wanted.wrong(&format!("no function of {} matches", path.display())));
    }
    let place = |offset| UprobePlace { offset, ..UprobePlace::default() };
    Ok(AttachPoint::UprobeMulti {
        path,
        places: offsets.into_iter().map(place).collect(),
        on_return: wanted.section.on_return(),
        session: wanted.is_session(),
        pid: None,
    })
}

/// The file before the first colon, and what follows it.
fn file_and_rest<'a>(wanted: &'a Wanted<'_>, form: &str) -> Result<(PathBuf, &'a str)> {
    let target = wanted.target()?;
    let (file, rest) = target.split_once(':').ok_or_else(|| wanted.wrong(form))?;
    let path = wanted.places.binaries.resolve(file, None);
    let path =
        path.ok_or_else(|| wanted.wrong(&format!("there is no program or library {file}")))?;
    Ok((path, rest))
}

fn functions(wanted: &Wanted<'_>, path: &std::path::Path) -> Result<Vec<Symbol>> {
    wanted.places.binaries.functions(path).map_err(|why| wanted.wrong(&why))
}

/// `name+offset`; a probe on the return of a function has none.
fn with_offset<'a>(wanted: &Wanted<'_>, text: &'a str) -> Result<(&'a str, u64)> {
    let Some((name, offset)) = text.split_once('+') else { return Ok((text, 0)) };
    let offset = number(offset).ok_or_else(|| wanted.wrong("the offset is not a number"))?;
    if offset != 0 && wanted.section.on_return() {
        return Err(wanted.wrong("a function returns as a whole, not at an offset"));
    }
    Ok((name, offset))
}

fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Whether a name matches a pattern: `*` stands for any characters, `?` for one (as libbpf has it).
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    // Where to go on when what follows the last star does not match.
    let mut retry = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, n));
                p += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[n] => (p, n) = (p + 1, n + 1),
            _ => match retry {
                Some((after, at)) => {
                    retry = Some((after, at + 1));
                    (p, n) = (after, at + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("tcp_*", "tcp_v4_connect", true),
            ("tcp_*", "udp_tcp_", false),
            ("*_connect", "tcp_v4_connect", true),
            ("t?p*4*", "tcp_v4_connect", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("*", "", true),
            ("?", "", false),
            ("abc", "abc", true),
            ("abc", "abcd", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}

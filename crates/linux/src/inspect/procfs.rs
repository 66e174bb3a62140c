//! What `/proc` tells: who holds what, where BPF file systems are, the kernel's symbols.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bombus_kernel::inspect::{Holder, KernelSymbol, ObjectKind, TaskFd};
use bombus_kernel::{Error, Result};

use crate::error::errno_of;
use crate::sys::hook;

/// What an open object's link in `/proc/PID/fd` says (`anon_inode:bpf-map`).
fn kind_of_link(target: &Path) -> Option<ObjectKind> {
    let name = target.to_str()?;
    [
        ("bpf-map", ObjectKind::Map),
        ("bpf-prog", ObjectKind::Program),
        ("bpf_link", ObjectKind::Link),
        ("bpf-link", ObjectKind::Link),
        ("btf", ObjectKind::Btf),
    ]
    .into_iter()
    .find(|(what, _)| name.contains("anon_inode") && name.ends_with(what))
    .map(|(_, kind)| kind)
}

pub(super) fn kind_of_fd(fd: BorrowedFd<'_>) -> Option<ObjectKind> {
    kind_of_link(&fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())).ok()?)
}

/// The directories where BPF file systems are mounted.
pub(super) fn bpf_mounts() -> Vec<PathBuf> {
    let mounts = fs::read("/proc/mounts").unwrap_or_default();
    mounts
        .split(|&byte| byte == b'\n')
        .filter_map(|line| {
            let mut fields = line.split(|&byte| byte == b' ');
            let (_, directory, kind) = (fields.next()?, fields.next()?, fields.next()?);
            kind.starts_with(b"bpf").then(|| unescape(directory))
        })
        .collect()
}

/// Blanks and backslashes stand as three octal digits (`mangle_path`, `fs/seq_file.c`).
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.get(..3).and_then(|digits| str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(value) if byte == b'\\' => {
                bytes.push(value);
                rest = &after[3..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    PathBuf::from(OsStr::from_bytes(&bytes))
}

/// Every file below a directory, in no particular order; links are not followed.
pub(super) fn files_below(directory: &Path, each: &mut dyn FnMut(PathBuf)) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files_below(&entry.path(), each),
            Ok(kind) if kind.is_file() => each(entry.path()),
            _ => {}
        }
    }
}

/// The processes, by number.
fn processes() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut pids: Vec<u32> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids
}

/// The descriptors of a process with what they are; none when that is not ours to know.
fn descriptors(pid: u32) -> Vec<(u32, PathBuf)> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let mut fds: Vec<(u32, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            Some((entry.file_name().to_str()?.parse().ok()?, fs::read_link(entry.path()).ok()?))
        })
        .collect();
    fds.sort_unstable();
    fds
}

/// Who holds objects of a kind open, each process once.
pub(super) fn holders(kind: ObjectKind) -> BTreeMap<u32, Vec<Holder>> {
    let key = match kind {
        ObjectKind::Program => "prog_id:",
        ObjectKind::Map => "map_id:",
        ObjectKind::Link => "link_id:",
        ObjectKind::Btf => "btf_id:",
    };
    let mut holders = BTreeMap::<u32, Vec<Holder>>::new();
    for pid in processes() {
        for (fd, target) in descriptors(pid) {
            if kind_of_link(&target) != Some(kind) {
                continue;
            }
            let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).unwrap_or_default();
            let id = info.lines().find_map(|line| line.strip_prefix(key)?.trim().parse().ok());
            let Some(id) = id else { continue };
            let of_object = holders.entry(id).or_default();
            if of_object.iter().all(|holder| holder.pid != pid) {
                let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
                of_object.push(Holder { pid, comm: comm.trim_end_matches('\n').to_owned() });
            }
        }
    }
    holders
}

/// Descriptors of perf events and raw tracepoints with a program.
pub(super) fn task_fds() -> Vec<TaskFd> {
    let mut found = Vec::new();
    for pid in processes() {
        for (fd, _) in descriptors(pid) {
            if let Ok(traced) = hook::task_fd(pid, fd) {
                found.push(TaskFd {
                    pid,
                    fd,
                    prog_id: traced.prog_id,
                    fd_type: traced.fd_type,
                    name: traced.name,
                    offset: traced.offset,
                    addr: traced.addr,
                });
            }
        }
    }
    found
}

/// `/proc/kallsyms`, by address.
pub(crate) fn kernel_symbols() -> Result<Vec<KernelSymbol>> {
    let text = fs::read("/proc/kallsyms")
        .map_err(|error| Error::os("read /proc/kallsyms", errno_of(&error)))?;
    let mut symbols: Vec<KernelSymbol> = text
        .split(|&byte| byte == b'\n')
        .filter_map(|line| symbol(str::from_utf8(line).ok()?))
        .filter(|symbol| symbol.address != 0)
        .collect();
    symbols.sort_by_key(|symbol| symbol.address);
    Ok(symbols)
}

/// `ffffffff81000000 T name [module]`.
fn symbol(line: &str) -> Option<KernelSymbol> {
    let mut fields = line.split_ascii_whitespace();
    let address = u64::from_str_radix(fields.next()?, 16).ok()?;
    let _kind = fields.next()?;
    let name = fields.next()?.to_owned();
    let module = fields.next().map_or("", |module| module.trim_matches(['[', ']'])).to_owned();
    Some(KernelSymbol { address, name, module })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_with_blanks() {
        assert_eq!(unescape(br"/a\040b\134c"), Path::new(r"/a b\c"));
        assert_eq!(unescape(br"/a\04"), Path::new(r"/a\04"));
    }

    #[test]
    fn symbols() {
        let got = symbol("ffffffffc0001000 t bpf_prog_6deef7357e7b4530_p\t[bpf]").unwrap();
        assert_eq!(
            (got.name.as_str(), got.module.as_str()),
            ("bpf_prog_6deef7357e7b4530_p", "bpf")
        );
        assert_eq!(symbol("ffffffff81000000 T _text").unwrap().address, 0xffff_ffff_8100_0000);
        assert_eq!(symbol("nothing"), None);
    }
}

//! What `/proc` tells about a task (`proc(5)`).

use std::collections::HashMap;
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::sys;

/// The task's name, padded with zeros.
pub(super) fn comm(tid: u32) -> Option<[u8; 16]> {
    let text = fs::read(format!("/proc/{tid}/comm")).ok()?;
    let name = text.strip_suffix(b"\n").unwrap_or(&text);
    let mut comm = [0; 16];
    let length = name.len().min(15);
    comm[..length].copy_from_slice(&name[..length]);
    Some(comm)
}

/// One line of `/proc/TID/status`, without its key.
pub(super) fn status_field(tid: u32, key: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    status_line(&status, key).map(str::to_owned)
}

fn status_line<'a>(status: &'a str, key: &str) -> Option<&'a str> {
    status.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(':')?.trim()))
}

/// Process id and parent's process id of a task.
pub(super) fn process_and_parent(tid: u32) -> Option<(u32, u32)> {
    let status = fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    let number = |key| status_line(&status, key)?.parse().ok();
    Some((number("Tgid")?, number("PPid")?))
}

/// Real user and group id.
pub(super) fn uid_gid(tid: u32) -> Option<(u32, u32)> {
    let status = fs::read_to_string(format!("/proc/{tid}/status")).ok()?;
    let real = |key| status_line(&status, key)?.split_whitespace().next()?.parse().ok();
    Some((real("Uid")?, real("Gid")?))
}

/// State letter and last CPU, from `/proc/PID/task/TID/stat`.
pub(super) fn state_and_cpu(pid: u32, tid: u32) -> Option<(u8, u32)> {
    let stat = fs::read(format!("/proc/{pid}/task/{tid}/stat")).ok()?;
    // The name, in parentheses, may contain anything.
    let after_name = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(stat.get(after_name + 2..)?).ok()?;
    let mut fields = rest.split(' ');
    let state = *fields.next()?.as_bytes().first()?;
    // Field 39; the state is field 3.
    Some((state, fields.nth(35)?.parse().ok()?))
}

/// Whether a task is a thread of this process.
pub(super) fn is_thread_of(pid: u32, tid: u32) -> bool {
    CString::new(format!("/proc/{pid}/task/{tid}")).is_ok_and(|path| sys::exists(&path))
}

/// Whether a process is one of the kernel's own: they have no memory map.
pub(super) fn is_kernel_thread(pid: u32) -> bool {
    status_field(pid, "Kthread").is_some_and(|value| value == "1")
        || (status_field(pid, "VmSize").is_none()
            && status_field(pid, "State").is_some_and(|state| !state.starts_with('Z')))
}

/// The signals that a `signalfd(2)` of this process takes.
pub(super) fn signalfd_mask(fd: i32) -> u64 {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap_or_default();
    status_line(&info, "sigmask").and_then(|mask| u64::from_str_radix(mask, 16).ok()).unwrap_or(0)
}

/// The thread ids of a process.
pub(super) fn threads(pid: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Finds the ids of cgroups: the inode of the directory in the version 2 hierarchy.
#[derive(Debug, Default)]
pub(super) struct Cgroups {
    mount: Option<Option<PathBuf>>,
    ids: HashMap<String, u64>,
}

impl Cgroups {
    /// The id of a task's cgroup; 0 when it cannot be found out.
    pub(super) fn id(&mut self, tid: u32) -> u64 {
        let Ok(text) = fs::read_to_string(format!("/proc/{tid}/cgroup")) else { return 0 };
        let Some(path) = text.lines().find_map(|line| line.strip_prefix("0::/")) else { return 0 };
        if let Some(&id) = self.ids.get(path) {
            return id;
        }
        let mount = self.mount.get_or_insert_with(cgroup2_mount);
        let directory = mount.as_ref().map(|mount| mount.join(path));
        let id = directory.and_then(|path| fs::metadata(path).ok()).map_or(0, |found| found.ino());
        self.ids.insert(path.to_owned(), id);
        id
    }
}

/// Where the version 2 hierarchy is mounted (`/proc/self/mountinfo`: field 5 is the place, the
/// file system's type comes after a single dash).
fn cgroup2_mount() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        let (mount, source) = line.split_once(" - ")?;
        source.starts_with("cgroup2 ").then(|| mount.split(' ').nth(4).map(PathBuf::from))?
    })
}

/// One line of `/proc/PID/maps`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Mapping {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) executable: bool,
    /// Offset in the file.
    pub(super) offset: u64,
    pub(super) device: (u32, u32),
    pub(super) inode: u64,
    /// Empty for anonymous memory.
    pub(super) path: PathBuf,
}

/// The memory map of a process.
pub(super) fn mappings(pid: u32) -> Vec<Mapping> {
    let Ok(text) = fs::read(format!("/proc/{pid}/maps")) else { return Vec::new() };
    text.split(|&byte| byte == b'\n').filter_map(mapping).collect()
}

fn mapping(line: &[u8]) -> Option<Mapping> {
    use std::os::unix::ffi::OsStrExt;
    let mut fields = line.splitn(6, |&byte| byte == b' ');
    let mut text = || std::str::from_utf8(fields.next()?).ok();
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let (start, end) = text()?.split_once('-')?;
    let permissions = text()?;
    let offset = hex(text()?)?;
    let (major, minor) = text()?.split_once(':')?;
    let inode = text()?.parse().ok()?;
    let path = fields.next().unwrap_or_default().trim_ascii_start();
    let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
    Some(Mapping {
        start: hex(start)?,
        end: hex(end)?,
        executable: permissions.as_bytes().get(2) == Some(&b'x'),
        offset,
        device: (hex(major)? as u32, hex(minor)? as u32),
        inode,
        path: Path::new(std::ffi::OsStr::from_bytes(path)).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_memory_map() {
        let line = b"7f1c2a000000-7f1c2a195000 r-xp 00028000 fe:01 131 \t /lib/a b.so (deleted)";
        let found = mapping(line).unwrap();
        assert_eq!((found.start, found.end), (0x7f1c_2a00_0000, 0x7f1c_2a19_5000));
        assert_eq!((found.executable, found.offset, found.inode), (true, 0x28000, 131));
        assert_eq!(found.device, (0xfe, 1));
        assert_eq!(found.path, Path::new("/lib/a b.so"));
        let anonymous = mapping(b"55d0-55d1 rw-p 00000000 00:00 0 ").unwrap();
        assert_eq!((anonymous.executable, anonymous.path), (false, PathBuf::new()));
        assert_eq!(mapping(b""), None);
    }

    #[test]
    fn this_process() {
        let pid = std::process::id();
        assert_eq!(process_and_parent(pid).unwrap().0, pid);
        assert!(threads(pid).contains(&pid));
        assert!(state_and_cpu(pid, pid).is_some());
        assert!(mappings(pid).iter().any(|mapping| mapping.executable));
        assert_eq!(comm(0), None);
    }
}

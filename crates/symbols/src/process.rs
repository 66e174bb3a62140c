//! What a running process sees of the file system.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// A process, and whether its files are ours.
pub(crate) struct View {
    /// For example `/proc/42`.
    proc: PathBuf,
    /// What stands before its paths when we open them; empty when they are the same files.
    root: PathBuf,
}

impl View {
    pub(crate) fn of(pid: u32) -> View {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let link = |path: &Path| std::fs::read_link(path).ok();
        // Where either link cannot be read, assume what is usual.
        let namespace = |proc: &Path| link(&proc.join("ns/mnt"));
        let other_namespace = namespace(&proc)
            .zip(namespace(Path::new("/proc/self")))
            .is_some_and(|(theirs, ours)| theirs != ours);
        let other_root = link(&proc.join("root")) != link(Path::new("/proc/self/root"));
        let readable = proc.join("root/.").exists();
        let root = if readable && (other_namespace || other_root) {
            proc.join("root")
        } else {
            PathBuf::new()
        };
        View { proc, root }
    }

    /// The path by which we can open the process's file.
    pub(crate) fn path(&self, path: &Path) -> PathBuf {
        if self.root.as_os_str().is_empty() {
            return path.to_owned();
        }
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Its `PATH` when its files are not ours.
    pub(crate) fn search_path(&self) -> Option<OsString> {
        if self.root.as_os_str().is_empty() {
            return None;
        }
        let environment = std::fs::read(self.proc.join("environ")).ok()?;
        let mut variables = environment.split(|&byte| byte == 0);
        let path = variables.find_map(|variable| variable.strip_prefix(b"PATH="))?;
        Some(OsString::from_vec(path.to_vec()))
    }

    /// The program that it runs.
    pub(crate) fn program(&self) -> Option<PathBuf> {
        let program = std::fs::read_link(self.proc.join("exe")).ok()?;
        let path = self.path(&program);
        // Replaced on disk since: the link still leads to it.
        Some(if path.exists() { path } else { self.proc.join("exe") })
    }

    /// The files that it has mapped, as it calls them, each once.
    pub(crate) fn mapped_files(&self) -> Vec<PathBuf> {
        let maps = std::fs::read(self.proc.join("maps")).unwrap_or_default();
        let mut files: Vec<PathBuf> = String::from_utf8_lossy(&maps)
            .lines()
            // Address, permissions, offset, device, inode, path.
            .filter_map(|line| line.find('/').map(|at| PathBuf::from(&line[at..])))
            .collect();
        files.dedup();
        files
    }
}

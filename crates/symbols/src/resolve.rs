//! Which file a name means. The order is bpftrace's: a name that begins with `lib` is looked up as
//! a library first; then it is a path, then a program in `PATH`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::ldcache;
use crate::process::View;

/// Where the dynamic linker looks when its cache does not know (`ld.so(8)`, and Debian's
/// multiarch).
const LIBRARY_DIRECTORIES: &[&str] = &[
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
    "/usr/local/lib",
];

/// The file that `name` means, for a process if one is given.
pub(crate) fn resolve(name: &str, pid: Option<u32>) -> Option<PathBuf> {
    let view = pid.map(View::of);
    let seen = |path: &Path| {
        let path = view.as_ref().map_or_else(|| path.to_owned(), |view| view.path(path));
        path.is_file().then_some(path)
    };
    if name.is_empty() {
        return view?.program();
    }
    let plain = !name.contains('/');
    if plain
        && name.starts_with("lib")
        && let Some(library) = library(name, view.as_ref(), &seen)
    {
        return Some(library);
    }
    if let Some(path) = seen(Path::new(name)) {
        return Some(path);
    }
    if !plain {
        return None;
    }
    let theirs = view.as_ref().and_then(View::search_path);
    let directories: OsString = theirs.or_else(|| std::env::var_os("PATH")).unwrap_or_default();
    std::env::split_paths(&directories).find_map(|directory| seen(&directory.join(name)))
}

fn library(
    name: &str,
    view: Option<&View>,
    seen: &dyn Fn(&Path) -> Option<PathBuf>,
) -> Option<PathBuf> {
    // What the process has loaded is what is meant, wherever it comes from.
    let mapped = view.map(View::mapped_files).unwrap_or_default();
    let mapped = mapped.iter().filter(|path| {
        let file = path.file_name().and_then(|file| file.to_str());
        file.is_some_and(|file| is_library(name, file))
    });
    if let Some(path) = mapped.filter_map(|path| seen(path)).next() {
        return Some(path);
    }
    let cache = seen(Path::new("/etc/ld.so.cache")).and_then(|path| std::fs::read(path).ok());
    let cache = cache.unwrap_or_default();
    let cached = ldcache::libraries(&cache).filter(|(soname, _)| is_library(name, soname));
    if let Some(path) = cached.filter_map(|(_, path)| seen(&path)).next() {
        return Some(path);
    }
    let directories = LIBRARY_DIRECTORIES.iter().map(Path::new);
    directories.filter_map(|directory| in_directory(name, directory, view, seen)).next()
}

/// The library with this name in a directory; of several versions the one that sorts last.
fn in_directory(
    name: &str,
    directory: &Path,
    view: Option<&View>,
    seen: &dyn Fn(&Path) -> Option<PathBuf>,
) -> Option<PathBuf> {
    let opened = view.map_or_else(|| directory.to_owned(), |view| view.path(directory));
    let entries = std::fs::read_dir(opened).ok()?.flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut matching: Vec<String> = names.filter(|file| is_library(name, file)).collect();
    matching.sort();
    matching.iter().rev().find_map(|file| seen(&directory.join(file)))
}

/// Whether a file is the library that `name` means: `libc`, `libc.so` and `libc.so.6` all mean
/// `libc.so.6`, and so does the first `libc-2.31.so`, which older glibc has.
fn is_library(name: &str, file: &str) -> bool {
    let Some(rest) = file.strip_prefix(name) else { return false };
    if name.contains(".so") {
        return rest.is_empty() || rest.starts_with('.');
    }
    if let Some(version) = rest.strip_prefix('-') {
        let number = version.trim_start_matches(|byte: char| byte.is_ascii_digit() || byte == '.');
        return version.starts_with(|byte: char| byte.is_ascii_digit()) && number == "so";
    }
    rest.strip_prefix(".so").is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::is_library;

    #[test]
    fn library_names() {
        for file in ["libc.so.6", "libc.so", "libc-2.31.so"] {
            assert!(is_library("libc", file), "{file}");
        }
        for file in ["libcap.so.2", "libc.a", "libc++.so.1", "libc-client.so.2007", "lib", "libc"] {
            assert!(!is_library("libc", file), "{file}");
        }
        assert!(is_library("libc.so", "libc.so.6"));
        assert!(is_library("libc.so.6", "libc.so.6"));
        assert!(!is_library("libc.so.6", "libc.so.60"));
        assert!(is_library("libstdc++", "libstdc++.so.6.0.30"));
    }
}

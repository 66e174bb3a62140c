//! Programs of the host that tests start, with the libraries that they are linked to.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use super::cpio::Archive;

/// What the suites ask for, of which a machine has what the host has: tools, and for commands that
/// are traced those with a C library, unlike busybox (whose programs start each other, not what is
/// in the path). There is no C compiler among them: with its headers it would be larger than all
/// the rest.
const PROGRAMS: &[&str] =
    &["bpftool", "cat", "clang-19", "ip", "ls", "nsenter", "sh", "strace", "true", "unshare"];

/// Takes them along to the places that they have on the host.
pub(super) fn take_along(archive: &mut Archive) -> Result<(), String> {
    let mut files = BTreeSet::new();
    for program in PROGRAMS.iter().filter_map(|name| find(name)) {
        let listed = Command::new("ldd").arg(&program).output();
        let text = listed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        // `NAME => /PATH (ADDRESS)`, and the loader itself without a name.
        let words = text.iter().flat_map(|text| text.split_ascii_whitespace());
        files.extend(words.filter(|word| word.starts_with('/')).map(PathBuf::from));
        files.insert(program);
    }
    for file in files {
        let inside = file.to_string_lossy().trim_start_matches('/').to_owned();
        archive.file(&inside, &file, 0o755)?;
    }
    Ok(())
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.is_file())
}

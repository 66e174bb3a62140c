//! What is traced besides the machine: a command or a process. Both are looked at before anything
//! is attached, so that a mistake costs nothing.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bombus_kernel::Command;

use crate::failure::Failure;
use crate::words;

/// The command of `-c`.
pub(crate) fn command(text: &OsStr) -> Result<Command, Failure> {
    let argv = words::split(text).ok_or_else(|| {
        Failure::new(format!("a quote does not end in -c {}", text.display()))
            .help("quote the whole for the shell, and its parts the other way: -c \"sh -c 'a b'\"")
    })?;
    let Some(program) = argv.first() else {
        return Err(Failure::new("the command of -c is empty").help("give a command: -c 'ls -l'"));
    };
    if is_runnable(program, std::env::var_os("PATH").as_deref()) {
        return Ok(Command { argv });
    }
    let program = program.display();
    let message = format!(
        "Failed to fork child: Path '{program}' does not exist or is not executable (No such file \
         or directory)"
    );
    Err(Failure::new(message).help(
        "-c takes a program in PATH, or the path of one, with its arguments; what only a shell \
         knows needs one: -c \"sh -c '...'\"",
    ))
}

/// Whether there is such a program (`execvp(3)`: a name without a slash is looked for in `PATH`).
fn is_runnable(program: &OsStr, search: Option<&OsStr>) -> bool {
    let is_program = |path: &Path| {
        path.metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if program.as_bytes().contains(&b'/') {
        return is_program(Path::new(program));
    }
    let search = search.unwrap_or(OsStr::new("/bin:/usr/bin"));
    std::env::split_paths(search).any(|directory| is_program(&directory.join(program)))
}

/// Whether the process of `-p` is there.
pub(crate) fn check_process(pid: u32) -> Result<(), Failure> {
    if Path::new(&format!("/proc/{pid}")).is_dir() {
        return Ok(());
    }
    let message = "Failed to attach to pid: Unable to open pidfd (No such process)";
    Err(Failure::new(message).help(format!(
        "there is no process {pid} (any more); `pgrep NAME` finds processes by name, and \
         -c COMMAND starts one"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs() {
        let path = Some(OsStr::new("/nowhere:/bin"));
        assert!(is_runnable("sh".as_ref(), path));
        assert!(is_runnable("/bin/sh".as_ref(), None));
        assert!(is_runnable("sh".as_ref(), None));
        for no in ["/bin", "nosuchprogram", "/etc/passwd", "/no/such", ""] {
            assert!(!is_runnable(no.as_ref(), path), "{no}");
        }
        assert!(!is_runnable("sh".as_ref(), Some(OsStr::new("/etc"))));
    }

    #[test]
    fn processes() {
        assert!(check_process(std::process::id()).is_ok());
        // One more than Linux ever gives.
        assert!(check_process((1 << 22) + 1).is_err());
    }
}

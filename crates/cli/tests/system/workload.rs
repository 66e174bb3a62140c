//! Commands to watch, in a directory of their own that anybody may write to.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// User and group of nobody.
pub(crate) const NOBODY: u32 = 65534;

/// A directory that goes away with the value.
pub(crate) struct Dir(pub(crate) PathBuf);

impl Dir {
    pub(crate) fn new() -> Result<Dir, String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("bombus-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).map_err(|error| error.to_string())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).map_err(|e| e.to_string())?;
        if is_root() {
            chown(&path, Some(NOBODY), Some(NOBODY)).map_err(|error| error.to_string())?;
        }
        Ok(Dir(path))
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> Result<PathBuf, String> {
        let path = self.0.join(name);
        let draft = self.0.join(format!("{name}.draft"));
        fs::write(&draft, text).map_err(|error| error.to_string())?;
        copy(&draft, &path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(|e| e.to_string())?;
        Ok(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn is_root() -> bool {
    fs::read_to_string("/proc/self/status")
        .is_ok_and(|status| status.lines().any(|line| line.starts_with("Uid:\t0\t")))
}

/// Drops to nobody, without groups, when we are root.
pub(crate) fn as_nobody(command: &mut Command) -> &mut Command {
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// Copies by another process. A file that this one has open for writing is open in every child that
/// another thread is making at this moment, too, and cannot be executed until that one has begun its
/// program (`ETXTBSY`).
fn copy(from: &Path, to: &Path) -> Result<(), String> {
    let status = Command::new("cp").args([from, to]).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        other => Err(format!("cp: {other:?}")),
    }
}

/// A copy of the program under test where nobody can reach it.
pub(crate) fn reachable(dir: &Dir) -> Result<PathBuf, String> {
    let path = dir.0.join("bombus");
    copy(Path::new(env!("CARGO_BIN_EXE_bombus")), &path)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(|e| e.to_string())?;
    Ok(path)
}

/// Ten C files and a Makefile; the command that builds them all.
pub(crate) fn c_build(dir: &Dir, jobs: u32) -> Result<String, String> {
    let mut objects = String::new();
    for n in 0..10 {
        dir.write(&format!("f{n}.c"), &format!("int f{n}(int x) {{ return x * {n}; }}\n"))?;
        objects += &format!(" f{n}.o");
    }
    dir.write("Makefile", &format!("all:{objects}\n%.o: %.c\n\t@gcc -O1 -c -o $@ $<\n"))?;
    Ok(format!("make -B -s -j{jobs} -C {}", dir.0.display()))
}

/// A program of four threads, each of which makes the same calls. They have ended when they are
/// joined: otherwise how often the first one sleeps in `futex` would be a matter of chance.
pub(crate) fn threads(dir: &Dir) -> Result<String, String> {
    let source = dir.write(
        "threads.c",
        "#include <pthread.h>\n#include <unistd.h>\n#include <sys/syscall.h>\n\
         static void *work(void *p) {\n\
         \tfor (int i = 0; i < 500; i++) { syscall(SYS_getppid); syscall(SYS_gettid); }\n\
         \treturn p;\n}\n\
         int main(void) {\n\tpthread_t t[4];\n\
         \tfor (int i = 0; i < 4; i++) pthread_create(&t[i], 0, work, 0);\n\
         \tusleep(300000);\n\tfor (int i = 0; i < 4; i++) pthread_join(t[i], 0);\n\treturn 0;\n}\n",
    )?;
    let program = dir.0.join("threads");
    compile(&source, &program)?;
    Ok(program.display().to_string())
}

/// Compiles one C file.
pub(crate) fn compile(source: &Path, program: &Path) -> Result<(), String> {
    let out = Command::new("gcc")
        .args(["-O1", "-pthread", "-o"])
        .arg(program)
        .arg(source)
        .output()
        .map_err(|error| format!("gcc: {error}"))?;
    if out.status.success() {
        Ok(())
    } else {
        Err(format!("gcc: {}", String::from_utf8_lossy(&out.stderr)))
    }
}

//! The hooks on real processes: nothing is missed, and the processes notice nothing.
//!
//! The traced programs are in `programs/`; each checks by itself that it was not disturbed. Every
//! test runs as the user of the test run, and as an ordinary user when that is root.

mod driver;
mod tests;

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use libtest_mimic::{Arguments, Failed, Trial};

/// Who traces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum User {
    /// The user of the test run.
    Same,
    /// Somebody without privileges (65534).
    Nobody,
    /// The same, with events that may be late: there are agents in the traced processes.
    WithAgents,
}

/// What a test says: passed, failed, or why it cannot run here.
pub(crate) type Outcome = Result<Option<String>, Failed>;

fn main() {
    let mut args = env::args_os().skip(1).peekable();
    if args.peek().map(|arg| arg.as_os_str()) == Some(OsStr::new(driver::FLAG)) {
        std::process::exit(driver::main(args.skip(1)));
    }
    let mut trials = vec![];
    for &(name, test) in tests::ALL {
        let mut add = |user, suffix| {
            trials.push(Trial::test(format!("{name}{suffix}"), move || {
                if let Some(reason) = test(user)? {
                    println!("skipped: {name}{suffix}: {reason}");
                }
                Ok(())
            }));
        };
        add(User::Same, "");
        if is_root() {
            add(User::Nobody, "_as_nobody");
        }
        add(User::WithAgents, "_with_agents");
    }
    let arguments = Arguments::from_args();
    let conclusion = libtest_mimic::run(&arguments, trials);
    let _ = fs::remove_dir_all(directory());
    conclusion.exit();
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// A directory that everybody may write to.
pub(crate) fn directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let path = env::temp_dir().join(format!("bombus-hooks-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary directory");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o1777)).expect("permissions");
        path
    })
}

/// Compiles a program of `programs/`, once. `None`: there is no C compiler.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    static COMPILING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one_at_a_time = COMPILING.lock();
    let path = directory().join(name);
    if !path.exists() {
        let source = format!("{}/tests/programs/{name}.c", env!("CARGO_MANIFEST_DIR"));
        let done = Command::new("cc")
            .args(["-O1", "-g", "-pthread", "-o"])
            .args([path.as_os_str(), OsStr::new(&source)])
            .status();
        if !done.is_ok_and(|status| status.success()) {
            return None;
        }
    }
    Some(path)
}

/// A command without the library path that cargo sets: searching directories that only one user
/// may read costs system calls.
pub(crate) fn plain(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_remove("LD_LIBRARY_PATH");
    command
}

/// A command as this user.
pub(crate) fn as_user(user: User, program: impl AsRef<OsStr>) -> Command {
    if user == User::Same || !is_root() {
        return plain(program);
    }
    let mut command = plain("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]);
    command.arg(program);
    command
}

/// The tracer with these options (and `--` and a command), its report, and where it goes.
pub(crate) struct Tracer {
    command: Command,
    report: PathBuf,
}

impl Tracer {
    /// Options as one text, in words; then the command.
    pub(crate) fn new(user: User, options: &str, command: &[&dyn AsRef<OsStr>]) -> Tracer {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let report = directory().join(format!("report-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        let mut tracer = as_user(user, env::current_exe().expect("a path"));
        tracer.arg(driver::FLAG).arg("--report").arg(&report);
        tracer.args(options.split_whitespace());
        if user == User::WithAgents {
            tracer.arg("--late");
        }
        tracer.arg("--");
        tracer.args(command);
        tracer.stdout(Stdio::piped()).stderr(Stdio::piped());
        Tracer { command: tracer, report }
    }

    /// Runs it to its end: exit code, standard output, report.
    pub(crate) fn run(mut self) -> Result<Traced, Failed> {
        let child = self.command.spawn().map_err(Failed::from)?;
        self.finish(child)
    }

    /// Starts it.
    pub(crate) fn start(&mut self) -> Result<Child, Failed> {
        Ok(self.command.spawn()?)
    }

    /// Waits for what was started.
    pub(crate) fn finish(self, child: Child) -> Result<Traced, Failed> {
        let Output { status, stdout, stderr } = child.wait_with_output()?;
        let report = fs::read_to_string(&self.report).unwrap_or_default();
        let stdout = String::from_utf8_lossy(&stdout).into_owned();
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        Ok(Traced { code: status.code(), stdout, stderr, report })
    }
}

/// What came of it.
#[derive(Debug)]
#[allow(dead_code, reason = "shown when a test fails")]
pub(crate) struct Traced {
    /// Exit code.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
    /// One line for each thing counted.
    pub(crate) report: String,
}

impl Traced {
    /// How often something was counted.
    pub(crate) fn count(&self, name: &str) -> u64 {
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok();
        self.report.lines().find_map(value).unwrap_or(0)
    }

    /// Fails unless the exit code is this.
    pub(crate) fn expect_code(&self, code: i32) -> Result<(), Failed> {
        check(self.code == Some(code), || {
            format!("exit code {:?}, not {code}: {self:?}", self.code)
        })
    }

    /// Fails unless something was counted this often.
    pub(crate) fn expect(&self, name: &str, count: u64) -> Result<(), Failed> {
        let found = self.count(name);
        check(found == count, || format!("{name}: {found}, not {count}:\n{}", self.report))
    }
}

/// Fails with a message.
pub(crate) fn check(holds: bool, message: impl FnOnce() -> String) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(message().into()) }
}

/// Waits for something to become true, for at most ten seconds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) -> Result<(), Failed> {
    let begin = Instant::now();
    while !holds() {
        check(begin.elapsed() < Duration::from_secs(10), || format!("never happened: {what}"))?;
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

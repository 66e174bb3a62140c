//! Static probes of user programs, from the C of both sides to the arguments that arrive. What is
//! traced is a program of the test's own, which nobody else runs.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use bombus::{Linux, Loaded, Object, Usdt};
use libtest_mimic::{Arguments, Failed, Trial};

/// A test: what it is called and what it does.
type Test = (&'static str, fn() -> Result<(), Failed>);

fn main() {
    let arguments = Arguments::from_args();
    let missing = skip_reason();
    if let Some(reason) = &missing {
        println!("skipped: static probes: {reason}");
    }
    let tests: [Test; 4] = [
        ("arguments_arrive", arguments_arrive),
        ("arguments_arrive_as_older_headers_have_them", older_headers),
        ("semaphores_count", semaphores_count),
        ("what_is_not_there", what_is_not_there),
    ];
    let trials = tests
        .into_iter()
        .map(|(name, test)| Trial::test(name, test).with_ignored_flag(missing.is_some()));
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

fn skip_reason() -> Option<String> {
    if let Err(error) = bombus::can_load_programs() {
        return Some(error.to_string());
    }
    if std::fs::read_dir("/sys/bus/event_source/devices/uprobe").is_err() {
        return Some("this kernel has no uprobes".into());
    }
    ["clang-19", "cc"].into_iter().find_map(|compiler| {
        let found = Command::new(compiler).arg("--version").output();
        found.is_err().then(|| format!("{compiler} is not installed"))
    })
}

/// A directory with the program that has the probes.
struct Probed {
    directory: PathBuf,
}

impl Probed {
    fn new(name: &str, options: &[&str]) -> Result<Probed, Failed> {
        let directory = std::env::temp_dir().join(format!("bombus-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        let probed = Probed { directory };
        let source =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../symbols/tests/static_probes/probes.c");
        let mut cc = Command::new("cc");
        compiled(cc.arg("-O1").args(options).arg(source).arg("-o").arg(probed.program()))?;
        Ok(probed)
    }

    fn program(&self) -> PathBuf {
        self.directory.join("probes")
    }

    /// The program that watches, in the kernel.
    fn watcher<'k>(
        &self,
        kernel: &'k Linux,
        program: &str,
        options: &[&str],
    ) -> Result<Loaded<'k>, Failed> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let object = self.directory.join("watch.bpf.o");
        let mut clang = Command::new("clang-19");
        clang.args(["-g", "-O2", "-mcpu=v3", "-target", "bpf"]).args(options);
        clang.arg(format!("-DPROGRAM=\"{}\"", self.program().display()));
        clang.arg("-I").arg(manifest.join("examples"));
        clang.arg("-c").arg(manifest.join("tests/usdt/watch.bpf.c")).arg("-o").arg(&object);
        compiled(&mut clang)?;
        let mut object = Object::open(object)?;
        object.autoload(program, true)?;
        let loaded = object.load(kernel);
        Ok(loaded.map_err(|e| format!("{e}\n{}", e.verifier_log().unwrap_or_default()))?)
    }

    /// Starts it, does this, and lets it run to its end; gives its status.
    fn run(&self, between: impl FnOnce(u32) -> Result<(), Failed>) -> Result<Option<i32>, Failed> {
        let mut child =
            Command::new(self.program()).args(["and", "wait"]).stdin(Stdio::piped()).spawn()?;
        let outcome = between(child.id());
        drop(child.stdin.take());
        let status = child.wait()?;
        outcome.map(|()| status.code())
    }
}

impl Drop for Probed {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

fn compiled(command: &mut Command) -> Result<(), Failed> {
    let Output { status, stderr, .. } = command.output()?;
    if status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&stderr).into_owned().into())
    }
}

fn same<T: PartialEq + std::fmt::Debug>(got: T, wanted: T) -> Result<(), Failed> {
    if got == wanted { Ok(()) } else { Err(format!("got {got:?}, wanted {wanted:?}").into()) }
}

/// Whether this becomes so: what is detached may go on for some milliseconds.
fn eventually(mut holds: impl FnMut() -> Result<bool, Failed>) -> Result<(), Failed> {
    let start = Instant::now();
    while !holds()? {
        if start.elapsed() > Duration::from_secs(10) {
            return Err("still attached after ten seconds".into());
        }
    }
    Ok(())
}

/// Cookie, how many arguments, the arguments.
type Hit = (u64, Vec<i64>);

fn hits(loaded: &Loaded<'_>) -> Result<Vec<Hit>, Failed> {
    let count: u32 = loaded.variable("count")?;
    let hits: [[u64; 6]; 8] = loaded.variable("hits")?;
    let hit = |[cookie, count, arguments @ ..]: [u64; 6]| {
        let arguments = arguments.into_iter().take(count as usize);
        (cookie, arguments.map(|argument| argument as i64).collect())
    };
    Ok(hits.into_iter().take(count as usize).map(hit).collect())
}

const WATCHED: Usdt<'static> =
    Usdt { file: "", provider: "demo", name: "watched", pid: None, cookie: 0 };

/// Every form of argument, in programs that run where they were linked to and elsewhere.
fn arguments_arrive() -> Result<(), Failed> {
    for options in [&["-pie", "-fPIE"], &["-no-pie", "-fno-pie"]] {
        let probed = Probed::new("arguments", options)?;
        let program = probed.program();
        let kernel = Linux::new()?;
        let loaded = probed.watcher(&kernel, "anywhere", &[])?;
        let watcher = loaded.program("anywhere")?;
        let mut links = Vec::new();
        let names = [("plain", 1), ("watched", 2), ("sizes", 3), ("indexed", 4)];
        for (name, cookie) in names {
            let file = program.to_str().ok_or("an odd directory")?;
            links.push(watcher.attach_usdt(&Usdt { file, name, cookie, ..WATCHED })?);
        }
        probed.run(|_| Ok(()))?;
        drop(links);
        let negative = -263;
        let wanted = vec![
            (1, vec![]),
            (2, vec![3, 7]),
            (2, vec![3, 8]),
            (3, vec![negative, negative & 0xff, negative, negative & 0xffff]),
            (4, vec![50]),
        ];
        same(hits(&loaded)?, wanted)?;
        // Detached: nothing more.
        eventually(|| {
            let before = loaded.variable::<u32>("count")?;
            probed.run(|_| Ok(()))?;
            Ok(loaded.variable::<u32>("count")? == before)
        })?;
    }
    Ok(())
}

/// A section that says where, and the layout of before libbpf 1.7.
fn older_headers() -> Result<(), Failed> {
    let probed = Probed::new("older", &[])?;
    let kernel = Linux::new()?;
    let loaded = probed.watcher(&kernel, "here", &["-DOLD"])?;
    let link = loaded.attach_all()?;
    probed.run(|_| Ok(()))?;
    drop(link);
    same(hits(&loaded)?, vec![(0, vec![3, 7]), (0, vec![3, 8])])?;
    let program = probed.program();
    let file = program.to_str().ok_or("an odd directory")?;
    let indexed = Usdt { file, name: "indexed", ..WATCHED };
    let error = loaded.program("here")?.attach_usdt(&indexed).unwrap_err().to_string();
    match error.contains("has an index, which <bpf/usdt.bpf.h> knows since libbpf 1.7") {
        true => Ok(()),
        false => Err(error.into()),
    }
}

/// The traced program sees that somebody looks, from the start or later, for as long as it is so;
/// with a process given, only that one.
fn semaphores_count() -> Result<(), Failed> {
    let probed = Probed::new("semaphores", &[])?;
    let program = probed.program();
    let kernel = Linux::new()?;
    let loaded = probed.watcher(&kernel, "anywhere", &[])?;
    let watcher = loaded.program("anywhere")?;
    let watched = Usdt { file: program.to_str().ok_or("an odd directory")?, ..WATCHED };
    same(probed.run(|_| Ok(()))?, Some(0))?;
    let link = watcher.attach_usdt(&watched)?;
    // Two places, one semaphore: each counts.
    same(probed.run(|_| Ok(()))?, Some(2))?;
    drop(link);
    eventually(|| Ok(probed.run(|_| Ok(()))? == Some(0)))?;

    let mut link = None;
    let before = hits(&loaded)?.len();
    let status = probed.run(|pid| {
        link = Some(watcher.attach_usdt(&Usdt { pid: Some(pid), ..watched })?);
        same(probed.run(|_| Ok(()))?, Some(0))
    })?;
    same(status, Some(2))?;
    same(hits(&loaded)?.len() - before, 2)
}

fn what_is_not_there() -> Result<(), Failed> {
    let probed = Probed::new("missing", &[])?;
    let program = probed.program();
    let kernel = Linux::new()?;
    let loaded = probed.watcher(&kernel, "anywhere", &[])?;
    let watcher = loaded.program("anywhere")?;
    let file = program.to_str().ok_or("an odd directory")?;
    for (probe, reason) in [
        (Usdt { file, name: "nothing", ..WATCHED }, "has no such static probe"),
        (Usdt { file: "/no/such/file", ..WATCHED }, "there is no program or library"),
        (Usdt { file: "/etc/passwd", ..WATCHED }, "not an ELF file"),
    ] {
        let error = watcher.attach_usdt(&probe).unwrap_err().to_string();
        if !error.contains(reason) {
            return Err(error.into());
        }
    }
    Ok(())
}

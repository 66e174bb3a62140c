//! The tests.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use std::{fs, thread};

use libtest_mimic::Failed;

use crate::{Outcome, Traced, Tracer, User, as_user, check, directory, eventually, plain, program};

type Test = fn(User) -> Outcome;

/// Name and test.
pub(crate) const ALL: &[(&str, Test)] = &[
    ("counts_of_a_command", counts_of_a_command),
    ("counts_of_a_pipeline", counts_of_a_pipeline),
    ("counts_of_threads", counts_of_threads),
    ("counts_of_a_parallel_build", counts_of_a_parallel_build),
    ("children_of_every_kind", children_of_every_kind),
    ("exec_by_a_thread", exec_by_a_thread),
    ("signals_are_delivered_untouched", signals_are_delivered_untouched),
    ("job_control", job_control),
    ("agents_in_all_weathers", agents_in_all_weathers),
    ("restarted_calls", restarted_calls),
    ("exit_codes", exit_codes),
    ("commands_that_cannot_run", commands_that_cannot_run),
    ("names_and_arguments", names_and_arguments),
    ("killed_command", killed_command),
    ("killed_tracer", killed_tracer),
    ("descendants_live_on", descendants_live_on),
    ("deadlines", deadlines),
    ("breakpoints_and_returns", breakpoints_and_returns),
    ("first_call_in_a_library", first_call_in_a_library),
    ("followed_process", followed_process),
    ("followed_breakpoints", followed_breakpoints),
    ("follow_refused", follow_refused),
];

/// Counts of `strace -f -c`, by system call.
fn strace(command: &[&str]) -> Option<BTreeMap<String, u64>> {
    let output = directory().join(format!("strace-{:?}", thread::current().id()));
    let done = plain("strace")
        .args(["-f", "-c", "-U", "name,calls", "-o"])
        .arg(&output)
        .args(command)
        .output();
    done.ok()?;
    let text = fs::read_to_string(output).ok()?;
    let row = |line: &str| {
        let (name, calls) = line.trim().split_once(char::is_whitespace)?;
        Some((name.to_owned(), calls.trim().parse().ok()?))
    };
    Some(text.lines().filter_map(row).filter(|(name, _)| name != "total").collect())
}

/// Compares with `strace`, except for calls that differ from run to run; and output and exit code
/// with those of the command alone. `None`: there is no strace.
fn same_counts(user: User, command: &[&str], except: &[&str]) -> Result<Option<Traced>, Failed> {
    let Some(mut expected) = strace(command) else { return Ok(None) };
    let args: Vec<&dyn AsRef<std::ffi::OsStr>> = command.iter().map(|arg| arg as _).collect();
    let traced = Tracer::new(user, "--enter all", &args).run()?;
    let row = |line: &str| {
        let (name, calls) = line.strip_prefix("enter ")?.split_once(' ')?;
        Some((name.to_owned(), calls.parse().ok()?))
    };
    let mut found: BTreeMap<String, u64> = traced.report.lines().filter_map(row).collect();
    for name in except.iter().chain(&["exit", "exit_group"]) {
        // strace counts calls when they return.
        found.remove(*name);
        expected.remove(*name);
    }
    check(found == expected, || format!("{found:?}\nstrace: {expected:?}\n{traced:?}"))?;
    let alone = plain(command[0]).args(&command[1..]).output()?;
    check(String::from_utf8_lossy(&alone.stdout) == traced.stdout, || {
        format!("output: {traced:?}")
    })?;
    check(alone.status.code() == traced.code, || format!("exit code: {traced:?}"))?;
    Ok(Some(traced))
}

fn counts_of_a_command(user: User) -> Outcome {
    match same_counts(user, &["ls", "-lR", "/usr/share/doc/base-files"], &["brk"])? {
        Some(_) => Ok(None),
        None => no_strace(),
    }
}

fn counts_of_a_pipeline(user: User) -> Outcome {
    let script = "cat /etc/passwd | sort | uniq -c | wc -l; exit 3";
    // How often the shell has to wait and a sort is woken depends on the order of events.
    // A child that ends while the shell makes the next one lets that `clone` begin anew, so it is
    // the forks that are counted.
    let racy = ["brk", "wait4", "rt_sigreturn", "futex", "clone"];
    let Some(traced) = same_counts(user, &["sh", "-c", script], &racy)? else { return no_strace() };
    traced.expect("fork false", 4)?;
    Ok(None)
}

fn counts_of_threads(user: User) -> Outcome {
    let Some(path) = program("threads") else { return no_compiler() };
    let path = path.to_string_lossy();
    // Threads that wait for others, and stacks that are reused.
    let racy = ["brk", "futex", "mmap", "munmap", "mprotect", "madvise"];
    match same_counts(user, &[&*path], &racy)? {
        Some(_) => Ok(None),
        None => no_strace(),
    }
}

fn counts_of_a_parallel_build(user: User) -> Outcome {
    if Command::new("make").arg("-v").output().is_err() {
        return Ok(Some("there is no make".into()));
    }
    let project = directory().join(format!("project-{user:?}"));
    fs::create_dir_all(&project)?;
    for number in 0..10 {
        let source =
            format!("#include <stdio.h>\nint f{number}(void) {{ return puts(\"hi\"); }}\n");
        fs::write(project.join(format!("f{number}.c")), source)?;
    }
    let rules = "all: $(patsubst %.c,%.o,$(wildcard *.c))\n%.o: %.c\n\t@cc -c -o $@ $<\n";
    fs::write(project.join("Makefile"), rules)?;
    fs::set_permissions(&project, std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    let project = project.to_string_lossy();
    let script = format!("cd {project} && rm -f *.o && make -s -j4 && cat *.o | wc -c");
    let traced = Tracer::new(user, "--enter all --ends", &[&"sh", &"-c", &script]).run()?;
    traced.expect_code(0)?;
    let Some(expected) = strace(&["sh", "-c", &script]) else { return no_strace() };
    // Temporary names, the job server, the heap's start and how often a child's end makes a `vfork`
    // begin anew differ from run to run.
    for name in ["execve", "chdir", "arch_prctl", "set_tid_address", "readlink", "umask"] {
        traced.expect(&format!("enter {name}"), expected.get(name).copied().unwrap_or(0))?;
    }
    // make, cat, wc, rm, ten drivers, compilers and assemblers.
    let ends: u64 = traced
        .report
        .lines()
        .filter_map(|line| line.strip_prefix("end ")?.split_once(' ')?.1.parse::<u64>().ok())
        .sum();
    check(ends == traced.count("fork false") + 1, || format!("ends: {ends}\n{}", traced.report))?;
    Ok(None)
}

fn no_strace() -> Outcome {
    Ok(Some("there is no strace".into()))
}

fn no_compiler() -> Outcome {
    Ok(Some("there is no C compiler".into()))
}

fn children_of_every_kind(user: User) -> Outcome {
    let Some(path) = program("spawns") else { return no_compiler() };
    let traced = Tracer::new(user, "--exit all --ends", &[&path]).run()?;
    traced.expect_code(0)?;
    traced.expect("fork false", 60)?;
    traced.expect("exec true true", 40)?;
    traced.expect("exec spawns true", 1)?;
    // The return in the parent, and the one in the child.
    traced.expect("exit vfork 1", 20)?;
    traced.expect("exit vfork 0", 20)?;
    traced.expect("end 0", 42)?;
    traced.expect("end 256", 1)?;
    traced.expect("end 4864", 1)?;
    Ok(None)
}

fn exec_by_a_thread(user: User) -> Outcome {
    let Some(path) = program("thread_exec") else { return no_compiler() };
    for _ in 0..10 {
        let traced = Tracer::new(user, "--enter all --exit execve --ends", &[&path]).run()?;
        traced.expect_code(5)?;
        traced.expect("exec thread_exec true", 1)?;
        traced.expect("exec thread_exec false", 1)?;
        traced.expect("exit execve 0", 2)?;
        traced.expect("fork true", 5)?;
    }
    Ok(None)
}

fn signals_are_delivered_untouched(user: User) -> Outcome {
    let Some(path) = program("signals") else { return no_compiler() };
    for options in ["--signals", "--enter all --signals", "--enter all --exit all --signals"] {
        let traced = Tracer::new(user, options, &[&path]).run()?;
        traced.expect_code(0)?;
        traced.expect("signal 34", 301)?;
    }
    Ok(None)
}

fn job_control(user: User) -> Outcome {
    let Some(path) = program("stops") else { return no_compiler() };
    for options in ["", "--enter getppid", "--exit all"] {
        Tracer::new(user, options, &[&path]).run()?.expect_code(0)?;
    }
    Ok(None)
}

fn agents_in_all_weathers(user: User) -> Outcome {
    let Some(path) = program("weathers") else { return no_compiler() };
    for _ in 0..5 {
        for options in ["--enter getppid", "--enter all", "--enter all --exit getpid"] {
            let traced = Tracer::new(user, options, &[&path]).run()?;
            traced.expect_code(0)?;
            let expected: u64 = traced.stdout.trim().parse()?;
            traced.expect("enter getppid", expected)?;
            // Half of them are made where nothing can be replaced, some while there are threads.
            let recorded = traced.count("recorded");
            let enough = if user == User::WithAgents { recorded > 8_000 } else { recorded == 0 };
            check(enough, || format!("{recorded} recorded: {}", traced.report))?;
        }
    }
    Ok(None)
}

/// A call that goes on after a signal begins anew, for the kernel's tracepoint as for us.
fn restarted_calls(user: User) -> Outcome {
    let Some(path) = program("restarts") else { return no_compiler() };
    for _ in 0..3 {
        let traced = Tracer::new(user, "--enter readv", &[&path]).run()?;
        traced.expect_code(0)?;
        let reads: u64 = traced.stdout.trim().parse()?;
        traced.expect("enter readv", reads)?;
    }
    Ok(None)
}

fn exit_codes(user: User) -> Outcome {
    for (script, code) in [
        ("exit 0", 0),
        ("exit 42", 42),
        ("kill -TERM $$", 128 + 15),
        ("kill -KILL $$", 128 + 9),
        ("kill -SEGV $$", 128 + 11),
    ] {
        for options in ["", "--enter all", "--exit all --ends"] {
            Tracer::new(user, options, &[&"sh", &"-c", &script]).run()?.expect_code(code)?;
        }
    }
    Ok(None)
}

fn commands_that_cannot_run(user: User) -> Outcome {
    let script = directory().join("no-interpreter");
    fs::write(&script, "#!/nowhere/at/all\n")?;
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let script = script.to_string_lossy().into_owned();
    for (command, reason) in [
        ("no-such-command", "the command was not found in PATH"),
        ("/no/such/file", "could not run /no/such/file: No such file or directory"),
        ("/etc", "Permission denied"),
        ("/etc/passwd", "it is no executable file"),
        (&*script, "No such file or directory"),
    ] {
        let traced = Tracer::new(user, "--enter all", &[&command]).run()?;
        traced.expect_code(127)?;
        check(traced.report.contains(reason), || format!("{command}: {traced:?}"))?;
    }
    Ok(None)
}

fn names_and_arguments(user: User) -> Outcome {
    if user == User::WithAgents {
        return Ok(Some("memory cannot be read late".into()));
    }
    let traced = Tracer::new(user, "--enter openat,execve --args", &[&"cat", &"/etc/hostname"]);
    let traced = traced.run()?;
    traced.expect("openat cat /etc/hostname", 1)?;
    traced.expect("enter execve", 1)?;
    check(!traced.report.contains("openat cat  "), || traced.report.clone())?;
    // A name changed by the program itself is seen at once.
    let script = "printf changed > /proc/$$/comm; sleep 0.1; exec < /etc/passwd";
    let traced = Tracer::new(user, "--enter openat --args", &[&"sh", &"-c", &script]).run()?;
    traced.expect("openat changed /etc/passwd", 1)?;
    Ok(None)
}

fn is_process(name: &Path) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    processes.flatten().any(|process| {
        fs::read_link(process.path().join("exe")).is_ok_and(|program| program == name)
    })
}

fn copy_of(program: &Path, name: &str) -> Result<std::path::PathBuf, Failed> {
    let copy = directory().join(name);
    // By another process: children that other threads make meanwhile would keep it busy.
    Command::new("cp").args([program, &copy]).status()?;
    Ok(copy)
}

fn pid_of(name: &Path) -> Option<u32> {
    let processes = fs::read_dir("/proc").ok()?;
    processes.flatten().find_map(|process| {
        let runs = fs::read_link(process.path().join("exe")).ok()? == name;
        runs.then(|| process.file_name().to_str()?.parse().ok())?
    })
}

fn child_named(parent: u32, name: &str) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children.split_whitespace().find_map(|child| {
        let comm = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
        (comm.trim() == name).then(|| child.parse().ok())?
    })
}

fn kill(pid: u32, signal: &str) -> Result<(), Failed> {
    Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status()?;
    Ok(())
}

fn killed_command(user: User) -> Outcome {
    let Some(path) = program("busy") else { return no_compiler() };
    let path = copy_of(&path, &format!("busy-killed-{user:?}"))?;
    for round in 0..5 {
        let mut tracer = Tracer::new(user, "--enter all --exit all", &[&path, &"/nowhere/x"]);
        let child = tracer.start()?;
        eventually("the command runs", || is_process(&path))?;
        thread::sleep(Duration::from_millis(7 * round));
        kill(pid_of(&path).unwrap_or(0), "KILL")?;
        tracer.finish(child)?.expect_code(128 + 9)?;
    }
    Ok(None)
}

/// However the tracer is killed, the command lives on; and the keeper goes with it.
fn killed_tracer(user: User) -> Outcome {
    let Some(path) = program("opens") else { return no_compiler() };
    for (signal, with) in [("KILL", ""), ("TERM", ""), ("KILL", "--break")] {
        let path = copy_of(&path, &format!("opens-{signal}{with}-{user:?}"))?;
        let done = directory().join(format!("done-{signal}{with}-{user:?}"));
        let mut options = "--enter all --exit openat".to_owned();
        if !with.is_empty() {
            let Some(offset) = function(&path, "main") else { return Ok(Some("no nm".into())) };
            options += &format!(" --break {}:{offset}:r", path.display());
        }
        let mut tracer = Tracer::new(user, &options, &[&path, &"400", &done]);
        let mut front = tracer.start()?;
        eventually("the command runs", || is_process(&path))?;
        let mut keeper = None;
        eventually("there is a worker", || {
            keeper = child_named(front.id(), "tracekeeper");
            keeper.is_some()
        })?;
        let keeper = Path::new("/proc").join(keeper.unwrap_or(0).to_string());
        thread::sleep(Duration::from_millis(50));
        kill(front.id(), signal)?;
        front.wait()?;
        check(is_process(&path), || "the command is gone".into())?;
        eventually("the command finishes its work", || done.exists())?;
        eventually("the keeper ends", || !keeper.exists())?;
    }
    Ok(None)
}

fn descendants_live_on(user: User) -> Outcome {
    let done = directory().join(format!("descendant-{user:?}"));
    let script = format!("(sleep 0.5; cat /etc/passwd > {}) & exit 4", done.display());
    let traced = Tracer::new(user, "--enter all", &[&"sh", &"-c", &script]);
    let begin = std::time::Instant::now();
    let mut traced = traced;
    let mut front = traced.start()?;
    let code = front.wait()?.code();
    check(code == Some(4), || format!("{code:?}"))?;
    check(begin.elapsed() < Duration::from_millis(450), || "the front waited".into())?;
    let expected = fs::metadata("/etc/passwd")?.len();
    eventually("the descendant's work", || fs::metadata(&done).is_ok_and(|f| f.len() == expected))?;
    Ok(None)
}

fn deadlines(user: User) -> Outcome {
    let Some(busy) = program("busy") else { return no_compiler() };
    for (command, time) in [("sleep 1", 100), ("while :; do :; done", 55)] {
        let script = format!("({command}) & x=$!; sleep 0.3; kill $x");
        let options = format!("--enter all --time {time}");
        // A busy machine may be late once.
        let mut late = u64::MAX;
        for _ in 0..5 {
            let traced = Tracer::new(user, &options, &[&"sh", &"-c", &script]).run()?;
            late = late.min(traced.count("late"));
        }
        check(late < 30, || format!("{late} ms late"))?;
    }
    let stop = directory().join(format!("deadline-{user:?}"));
    let mut tracer = Tracer::new(user, "--enter all --time 100", &[&busy, &stop]);
    let mut front = tracer.start()?;
    front.wait()?;
    fs::write(&stop, "")?;
    Ok(None)
}

/// Where a function is in its file: from `nm`, and the program's first mapping.
fn function(path: &Path, name: &str) -> Option<u64> {
    let output = Command::new("nm").arg(path).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let line = text.lines().find(|line| line.ends_with(&format!(" T {name}")))?;
    // Position-independent programs of this size have text at the same address as in the file.
    u64::from_str_radix(line.split(' ').next()?, 16).ok()
}

fn breakpoints_and_returns(user: User) -> Outcome {
    let Some(path) = program("functions") else { return no_compiler() };
    let mut options = String::new();
    for name in ["recurse", "leaf", "escape"] {
        let Some(offset) = function(&path, name) else { return Ok(Some("there is no nm".into())) };
        options += &format!(" --break {0}:{offset} --break {0}:{offset}:r", path.display());
    }
    for more in ["", " --enter all --exit all --ends"] {
        let traced = Tracer::new(user, &format!("{options}{more}"), &[&path]).run()?;
        traced.expect_code(0)?;
        traced.expect("missed", 0)?;
        for (id, count) in [(0, 1200), (2, 300), (4, 100)] {
            traced.expect(&format!("breakpoint {id}"), count)?;
        }
        for (id, count) in [(1, 1200), (3, 300), (5, 0)] {
            traced.expect(&format!("return {id}"), count)?;
        }
    }
    Ok(None)
}

/// Breakpoints in a library are there before its first function runs.
fn first_call_in_a_library(user: User) -> Outcome {
    let libc = Path::new("/lib/x86_64-linux-gnu/libc.so.6");
    let Ok(output) = Command::new("nm").arg("-D").arg(libc).output() else {
        return Ok(Some("there is no nm".into()));
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let symbol = |line: &str| {
        line.split(' ').nth(2).is_some_and(|name| name.starts_with("__libc_start_main@@"))
    };
    let Some(line) = text.lines().find(|line| symbol(line)) else {
        return Ok(Some("libc has no such symbol".into()));
    };
    let offset = u64::from_str_radix(line.split(' ').next().unwrap_or(""), 16).unwrap_or(0);
    let options = format!("--break {}:{offset}", libc.display());
    let traced = Tracer::new(user, &options, &[&"sh", &"-c", &"ls / | wc -l"]).run()?;
    traced.expect_code(0)?;
    // The shell, ls and wc.
    traced.expect("breakpoint 0", 3)?;
    Ok(None)
}

fn followed_process(user: User) -> Outcome {
    let Some(path) = program("busy") else { return no_compiler() };
    for options in ["--enter all", "--exit access", "--ends"] {
        let stop = directory().join(format!("stop-{user:?}-{}", options.replace(' ', "")));
        let mut target = as_user(user, &path).arg(&stop).spawn()?;
        thread::sleep(Duration::from_millis(100));
        let options = format!("{options} --time 200 --pid {}", target.id());
        let traced = Tracer::new(user, &options, &[]).run()?;
        traced.expect_code(0)?;
        let calls = traced.count("enter access") + traced.count("exit access -1");
        check(calls > 20 || options.contains("--ends"), || traced.report.clone())?;
        let tracer = fs::read_to_string(format!("/proc/{}/status", target.id()))?;
        eventually("let go", || {
            fs::read_to_string(format!("/proc/{}/status", target.id()))
                .is_ok_and(|status| status.contains("TracerPid:\t0"))
        })
        .map_err(|failed| Failed::from(format!("{failed:?} {tracer}")))?;
        fs::write(&stop, "")?;
        let status = target.wait()?;
        check(status.code() == Some(0), || format!("the followed process: {status}"))?;
    }
    Ok(None)
}

fn followed_breakpoints(user: User) -> Outcome {
    let Some(path) = program("busy") else { return no_compiler() };
    let Some(offset) = function(&path, "step") else { return Ok(Some("there is no nm".into())) };
    for round in 0..5 {
        let stop = directory().join(format!("stop-{user:?}-{round}"));
        let mut target = as_user(user, &path).arg(&stop).spawn()?;
        thread::sleep(Duration::from_millis(50));
        let options = format!(
            "--break {0}:{offset} --break {0}:{offset}:r --time 150 --pid {1}",
            path.display(),
            target.id()
        );
        let traced = Tracer::new(user, &options, &[]).run()?;
        traced.expect_code(0)?;
        let (entered, returned) = (traced.count("breakpoint 0"), traced.count("return 1"));
        check(entered > 50 && entered.abs_diff(returned) <= 1, || traced.report.clone())?;
        thread::sleep(Duration::from_millis(20));
        fs::write(&stop, "")?;
        let status = target.wait()?;
        check(status.code() == Some(0), || format!("the followed process: {status}"))?;
    }
    Ok(None)
}

fn follow_refused(user: User) -> Outcome {
    let refused = |pid: u32, reason: &str| {
        let traced = Tracer::new(user, &format!("--pid {pid}"), &[]).run()?;
        traced.expect_code(127)?;
        check(traced.report.contains(reason), || format!("{reason}: {traced:?}"))
    };
    refused(u32::MAX / 2, "No such process")?;
    if user != User::Same {
        refused(std::process::id(), "it runs as another user, 0")?;
    }
    let Some(path) = program("busy") else { return no_compiler() };
    let stop = directory().join(format!("stop-refused-{user:?}"));
    let mut target = as_user(user, &path).arg(&stop).spawn()?;
    thread::sleep(Duration::from_millis(50));
    let first = format!("--enter access --time 500 --pid {}", target.id());
    let mut tracer = Tracer::new(user, &first, &[]);
    let first = tracer.start()?;
    thread::sleep(Duration::from_millis(150));
    let result = refused(target.id(), "it is being traced already, by process");
    tracer.finish(first)?.expect_code(0)?;
    fs::write(&stop, "")?;
    target.wait()?;
    result?;
    Ok(None)
}

//! Programs over real processes: what they are given, and what they cannot do.

mod support;

use std::fs;
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use bombus_embedded::{Embedded, Options};
use bombus_kernel::{
    AttachPoint, Command, Error, Kernel, MapFd, Period, ProgFd, ProgLoad, Tracer, UpdateFlag, Wake,
    load,
};
use bombus_platform::{AttachType, MapType, ProgType};
use bombus_spec::{Function, MapSpec, ObjectSpec, ProgramSpec, SourceLine, SpecInsn};
use libtest_mimic::{Arguments, Failed, Trial};

type Test = (&'static str, fn() -> Result<(), Failed>);

const TESTS: &[Test] = &[
    ("counts_what_strace_counts", counts_what_strace_counts),
    ("arguments_and_strings", arguments_and_strings),
    ("results", results),
    ("raw_tracepoints_have_registers", raw_tracepoints_have_registers),
    ("life_cycle", life_cycle),
    ("user_functions", user_functions),
    ("intervals", intervals),
    ("profiles_of_what_runs", profiles_of_what_runs),
    ("a_full_buffer_is_read_in_time", a_full_buffer_is_read_in_time),
    ("begin_runs_as_this_process", begin_runs_as_this_process),
    ("what_is_not_safe_is_refused", what_is_not_safe_is_refused),
    ("a_fault_is_reported_and_goes_on", a_fault_is_reported_and_goes_on),
    ("a_fault_names_the_line", a_fault_names_the_line),
    ("records_left_behind_are_dropped", records_left_behind_are_dropped),
    ("what_needs_the_kernel_is_refused", what_needs_the_kernel_is_refused),
];

/// What the suite does when it is started to be traced.
const WORKLOAD: &str = "--workload";

fn main() {
    if std::env::args().nth(1).as_deref() == Some(WORKLOAD) {
        let sum: u64 = (0..5).map(|number| probed(std::hint::black_box(number))).sum();
        assert_eq!(sum, 110);
        return;
    }
    let mut arguments = Arguments::from_args();
    // A tracer waits for all children of its process.
    arguments.test_threads = Some(1);
    let trials = TESTS.iter().map(|&(name, test)| Trial::test(name, test)).collect();
    libtest_mimic::run(&arguments, trials).exit();
}

/// The function that [`user_functions`] probes.
#[inline(never)]
extern "C" fn probed(number: u64) -> u64 {
    std::hint::black_box(number) + 20
}

fn ensure(holds: bool, words: impl FnOnce() -> String) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(words().into()) }
}

fn same<T: PartialEq + std::fmt::Debug>(got: T, wanted: T) -> Result<(), Failed> {
    ensure(got == wanted, || format!("got {got:?}, wanted {wanted:?}"))
}

fn embedded() -> Embedded {
    Embedded::new(Options { seed: Some(1), cpus: None, ..Options::default() })
}

/// One that loads what the verifier refuses, too.
fn unproved() -> Embedded {
    Embedded::new(Options { seed: Some(1), unproved: true, ..Options::default() })
}

fn map(kernel: &Embedded, map_type: MapType, sizes: [u32; 3]) -> Result<MapFd, Failed> {
    let [key_size, value_size, max_entries] = sizes;
    let (name, flags, contents) = ("test".into(), 0, Vec::new());
    let spec = MapSpec {
        name,
        map_type,
        key_size,
        value_size,
        max_entries,
        flags,
        contents,
        ..MapSpec::default()
    };
    Ok(kernel.map_create(&spec)?)
}

fn program(
    kernel: &Embedded,
    prog_type: ProgType,
    maps: &[MapFd],
    text: &str,
) -> Result<ProgFd, Failed> {
    Ok(kernel.prog_load(&ProgLoad {
        name: "test",
        prog_type,
        attach_type: AttachType::NONE,
        insns: &support::assemble(text, maps)?,
        license: "GPL",
        btf: None,
        func_info: &[],
        line_info: &[],
        ..ProgLoad::default()
    })?)
}

fn tracepoint(category: &str, name: &str) -> AttachPoint {
    AttachPoint::Tracepoint { category: category.into(), name: name.into() }
}

/// A program that adds one to the element whose key is at `r10 -4`.
const COUNT: &str = "
    r1 = map0
    r2 = r10
    r2 += -4
    call map_lookup_elem
    if r0 == 0 goto +3
    r1 = 1
    lock *(u64 *)(r0 +0) += r1
    goto +9
    *(u64 *)(r10 -16) = 1
    r1 = map0
    r2 = r10
    r2 += -4
    r3 = r10
    r3 += -16
    r4 = 0
    call map_update_elem
    r0 = 0
    exit";

fn command(words: &[&str]) -> Command {
    Command { argv: words.iter().map(Into::into).collect() }
}

/// Runs a command to its end; gives its exit code and all records, in order.
fn trace(
    kernel: &Embedded,
    words: &[&str],
    ring: Option<MapFd>,
) -> Result<(i32, Vec<Vec<u8>>), Failed> {
    kernel.spawn(&command(words))?;
    kernel.resume()?;
    let mut records = Vec::new();
    let status = loop {
        let deadline = Instant::now() + Duration::from_secs(20);
        let wake = kernel.wait(ring.as_slice(), Some(deadline))?;
        if let Some(ring) = ring {
            kernel.ringbuf_consume(ring, &mut |record| records.push(record.to_vec()))?;
        }
        match wake {
            Wake::TargetExited { status } => break status.ok_or("no status")?,
            Wake::Records => {}
            other => return Err(format!("woken by {other:?}").into()),
        }
    };
    // Children may outlive the command.
    kernel.keep_until_gone();
    Ok((libc::WEXITSTATUS(status), records))
}

fn counts(kernel: &Embedded, map: MapFd) -> Result<Vec<(u32, u64)>, Failed> {
    let number = |bytes: &[u8]| {
        bytes.iter().take(8).rev().fold(0, |number: u64, byte| number << 8 | u64::from(*byte))
    };
    let elements = kernel.map_elements(map)?.into_iter();
    let mut all: Vec<_> =
        elements.map(|(key, value)| (number(&key) as u32, number(&value))).collect();
    all.sort();
    Ok(all)
}

/// Every system call of a pipeline of a shell, by name.
fn counts_what_strace_counts() -> Result<(), Failed> {
    let words = ["sh", "-c", "cat /etc/passwd | head -1 >/dev/null; ls / >/dev/null"];
    let kernel = embedded();
    let by_number = map(&kernel, MapType::Hash, [4, 8, 512])?;
    let text = format!("r1 = *(u64 *)(r1 +8)\n*(u32 *)(r10 -4) = r1\n{COUNT}");
    let program = program(&kernel, ProgType::Tracepoint, &[by_number], &text)?;
    kernel.attach(program, &tracepoint("raw_syscalls", "sys_enter"), 0)?;
    let (code, _) = trace(&kernel, &words, None)?;
    same(code, 0)?;
    let ours = counts(&kernel, by_number)?;

    let report = std::env::temp_dir().join(format!("bombus-strace-{}", std::process::id()));
    let strace = Process::new("strace")
        .args(["-f", "-qq", "-e", "signal=none", "-o"])
        .arg(&report)
        .args(words)
        .stdout(Stdio::null())
        .status();
    let Ok(status) = strace else {
        println!("skipped: the comparison with strace: it is not installed");
        return Ok(());
    };
    same(status.success(), true)?;
    let text = fs::read_to_string(&report)?;
    fs::remove_file(&report)?;
    // "PID name(...", and "PID <... name resumed>" for the second half of an interrupted line.
    let names = text.lines().filter_map(|line| {
        let call = line.split_once(' ')?.1.trim_start();
        let name = call.split_once('(')?.0;
        name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric()).then_some(name)
    });
    let mut theirs = std::collections::BTreeMap::new();
    for name in names {
        let call = bombus_platform::syscall_by_name(name).ok_or("an unknown call")?;
        *theirs.entry(call.number).or_insert(0) += 1;
    }
    // How often a shell waits depends on who ends first, and a child's end lets a fork begin anew.
    let varying = [libc::SYS_wait4, libc::SYS_rt_sigreturn, libc::SYS_clone, libc::SYS_vfork];
    let stays = |number: u32| !varying.contains(&number.into());
    theirs.retain(|number, _| stays(*number));
    let ours: Vec<_> = ours.into_iter().filter(|(number, _)| stays(*number)).collect();
    same(ours, theirs.into_iter().collect())
}

/// Sends 16 bytes of name and 64 of the string at `r6`.
const SEND_STRING: &str = "
    *(u64 *)(r10 -80) = 0
    r1 = r10
    r1 += -96
    r2 = 16
    call get_current_comm
    r1 = r10
    r1 += -80
    r2 = 64
    r3 = r6
    call probe_read_user_str
    r1 = map0
    r2 = r10
    r2 += -96
    r3 = 80
    r4 = 0
    call ringbuf_output
    r0 = 0
    exit";

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn arguments_and_strings() -> Result<(), Failed> {
    let kernel = embedded();
    let ring = map(&kernel, MapType::Ringbuf, [0, 0, 65536])?;
    let text_of = format!("r6 = *(u64 *)(r1 +24)\n{SEND_STRING}");
    let program = program(&kernel, ProgType::Tracepoint, &[ring], &text_of)?;
    kernel.attach(program, &tracepoint("syscalls", "sys_enter_openat"), 0)?;
    let (code, records) = trace(&kernel, &["cat", "/etc/hostname"], Some(ring))?;
    same(code, 0)?;
    let opened: Vec<_> =
        records.iter().map(|record| (text(&record[..16]), text(&record[16..]))).collect();
    same(opened.iter().all(|(comm, _)| comm == "cat"), true)?;
    same(opened.last(), Some(&("cat".into(), "/etc/hostname".into())))
}

/// The result of a system call, and the number next to it.
fn results() -> Result<(), Failed> {
    let kernel = embedded();
    let ring = map(&kernel, MapType::Ringbuf, [0, 0, 65536])?;
    let program = program(
        &kernel,
        ProgType::Tracepoint,
        &[ring],
        "r2 = *(u32 *)(r1 +8)
         *(u64 *)(r10 -16) = r2
         r2 = *(u64 *)(r1 +16)
         *(u64 *)(r10 -8) = r2
         r1 = map0
         r2 = r10
         r2 += -16
         r3 = 16
         r4 = 0
         call ringbuf_output
         r0 = 0
         exit",
    )?;
    kernel.attach(program, &tracepoint("syscalls", "sys_exit_openat"), 0)?;
    let (code, records) = trace(&kernel, &["cat", "/does/not/exist"], Some(ring))?;
    same(code, 1)?;
    let last = records.last().ok_or("no records")?;
    let wanted = [(libc::SYS_openat as u64).to_le_bytes(), i64::from(-libc::ENOENT).to_le_bytes()];
    same(last.as_slice(), wanted.as_flattened())
}

fn raw_tracepoints_have_registers() -> Result<(), Failed> {
    let kernel = embedded();
    let ring = map(&kernel, MapType::Ringbuf, [0, 0, 65536])?;
    // The second argument of openat, from the registers.
    let text_of = format!(
        "r2 = *(u64 *)(r1 +8)
         if r2 == {} goto +2
         r0 = 0
         exit
         r7 = *(u64 *)(r1 +0)
         r1 = r10
         r1 += -8
         r2 = 8
         r3 = r7
         r3 += 104
         call probe_read_kernel
         r6 = *(u64 *)(r10 -8)
         {SEND_STRING}",
        libc::SYS_openat
    );
    let program = program(&kernel, ProgType::RawTracepoint, &[ring], &text_of)?;
    kernel.attach(program, &AttachPoint::RawTracepoint { name: "sys_enter".into() }, 0)?;
    let (_, records) = trace(&kernel, &["cat", "/etc/hostname"], Some(ring))?;
    let last = records.last().ok_or("no records")?;
    same(text(&last[16..]), "/etc/hostname".into())
}

fn life_cycle() -> Result<(), Failed> {
    let kernel = embedded();
    let ring = map(&kernel, MapType::Ringbuf, [0, 0, 65536])?;
    // The kind of event, then the fields of the record as far as they go, and for `exec` the string
    // that its first field points to.
    let attach = |kind: u32, name: &str, len: u32, string: &str| -> Result<(), Failed> {
        let mut text_of = format!("r6 = r1\n*(u32 *)(r10 -72) = {kind}\n");
        for at in (8..len).step_by(4) {
            text_of += &format!("r2 = *(u32 *)(r1 +{at})\n*(u32 *)(r10 {}) = r2\n", at as i32 - 72);
        }
        text_of += string;
        text_of += "r1 = map0\nr2 = r10\nr2 += -72\nr3 = 72\nr4 = 0\ncall ringbuf_output\n\
                    r0 = 0\nexit";
        let program = program(&kernel, ProgType::Tracepoint, &[ring], &text_of)?;
        kernel.attach(program, &tracepoint("sched", name), 0)?;
        Ok(())
    };
    let filename = "r3 = *(u16 *)(r6 +8)\nr3 += r6\nr1 = r10\nr1 += -52\nr2 = 32\n\
                    call probe_read_kernel_str\n";
    attach(1, "sched_process_fork", 24, "")?;
    attach(2, "sched_process_exec", 20, filename)?;
    attach(3, "sched_process_exit", 36, "")?;
    let (code, records) = trace(&kernel, &["sh", "-c", "/bin/true; exit 3"], Some(ring))?;
    same(code, 3)?;
    let word = |record: &[u8], at: usize| {
        u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]])
    };
    let kinds: Vec<u32> = records.iter().map(|record| word(record, 0)).collect();
    same(kinds, vec![2, 1, 2, 3, 3])?;
    let (fork, exec, exit) = (&records[1], &records[2], &records[3]);
    let child = word(fork, 20);
    same(word(fork, 12), word(&records[0], 12))?;
    same((word(exec, 12), word(exec, 16)), (child, child))?;
    // `__data_loc`: offset 20, nine characters and a zero.
    same(word(exec, 8), 10 << 16 | 20)?;
    same(text(&exec[20..30]), "/bin/true".into())?;
    same((text(&exit[8..24]), word(exit, 24)), ("true".into(), child))?;
    same(exit[32], 1)
}

/// Where in this file a function starts.
fn file_offset(function: usize) -> Result<u64, Failed> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    let found = maps.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let start = usize::from_str_radix(start, 16).ok()?;
        let end = usize::from_str_radix(end, 16).ok()?;
        let offset = u64::from_str_radix(words.nth(1)?, 16).ok()?;
        (start..end).contains(&function).then(|| offset + (function - start) as u64)
    });
    Ok(found.ok_or("the function is in no mapping")?)
}

fn user_functions() -> Result<(), Failed> {
    let kernel = embedded();
    let by_value = map(&kernel, MapType::Hash, [4, 8, 64])?;
    let path = std::env::current_exe()?;
    let offset = file_offset(probed as extern "C" fn(u64) -> u64 as usize)?;
    // rdi on the way in, rax on the way out.
    for (register, on_return) in [(112, false), (80, true)] {
        let text = format!("r1 = *(u64 *)(r1 +{register})\n*(u32 *)(r10 -4) = r1\n{COUNT}");
        let program = program(&kernel, ProgType::Kprobe, &[by_value], &text)?;
        let at = AttachPoint::Uprobe { path: path.clone(), offset, on_return, pid: None };
        kernel.attach(program, &at, 0)?;
    }
    let words = [path.to_str().ok_or("a path")?, WORKLOAD];
    let (code, _) = trace(&kernel, &words, None)?;
    same(code, 0)?;
    let wanted = (0..5).chain(20..25).map(|number| (number, 1)).collect();
    same(counts(&kernel, by_value)?, wanted)
}

/// Without any process to trace.
fn intervals() -> Result<(), Failed> {
    let kernel = embedded();
    let counter = map(&kernel, MapType::Array, [4, 8, 1])?;
    let text = "r1 = map0[0]+0\nr2 = 1\nlock *(u64 *)(r1 +0) += r2\nr0 = 0\nexit";
    let program = program(&kernel, ProgType::PerfEvent, &[counter], text)?;
    let every_10_ms = Period::Nanoseconds(10_000_000);
    let at = AttachPoint::Timer { period: every_10_ms, every_cpu: false };
    kernel.attach(program, &at, 0)?;
    kernel.resume()?;
    let start = Instant::now();
    let wake = kernel.wait(&[], Some(start + Duration::from_millis(205)))?;
    same(wake, Wake::Deadline)?;
    ensure(start.elapsed() < Duration::from_millis(400), || "too late".into())?;
    let ticks = counts(&kernel, counter)?[0].1;
    ensure((10..=20).contains(&ticks), || format!("{ticks} ticks in 205 ms"))?;
    kernel.detach_all();
    kernel.wait(&[], Some(Instant::now() + Duration::from_millis(30)))?;
    same(counts(&kernel, counter)?[0].1, ticks)
}

fn profiles_of_what_runs() -> Result<(), Failed> {
    let kernel = embedded();
    let by_name = map(&kernel, MapType::Hash, [4, 8, 64])?;
    // The first four characters of the name.
    let text_of = format!(
        "r1 = r10
         r1 += -32
         r2 = 16
         call get_current_comm
         r1 = *(u32 *)(r10 -32)
         *(u32 *)(r10 -4) = r1
         {COUNT}"
    );
    let program = program(&kernel, ProgType::PerfEvent, &[by_name], &text_of)?;
    let at = AttachPoint::Timer { period: Period::Hertz(200), every_cpu: true };
    kernel.attach(program, &at, 0)?;
    let busy = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done";
    trace(&kernel, &["sh", "-c", busy], None)?;
    let samples = counts(&kernel, by_name)?;
    let name = u32::from_le_bytes(*b"sh\0\0");
    ensure(samples.len() == 1 && samples[0].0 == name && samples[0].1 > 3, || {
        format!("{samples:?}")
    })
}

/// A buffer of 4096 bytes loses nothing of what is written little by little.
fn a_full_buffer_is_read_in_time() -> Result<(), Failed> {
    let kernel = embedded();
    let ring = map(&kernel, MapType::Ringbuf, [0, 0, 4096])?;
    let text_of = format!("r6 = *(u64 *)(r1 +24)\n{SEND_STRING}");
    let program = program(&kernel, ProgType::Tracepoint, &[ring], &text_of)?;
    kernel.attach(program, &tracepoint("syscalls", "sys_enter_openat"), 0)?;
    let words = ["sh", "-c", "i=0; while [ $i -lt 300 ]; do i=$((i+1)); : </etc/passwd; done"];
    let (_, records) = trace(&kernel, &words, Some(ring))?;
    let opened = records.iter().filter(|record| text(&record[16..]) == "/etc/passwd").count();
    same(opened, 300)
}

fn begin_runs_as_this_process() -> Result<(), Failed> {
    let kernel = embedded();
    let cell = map(&kernel, MapType::Array, [4, 16, 1])?;
    let program = program(
        &kernel,
        ProgType::RawTracepoint,
        &[cell],
        "r6 = map0[0]+0
         call get_current_pid_tgid
         r0 >>= 32
         *(u64 *)(r6 +0) = r0
         call get_current_uid_gid
         *(u64 *)(r6 +8) = r0
         call get_current_task
         if r0 != 0 goto +2
         r0 = 0
         exit
         call ktime_get_ns
         r0 >>= 63
         r0 += 5
         exit",
    )?;
    same(kernel.prog_test_run(program, &[])?, 5)?;
    let value = kernel.map_lookup(cell, &[0; 4])?.ok_or("no element")?;
    same(value[..8] == u64::from(std::process::id()).to_le_bytes(), true)
}

fn what_is_not_safe_is_refused() -> Result<(), Failed> {
    let kernel = embedded();
    let text = "r1 = 8\nr0 = *(u64 *)(r1 +0)\nexit";
    let load = ProgLoad {
        prog_type: ProgType::Tracepoint,
        insns: &support::assemble(text, &[])?,
        license: "GPL",
        ..ProgLoad::default()
    };
    let Err(Error::Rejected { errno, log, .. }) = kernel.prog_load(&load) else {
        return Err("it was loaded".into());
    };
    same(errno, libc::EACCES)?;
    ensure(log.contains("R1 invalid mem access 'scalar'\n"), || log.clone())
}

fn a_fault_is_reported_and_goes_on() -> Result<(), Failed> {
    let kernel = unproved();
    let counter = map(&kernel, MapType::Hash, [4, 8, 8])?;
    // Reads through a number.
    let bad = program(&kernel, ProgType::Tracepoint, &[], "r1 = 8\nr0 = *(u64 *)(r1 +0)\nexit")?;
    let text = format!("*(u32 *)(r10 -4) = 1\n{COUNT}");
    let good = program(&kernel, ProgType::Tracepoint, &[counter], &text)?;
    for program in [bad, good] {
        kernel.attach(program, &tracepoint("syscalls", "sys_enter_execve"), 0)?;
    }
    let (code, _) = trace(&kernel, &["sh", "-c", "/bin/true; exit 4"], None)?;
    same(code, 4)?;
    same(counts(&kernel, counter)?, vec![(1, 2)])?;
    let summary = kernel.summary();
    let wanted = "program test failed 2 times, first at instruction 1: \
                  invalid read of 8 bytes at 0x8";
    ensure(summary.iter().any(|line| line == wanted), || format!("{summary:?}"))
}

/// With the line information that the loader makes.
fn a_fault_names_the_line() -> Result<(), Failed> {
    let kernel = unproved();
    let text = "*(u32 *)(r10 -4) = 1\nr1 = 8\nr0 = *(u64 *)(r1 +0)\nexit";
    let line = |line: u32, text: &str| SourceLine {
        file: "script.bt".into(),
        line,
        column: 1,
        text: text.into(),
    };
    let of_slot = [Some(0), Some(1), None, None];
    let insns = support::assemble(text, &[])?;
    let program = ProgramSpec {
        name: "probe".into(),
        prog_type: ProgType::RawTracepoint,
        attach_type: AttachType::NONE,
        attach_to: None,
        insns: insns
            .into_iter()
            .zip(of_slot)
            .map(|(insn, line)| SpecInsn { line, ..insn.into() })
            .collect(),
        functions: vec![Function { name: "probe".into(), start: 0, args: 1, type_id: 0 }],
        lines: vec![line(1, "BEGIN {"), line(2, "  $x = *(uint64*)8;")],
        license: "GPL".into(),
        ..ProgramSpec::default()
    };
    let object = ObjectSpec { maps: Vec::new(), programs: vec![program], ..ObjectSpec::default() };
    let loaded = load(&kernel, &object)?;
    same(kernel.prog_test_run(loaded.program_at(0)?, &[])?, 0)?;
    let wanted = "program probe failed 1 times, first at script.bt:2 `$x = *(uint64*)8;`: \
                  instruction 2: invalid read of 8 bytes at 0x8";
    same(kernel.summary(), vec![wanted.to_owned()])
}

fn records_left_behind_are_dropped() -> Result<(), Failed> {
    let kernel = unproved();
    let ring = map(&kernel, MapType::Ringbuf, [0, 0, 4096])?;
    let leak = "r1 = map0\nr2 = 8\nr3 = 0\ncall ringbuf_reserve\nr0 = 0\nexit";
    let leak = program(&kernel, ProgType::RawTracepoint, &[ring], leak)?;
    let send = "*(u64 *)(r10 -8) = 7\nr1 = map0\nr2 = r10\nr2 += -8\nr3 = 8\nr4 = 0\n\
                call ringbuf_output\nexit";
    let send = program(&kernel, ProgType::RawTracepoint, &[ring], send)?;
    for program in [leak, send] {
        kernel.prog_test_run(program, &[])?;
    }
    let mut records = Vec::new();
    kernel.ringbuf_consume(ring, &mut |record| records.push(record.to_vec()))?;
    same(records, vec![7u64.to_le_bytes().to_vec()])
}

fn what_needs_the_kernel_is_refused() -> Result<(), Failed> {
    let kernel = embedded();
    let program = program(&kernel, ProgType::Tracepoint, &[], "r0 = 0\nexit")?;
    let refused = kernel.attach(program, &tracepoint("block", "block_rq_issue"), 0);
    let message = refused.err().map(|error| error.to_string()).unwrap_or_default();
    ensure(message.contains("tracepoint:block:block_rq_issue"), || message.clone())?;
    ensure(message.contains("--kernel linux"), || message.clone())?;
    let missing = kernel.attach(program, &tracepoint("syscalls", "sys_enter_nothing"), 0);
    same(missing.err().and_then(|error| error.errno()), Some(libc::ENOENT))?;
    kernel.attach(program, &tracepoint("syscalls", "sys_enter_read"), 0)?;
    let everybody = kernel.resume();
    same(matches!(everybody, Err(Error::Unsupported { .. })), true)?;
    let nobody = kernel.map_update(MapFd(99), &[], &[], UpdateFlag::Any);
    same(nobody.err().and_then(|error| error.errno()), Some(libc::EBADF))
}

//! What this crate takes for the running kernel's types, held against its limits and bpftool:
//! `cargo run --release -p bombus-btf --example figures`.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::{BufWriter, Write};
use std::process::Command;
use std::time::Duration;

use bombus_btf::{Btf, Kind, c_dump, raw};

const PATH: &str = "/sys/kernel/btf/vmlinux";
const ROUNDS: u32 = 40;

/// Fifty types that tools ask for.
const TYPES: [(Kind, &str); 50] = {
    use Kind::{Enum, Struct, Typedef, Union};
    [
        (Struct, "task_struct"),
        (Struct, "mm_struct"),
        (Struct, "file"),
        (Struct, "inode"),
        (Struct, "dentry"),
        (Struct, "path"),
        (Struct, "super_block"),
        (Struct, "vfsmount"),
        (Struct, "sock"),
        (Struct, "socket"),
        (Struct, "sk_buff"),
        (Struct, "net_device"),
        (Struct, "net"),
        (Struct, "inet_sock"),
        (Struct, "tcp_sock"),
        (Struct, "udp_sock"),
        (Struct, "sock_common"),
        (Struct, "request"),
        (Struct, "request_queue"),
        (Struct, "bio"),
        (Struct, "gendisk"),
        (Struct, "block_device"),
        (Struct, "page"),
        (Struct, "folio"),
        (Struct, "cred"),
        (Struct, "nsproxy"),
        (Struct, "pid"),
        (Struct, "upid"),
        (Struct, "signal_struct"),
        (Struct, "cgroup"),
        (Struct, "css_set"),
        (Struct, "pt_regs"),
        (Struct, "bpf_map"),
        (Struct, "bpf_prog"),
        (Struct, "bpf_link"),
        (Struct, "module"),
        (Struct, "rq"),
        (Struct, "cfs_rq"),
        (Struct, "linux_binprm"),
        (Struct, "trace_event_raw_sys_enter"),
        (Union, "bpf_attr"),
        (Enum, "bpf_map_type"),
        (Enum, "bpf_prog_type"),
        (Enum, "pid_type"),
        (Typedef, "u64"),
        (Typedef, "pid_t"),
        (Typedef, "btf_trace_sys_enter"),
        (Typedef, "btf_trace_sched_switch"),
        (Struct, "kernfs_node"),
        (Union, "bpf_iter_link_info"),
    ]
};

/// What a round takes, in time on the processor: the machine has other things to do.
struct Took {
    least: Duration,
    average: Duration,
}

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2?} ({:.2?})", self.least, self.average)
    }
}

fn took(mut round: impl FnMut()) -> Took {
    // The clock is brought up to date when the thread leaves the processor.
    let now = || {
        std::thread::yield_now();
        on_cpu()
    };
    let rounds: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = now();
            round();
            now() - start
        })
        .collect();
    let sum: Duration = rounds.iter().sum();
    Took { least: rounds.into_iter().min().unwrap_or_default(), average: sum / ROUNDS }
}

/// How long this thread was on a processor so far.
fn on_cpu() -> Duration {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = stat.split(' ').next().and_then(|word| word.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

/// How long children that ended were on a processor.
fn children_on_cpu() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    // `cutime` and `cstime`, in hundredths of a second.
    let ticks = after_name.split_whitespace().skip(13).take(2);
    Duration::from_millis(ticks.filter_map(|word| word.parse::<u64>().ok()).sum::<u64>() * 10)
}

/// Bytes of memory that the process has.
fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or_default() * 4096
}

fn main() {
    if let Some(format) = std::env::args().nth(1) {
        return dump(&format);
    }
    let bytes: &'static [u8] = match fs::read(PATH) {
        Ok(bytes) => bytes.leak(),
        Err(error) => return println!("skipped: {PATH}: {error}"),
    };
    let before = resident();
    let btf = Btf::parse(bytes).expect("the kernel's types are well formed");
    let found = TYPES.iter().filter(|(kind, name)| btf.find(*kind, name).is_some()).count();
    let memory = resident().saturating_sub(before);
    let types = btf.next_id().0;
    println!("open and find {found} of 50 among {types} types: {} KiB", memory >> 10);
    let read = took(|| drop(fs::read(PATH)));
    let index = took(|| drop(Btf::parse(bytes)));
    let find = took(|| {
        let btf = Btf::parse(bytes).expect("the kernel's types are well formed");
        assert_eq!(
            TYPES.iter().filter(|(kind, name)| btf.find(*kind, name).is_some()).count(),
            found
        );
    });
    let names = took(|| {
        Btf::parse(bytes).expect("as before").find(Kind::Struct, "task_struct");
    });
    println!(
        "least and average of {ROUNDS}: read {read}, index {index}, with one type {names}, with 50 \
         {find}"
    );
    let functions = took(|| {
        Btf::parse(bytes).expect("as before").find(Kind::Func, "vfs_read");
    });
    println!("with one function {functions}");
    let dump = took(|| {
        c_dump::dump_all(&btf, &mut Sink).expect("the kernel is written in C");
    });
    println!("C declarations alone {dump}");
    compare("c");
    compare("raw");
    assert!(find.least <= Duration::from_millis(3), "finding 50 types took {find}");
    assert!(memory <= 4 << 20, "finding 50 types took {memory} bytes");
}

/// Writes a dump to standard output, as bpftool does.
fn dump(format: &str) {
    let btf = Btf::parse(fs::read(PATH).expect("it was there before")).expect("well formed");
    let mut out = Out(BufWriter::with_capacity(1 << 16, std::io::stdout()));
    match format {
        "c" => c_dump::dump_all(&btf, &mut out).expect("the kernel is written in C"),
        "vmlinux" => c_dump::vmlinux(&btf, true, &mut out).expect("the same in order"),
        _ => raw::dump(&btf, &mut out).expect("there is room"),
    }
    out.0.flush().expect("there is room");
}

/// Standard output as the formatter wants it.
struct Out(BufWriter<std::io::Stdout>);

impl std::fmt::Write for Out {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.write_all(text.as_bytes()).map_err(|_| std::fmt::Error)
    }
}

/// Takes all and keeps nothing.
struct Sink;

impl fmt::Write for Sink {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        std::hint::black_box(text);
        Ok(())
    }
}

/// A dump into a file by this program, started anew each time, and by bpftool.
fn compare(format: &str) {
    let path = std::env::temp_dir().join(format!("bombus-figures-{}", std::process::id()));
    let time = |program: &OsStr, args: &[&str]| {
        let start = children_on_cpu();
        for _ in 0..ROUNDS {
            let file = fs::File::create(&path).expect("there is room");
            let status = Command::new(program).args(args).stdout(file).status();
            if !status.is_ok_and(|status| status.success()) {
                return None;
            }
        }
        Some((children_on_cpu() - start) / ROUNDS)
    };
    let own = std::env::current_exe().expect("this program has a file");
    let ours = time(own.as_os_str(), &[format]).expect("this program works");
    match time(OsStr::new("bpftool"), &["btf", "dump", "file", PATH, "format", format]) {
        Some(theirs) => {
            let times = theirs.as_secs_f64() / ours.as_secs_f64();
            println!(
                "dump format {format}: {ours:.2?}, bpftool {theirs:.2?}: {times:.1} times as fast"
            );
        }
        None => println!("dump format {format}: {ours:.2?}; skipped: no bpftool"),
    }
    drop(fs::remove_file(&path));
}

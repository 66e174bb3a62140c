//! What this crate takes for the running kernel's types, held against its limits and bpftool:
//! `cargo run --release -p bombus-btf --example figures`.

use std::fs;
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

/// What a round takes on average, in time on the processor: the machine has other things to do.
fn average(mut round: impl FnMut()) -> Duration {
    let start = on_cpu();
    (0..ROUNDS).for_each(|_| round());
    // The clock is brought up to date when the thread leaves the processor.
    std::thread::yield_now();
    (on_cpu() - start) / ROUNDS
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
    let index = average(|| drop(Btf::parse(bytes)));
    let find = average(|| {
        let btf = Btf::parse(bytes).expect("the kernel's types are well formed");
        assert_eq!(
            TYPES.iter().filter(|(kind, name)| btf.find(*kind, name).is_some()).count(),
            found
        );
    });
    let names = average(|| {
        Btf::parse(bytes).expect("as before").find(Kind::Struct, "task_struct");
    });
    println!(
        "average of {ROUNDS}: index {index:.2?}, with one type {names:.2?}, with 50 {find:.2?}"
    );
    let functions = average(|| {
        Btf::parse(bytes).expect("as before").find(Kind::Func, "vfs_read");
    });
    println!("with one function {functions:.2?}");
    dump("c", |btf, text| c_dump::dump_all(btf, text).expect("the kernel is written in C"));
    dump("raw", |btf, text| raw::dump(btf, text).expect("a string takes it"));
    assert!(find <= Duration::from_millis(3), "finding 50 types took {find:.2?}");
    assert!(memory <= 4 << 20, "finding 50 types took {memory} bytes");
}

/// The whole of a dump, from one file to another, by this crate and by bpftool.
fn dump(format: &str, write: impl Fn(&Btf, &mut String)) {
    let path = std::env::temp_dir().join(format!("bombus-figures-{}", std::process::id()));
    let ours = average(|| {
        let mut text = String::new();
        write(&Btf::parse(fs::read(PATH).unwrap_or_default()).expect("as before"), &mut text);
        fs::write(&path, text).expect("there is room");
    });
    let bpftool = || {
        let file = fs::File::create(&path).expect("there is room");
        let args = ["btf", "dump", "file", PATH, "format", format];
        Command::new("bpftool").args(args).stdout(file).status()
    };
    match bpftool() {
        Ok(_) => {
            let start = children_on_cpu();
            (0..ROUNDS).for_each(|_| drop(bpftool()));
            let theirs = (children_on_cpu() - start) / ROUNDS;
            let times = theirs.as_secs_f64() / ours.as_secs_f64();
            println!(
                "dump format {format}: {ours:.2?}, bpftool {theirs:.2?}: {times:.1} times as fast"
            );
        }
        Err(error) => println!("dump format {format}: {ours:.2?}; skipped: bpftool: {error}"),
    }
    drop(fs::remove_file(&path));
}

//! How long the system calls of a command take.
//!
//! `cargo run --example latency_histogram [-- COMMAND ARGUMENT...]`

mod support;

use std::error::Error;
use std::ffi::OsString;

use bombus::{Array, Command, Linux, Tracer, Wake};

fn main() -> Result<(), Box<dyn Error>> {
    if !support::can_load() {
        return Ok(());
    }
    let mut argv: Vec<OsString> = std::env::args_os().skip(1).collect();
    if argv.is_empty() {
        argv = ["dd", "if=/dev/zero", "of=/dev/null", "bs=4k", "count=20000", "status=none"]
            .map(OsString::from)
            .into();
    }
    let kernel = Linux::new()?;
    // The command is held before it starts, so that none of its calls is missed.
    let pid = kernel.spawn(&Command { argv })?;

    let mut object =
        support::object("latency_histogram", include_bytes!("latency_histogram.bpf.o"))?;
    object.set("only", pid)?;
    let loaded = object.load(&kernel)?;
    let link = loaded.attach_all()?;
    kernel.resume()?;
    while !matches!(kernel.wait(&[], None)?, Wake::TargetExited { .. }) {}
    drop(link);

    let histogram: Array<u64> = loaded.map("histogram")?;
    print(&histogram.values()?);
    Ok(())
}

/// One line for each power of two that occurred, and for those between.
fn print(counts: &[u64]) {
    const WIDTH: u64 = 50;
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let first = counts.iter().position(|&count| count > 0).unwrap_or(0);
    let last = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
    println!("{:>12} {:>8}", "at least", "calls");
    for (log, &count) in counts.iter().enumerate().take(last + 1).skip(first) {
        let bar = "#".repeat((count * WIDTH / most) as usize);
        println!("{:>12} {count:>8} {bar}", time(1 << log));
    }
}

fn time(nanoseconds: u64) -> String {
    match nanoseconds {
        0..1_000 => format!("{nanoseconds} ns"),
        1_000..1_000_000 => format!("{:.1} us", nanoseconds as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} ms", nanoseconds as f64 / 1e6),
        _ => format!("{:.1} s", nanoseconds as f64 / 1e9),
    }
}

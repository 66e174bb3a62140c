//! The embedded kernel over a C build, as nobody, against `strace` and against no tracer at all.
//!
//! Beside the ratios of the least times stand those of each round, of which the median is shown:
//! the runs of one round follow each other, so what disturbs a round disturbs all of it. How much
//! of the time the host took for itself says what the figures are worth.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::measure::{CpuTime, as_nobody, in_turn, least_and_median, ms, paired};

const ROUNDS: usize = 7;
const FILES: usize = 10;
const COUNT_ALL: &str = "tracepoint:raw_syscalls:sys_enter { @[comm] = count(); }";
const OPENAT: &str = "tracepoint:syscalls:sys_enter_openat { @[comm] = count(); }";

pub(super) fn run(bombus: &Path) -> Result<(), String> {
    let dir = project()?;
    println!("embedded: a build of {FILES} C files as nobody, {ROUNDS} runs each in turn");
    println!(
        "| build | how | least wall ms | median | to untraced: least, paired | to strace -f -c: \
         least, paired |"
    );
    println!("|---|---|---|---|---|---|");
    let before = CpuTime::now()?;
    for (jobs, pinned) in [("-j1", true), ("-j1", false), ("-j2", false)] {
        let build = format!("make -B -s {jobs} -C {}", dir.display());
        let place = if pinned { "one CPU" } else { "any CPU" };
        let trace = |script: &'static str| {
            let (bombus, build) = (bombus.to_owned(), build.clone());
            Box::new(move || {
                let mut command = on_cpu(pinned, &bombus);
                command.args(["--kernel", "embedded", "-e", script, "-c", &build]);
                as_nobody(&mut command);
                command
            }) as Box<dyn FnMut() -> Command>
        };
        let plain = |prefix: &'static [&'static str]| {
            let build = build.clone();
            Box::new(move || {
                let words: Vec<&str> = prefix.iter().copied().chain(build.split(' ')).collect();
                let mut command = on_cpu(pinned, Path::new(words[0]));
                command.args(&words[1..]);
                as_nobody(&mut command);
                command
            }) as Box<dyn FnMut() -> Command>
        };
        let mut tools = [
            plain(&[]),
            plain(&["strace", "-f", "-c", "-o", "/dev/null"]),
            trace(COUNT_ALL),
            trace(OPENAT),
        ];
        let costs = in_turn(ROUNDS, &mut tools)?;
        let walls: Vec<(Duration, Duration)> =
            costs.iter().map(|runs| least_and_median(runs, |cost| cost.wall)).collect();
        for (at, name) in ["untraced", "strace -f -c", "all counted", "openat"].iter().enumerate() {
            let least = |to: usize| walls[at].0.as_secs_f64() / walls[to].0.as_secs_f64();
            println!(
                "| make {jobs}, {place} | {name} | {} | {} | {:.2}, {:.2} | {:.2}, {:.2} |",
                ms(walls[at].0),
                ms(walls[at].1),
                least(0),
                paired(&costs[at], &costs[0]),
                least(1),
                paired(&costs[at], &costs[1]),
            );
        }
    }
    println!("stolen by the host: {:.1} % of the time", CpuTime::now()?.stolen_since(&before));
    std::fs::remove_dir_all(&dir).map_err(|error| error.to_string())
}

/// A command that may run on every CPU, or on the first one only. (A stop that wakes a sleeping CPU
/// costs several times one that stays on its CPU, in a virtual machine most of all; on one CPU the
/// measure is of the work and not of the wake-ups.)
fn on_cpu(pinned: bool, program: &Path) -> Command {
    if !pinned {
        return Command::new(program);
    }
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(program);
    command
}

/// Ten C files and a Makefile that anybody may build.
fn project() -> Result<PathBuf, String> {
    let dir = std::env::temp_dir().join(format!("bombus-build-{}", std::process::id()));
    let write = |name: String, text: String| {
        std::fs::write(dir.join(name), text).map_err(|error| error.to_string())
    };
    std::fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
    let mut objects = String::new();
    for n in 0..FILES {
        objects += &format!(" f{n}.o");
        let text = format!(
            "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n\
             int f{n}(int x) {{ char b[64]; snprintf(b, sizeof b, \"%d\", x); return atoi(b) + {n}; }}\n"
        );
        write(format!("f{n}.c"), text)?;
    }
    let makefile = format!("all:{objects}\n%.o: %.c\n\tgcc -O1 -c -o $@ $<\n");
    write("Makefile".into(), makefile)?;
    std::os::unix::fs::chown(&dir, Some(65534), Some(65534)).map_err(|error| error.to_string())?;
    Ok(dir)
}

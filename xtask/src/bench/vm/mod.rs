//! `cargo xtask bench vm`: sixteen C programs on our engines, on their peers and as the machine's own
//! code, in one run. Figures are nanoseconds a run, and ratios to the machine's own code without the
//! cost of entering.
//!
//! Needs `gcc` and `clang-19`; for the kernel's row the right to load programs.

mod bars;
mod compile;
mod engines;
mod kernel;
mod programs;
mod table;

use programs::{PROGRAMS, Sources};
use table::Table;

/// Rounds over everything, so that noise hits all alike; the best of them counts. In each, code stands
/// somewhere else: whether a processor foresees the end of a loop of 256 rounds is luck, which stays with
/// a place for long and is a quarter of a short loop's time.
const ROUNDS: usize = 15;

/// Least and middle nanoseconds a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Timing {
    least: f64,
    middle: f64,
}

impl Timing {
    /// The better of both.
    fn better(self, other: Timing) -> Timing {
        Timing { least: self.least.min(other.least), middle: self.middle.min(other.middle) }
    }
}

/// What an engine did with a program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    value: u64,
    timing: Timing,
}

/// Runs the benchmark.
pub(super) fn run() -> Result<(), String> {
    if cfg!(debug_assertions) {
        return again_optimised();
    }
    let sources = Sources::build()?;
    let (mut table, mut missing) = (Table::new(), Vec::new());
    for round in 0..ROUNDS {
        eprintln!("round {} of {ROUNDS}", round + 1);
        for name in PROGRAMS {
            let program = sources.load(name)?;
            table.note("native", name, program.native()?);
            for engine in engines::ALL {
                match (engine.measure)(&program) {
                    Ok(measured) if measured.value != program.expected => {
                        return Err(format!(
                            "{}: {name} gives {:#x}, not {:#x}",
                            engine.name, measured.value, program.expected
                        ));
                    }
                    Ok(measured) => table.note(engine.name, name, measured.timing),
                    Err(why) if round == 0 => {
                        missing.push(format!("{}, {name}: {why}", engine.name))
                    }
                    Err(_) => {}
                }
            }
        }
    }
    table.print();
    println!("\nnot to be had:");
    missing.push("ubpf JIT: no registry has a package of it".to_owned());
    missing.iter().for_each(|what| println!("* {what}"));
    let compiling = compile::print()?;
    bars::print(&table, compiling);
    Ok(())
}

/// Starts this very benchmark in an optimised build: it measures code of ours in this process.
fn again_optimised() -> Result<(), String> {
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let status = std::process::Command::new(cargo)
        .args(["run", "--quiet", "--profile", "measure", "--package", "xtask", "--", "bench", "vm"])
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    if status.success() { Ok(()) } else { Err("the optimised benchmark failed".to_owned()) }
}

/// Times a program in batches of about 20 microseconds. Slow ones get fewer batches.
fn measure(mut run: impl FnMut() -> u64) -> Measured {
    let mut batch = |runs: u64| {
        let start = std::time::Instant::now();
        for _ in 0..runs {
            std::hint::black_box(run());
        }
        start.elapsed().as_nanos() as f64 / runs as f64
    };
    let first = batch(1).min(batch(10));
    let runs = (20_000.0 / first) as u64 + 1;
    let batches = (3_000_000.0 / (first * runs as f64)).clamp(9.0, 150.0) as usize;
    let mut times: Vec<f64> = (0..batches).map(|_| batch(runs)).collect();
    times.sort_by(f64::total_cmp);
    let timing = Timing { least: times[0], middle: times[batches / 2] };
    Measured { value: run(), timing }
}

//! Maps: ours, the kernel's by test runs, and concurrent hash tables that others made.
//!
//! An operation is what a program does with it: take the next number of a generator, make a key of
//! it, call the operation, and after a look-up read the value. Ours is called through the functions
//! that machine code calls. How it is measured is told in [`timing`].

mod bars;
mod kernel;
mod machine;
mod ours;
mod peers;
mod timing;

use std::fmt;
use std::process::Command;

use bombus_platform::MapType;

use bars::Summary;
use machine::Machine;
use timing::Figures;

/// Turns that everybody gets.
const TURNS: usize = 12;
/// Entries of a map that is small and hot.
const HOT: u32 = 64;
/// Entries of an array.
const ARRAY: u32 = 4096;

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operation {
    Lookup,
    Update,
    /// A key is deleted and inserted again.
    Renew,
}

/// A map and what is done with it.
#[derive(Clone, Copy, Debug)]
struct Case {
    map_type: MapType,
    key_size: usize,
    /// Elements there are; the map has room for as many, or for 64 at least.
    entries: u32,
    operations: &'static [Operation],
}

impl Case {
    fn room(&self) -> u32 {
        self.entries.max(HOT)
    }

    /// Whether it is what the bars of one thread are about.
    fn is_barred(&self) -> bool {
        self.entries == HOT && self.key_size == 4
    }

    fn turns(&self) -> usize {
        if self.is_barred() { 5 * TURNS } else { TURNS }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} | {} | {} |", self.map_type.name(), self.entries, self.key_size)
    }
}

/// Keys that a thread asks for: all those of the map in an order that looks random.
#[derive(Clone, Copy)]
struct Keys {
    state: u64,
    entries: u64,
}

/// Of Knuth's MMIX.
const MULTIPLIER: u64 = 6364136223846793005;
const INCREMENT: u64 = 0x5851_f42d;

impl Keys {
    fn new(entries: u32, thread: u64) -> Keys {
        Keys { state: thread + 1, entries: entries.into() }
    }

    #[inline(always)]
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT);
        ((self.state >> 32) * self.entries) >> 32
    }

    /// Calls it with so many of them. The state is in a register meanwhile.
    #[inline(always)]
    fn each(&mut self, times: u32, mut call: impl FnMut(u64)) {
        let mut keys = *self;
        for _ in 0..times {
            call(keys.next());
        }
        *self = keys;
    }
}

/// A map that threads of this process can use.
trait Subject: Sync {
    /// Does something so many times on a CPU.
    fn work(&self, operation: Operation, keys: &mut Keys, cpu: u32, times: u32);
}

/// Builds this benchmark for speed, and has that measure.
pub(super) fn run() -> Result<(), String> {
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let status = Command::new(cargo)
        .args(["run", "--quiet", "--release", "--config", "profile.release.lto=\"thin\""])
        .args(["--config", "profile.release.codegen-units=16", "--package", "xtask"])
        .args(["--", "bench", "maps-here"])
        .status()
        .map_err(|error| format!("cargo: {error}"))?;
    if status.success() { Ok(()) } else { Err("the measurement failed".into()) }
}

fn cases() -> Vec<Case> {
    use Operation::{Lookup, Renew, Update};
    const ALL: &[Operation] = &[Lookup, Update, Renew];
    let case =
        |map_type, key_size, entries, operations| Case { map_type, key_size, entries, operations };
    let mut cases = vec![case(MapType::Hash, 4, HOT, ALL)];
    for entries in [1, 100_000, 1_000_000] {
        cases.extend([8, 16, 64].map(|key_size| case(MapType::Hash, key_size, entries, ALL)));
    }
    let others = [MapType::PercpuHash, MapType::LruHash, MapType::LruPercpuHash];
    cases.extend(others.map(|map_type| case(map_type, 8, HOT, ALL)));
    let arrays = [MapType::Array, MapType::PercpuArray];
    cases.extend(arrays.map(|map_type| case(map_type, 4, ARRAY, &[Lookup, Update])));
    cases
}

/// Prints the table, and what of the bars is met. `cargo xtask bench maps` runs it.
pub(super) fn measure() -> Result<(), String> {
    timing::settle_on(0);
    println!("maps: ns an operation; of two threads, of both together ({TURNS} turns)");
    println!(
        "| map | entries | key | operation | ours | two | kernel | two | papaya | two | dashmap | \
         two | kernel to ours | best peer to ours | ours, two threads do |"
    );
    println!("|{}", "---|".repeat(15));
    let before = timing::stolen();
    let (mut machine, mut summary) = (Machine::default(), Summary::default());
    for _ in 0..TURNS {
        machine.turn();
    }
    for case in cases() {
        let ours = ours::make(&case)?;
        let peers = peers::make(&case);
        let kernel = kernel::fill(&case);
        for &operation in case.operations {
            let program = kernel.as_ref().map_err(Clone::clone);
            let program = program.and_then(|kernel| kernel.load(&case, operation));
            let mut figures: [Figures; 4] = Default::default();
            for _ in 0..case.turns() {
                figures[0].turn(&*ours, operation, case.entries);
                if let Ok(program) = &program {
                    program.turn(&mut figures[1])?;
                }
                for (figures, peer) in figures[2..].iter_mut().zip(&peers) {
                    figures.turn(&**peer, operation, case.entries);
                }
            }
            print_row(&case, operation, &figures);
            if let Err(error) = program {
                println!("skipped: the kernel's: {error}");
            }
            let loop_ns = machine.alone.one().unwrap_or(0.0);
            summary.add(&case, operation, &figures[0], loop_ns);
            machine.turn();
        }
    }
    let after = timing::stolen();
    let steal = (after.1 - before.1) as f64 / (after.0 - before.0).max(1) as f64;
    summary.print(&machine, steal);
    Ok(())
}

fn print_row(case: &Case, operation: Operation, figures: &[Figures; 4]) {
    let show = |figure: Option<f64>| figure.map_or("-".to_owned(), |ns| format!("{ns:.1}"));
    let ratio = |of: Option<f64>| match (of, figures[0].one()) {
        (Some(of), Some(ours)) => format!("{:.1}", of / ours),
        _ => "-".to_owned(),
    };
    let columns: Vec<String> =
        figures.iter().flat_map(|each| [show(each.one()), show(each.two())]).collect();
    let peer = figures[2..].iter().filter_map(Figures::one).reduce(f64::min);
    println!(
        "| {case} {operation:?} | {} | {} | {} | {:.2} |",
        columns.join(" | "),
        ratio(figures[1].one()),
        ratio(peer),
        figures[0].speedup().unwrap_or(f64::NAN),
    );
}

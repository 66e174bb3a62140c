//! Maps: ours, the kernel's by test runs, and concurrent hash tables that others made.
//!
//! An operation is what a program does with it: take the next number of a generator, make a key of
//! it, call the operation, and after a look-up read the value. Ours is called through the functions
//! that machine code calls. Each figure is the least of many batches, taken in turns.

mod kernel;
mod ours;
mod peers;

use std::process::Command;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use bombus_platform::MapType;

/// Operations between two looks at the clock.
const BATCH: u32 = 64;
/// Batches of a turn.
const BATCHES: u32 = 64;
/// How long two threads work.
const TOGETHER: Duration = Duration::from_millis(60);
/// Turns that everybody gets.
const TURNS: usize = 12;

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
    operation: Operation,
}

impl Case {
    fn room(&self) -> u32 {
        self.entries.max(64)
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
    fn new(case: &Case, thread: u64) -> Keys {
        Keys { state: thread + 1, entries: case.entries.into() }
    }

    #[inline(always)]
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(INCREMENT);
        ((self.state >> 32) * self.entries) >> 32
    }
}

/// A map that threads of this process can use.
trait Subject: Sync {
    /// Does the case's operation so many times on a CPU.
    fn work(&self, keys: &mut Keys, cpu: u32, times: u32);
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
    let mut cases = Vec::new();
    let mut add = |map_type, key_size, entries, operations: &[Operation]| {
        cases.extend(operations.iter().map(|&operation| Case {
            map_type,
            key_size,
            entries,
            operation,
        }));
    };
    for entries in [1, 100_000, 1_000_000] {
        for key_size in [8, 16, 64] {
            add(MapType::Hash, key_size, entries, &[Lookup, Update, Renew]);
        }
    }
    add(MapType::Hash, 4, 64, &[Lookup, Update, Renew]);
    for map_type in [MapType::PercpuHash, MapType::LruHash, MapType::LruPercpuHash] {
        add(map_type, 8, 64, &[Lookup, Update, Renew]);
    }
    for map_type in [MapType::Array, MapType::PercpuArray] {
        add(map_type, 4, 4096, &[Lookup, Update]);
    }
    cases
}

/// Nanoseconds an operation: of one thread, and of two together.
#[derive(Clone, Copy, Default)]
struct Figures {
    one: Option<f64>,
    two: Option<f64>,
}

/// Prints the table. `cargo xtask bench maps` runs it.
pub(super) fn measure() -> Result<(), String> {
    println!("maps: ns an operation, least of {TURNS} turns; of two threads, of both together");
    println!(
        "| map | entries | key | operation | ours | two | kernel | two | papaya | two | dashmap | \
         two | kernel to ours | best peer to ours | two to one |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    let atomic = atomic_addition();
    for case in cases() {
        let ours = ours::make(&case)?;
        let peers = peers::make(&case);
        let mut kernel = kernel::Program::load(&case);
        let mut figures = [Figures::default(); 4];
        for _ in 0..TURNS {
            turn(&mut figures[0], &case, &*ours);
            if let Ok(kernel) = &mut kernel {
                least(&mut figures[1].one, kernel.run()?);
            }
            for (figures, peer) in figures[2..].iter_mut().zip(&peers) {
                turn(figures, &case, &**peer);
            }
        }
        if let Ok(kernel) = &mut kernel {
            figures[1].two = Some(kernel.run_two()?);
        }
        print_row(&case, &figures);
        if let Err(error) = kernel {
            println!("skipped: the kernel's: {error}");
        }
    }
    println!("an atomic addition takes {atomic:.1} ns here");
    Ok(())
}

fn print_row(case: &Case, figures: &[Figures; 4]) {
    let show = |figure: Option<f64>| figure.map_or("-".to_owned(), |ns| format!("{ns:.1}"));
    let ratio = |of: Option<f64>, to: Option<f64>| match (of, to) {
        (Some(of), Some(to)) => format!("{:.1}", of / to),
        _ => "-".to_owned(),
    };
    let columns: Vec<String> =
        figures.iter().flat_map(|each| [show(each.one), show(each.two)]).collect();
    let peer = figures[2..].iter().filter_map(|each| each.one).reduce(f64::min);
    println!(
        "| {} | {} | {} | {:?} | {} | {} | {} | {} |",
        case.map_type.name(),
        case.entries,
        case.key_size,
        case.operation,
        columns.join(" | "),
        ratio(figures[1].one, figures[0].one),
        ratio(peer, figures[0].one),
        ratio(figures[0].two, figures[0].one),
    );
}

fn least(figure: &mut Option<f64>, ns: f64) {
    *figure = Some(figure.map_or(ns, |least| least.min(ns)));
}

/// One turn of one thread, and then of two.
fn turn(figures: &mut Figures, case: &Case, subject: &dyn Subject) {
    let mut keys = Keys::new(case, 0);
    for _ in 0..BATCHES {
        let start = Instant::now();
        subject.work(&mut keys, 0, BATCH);
        least(&mut figures.one, start.elapsed().as_nanos() as f64 / f64::from(BATCH));
    }
    least(&mut figures.two, together(case, subject));
}

/// Two threads for a while: the processor time of each divided by what it has done, so that others
/// on the machine do not count.
fn together(case: &Case, subject: &dyn Subject) -> f64 {
    let barrier = Barrier::new(2);
    let work = |thread: u32| {
        let mut keys = Keys::new(case, thread.into());
        let mut done = 0u64;
        barrier.wait();
        let (start, used) = (Instant::now(), thread_time());
        while start.elapsed() < TOGETHER / TURNS as u32 {
            subject.work(&mut keys, thread, 8 * BATCH);
            done += u64::from(8 * BATCH);
        }
        (thread_time() - used).as_nanos() as f64 / done as f64
    };
    let (first, second) = std::thread::scope(|scope| {
        let other = scope.spawn(|| work(1));
        let own = work(0);
        (own, other.join().unwrap_or(f64::INFINITY))
    });
    // So many a nanosecond, added up.
    1.0 / (1.0 / first + 1.0 / second)
}

/// Processor time of this thread.
fn thread_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes to a live local.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// How long the dearest instruction of an update takes, to compare machines by.
fn atomic_addition() -> f64 {
    let word = std::sync::atomic::AtomicU64::new(0);
    let mut figure = None;
    for _ in 0..200 {
        let start = Instant::now();
        for _ in 0..256 {
            word.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        least(&mut figure, start.elapsed().as_nanos() as f64 / 256.0);
    }
    figure.unwrap_or(0.0)
}

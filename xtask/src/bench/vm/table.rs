//! What was measured, as tables.

use super::Timing;
use super::engines;
use super::programs::{HELPER_CALLS, LOCAL_CALLS, PROGRAMS};

/// What native code is called.
const NATIVE: &str = "native";

/// The best of all rounds, by engine and program.
pub(super) struct Table {
    cells: Vec<(&'static str, &'static str, Timing)>,
}

impl Table {
    pub(super) fn new() -> Table {
        Table { cells: Vec::new() }
    }

    pub(super) fn note(&mut self, engine: &'static str, program: &'static str, timing: Timing) {
        match self.cells.iter_mut().find(|cell| (cell.0, cell.1) == (engine, program)) {
            Some(cell) => cell.2 = cell.2.better(timing),
            None => self.cells.push((engine, program, timing)),
        }
    }

    fn get(&self, engine: &str, program: &str) -> Option<Timing> {
        let cell = self.cells.iter().find(|cell| (cell.0, cell.1) == (engine, program));
        cell.map(|cell| cell.2)
    }

    /// Least nanoseconds without those of entering.
    fn inner(&self, engine: &str, program: &str) -> Option<f64> {
        let entry = self.get(engine, PROGRAMS[0])?.least;
        // Noise may make a small program as cheap as none.
        Some((self.get(engine, program)?.least - entry).max(0.1))
    }

    fn ratio(&self, engine: &str, program: &str) -> Option<f64> {
        Some(self.inner(engine, program)? / self.inner(NATIVE, program)?)
    }

    pub(super) fn print(&self) {
        let engines: Vec<&str> =
            std::iter::once(NATIVE).chain(engines::ALL.iter().map(|engine| engine.name)).collect();
        println!("ns a run, least of all batches (middle)");
        heading(&engines);
        for program in PROGRAMS {
            let cell = |engine: &&str| {
                let timing = self.get(engine, program);
                timing.map_or("-".to_owned(), |t| format!("{:.1} ({:.1})", t.least, t.middle))
            };
            row(program, engines.iter().map(cell));
        }
        println!("\nratio to native, without the cost of entering");
        let others = &engines[1..];
        heading(others);
        for program in &PROGRAMS[1..] {
            let cell = |engine: &&str| show(self.ratio(engine, program));
            row(program, others.iter().map(cell));
        }
        let mean = |engine: &&str| {
            let ratios = PROGRAMS[1..].iter().filter_map(|program| self.ratio(engine, program));
            let logs: Vec<f64> = ratios.map(f64::ln).collect();
            show((!logs.is_empty()).then(|| (logs.iter().sum::<f64>() / logs.len() as f64).exp()))
        };
        row("geometric mean", others.iter().map(mean));
        println!("\nns");
        heading(&engines);
        let entry = |engine: &&str| show(self.get(engine, PROGRAMS[0]).map(|t| t.least));
        row("entry", engines.iter().map(entry));
        let helper = |engine: &&str| show(self.inner(engine, "helper").map(|t| t / HELPER_CALLS));
        row("helper call", engines.iter().map(helper));
        let local = |engine: &&str| show(self.inner(engine, "calls").map(|t| t / LOCAL_CALLS));
        row("local call", engines.iter().map(local));
    }
}

fn show(number: Option<f64>) -> String {
    number.map_or("-".to_owned(), |number| format!("{number:.2}"))
}

fn heading(engines: &[&str]) {
    println!("| | {} |\n|---|{}", engines.join(" | "), "---|".repeat(engines.len()));
}

fn row(name: &str, cells: impl Iterator<Item = String>) {
    println!("| {name} | {} |", cells.collect::<Vec<_>>().join(" | "));
}

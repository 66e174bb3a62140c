//! What was measured, as tables.

use super::Timing;
use super::engines;
use super::programs::{HELPER_CALLS, LOCAL_CALLS, PROGRAMS};

/// What native code is called.
const NATIVE: &str = "native";

/// What times may differ by without reason.
const NOISE: f64 = 1.03;

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
        row("geometric mean", others.iter().map(|engine| show(self.mean(engine))));
        println!("\nns");
        heading(&engines);
        row("entry", engines.iter().map(|engine| show(self.entry(engine))));
        row("helper call", engines.iter().map(|engine| show(self.helper_call(engine))));
        row("local call", engines.iter().map(|engine| show(self.local_call(engine))));
    }

    /// Geometric mean of the ratios to native.
    pub(super) fn mean(&self, engine: &str) -> Option<f64> {
        let ratios = PROGRAMS[1..].iter().filter_map(|program| self.ratio(engine, program));
        let logs: Vec<f64> = ratios.map(f64::ln).collect();
        (!logs.is_empty()).then(|| (logs.iter().sum::<f64>() / logs.len() as f64).exp())
    }

    /// Nanoseconds of entering.
    pub(super) fn entry(&self, engine: &str) -> Option<f64> {
        self.get(engine, PROGRAMS[0]).map(|timing| timing.least)
    }

    /// Nanoseconds of a helper call.
    pub(super) fn helper_call(&self, engine: &str) -> Option<f64> {
        self.inner(engine, "helper").map(|time| time / HELPER_CALLS)
    }

    /// Nanoseconds of a call within the program.
    pub(super) fn local_call(&self, engine: &str) -> Option<f64> {
        self.inner(engine, "calls").map(|time| time / LOCAL_CALLS)
    }

    /// Programs that take longer than on the best of the others, entering included, by more than what
    /// two runs of the same code differ by.
    pub(super) fn slower(&self, engine: &str, others: &[&str]) -> Vec<&'static str> {
        let least = |engine: &str, program: &str| self.get(engine, program).map(|time| time.least);
        let best = |program: &str| {
            others.iter().filter_map(|other| least(other, program)).min_by(f64::total_cmp)
        };
        let slower = |program: &&str| {
            least(engine, program) > best(program).map(|best| NOISE * best)
                && best(program).is_some()
        };
        PROGRAMS.into_iter().filter(slower).collect()
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

//! From counters that only grow to what happens now: two looks at the kernel make rates, many make
//! a history. Pure: no kernel, no clock, no terminal.

use std::collections::{BTreeMap, VecDeque};

use bombus_kernel::inspect::Holder;

/// Looks that a program's history keeps.
pub(crate) const HISTORY: usize = 120;

/// A look at all programs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    /// Nanoseconds on a clock that never goes back.
    pub(crate) at_ns: u64,
    pub(crate) programs: Vec<Counters>,
}

/// What the kernel says about one program.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    pub(crate) id: u32,
    /// Its type as bpftool prints it.
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) runs: u64,
    pub(crate) run_time_ns: u64,
    pub(crate) holders: Vec<Holder>,
}

/// A program with its rates.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) id: u32,
    pub(crate) kind: String,
    pub(crate) name: String,
    /// Runs a second.
    pub(crate) rate: f64,
    /// Nanoseconds a run, of the runs since the look before; `None`: there were none.
    pub(crate) ns_per_run: Option<f64>,
    /// Per cent of one CPU.
    pub(crate) cpu: f64,
    /// Runs since the kernel counts.
    pub(crate) runs: u64,
    /// Nanoseconds since the kernel counts.
    pub(crate) run_time_ns: u64,
    pub(crate) holders: Vec<Holder>,
    /// CPU time in each interval, in millionths of a CPU, the newest last.
    pub(crate) history: VecDeque<u64>,
}

impl Row {
    /// The processes that hold it, `pid/comm`, or nothing (it is attached or pinned and nobody
    /// holds it).
    pub(crate) fn holders_text(&self) -> String {
        let each = self.holders.iter().map(|holder| format!("{}/{}", holder.pid, holder.comm));
        each.collect::<Vec<_>>().join(" ")
    }

    /// Whether any of what identifies it contains `text`, whatever the case.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let text = text.to_ascii_lowercase();
        let id = self.id.to_string();
        [&id, &self.kind, &self.name, &self.holders_text()]
            .iter()
            .any(|field| field.to_ascii_lowercase().contains(&text))
    }
}

/// The programs as of the last look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rates {
    at_ns: Option<u64>,
    rows: BTreeMap<u32, Row>,
}

impl Rates {
    /// Takes a look in. Programs that are not in it any more are forgotten; ids are not used twice.
    pub(crate) fn add(&mut self, sample: Sample) {
        let elapsed_ns = self.at_ns.map(|before| sample.at_ns.saturating_sub(before));
        let mut before = std::mem::take(&mut self.rows);
        for counters in sample.programs {
            let row = row(before.remove(&counters.id), counters, elapsed_ns);
            self.rows.insert(row.id, row);
        }
        self.at_ns = Some(sample.at_ns);
    }

    /// The programs by id.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }

    /// Runs a second, and per cent of one CPU, of all programs together.
    pub(crate) fn total(&self) -> (f64, f64) {
        self.rows().fold((0.0, 0.0), |(rate, cpu), row| (rate + row.rate, cpu + row.cpu))
    }
}

/// A program's row; without rates when there was no look before, or not at this program.
fn row(before: Option<Row>, now: Counters, elapsed_ns: Option<u64>) -> Row {
    let mut row = Row {
        id: now.id,
        kind: now.kind,
        name: now.name,
        rate: 0.0,
        ns_per_run: None,
        cpu: 0.0,
        runs: now.runs,
        run_time_ns: now.run_time_ns,
        holders: now.holders,
        history: VecDeque::new(),
    };
    let (Some(before), Some(elapsed_ns @ 1..)) = (before, elapsed_ns) else { return row };
    // The counters are sums over CPUs that are read one after the other: never below the last look.
    let runs = now.runs.saturating_sub(before.runs) as f64;
    let time_ns = now.run_time_ns.saturating_sub(before.run_time_ns) as f64;
    let share = time_ns / elapsed_ns as f64;
    row.rate = runs * 1e9 / elapsed_ns as f64;
    row.ns_per_run = (runs > 0.0).then(|| time_ns / runs);
    row.cpu = share * 100.0;
    row.history = before.history;
    row.history.push_back((share * 1e6) as u64);
    while row.history.len() > HISTORY {
        row.history.pop_front();
    }
    row
}

/// What rows are sorted by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Column {
    Id,
    Kind,
    Name,
    Rate,
    NsPerRun,
    Cpu,
    Total,
}

impl Column {
    /// Names go up, numbers come down.
    fn descending(self) -> bool {
        !matches!(self, Column::Id | Column::Kind | Column::Name)
    }
}

/// An order of rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Order {
    pub(crate) column: Column,
    /// Against the column's own direction.
    pub(crate) reversed: bool,
}

impl Order {
    /// Sorts; what is equal stays in the order of ids.
    pub(crate) fn sort(self, rows: &mut [&Row]) {
        rows.sort_by(|a, b| {
            let order = match self.column {
                Column::Id => a.id.cmp(&b.id),
                Column::Kind => a.kind.cmp(&b.kind),
                Column::Name => a.name.cmp(&b.name),
                Column::Rate => a.rate.total_cmp(&b.rate),
                Column::NsPerRun => {
                    a.ns_per_run.unwrap_or(-1.0).total_cmp(&b.ns_per_run.unwrap_or(-1.0))
                }
                Column::Cpu => a.cpu.total_cmp(&b.cpu),
                Column::Total => a.run_time_ns.cmp(&b.run_time_ns),
            };
            let order =
                if self.column.descending() != self.reversed { order.reverse() } else { order };
            order.then(a.id.cmp(&b.id))
        });
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// `(id, name, runs, nanoseconds)` at a time.
    pub(crate) fn sample(at_ns: u64, programs: &[(u32, &str, u64, u64)]) -> Sample {
        let counters = |&(id, name, runs, run_time_ns): &(u32, &str, u64, u64)| Counters {
            id,
            kind: if id.is_multiple_of(2) { "xdp" } else { "tracepoint" }.to_owned(),
            name: name.to_owned(),
            runs,
            run_time_ns,
            holders: vec![Holder { pid: 1000 + id, comm: format!("holder{id}") }],
        };
        Sample { at_ns, programs: programs.iter().map(counters).collect() }
    }

    fn ids(rates: &Rates, column: Column, reversed: bool) -> Vec<u32> {
        let mut rows: Vec<&Row> = rates.rows().collect();
        Order { column, reversed }.sort(&mut rows);
        rows.iter().map(|row| row.id).collect()
    }

    #[test]
    fn two_looks_make_rates() {
        let mut rates = Rates::default();
        rates.add(sample(5_000_000_000, &[(7, "a", 100, 10_000)]));
        let row = rates.rows().next().expect("a row");
        assert_eq!((row.rate, row.ns_per_run, row.cpu), (0.0, None, 0.0));
        assert!(row.history.is_empty());

        // In half a second 1000 runs of 2 us: 2 ms of 500 ms.
        rates.add(sample(5_500_000_000, &[(7, "a", 1_100, 2_010_000)]));
        let row = rates.rows().next().expect("a row");
        assert_eq!(row.rate, 2000.0);
        assert_eq!(row.ns_per_run, Some(2000.0));
        assert!((row.cpu - 0.4).abs() < 1e-9);
        assert_eq!((row.runs, row.run_time_ns), (1_100, 2_010_000));
        assert_eq!(row.history, [4000]);
        assert_eq!(rates.total(), (2000.0, row.cpu));
    }

    #[test]
    fn nothing_ran_or_nothing_passed() {
        let mut rates = Rates::default();
        for at in [1, 2, 2] {
            rates.add(sample(at, &[(1, "a", 5, 50)]));
            let row = rates.rows().next().expect("a row");
            assert_eq!((row.rate, row.ns_per_run, row.cpu), (0.0, None, 0.0));
        }
    }

    #[test]
    fn counters_that_go_back_count_as_still() {
        let mut rates = Rates::default();
        rates.add(sample(1, &[(1, "a", 5, 50)]));
        rates.add(sample(2, &[(1, "a", 4, 40)]));
        assert_eq!(rates.total(), (0.0, 0.0));
    }

    #[test]
    fn programs_come_and_go() {
        let mut rates = Rates::default();
        rates.add(sample(0, &[(1, "a", 0, 0), (2, "b", 0, 0)]));
        rates.add(sample(1_000, &[(2, "b", 1, 10), (3, "c", 1000, 1000)]));
        let rows: Vec<_> = rates.rows().map(|row| (row.id, row.ns_per_run)).collect();
        // The new one has no rate yet: its runs may be older than the look before.
        assert_eq!(rows, [(2, Some(10.0)), (3, None)]);
    }

    #[test]
    fn history_is_bounded() {
        let mut rates = Rates::default();
        for at in 0..=2 * HISTORY as u64 {
            rates.add(sample(at * 1000, &[(1, "a", at, at * at)]));
        }
        let row = rates.rows().next().expect("a row");
        assert_eq!(row.history.len(), HISTORY);
        // The last interval took (240^2 - 239^2) of 1000 ns.
        assert_eq!(row.history.back(), Some(&479_000));
    }

    #[test]
    fn orders() {
        let mut rates = Rates::default();
        rates.add(sample(0, &[(1, "c", 0, 500), (2, "b", 0, 0), (3, "a", 0, 0), (4, "a", 0, 0)]));
        rates.add(sample(
            1000,
            &[(1, "c", 10, 520), (2, "b", 1, 100), (3, "a", 0, 0), (4, "a", 0, 0)],
        ));
        assert_eq!(ids(&rates, Column::Id, false), [1, 2, 3, 4]);
        assert_eq!(ids(&rates, Column::Id, true), [4, 3, 2, 1]);
        assert_eq!(ids(&rates, Column::Kind, false), [1, 3, 2, 4]);
        assert_eq!(ids(&rates, Column::Name, false), [3, 4, 2, 1]);
        assert_eq!(ids(&rates, Column::Rate, false), [1, 2, 3, 4]);
        assert_eq!(ids(&rates, Column::NsPerRun, false), [2, 1, 3, 4]);
        assert_eq!(ids(&rates, Column::Cpu, false), [2, 1, 3, 4]);
        assert_eq!(ids(&rates, Column::Cpu, true), [3, 4, 1, 2]);
        assert_eq!(ids(&rates, Column::Total, false), [1, 2, 3, 4]);
    }

    #[test]
    fn filters() {
        let mut rates = Rates::default();
        rates.add(sample(0, &[(12, "Drop_Icmp", 0, 0)]));
        let row = rates.rows().next().expect("a row");
        for text in ["", "12", "XDP", "drop_", "1012/", "holder12"] {
            assert!(row.matches(text), "{text}");
        }
        assert!(!row.matches("pass"));
    }
}

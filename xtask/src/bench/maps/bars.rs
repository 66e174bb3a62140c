//! What is to be reached, and whether it is.

use super::machine::Machine;
use super::{ARRAY, Case, HOT, Operation, timing::Figures};

/// Nanoseconds that an operation of one thread on a small hash table with keys of four bytes may
/// take.
const BARS: [(Operation, f64); 3] =
    [(Operation::Lookup, 3.0), (Operation::Update, 10.0), (Operation::Renew, 40.0)];

/// Two threads that do as much as one within this share of it are not slower: it is what the same
/// measurement differs by when it is repeated.
const TOLERANCE: f64 = 0.05;

/// Figures of ours, as they come.
#[derive(Default)]
pub(super) struct Summary {
    lines: Vec<String>,
    rows: usize,
    slower: Vec<String>,
    disturbed: usize,
}

impl Summary {
    pub(super) fn add(&mut self, case: &Case, operation: Operation, ours: &Figures, loop_ns: f64) {
        let bar = BARS.iter().find(|(barred, _)| case.is_barred() && *barred == operation);
        if let (Some((_, bar)), Some(ns)) = (bar, ours.one()) {
            let net = ns - loop_ns;
            let verdict = match (ns <= *bar, net <= *bar) {
                (true, _) => "met",
                (false, true) => "met without the loop around it only",
                (false, false) => "not met",
            };
            self.lines.push(format!(
                "{operation:?} of a small hash: {ns:.1} ns, {net:.1} without the loop around it; \
                 at most {bar:.0}: {verdict}"
            ));
        }
        if let Some(speedup) = ours.speedup() {
            self.rows += 1;
            self.disturbed += usize::from(ours.is_disturbed());
            if speedup < 1.0 - TOLERANCE {
                self.slower.push(format!("{case} {operation:?}: {speedup:.2}"));
            }
        }
    }

    pub(super) fn print(&self, machine: &Machine, steal: f64) {
        let show = |figure: Option<f64>| figure.map_or("-".to_owned(), |ns| format!("{ns:.2}"));
        println!("\nthe bars:");
        for line in &self.lines {
            println!("* {line}");
        }
        let met = if self.slower.is_empty() { "met" } else { "not met" };
        println!(
            "* two threads never slower in all than one: {met}, in {} of {} rows they are not",
            self.rows - self.slower.len(),
            self.rows
        );
        for row in &self.slower {
            println!("  * slower: {row} times as much as one");
        }
        println!(
            "the machine: the loop around the operations takes {} ns, and two threads do {} times \
             as many; a locked addition to one of {HOT} words takes {} ns, and two threads do {} \
             times as many; a plain store to one of {ARRAY} words takes {} ns, and two threads do {} \
             times as many; {:.1} % of the time went to others on the host",
            show(machine.alone.one()),
            show(machine.alone.speedup()),
            show(machine.shared.one()),
            show(machine.shared.speedup()),
            show(machine.stores.one()),
            show(machine.stores.speedup()),
            steal * 100.0
        );
        if self.disturbed > 0 {
            println!("in {} rows others disturbed every turn", self.disturbed);
        }
    }
}

//! What the project wants to reach, and whether it does.

use super::compile::COUNTS;
use super::engines::{FAST, PEERS, TIERS};
use super::table::Table;

/// The interpreter may take half as long as the fastest of the others that was ever measured, which
/// was solana-sbpf's, at 68 times native.
const INTERPRETER: f64 = 34.0;

/// One row.
struct Bar {
    what: String,
    /// `None`: nothing was measured.
    found: Option<f64>,
    limit: Limit,
}

enum Limit {
    AtMost(f64),
    AtLeast(f64),
}

/// Prints every bar with what was found. `compiling`: microseconds of the tiers for each of
/// [`COUNTS`].
pub(super) fn print(table: &Table, compiling: [[f64; 2]; 2]) {
    let mut bars = Vec::new();
    let mut at_most = |what: String, found, limit| {
        bars.push(Bar { what, found, limit: Limit::AtMost(limit) });
    };
    for (tier, mean) in TIERS.into_iter().zip([1.45, 1.25]) {
        at_most(format!("{tier}, times native"), table.mean(tier), mean);
        at_most(format!("{tier}, ns of entering"), table.entry(tier), 2.0);
        at_most(format!("{tier}, ns of a helper call"), table.helper_call(tier), 2.0);
        at_most(format!("{tier}, ns of a local call"), table.local_call(tier), 1.2);
        let slower = table.slower(tier, &PEERS);
        let names =
            if slower.is_empty() { String::new() } else { format!(" ({})", slower.join(", ")) };
        let what =
            format!("{tier}, programs slower by 3 % than the best of {}{names}", PEERS.join(", "));
        at_most(what, Some(slower.len() as f64), 0.0);
    }
    at_most(format!("{FAST}, times native"), table.mean(FAST), INTERPRETER);
    let [[small, _], large] = compiling;
    at_most(format!("{}, us to compile {} instructions", TIERS[0], COUNTS[0]), Some(small), 5.0);
    for ((tier, micros), millions) in TIERS.into_iter().zip(large).zip([20.0, 1.0]) {
        let what = format!("{tier}, million instructions compiled a second ({})", COUNTS[1]);
        let found = Some(COUNTS[1] as f64 / micros);
        bars.push(Bar { what, found, limit: Limit::AtLeast(millions) });
    }
    println!("\n| | found | to reach | |\n|---|---|---|---|");
    bars.iter().for_each(Bar::print);
}

impl Bar {
    fn print(&self) {
        let (bound, limit) = match self.limit {
            Limit::AtMost(limit) => ("at most", limit),
            Limit::AtLeast(limit) => ("at least", limit),
        };
        let met = self.found.map(|found| match self.limit {
            Limit::AtMost(limit) => found <= limit,
            Limit::AtLeast(limit) => found >= limit,
        });
        let verdict = match met {
            Some(true) => "met",
            Some(false) => "**not met**",
            None => "not measured",
        };
        let found = self.found.map_or("-".to_owned(), |found| format!("{found:.2}"));
        println!("| {} | {found} | {bound} {limit} | {verdict} |", self.what);
    }
}

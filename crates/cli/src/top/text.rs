//! Numbers in few characters, and the table and JSON of `--once`.

use std::fmt::Write;

use serde_json::json;

use super::rates::Row;

/// A number in at most five characters, by powers of a thousand: `999`, `1.20k`, `36.5M`.
pub(crate) fn short(number: f64) -> String {
    scaled(number, &["", "k", "M", "G", "T", "P", "E"])
}

/// Nanoseconds in at most seven characters: `12ns`, `1.50us`, `2.00s`.
pub(crate) fn duration(ns: f64) -> String {
    if ns < 1e9 { scaled(ns, &["ns", "us", "ms"]) } else { scaled(ns / 1e9, &["s", "ks", "Ms"]) }
}

/// Three significant digits and a unit.
fn scaled(number: f64, units: &[&str]) -> String {
    let mut number = number.max(0.0);
    let mut unit = 0;
    // What would be rounded to a thousand belongs to the next unit.
    while number >= 999.5 && unit + 1 < units.len() {
        number /= 1000.0;
        unit += 1;
    }
    let digits = match number {
        _ if unit == 0 && number.fract() == 0.0 => 0,
        n if n < 9.995 => 2,
        n if n < 99.95 => 1,
        _ => 0,
    };
    format!("{number:.digits$}{}", units[unit])
}

/// Per cent of a CPU.
pub(crate) fn percent(share: f64) -> String {
    let digits = if share < 9.995 { 2 } else { 1 };
    format!("{share:.digits$}")
}

/// One table with headings, for people and for `awk`.
pub(crate) fn table(rows: &[&Row]) -> String {
    let mut text = format!(
        "{:>6}  {:<16}  {:<15}  {:>8}  {:>8}  {:>6}  {:>9}  {:>8}  {}\n",
        "ID", "TYPE", "NAME", "RUNS/S", "NS/RUN", "CPU%", "RUNS", "TIME", "HELD BY"
    );
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    for row in rows {
        let ns_per_run = row.ns_per_run.map_or("-".to_owned(), |ns| format!("{ns:.0}"));
        let _ = writeln!(
            text,
            "{:>6}  {:<16}  {:<15}  {:>8.1}  {:>8}  {:>6}  {:>9}  {:>8}  {}",
            row.id,
            row.kind,
            or_dash(row.name.clone()),
            row.rate,
            ns_per_run,
            percent(row.cpu),
            row.runs,
            duration(row.run_time_ns as f64),
            or_dash(row.holders_text()),
        );
    }
    text
}

/// The same as one JSON array.
pub(crate) fn json(rows: &[&Row]) -> String {
    let object = |row: &&Row| {
        let holders = row.holders.iter();
        let holders = holders.map(|holder| json!({"pid": holder.pid, "comm": holder.comm}));
        json!({
            "id": row.id,
            "type": row.kind,
            "name": row.name,
            "runs_per_second": row.rate,
            "ns_per_run": row.ns_per_run,
            "cpu_percent": row.cpu,
            "run_cnt": row.runs,
            "run_time_ns": row.run_time_ns,
            "pids": holders.collect::<Vec<_>>(),
        })
    };
    let array: serde_json::Value = rows.iter().map(object).collect();
    format!("{array}\n")
}

#[cfg(test)]
mod tests {
    use expect_test::expect_file;

    use super::super::app::tests::app;
    use super::*;

    #[test]
    fn numbers() {
        let texts = [
            (0.0, "0"),
            (7.0, "7"),
            (7.5, "7.50"),
            (999.4, "999"),
            (999.6, "1.00k"),
            (12_345.0, "12.3k"),
            (999_600.0, "1.00M"),
            (1e21, "1000E"),
            (-1.0, "0"),
        ];
        texts.iter().for_each(|&(number, text)| assert_eq!(short(number), text));
        let times =
            [(0.0, "0ns"), (999.0, "999ns"), (1_500.0, "1.50us"), (2e9, "2s"), (4.5e12, "4.50ks")];
        times.iter().for_each(|&(ns, text)| assert_eq!(duration(ns), text));
        assert_eq!((percent(0.123), percent(99.96)), ("0.12".to_owned(), "100.0".to_owned()));
    }

    #[test]
    fn once() {
        let app = app(&[(1, "busy", 250_000, 30_000_000), (2, "", 0, 0), (3, "rare", 2, 9_999)]);
        expect_file!["../../tests/top/once.txt"].assert_eq(&table(&app.rows()));
        expect_file!["../../tests/top/once.json"].assert_eq(&json(&app.rows()));
    }
}

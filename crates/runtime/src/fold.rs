//! One value out of what every CPU has.

use bombus_report::{Entry, Histogram, Value};
use bombus_script::plan::{MapValue, hist_buckets};
use bombus_script::types::Type;

use crate::decode::{Decoder, signed, slice, unsigned};

/// A map's value for one key.
pub(crate) struct Folded {
    /// What to show.
    pub(crate) entry: Entry,
    /// Where it stands among others; `None`: by its key.
    pub(crate) rank: Option<i128>,
    /// Whether anything was ever added. Only aggregations can tell.
    pub(crate) touched: bool,
}

/// Puts the CPUs' values together. `div` divides what `print()`'s third argument divides; 0 is 1.
pub(crate) fn fold(value: &MapValue, cpus: &[&[u8]], div: u64, decoder: &Decoder<'_>) -> Folded {
    let div = i128::from(div.max(1));
    let words = |index: usize| cpus.iter().map(move |cpu| unsigned(slice(cpu, index * 8, 8), 8));
    let total = |index: usize| words(index).fold(0u64, u64::wrapping_add);
    let number = |number: u64, is_signed: bool| match is_signed {
        true => i128::from(number as i64),
        false => i128::from(number),
    };
    let shown = |number: i128, is_signed: bool| match is_signed {
        true => Value::Int(number as i64),
        false => Value::Uint(number as u64),
    };
    match value {
        MapValue::Plain(ty) => {
            let bytes = cpus.first().copied().unwrap_or_default();
            let (entry, rank) = match ty {
                Type::Int { size, signed: is_signed } => {
                    let number = number(
                        if *is_signed {
                            signed(bytes, *size) as u64
                        } else {
                            unsigned(bytes, *size)
                        },
                        *is_signed,
                    );
                    (shown(number / div, *is_signed), Some(number))
                }
                _ => (decoder.value(ty, bytes), None),
            };
            Folded { entry: Entry::Value(entry), rank, touched: false }
        }
        MapValue::Count => sum(total(0), false, div),
        MapValue::Sum { signed } => sum(total(0), *signed, div),
        MapValue::Min { signed } | MapValue::Max { signed } => {
            let set = cpus
                .iter()
                .filter(|cpu| unsigned(slice(cpu, 8, 8), 8) != 0)
                .map(|cpu| number(unsigned(cpu, 8), *signed));
            let best = match value {
                MapValue::Min { .. } => set.min(),
                _ => set.max(),
            };
            let number = best.unwrap_or(0);
            Folded {
                entry: Entry::Value(shown(number / div, *signed)),
                // Ordered by the bits, as the reference does: negative numbers come last.
                rank: Some(i128::from(number as u64)),
                touched: best.is_some(),
            }
        }
        MapValue::Avg { signed } | MapValue::Stats { signed } => {
            let (sum, count) = (number(total(0), *signed), i128::from(total(1)));
            let average = if count == 0 { 0 } else { sum / count };
            let field = |name: &str, number| (name.to_owned(), shown(number, *signed));
            let entry = match value {
                MapValue::Stats { .. } => Value::Record(vec![
                    field("count", count),
                    field("average", average / div),
                    field("total", sum),
                ]),
                _ => shown(average / div, *signed),
            };
            Folded { entry: Entry::Value(entry), rank: Some(average), touched: count != 0 }
        }
        MapValue::Hist { bits } => {
            let buckets: Vec<_> = (0..hist_buckets(*bits)).map(total).collect();
            histogram(Histogram::log2(&buckets, *bits, div as u64), &buckets)
        }
        MapValue::LHist { min, max, step } => {
            let inner = max.saturating_sub(*min) / (*step).max(1);
            let buckets: Vec<_> = (0..inner.max(0) as usize + 2).map(total).collect();
            histogram(Histogram::linear(&buckets, *min, *max, *step), &buckets)
        }
    }
}

fn sum(total: u64, signed: bool, div: i128) -> Folded {
    let (number, entry) = match signed {
        true => (i128::from(total as i64), Value::Int((i128::from(total as i64) / div) as i64)),
        false => (i128::from(total), Value::Uint((i128::from(total) / div) as u64)),
    };
    Folded { entry: Entry::Value(entry), rank: Some(number), touched: total != 0 }
}

fn histogram(histogram: Histogram, buckets: &[u64]) -> Folded {
    let total: i128 = buckets.iter().map(|&count| i128::from(count)).sum();
    Folded { entry: Entry::Histogram(histogram), rank: Some(total), touched: total != 0 }
}

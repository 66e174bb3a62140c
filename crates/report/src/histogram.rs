//! `hist()` and `lhist()`: from bucket counts to labelled intervals, and their bars.

use std::io::Write;

use crate::{Value, text};

/// Columns of the longest bar.
const BAR: usize = 52;

/// Counts of adjacent intervals, from the first that is not empty to the last.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Histogram {
    /// Where the first interval starts; `None`: below everything.
    pub lower: Option<Value>,
    /// Where each interval ends. The last may have no end: then there is one label less.
    pub labels: Vec<Value>,
    /// How many fell into each.
    pub counts: Vec<u64>,
}

/// The first and last bucket with something in it.
fn extent(buckets: &[u64]) -> Option<(usize, usize)> {
    let first = buckets.iter().position(|&count| count > 0)?;
    let last = buckets.iter().rposition(|&count| count > 0)?;
    Some((first, last))
}

impl Histogram {
    /// Of `hist()`: one bucket for negative numbers, one for each number below `2^bits`, then
    /// `2^bits` for every further power of two. Counts are divided by `div`.
    pub fn log2(buckets: &[u64], bits: u8, div: u64) -> Histogram {
        let Some((first, last)) = extent(buckets) else { return Histogram::default() };
        let exact = 2usize << bits;
        let label = |bucket: usize| match bucket {
            0 => Value::Int(0),
            _ if bucket <= exact => Value::Int(bucket as i64),
            _ => log2_label(bucket, bits),
        };
        Histogram {
            lower: first.checked_sub(1).map(|before| match before {
                0 => Value::Int(0),
                _ => label(before),
            }),
            labels: (first..=last).map(label).collect(),
            counts: buckets[first..=last].iter().map(|count| count / div.max(1)).collect(),
        }
    }

    /// Of `lhist()`: one bucket below `min`, one for every `step`, one from `max` on.
    pub fn linear(buckets: &[u64], min: i64, max: i64, step: i64) -> Histogram {
        let Some((first, last)) = extent(buckets) else { return Histogram::default() };
        let bound = |bucket: usize| min.wrapping_add((bucket as i64).wrapping_mul(step));
        Histogram {
            lower: first.checked_sub(1).map(|before| linear_label(bound(before), step)),
            labels: (first..=last)
                .map(bound)
                .filter(|&bound| bound <= max)
                .map(|bound| linear_label(bound, step))
                .collect(),
            counts: buckets[first..=last].to_vec(),
        }
    }

    /// Where the interval starts and ends.
    pub(crate) fn bounds(&self, index: usize) -> (Option<&Value>, Option<&Value>) {
        let lower = match index.checked_sub(1) {
            None => self.lower.as_ref(),
            Some(before) => self.labels.get(before),
        };
        (lower, self.labels.get(index))
    }

    /// Appends one line with a bar for each interval.
    pub(crate) fn write_text(&self, out: &mut Vec<u8>) {
        let most = self.counts.iter().copied().max().unwrap_or(0);
        for (index, &count) in self.counts.iter().enumerate() {
            let interval = match self.bounds(index) {
                (None, None) => String::new(),
                (None, Some(end)) => format!("(..., {})", shown(end)),
                (Some(start), None) => format!("[{}, ...)", shown(start)),
                (Some(start), Some(end)) if is_next(start, end) => format!("[{}]", shown(start)),
                (Some(start), Some(end)) => format!("[{}, {})", shown(start), shown(end)),
            };
            // Single precision, as the reference computes it: it decides where a bar ends.
            let width = (count as f32 / most as f32 * BAR as f32) as usize;
            let bar = "@".repeat(width.min(BAR));
            let _ = writeln!(out, "{interval:<16}{count:>8} |{bar:<BAR$}|");
        }
    }
}

/// The start of an interval above the exactly counted ones. The last `bits` bits of the bucket's
/// number say which interval of the power of two it is.
fn log2_label(bucket: usize, bits: u8) -> Value {
    let intervals = 1u64 << bits;
    let multiplier = intervals + (bucket as u64 & (intervals - 1));
    let power = ((bucket >> bits) as u32).saturating_sub(1);
    let number = multiplier.checked_shl(power).unwrap_or(u64::MAX);
    let suffix = ["", "K", "M", "G", "T", "P", "E"].get((power / 10) as usize).unwrap_or(&"");
    Value::Symbolic { text: format!("{}{suffix}", multiplier << (power % 10)), number }
}

/// Bounds of steps in whole Ki are shown in Ki and Mi.
fn linear_label(bound: i64, step: i64) -> Value {
    const KILO: i64 = 1 << 10;
    const MEGA: i64 = 1 << 20;
    if step % KILO != 0 {
        return Value::Int(bound);
    }
    let text = match bound {
        0 => "0".to_owned(),
        _ if bound % MEGA == 0 => format!("{}M", bound / MEGA),
        _ if bound % KILO == 0 => format!("{}K", bound / KILO),
        _ => bound.to_string(),
    };
    Value::Symbolic { text, number: bound as u64 }
}

fn shown(label: &Value) -> String {
    String::from_utf8_lossy(&text::value(label)).into_owned()
}

/// Whether the interval has one number only. Labels with a suffix are never that short.
fn is_next(start: &Value, end: &Value) -> bool {
    matches!((start, end), (Value::Int(start), Value::Int(end)) if start.checked_add(1) == Some(*end))
}

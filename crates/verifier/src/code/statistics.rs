//! The end of the log (`print_verification_stats`, `kernel/bpf/verifier.c`).

use std::fmt::Write;

use super::Code;
use crate::Stats;

/// `BPF_LOG_STATS`.
const STATISTICS: u32 = 4;
/// `BPF_COMPLEXITY_LIMIT_INSNS`: the log names it whatever the limit was.
const LIMIT: u32 = 1_000_000;

/// What the log says of a function.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FunctionStats {
    /// Instructions walked in it.
    pub own: u32,
    /// Those and the ones in what it called.
    pub total: u32,
    /// Bytes of stack, [`extra_stack`] among them.
    pub stack: u32,
}

/// Bytes of stack that a function needs beside what it uses itself: for calls of `bpf_loop` that
/// become loops (`bpf_optimize_bpf_loop`), and for the budgets of `may_goto` (`bpf_do_misc_fixups`,
/// on x86-64, with machine code).
pub fn extra_stack(depth: u32, inlines_loops: bool, has_may_goto: bool) -> u32 {
    let loops = if inlines_loops { depth.next_multiple_of(8) - depth + 24 } else { 0 };
    loops + if has_may_goto { 16 } else { 0 }
}

/// The last lines of the log at this level. `functions` has a row for each of the program's, and
/// `microseconds` is how long all took.
pub fn statistics(
    code: &Code,
    stats: &Stats,
    functions: &[FunctionStats],
    microseconds: u64,
    level: u32,
) -> String {
    let mut text = String::new();
    if level & STATISTICS != 0 {
        let _ = writeln!(text, "verification time {microseconds} usec");
        let _ = writeln!(text, "stack depth max {}", stats.stack_depth);
        for (index, (function, row)) in code.functions().iter().zip(functions).enumerate() {
            let name = match function.name.as_str() {
                "" => "<unknown>",
                name => name,
            };
            let kind = match index {
                0 => "main",
                _ if function.is_global() => "global",
                _ => "static",
            };
            let FunctionStats { own, total, stack } = row;
            let _ = writeln!(
                text,
                "subprog {index} ({name}) {kind} insns_self {own} insns_total {total} stack {stack}"
            );
        }
    }
    text + &processed(stats)
}

/// The last line.
pub fn processed(stats: &Stats) -> String {
    let Stats { processed, max_states_per_insn, total_states, peak_states, .. } = stats;
    format!(
        "processed {processed} insns (limit {LIMIT}) max_states_per_insn {max_states_per_insn} \
         total_states {total_states} peak_states {peak_states} mark_read {}\n",
        stats.longest_mark_read
    )
}

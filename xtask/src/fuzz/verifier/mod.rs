//! `cargo xtask fuzz verifier`: random programs, and runs of those that the verifier accepts. Every
//! step of every run must be in a state that the verifier knew for that instruction (state
//! embedding), nothing may be out of bounds, every run must end, and whatever was taken must be given
//! back. What the verifier accepts when it ends paths as the kernel does, it must accept as well when
//! it compares everything, and when it walks all paths to their ends.

mod embed;
mod generate;
mod minimise;
mod world;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use bombus_isa::{Insn, Op, Operand};
use bombus_platform::AttachType;
use bombus_verifier::embedding::Pruning;
use bombus_verifier::{AttachTarget, Options, Program, Target, Verdict, verify, verify_with};
use bombus_vm::{Context, Execution, Stack};

use super::random::Random;
use generate::Case;
use world::{Surroundings, World};

const USAGE: &str = "usage: cargo xtask fuzz verifier [--count PROGRAMS] [--runs N] [--first N] \
                     [--seed S] [--seconds T] [--reasons 1] [--brief 1]";
/// Violations that are shown.
const SHOWN: usize = 5;
/// Instructions that are walked at most.
const WALKED: u32 = 20_000;
/// `E2BIG`: the walk was too long.
const E2BIG: i32 = 7;

/// What was seen.
#[derive(Default)]
struct Tally {
    programs: u64,
    accepted: u64,
    /// Programs whose every path was walked.
    exhausted: u64,
    runs: u64,
    /// Why programs were refused.
    reasons: BTreeMap<String, u64>,
    violations: Vec<String>,
}

/// Runs the command.
pub(super) fn run(args: &[String]) -> Result<(), String> {
    let (mut count, mut runs, mut first, mut seed) = (100_000, 25, 0, 1);
    let (mut seconds, mut reasons, mut brief) = (u64::MAX, 0, 0);
    let mut args = args.iter().map(String::as_str);
    while let Some(arg) = args.next() {
        let number = match arg {
            "--count" => &mut count,
            "--runs" => &mut runs,
            "--first" => &mut first,
            "--seed" => &mut seed,
            "--seconds" => &mut seconds,
            "--reasons" => &mut reasons,
            "--brief" => &mut brief,
            _ => return Err(USAGE.into()),
        };
        *number = args.next().and_then(|value| value.parse().ok()).ok_or(USAGE)?;
    }
    if brief != 0 {
        return first_violation(seed, first..first.saturating_add(count), runs);
    }
    let start = Instant::now();
    let (mut tester, mut tally) = (Tester::new()?, Tally::default());
    let mut shown = Instant::now();
    for number in first..first.saturating_add(count) {
        if start.elapsed().as_secs() >= seconds {
            break;
        }
        tester.program(seed, number, runs, &mut tally);
        if tally.violations.len() >= SHOWN {
            break;
        }
        if shown.elapsed() > Duration::from_secs(30) {
            shown = Instant::now();
            println!("{}", tally.summary(&tester, start));
        }
    }
    println!("{}", tally.summary(&tester, start));
    if reasons != 0 {
        let mut reasons: Vec<_> = tally.reasons.iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        reasons.iter().take(40).for_each(|(reason, count)| println!("{count:8} {reason}"));
    }
    tally.violations.iter().for_each(|violation| println!("{violation}"));
    match tally.violations.len() {
        0 => Ok(()),
        count => Err(format!("{count} violations")),
    }
}

/// Says the first violation, or how many programs were accepted and what was known of them, in one
/// line.
fn first_violation(seed: u64, programs: Range<u64>, runs: u64) -> Result<(), String> {
    let (mut tester, mut accepted) = (Tester::new()?, 0);
    for number in programs.clone() {
        let (case, start) = make(seed, number);
        match tester.examine(&case, start, runs, number.is_multiple_of(4)) {
            Outcome::Refused(_) => {}
            Outcome::Fine(..) => accepted += 1,
            Outcome::Violation(violation) => {
                let line = violation.lines().next().unwrap_or_default();
                println!("caught: program {number}: {line}");
                return Err(violation);
            }
        }
    }
    let count = programs.end - programs.start;
    println!("{accepted} of {count} accepted, states {:016x}", tester.world.states.digest);
    Ok(())
}

/// The program with this number, and what its runs start from.
fn make(seed: u64, number: u64) -> (Case, u64) {
    let start = seed.wrapping_mul(0x1_0000_0000).wrapping_add(number);
    (Case::new(&mut Random::new(start)), start)
}

impl Tally {
    fn summary(&self, tester: &Tester, start: Instant) -> String {
        format!(
            "{} programs, {} accepted ({:.0} %), {} of them walked to every end; {} runs, {} steps \
             in {:.0} s: {} violations",
            self.programs,
            self.accepted,
            100.0 * self.accepted as f64 / self.programs.max(1) as f64,
            self.exhausted,
            self.runs,
            tester.world.states.steps,
            start.elapsed().as_secs_f64(),
            self.violations.len()
        )
    }
}

/// What a program did.
enum Outcome {
    Refused(String),
    /// So many runs were as they should be; whether all paths were walked.
    Fine(u64, bool),
    Violation(String),
}

struct Tester {
    surroundings: Surroundings,
    world: World,
    stack: Stack,
}

impl Tester {
    fn new() -> Result<Tester, String> {
        let (world, stack) = (World::new(), Stack::default());
        Ok(Tester { surroundings: Surroundings::new()?, world, stack })
    }

    /// Makes a program, and looks at it.
    fn program(&mut self, seed: u64, number: u64, runs: u64, tally: &mut Tally) {
        let (case, start) = make(seed, number);
        tally.programs += 1;
        match self.examine(&case, start, runs, number.is_multiple_of(4)) {
            Outcome::Refused(reason) => {
                let reason: String =
                    reason.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect();
                *tally.reasons.entry(reason).or_default() += 1;
            }
            Outcome::Fine(runs, exhausted) => {
                tally.accepted += 1;
                tally.exhausted += u64::from(exhausted);
                tally.runs += runs;
            }
            Outcome::Violation(violation) => {
                let (case, violation) = minimise::minimise(case, violation, |case| {
                    match self.examine(case, start, runs.max(200), true) {
                        Outcome::Violation(violation) => Some(violation),
                        _ => None,
                    }
                });
                tally.violations.push(format!(
                    "== program {number} of seed {seed}, {:?}\n{}\n{violation}",
                    case.prog_type,
                    minimise::shown(&case)
                ));
            }
        }
    }

    /// Verifies a program and runs it.
    fn examine(&mut self, case: &Case, seed: u64, runs: u64, exhaust: bool) -> Outcome {
        let functions = self.surroundings.functions(&case.entries);
        let program = Program {
            name: "fuzz",
            insns: &case.code,
            prog_type: case.prog_type,
            attach_type: AttachType::CgroupInetIngress,
            attach_to: AttachTarget::Nothing,
            flags: 0,
            gpl_compatible: true,
            maps: &self.surroundings.maps,
            btf: Some(&self.surroundings.types),
            functions: &functions,
            lines: &[],
        };
        let target = Target { version: (7, 3), btf: None, modules: &[] };
        let options = Options { max_walked: WALKED, ..Options::default() };
        if let Err(rejection) = verify(&program, &target, &options).result {
            return Outcome::Refused(rejection.message);
        }
        let words = |verdict: Verdict, how| match verdict.result {
            Ok(()) => Ok(true),
            Err(rejection) if rejection.errno == E2BIG => Ok(false),
            Err(rejection) => Err(format!(
                "accepted, but not when {how}: slot {:?}: {}",
                rejection.slot, rejection.message
            )),
        };
        let states = &mut self.world.states;
        states.clear();
        let verdict = verify_with(&program, &target, &options, Pruning::Within, Some(states));
        match words(verdict, "everything is compared") {
            Ok(true) => {}
            // Not all that can happen was seen.
            Ok(false) => states.turn_off(),
            Err(violation) => return Outcome::Violation(violation),
        }
        let mut exhausted = false;
        if exhaust {
            let verdict = verify_with(&program, &target, &options, Pruning::Never, None);
            match words(verdict, "every path is walked") {
                Ok(all) => exhausted = all,
                Err(violation) => return Outcome::Violation(violation),
            }
        }
        match self.run(case, seed, runs) {
            Ok(()) => Outcome::Fine(runs, exhausted),
            Err(violation) => Outcome::Violation(violation),
        }
    }

    fn run(&mut self, case: &Case, seed: u64, runs: u64) -> Result<(), String> {
        self.world.constants = constants(&case.code);
        let program = bombus_vm::Program::new(&case.run, 0, &mut World::resolve)
            .map_err(|error| format!("it was accepted, but is not valid: {error}"))?;
        for run in 0..runs {
            let mut context = self.world.start(seed.wrapping_add(run << 40), case.prog_type);
            self.world.states.start();
            let mut execution = Execution::new(&mut self.stack, Context::Writable(&mut context));
            let result = execution.run(&program, &mut self.world);
            self.world.end(context);
            if let Some(violation) = self.world.states.violation.take() {
                return Err(violation);
            }
            result.map_err(|trap| format!("run {run}: {trap}"))?;
            if self.world.records_left() > 0 {
                return Err(format!("run {run}: a record was not given back"));
            }
        }
        Ok(())
    }
}

/// The numbers that a program has in its code.
fn constants(code: &[Insn]) -> Vec<u64> {
    let mut constants: Vec<u64> = bombus_isa::ops(code)
        .filter_map(|(_, op)| match op.ok()? {
            Op::Alu { src: Operand::Imm(imm), .. } | Op::JumpIf { src: Operand::Imm(imm), .. } => {
                Some(imm as u64)
            }
            _ => None,
        })
        .collect();
    constants.sort_unstable();
    constants.dedup();
    constants
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_within_what_is_known() {
        let (mut tester, mut tally) = (Tester::new().unwrap(), Tally::default());
        (0..300).for_each(|number| tester.program(5, number, 10, &mut tally));
        assert_eq!(tally.violations, Vec::<String>::new());
        assert!(tally.accepted > 60, "only {} are accepted", tally.accepted);
    }
}

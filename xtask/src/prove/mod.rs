//! `cargo xtask prove`: the operators of the verifier's domain are sound. The operators themselves are
//! run on terms of a solver (z3), so what is proved is this very code and no copy of it.
//!
//! Each statement is proved at 64 bits, or, where no answer comes in time, at as many bits as do; how
//! many stands in the table. Fewer than [`LEAST`] says, or a counter-example, is a failure.

mod statements;
mod term;

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use statements::Statement;
use term::Term;

const USAGE: &str = "usage: cargo xtask prove [--seconds N] [--recorded] [NAME]";
/// What a solver may take for one statement at one width.
const SECONDS: u64 = 60;
/// Statements that are not proved at 64 bits, and at how many they are. (Where that is none, there are
/// the verifier's tests, which go through all values of four bits.)
const LEAST: &[(&str, u32)] = &[
    ("tnum product of a bit", 32),
    ("tnum only between", 32),
    ("range meet", 32),
    ("range join", 32),
    ("range with low half", 16),
    ("value sub", 8),
    ("value lsh", 16),
    ("value rsh", 16),
    ("value arsh", 16),
    ("value div", 0),
    ("value mod", 0),
    ("value sdiv", 0),
    ("value smod", 0),
    ("value mul", 0),
    ("extend from 8", 0),
    ("extend from 16", 0),
    ("extend from 32", 0),
];

enum Answer {
    Proved,
    Refuted,
    Unknown,
}

/// Runs the command.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let (mut seconds, mut wanted, mut recorded) = (SECONDS, String::new(), false);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seconds" => {
                let number = args.next().and_then(|value| value.parse().ok());
                seconds = number.ok_or(USAGE)?;
            }
            // At as many bits as it is known to go, and not beyond.
            "--recorded" => recorded = true,
            name if !name.starts_with('-') => wanted = name.to_owned(),
            _ => return Err(USAGE.into()),
        }
    }
    let widths = [
        (64, statements::all::<Term<64>>()),
        (32, statements::all::<Term<32>>()),
        (16, statements::all::<Term<16>>()),
        (8, statements::all::<Term<8>>()),
    ];
    let mut failed = Vec::new();
    println!("| statement | bits | seconds |\n|---|---:|---:|");
    for (name, _) in widths[0].1.iter().filter(|(name, _)| name.contains(&wanted)) {
        let start = Instant::now();
        let least = LEAST.iter().find(|(known, _)| known == name).map_or(64, |(_, bits)| *bits);
        let widest = if recorded { least } else { 64 };
        let bits = prove(name, &widths, widest, seconds)?;
        println!("| {name} | {} | {:.1} |", bits.unwrap_or(0), start.elapsed().as_secs_f64());
        match bits {
            None => failed.push(format!("{name} does not hold")),
            Some(bits) if bits < least => {
                failed.push(format!("{name} is proved at {bits} bits, and was at {least}"));
            }
            Some(_) => {}
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n")) }
}

/// At how many bits a statement is proved, 0 for none; `None` when it does not hold.
fn prove(
    name: &str,
    widths: &[(u32, Vec<Statement>)],
    widest: u32,
    seconds: u64,
) -> Result<Option<u32>, String> {
    for (bits, statements) in widths.iter().filter(|(bits, _)| *bits <= widest) {
        let Some((_, claim)) = statements.iter().find(|(known, _)| known == name) else { continue };
        match solve(&term::refutation(claim), seconds)? {
            Answer::Proved => return Ok(Some(*bits)),
            Answer::Refuted => return Ok(None),
            Answer::Unknown => {}
        }
    }
    Ok(Some(0))
}

/// Whether there is a solver.
pub(crate) fn solver() -> Result<(), String> {
    solve("(check-sat)\n", SECONDS).map(drop)
}

fn solve(script: &str, seconds: u64) -> Result<Answer, String> {
    let missing = |error: std::io::Error| format!("z3: {error} (apt-get install z3)");
    let mut solver = Command::new("z3")
        .args(["-in", &format!("-T:{seconds}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(missing)?;
    if let Some(mut stdin) = solver.stdin.take() {
        // When its time is over it no longer reads.
        let _ = stdin.write_all(script.as_bytes());
    }
    let output = solver.wait_with_output().map_err(|error| format!("z3: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    match text.lines().next().unwrap_or_default() {
        "unsat" => Ok(Answer::Proved),
        "sat" => Ok(Answer::Refuted),
        "timeout" | "unknown" | "" => Ok(Answer::Unknown),
        other => Err(format!("z3 says {other}")),
    }
}

#[cfg(test)]
mod tests {
    use bombus_verifier::domain::Tnum;

    use super::term::{Term, Variable, refutation};
    use super::{Answer, solve};

    /// The solver finds out what is wrong, so what it does not find is right.
    #[test]
    fn a_wrong_operator_is_refuted() {
        let script = refutation(|| {
            let (a, b) = (Tnum { value: Term::<64>::any(), mask: Term::any() }, Term::any());
            // A carry can change bits that are known in both.
            let wrong = Tnum { value: a.value + b, mask: a.mask };
            let x = Term::any();
            !a.contains(x) | wrong.contains(x + b)
        });
        match solve(&script, 20) {
            Ok(answer) => assert!(matches!(answer, Answer::Refuted)),
            Err(reason) => println!("skipped: {reason}"),
        }
    }
}

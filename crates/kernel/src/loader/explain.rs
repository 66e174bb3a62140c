//! The verifier's refusal of something that the kernel does not have, in words.
//!
//! What could not be resolved stands in the code as a call of a helper that does not exist. When
//! the verifier comes to one, it says so with the number alone; here the number gets its name back.

use bombus_spec::ProgramSpec;

use super::code::{Missing, line_at, poison};
use super::target::Target;
use crate::Error;

/// The error with what is missing, if that was the reason.
pub(super) fn explained(
    error: Error,
    program: &ProgramSpec,
    missing: &[(u32, Missing)],
    target: &Target<'_>,
) -> Error {
    let Error::Rejected { log, .. } = &error else { return error };
    let Some(slot) = poisoned_slot(log) else { return error };
    // A load of 64 bits is poisoned in both of its slots.
    let found = missing.iter().find(|(at, _)| *at == slot || at + 1 == slot);
    let Some((_, what)) = found else { return error };
    let what = match what {
        Missing::InKernel(what) => what.clone(),
        Missing::Map(name) => {
            return Error::Invalid {
                what: format!("program {} uses map {name}, which is not created", program.name),
                help: Some("create it, or do not load the program".into()),
            };
        }
    };
    Error::Missing {
        program: program.name.clone(),
        what,
        kernel: target.name().to_owned(),
        at: line_at(program, slot as usize).cloned().map(Box::new),
        log: log.clone(),
    }
}

/// The slot that the last message of a log is about, when it is a call of a number of ours.
fn poisoned_slot(log: &str) -> Option<u32> {
    let lines: Vec<&str> = log.lines().collect();
    let complaint = lines.iter().rposition(|line| {
        let number = line.split("invalid func unknown#").nth(1);
        let digits = number.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
        digits.and_then(|digits| digits.parse().ok()).is_some_and(is_ours)
    })?;
    // `12: (85) call unknown#195896080`
    lines[..complaint].iter().rev().find_map(|line| {
        let (slot, rest) = line.split_once(": (85) call unknown#")?;
        rest.split_whitespace().next()?.parse().ok().filter(|&number| is_ours(number))?;
        slot.trim().parse().ok()
    })
}

fn is_ours(number: i32) -> bool {
    number == poison::CORE || (poison::MAP..poison::KFUNC + 1_000_000).contains(&number)
}

#[cfg(test)]
mod tests {
    use super::poisoned_slot;

    #[test]
    fn logs() {
        let log = "0: R1=ctx() R10=fp0\n; x = s->gone; @ a.c:7\n12: (85) call unknown#195896080\n\
                   invalid func unknown#195896080\nprocessed 3 insns\n";
        assert_eq!(poisoned_slot(log), Some(12));
        assert_eq!(poisoned_slot(&log.replace("195896080", "2002000003")), Some(12));
        assert_eq!(poisoned_slot(&log.replace("195896080", "999")), None);
        assert_eq!(poisoned_slot("R0 !read_ok"), None);
    }
}

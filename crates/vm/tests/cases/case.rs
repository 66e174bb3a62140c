//! The form of the files.

use std::fmt::Write as _;

/// One case of a file.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// Hexadecimal bytes of the context, and whether the program may write it.
    pub(crate) context: Option<(Vec<u8>, bool)>,
    pub(crate) fuel: Option<u64>,
    /// It is about what the checked interpreter promises beyond the others.
    checked_only: bool,
    /// The program, and those that it may tail-call.
    pub(crate) programs: Vec<String>,
    pub(crate) expected: String,
}

pub(crate) fn parse(text: &str) -> Vec<Case> {
    let blocks = text.split("\n=== ").skip(1);
    blocks.map(|block| parse_case(block).expect("a case as cases/README.md has it")).collect()
}

fn parse_case(block: &str) -> Option<Case> {
    let (input, expected) = block.split_once("\n=> ")?;
    let (name, code) = input.split_once('\n').unwrap_or((input, ""));
    let (mut context, mut fuel, mut programs) = (None, None, vec![String::new()]);
    let mut checked_only = false;
    for line in code.lines() {
        let bytes = |digits: &str| -> Option<Vec<u8>> {
            digits.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).ok()).collect()
        };
        if let Some(digits) = line.strip_prefix("context ") {
            context = Some((bytes(digits)?, false));
        } else if let Some(digits) = line.strip_prefix("writable context ") {
            context = Some((bytes(digits)?, true));
        } else if let Some(number) = line.strip_prefix("fuel ") {
            fuel = Some(number.parse().ok()?);
        } else if line == "checked only" {
            checked_only = true;
        } else if line == "--- next program" {
            programs.push(String::new());
        } else {
            writeln!(programs.last_mut()?, "{line}").ok()?;
        }
    }
    let expected = expected.trim_end().to_owned();
    Some(Case { name: name.trim().to_owned(), context, fuel, checked_only, programs, expected })
}

impl Case {
    /// Whether engines that check nothing can run it: it is about what a program gives, not about
    /// what is wrong with it, or what it costs.
    pub(crate) fn is_about_a_sound_program(&self) -> bool {
        let refused = ["trap", "invalid"].iter().any(|start| self.expected.starts_with(start));
        !refused && !self.checked_only && self.fuel.is_none()
    }

    /// What the files expect of a run.
    pub(crate) fn show(&self, value: String, context: &[u8]) -> String {
        if !self.context.as_ref().is_some_and(|(_, writable)| *writable) {
            return value;
        }
        let hex: Vec<String> = context.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{value}\n   context {}", hex.join(" "))
    }
}

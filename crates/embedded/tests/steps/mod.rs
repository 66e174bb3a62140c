//! Cases of steps: `=== name`, then a line each with what it must give behind ` =>`, and the lines of a
//! program, indented, below the step that it is for.

use std::fmt::Write;

/// One operation with what it must give.
#[derive(Clone)]
pub(crate) struct Step {
    pub(crate) line: usize,
    pub(crate) operation: String,
    /// Lines of a program.
    pub(crate) body: String,
    pub(crate) expected: String,
}

#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) steps: Vec<Step>,
}

/// The cases of a text. A step that does not say what it must give must give `unsaid`.
pub(crate) fn parse(text: &str, unsaid: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(name) = line.strip_prefix("=== ") {
            cases.push(Case { name: name.to_owned(), steps: Vec::new() });
            continue;
        }
        let Some(case) = cases.last_mut() else { continue };
        if let Some(body) = line.strip_prefix("    ") {
            let step = case.steps.last_mut().expect("a program's lines follow its step");
            writeln!(step.body, "{body}").expect("a string takes everything");
        } else if !line.trim().is_empty() {
            let (operation, expected) = line.split_once(" =>").unwrap_or((line, unsaid));
            let (operation, expected) = (operation.trim().to_owned(), expected.trim().to_owned());
            case.steps.push(Step { line: index + 1, operation, body: String::new(), expected });
        }
    }
    cases
}

//! What went wrong, as the user is told.

use std::io::{self, ErrorKind, IsTerminal};
use std::path::Path;

use bombus_kernel::Error;
use bombus_script::diagnostic::{Diagnostic, Source};
use bombus_script::render::render;

/// Lines of a verifier's log that are shown unasked.
const LOG_LINES: usize = 6;

/// Why nothing was traced.
pub(crate) struct Failure {
    text: String,
}

impl Failure {
    /// A sentence, without `ERROR`.
    pub(crate) fn new(message: impl std::fmt::Display) -> Failure {
        Failure { text: format!("ERROR: {message}\n") }
    }

    /// A file that could not be read or written (`action`), with what may help.
    pub(crate) fn file(action: &str, path: &Path, error: &io::Error) -> Failure {
        let failure =
            Failure::new(format!("could not {action} {}: {}", path.display(), reason(error)));
        match error.kind() {
            ErrorKind::NotFound if path.is_relative() => match std::env::current_dir() {
                Ok(here) => failure.help(format!("paths count from {}", here.display())),
                Err(_) => failure,
            },
            ErrorKind::NotFound => failure.help("a word of the path is not there or misspelt"),
            ErrorKind::PermissionDenied => {
                failure.help("the file, or a directory on the way to it, belongs to somebody else")
            }
            ErrorKind::IsADirectory => failure.help("name a file in that directory"),
            _ => failure,
        }
    }

    /// What is wrong with a script.
    pub(crate) fn script(source: &Source, diagnostics: &[Diagnostic]) -> Failure {
        Failure { text: render(source, diagnostics, colored()) }
    }

    /// What a kernel did not do. `whole_log`: with all that the verifier says.
    pub(crate) fn kernel(error: &Error, whole_log: bool) -> Failure {
        match error {
            Error::Rejected { log, .. } if whole_log => {
                Failure { text: format!("ERROR: {error}\n{log}") }
            }
            _ => Failure::rejected(error, "-d verifier"),
        }
    }

    /// What a kernel did not do, with the end of what the verifier says. `flag` shows all of it.
    pub(crate) fn rejected(error: &Error, flag: &str) -> Failure {
        let Error::Rejected { log, .. } = error else { return Failure::new(error) };
        let mut text = format!("ERROR: {error}\n");
        if let Some(line) = script_line(log) {
            text.push_str(&format!("  at {line}\n"));
        }
        let lines: Vec<&str> = log.lines().filter(|line| !is_statistics(line)).collect();
        for line in &lines[lines.len().saturating_sub(LOG_LINES)..] {
            text.push_str(&format!("  {line}\n"));
        }
        text.push_str(&format!("  ({flag} shows the verifier's whole log)\n"));
        Failure { text }
    }

    /// Adds what may help.
    pub(crate) fn help(mut self, help: impl std::fmt::Display) -> Failure {
        self.text.push_str(&format!("HINT: {help}\n"));
        self
    }

    /// Says it, on standard error.
    pub(crate) fn show(&self) {
        eprint!("{}", self.text);
    }
}

/// Why something did not work, in the C library's words alone.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// The last line of the script that the verifier's log names: it prints `; text @ file:line`
/// before the instructions of each line.
fn script_line(log: &str) -> Option<&str> {
    log.lines().rev().find_map(|line| line.strip_prefix("; "))
}

/// The log's closing summary, which says nothing about the mistake.
fn is_statistics(line: &str) -> bool {
    ["processed ", "verification time ", "stack depth ", "peak_states "]
        .iter()
        .any(|start| line.starts_with(start))
        || line.trim().is_empty()
}

/// Whether messages have colours: on a terminal, unless `NO_COLOR` (no-color.org) or
/// `BPFTRACE_COLOR` (bpftrace's manual) say otherwise.
pub(crate) fn colored() -> bool {
    match std::env::var("BPFTRACE_COLOR").as_deref() {
        Ok("always") => return true,
        Ok("never") => return false,
        _ => {}
    }
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !no_color && std::io::stderr().is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejected_program_names_the_line_and_the_reason() {
        let log = "0: R1=ctx() R10=fp0\n; $x = *(uint64 *)arg0 @ stdin:1\n0: (79) r0 = *(u64 *)(r2 +0)\n\
                   R2 !read_ok\nprocessed 1 insns (limit 1000000)\n";
        let error = Error::Rejected { program: "p".into(), errno: 13, log: log.into() };
        assert_eq!(
            Failure::kernel(&error, false).text,
            "ERROR: the verifier refused program p: Permission denied (os error 13)\n\
             \x20 at $x = *(uint64 *)arg0 @ stdin:1\n\
             \x20 0: R1=ctx() R10=fp0\n  ; $x = *(uint64 *)arg0 @ stdin:1\n\
             \x20 0: (79) r0 = *(u64 *)(r2 +0)\n  R2 !read_ok\n\
             \x20 (-d verifier shows the verifier's whole log)\n"
        );
        assert!(Failure::kernel(&error, true).text.ends_with(log));
    }
}

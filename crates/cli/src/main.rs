//! The command `bombus`: flags in, one tracing run out.
//!
//! Only this crate prints and exits. Each request of the command line has a module of its own.
#![forbid(unsafe_code)]

mod captures;
mod dump;
mod failure;
mod filter;
mod flags;
mod host;
mod info;
mod listing;
mod run;
mod script;
mod settings;
mod target;
mod tool;
mod top;
mod trace;
mod verify;
mod vm;
mod wires;
mod words;

use std::io::Write;
use std::process::ExitCode;

use failure::Failure;
use flags::Request;

fn main() -> ExitCode {
    match carry_out(Request::from_args()) {
        Ok(code) => code,
        Err(failure) => {
            failure.show();
            ExitCode::FAILURE
        }
    }
}

fn carry_out(request: Request) -> Result<ExitCode, Failure> {
    match request {
        Request::Trace(trace) => return trace::run(*trace),
        Request::Subcommand(name, matches) => return flags::carry_out(&name, &matches),
        Request::List { what, fields, kernel } => listing::run(what, fields, kernel)?,
        Request::Info => print(&info::text()),
        Request::Version => print(&format!("bombus v{}\n", env!("CARGO_PKG_VERSION"))),
        Request::Completions(shell) => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut flags::command(), "bombus", &mut text);
            print_bytes(&text);
        }
        Request::Man => {
            let mut text = Vec::new();
            clap_mangen::Man::new(flags::command())
                .render(&mut text)
                .map_err(|error| Failure::new(format!("could not make the page: {error}")))?;
            print_bytes(&text);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes to standard output. A reader that went away is none of our business.
fn print(text: &str) {
    print_bytes(text.as_bytes());
}

fn print_bytes(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).unwrap_or_default();
}

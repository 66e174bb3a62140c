//! `bombus verify`: whether the programs of an object are safe, without loading them anywhere; why not,
//! if not.

mod explained;
mod page;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use bombus_btf::Btf;
use bombus_kernel::{Asked, Described, Error, KernelVersion, Proved, nearest, prove_each};
use bombus_linux::Linux;
use bombus_object::LocalVariable;
use bombus_spec::{ObjectSpec, ProgramSpec};
use bombus_verifier::explain::{Home, Variable};
use bombus_verifier::{Options, Rejection};
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::print;

/// `BPF_LOG_STATS`.
const STATISTICS: u32 = 4;

/// The kernel whose verifier this one is like: what types stand for that come without a version.
const NEWEST: KernelVersion = KernelVersion { major: 7, minor: 3, patch: 0 };

/// The table.
pub(crate) fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name);
    Command::new("verify")
        .about("Tells whether the programs of an object are safe, and loads nothing")
        .after_help(
            "Needs no privileges. Ends with 0 when every program is accepted, else with 1.\n\n\
             Examples:\n  \
             bombus verify filter.bpf.o\n  \
             bombus verify filter.bpf.o --explain\n  \
             bombus verify filter.bpf.o --prog xdp_drop --log-level 2\n  \
             bombus verify filter.bpf.o --kernel vmlinux.btf --kernel 6.12 -f json",
        )
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("Object file"),
        )
        .arg(flag("prog").value_name("NAME").help("Only this program"))
        .arg(flag("kernel").value_name("VERSION|FILE").action(ArgAction::Append).help(
            "The kernel to prove for: its version, a file with its types (BTF), or both \
                 [default: the running one]",
        ))
        .arg(flag("log-level").value_name("N").value_parser(value_parser!(u32).range(0..=7)).help(
            "1: the path that is refused, 2: every instruction, 4 added: figures \
                     [default: 1; with --explain 0]",
        ))
        .arg(
            flag("explain").action(ArgAction::SetTrue).help(
                "Explain each refusal: source, what is missing, how it comes to it, a remedy",
            ),
        )
        .arg(
            flag("html").value_name("FILE").value_parser(value_parser!(PathBuf)).help(
                "Write a page to browse what is known at each instruction (-: to the output)",
            ),
        )
        .arg(flag("stats").action(ArgAction::SetTrue).help("Show what the proof took"))
        .arg(
            flag("format")
                .short('f')
                .value_name("FORMAT")
                .value_parser(PossibleValuesParser::new(["text", "json"]))
                .default_value("text")
                .help("Form of the output; json is one object a program and line"),
        )
}

/// Carries it out.
pub(crate) fn run(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let Some(path) = matches.get_one::<PathBuf>("file") else { return Ok(ExitCode::FAILURE) };
    let (object, bytes) = open(path)?;
    let wanted = matches.get_one::<String>("prog");
    if let Some(wanted) = wanted {
        check_program(path, &object, wanted)?;
    }
    let machine = machine(matches)?;
    let statistics = matches.get_flag("stats");
    let json = matches.get_one::<String>("format").is_some_and(|format| format == "json");
    let html = matches.get_one::<PathBuf>("html");
    let explains = matches.get_flag("explain");
    // Whoever wants an explanation does not want the log instead.
    let log_level = matches.get_one("log-level").copied().unwrap_or(u32::from(!explains));
    let log_level = if statistics { log_level | STATISTICS } else { log_level };
    let options = Options { log_level, ..Options::default() };
    let asked = Asked {
        explanation: explains || html.is_some(),
        states: html.is_some(),
        variables: if explains || html.is_some() { variables(&bytes) } else { Arc::default() },
    };
    let to_output = html.is_some_and(|path| path == Path::new("-"));
    let mut refused = false;
    let mut pages = Vec::new();
    let is_wanted = |name: &str| wanted.is_none_or(|wanted| wanted == name);
    prove_each(&object, &machine, options, &asked, &is_wanted, &mut |index, outcome| {
        let Some(program) = object.programs.get(index) else { return };
        refused |= !matches!(&outcome, Ok(proved) if proved.verdict.result.is_ok());
        match json {
            _ if to_output => {}
            true => print(&format!("{}\n", as_json(program, &outcome, explains))),
            false => print(&as_text(program, &outcome, explains)),
        }
        if html.is_some() {
            pages.push(page::program(program, &outcome));
        }
    });
    if let Some(to) = html {
        let text = page::page(path, &pages);
        match to_output {
            true => print(&text),
            false => {
                std::fs::write(to, text).map_err(|error| Failure::file("write", to, &error))?
            }
        }
    }
    Ok(ExitCode::from(u8::from(refused)))
}

/// An object, and the file's bytes.
fn open(path: &Path) -> Result<(ObjectSpec, Vec<u8>), Failure> {
    let bytes = std::fs::read(path).map_err(|error| Failure::file("read", path, &error))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let object = bombus_object::open_named(&bytes, &name)
        .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
    Ok((object, bytes))
}

/// Where the source's variables are.
fn variables(bytes: &[u8]) -> Arc<[Variable]> {
    let variables = bombus_object::local_variables(bytes).into_iter().map(|variable| {
        let LocalVariable { function, name, start, end, home } = variable;
        let home = match home {
            bombus_object::Home::Register(register) => Home::Register(register),
            bombus_object::Home::Stack(offset) => Home::Stack(offset),
        };
        Variable { function, name, start, end, home }
    });
    variables.collect()
}

fn check_program(path: &Path, object: &ObjectSpec, wanted: &str) -> Result<(), Failure> {
    let names = || object.programs.iter().map(|program| program.name.as_str());
    if names().any(|name| name == wanted) {
        return Ok(());
    }
    let failure = Failure::new(format!("{} has no program {wanted}", path.display()));
    Err(match nearest(wanted, names()) {
        Some(meant) => failure.help(format!("did you mean {meant}?")),
        None => failure.help(format!("it has {}", names().collect::<Vec<_>>().join(", "))),
    })
}

/// The kernel that was asked for.
fn machine(matches: &ArgMatches) -> Result<Described, Failure> {
    let (mut version, mut types) = (None, None);
    for word in matches.get_many::<String>("kernel").into_iter().flatten() {
        match parse_version(word) {
            Some(asked) => version = Some(asked),
            None => types = Some(read_types(Path::new(word))?),
        }
    }
    let mut machine = match types {
        Some(types) => Described {
            version: NEWEST,
            types: Some(Arc::new(types)),
            modules: Vec::new(),
            config: Arc::default(),
        },
        None => {
            let running = Linux::new().and_then(|linux| Described::of(&linux));
            running.map_err(|error| Failure::kernel(&error, false))?
        }
    };
    machine.version = version.unwrap_or(machine.version);
    Ok(machine)
}

/// `6.12`, `7.3.4`.
fn parse_version(text: &str) -> Option<KernelVersion> {
    let mut numbers = text.split('.').map(|number| number.parse::<u32>().ok());
    let (major, minor) = (numbers.next()??, numbers.next()??);
    let patch = match numbers.next() {
        Some(patch) => patch?,
        None => 0,
    };
    numbers.next().is_none().then_some(KernelVersion { major, minor, patch })
}

fn read_types(path: &Path) -> Result<Btf, Failure> {
    let bytes = std::fs::read(path).map_err(|error| Failure::file("read", path, &error))?;
    Btf::parse(bytes).map_err(|error| {
        Failure::new(format!("{}: {error}", path.display()))
            .help("a kernel shows its types in /sys/kernel/btf/vmlinux")
    })
}

fn as_text(program: &ProgramSpec, outcome: &Result<Proved, Error>, explains: bool) -> String {
    let (name, section) = (&program.name, &program.section);
    match outcome {
        Ok(proved) => {
            let log = &proved.verdict.log;
            let end = if log.is_empty() || log.ends_with('\n') { "" } else { "\n" };
            let verdict = match &proved.verdict.result {
                Ok(()) => "accepted".to_owned(),
                Err(rejection) => format!("refused: {}", reason(rejection)),
            };
            let walked = proved.verdict.stats.processed;
            let mut text = format!(
                "{log}{end}{name} ({section}): {verdict} ({} instructions, {walked} walked)\n",
                proved.insns
            );
            if let (true, Some(explanation)) = (explains, &proved.explanation) {
                text += &explained::as_text(explanation, std::io::stdout().is_terminal());
            }
            text
        }
        Err(error) => format!("{name} ({section}): refused: {error}\n"),
    }
}

/// Why a program is refused, in a line. Sometimes a kernel says no more than where and a number.
fn reason(rejection: &Rejection) -> String {
    let Rejection { errno, message, slot } = rejection;
    match (message.lines().find(|line| !line.is_empty()), slot) {
        (Some(line), _) => line.to_owned(),
        (None, Some(slot)) => format!(
            "instruction {slot} is not allowed so (error {errno}); --log-level 2 shows what is known there"
        ),
        (None, None) => format!("such programs cannot be loaded (error {errno})"),
    }
}

fn as_json(program: &ProgramSpec, outcome: &Result<Proved, Error>, explains: bool) -> Value {
    let verdict = |accepted: bool| if accepted { "accept" } else { "reject" };
    let mut row = match outcome {
        Ok(proved) => json!({
            "program": program.name,
            "section": program.section,
            "verdict": verdict(proved.verdict.result.is_ok()),
            "errno": proved.verdict.result.as_ref().map_or_else(|why| why.errno, |()| 0),
            "insns": proved.insns,
            "processed": proved.verdict.stats.processed,
            "log": proved.verdict.log,
        }),
        Err(error) => json!({
            "program": program.name,
            "section": program.section,
            "verdict": verdict(false),
            "errno": error.errno().unwrap_or(libc::EINVAL),
            "insns": program.insns.len(),
            "processed": 0,
            "log": format!("{error}\n"),
        }),
    };
    if let (true, Ok(Proved { explanation: Some(explanation), .. })) = (explains, outcome) {
        row["explanation"] = explained::as_json(explanation);
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_without_words_says_where() {
        let refusal = |message: &str, slot| {
            reason(&Rejection { errno: 22, message: message.to_owned(), slot })
        };
        assert_eq!(refusal("first\nsecond", Some(3)), "first");
        assert!(refusal("", Some(3)).contains("instruction 3 "));
        assert!(refusal("", None).contains("error 22"));
    }

    #[test]
    fn versions() {
        let version = |major, minor, patch| Some(KernelVersion { major, minor, patch });
        assert_eq!(parse_version("6.12"), version(6, 12, 0));
        assert_eq!(parse_version("7.3.4"), version(7, 3, 4));
        for no in ["6", "6.x", "6.12.1.1", "vmlinux.btf", "6.12.", ""] {
            assert_eq!(parse_version(no), None, "{no}");
        }
    }
}

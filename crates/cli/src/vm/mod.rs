//! `bombus vm`: bare programs on the engines of this process, without a kernel.

mod file;
mod plugin;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bombus_vm::bare::{Bare, Engine, Failure as Broken, Outcome};
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::failure::Failure;
use crate::print;

/// The table.
pub(crate) fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name);
    let engine = |default: &'static str| {
        flag("engine")
            .value_name("ENGINE")
            .value_parser(PossibleValuesParser::new(Engine::ALL.map(Engine::name)))
            .default_value(default)
            .help(
                "checked: every access is checked; interp: the fast interpreter; jit: machine code",
            )
    };
    let run = Command::new("run")
        .about("Runs a program once or often; prints r0, and what a run took")
        .after_help(
            "r1 is the memory, r2 its length. Programs that nobody has proved run in a process of \
             their own, unless the engine checks them.\n\n\
             Examples:\n  \
             bombus vm run sum.o --mem numbers.bin --repeat 1000 --engine jit\n  \
             bombus vm run program.bin",
        )
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("Object file, or nothing but instructions"),
        )
        .arg(flag("section").value_name("NAME").help("The section, or function, to run"))
        .arg(
            flag("mem")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("What the memory holds; without it there is none"),
        )
        .arg(engine("checked"))
        .arg(
            flag("repeat")
                .value_name("N")
                .value_parser(value_parser!(u32).range(1..))
                .default_value("1")
                .help("Run it N times, on the same memory"),
        )
        .arg(
            flag("unwind")
                .action(ArgAction::SetTrue)
                .help("Give it helper 5, which ends the program when its argument is 0"),
        );
    let plugin = Command::new("plugin")
        .about("Speaks the protocol of bpf_conformance's plugins")
        .long_about(
            "Reads a program in hexadecimal from standard input, runs it once on the memory given, \
             and prints r0 in hexadecimal.",
        )
        .arg(Arg::new("memory").value_name("HEX").help("What the memory holds, in hexadecimal"))
        .arg(engine("checked"))
        .arg(flag("program").value_name("HEX").help("The program, in place of standard input"))
        .arg(flag("elf").action(ArgAction::SetTrue).help("The program is an object file"))
        .arg(flag("debug").action(ArgAction::SetTrue).hide(true));
    Command::new("vm")
        .about("Runs bare programs: instructions and a block of memory, no kernel")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands([run, plugin])
}

/// Carries it out.
pub(crate) fn run(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    match matches.subcommand() {
        Some(("plugin", matches)) => plugin::run(matches)?,
        Some((_, matches)) => run_file(matches)?,
        None => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn run_file(matches: &ArgMatches) -> Result<(), Failure> {
    let Some(path) = matches.get_one::<PathBuf>("file") else { return Ok(()) };
    let section = matches.get_one::<String>("section").map(String::as_str);
    let name = path.display();
    let code =
        file::code(&read(path)?, section).map_err(|why| Failure::new(format!("{name}: {why}")))?;
    let memory = matches.get_one::<PathBuf>("mem").map(|path| read(path)).transpose()?;
    let bare = Bare {
        code: &code,
        memory: &memory.unwrap_or_default(),
        repeat: matches.get_one("repeat").copied().unwrap_or(1),
        unwind: matches.get_flag("unwind"),
    };
    let Outcome { value, time } =
        bare.run(engine(matches)).map_err(|why| failure(&name.to_string(), &why))?;
    print(&format!("{value:#x}\n{} ns a run\n", time.as_nanos()));
    Ok(())
}

/// What stopped a program, with what may tell more.
fn failure(name: &str, why: &Broken) -> Failure {
    let failure = Failure::new(format!("{name}: {why}"));
    match why {
        Broken::Fault(_) => failure.help("--engine checked tells which instruction it was"),
        _ => failure,
    }
}

fn engine(matches: &ArgMatches) -> Engine {
    let name = matches.get_one::<String>("engine").map(String::as_str);
    name.and_then(Engine::from_name).unwrap_or(Engine::Checked)
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::file("read", path, &error))
}

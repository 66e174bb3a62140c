//! The one table of flags: `--help`, the man page, the completions and the parser come from it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use bombus_report::Format;
use bombus_runtime::Buffering;
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::failure::Failure;
use crate::{filter, run, tool, top, verify, vm};

/// Stages that `-d` shows.
pub(crate) const STAGES: [&str; 6] = ["ast", "ir", "bytecode", "plan", "verifier", "all"];

/// Which kernel runs the programs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum KernelChoice {
    /// The running one.
    Linux,
    /// The one in user space.
    Embedded,
}

/// What the command line asks for.
pub(crate) enum Request {
    /// Trace with a script.
    Trace(Box<Trace>),
    /// List probes: those of a pattern, or of a script.
    List {
        /// What to list.
        what: Listing,
        /// Show the fields too.
        fields: bool,
        /// Where from.
        kernel: Option<KernelChoice>,
    },
    /// What this machine can do.
    Info,
    /// The version.
    Version,
    /// A shell's completions.
    Completions(clap_complete::Shell),
    /// The manual page.
    Man,
    /// A subcommand, by its name, with its own flags.
    Subcommand(String, ArgMatches),
}

/// What to list.
pub(crate) enum Listing {
    /// Probes with names like this.
    Pattern(String),
    /// The probes of a script.
    Script(Script),
}

/// Where the script comes from.
#[derive(Clone)]
pub(crate) enum Script {
    /// `-e`.
    Text(String),
    /// A file, or `-`.
    File(PathBuf),
}

/// Everything about a tracing run.
pub(crate) struct Trace {
    pub(crate) script: Script,
    pub(crate) params: Vec<String>,
    pub(crate) command: Option<OsString>,
    pub(crate) pid: Option<u32>,
    pub(crate) tree: bool,
    pub(crate) no_agent: bool,
    pub(crate) kernel: Option<KernelChoice>,
    pub(crate) output: Option<PathBuf>,
    pub(crate) format: Format,
    pub(crate) buffering: Buffering,
    pub(crate) stages: Vec<String>,
    pub(crate) dry_run: bool,
    pub(crate) quiet: bool,
    pub(crate) verbose: bool,
    pub(crate) unsafe_functions: bool,
    pub(crate) warnings: bool,
    /// Flags of bpftrace that change nothing here, with the reason, to be mentioned.
    pub(crate) without_effect: Vec<&'static str>,
}

/// A subcommand: its flags, and what carries it out.
type Subcommand = (fn() -> Command, fn(&ArgMatches) -> Result<ExitCode, Failure>);

/// The subcommands.
const SUBCOMMANDS: [Subcommand; 5] = [
    (run::command, run::run),
    (top::command, top::run),
    (filter::command, filter::run),
    (verify::command, verify::run),
    (vm::command, vm::run),
];

/// Carries out a subcommand.
pub(crate) fn carry_out(name: &str, matches: &ArgMatches) -> Result<ExitCode, Failure> {
    if tool::table::has(name) {
        return Ok(tool::run(name, matches));
    }
    let found = SUBCOMMANDS.iter().find(|(command, _)| command().get_name() == name);
    let (_, run) = found.ok_or_else(|| Failure::new(format!("there is no subcommand {name}")))?;
    run(matches)
}

/// The table.
pub(crate) fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name);
    let switch = |name: &'static str| flag(name).action(ArgAction::SetTrue);
    // What bpftrace has and this has no use for.
    let accepted = |name: &'static str| switch(name).hide(true);
    let accepted_with_value = |name: &'static str| flag(name).action(ArgAction::Append).hide(true);
    Command::new("bombus")
        .about("eBPF tracing without LLVM, with or without a kernel that has eBPF")
        .long_about(
            "Runs scripts in bpftrace's language: on the running kernel where programs can be \
             loaded, otherwise on a kernel of its own in user space, which needs no privilege and \
             traces a command (-c) or a process (-p) with everything that it starts.",
        )
        .after_help(
            "Examples:\n  \
             bombus -e 'tracepoint:raw_syscalls:sys_enter { @[comm] = count(); }' -c 'ls -l'\n  \
             bombus script.bt arg1 arg2\n  \
             bombus -l 'tracepoint:syscalls:*open*'\n\n\
             When a command given with -c ends by itself, bombus ends with its exit status \
             (128 + N for signal N), unless the script calls exit(CODE).",
        )
        .override_usage(
            "bombus [OPTIONS] FILE [ARGS]...\n       bombus [OPTIONS] -e PROGRAM [ARGS]...",
        )
        .disable_version_flag(true)
        // A subcommand's word is one as the first argument only; elsewhere it is a script's
        // parameter.
        .subcommands(SUBCOMMANDS.iter().map(|(command, _)| command()))
        .subcommands(tool::table::commands())
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
        .arg(
            Arg::new("args")
                .value_name("FILE")
                .num_args(0..)
                .action(ArgAction::Append)
                .help("Script (- for standard input), then its positional parameters"),
        )
        .arg(flag("expression").short('e').value_name("PROGRAM").help("Run this program"))
        .arg(
            flag("cmd")
                .short('c')
                .value_name("CMD")
                .value_parser(value_parser!(OsString))
                .conflicts_with("pid")
                .help(
                    "Run a command; tracing ends with it. Quotes work as in a shell, nothing else",
                ),
        )
        .arg(
            flag("pid")
                .short('p')
                .value_name("PID")
                .value_parser(value_parser!(u32).range(1..=0x40_0000))
                .help("Keep to a running process; tracing ends with it"),
        )
        .arg(
            switch("tree")
                .help("Keep to the command or process and everything that it starts (linux)"),
        )
        .arg(
            switch("no-agent")
                .help("Bring no code into the processes: stop them at every event (embedded)"),
        )
        .arg(
            flag("kernel")
                .value_name("KERNEL")
                .value_parser(PossibleValuesParser::new(["linux", "embedded"]))
                .help("What runs the programs [default: linux where it lets us, else embedded]"),
        )
        .arg(
            flag("output")
                .short('o')
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Write the output to a file"),
        )
        .arg(
            Arg::new("format")
                .short('f')
                .value_name("FORMAT")
                .value_parser(PossibleValuesParser::new(["text", "json"]))
                .default_value("text")
                .help("Form of the output; json is one object a line"),
        )
        .arg(
            Arg::new("buffering")
                .short('B')
                .value_name("MODE")
                .value_parser(PossibleValuesParser::new(["line", "full", "none"]))
                .default_value("line")
                .help("When output is written"),
        )
        .arg(
            switch("list")
                .short('l')
                .help("List probes: all, those like a pattern, or those of a script"),
        )
        .arg(
            flag("debug")
                .short('d')
                .value_name("STAGE")
                .value_parser(PossibleValuesParser::new(STAGES))
                .action(ArgAction::Append)
                .help("Show a stage of the compilation, and do not run"),
        )
        .arg(switch("dry-run").help("Attach everything, then stop"))
        .arg(switch("info").help("Show what this machine can do"))
        .arg(switch("version").short('V').help("Show the version"))
        .arg(switch("quiet").short('q').help("Say nothing but what the script says"))
        .arg(switch("verbose").short('v').help("Say more; with -l, show the fields"))
        .arg(switch("unsafe").help("Allow functions that change the system"))
        .arg(switch("no-warnings").conflicts_with("warnings").help("Leave out warnings"))
        .arg(switch("warnings").short('k').hide(true))
        .arg(
            Arg::new("include-dir")
                .short('I')
                .value_name("DIR")
                .action(ArgAction::Append)
                .help("Accepted for scripts' sake: there is no C preprocessor"),
        )
        .arg(
            flag("include")
                .value_name("FILE")
                .action(ArgAction::Append)
                .help("Accepted for scripts' sake: there is no C preprocessor"),
        )
        .arg(
            flag("completions")
                .value_name("SHELL")
                .value_parser(value_parser!(clap_complete::Shell))
                .help("Print completions for a shell"),
        )
        .arg(switch("man").help("Print the manual page"))
        .arg(accepted("usdt-file-activation"))
        .arg(accepted("verify-llvm-ir"))
        .arg(accepted_with_value("no-feature"))
        .arg(accepted_with_value("dwarf-pid"))
        .arg(accepted_with_value("debuginfo"))
        .arg(accepted_with_value("traceable-functions"))
}

impl Request {
    /// What the arguments ask for. Prints and ends the process for `--help` and for mistakes.
    pub(crate) fn from_args() -> Request {
        let matches = command().try_get_matches().unwrap_or_else(|error| tool::refuse(error));
        Request::from_matches(&matches).unwrap_or_else(|message| {
            command().error(clap::error::ErrorKind::MissingRequiredArgument, message).exit()
        })
    }

    fn from_matches(matches: &ArgMatches) -> Result<Request, String> {
        if let Some((name, matches)) = matches.subcommand() {
            return Ok(Request::Subcommand(name.to_owned(), matches.clone()));
        }
        let given = |name: &str| matches.get_flag(name);
        let mut args = matches.get_many::<String>("args").into_iter().flatten().cloned();
        if given("version") {
            return Ok(Request::Version);
        }
        if given("info") {
            return Ok(Request::Info);
        }
        if given("man") {
            return Ok(Request::Man);
        }
        if let Some(shell) = matches.get_one::<clap_complete::Shell>("completions") {
            return Ok(Request::Completions(*shell));
        }
        let kernel = matches.get_one::<String>("kernel").map(|kernel| match kernel.as_str() {
            "linux" => KernelChoice::Linux,
            _ => KernelChoice::Embedded,
        });
        let script = matches.get_one::<String>("expression").cloned().map(Script::Text);
        if given("list") {
            let what = match (script, args.next()) {
                (Some(script), _) => Listing::Script(script),
                (None, Some(file)) if std::path::Path::new(&file).is_file() => {
                    Listing::Script(Script::File(file.into()))
                }
                (None, pattern) => Listing::Pattern(pattern.unwrap_or_else(|| "*:*".to_owned())),
            };
            return Ok(Request::List { what, fields: given("verbose"), kernel });
        }
        let script = match script {
            Some(script) => script,
            None => {
                Script::File(args.next().ok_or("a script is required: FILE or -e PROGRAM")?.into())
            }
        };
        let command = matches.get_one::<OsString>("cmd").cloned();
        let pid = matches.get_one::<u32>("pid").copied();
        if given("tree") && command.is_none() && pid.is_none() {
            return Err("--tree follows a command (-c) or a process (-p)".to_owned());
        }
        let mut without_effect = Vec::new();
        if matches.contains_id("include-dir") || matches.contains_id("include") {
            without_effect.push("-I and --include: there is no C preprocessor");
        }
        let stages: Vec<String> =
            matches.get_many::<String>("debug").into_iter().flatten().cloned().collect();
        Ok(Request::Trace(Box::new(Trace {
            script,
            params: args.collect(),
            command,
            pid,
            tree: given("tree"),
            no_agent: given("no-agent"),
            kernel,
            output: matches.get_one::<PathBuf>("output").cloned(),
            format: match matches.get_one::<String>("format").map(String::as_str) {
                Some("json") => Format::Json,
                _ => Format::Text,
            },
            buffering: match matches.get_one::<String>("buffering").map(String::as_str) {
                Some("full") => Buffering::Full,
                Some("none") => Buffering::None,
                _ => Buffering::Line,
            },
            stages,
            dry_run: given("dry-run"),
            quiet: given("quiet"),
            verbose: given("verbose"),
            unsafe_functions: given("unsafe"),
            warnings: !given("no-warnings"),
            without_effect,
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Request, String> {
        let args = ["bombus"].iter().chain(args);
        let matches = command().try_get_matches_from(args).map_err(|error| error.to_string())?;
        Request::from_matches(&matches)
    }

    fn trace(args: &[&str]) -> Trace {
        match parse(args) {
            Ok(Request::Trace(trace)) => *trace,
            Ok(_) => panic!("not a tracing run"),
            Err(message) => panic!("{message}"),
        }
    }

    #[test]
    fn the_table_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn flags_may_stand_after_the_script() {
        let trace = trace(&["script.bt", "a", "-q", "b", "-c", "ls -l"]);
        assert!(matches!(trace.script, Script::File(file) if file.as_os_str() == "script.bt"));
        assert_eq!(trace.params, ["a", "b"]);
        assert!(trace.quiet);
        assert_eq!(trace.command, Some("ls -l".into()));
    }

    #[test]
    fn everything_after_two_dashes_is_a_parameter() {
        let trace = trace(&["-e", "BEGIN {}", "--", "-x", "--y"]);
        assert!(matches!(trace.script, Script::Text(text) if text == "BEGIN {}"));
        assert_eq!(trace.params, ["-x", "--y"]);
    }

    #[test]
    fn a_subcommand_is_one_as_the_first_argument() {
        let subcommand = |args: &[&str]| match parse(args) {
            Ok(Request::Subcommand(name, _)) => Some(name),
            _ => None,
        };
        assert_eq!(subcommand(&["top", "--once"]).as_deref(), Some("top"));
        assert_eq!(subcommand(&["prog", "show", "-p"]).as_deref(), Some("prog"));
        assert_eq!(trace(&["-e", "BEGIN {}", "top"]).params, ["top"]);
        assert_eq!(trace(&["script.bt", "top"]).params, ["top"]);
        assert_eq!(trace(&["./top"]).params, [""; 0]);
    }

    #[test]
    fn mistakes() {
        assert!(parse(&[]).is_err());
        assert!(parse(&["-e", "x", "-c", "ls", "-p", "1"]).is_err());
        assert!(parse(&["-e", "x", "-p", "0"]).is_err());
        assert!(parse(&["-e", "x", "-f", "xml"]).is_err());
        assert!(parse(&["-e", "x", "--tree"]).is_err());
        assert!(parse(&["-e", "x", "-d", "nothing"]).is_err());
    }

    #[test]
    fn what_bpftrace_has_is_accepted() {
        let args =
            ["-e", "x", "--verify-llvm-ir", "-k", "--no-feature", "uprobe_multi", "-I", "/x"];
        assert_eq!(trace(&args).without_effect.len(), 1);
    }
}

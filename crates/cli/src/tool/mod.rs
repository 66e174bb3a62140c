//! `bombus prog|map|link|...`: what is loaded in the running kernel, in bpftool's words.

mod batch;
mod btf;
mod cgroup;
mod element;
mod events;
mod feature;
mod iter;
mod link;
mod load;
mod map;
mod net;
mod objects;
mod output;
mod perf;
mod prog;
mod struct_ops;
pub(crate) mod table;
mod test_run;
mod token;
mod tracelog;
mod words;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use bombus_kernel::Kernel;
use bombus_linux::Linux;
use clap::ArgMatches;

use crate::flags::KernelChoice;

use output::{Failed, Output};
use words::Words;

/// What the command line asks for.
struct Request {
    command: String,
    words: Vec<OsString>,
    options: Options,
}

/// What every command takes.
#[derive(Clone, Debug, Default)]
struct Options {
    json: bool,
    pretty: bool,
    pins: bool,
    no_mount: bool,
    debug: bool,
    /// `prog load --check`.
    check: bool,
    base_btf: Option<PathBuf>,
    /// `prog run FILE`: on which kernel, and which program of the file.
    kernel: Option<KernelChoice>,
    program: Option<String>,
}

impl Request {
    /// From what the parser made of a group's name and what follows it.
    fn new(group: &str, matches: &ArgMatches) -> Request {
        let first = table::GROUPS.iter().find(|each| each.name == group);
        let (command, inner) = match matches.subcommand() {
            Some((command, inner)) => (command.to_owned(), inner),
            None => (first.map_or("", table::Group::first).to_owned(), matches),
        };
        let words = inner.try_get_many::<OsString>("words").ok().flatten();
        let mut words: Vec<OsString> = words.into_iter().flatten().cloned().collect();
        for (flag, word) in test_run::FLAGS {
            if let Ok(Some(value)) = inner.try_get_one::<OsString>(flag) {
                words.extend([word.into(), value.clone()]);
            }
        }
        let text = |name: &str| inner.try_get_one::<String>(name).ok().flatten().cloned();
        Request {
            command,
            words,
            options: Options {
                json: inner.get_flag("json") || inner.get_flag("pretty"),
                pretty: inner.get_flag("pretty"),
                pins: inner.get_flag("bpffs"),
                no_mount: inner.get_flag("nomount"),
                debug: inner.get_flag("debug"),
                check: matches!(inner.try_get_one::<bool>("check"), Ok(Some(true))),
                base_btf: inner.get_one::<PathBuf>("base-btf").cloned(),
                kernel: text("kernel").map(|kernel| match kernel.as_str() {
                    "linux" => KernelChoice::Linux,
                    _ => KernelChoice::Embedded,
                }),
                program: text("program"),
            },
        }
    }
}

/// Says what is wrong with a command line, and ends the process; with bpftool's status where the
/// command is one of bpftool's.
pub(crate) fn refuse(error: clap::Error) -> ! {
    let group = std::env::args().nth(1).unwrap_or_default();
    if !error.use_stderr() || !table::has(&group) {
        error.exit();
    }
    let json =
        std::env::args().any(|word| matches!(word.as_str(), "-j" | "--json" | "-p" | "--pretty"));
    if json {
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default();
        let message = line.strip_prefix("error: ").unwrap_or(line);
        crate::print(&format!("{}\n", serde_json::json!({ "error": message })));
    } else {
        eprint!("{error}");
    }
    std::process::exit(255)
}

/// What the commands work with.
struct Tool {
    linux: Linux,
    options: Options,
}

/// Carries out a command, and prints what comes of it.
pub(crate) fn run(group: &str, matches: &ArgMatches) -> ExitCode {
    let Request { command, words, options } = Request::new(group, matches);
    let form = output::Form { json: options.json, pretty: options.pretty };
    if (group, command.as_str()) == ("prog", "run") && test_run::names_file(&words, &options) {
        let outcome = Words::new(&command, words);
        return match outcome.and_then(|words| test_run::run_file(&options, words)) {
            Ok(output) => {
                form.show(&output);
                ExitCode::SUCCESS
            }
            Err(failed) => form.fail(&failed),
        };
    }
    let outcome = Linux::new().map_err(Failed::from).and_then(|linux| {
        let tool = Tool { linux, options };
        dispatch(&tool, group, &command, Words::new(&command, words)?)
    });
    match outcome {
        Ok(output) => {
            form.show(&output);
            ExitCode::SUCCESS
        }
        Err(failed) => form.fail(&failed),
    }
}

fn dispatch(tool: &Tool, group: &str, command: &str, words: Words) -> Result<Output, Failed> {
    match group {
        "prog" => prog::run(tool, command, words),
        "map" => map::run(tool, command, words),
        "link" => link::run(tool, command, words),
        "btf" => btf::run(tool, command, words),
        "cgroup" => cgroup::run(tool, command, words),
        "feature" => feature::run(tool, command, words),
        "gen" => iter::link(tool, words),
        "iter" => iter::pin(tool, words),
        "net" => net::run(tool, command, words),
        "perf" => perf::run(tool, words),
        "struct_ops" => struct_ops::run(tool, command, words),
        "token" => token::run(tool, words),
        "batch" => batch::run(tool, words),
        _ => Err(Failed::new(format!("there is no command {group}"))),
    }
}

impl Tool {
    /// Says something beside the output; not where the output is JSON.
    fn say(&self, message: &str) {
        if !self.options.json {
            eprintln!("{message}");
        }
    }

    /// How many values an element of a per-CPU map has.
    fn cpus(&self) -> usize {
        self.linux.features().possible_cpus as usize
    }

    /// Chooses the form that is wanted.
    fn either(
        &self,
        text: impl FnOnce() -> String,
        json: impl FnOnce() -> serde_json::Value,
    ) -> Output {
        if self.options.json { Output::Json(json()) } else { Output::Text(text()) }
    }
}

//! `bombus prog|map|link|...`: what is loaded in the running kernel, in bpftool's words.

mod element;
mod link;
mod map;
mod objects;
mod output;
mod prog;
pub(crate) mod table;
mod words;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use bombus_kernel::Kernel;
use bombus_linux::Linux;
use clap::ArgMatches;

use output::{Failed, Output};
use words::Words;

/// What the command line asks for.
pub(crate) struct Request {
    group: String,
    command: String,
    words: Vec<OsString>,
    options: Options,
}

/// What every command takes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    json: bool,
    pretty: bool,
    pins: bool,
    no_mount: bool,
    #[allow(dead_code, reason = "for commands that load programs")]
    debug: bool,
    #[allow(dead_code, reason = "for commands that read types")]
    base_btf: Option<PathBuf>,
}

impl Request {
    /// From what the parser made of a group's name and what follows it.
    pub(crate) fn new(group: &str, matches: &ArgMatches) -> Request {
        let first = table::GROUPS.iter().find(|each| each.name == group);
        let (command, inner) = match matches.subcommand() {
            Some((command, inner)) => (command.to_owned(), inner),
            None => (first.map_or("", table::Group::first).to_owned(), matches),
        };
        let words = inner.try_get_many::<OsString>("words").ok().flatten();
        Request {
            group: group.to_owned(),
            command,
            words: words.into_iter().flatten().cloned().collect(),
            options: Options {
                json: inner.get_flag("json") || inner.get_flag("pretty"),
                pretty: inner.get_flag("pretty"),
                pins: inner.get_flag("bpffs"),
                no_mount: inner.get_flag("nomount"),
                debug: inner.get_flag("debug"),
                base_btf: inner.get_one::<PathBuf>("base-btf").cloned(),
            },
        }
    }
}

/// What the commands work with.
struct Tool {
    linux: Linux,
    options: Options,
}

/// Carries out a command, and prints what comes of it.
pub(crate) fn run(request: Request) -> ExitCode {
    let Request { group, command, words, options } = request;
    let form = output::Form { json: options.json, pretty: options.pretty };
    let outcome = Linux::new().map_err(Failed::from).and_then(|linux| {
        let tool = Tool { linux, options };
        let words = Words::new(&command, words)?;
        match group.as_str() {
            "prog" => prog::run(&tool, &command, words),
            "map" => map::run(&tool, &command, words),
            "link" => link::run(&tool, &command, words),
            _ => Err(Failed::new(format!("there is no command {group}"))),
        }
    });
    match outcome {
        Ok(output) => {
            form.show(&output);
            ExitCode::SUCCESS
        }
        Err(failed) => form.fail(&failed),
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

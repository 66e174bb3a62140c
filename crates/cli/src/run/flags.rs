//! The flags of `bombus run`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use bombus_report::Format;
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use super::place::{FORMS, Place};
use super::set;
use crate::flags::KernelChoice;
use crate::wires::{self, Wire};

/// What to run, and how.
pub(crate) struct Options {
    pub(crate) file: PathBuf,
    pub(crate) attach: Vec<Place>,
    /// Nothing is attached but that.
    pub(crate) no_attach: bool,
    pub(crate) maps: Vec<String>,
    pub(crate) set: Vec<(String, String)>,
    /// Map and structure.
    pub(crate) types: Vec<(String, String)>,
    pub(crate) kernel: Option<KernelChoice>,
    pub(crate) wires: Vec<Wire>,
    pub(crate) command: Option<OsString>,
    pub(crate) pid: Option<u32>,
    pub(crate) duration: Option<Duration>,
    pub(crate) format: Format,
    pub(crate) printk: bool,
    pub(crate) btf: Option<PathBuf>,
    /// A capture to run over instead of attaching.
    pub(crate) pcap: Option<PathBuf>,
    /// A capture for the packets that pass.
    pub(crate) write: Option<PathBuf>,
    /// The program to run over the capture.
    pub(crate) program: Option<String>,
    pub(crate) quiet: bool,
    pub(crate) verbose: bool,
}

/// The table.
pub(crate) fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name);
    let switch = |name: &'static str| flag(name).action(ArgAction::SetTrue);
    let many = |name: &'static str| flag(name).action(ArgAction::Append);
    let forms: Vec<&str> = FORMS.iter().map(|(_, form)| *form).collect();
    Command::new("run")
        .about("Runs the programs of an object file that clang made")
        .long_about(
            "Loads a BPF object file, attaches its programs as their sections say, prints what \
             they send (bpf_printk, ring and perf buffers) as it comes, and their maps and global \
             variables at the end: after Ctrl-C, the command (-c) or process (-p), or --duration.",
        )
        .after_help(format!(
            "PLACE is [PROGRAM=] and one of\n  {}\n  profile:HERTZ\n\n\
             Examples:\n  \
             bombus run execsnoop.bpf.o --set min_uid=1000\n  \
             bombus run firewall.bpf.o --attach firewall=xdp:eth0 --map counters\n  \
             bombus run opens.bpf.o --kernel embedded -c 'ls -l'\n  \
             bombus run firewall.bpf.o --wire w0 --attach firewall=xdp:w0 -c 'ping -c 3 10.11.0.2'\n  \
             bombus run firewall.bpf.o --pcap in.pcap --write passed.pcap --set 'blocked_ports[80]=0'",
            forms.join("\n  ")
        ))
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("Object file (clang -target bpf -g -c)"),
        )
        .arg(
            many("attach")
                .value_name("PLACE")
                .value_parser(Place::parse)
                .help("Attach a program here, whatever its section says; see below"),
        )
        .arg(switch("no-attach").help("Attach nothing but what --attach says"))
        .arg(many("map").value_name("NAME").help(
            "Show this map at the end; .rodata, .data and .bss are global variables \
                       [default: every table and the variables that may change]",
        ))
        .arg(many("set").value_name("NAME=VALUE").value_parser(set::pair).help(
            "Set a global variable, also a constant, or an element of a map (MAP[KEY]=VALUE): a \
             number, 'c', text, an enumerator, [1, 2], {\"member\": 1}",
        ))
        .arg(
            many("type").value_name("MAP=STRUCT").value_parser(pair).help(
                "What the records of a ring or perf buffer are, where their size is not enough",
            ),
        )
        .arg(
            flag("cmd")
                .short('c')
                .value_name("CMD")
                .value_parser(value_parser!(OsString))
                .conflicts_with("pid")
                .help("Run a command once everything is attached; it ends with the command"),
        )
        .arg(
            flag("pid")
                .short('p')
                .value_name("PID")
                .value_parser(value_parser!(u32).range(1..=0x40_0000))
                .help("End with a running process; user probes keep to it"),
        )
        .arg(
            flag("duration")
                .value_name("SECONDS")
                .value_parser(seconds)
                .help("End after this time"),
        )
        .arg(
            many("wire").conflicts_with("pid").value_name(wires::FORM).value_parser(Wire::parse).help(
                "Run in a network of its own, on the embedded kernel: what goes over this device \
                 passes its programs. BOMBUS_PEER is the namespace of the other end",
            ),
        )
        .arg(
            flag("kernel")
                .value_name("KERNEL")
                .value_parser(PossibleValuesParser::new(["linux", "embedded"]))
                .help("What runs the programs [default: linux where it lets us, else embedded]"),
        )
        .arg(
            Arg::new("format")
                .short('f')
                .value_name("FORMAT")
                .value_parser(PossibleValuesParser::new(["text", "json"]))
                .default_value("text")
                .help("Form of the output; json is one object a line"),
        )
        .arg(switch("no-printk").help("Do not show what programs print with bpf_printk"))
        .arg(
            flag("btf")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("The kernel's types, where it does not have them itself"),
        )
        .arg(
            flag("pcap")
                .value_name("CAPTURE")
                .value_parser(value_parser!(PathBuf))
                .conflicts_with_all(["attach", "cmd", "pid", "duration", "wire"])
                .help(
                    "Attach nothing: run a program over the packets of a capture file (pcap, \
                     pcapng; - for standard input), by default on the embedded kernel",
                ),
        )
        .arg(
            flag("write")
                .short('w')
                .value_name("CAPTURE")
                .value_parser(value_parser!(PathBuf))
                .requires("pcap")
                .help("Write the packets that pass, as the program left them"),
        )
        .arg(
            flag("program")
                .value_name("NAME")
                .requires("pcap")
                .help("The program for --pcap, where the object has several"),
        )
        .arg(switch("quiet").short('q').help("Do not say what was attached"))
        .arg(switch("verbose").short('v').help("Show all that the verifier says when it refuses"))
}

impl Options {
    /// From the parser's matches.
    pub(crate) fn new(matches: &ArgMatches) -> Options {
        let pairs = |name: &str| {
            matches.get_many::<(String, String)>(name).into_iter().flatten().cloned().collect()
        };
        Options {
            file: matches.get_one::<PathBuf>("file").cloned().unwrap_or_default(),
            attach: matches.get_many::<Place>("attach").into_iter().flatten().cloned().collect(),
            no_attach: matches.get_flag("no-attach"),
            maps: matches.get_many::<String>("map").into_iter().flatten().cloned().collect(),
            set: pairs("set"),
            types: pairs("type"),
            kernel: matches.get_one::<String>("kernel").map(|kernel| match kernel.as_str() {
                "linux" => KernelChoice::Linux,
                _ => KernelChoice::Embedded,
            }),
            wires: matches.get_many::<Wire>("wire").into_iter().flatten().cloned().collect(),
            command: matches.get_one::<OsString>("cmd").cloned(),
            pid: matches.get_one::<u32>("pid").copied(),
            duration: matches.get_one::<Duration>("duration").copied(),
            format: match matches.get_one::<String>("format").map(String::as_str) {
                Some("json") => Format::Json,
                _ => Format::Text,
            },
            printk: !matches.get_flag("no-printk"),
            btf: matches.get_one::<PathBuf>("btf").cloned(),
            pcap: matches.get_one::<PathBuf>("pcap").cloned(),
            write: matches.get_one::<PathBuf>("write").cloned(),
            program: matches.get_one::<String>("program").cloned(),
            quiet: matches.get_flag("quiet"),
            verbose: matches.get_flag("verbose"),
        }
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("must be NAME=VALUE".to_owned()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..=1e9).contains(&seconds) => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("must be a number of seconds".to_owned()),
    }
}

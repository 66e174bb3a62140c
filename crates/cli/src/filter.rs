//! `bombus filter`: a classic packet filter over a capture file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use bombus_capture::{CaptureError, LinkType, Packet};
use bombus_cbpf::{Filter, PacketAccess};
use bombus_vm::{Context, Execution, Nothing, Program, Stack, address};
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::captures::{self, Output};
use crate::failure::Failure;

/// Packets between two looks at the clock.
const ROUND: u64 = 4096;

/// The table.
pub(crate) fn command() -> Command {
    Command::new("filter")
        .about("Runs a classic packet filter over a capture file")
        .long_about(
            "Runs a filter as `tcpdump -ddd EXPRESSION` prints it over the packets of a capture \
             file (pcap or pcapng) and says how many match. Expressions themselves are not \
             compiled here.",
        )
        .after_help(
            "Examples:\n  \
             tcpdump -ddd 'tcp port 80' > http.txt\n  \
             bombus filter -ddd http.txt --pcap in.pcap --write http.pcap\n  \
             tcpdump -y EN10MB -ddd arp | bombus filter -ddd - --pcap in.pcapng",
        )
        .arg(
            Arg::new("d")
                .short('d')
                .action(ArgAction::Count)
                .help("-ddd: the filter is what `tcpdump -ddd` prints (-dd is understood as well)"),
        )
        .arg(
            Arg::new("filter")
                .value_name("FILE")
                .required(true)
                .num_args(1..)
                .help("File with the filter; - for standard input"),
        )
        .arg(
            Arg::new("pcap")
                .long("pcap")
                .short('r')
                .value_name("CAPTURE")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("Capture to read; - for standard input"),
        )
        .arg(
            Arg::new("write")
                .long("write")
                .short('w')
                .value_name("CAPTURE")
                .value_parser(value_parser!(PathBuf))
                .help("Write the packets that match, cut to the length that the filter gives"),
        )
        .arg(
            Arg::new("format")
                .short('f')
                .value_name("FORMAT")
                .value_parser(PossibleValuesParser::new(["text", "json"]))
                .default_value("text")
                .help("Form of the count"),
        )
}

/// What a run through a capture counted.
#[derive(Default)]
struct Count {
    packets: u64,
    matching: u64,
}

/// Carries out `bombus filter`.
pub(crate) fn run(matches: &ArgMatches) -> Result<ExitCode, Failure> {
    let words: Vec<&String> = matches.get_many("filter").into_iter().flatten().collect();
    let path = |name: &str| matches.get_one::<PathBuf>(name).map(PathBuf::as_path);
    if matches.get_count("d") < 2 {
        let words: Vec<&str> = words.iter().map(|word| word.as_str()).collect();
        let expression = words.join(" ");
        return Err(Failure::new("filter expressions are not compiled here").help(format!(
            "tcpdump does: tcpdump -ddd '{expression}' | bombus filter -ddd - --pcap FILE"
        )));
    }
    let [file] = words[..] else {
        return Err(Failure::new("-ddd takes one file with a filter"));
    };
    let filter = read(file)?;
    let Some(input) = path("pcap") else { return Err(Failure::new("--pcap is missing")) };
    let count = apply(&filter, input, path("write"))?;
    let text = match matches.get_one::<String>("format").map(String::as_str) {
        Some("json") => {
            format!("{{\"packets\": {}, \"matching\": {}}}\n", count.packets, count.matching)
        }
        _ => {
            let plural = if count.packets == 1 { "" } else { "s" };
            format!("{} packet{plural}, {} matching\n", count.packets, count.matching)
        }
    };
    if path("write").is_some_and(|path| path.as_os_str() == "-") {
        eprint!("{text}");
    } else {
        crate::print(&text);
    }
    Ok(ExitCode::SUCCESS)
}

fn read(file: &str) -> Result<Filter, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(format!("{file}: {error}"));
    let text = match file {
        "-" => std::io::read_to_string(std::io::stdin()),
        file => std::fs::read_to_string(file),
    };
    let text = text.map_err(|error| Failure::file("read", Path::new(file), &error))?;
    let insns = bombus_cbpf::parse(&text);
    let insns = insns.map_err(|error| {
        failed(&error).help("tcpdump prints a filter: tcpdump -ddd 'tcp port 80' > FILE")
    })?;
    Filter::new(&insns).map_err(|invalid| failed(&invalid))
}

fn apply(filter: &Filter, from: &Path, to: Option<&Path>) -> Result<Count, Failure> {
    let mut input = captures::open(from)?;
    let link = input.reader.link();
    let mut output =
        to.map(|to| Output::create(to, &input, link.unwrap_or(LinkType::ETHERNET))).transpose()?;
    let mut machine = Machine::new(filter, link)?;
    let mut count = Count::default();
    let outcome = loop {
        let packet = match input.reader.next() {
            Ok(Some(packet)) => packet,
            Ok(None) => break None,
            Err(error) => break Some(error),
        };
        if Some(packet.link) != link {
            return Err(Failure::new("the packets have several link types: a filter is for one"));
        }
        let verdict = machine.verdict(&packet)? as usize;
        count.packets += 1;
        if verdict > 0 {
            count.matching += 1;
            if let Some(output) = &mut output {
                let data = &packet.data[..packet.data.len().min(verdict)];
                output.write(&Packet { data, ..packet })?;
            }
        }
        if count.packets.is_multiple_of(ROUND) {
            input.progress.at(input.reader.offset(), count.packets);
        }
    };
    input.progress.clear();
    output.map_or(Ok(()), Output::finish)?;
    match outcome {
        // What was whole is there all the same.
        Some(error @ CaptureError::Truncated { .. }) => {
            eprintln!("WARNING: {}: {error}", from.display());
            Ok(count)
        }
        Some(error) => Err(input.failure(&error)),
        None => Ok(count),
    }
}

/// The filter at work.
struct Machine {
    program: std::rc::Rc<Program>,
    stack: Stack,
}

impl Machine {
    fn new(filter: &Filter, link: Option<LinkType>) -> Result<Machine, Failure> {
        let network_header = link.and_then(LinkType::network_header).unwrap_or(0);
        let insns = filter.convert(PacketAccess::Memory { network_header });
        let insns = insns.map_err(|error| Failure::new(format!("the filter: {error}")))?;
        let program = Program::new(&insns, 0, &mut |_| None)
            .map_err(|error| Failure::new(format!("the converted filter: {error}")))?;
        Ok(Machine { program, stack: Stack::default() })
    }

    fn verdict(&mut self, packet: &Packet<'_>) -> Result<u32, Failure> {
        let start = address::pack(address::CTX, 0);
        let args = [start, packet.data.len() as u64, packet.wire_len.into()];
        let mut execution = Execution::new(&mut self.stack, Context::ReadOnly(packet.data));
        let verdict = execution.run_with(&self.program, &args, &mut Nothing);
        let verdict = verdict.map_err(|trap| Failure::new(format!("the filter: {trap}")))?;
        Ok(verdict as u32)
    }
}

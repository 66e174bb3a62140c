//! `bombus run --pcap`: a program over packets, run over those of a capture file.

use std::collections::BTreeMap;
use std::io::Read;
use std::process::ExitCode;
use std::time::Instant;

use bombus_capture::{CaptureError, LinkType, Packet, Reader};
use bombus_embedded::{Embedded, PacketRunner, PrintedLine, Traffic};
use bombus_kernel::{Error, Kernel, ProgFd, TestRun, Tracer};
use bombus_linux::Linux;
use bombus_platform::{ETHERNET_HEADER, ProgType, takes_packets};
use bombus_spec::ObjectSpec;

use super::flags::Options;
use super::literal::with_nearest;
use super::output::Output;
use super::printk::Line;
use super::shown::Shown;
use super::{given_types, loader, open_with, refused};
use crate::captures;
use crate::failure::Failure;
use crate::flags::KernelChoice;
use crate::host::{self, Chosen};

/// Carries out `bombus run --pcap`.
pub(super) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let kernel = options.kernel.unwrap_or(KernelChoice::Embedded);
    let chosen = Chosen { types: given_types(options)?, ..Chosen::asked(kernel) };
    match kernel {
        KernelChoice::Embedded => {
            let embedded = host::embedded(&chosen)?;
            work(options, &chosen, &embedded, |program| {
                let runner = Box::new(embedded.packet_runner(program)?);
                Ok(Machine::Embedded { kernel: &embedded, runner })
            })
        }
        KernelChoice::Linux => {
            let linux = Linux::new().map_err(|error| Failure::kernel(&error, false))?;
            work(options, &chosen, &linux, |program| Ok(Machine::Linux { kernel: &linux, program }))
        }
    }
}

/// What runs the program.
enum Machine<'a> {
    Embedded {
        kernel: &'a Embedded,
        runner: Box<PacketRunner<'a>>,
    },
    /// By test runs, which take packets from 14 bytes up to what fits in a page.
    Linux {
        kernel: &'a Linux,
        program: ProgFd,
    },
}

impl Machine<'_> {
    /// Runs over some packets; whether there may be more.
    fn run_over<T: Traffic>(&mut self, traffic: &mut T) -> Result<bool, T::Failure> {
        let (kernel, program) = match self {
            Machine::Embedded { runner, .. } => return runner.run_over(traffic),
            Machine::Linux { kernel, program } => (kernel, program),
        };
        let Some(packet) = traffic.next()? else { return Ok(false) };
        let mut run = TestRun { data: packet.to_vec(), ..TestRun::default() };
        let value = match kernel.prog_run(*program, &mut run) {
            Ok(()) => Some(run.retval),
            Err(error) if error.errno() == Some(libc::EINVAL) => None,
            Err(error) => return Err(error.into()),
        };
        traffic.done(value, Some(&run.data))?;
        Ok(true)
    }

    /// What programs printed since then; how many lines were lost. (On the running kernel it goes
    /// to the trace pipe, with what all others print.)
    fn printed(&self) -> (Vec<Line>, u64) {
        let Machine::Embedded { kernel, .. } = self else { return (Vec::new(), 0) };
        if !kernel.has_printed() {
            return (Vec::new(), 0);
        }
        let (lines, lost) = kernel.take_printed();
        let line = |PrintedLine { comm, tid, cpu, text }| Line { comm, tid, cpu, text };
        (lines.into_iter().map(line).collect(), lost)
    }
}

fn work<'a>(
    options: &Options,
    chosen: &Chosen,
    kernel: &'a dyn Tracer,
    machine: impl FnOnce(ProgFd) -> Result<Machine<'a>, Error>,
) -> Result<ExitCode, Failure> {
    let (object, btf) = open_with(options)?;
    let (name, prog_type) = choose(&object, options)?;
    let mut loader = loader(options, chosen, &object, btf.as_ref())?;
    for program in object.programs.iter().filter(|each| each.prog_type != prog_type) {
        loader = loader.autoload(&program.name, false);
    }
    let refused = |error: Error| refused(&error, options, chosen);
    let loaded = loader.load(kernel).map_err(refused)?;
    let program = loaded.program(&name);
    let program = program.ok_or_else(|| Failure::new(format!("program {name} is not loaded")))?;
    let mut machine = machine(program).map_err(refused)?;
    let mut output = Output::new(options.format);
    let counts = through(options, prog_type, &mut machine, &mut output)?;
    output.verdicts("VERDICT");
    for (verdict, count) in &counts {
        let name = verdict.map_or("not run".to_owned(), |value| verdict_name(prog_type, value));
        output.verdict(&name, *verdict, None, count.packets, count.bytes);
    }
    let (packets, bytes) = counts
        .values()
        .fold((0, 0), |(packets, bytes), count| (packets + count.packets, bytes + count.bytes));
    output.verdict("total", None, None, packets, bytes);
    let shown = Shown { kernel, object: &object, loaded: &loaded, btf: btf.as_ref() };
    shown.show(&options.maps, &mut output).map_err(refused)?;
    output.flush();
    if !options.quiet {
        kernel.summary().iter().for_each(|line| eprintln!("WARNING: {line}"));
    }
    Ok(ExitCode::SUCCESS)
}

/// The program to run: that of `--program`, else the only one for packets.
fn choose(object: &ObjectSpec, options: &Options) -> Result<(String, ProgType), Failure> {
    let programs: Vec<_> =
        object.programs.iter().filter(|each| takes_packets(each.prog_type)).collect();
    let names = || programs.iter().map(|program| program.name.as_str());
    let chosen = match (&options.program, &programs[..]) {
        (Some(name), _) => {
            programs.iter().find(|program| program.name == *name).ok_or_else(|| {
                let message = format!("the object has no program {name} for packets");
                Failure::new(with_nearest(&message, name, names()))
            })?
        }
        (None, [only]) => only,
        (None, []) => {
            return Err(Failure::new("the object has no program for packets")
                .help("XDP, tc, socket and cgroup_skb programs are run over packets"));
        }
        (None, _) => {
            let names: Vec<&str> = names().collect();
            return Err(Failure::new("the object has several programs for packets")
                .help(format!("say which with --program: {}", names.join(", "))));
        }
    };
    Ok((chosen.name.clone(), chosen.prog_type))
}

/// Packets with the same verdict.
#[derive(Clone, Copy, Default)]
struct Count {
    packets: u64,
    bytes: u64,
}

/// How many packets had each verdict. Most have one of a few.
#[derive(Default)]
struct Counts {
    small: [Count; 16],
    other: BTreeMap<Option<u32>, Count>,
}

impl Counts {
    #[inline]
    fn add(&mut self, verdict: Option<u32>, bytes: usize) {
        let small = verdict.and_then(|verdict| self.small.get_mut(verdict as usize));
        let count = match small {
            Some(count) => count,
            None => self.other.entry(verdict).or_default(),
        };
        count.packets += 1;
        count.bytes += bytes as u64;
    }

    fn all(mut self) -> BTreeMap<Option<u32>, Count> {
        let small = (0..).map(Some).zip(self.small).filter(|(_, count)| count.packets > 0);
        self.other.extend(small);
        self.other
    }
}

/// The packets of a capture, and what becomes of them.
struct Capture<'a, R> {
    reader: &'a mut Reader<R>,
    output: Option<captures::Output>,
    prog_type: ProgType,
    counts: Counts,
    total: u64,
    /// Bytes of the packet at hand.
    len: usize,
    /// Where packets are written: the packet at hand, as it was captured.
    captured: Captured,
}

/// A packet as it was captured.
struct Captured {
    data: Vec<u8>,
    wire_len: u32,
    time: u64,
}

impl Captured {
    fn keep(&mut self, packet: &Packet<'_>) {
        self.data.clear();
        self.data.extend_from_slice(packet.data);
        (self.wire_len, self.time) = (packet.wire_len, packet.time);
    }
}

#[cold]
fn not_ethernet(link: LinkType) -> Stopped {
    Stopped::Otherwise(Failure::new(format!(
        "packets of link type {} cannot be run: programs expect Ethernet's",
        link.0
    )))
}

/// Why a run over packets ended early.
enum Stopped {
    Reading(CaptureError),
    Otherwise(Failure),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Stopped {
        Stopped::Otherwise(Failure::kernel(&error, false))
    }
}

impl<R: Read> Traffic for Capture<'_, R> {
    type Failure = Stopped;

    #[inline(always)]
    fn next(&mut self) -> Result<Option<&[u8]>, Stopped> {
        let Some(packet) = self.reader.next().map_err(Stopped::Reading)? else { return Ok(None) };
        if packet.link != LinkType::ETHERNET {
            return Err(not_ethernet(packet.link));
        }
        self.len = packet.data.len();
        if self.output.is_some() {
            self.captured.keep(&packet);
        }
        Ok(Some(packet.data))
    }

    #[inline(always)]
    fn done(&mut self, verdict: Option<u32>, changed: Option<&[u8]>) -> Result<(), Stopped> {
        self.counts.add(verdict, self.len);
        self.total += 1;
        if self.output.is_some() { self.write(verdict, changed) } else { Ok(()) }
    }
}

impl<R> Capture<'_, R> {
    /// Writes the packet at hand, if it passes.
    fn write(&mut self, verdict: Option<u32>, changed: Option<&[u8]>) -> Result<(), Stopped> {
        let (Some(output), Some(verdict)) = (&mut self.output, verdict) else { return Ok(()) };
        let Captured { data, wire_len, time } = &self.captured;
        let Some(left) = passes(self.prog_type, verdict, changed.unwrap_or(data)) else {
            return Ok(());
        };
        // What was cut off when it was captured is still missing.
        let missing = wire_len.saturating_sub(data.len() as u32);
        let wire_len = left.len() as u32 + missing;
        let packet = Packet { data: left, wire_len, time: *time, link: LinkType::ETHERNET };
        output.write(&packet).map_err(Stopped::Otherwise)
    }
}

/// Runs over all packets; gives how many had each verdict.
fn through(
    options: &Options,
    prog_type: ProgType,
    machine: &mut Machine<'_>,
    said: &mut Output,
) -> Result<BTreeMap<Option<u32>, Count>, Failure> {
    let Some(path) = &options.pcap else { return Ok(BTreeMap::new()) };
    let mut input = captures::open(path)?;
    let link = input.reader.link().unwrap_or(LinkType::ETHERNET);
    let output = options.write.as_ref();
    let output = output.map(|to| captures::Output::create(to, &input, link)).transpose()?;
    let mut capture = Capture {
        reader: &mut input.reader,
        output,
        prog_type,
        counts: Counts::default(),
        total: 0,
        len: 0,
        captured: Captured { data: Vec::new(), wire_len: 0, time: 0 },
    };
    let (mut lost, start) = (0, Instant::now());
    let outcome = loop {
        let more = machine.run_over(&mut capture);
        let (lines, missing) = machine.printed();
        if options.printk && !lines.is_empty() {
            input.progress.clear();
            lines.iter().for_each(|line| said.printk(line));
        }
        lost += missing;
        match more {
            Ok(true) => input.progress.at(capture.reader.offset(), capture.total),
            Ok(false) => break None,
            Err(Stopped::Reading(error)) => break Some(error),
            Err(Stopped::Otherwise(failure)) => return Err(failure),
        }
    };
    let time = start.elapsed();
    let Capture { output, counts, total, .. } = capture;
    input.progress.clear();
    said.flush();
    if !options.quiet {
        eprintln!("{}", captures::speed(total, time));
    }
    if lost > 0 {
        eprintln!("WARNING: lost {lost} printed lines: there was no room for them");
    }
    output.map_or(Ok(()), captures::Output::finish)?;
    match outcome {
        Some(error @ CaptureError::Truncated { .. }) => {
            eprintln!("WARNING: {}: {error}", path.display());
        }
        Some(error) => return Err(input.failure(&error)),
        None => {}
    }
    Ok(counts.all())
}

/// The actions of XDP (`enum xdp_action`), and which of them let a packet live.
const XDP: [(&str, bool); 5] = [
    ("XDP_ABORTED", false),
    ("XDP_DROP", false),
    ("XDP_PASS", true),
    ("XDP_TX", true),
    ("XDP_REDIRECT", true),
];

/// The actions of traffic control (`include/uapi/linux/pkt_cls.h`), the same.
const TC: [(&str, bool); 9] = [
    ("TC_ACT_OK", true),
    ("TC_ACT_RECLASSIFY", true),
    ("TC_ACT_SHOT", false),
    ("TC_ACT_PIPE", true),
    ("TC_ACT_STOLEN", false),
    ("TC_ACT_QUEUED", false),
    ("TC_ACT_REPEAT", true),
    ("TC_ACT_REDIRECT", true),
    ("TC_ACT_TRAP", false),
];

pub(super) fn verdict_name(prog_type: ProgType, value: u32) -> String {
    let named = |table: &[(&str, bool)]| table.get(value as usize).map(|row| row.0.to_owned());
    let name = match prog_type {
        ProgType::Xdp => named(&XDP),
        ProgType::SchedCls | ProgType::SchedAct if value == u32::MAX => {
            Some("TC_ACT_UNSPEC".to_owned())
        }
        ProgType::SchedCls | ProgType::SchedAct => named(&TC),
        ProgType::CgroupSkb if value <= 1 => named(&[("drop", false), ("pass", true)]),
        ProgType::SocketFilter if value == 0 => Some("drop".to_owned()),
        ProgType::SocketFilter => return format!("keep {value} bytes"),
        _ => None,
    };
    name.unwrap_or_else(|| value.to_string())
}

/// The bytes of a packet that passes.
fn passes(prog_type: ProgType, verdict: u32, packet: &[u8]) -> Option<&[u8]> {
    let lives = |table: &[(&str, bool)]| table.get(verdict as usize).is_some_and(|row| row.1);
    let passes = match prog_type {
        ProgType::Xdp => lives(&XDP),
        ProgType::SchedCls | ProgType::SchedAct => verdict == u32::MAX || lives(&TC),
        ProgType::CgroupSkb => verdict & 1 == 1,
        // The filter counts from the network layer's header on.
        ProgType::SocketFilter if verdict > 0 => {
            let most = ETHERNET_HEADER.saturating_add(verdict as usize);
            return Some(&packet[..packet.len().min(most)]);
        }
        _ => false,
    };
    passes.then_some(packet)
}

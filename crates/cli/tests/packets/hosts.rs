//! Three hosts, one verdict: of the same packets the firewall lets the same ones pass, packet by
//! packet, on Linux, at a wire of the embedded kernel, and over a capture file.
//!
//! Every packet has its number in its source address, which the firewall does not look at: what comes
//! out behind it says which it was.

use std::io;
use std::time::{Duration, Instant};

use bombus_capture::{Format, LinkType, Packet as Captured, Reader, Resolution, Writer};
use bombus_embedded::{Embedded, Options, Port};
use bombus_kernel::{Kernel, Loaded, Tracer, load};

use crate::mix::{self, Fate, Mix, Packet};
use crate::net::{self, ENDS, Listener, Sender};
use crate::{BATCH, Hook, PATIENCE, SEED, Setup, add_rules, capture, count, firewall, packets};

/// Whether each packet passed, by number.
type Passed = Vec<bool>;

/// Says what passes there.
type Host = fn(Hook) -> Result<Passed, String>;

/// The mix, with numbers.
struct Numbered {
    mix: Mix,
    next: u32,
}

impl Numbered {
    fn new() -> Numbered {
        Numbered { mix: Mix::new(SEED), next: 0 }
    }
}

/// Bytes of a frame before its number: the destination, and two of the source.
const BEFORE: usize = 8;

impl Iterator for Numbered {
    type Item = Packet;

    fn next(&mut self) -> Option<Packet> {
        let mut packet = self.mix.next();
        packet.frame[BEFORE..BEFORE + 4].copy_from_slice(&self.next.to_be_bytes());
        self.next += 1;
        Some(packet)
    }
}

/// The number of a packet of the mix; `None` for what others send.
fn number(frame: &[u8]) -> Option<usize> {
    let (head, rest) = frame.split_at_checked(BEFORE)?;
    let ours = head[..6] == mix::MAC && head[6..] == [2, 0];
    let number = u32::from_be_bytes(*rest.first_chunk()?);
    ours.then_some(number as usize)
}

/// The hosts agree with each other, and with what has to be.
pub(crate) fn agree(hook: Hook) -> Result<(), String> {
    let expected: Passed =
        Numbered::new().take(packets() as usize).map(|packet| packet.fate == Fate::Pass).collect();
    let linux = bombus_linux::can_load_programs().is_ok();
    let hosts: [(&str, Host); 3] =
        [("capture", over_a_capture), ("embedded", at_a_wire), ("linux", on_linux)];
    for (name, run) in &hosts[..if linux { 3 } else { 2 }] {
        let start = Instant::now();
        // Each has a network of its own, and so a thread.
        let passed = std::thread::spawn({
            let run = *run;
            move || run(hook)
        });
        let passed = passed.join().map_err(|_| format!("{name} panicked"))??;
        let differs = passed.iter().zip(&expected).position(|(one, other)| one != other);
        if differs.is_some() || passed.len() != expected.len() {
            return Err(format!("{name} is the first to differ at packet {differs:?}"));
        }
        let (seconds, count) = (start.elapsed().as_secs_f64(), passed.len());
        let dropped = passed.iter().filter(|passed| !**passed).count();
        println!("{hook:?} on {name}: {count} packets, {dropped} dropped, {seconds:.1} s");
    }
    if !linux {
        println!("{hook:?} on linux skipped: programs cannot be loaded");
    }
    Ok(())
}

fn over_a_capture(hook: Hook) -> Result<Passed, String> {
    let text = |error: bombus_capture::CaptureError| error.to_string();
    let mut file = Vec::new();
    let link = LinkType::ETHERNET;
    let writer = Writer::new(&mut file, Format::Pcap, link, 65_535, Resolution::Nano);
    let mut writer = writer.map_err(text)?;
    for (packet, time) in Numbered::new().zip(0..packets()) {
        let data = &packet.frame[..];
        let captured = Captured { data, wire_len: data.len() as u32, time, link };
        writer.write(&captured).map_err(text)?;
    }
    writer.finish().map_err(text)?;

    let kernel = Embedded::new(Options { cpus: Some(2), ..Options::default() });
    let (_, program) = prepare(&kernel, hook)?;
    let mut runner = kernel.packet_runner(program).map_err(|error| error.to_string())?;
    let mut reader = Reader::new(&file[..]).map_err(text)?;
    let mut passed = vec![false; packets() as usize];
    while let Some(packet) = reader.next().map_err(text)? {
        let number = number(packet.data).ok_or("a packet without a number")?;
        let verdict = runner.run(packet.data).map_err(|error| error.to_string())?;
        passed[number] = capture::passes(hook, verdict.ok_or("the program was stopped")?)?;
    }
    Ok(passed)
}

fn prepare(kernel: &dyn Kernel, hook: Hook) -> Result<(Loaded, bombus_kernel::ProgFd), String> {
    let loaded = load(kernel, &firewall()?).map_err(|error| error.to_string())?;
    add_rules(kernel, &loaded)?;
    let program = loaded.program(hook.program()).ok_or("the program is not loaded")?;
    Ok((loaded, program))
}

/// Two TAP devices: what is sent at one passes the programs on its way to the other.
fn at_a_wire(hook: Hook) -> Result<Passed, String> {
    let text = |error: bombus_kernel::Error| error.to_string();
    net::enter_empty()?;
    let kernel = Embedded::new(Options { cpus: Some(2), ..Options::default() });
    let (outside, stack) = (Port::tap(ENDS.0).map_err(text)?, Port::tap(ENDS.1).map_err(text)?);
    net::set_up()?;
    let ifindex = kernel.add_wire(ENDS.1, stack, outside).map_err(text)?;
    let (loaded, program) = prepare(&kernel, hook)?;
    kernel.attach(program, &hook.attach_point(ifindex, None), 0).map_err(text)?;
    let from = kernel.interface_index(ENDS.0).map_err(text)?;
    through(from, ifindex, || {
        kernel.wait(&[], Some(Instant::now())).map_err(text)?;
        count(&kernel, &loaded, "verdicts", &1u32.to_ne_bytes())
    })
}

/// Two veth devices.
fn on_linux(hook: Hook) -> Result<Passed, String> {
    let text = |error: bombus_kernel::Error| error.to_string();
    let setup = Setup::new(hook)?;
    let from = setup.kernel.interface_index(ENDS.0).map_err(text)?;
    let to = setup.kernel.interface_index(ENDS.1).map_err(text)?;
    through(from, to, || Ok(setup.verdicts()?.1))
}

/// Sends all packets, and notes which come out. `dropped` lets the other side work and says how many
/// packets it dropped so far.
fn through(
    from: u32,
    to: u32,
    mut dropped: impl FnMut() -> Result<u64, String>,
) -> Result<Passed, String> {
    let failed = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    let sender = Sender::new(from).map_err(failed("a sender"))?;
    let listen = |ether_type| Listener::new(to, ether_type);
    let listeners = [mix::IPV4, mix::IPV6, mix::ARP, mix::JUNK].map(listen);
    let listeners: Result<Vec<Listener>, _> = listeners.into_iter().collect();
    let listeners = listeners.map_err(failed("a listener"))?;
    let mut passed = vec![false; packets() as usize];
    let (mut sent, mut came) = (0, 0);
    let mut mix = Numbered::new();
    let mut buffer = [0; 2048];
    while sent < packets() {
        let size = BATCH.min(packets() - sent);
        let frames: Vec<Vec<u8>> =
            mix.by_ref().take(size as usize).map(|packet| packet.frame).collect();
        sender.send(&frames).map_err(failed("send"))?;
        sent += size;
        let start = Instant::now();
        loop {
            let dropped = dropped()?;
            for listener in &listeners {
                while let Some(len) = listener.receive(&mut buffer).map_err(failed("listen"))? {
                    let Some(number) = number(&buffer[..len]) else { continue };
                    match passed.get_mut(number) {
                        Some(passed @ false) => *passed = true,
                        _ => return Err(format!("packet {number} came twice, or nobody sent it")),
                    }
                    came += 1;
                }
            }
            if came + dropped >= sent {
                break;
            }
            if start.elapsed() > PATIENCE {
                return Err(format!("of {sent} packets {came} came, {dropped} were dropped"));
            }
            std::thread::yield_now();
        }
    }
    // What was dropped does not come later.
    std::thread::sleep(Duration::from_millis(50));
    for listener in &listeners {
        while let Some(len) = listener.receive(&mut buffer).map_err(failed("listen"))? {
            if let Some(number) = number(&buffer[..len]) {
                return Err(format!("packet {number} came after all were counted"));
            }
        }
    }
    Ok(passed)
}

//! The firewall over a capture file: on the embedded kernel each packet gets the verdict that it has
//! to get, and the one that the running kernel's test run gives, where programs can be loaded.

use bombus_capture::{Format, LinkType, Packet as Captured, Reader, Resolution, Writer};
use bombus_embedded::{Embedded, Options};
use bombus_kernel::{Kernel, Loaded, ProgFd, TestRun, load};
use bombus_linux::Linux;

use crate::mix::{Fate, Mix};
use crate::{Hook, SEED, Tally, add_rules, firewall, packets, same, tally};

/// Bytes of an IPv4 header: without, test runs with a socket buffer fail.
const IPV4_HEADER: usize = 14 + 20;

/// A kernel with the firewall.
struct Side<'a> {
    kernel: &'a dyn Kernel,
    loaded: Loaded,
    program: ProgFd,
}

impl<'a> Side<'a> {
    fn new(kernel: &'a dyn Kernel, hook: Hook) -> Result<Side<'a>, String> {
        let loaded = load(kernel, &firewall()?).map_err(|error| error.to_string())?;
        add_rules(kernel, &loaded)?;
        let program = loaded.program(hook.program()).ok_or("the program is not loaded")?;
        Ok(Side { kernel, loaded, program })
    }
}

/// Whether the hook's verdict lets a packet pass.
pub(crate) fn passes(hook: Hook, verdict: u32) -> Result<bool, String> {
    match (hook, verdict) {
        (Hook::XdpNative | Hook::XdpGeneric, 1) | (Hook::Tcx | Hook::Clsact, 2) => Ok(false),
        (Hook::XdpNative | Hook::XdpGeneric, 2) | (Hook::Tcx | Hook::Clsact, 0) => Ok(true),
        (Hook::Cgroup, 0 | 1) => Ok(verdict == 1),
        _ => Err(format!("verdict {verdict}")),
    }
}

pub(crate) fn compare(hook: Hook) -> Result<(), String> {
    let text = |error: bombus_kernel::Error| error.to_string();
    let capture = |error: bombus_capture::CaptureError| error.to_string();
    let embedded = Embedded::new(Options { cpus: Some(2), ..Options::default() });
    let ours = Side::new(&embedded, hook)?;
    let mut runner = embedded.packet_runner(ours.program).map_err(text)?;
    let linux = bombus_linux::can_load_programs().is_ok().then(Linux::new).transpose();
    let linux = linux.map_err(text)?;
    let theirs = linux.as_ref().map(|linux| Side::new(linux, hook)).transpose()?;

    let (mut file, mut fates) = (Vec::new(), Vec::new());
    let mut writer =
        Writer::new(&mut file, Format::Pcap, LinkType::ETHERNET, 65_535, Resolution::Nano)
            .map_err(capture)?;
    let mut mix = Mix::new(SEED);
    for time in 0..packets() {
        let packet = mix.next();
        let (data, link) = (&packet.frame[..], LinkType::ETHERNET);
        let captured = Captured { data, wire_len: data.len() as u32, time, link };
        writer.write(&captured).map_err(capture)?;
        fates.push(packet.fate);
    }
    writer.finish().map_err(capture)?;

    let mut reader = Reader::new(&file[..]).map_err(capture)?;
    let (mut expected, mut asked) = (Tally::default(), 0);
    for fate in fates {
        let packet = reader.next().map_err(capture)?.ok_or("the capture is too short")?;
        let verdict = runner.run(packet.data).map_err(text)?.ok_or("the program was stopped")?;
        // A cgroup's program cannot tell IPv4 but by its first half byte.
        if hook != Hook::Cgroup {
            same("whether a packet passes", &passes(hook, verdict)?, &(fate == Fate::Pass))?;
        }
        expected.add(fate);
        same("the packet", &&*runner.packet(), &packet.data)?;
        let is_xdp = matches!(hook, Hook::XdpNative | Hook::XdpGeneric);
        if let Some(theirs) = &theirs
            && (is_xdp || packet.data.len() >= IPV4_HEADER)
        {
            let mut run = TestRun { data: packet.data.to_vec(), ..TestRun::default() };
            theirs.kernel.prog_run(theirs.program, &mut run).map_err(text)?;
            same("the verdict", &verdict, &run.retval)?;
            asked += 1;
        }
    }
    if hook != Hook::Cgroup {
        same("what the firewall counted", &tally(ours.kernel, &ours.loaded)?, &expected)?;
    }
    if let Some(theirs) = &theirs {
        let count = |side: &Side<'_>| {
            tally(side.kernel, &side.loaded).map(|tally| (tally.by_network, tally.by_port))
        };
        same("what both counted", &count(&ours)?, &count(theirs)?)?;
    }
    println!("capture {hook:?}: {} packets, {asked} on the running kernel as well", packets());
    Ok(())
}

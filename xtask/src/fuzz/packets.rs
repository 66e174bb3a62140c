//! `cargo xtask fuzz packets`: byte strings that mean nothing, as packets, as capture files and as
//! classic filters.
//!
//! As packets they are given to the firewall example, which has to come to a verdict without a
//! fault, and to programs that take numbers out of the packet and call every helper for packets with
//! them: these may be stopped where an argument makes no sense. As captures and filters they may be
//! refused, in words, or work. Nothing may panic.

use std::fmt::Write;
use std::time::Instant;

use bombus_capture::Reader;
use bombus_cbpf::{Filter, PacketAccess, SockFilter};
use bombus_embedded::{Embedded, Options, PacketRunner, Traffic};
use bombus_kernel::{Kernel, ProgFd, ProgLoad, load};
use bombus_platform::{HELPERS, Helper, HelperInfo, ProgType, may_call};

use super::random::Random;

/// Bytes of the longest packet.
const MOST: usize = 300;
/// The firewall.
const FIREWALL: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/bombus/examples/xdp_firewall.bpf.o");
/// Programs that call helpers, of each type.
const CALLERS: usize = 100;
/// Types of programs over packets, and where their contexts have the packet's start and end.
const TYPES: &[(ProgType, usize, usize)] =
    &[(ProgType::Xdp, 0, 4), (ProgType::SchedCls, 76, 80), (ProgType::CgroupSkb, 76, 80)];

/// Runs the command.
pub(super) fn run(args: &[String]) -> Result<(), String> {
    let (count, seed) = super::count_and_seed(args, "packets")?;
    all(count, seed)
}

/// What became of them.
#[derive(Default)]
struct Tally {
    finished: u64,
    stopped: u64,
    captured: u64,
    filters: u64,
}

fn all(count: u64, seed: u64) -> Result<(), String> {
    let text = |error: bombus_kernel::Error| error.to_string();
    let random = &mut Random::new(seed);
    let kernel = Embedded::new(Options { cpus: Some(2), ..Options::default() });
    // Programs that do whatever comes.
    let unproved = Embedded::new(Options { cpus: Some(2), unproved: true, ..Options::default() });
    let bytes = std::fs::read(FIREWALL).map_err(|error| format!("{FIREWALL}: {error}"))?;
    let object = bombus_object::open(&bytes).map_err(|error| error.to_string())?;
    let firewall = load(&kernel, &object).map_err(text)?;
    let programs = object.programs.iter().filter_map(|program| firewall.program(&program.name));
    let mut firewalls = programs
        .map(|program| kernel.packet_runner(program).map_err(text))
        .collect::<Result<Vec<_>, _>>()?;
    let mut callers = Vec::new();
    for &(prog_type, data, end) in TYPES {
        // Those with a helper that the embedded kernel does not have are refused.
        let loaded = std::iter::repeat_with(|| {
            let code = caller(random, prog_type, data, end);
            let insns = bombus_isa::asm(&code).map_err(|error| format!("{error}\n{code}"))?;
            let program = ProgLoad { prog_type, insns: &insns, ..ProgLoad::default() };
            unproved.prog_load(&program).map_err(text)
        });
        let loaded = loaded.take(100 * CALLERS).flatten().take(CALLERS);
        let before = callers.len();
        let runner = |program: ProgFd| unproved.packet_runner(program).map_err(text);
        callers.extend(loaded.map(runner).collect::<Result<Vec<_>, _>>()?);
        if callers.len() - before < CALLERS {
            return Err(format!("{prog_type:?}: too few programs are accepted"));
        }
    }
    let (mut tally, start) = (Tally::default(), Instant::now());
    for _ in 0..count {
        one(random, &mut firewalls, &mut callers, &mut tally)?;
    }
    println!(
        "{count} byte strings in {:.0} s: as packets {} runs came to an end and {} were stopped; {} \
         packets were captured; {} were filters",
        start.elapsed().as_secs_f64(),
        tally.finished,
        tally.stopped,
        tally.captured,
        tally.filters
    );
    Ok(())
}

fn one(
    random: &mut Random,
    firewalls: &mut [PacketRunner<'_>],
    callers: &mut [PacketRunner<'_>],
    tally: &mut Tally,
) -> Result<(), String> {
    let bytes = string(random);
    for firewall in firewalls {
        // Too short or too long ones are refused.
        match both_ways(firewall, &bytes)? {
            Some(Some(_)) => tally.finished += 1,
            Some(None) => return Err(format!("the firewall was stopped by {bytes:02x?}")),
            None => {}
        }
    }
    match both_ways(&mut callers[random.below(callers.len())], &bytes)? {
        Some(Some(_)) => tally.finished += 1,
        Some(None) => tally.stopped += 1,
        None => {}
    }
    captures(random, &bytes, tally)?;
    filters(random, &bytes, tally);
    Ok(())
}

/// Runs a program over a packet twice: copied, and where it is. Gives its value, unless the packet was
/// refused.
fn both_ways(runner: &mut PacketRunner<'_>, bytes: &[u8]) -> Result<Option<Option<u32>>, String> {
    let value = runner.run(bytes).ok();
    let copied = runner.packet().to_vec();
    let mut one = One { given: Some(bytes), value: None, left: bytes.to_vec() };
    let in_place = runner.run_over(&mut one).is_ok();
    if in_place != value.is_some() || one.value != value {
        return Err(format!("{value:?}, in place {:?}: {bytes:02x?}", one.value));
    }
    if in_place && one.left != copied {
        return Err(format!("{bytes:02x?} became {:02x?}", one.left));
    }
    Ok(value)
}

/// A single packet.
struct One<'a> {
    given: Option<&'a [u8]>,
    value: Option<Option<u32>>,
    left: Vec<u8>,
}

impl Traffic for One<'_> {
    type Failure = bombus_kernel::Error;

    fn next(&mut self) -> Result<Option<&[u8]>, Self::Failure> {
        Ok(self.given.take())
    }

    fn done(&mut self, value: Option<u32>, changed: Option<&[u8]>) -> Result<(), Self::Failure> {
        self.value = Some(value);
        self.left = changed.map_or_else(|| std::mem::take(&mut self.left), <[u8]>::to_vec);
        Ok(())
    }
}

/// Any bytes; half of them with headers that a packet can have.
fn string(random: &mut Random) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..random.below(MOST)).map(|_| random.next() as u8).collect();
    if random.once_in(2) {
        let version = random.pick(&[&[0x45][..], &[0x46], &[0x60], &[0x4f]]);
        let ethertype = random.pick(&[&[8, 0][..], &[0x86, 0xdd], &[0x81, 0], &[8, 6]]);
        let protocol = random.pick(&[&[6][..], &[17], &[1], &[58]]);
        for (at, header) in [(12, ethertype), (14, version), (23, protocol)] {
            if let Some(place) = bytes.get_mut(at..at + header.len()) {
                place.copy_from_slice(header);
            }
        }
    }
    bytes
}

/// A capture file's start, and the bytes in records, one of them damaged: there can be no more packets
/// than bytes.
fn captures(random: &mut Random, bytes: &[u8], tally: &mut Tally) -> Result<(), String> {
    const PCAP: &[u8] =
        &[0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 1, 0, 0, 0];
    const PCAPNG: &[u8] = &[
        0x0a, 0x0d, 0x0d, 0x0a, 28, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, 255, 255, 255,
        255, 255, 255, 255, 255, 28, 0, 0, 0, 1, 0, 0, 0, 20, 0, 0, 0, 1, 0, 0, 0, 0, 4, 0, 0, 20,
        0, 0, 0,
    ];
    let is_pcap = random.once_in(2);
    let mut file = if is_pcap { PCAP } else { PCAPNG }.to_vec();
    for data in bytes.chunks(4 * (1 + random.below(20))) {
        let (len, padded) = (data.len() as u32, data.len().next_multiple_of(4));
        let block = padded as u32 + 32;
        let words = [6, block, 0, 1, 2, len, len];
        let header = if is_pcap { &words[3..] } else { &words[..] };
        header.iter().for_each(|word| file.extend(word.to_le_bytes()));
        file.extend_from_slice(data);
        if !is_pcap {
            file.resize(file.len() + padded - data.len(), 0);
            file.extend(block.to_le_bytes());
        }
    }
    for _ in 0..random.below(4) {
        let at = random.below(file.len());
        file[at] = if random.once_in(2) { random.next() as u8 } else { file[at].wrapping_add(1) };
    }
    let Ok(mut reader) = Reader::new(&file[..]) else { return Ok(()) };
    let mut count = 0;
    while let Ok(Some(packet)) = reader.next() {
        count += 1;
        if count > file.len() || packet.data.len() > file.len() {
            return Err(format!("a capture has more than it has bytes: {file:02x?}"));
        }
    }
    tally.captured += count as u64;
    Ok(())
}

/// The bytes as a classic filter, and its conversion.
fn filters(random: &mut Random, bytes: &[u8], tally: &mut Tally) {
    /// Codes of instructions that are valid with most operands.
    const CODES: [u16; 12] =
        [0x00, 0x01, 0x04, 0x07, 0x15, 0x16, 0x20, 0x28, 0x30, 0x60, 0x87, 0xb1];
    let wild = random.once_in(4);
    let insns = bytes.as_chunks().0.iter().map(|chunk| {
        let insn = SockFilter::from_bytes(*chunk);
        let code = CODES[usize::from(insn.code) % CODES.len()];
        let (jt, jf, k) = (insn.jt % 4, insn.jf % 4, insn.k % 16);
        if wild { insn } else { SockFilter { code, jt, jf, k } }
    });
    let mut insns: Vec<SockFilter> = insns.collect();
    if !wild {
        insns.push(SockFilter { code: 0x16, jt: 0, jf: 0, k: 0 });
    }
    let Ok(filter) = Filter::new(&insns) else { return };
    tally.filters += 1;
    // A conversion may be too long; nothing else may be wrong with it.
    if let Ok(code) = filter.convert(PacketAccess::Memory { network_header: 14 }) {
        bombus_vm::Program::new(&code, 0, &mut |_| None).expect("a converted filter is a program");
    }
}

/// A program that takes numbers out of the packet and calls helpers with them.
fn caller(random: &mut Random, prog_type: ProgType, data: usize, end: usize) -> String {
    /// Numbers that are taken out.
    const NUMBERS: usize = 8;
    let is_for_packets = |helper: &&Helper| {
        let plain = |arg: &HelperInfo| {
            use HelperInfo::{Ctx, Mem, MemUninit, Scalar, Size};
            matches!(arg, Ctx | Mem | MemUninit | Scalar | Size)
        };
        // A signal would go to this very process.
        **helper != Helper::SendSignal
            && may_call(prog_type, helper.id())
            && helper.args().iter().all(plain)
    };
    let helpers: Vec<&Helper> = HELPERS.iter().filter(is_for_packets).collect();
    let mut code = format!(
        "r6 = r1\nr2 = *(u32 *)(r1 +{data})\nr3 = *(u32 *)(r1 +{end})\nr4 = r2\nr4 += {}\n\
         if r4 > r3 goto out\n",
        8 * NUMBERS
    );
    for number in 0..NUMBERS {
        let at = 8 * number;
        let _ = writeln!(code, "r5 = *(u64 *)(r2 +{at})\n*(u64 *)(r10 -{}) = r5", at + 8);
    }
    // What helpers are given to read and write.
    for at in (80..=480).step_by(8) {
        let _ = writeln!(code, "*(u64 *)(r10 -{at}) = r5");
    }
    for _ in 0..4 {
        let helper = helpers[random.below(helpers.len())];
        for (arg, register) in helper.args().iter().zip(1..) {
            let number = 8 * (1 + random.below(NUMBERS));
            let loaded = match random.below(4) {
                0 => format!("r{register} = *(u64 *)(r10 -{number})"),
                1 => format!("r{register} = *(u16 *)(r10 -{number})"),
                2 => format!("r{register} = *(u8 *)(r10 -{number})"),
                _ => format!("r{register} = {}", random.below(40)),
            };
            let _ = match arg {
                HelperInfo::Ctx => writeln!(code, "r{register} = r6"),
                HelperInfo::Mem | HelperInfo::MemUninit => {
                    writeln!(code, "r{register} = r10\nr{register} += -480")
                }
                _ => writeln!(code, "{loaded}"),
            };
        }
        let _ = writeln!(code, "call {}", helper.id());
    }
    code + "out:\nr0 = 0\nexit\n"
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_breaks() {
        super::all(5000, 3).unwrap();
    }
}

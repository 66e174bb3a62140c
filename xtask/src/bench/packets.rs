//! The firewall example over a capture of a million packets, on one CPU.
//!
//! The packets are those of the test-suite's mix, of which a third is dropped. Beside the firewall, with
//! its rules set, stand the same file read in blocks and nothing done with it, and a program that
//! passes everything: what the three differ by is what each part takes.

#[path = "../../../crates/cli/tests/packets/mix.rs"]
#[expect(dead_code, reason = "what only the test-suite asks for")]
mod mix;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use bombus_capture::{Format, LinkType, Packet, Resolution, Writer};
use bombus_isa::{Insn, Reg};
use bombus_platform::ProgType;
use bombus_spec::{Function, ObjectSpec, ProgramSpec, SpecInsn};

use super::measure::CpuTime;
use mix::{BLOCKED_NETWORK, BLOCKED_PORTS, Fate, Mix};

const PACKETS: u64 = 1_000_000;
const SEED: u64 = 0xb0b0_1234;
const ROUNDS: usize = 15;
/// To reach, in packets a second.
const BAR: f64 = 10e6;
/// The firewall.
const FIREWALL: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/bombus/examples/xdp_firewall.bpf.o");

pub(super) fn run(bombus: &Path) -> Result<(), String> {
    let dir = std::env::temp_dir().join(format!("bombus-packets-{}", std::process::id()));
    std::fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
    let done = measure(bombus, &dir);
    std::fs::remove_dir_all(&dir).map_err(|error| error.to_string())?;
    done
}

fn measure(bombus: &Path, dir: &Path) -> Result<(), String> {
    let (capture, passing) = (dir.join("mix.pcap"), dir.join("pass.bpf.o"));
    let dropped = write_mix(&capture)?;
    write_passing(&passing)?;
    let size = std::fs::metadata(&capture).map_err(|error| error.to_string())?.len();
    println!("packets: {PACKETS} packets, {size} bytes, {ROUNDS} rounds in turn on one CPU");
    let before = CpuTime::now()?;
    let mut rows = [
        ("the file, read in blocks", Vec::new()),
        ("a program that passes everything", Vec::new()),
        ("the firewall", Vec::new()),
    ];
    for _ in 0..ROUNDS {
        rows[0].1.push(read(&capture)?);
        rows[1].1.push(over(bombus, &capture, &passing, "pass", &[], 0)?);
        let rules = rules();
        rows[2].1.push(over(bombus, &capture, FIREWALL.as_ref(), "on_xdp", &rules, dropped)?);
    }
    println!("| what | best M packets/s | median | best ns a packet |");
    println!("|---|---|---|---|");
    for (name, seconds) in &mut rows {
        seconds.sort_by(f64::total_cmp);
        let rate = |seconds: f64| PACKETS as f64 / seconds / 1e6;
        let (best, median) = (seconds[0], seconds[ROUNDS / 2]);
        let time = best / PACKETS as f64 * 1e9;
        println!("| {name} | {:.2} | {:.2} | {time:.1} |", rate(best), rate(median));
    }
    let rate = PACKETS as f64 / rows[2].1[0];
    let met = if rate >= BAR { "met" } else { "not met" };
    println!("the bar, {:.0} M packets/s: {met}", BAR / 1e6);
    println!("stolen by the host: {:.1} % of the time", CpuTime::now()?.stolen_since(&before));
    Ok(())
}

/// Writes the capture; gives how many packets the firewall has to drop.
fn write_mix(path: &Path) -> Result<u64, String> {
    let text = |error: bombus_capture::CaptureError| error.to_string();
    let file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let link = LinkType::ETHERNET;
    let mut writer =
        Writer::new(file, Format::Pcap, link, 65_535, Resolution::Nano).map_err(text)?;
    let (mut mix, mut dropped) = (Mix::new(SEED), 0);
    for time in 0..PACKETS {
        let packet = mix.next();
        dropped += u64::from(packet.fate != Fate::Pass);
        let (data, wire_len) = (&packet.frame[..], packet.frame.len() as u32);
        writer.write(&Packet { data, wire_len, time, link }).map_err(text)?;
    }
    writer.finish().map_err(text)?;
    Ok(dropped)
}

/// Writes an object with a program that passes everything.
fn write_passing(path: &Path) -> Result<(), String> {
    const PASS: i32 = 2;
    let function = Function { name: "pass".into(), start: 0, args: 1, type_id: 0 };
    let program = ProgramSpec {
        name: "pass".into(),
        functions: vec![function],
        section: "xdp".into(),
        prog_type: ProgType::Xdp,
        insns: [Insn::mov_imm(Reg::R0, PASS), Insn::exit()].map(SpecInsn::from).into(),
        ..ProgramSpec::default()
    };
    let object = ObjectSpec { programs: vec![program], ..ObjectSpec::default() };
    let bytes = bombus_object::write(&object).map_err(|error| error.to_string())?;
    std::fs::write(path, bytes).map_err(|error| format!("{}: {error}", path.display()))
}

/// The rules of the mix, as `--set` takes them.
fn rules() -> Vec<String> {
    let (address, bits) = BLOCKED_NETWORK;
    let network = format!("blocked[{{\"bits\": {bits}, \"address\": {address:?}}}]=0");
    let ports = BLOCKED_PORTS.map(|port| format!("blocked_ports[{}]=0", port.to_be()));
    ports.into_iter().chain([network]).collect()
}

/// Seconds that reading takes, in blocks as large as those of the reader.
fn read(path: &Path) -> Result<f64, String> {
    let text = |error: std::io::Error| format!("{}: {error}", path.display());
    let (mut file, mut block) = (File::open(path).map_err(text)?, vec![0; 1 << 18]);
    let start = Instant::now();
    while file.read(&mut block).map_err(text)? > 0 {}
    Ok(start.elapsed().as_secs_f64())
}

/// Seconds that a program takes over the capture, as `bombus run` says. It must drop so many.
fn over(
    bombus: &Path,
    capture: &Path,
    object: &Path,
    program: &str,
    set: &[String],
    dropped: u64,
) -> Result<f64, String> {
    let mut command = Command::new("taskset");
    command.args(["-c", "0"]).arg(bombus).arg("run").arg(object);
    command.args(["--program", program, "--pcap"]).arg(capture);
    command.args(set.iter().flat_map(|set| ["--set", set]));
    let output = command.output().map_err(|error| format!("taskset: {error}"))?;
    let (said, table) =
        (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let row = table.lines().map(words).find(|row| row.first().is_some_and(|row| row == "XDP_DROP"));
    let count = row.and_then(|row| row.get(1)?.parse().ok()).unwrap_or(0);
    if count != dropped {
        return Err(format!("{program} dropped {count} packets, not {dropped}: {said}"));
    }
    // `N packets in S s, ...`
    let seconds = said.split_once(" packets in ").and_then(|(_, rest)| rest.split_once(" s,"));
    let seconds = seconds.and_then(|(seconds, _)| seconds.parse().ok());
    seconds.ok_or_else(|| format!("{program}: {said}"))
}

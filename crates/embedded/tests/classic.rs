//! Classic filters as programs of traffic control: the cases of `bombus-cbpf` have the same verdicts
//! on the embedded kernel and on Linux, whose verifier takes what the conversion makes.

use std::fs;
use std::path::Path;

use bombus_cbpf::{Filter, PacketAccess, parse};
use bombus_embedded::{Embedded, Options};
use bombus_kernel::{Kernel, ProgLoad, TestRun};
use bombus_linux::Linux;
use bombus_platform::ProgType;

/// What test runs take: an Ethernet header, with a whole header of IP if it says so.
fn is_taken(packet: &[u8]) -> bool {
    let len = match packet.get(12..14) {
        Some([8, 0]) => 34,
        Some([0x86, 0xdd]) => 54,
        Some(_) => 14,
        None => return false,
    };
    packet.len() >= len && packet.len() < 3000
}

fn bytes(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks_exact(2).map(byte).collect()
}

#[test]
fn verdicts() {
    let embedded = Embedded::new(Options { cpus: Some(2), ..Options::default() });
    let linux = bombus_linux::can_load_programs().and_then(|()| Linux::new());
    if let Err(error) = &linux {
        println!("filters on linux skipped: {error}");
    }
    let kernels: Vec<&dyn Kernel> =
        [Some(&embedded as &dyn Kernel), linux.as_ref().ok().map(|linux| linux as &dyn Kernel)]
            .into_iter()
            .flatten()
            .collect();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cbpf/tests/cases");
    let mut verdicts = 0;
    for entry in fs::read_dir(directory).expect("the cases").flatten() {
        let name = entry.file_name();
        let text = fs::read_to_string(entry.path()).expect("a case");
        let lines = || text.lines().filter(|line| !line.starts_with('#'));
        let filter: Vec<&str> = lines().filter(|line| !line.contains(['=', '!'])).collect();
        let Ok(filter) = Filter::new(&parse(&filter.join("\n")).unwrap()) else { continue };
        let insns = filter.convert(PacketAccess::SocketBuffer).unwrap();
        for kernel in &kernels {
            let load = ProgLoad {
                name: "filter",
                prog_type: ProgType::SchedCls,
                insns: &insns,
                license: "GPL",
                ..ProgLoad::default()
            };
            let program = kernel.prog_load(&load).unwrap_or_else(|error| {
                panic!("{name:?} on {}: {error:?}", kernel.features().name)
            });
            for line in lines().filter(|line| line.contains('=') && !line.contains("..")) {
                let (packet, verdict) = line.split_once('=').unwrap();
                let packet = bytes(packet);
                if !is_taken(&packet) {
                    continue;
                }
                let mut run = TestRun { data: packet, ..TestRun::default() };
                kernel.prog_run(program, &mut run).unwrap();
                let expected: u32 = verdict.trim().parse().unwrap();
                assert_eq!(run.retval, expected, "{name:?} on {}: {line}", kernel.features().name);
                verdicts += 1;
            }
        }
    }
    assert!(verdicts > 100, "{verdicts} verdicts");
    println!("{verdicts} verdicts");
}

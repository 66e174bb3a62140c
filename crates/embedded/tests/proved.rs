//! Machine code that leaves out what the verifier has proved does what is done when each access is
//! checked.

mod support;

use std::fs;
use std::path::Path;

use bombus_embedded::{Embedded, Options, Traffic};
use bombus_kernel::{Error, Kernel, MapFd, ProgFd, ProgLoad};
use bombus_platform::{MapType, ProgType};
use bombus_spec::MapSpec;
use libtest_mimic::{Arguments, Failed, Trial};

/// More than the interpreter makes before there is machine code.
const RUNS: u64 = 64;

struct Case {
    name: String,
    /// Whether it is run over packets.
    packets: bool,
    maps: Vec<MapSpec>,
    program: String,
    expected: String,
}

fn parse(text: &str) -> Vec<Case> {
    let case = |text: &str| {
        let (name, text) = text.split_once('\n').unwrap_or_default();
        let (program, expected) = text.split_once("\n=> ").unwrap_or_default();
        let (maps, code): (Vec<&str>, Vec<&str>) =
            program.lines().partition(|line| line.starts_with("map "));
        let (packets, code): (Vec<&str>, Vec<&str>) =
            code.into_iter().partition(|line| *line == "packets");
        Case {
            name: name.to_owned(),
            packets: !packets.is_empty(),
            maps: maps.into_iter().filter_map(map).collect(),
            program: code.join("\n"),
            expected: expected.trim().to_owned(),
        }
    };
    text.split("=== ").skip(1).map(case).collect()
}

fn map(line: &str) -> Option<MapSpec> {
    let [_, name, sizes @ ..] = &line.split_whitespace().collect::<Vec<_>>()[..] else {
        return None;
    };
    let mut sizes = sizes.iter().filter_map(|size| size.parse().ok());
    Some(MapSpec {
        name: "map".into(),
        map_type: MapType::ALL.iter().copied().find(|map_type| map_type.name() == *name)?,
        key_size: sizes.next()?,
        value_size: sizes.next()?,
        max_entries: sizes.next()?,
        ..MapSpec::default()
    })
}

/// A kernel with a program and its maps.
struct Loaded {
    kernel: Embedded,
    maps: Vec<MapFd>,
    program: ProgFd,
}

fn load(case: &Case, unproved: bool) -> Result<Loaded, Failed> {
    let kernel = Embedded::new(Options { seed: Some(1), cpus: Some(3), unproved, no_agents: true });
    let maps = case.maps.iter().map(|map| kernel.map_create(map)).collect::<Result<Vec<_>, _>>()?;
    let load = ProgLoad {
        name: "proved",
        prog_type: if case.packets { ProgType::Xdp } else { ProgType::RawTracepoint },
        insns: &support::assemble(&case.program, &maps)?,
        license: "GPL",
        ..ProgLoad::default()
    };
    let program = kernel.prog_load(&load)?;
    Ok(Loaded { kernel, maps, program })
}

fn check(case: &Case) -> Result<(), Failed> {
    let (proved, checked) = (load(case, false)?, load(case, true)?);
    let mut sum = 0u64;
    let runs = if case.packets { 0 } else { RUNS };
    if case.packets {
        let (values, others) = (over_packets(&proved)?, one_by_one(&checked)?);
        if values != others {
            return Err(format!("{values:?}, and {others:?} when checked").into());
        }
        sum = values.into_iter().map(u64::from).sum();
    }
    for run in 0..runs {
        let context = [run, 0].map(u64::to_le_bytes).concat();
        let given = |loaded: &Loaded| loaded.kernel.prog_test_run(loaded.program, &context);
        let (proved, checked) = (given(&proved)?, given(&checked)?);
        if proved != checked {
            return Err(format!("run {run}: {proved}, and {checked} when checked").into());
        }
        sum += u64::from(proved);
    }
    for (map, other) in proved.maps.iter().zip(&checked.maps) {
        let held = (proved.kernel.map_elements(*map)?, checked.kernel.map_elements(*other)?);
        if held.0 != held.1 {
            return Err(format!("{:?}, and {:?} when checked", held.0, held.1).into());
        }
    }
    match sum.to_string() == case.expected {
        true => Ok(()),
        false => Err(format!("{sum}, not {}", case.expected).into()),
    }
}

/// Packets of several lengths, which come again.
fn packets() -> Vec<Vec<u8>> {
    (0..8 * RUNS).map(|at| vec![at as u8; 14 + (at * at % 331) as usize]).collect()
}

/// Packets, and what the program gave for those that were taken.
struct Packets {
    given: Vec<Vec<u8>>,
    values: Vec<u32>,
}

impl Traffic for Packets {
    type Failure = Error;

    fn next(&mut self) -> Result<Option<&[u8]>, Error> {
        Ok(self.given.get(self.values.len()).map(Vec::as_slice))
    }

    fn done(&mut self, value: Option<u32>, _: Option<&[u8]>) -> Result<(), Error> {
        self.values.push(value.unwrap_or(u32::MAX));
        Ok(())
    }
}

/// Runs one after the other in one go.
fn over_packets(loaded: &Loaded) -> Result<Vec<u32>, Error> {
    let mut packets = Packets { given: packets(), values: Vec::new() };
    let mut runner = loaded.kernel.packet_runner(loaded.program)?;
    while runner.run_over(&mut packets)? {}
    Ok(packets.values)
}

/// Runs each of which begins anew.
fn one_by_one(loaded: &Loaded) -> Result<Vec<u32>, Error> {
    let mut runner = loaded.kernel.packet_runner(loaded.program)?;
    let run = |packet: Vec<u8>| Ok(runner.run(&packet)?.unwrap_or(u32::MAX));
    packets().into_iter().map(run).collect()
}

fn main() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/proved/programs.txt");
    let text = fs::read_to_string(path).expect("the cases");
    let trials = parse(&text)
        .into_iter()
        .map(|case| Trial::test(case.name.clone(), move || check(&case)))
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

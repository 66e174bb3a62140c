//! Programs over packets give on the embedded kernel what they give on Linux: value, packet and
//! context. See `packets/README.md`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use bombus_embedded::{Embedded, Options, Traffic};
use bombus_isa::asm;
use bombus_kernel::{Error, Kernel, ProgLoad, TestRun};
use bombus_linux::Linux;
use bombus_platform::ProgType;
use libtest_mimic::{Arguments, Failed, Trial};

/// One program.
#[derive(Clone)]
struct Case {
    name: String,
    prog_type: String,
    only_embedded: bool,
    values: Vec<String>,
    program: String,
    expected: Vec<String>,
}

fn parse(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("=== ") {
            cases.push(Case {
                name: name.to_owned(),
                prog_type: String::new(),
                only_embedded: false,
                values: vec!["0".to_owned()],
                program: String::new(),
                expected: Vec::new(),
            });
            continue;
        }
        let Some(case) = cases.last_mut() else { continue };
        if let Some(name) = line.strip_prefix("type ") {
            case.prog_type = name.to_owned();
        } else if let Some(values) = line.strip_prefix("values ") {
            case.values = values.split_whitespace().map(str::to_owned).collect();
        } else if line == "only embedded" {
            case.only_embedded = true;
        } else if let Some(code) = line.strip_prefix("    ") {
            case.program += code;
            case.program.push('\n');
        } else if line.contains(" => ") {
            case.expected.push(line.to_owned());
        }
    }
    cases
}

fn print(cases: &[Case]) -> String {
    let mut text = String::new();
    for case in cases {
        writeln!(text, "=== {}\ntype {}", case.name, case.prog_type).unwrap();
        if case.only_embedded {
            text.push_str("only embedded\n");
        }
        writeln!(text, "values {}", case.values.join(" ")).unwrap();
        case.program.lines().for_each(|line| writeln!(text, "    {line}").unwrap());
        case.expected.iter().for_each(|line| writeln!(text, "{line}").unwrap());
        text.push('\n');
    }
    text
}

/// The packets: Ethernet frames, well formed and not.
fn packets() -> Vec<Vec<u8>> {
    let ethernet = |destination: [u8; 6], protocol: u16| {
        [&destination[..], &[2, 0, 0, 0, 0, 1], &protocol.to_be_bytes()].concat()
    };
    let ipv4 = [
        0x45, 0, 0, 46, 0, 1, 0x40, 0, 64, 17, 0x26, 0xbd, 10, 0, 0, 1, 10, 0, 0, 2, 4, 0, 0, 53,
        0, 26, 0xab, 0xcd, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18,
    ];
    let mut ipv6 = vec![0x60, 0, 0, 0, 0, 20, 6, 64];
    ipv6.extend((0..32).map(|at| at * 7));
    ipv6.extend([0, 80, 4, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 0x10, 0, 0x12, 0x34, 0, 0]);
    let long: Vec<u8> = (0..1400u32).map(|at| ((at * 31) >> 3) as u8).collect();
    vec![
        [ethernet([0; 6], 0x0800), ipv4.to_vec()].concat(),
        [ethernet([0xff; 6], 0x86dd), ipv6].concat(),
        ethernet([2, 0, 0, 0, 0, 2], 0x0806),
        [ethernet([1, 0, 0x5e, 0, 0, 1], 0x8100), vec![0, 5, 8, 0], ipv4.to_vec()].concat(),
        [ethernet([2, 0, 0, 0, 0, 2], 0x0040), vec![0xff, 0xff, 3, 4, 5]].concat(),
        [ethernet([2, 0, 0, 0, 0, 2], 0x0030), long].concat(),
        [ethernet([2, 0, 0, 0, 0, 2], 0x0800), vec![0x45; 19]].concat(),
        [ethernet([2, 0, 0, 0, 0, 2], 0x86dd), vec![0x60; 39]].concat(),
        [ethernet([2, 0, 0, 0, 0, 2], 0x86dd), vec![0x60; 40]].concat(),
    ]
}

fn prog_type(name: &str) -> ProgType {
    ProgType::ALL.iter().copied().find(|each| each.name() == name).expect("a type of program")
}

fn error_name(error: &Error) -> String {
    let Error::Rejected { log, .. } = error else {
        return match error.errno() {
            Some(libc::EINVAL) => "EINVAL".to_owned(),
            Some(524) => "ENOTSUPP".to_owned(),
            Some(errno) => format!("error {errno}"),
            None => error.to_string(),
        };
    };
    let said = ["cannot use helper", "BPF_LD_"];
    let line = log.lines().rev().find(|line| said.iter().any(|words| line.contains(words)));
    // The kernel says elsewhere which instruction it was.
    let line = line.map(|line| match (line.find("BPF_LD_"), line.split_once("program")) {
        (Some(start), _) => &line[start..],
        (None, Some((_, rest))) => rest,
        (None, None) => line,
    });
    format!("rejected: {}", line.map_or(log.as_str(), str::trim))
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// What a program gives for one value.
fn run(kernel: &dyn Kernel, case: &Case, value: &str) -> Result<String, String> {
    let code = case.program.replace('$', value);
    let insns = asm(&code).map_err(|error| format!("{error}\n{code}"))?;
    let load = ProgLoad {
        name: "packets",
        prog_type: prog_type(&case.prog_type),
        insns: &insns,
        license: "GPL",
        ..ProgLoad::default()
    };
    let program = match kernel.prog_load(&load) {
        Ok(program) => program,
        Err(error) => return Ok(format!("{value} => {}", error_name(&error))),
    };
    let mut results = Vec::new();
    for packet in packets() {
        let ctx = match load.prog_type {
            // From offset 0 to the packet's end: nothing stands before it.
            ProgType::Xdp => [0, packet.len() as u32, 0, 0, 0, 0]
                .into_iter()
                .flat_map(u32::to_ne_bytes)
                .collect(),
            _ => {
                let mut ctx = vec![0; 192];
                (ctx[8], ctx[32], ctx[52]) = (3, 4, 5);
                ctx
            }
        };
        let mut run = TestRun { data: packet, ctx, ..TestRun::default() };
        results.push(match kernel.prog_run(program, &mut run) {
            Ok(()) => {
                let (data, ctx) = (hash(&run.data), hash(&run.ctx));
                format!("{:x}:{}:{data:08x}:{ctx:08x}", run.retval, run.data.len())
            }
            Err(error) => error_name(&error),
        });
    }
    Ok(format!("{value} => {}", results.join(" ")))
}

fn compare(kernel: &dyn Kernel, case: &Case) -> Result<(), Failed> {
    for (index, value) in case.values.iter().enumerate() {
        let given = run(kernel, case, value)?;
        let expected = case.expected.get(index).map_or("", String::as_str);
        if given != expected {
            return Err(format!("given    {given}\nexpected {expected}").into());
        }
    }
    Ok(())
}

/// Packets, and what became of those that were taken.
struct Packets<'a> {
    given: &'a [Vec<u8>],
    done: Vec<(Option<u32>, Vec<u8>)>,
}

impl Traffic for Packets<'_> {
    type Failure = Error;

    fn next(&mut self) -> Result<Option<&[u8]>, Error> {
        Ok(self.given.get(self.done.len()).map(Vec::as_slice))
    }

    fn done(&mut self, value: Option<u32>, changed: Option<&[u8]>) -> Result<(), Error> {
        let left = changed.unwrap_or(&self.given[self.done.len()]).to_vec();
        self.done.push((value, left));
        Ok(())
    }
}

/// A packet that stays where it is until the program changes it becomes what a copy becomes: in the
/// interpreter, and in machine code, which comes with the number of runs; alone, and among others.
fn compare_in_place(case: &Case) -> Result<(), Failed> {
    let kernel = Embedded::new(Options { seed: Some(1), cpus: Some(2), ..Options::default() });
    for value in &case.values {
        let insns = asm(&case.program.replace('$', value))?;
        let prog_type = prog_type(&case.prog_type);
        let load = ProgLoad { prog_type, insns: &insns, license: "GPL", ..ProgLoad::default() };
        let Ok(program) = kernel.prog_load(&load) else { continue };
        let Ok(mut runner) = kernel.packet_runner(program) else { continue };
        let packets = [packets(), packets(), packets()].concat();
        let mut copies = Vec::new();
        for packet in &packets {
            let copied = (runner.run(packet)?, runner.packet().to_vec());
            let mut one = Packets { given: std::slice::from_ref(packet), done: Vec::new() };
            runner.run_over(&mut one)?;
            if one.done[0] != copied {
                return Err(format!("{value}: {:02x?}\ncopied {copied:02x?}", one.done).into());
            }
            copies.push(copied);
        }
        let mut all = Packets { given: &packets, done: Vec::new() };
        while runner.run_over(&mut all)? {}
        if all.done != copies {
            return Err(format!("{value}: {:02x?}\ncopied {copies:02x?}", all.done).into());
        }
    }
    Ok(())
}

fn bless(path: &PathBuf, linux: &Linux) {
    let mut cases = parse(&fs::read_to_string(path).unwrap());
    for case in &mut cases {
        let embedded =
            Embedded::new(Options { seed: Some(1), cpus: Some(2), ..Options::default() });
        let kernel: &dyn Kernel = if case.only_embedded { &embedded } else { linux };
        case.expected = case.values.iter().map(|value| run(kernel, case, value).unwrap()).collect();
    }
    fs::write(path, print(&cases)).unwrap();
}

fn main() {
    let arguments = Arguments::from_args();
    let linux = bombus_linux::can_load_programs().err();
    if let Some(reason) = &linux {
        println!("packets on linux skipped: {reason}");
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/packets");
    let files = fs::read_dir(directory).expect("the directory of cases").flatten();
    let mut files: Vec<PathBuf> = files.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    let mut trials = Vec::new();
    for path in files {
        if std::env::var_os("BLESS").is_some() {
            bless(&path, &Linux::new().expect("the running kernel"));
        }
        let text = fs::read_to_string(&path).expect("a file of cases");
        for case in parse(&text) {
            let on_linux = case.clone();
            let skipped = linux.is_some() || case.only_embedded;
            trials.push(
                Trial::test(format!("linux {}", case.name), move || {
                    compare(&Linux::new().map_err(|error| error.to_string())?, &on_linux)
                })
                .with_ignored_flag(skipped),
            );
            let in_place = case.clone();
            trials.push(Trial::test(format!("in place {}", case.name), move || {
                compare_in_place(&in_place)
            }));
            trials.push(Trial::test(format!("embedded {}", case.name), move || {
                let options = Options { seed: Some(1), cpus: Some(2), ..Options::default() };
                compare(&Embedded::new(options), &case)
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

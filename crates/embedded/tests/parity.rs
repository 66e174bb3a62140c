//! The same operations on the embedded kernel and, where the machine allows, on Linux: results and
//! error numbers must be those that the file says, on both. See `parity/README.md`.

mod steps;
mod support;

use std::collections::BTreeSet;
use std::path::Path;

use bombus_embedded::{Embedded, Options};
use bombus_isa::{Imm64, Insn, Op};
use bombus_kernel::{Error, Kernel, MapFd, UpdateFlag, load};
use bombus_linux::Linux;
use bombus_platform::{AttachType, MapType, ProgType};
use bombus_spec::{Function, MapSpec, ObjectSpec, ProgramSpec, SourceLine, SpecInsn};
use libtest_mimic::{Arguments, Failed, Trial};
use steps::{Case, Step, parse};

/// A kernel and the maps of one case.
struct Bench<'a> {
    kernel: &'a dyn Kernel,
    maps: Vec<(MapFd, MapSpec)>,
}

fn error_name(error: &Error) -> String {
    let Some(errno) = error.errno() else { return format!("{error}") };
    let names = [
        (libc::ENOENT, "ENOENT"),
        (libc::E2BIG, "E2BIG"),
        (libc::EEXIST, "EEXIST"),
        (libc::EINVAL, "EINVAL"),
        (libc::EBADF, "EBADF"),
        (524, "ENOTSUPP"),
    ];
    let known = names.iter().find(|(number, _)| *number == errno);
    known.map_or_else(|| format!("error {errno}"), |(_, name)| (*name).to_owned())
}

/// `result`, or the name of the error.
fn shown<T>(result: Result<T, Error>, show: impl FnOnce(T) -> String) -> String {
    result.map_or_else(|error| error_name(&error), show)
}

fn ok<T>(result: Result<T, Error>) -> String {
    shown(result, |_| "ok".into())
}

/// A number as a key or value of some length.
fn bytes(word: &str, len: usize) -> Result<Vec<u8>, Failed> {
    let number: u64 = word.parse()?;
    let mut bytes = vec![0; len];
    bytes.iter_mut().zip(number.to_le_bytes()).for_each(|(to, from)| *to = from);
    Ok(bytes)
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

impl Bench<'_> {
    fn cpus(&self) -> usize {
        self.kernel.features().possible_cpus as usize
    }

    fn step(&mut self, step: &Step) -> Result<String, Failed> {
        let words: Vec<&str> = step.operation.split_whitespace().collect();
        if words[0] == "map" {
            return self.create(&words[1..]);
        }
        // Operations are on the last map; `0: update ...` is on the first.
        let (map, words) = match words[0].strip_suffix(':') {
            Some(index) => (index.parse()?, &words[1..]),
            None => (self.maps.len().saturating_sub(1), &words[..]),
        };
        if words[0] == "program" {
            return self.program(&step.body);
        }
        let (map, spec) = self.maps.get(map).ok_or("no such map")?;
        let key = |word: &str| bytes(word, spec.key_size as usize);
        Ok(match *words {
            ["update", at, value] => self.update(*map, spec, at, value, UpdateFlag::Any)?,
            ["update", at, value, "noexist"] => {
                self.update(*map, spec, at, value, UpdateFlag::NoExist)?
            }
            ["update", at, value, "exist"] => {
                self.update(*map, spec, at, value, UpdateFlag::Exist)?
            }
            ["lookup", at] => {
                shown(self.kernel.map_lookup(*map, &key(at)?), |value| self.value(spec, value))
            }
            ["delete", at] => shown(self.kernel.map_delete(*map, &key(at)?), |there| {
                if there { "ok".into() } else { "absent".into() }
            }),
            ["next"] => shown(self.kernel.map_next_key(*map, None), next),
            ["next", at] => shown(self.kernel.map_next_key(*map, Some(&key(at)?)), next),
            ["elements"] => shown(self.kernel.map_elements(*map), |elements| {
                let mut all: Vec<(u64, String)> = elements
                    .into_iter()
                    .map(|(key, value)| (number(&key), self.value(spec, Some(value))))
                    .collect();
                all.sort();
                let all: Vec<String> =
                    all.iter().map(|(key, value)| format!("{key}:{value}")).collect();
                all.join(" ")
            }),
            ["records"] => {
                let mut records = Vec::new();
                let mut each = |record: &[u8]| {
                    records.push(format!("{}:{}", record.len(), number(record)));
                };
                let count = self.kernel.ringbuf_consume(*map, &mut each);
                shown(count, |count| format!("{count} {}", records.join(" ")).trim_end().into())
            }
            _ => return Err(format!("unknown operation {}", step.operation).into()),
        })
    }

    fn create(&mut self, words: &[&str]) -> Result<String, Failed> {
        let [kind, key, value, entries, rest @ ..] = words else {
            return Err("map TYPE KEY-SIZE VALUE-SIZE ENTRIES [FLAGS]".into());
        };
        let map_type = MapType::ALL.iter().find(|map_type| map_type.name() == *kind);
        let spec = MapSpec {
            name: "parity".into(),
            map_type: *map_type.ok_or("unknown map type")?,
            key_size: key.parse()?,
            value_size: value.parse()?,
            max_entries: entries.parse()?,
            flags: rest.first().map_or(Ok(0), |flags| flags.parse())?,
            contents: Vec::new(),
            ..MapSpec::default()
        };
        let map = self.kernel.map_create(&spec);
        if let Ok(map) = map {
            self.maps.push((map, spec));
        }
        Ok(ok(map))
    }

    /// `value` is a number for all CPUs, or `first/others`.
    fn update(
        &self,
        map: MapFd,
        spec: &MapSpec,
        key: &str,
        value: &str,
        flag: UpdateFlag,
    ) -> Result<String, Failed> {
        let key = bytes(key, spec.key_size as usize)?;
        let size = spec.value_size as usize;
        let value = if spec.map_type.is_per_cpu() {
            let (first, others) = value.split_once('/').unwrap_or((value, value));
            let stride = size.next_multiple_of(8);
            let mut all = bytes(first, stride)?;
            for _ in 1..self.cpus() {
                all.extend(bytes(others, stride)?);
            }
            all
        } else {
            bytes(value, size)?
        };
        Ok(ok(self.kernel.map_update(map, &key, &value, flag)))
    }

    /// A value; those of all CPUs as their sum.
    fn value(&self, spec: &MapSpec, value: Option<Vec<u8>>) -> String {
        let Some(value) = value else { return "absent".into() };
        if !spec.map_type.is_per_cpu() {
            return number(&value).to_string();
        }
        let stride = (spec.value_size as usize).next_multiple_of(8);
        let sum: u64 = value.chunks(stride).map(number).sum();
        format!("sum {sum}")
    }

    /// Loads the program and runs it once; its value as a signed number.
    fn program(&mut self, text: &str) -> Result<String, Failed> {
        let maps: Vec<MapFd> = self.maps.iter().map(|(map, _)| *map).collect();
        let insns = support::assemble(text, &maps)?;
        let object = ObjectSpec {
            maps: Vec::new(),
            programs: vec![specification(&insns)],
            ..ObjectSpec::default()
        };
        let program = match load(self.kernel, &object) {
            Err(Error::Rejected { log, .. }) => return Err(log.into()),
            loaded => loaded?.program_at(0)?,
        };
        // A program array holds what was loaded under this number.
        if let Some((map, _)) =
            self.maps.iter().find(|(_, spec)| spec.map_type == MapType::ProgArray)
            && text.contains("store in slot 1")
        {
            let fd = program.0.to_ne_bytes();
            self.kernel.map_update(*map, &1u32.to_ne_bytes(), &fd, UpdateFlag::Any)?;
            return Ok("stored".into());
        }
        Ok((self.kernel.prog_test_run(program, &[])? as i32).to_string())
    }
}

/// A program with the functions that its own code names: Linux wants to know them.
fn specification(insns: &[Insn]) -> ProgramSpec {
    let entry = |(slot, op): (usize, Result<Op, _>)| match op.ok()? {
        Op::CallLocal { off } | Op::LoadImm64 { imm: Imm64::Func(off), .. } => {
            Some((slot as i64 + 1 + i64::from(off)) as u32)
        }
        _ => None,
    };
    let starts: BTreeSet<u32> = bombus_isa::ops(insns).filter_map(entry).chain([0]).collect();
    let slot = |(slot, insn): (usize, &Insn)| SpecInsn {
        line: starts.contains(&(slot as u32)).then_some(0),
        ..SpecInsn::from(*insn)
    };
    let insns = insns.iter().enumerate().map(slot).collect();
    let function = |start| Function { name: format!("at_{start}"), start, args: 1, type_id: 0 };
    ProgramSpec {
        name: "parity".into(),
        prog_type: ProgType::RawTracepoint,
        attach_type: AttachType::NONE,
        attach_to: None,
        insns,
        functions: starts.iter().copied().map(function).collect(),
        lines: vec![SourceLine {
            file: "parity".into(),
            line: 1,
            column: 1,
            text: "a case".into(),
        }],
        license: "GPL".into(),
        ..ProgramSpec::default()
    }
}

fn next(key: Option<Vec<u8>>) -> String {
    key.map_or_else(|| "none".into(), |key| number(&key).to_string())
}

fn check(kernel: &dyn Kernel, case: &Case) -> Result<(), Failed> {
    let mut bench = Bench { kernel, maps: Vec::new() };
    for step in &case.steps {
        let got = bench.step(step)?;
        if got != step.expected {
            let Step { line, operation, expected, .. } = step;
            return Err(format!("line {line}: {operation}: got {got}, expected {expected}").into());
        }
    }
    Ok(())
}

fn on_embedded(case: &Case) -> Result<(), Failed> {
    check(&Embedded::new(Options { seed: Some(1), cpus: None, ..Options::default() }), case)
}

fn on_linux(case: &Case) -> Result<(), Failed> {
    check(&Linux::new()?, case)
}

fn main() {
    let arguments = Arguments::from_args();
    let privileged = bombus_linux::can_load_programs();
    if let Err(error) = &privileged {
        println!("skipped: the cases on Linux: {error}");
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity");
    let mut trials = Vec::new();
    for entry in std::fs::read_dir(directory).expect("the directory of cases") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let topic = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("a file of cases");
        for case in parse(&text, "ok") {
            let case = std::sync::Arc::new(case);
            let (here, name) = (case.clone(), format!("{topic}::{}", case.name));
            trials.push(Trial::test(format!("embedded::{name}"), move || on_embedded(&here)));
            let on_linux = Trial::test(format!("linux::{name}"), move || on_linux(&case));
            trials.push(on_linux.with_ignored_flag(privileged.is_err()));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

//! Functions of the kernel as programs call them, and the maps that some of them work on. See
//! `kfuncs/README.md`.

mod steps;
mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bombus_btf::{Btf, Builder, Linkage, Member};
use bombus_embedded::{Embedded, Options};
use bombus_isa::Insn;
use bombus_kernel::{BtfFd, Command, Kernel, MapFd, MapTypes, ProgLoad, Tracer, UpdateFlag, Wake};
use bombus_platform::{MapType, ProgType};
use bombus_spec::MapSpec;
use libtest_mimic::{Arguments, Failed, Trial};
use steps::{Case, Step, parse};

/// How long a traced command may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs of each program: the last are in machine code.
const RUNS: usize = 40;

/// The functions that a text calls, by name.
fn functions(text: &str) -> Vec<&str> {
    let mut names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.split_once("call ").map(|(_, name)| name.trim()))
        .filter(|name| name.starts_with("bpf_"))
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Types with these functions: the number of each.
fn types_with(names: &[&str]) -> (Arc<Btf>, Vec<u32>) {
    let mut types = Builder::new();
    let int = types.int("int", 4, true);
    let proto = types.func_proto(int, &[]);
    let ids = names.iter().map(|name| types.func(name, proto, Linkage::Static).0).collect();
    (Arc::new(Btf::parse(types.finish()).expect("types that were just made")), ids)
}

/// The types of a program with the structures that cases know as `THING` and `typed`, and their numbers.
fn types() -> (Vec<u8>, u32, u32) {
    let mut types = Builder::new();
    let word = types.int("long", 8, true);
    let half = types.int("int", 4, false);
    let opaque = |types: &mut Builder, name: &str, words: u32| {
        let member = |index| Member { ty: word, bit_offset: index * 64, ..Member::default() };
        let members: Vec<Member<'_>> = (0..words).map(member).collect();
        types.structure(name, words * 8, &members)
    };
    let list = opaque(&mut types, "bpf_list_node", 3);
    let tree = opaque(&mut types, "bpf_rb_node", 4);
    let count = Member { ty: half, ..Member::default() };
    let count = types.structure("bpf_refcount", 4, &[count]);
    let member =
        |name, ty, offset: u32| Member { name, ty, bit_offset: offset * 8, ..Member::default() };
    let members = [
        member("list", list, 0),
        member("tree", tree, 24),
        member("count", count, 56),
        member("value", word, 64),
    ];
    let thing = types.structure("thing", 72, &members);
    let (timer, work) = (opaque(&mut types, "bpf_timer", 2), opaque(&mut types, "bpf_wq", 2));
    let members = [member("timer", timer, 0), member("work", work, 16), member("value", word, 32)];
    let typed = types.structure("typed", TYPED_SIZE, &members);
    (types.finish(), thing.0, typed.0)
}

/// Bytes of the values of `typed` maps.
const TYPED_SIZE: u32 = 40;
/// Where their number is.
const TYPED_NUMBER: usize = 32;

struct Bench {
    kernel: Embedded,
    maps: Vec<(MapFd, MapSpec)>,
    inner: Option<MapFd>,
    functions: Vec<(String, u32)>,
    types: BtfFd,
    thing: u32,
    typed: u32,
    /// Of the next map.
    value_type: u32,
}

impl Bench {
    fn create(&mut self, words: &[&str]) -> Result<MapFd, Failed> {
        let [kind, key, value, entries, rest @ ..] = words else {
            return Err("map TYPE KEY-SIZE VALUE-SIZE ENTRIES [FLAGS]".into());
        };
        let map_type = MapType::ALL.iter().find(|map_type| map_type.name() == *kind);
        let spec = MapSpec {
            name: "case".into(),
            map_type: *map_type.ok_or("unknown map type")?,
            key_size: key.parse()?,
            value_size: value.parse()?,
            max_entries: entries.parse()?,
            flags: rest.first().map_or(Ok(0), |flags| flags.parse())?,
            value_type: std::mem::take(&mut self.value_type),
            ..MapSpec::default()
        };
        let btf = (spec.value_type != 0).then_some(self.types);
        let types = MapTypes { inner: self.inner.take(), btf, ..MapTypes::default() };
        let map = self.kernel.map_create_typed(&spec, types)?;
        self.maps.push((map, spec));
        Ok(map)
    }

    fn step(&mut self, step: &Step) -> Result<(), Failed> {
        let words: Vec<&str> = step.operation.split_whitespace().collect();
        match *words {
            ["map", ref rest @ ..] => self.create(rest).map(drop),
            ["typed", kind, entries] => {
                self.value_type = self.typed;
                self.create(&[kind, "4", &TYPED_SIZE.to_string(), entries]).map(drop)
            }
            ["inner", ref rest @ ..] => {
                let map = self.create(rest)?;
                self.inner = Some(map);
                Ok(())
            }
            ["update", map, key, value] => {
                let (map, spec) = &self.maps[map.parse::<usize>()?];
                let number: u64 = match value.strip_prefix("map") {
                    Some(map) => self.maps[map.parse::<usize>()?].0.0.into(),
                    None => value.parse()?,
                };
                let mut value = number.to_le_bytes().to_vec();
                value.resize(spec.value_size as usize, 0);
                let key = key.parse::<u32>()?.to_le_bytes();
                Ok(self.kernel.map_update(*map, &key, &value, UpdateFlag::Any)?)
            }
            ["record", map, number] => {
                let (map, _) = &self.maps[map.parse::<usize>()?];
                let record = number.parse::<u64>()?.to_le_bytes();
                Ok(self.kernel.user_ringbuf_submit(*map, &record)?)
            }
            ["program"] => self.program(&step.body, &step.expected, RUNS),
            ["once"] => self.program(&step.body, &step.expected, 1),
            ["delete", map, key] => {
                let key = key.parse::<u32>()?.to_le_bytes();
                match self.kernel.map_delete(self.maps[map.parse::<usize>()?].0, &key)? {
                    true => Ok(()),
                    false => Err("there is no such element".into()),
                }
            }
            ["number", map, key] => {
                let (map, key) = (self.maps[map.parse::<usize>()?].0, key.parse::<u32>()?);
                let value = self.kernel.map_lookup(map, &key.to_le_bytes())?;
                let value = value.ok_or("there is no such element")?;
                let (fields, number) = value.split_at(TYPED_NUMBER);
                let number = number.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
                match number.to_string() == step.expected && fields.iter().all(|byte| *byte == 0) {
                    true => Ok(()),
                    false => Err(format!("{number}, and {fields:?}").into()),
                }
            }
            ["wait", milliseconds] => {
                let time = Duration::from_millis(milliseconds.parse()?);
                match self.kernel.wait(&[], Some(Instant::now() + time))? {
                    Wake::Deadline => Ok(()),
                    other => Err(format!("{other:?}").into()),
                }
            }
            ["traced", ref argv @ ..] => {
                self.kernel.spawn(&Command { argv: argv.iter().map(Into::into).collect() })?;
                self.kernel.resume()?;
                match self.kernel.wait(&[], Some(Instant::now() + PATIENCE))? {
                    Wake::TargetExited { status: Some(0) } => Ok(()),
                    other => Err(format!("{other:?}").into()),
                }
            }
            _ => Err(format!("unknown operation {}", step.operation).into()),
        }
    }

    fn assemble(&self, text: &str) -> Result<Vec<Insn>, Failed> {
        let mut text = text.replace("THING", &self.thing.to_string());
        for (name, id) in &self.functions {
            let (from, to) = (format!("call {name}\n"), format!("call kernel-function#{id}\n"));
            text = text.replace(&from, &to);
        }
        let maps: Vec<MapFd> = self.maps.iter().map(|(map, _)| *map).collect();
        Ok(support::assemble(&text, &maps)?)
    }

    fn program(&self, text: &str, expected: &str, runs: usize) -> Result<(), Failed> {
        let insns = self.assemble(text)?;
        let program = self.kernel.prog_load(&ProgLoad {
            name: "case",
            prog_type: ProgType::Syscall,
            insns: &insns,
            license: "GPL",
            btf: Some(self.types),
            ..ProgLoad::default()
        })?;
        let stopped = |kernel: &Embedded| {
            let summary = kernel.summary();
            summary.last().map_or(String::new(), |line| line.clone())
        };
        for run in 0..runs {
            let before = stopped(&self.kernel);
            let value = self.kernel.prog_test_run(program, &[])? as i32;
            let now = stopped(&self.kernel);
            let is_expected = match expected.strip_prefix("stopped: ") {
                Some(why) => now != before && now.contains(why),
                None => now == before && value.to_string() == expected,
            };
            if !is_expected {
                return Err(format!("run {run}: {value} {now}, not {expected}").into());
            }
        }
        Ok(())
    }
}

fn check(case: &Case) -> Result<(), Failed> {
    let text: String = case.steps.iter().map(|step| step.body.as_str()).collect();
    let names = functions(&text);
    let (kernel_types, ids) = types_with(&names);
    let options = Options { seed: Some(1), unproved: true, ..Options::default() };
    let kernel = Embedded::new(options);
    kernel.set_types(kernel_types);
    let (own, thing, typed) = types();
    let types = kernel.btf_load(&own)?;
    let functions = names.iter().map(|name| (*name).to_owned()).zip(ids).collect();
    let (maps, inner, value_type) = (Vec::new(), None, 0);
    let mut bench = Bench { kernel, maps, inner, functions, types, thing, typed, value_type };
    for step in &case.steps {
        bench.step(step).map_err(|error| {
            let why = error.message().unwrap_or_default();
            format!("line {}: {}: {why}", step.line, step.operation)
        })?;
    }
    Ok(())
}

fn main() {
    let mut arguments = Arguments::from_args();
    // A tracer waits for all children of its process.
    arguments.test_threads = Some(1);
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kfuncs");
    let mut trials = Vec::new();
    for entry in std::fs::read_dir(directory).expect("the directory of cases") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let topic = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("a file of cases");
        for case in parse(&text, "") {
            let name = format!("{topic}::{}", case.name);
            trials.push(Trial::test(name, move || check(&case)));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}

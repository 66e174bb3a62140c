//! Sessions over a kernel that only remembers: what is loaded, attached, printed, in which order.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::Instant;

use bombus_kernel::{
    AttachPoint, BtfFd, Command, Error, Features, Kernel, KernelVersion, LinkFd, MapFd, Period,
    ProgFd, ProgLoad, Result, Tracer, UpdateFlag, Wake,
};
use bombus_platform::{AttachType, Helper, MapType, ProgType};
use bombus_report::Format;
use bombus_runtime::{Buffering, Ended, Options, Outcome, Output, run};
use bombus_script::plan::{
    Action, FAILURE_BYTES, Failure, FailureKind, Failures, Globals, MapPlan, MapValue, Place, Plan,
    PrintfKind, Probe, Slot, Trigger,
};
use bombus_script::types::Type;
use bombus_spec::{MapSpec, ObjectSpec, ProgramSpec};

type Elements = BTreeMap<Vec<u8>, Vec<u8>>;
type Behaviour = Box<dyn Fn(&Fake)>;

/// A kernel whose programs are closures.
struct Fake {
    features: Features,
    maps: RefCell<Vec<Elements>>,
    records: RefCell<Vec<Vec<u8>>>,
    programs: RefCell<Vec<String>>,
    behaviours: BTreeMap<&'static str, Behaviour>,
    wakes: RefCell<Vec<(Wake, Option<&'static str>)>>,
    log: RefCell<Vec<String>>,
}

const CPUS: u32 = 2;

impl Fake {
    fn new() -> Fake {
        let version = KernelVersion { major: 6, minor: 1, patch: 0 };
        Fake {
            features: Features {
                name: "fake",
                version,
                possible_cpus: CPUS,
                isa: 3,
                perf_link: true,
                for_each_map_elem: true,
                bpf_loop: true,
                tp_btf: true,
                syscall_dispatch_above: None,
            },
            maps: RefCell::default(),
            records: RefCell::default(),
            programs: RefCell::default(),
            behaviours: BTreeMap::new(),
            wakes: RefCell::default(),
            log: RefCell::default(),
        }
    }

    fn on(mut self, program: &'static str, behaviour: impl Fn(&Fake) + 'static) -> Fake {
        self.behaviours.insert(program, Box::new(behaviour));
        self
    }

    /// What `wait` gives in turn, each with the program that runs meanwhile.
    fn wakes(self, wakes: &[(Wake, Option<&'static str>)]) -> Fake {
        *self.wakes.borrow_mut() = wakes.iter().rev().copied().collect();
        self
    }

    fn log(&self, line: impl Into<String>) {
        self.log.borrow_mut().push(line.into());
    }

    fn send(&self, words: &[u64]) {
        self.records.borrow_mut().push(words.iter().flat_map(|w| w.to_le_bytes()).collect());
    }

    fn put(&self, map: usize, key: &[u8], words: &[u64]) {
        let value = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.maps.borrow_mut()[map].insert(key.to_vec(), value);
    }

    fn execute(&self, program: &str) {
        if let Some(behaviour) = self.behaviours.get(program) {
            behaviour(self);
        }
    }
}

impl Kernel for Fake {
    fn features(&self) -> &Features {
        &self.features
    }

    fn map_create(&self, spec: &MapSpec) -> Result<MapFd> {
        let mut elements = Elements::new();
        if spec.map_type == MapType::Array || spec.map_type == MapType::PercpuArray {
            let cpus = if spec.map_type.is_per_cpu() { CPUS } else { 1 };
            elements.insert(vec![0; 4], vec![0; (spec.value_size * cpus) as usize]);
        }
        self.maps.borrow_mut().push(elements);
        Ok(MapFd(self.maps.borrow().len() as u32 - 1))
    }

    fn map_lookup(&self, map: MapFd, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.maps.borrow()[map.0 as usize].get(key).cloned())
    }

    fn map_update(&self, map: MapFd, key: &[u8], value: &[u8], flag: UpdateFlag) -> Result<()> {
        let elements = &mut self.maps.borrow_mut()[map.0 as usize];
        if flag == UpdateFlag::Exist && !elements.contains_key(key) {
            return Err(Error::os("update", libc::ENOENT));
        }
        elements.insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn map_delete(&self, map: MapFd, key: &[u8]) -> Result<bool> {
        Ok(self.maps.borrow_mut()[map.0 as usize].remove(key).is_some())
    }

    fn map_next_key(&self, map: MapFd, key: Option<&[u8]>) -> Result<Option<Vec<u8>>> {
        let maps = self.maps.borrow();
        let mut keys = maps[map.0 as usize].keys();
        Ok(match key {
            None => keys.next(),
            Some(key) => keys.find(|other| other.as_slice() > key),
        }
        .cloned())
    }

    fn ringbuf_consume(&self, _: MapFd, each: &mut dyn FnMut(&[u8])) -> Result<usize> {
        let records = self.records.take();
        records.iter().for_each(|record| each(record));
        Ok(records.len())
    }

    fn btf_load(&self, _: &[u8]) -> Result<BtfFd> {
        Ok(BtfFd(0))
    }

    fn prog_load(&self, program: &ProgLoad<'_>) -> Result<ProgFd> {
        self.programs.borrow_mut().push(program.name.to_owned());
        Ok(ProgFd(self.programs.borrow().len() as u32 - 1))
    }

    fn prog_test_run(&self, program: ProgFd, _: &[u8]) -> Result<u32> {
        let name = self.programs.borrow()[program.0 as usize].clone();
        self.log(format!("run {name}"));
        self.execute(&name);
        Ok(0)
    }

    fn attach(&self, program: ProgFd, at: &AttachPoint, cookie: u64) -> Result<LinkFd> {
        let name = self.programs.borrow()[program.0 as usize].clone();
        if name == "refused" {
            return Err(Error::os("attach refused", libc::EINVAL));
        }
        let kind = if matches!(at, AttachPoint::Uprobe { .. }) { "uprobe" } else { "other" };
        self.log(format!("attach {name} {kind} {cookie}"));
        Ok(LinkFd(0))
    }

    fn detach_all(&self) {
        self.log("detach");
    }
}

impl Tracer for Fake {
    fn spawn(&self, command: &Command) -> Result<u32> {
        self.log(format!("spawn {}", command.argv[0].display()));
        Ok(42)
    }

    fn follow(&self, pid: u32) -> Result<()> {
        self.log(format!("follow {pid}"));
        Ok(())
    }

    fn release(&self, before_exec: &mut dyn FnMut(u32) -> Result<()>) -> Result<()> {
        before_exec(42)?;
        self.log("release");
        Ok(())
    }

    fn watch_signals(&self, _: BorrowedFd<'_>) -> Result<()> {
        Ok(())
    }

    fn wait(&self, _: &[MapFd], _: Option<Instant>) -> Result<Wake> {
        let (wake, program) = self.wakes.borrow_mut().pop().expect("the session ended before");
        program.into_iter().for_each(|program| self.execute(program));
        Ok(wake)
    }
}

fn program(name: &str) -> ProgramSpec {
    ProgramSpec {
        name: name.into(),
        prog_type: ProgType::RawTracepoint,
        attach_type: AttachType::NONE,
        attach_to: None,
        insns: Vec::new(),
        functions: Vec::new(),
        lines: Vec::new(),
        license: "GPL".into(),
        ..ProgramSpec::default()
    }
}

fn map(name: &str, map_type: MapType, value_size: u32) -> MapSpec {
    MapSpec {
        name: name.into(),
        map_type,
        key_size: if map_type.is_per_cpu() || map_type == MapType::Array { 4 } else { 8 },
        value_size,
        max_entries: 4,
        flags: 0,
        contents: Vec::new(),
        ..MapSpec::default()
    }
}

/// The maps of [`plan`].
const EVENTS: usize = 0;
const FAILURES: usize = 1;
const GLOBALS: usize = 2;
const COUNT: usize = 3;
const KEYED: usize = 4;
const TREE: usize = 5;

/// Actions of [`plan`].
const EXIT: u64 = 0;
const PRINTF: u64 = 1;
const PRINT_COUNT: u64 = 2;
const CLEAR_COUNT: u64 = 3;
const ZERO_COUNT: u64 = 4;
const WARN: u64 = 5;
const PRINT_KEYED: u64 = 6;
const CLEAR_KEYED: u64 = 7;
const PRINT_ELEMENT: u64 = 8;
const JOIN: u64 = 9;

/// A line of the script.
fn line(line: u32) -> Place {
    Place { file: "f".into(), line, end_line: line, ..Place::default() }
}

/// A plan with probes that run these programs.
fn plan(probes: &[(&str, Trigger)]) -> Plan {
    Plan {
        object: ObjectSpec {
            maps: vec![
                map("events", MapType::Ringbuf, 0),
                map("failures", MapType::Array, 3 * FAILURE_BYTES),
                map("globals", MapType::Array, 16),
                map("count", MapType::PercpuArray, 16),
                map("keyed", MapType::Hash, 8),
                map("tree", MapType::Hash, 1),
            ],
            programs: probes.iter().map(|(name, _)| program(name)).collect(),
            ..ObjectSpec::default()
        },
        probes: probes
            .iter()
            .enumerate()
            .map(|(index, (name, trigger))| Probe {
                name: (*name).into(),
                program: index as u32,
                trigger: trigger.clone(),
                cookie: index as u64,
            })
            .collect(),
        probe_count: probes.len(),
        maps: vec![
            MapPlan {
                name: "@b".into(),
                index: COUNT as u32,
                key: None,
                value: MapValue::Count,
                present_at: Some(8),
            },
            MapPlan {
                name: "@a".into(),
                index: KEYED as u32,
                key: Some(Type::I64),
                value: MapValue::Plain(Type::I64),
                present_at: None,
            },
        ],
        actions: vec![
            Action::Exit,
            Action::Printf {
                format: "n=%d\n".into(),
                args: vec![Slot { offset: 8, ty: Type::I64 }],
                kind: PrintfKind::Out,
            },
            Action::PrintMap { map: 0 },
            Action::Clear { map: 0 },
            Action::Zero { map: 0 },
            Action::Printf { format: "hm\n".into(), args: Vec::new(), kind: PrintfKind::Warning },
            Action::PrintMap { map: 1 },
            Action::Clear { map: 1 },
            Action::PrintElement { map: 1 },
            Action::Join { separator: "+".into(), max: 4, size: 8 },
        ],
        places: (0..=WARN).map(|action| line(action as u32)).collect(),
        events: Some(EVENTS as u32),
        failures: Some(Failures {
            map: FAILURES as u32,
            counted: vec![
                Failure { what: FailureKind::LostRecord, place: None },
                Failure {
                    what: FailureKind::Runtime { message: "no".into() },
                    place: Some(line(7)),
                },
                Failure {
                    what: FailureKind::Helper { helper: Helper::MapUpdateElem },
                    place: Some(line(8)),
                },
            ],
        }),
        globals: Some(Globals { map: GLOBALS as u32, start_ns: Some(0), cpid: Some(8) }),
        ..Plan::default()
    }
}

#[derive(Clone, Default)]
struct Sink(Rc<RefCell<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.borrow()).into_owned()
    }
}

struct Done {
    outcome: Result<Outcome>,
    out: String,
    err: String,
    log: String,
}

fn session(fake: &Fake, plan: &Plan, options: &Options) -> Done {
    let (out, err) = (Sink::default(), Sink::default());
    let mut output = Output::new(Format::Text, Buffering::Line, out.clone(), err.clone());
    let outcome = run(fake, plan, options, &mut output);
    output.finish().expect("memory can be written");
    let log = fake.log.borrow().join(", ");
    Done { outcome, out: out.text(), err: err.text(), log }
}

fn uprobe() -> Trigger {
    let path = "/bin/true".into();
    Trigger::Attach(AttachPoint::Uprobe { path, offset: 0, on_return: false, pid: None })
}

fn timer() -> Trigger {
    Trigger::Attach(AttachPoint::Timer { period: Period::Hertz(1), every_cpu: false })
}

#[test]
fn the_order_of_things() {
    let fake = Fake::new()
        .on("begin", |fake| fake.send(&[PRINTF, 1]))
        .on("tick", |fake| fake.send(&[PRINTF, 2]))
        .on("stop", |fake| fake.send(&[EXIT, 3]))
        .on("end", |fake| fake.send(&[PRINTF, 4]))
        .wakes(&[(Wake::Records, Some("tick")), (Wake::Records, Some("stop"))]);
    let plan = plan(&[
        ("begin", Trigger::Begin),
        ("u1", uprobe()),
        ("tick", timer()),
        ("u2", uprobe()),
        ("end", Trigger::End),
    ]);
    let done = session(&fake, &plan, &Options::default());
    assert_eq!(done.outcome.expect("it works").ended, Ended::Exit(3));
    assert_eq!(
        done.log,
        "run begin, attach tick other 2, attach u2 uprobe 3, attach u1 uprobe 1, release, \
         detach, run end, detach"
    );
    assert_eq!(done.out, "n=1\nn=2\nn=4\n\n\n");
    assert_eq!(done.err, "Attached 5 probes\n");
}

#[test]
fn with_begin_and_end_only_there_is_nothing_to_wait_for() {
    let fake = Fake::new().on("begin", |fake| fake.send(&[PRINTF, 1]));
    let plan = plan(&[("begin", Trigger::Begin), ("end", Trigger::End)]);
    let options = Options { quiet: true, notify: true, ..Options::default() };
    let done = session(&fake, &plan, &options);
    assert_eq!(done.outcome.expect("it works").ended, Ended::Done);
    assert_eq!(done.out, "__BPFTRACE_NOTIFY_PROBES_ATTACHED\nn=1\n\n\n");
    assert_eq!(done.err, "");
}

#[test]
fn a_command_ends_the_session_and_globals_and_tree_are_set() {
    let fake = Fake::new().wakes(&[(Wake::TargetExited { status: Some(256) }, None)]);
    let mut plan = plan(&[("tick", timer())]);
    plan.tree = Some(TREE as u32);
    let command = Some(Command { argv: vec!["ls".into()] });
    let done = session(&fake, &plan, &Options { command, quiet: true, ..Options::default() });
    assert_eq!(done.outcome.expect("it works").ended, Ended::Target(Some(256)));
    assert_eq!(done.log, "spawn ls, attach tick other 0, release, detach, detach");
    let maps = fake.maps.borrow();
    assert_eq!(maps[TREE].get(&42u32.to_le_bytes()[..]), Some(&vec![1]));
    let globals = &maps[GLOBALS][&vec![0; 4]];
    assert_ne!(globals[..8], [0; 8], "the time of the start");
    assert_eq!(globals[8..], 42u64.to_le_bytes());
}

#[test]
fn a_failure_leaves_nothing_attached() {
    let plan = plan(&[("tick", timer()), ("refused", timer())]);
    let fake = Fake::new();
    let done = session(&fake, &plan, &Options::default());
    assert!(done.outcome.is_err());
    assert_eq!(done.log, "attach tick other 0, detach");
}

#[test]
fn maps_are_shown_by_name_and_value_and_can_be_emptied() {
    let key = |key: i64| key.to_le_bytes();
    let fake = Fake::new().on("begin", move |fake| {
        fake.send(&[PRINT_COUNT, 0, 0]);
        fake.send(&[PRINT_KEYED, 0, 0]);
        fake.send(&[PRINT_KEYED, 1, 2]);
        fake.send(&[PRINT_ELEMENT, 5]);
        fake.send(&[PRINT_ELEMENT, 99]);
        fake.put(COUNT, &[0; 4], &[3, 1, 4, 1]);
        fake.put(KEYED, &key(5), &[70]);
        fake.put(KEYED, &key(-1), &[80]);
        fake.put(KEYED, &key(7), &[-90i64 as u64]);
    });
    let plan = plan(&[("begin", Trigger::Begin)]);
    let done = session(&fake, &plan, &Options { quiet: true, ..Options::default() });
    assert_eq!(
        done.out,
        "@b: 7\n@a[7]: -90\n@a[5]: 70\n@a[-1]: 80\n@a[-1]: 40\n70\n0\n\n\n\
         @a[7]: -90\n@a[5]: 70\n@a[-1]: 80\n@b: 7\n"
    );
}

#[test]
fn clear_and_zero() {
    let emptied = |action: u64| {
        let fake = Fake::new().on("begin", move |fake| {
            fake.put(COUNT, &[0; 4], &[3, 1, 4, 1]);
            fake.put(KEYED, &[0; 8], &[1]);
            fake.send(&[action, 0, 0]);
            fake.send(&[CLEAR_KEYED, 0, 0]);
            fake.send(&[PRINT_COUNT, 0, 0]);
        });
        let plan = plan(&[("begin", Trigger::Begin)]);
        session(&fake, &plan, &Options { quiet: true, ..Options::default() }).out
    };
    assert_eq!(emptied(CLEAR_COUNT), "@b: 0\n\n\n");
    assert_eq!(emptied(ZERO_COUNT), "@b: 0\n\n\n@b: 0\n");
}

#[test]
fn quiet_maps_joins_and_warnings() {
    let fake = Fake::new().on("begin", |fake| {
        fake.put(COUNT, &[0; 4], &[3, 1, 4, 1]);
        let word = |text: &[u8; 8]| u64::from_le_bytes(*text);
        fake.send(&[
            JOIN,
            2,
            word(b"ls\0\0\0\0\0\0"),
            word(b"-l\0\0\0\0\0\0"),
            word(b"no\0\0\0\0\0\0"),
        ]);
        fake.send(&[WARN]);
        fake.send(&[1 << 40, 0]);
        fake.send(&[]);
    });
    let mut plan = plan(&[("begin", Trigger::Begin)]);
    plan.quiet_maps = true;
    let options = Options { quiet: true, warnings: true, ..Options::default() };
    let done = session(&fake, &plan, &options);
    assert_eq!(done.out, "ls+-l\n\n\n");
    assert_eq!(done.err, "f:5:0-0: WARNING: hm\n");
}

#[test]
fn lost_records_are_counted_and_reported() {
    let fake = Fake::new()
        .on("tick", |fake| fake.put(FAILURES, &[0; 4], &[5, 0, 0, 0, 0, 0]))
        .on("stop", |fake| {
            fake.put(FAILURES, &[0; 4], &[6, 0, 0, 0, 0, 0]);
            fake.send(&[EXIT, 0]);
        })
        .wakes(&[(Wake::Records, Some("tick")), (Wake::Records, Some("stop"))]);
    let done = session(&fake, &plan(&[("tick", timer())]), &Options::default());
    assert_eq!(done.outcome.expect("it works").lost, 6);
    assert_eq!(
        done.err,
        "Attached 1 probe\nLost 5 events\nLost 1 events\nWARNING: Total lost event count: 6\n"
    );
}

#[test]
fn failures_are_told_once_with_their_number() {
    let errors = |warnings| {
        let fake = Fake::new()
            .on("begin", |fake| fake.put(FAILURES, &[0; 4], &[0, 0, 1, 0, 0, 0]))
            .on("tick", |fake| fake.put(FAILURES, &[0; 4], &[0, 0, 1, 0, 2, -16i64 as u64]))
            .on("end", |fake| fake.put(FAILURES, &[0; 4], &[0, 0, 4, 0, 2, -16i64 as u64]))
            .wakes(&[
                (Wake::Deadline, Some("tick")),
                (Wake::Deadline, None),
                (Wake::TargetExited { status: None }, None),
            ]);
        let probes = [("begin", Trigger::Begin), ("tick", timer()), ("end", Trigger::End)];
        let options = Options { quiet: true, warnings, ..Options::default() };
        session(&fake, &plan(&probes), &options).err
    };
    assert_eq!(
        errors(true),
        "f:7:0-0: WARNING: no\n\n\n\
         f:8:0-0: WARNING: Device or resource busy\n\
         Additional Info - helper: map_update_elem, retcode: -16 (2 times)\n\n\n\
         f:7:0-0: WARNING: no (3 times)\n\n\n"
    );
    assert_eq!(errors(false), "");
}

#[test]
fn a_dry_run_runs_nothing_of_the_command() {
    let fake = Fake::new();
    let command = Some(Command { argv: vec!["ls".into()] });
    let options = Options { command, dry_run: true, ..Options::default() };
    let done = session(&fake, &plan(&[("tick", timer())]), &options);
    assert_eq!(done.log, "spawn ls, attach tick other 0, detach");
    assert_eq!(done.out, "");
}

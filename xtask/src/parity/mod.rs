//! `cargo xtask parity DIRECTORY`: holds what Bombus sends to the kernel against what libbpf sends.
//!
//! Both load every program of every object in the directory into a kernel that only listens, one
//! with the types, symbols and configuration that are given. What libbpf sends was written down
//! before, by `libbpf-oracle` (`xtask/oracle`). The comparison is at the boundary, so that it holds
//! whatever the insides look like: code after every relocation, attributes, maps.
//!
//! With `--live` both load into the running kernel, and what is compared is which programs it takes;
//! with `--vm` both do in a virtual machine, where libbpf's records are made, too.

mod live;
mod machine;
mod oracle;
mod recorder;
mod sent;
pub(crate) mod settings;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bombus_btf::Btf;
use bombus_kernel::{KernelVersion, Loader};
use bombus_platform::{AttachType, MapType, ProgType};
use bombus_spec::ObjectSpec;

use recorder::{Recorder, Target};
use sent::{Difference, Sent};
use settings::Settings;

const USAGE: &str = "usage: cargo xtask parity DIRECTORY [--oracle DIRECTORY] [--btf FILE] \
                     [--release X.Y.Z] [--config FILE] [--kallsyms FILE] [--live] \
                     [--vm KERNEL [--libbpf PROGRAM] [--skip FILE]] [--settings FILE] \
                     [--socket-filters] [--verbose]";

struct Options {
    objects: PathBuf,
    oracle: Option<PathBuf>,
    btf: PathBuf,
    release: String,
    config: Option<PathBuf>,
    kallsyms: PathBuf,
    live: bool,
    /// The virtual machine to load in.
    vm: Option<String>,
    /// `libbpf-oracle`, to be run in the machine.
    libbpf: Option<PathBuf>,
    /// Objects that a machine does not survive.
    skip: Option<PathBuf>,
    /// What objects leave to their tools.
    settings: Option<PathBuf>,
    /// Takes all programs for socket filters: their sections do not say what they are.
    socket_filters: bool,
    /// Shows every difference, not only the first of an object.
    verbose: bool,
}

/// How the two agree about something, in the order of the table's columns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Verdict {
    Equal,
    Different,
    BothRefuse,
    OnlyOurs,
    OnlyTheirs,
}

/// Compares every object; fails when they do not agree.
pub(crate) fn run(args: &[String]) -> Result<(), String> {
    let options = parse(args)?;
    if let Some(kernel) = &options.vm {
        return run_in_machine(kernel, &options);
    }
    // The kernel that only listens; none when the running one is asked.
    let target = if options.live { None } else { Some(target(&options)?) };
    let settings = Settings::read(options.settings.as_deref())?;
    let mut table = Table::default();
    for path in objects(&options.objects)? {
        let bytes = std::fs::read(&path).map_err(|error| format!("{path:?}: {error}"))?;
        let name = stem(&path);
        let mut opened = open(&bytes, options.socket_filters);
        if let Ok(object) = &mut opened {
            settings.apply(&name, object)?;
        }
        let Some(oracle) = &options.oracle else {
            if options.live {
                live::print(&live::load_or_refuse(opened)?);
                continue;
            }
            let verdict = opened.map_or_else(|why| (Verdict::OnlyTheirs, why), |_| equal());
            table.add("opened", &name, None, verdict);
            continue;
        };
        let theirs = oracle::read(&oracle.join(format!("{name}.jsonl")))?;
        let ours = match (opened, &target) {
            (opened, None) => live::load_or_refuse(opened)?,
            (Err(reason), _) => Sent { refused: Some(reason), ..Sent::default() },
            (Ok(object), Some(target)) => load(&object, target),
        };
        if options.live {
            live::compare(&mut table, &name, &ours, &theirs);
        } else {
            compare(&mut table, &name, &ours, &theirs);
        }
    }
    if options.live && options.oracle.is_none() {
        return Ok(());
    }
    table.conclude(options.verbose)
}

/// Compares every object in a virtual machine.
fn run_in_machine(kernel: &str, options: &Options) -> Result<(), String> {
    let machine = machine::Machine {
        kernel,
        libbpf: options.libbpf.as_deref(),
        records: options.oracle.as_deref().ok_or(USAGE)?,
        skip: options.skip.as_deref(),
        settings: options.settings.as_deref(),
    };
    let mut outcome = machine.load(&objects(&options.objects)?)?;
    let mut table = Table::default();
    for (name, ours) in &outcome.ours {
        if outcome.not_compared.contains_key(name) {
            continue;
        }
        let record = machine::record(machine.records, name);
        if record.is_file() {
            live::compare(&mut table, name, ours, &oracle::read(&record)?);
        } else {
            outcome.not_compared.insert(name.clone(), "libbpf: no record".into());
        }
    }
    for (name, reason) in &outcome.not_compared {
        println!("{name} not compared: {reason}");
    }
    table.conclude(options.verbose)
}

fn parse(args: &[String]) -> Result<Options, String> {
    let mut options = Options {
        objects: PathBuf::new(),
        oracle: None,
        btf: "/sys/kernel/btf/vmlinux".into(),
        release: String::new(),
        config: None,
        kallsyms: "/proc/kallsyms".into(),
        live: false,
        vm: None,
        libbpf: None,
        skip: None,
        settings: None,
        socket_filters: false,
        verbose: false,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(USAGE);
        match arg.as_str() {
            "--oracle" => options.oracle = Some(value()?.into()),
            "--btf" => options.btf = value()?.into(),
            "--release" => options.release = value()?.clone(),
            "--config" => options.config = Some(value()?.into()),
            "--kallsyms" => options.kallsyms = value()?.into(),
            "--live" => options.live = true,
            "--vm" => options.vm = Some(value()?.clone()),
            "--libbpf" => options.libbpf = Some(value()?.into()),
            "--settings" => options.settings = Some(value()?.into()),
            "--skip" => options.skip = Some(value()?.into()),
            "--socket-filters" => options.socket_filters = true,
            "--verbose" => options.verbose = true,
            _ if options.objects.as_os_str().is_empty() => options.objects = arg.into(),
            _ => return Err(USAGE.into()),
        }
    }
    if options.objects.as_os_str().is_empty() { Err(USAGE.into()) } else { Ok(options) }
}

/// The kernel that both are shown.
fn target(options: &Options) -> Result<Target, String> {
    let read = |path: &Path| std::fs::read(path).map_err(|error| format!("{path:?}: {error}"));
    let text = |path: &Path| Ok::<_, String>(String::from_utf8_lossy(&read(path)?).into_owned());
    let release = match options.release.as_str() {
        "" => text(Path::new("/proc/sys/kernel/osrelease"))?,
        release => release.to_owned(),
    };
    let mut numbers = release
        .split(|character: char| !character.is_ascii_digit())
        .map_while(|number| number.parse().ok());
    let mut next = || numbers.next().unwrap_or_default();
    let version = KernelVersion { major: next(), minor: next(), patch: next() };
    let config = options.config.as_deref().map(text).transpose()?.unwrap_or_default();
    let config = config
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let symbol = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (address, _, name) = (words.next()?, words.next()?, words.next()?);
        Some((name.to_owned(), u64::from_str_radix(address, 16).ok()?))
    };
    let mut symbols = HashMap::new();
    for (name, address) in text(&options.kallsyms)?.lines().filter_map(symbol) {
        symbols.entry(name).or_insert(address);
    }
    let btf: Arc<[u8]> = read(&options.btf)?.into();
    let types = Btf::parse(btf.clone()).map_err(|error| format!("{:?}: {error}", options.btf))?;
    Ok(Target { btf, types: Arc::new(types), version, config: Arc::new(config.collect()), symbols })
}

/// The objects in a directory, by name; or one object.
pub(crate) fn objects(directory: &Path) -> Result<Vec<PathBuf>, String> {
    if directory.is_file() {
        return Ok(vec![directory.to_owned()]);
    }
    let entries =
        std::fs::read_dir(directory).map_err(|error| format!("{directory:?}: {error}"))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "o" || end == "elf"));
    paths.sort();
    Ok(paths)
}

/// `bashreadline` of `bashreadline.bpf.o`.
pub(crate) fn stem(path: &Path) -> String {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    name.strip_suffix(".bpf").unwrap_or(&name).to_owned()
}

fn open(bytes: &[u8], socket_filters: bool) -> Result<ObjectSpec, String> {
    let prog_type = socket_filters.then_some((ProgType::SocketFilter, AttachType::NONE));
    let options = bombus_object::Options { prog_type, ..Default::default() };
    bombus_object::open_with(bytes, &options).map_err(|error| error.to_string())
}

/// What Bombus sends for an object: for all programs at once, or else for each by itself.
fn load(object: &ObjectSpec, target: &Target) -> Sent {
    let recorder = Recorder::new(target);
    let attempt = |wanted: &dyn Fn(usize) -> bool| {
        let mut loader = Loader::new(object).kernel_btf(target.types.clone());
        for (index, program) in object.programs.iter().enumerate() {
            loader = loader.autoload(&program.name, wanted(index));
        }
        let outcome = loader.load(&recorder).map_err(|error| error.to_string());
        if let Ok(loaded) = &outcome {
            for (_, spec) in loaded.all_maps() {
                if spec.map_type == MapType::StructOps {
                    // Attaching stores the structure. Without a link that is all.
                    let _ = loaded.attach_structure(&recorder, &spec.name);
                }
            }
        }
        (outcome.map(|_| ()), recorder.take())
    };
    let (outcome, sent) = attempt(&|_| true);
    if outcome.is_ok() {
        return Sent { loads: true, ..sent };
    }
    let mut sent = Sent::default();
    for (index, program) in object.programs.iter().enumerate() {
        let (outcome, alone) = attempt(&|other| other == index);
        if outcome.is_ok() && sent.maps.is_empty() {
            sent.maps = alone.maps;
        }
        let mut programs = alone.programs;
        let loaded = programs.remove(&program.name);
        let loaded = loaded.unwrap_or_else(|| Err(outcome.err().unwrap_or_default()));
        sent.programs.insert(program.name.clone(), loaded);
    }
    if sent.maps.is_empty() {
        sent.maps = attempt(&|_| false).1.maps;
    }
    sent
}

fn equal() -> (Verdict, String) {
    (Verdict::Equal, String::new())
}

fn compare(table: &mut Table, name: &str, ours: &Sent, theirs: &Sent) {
    let verdict = match (&ours.refused, &theirs.refused) {
        (None, None) => equal(),
        (Some(_), Some(_)) => (Verdict::BothRefuse, String::new()),
        (None, Some(reason)) => (Verdict::OnlyOurs, format!("libbpf: {reason}")),
        (Some(reason), None) => (Verdict::OnlyTheirs, reason.clone()),
    };
    let both = verdict.0 == Verdict::Equal;
    table.add("opened", name, None, verdict);
    table.add("loaded", name, None, loads(ours, theirs));
    if !both {
        return;
    }
    let programs: BTreeSet<&String> = ours.programs.keys().chain(theirs.programs.keys()).collect();
    let absent = || Err("there is no such program".to_owned());
    for program in programs {
        let ours = ours.programs.get(program).cloned().unwrap_or_else(absent);
        let theirs = theirs.programs.get(program).cloned().unwrap_or_else(absent);
        table.add("programs", name, Some(program), verdict_on(&ours, &theirs));
    }
    let maps: BTreeSet<&String> = ours.maps.keys().chain(theirs.maps.keys()).collect();
    let absent = || "there is no such map".to_owned();
    for map in maps {
        let ours = ours.maps.get(map).cloned().flatten().ok_or_else(absent);
        let theirs = theirs.maps.get(map).cloned().flatten().ok_or_else(absent);
        table.add("maps", name, Some(map), verdict_on(&ours, &theirs));
    }
}

/// Whether the object loads as a whole.
fn loads(ours: &Sent, theirs: &Sent) -> (Verdict, String) {
    let one = |sent: &Sent| if sent.loads { Ok(()) } else { Err("it does not load".to_owned()) };
    verdict_by(&one(ours), &one(theirs), |(), ()| None)
}

fn verdict_on<T: Difference>(
    ours: &Result<T, String>,
    theirs: &Result<T, String>,
) -> (Verdict, String) {
    verdict_by(ours, theirs, T::difference)
}

fn verdict_by<T>(
    ours: &Result<T, String>,
    theirs: &Result<T, String>,
    difference: impl Fn(&T, &T) -> Option<String>,
) -> (Verdict, String) {
    match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => match difference(ours, theirs) {
            None => equal(),
            Some(difference) => (Verdict::Different, difference),
        },
        (Err(_), Err(_)) => (Verdict::BothRefuse, String::new()),
        (Ok(_), Err(reason)) => (Verdict::OnlyOurs, format!("libbpf: {reason}")),
        (Err(reason), Ok(_)) => (Verdict::OnlyTheirs, reason.clone()),
    }
}

/// What was compared, and every disagreement.
#[derive(Default)]
struct Table {
    counts: BTreeMap<(&'static str, Verdict), usize>,
    /// Object, program or map, what is wrong.
    differences: Vec<(String, String, Verdict, String)>,
}

impl Table {
    fn add(
        &mut self,
        row: &'static str,
        object: &str,
        part: Option<&str>,
        (verdict, why): (Verdict, String),
    ) {
        *self.counts.entry((row, verdict)).or_default() += 1;
        if !matches!(verdict, Verdict::Equal | Verdict::BothRefuse) {
            let part = part.unwrap_or_default().to_owned();
            self.differences.push((object.to_owned(), part, verdict, why));
        }
    }

    /// How often libbpf does something that Bombus does not, or does otherwise. (Bombus loads
    /// programs that libbpf does not for want of something that only others of the object need.)
    fn disagreements(&self) -> usize {
        self.differences.iter().filter(|(.., verdict, _)| *verdict != Verdict::OnlyOurs).count()
    }

    /// Prints everything; fails when there are disagreements.
    fn conclude(&self, all: bool) -> Result<(), String> {
        print!("{self}");
        self.print_differences(all);
        match self.disagreements() {
            0 => Ok(()),
            count => Err(format!("{count} disagreements")),
        }
    }

    /// The first difference of each object, or all.
    fn print_differences(&self, all: bool) {
        let mut last = None;
        for (object, part, verdict, why) in &self.differences {
            if all || last != Some(object) {
                println!("{object} {part}: {verdict:?}: {why}");
            }
            last = Some(object);
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| | equal | different | refused by both | only bombus | only libbpf |")?;
        writeln!(f, "|---|---:|---:|---:|---:|---:|")?;
        for row in ["opened", "loaded", "programs", "maps"] {
            if !self.counts.keys().any(|(counted, _)| *counted == row) {
                continue;
            }
            write!(f, "| {row} |")?;
            for verdict in [
                Verdict::Equal,
                Verdict::Different,
                Verdict::BothRefuse,
                Verdict::OnlyOurs,
                Verdict::OnlyTheirs,
            ] {
                write!(f, " {} |", self.counts.get(&(row, verdict)).copied().unwrap_or_default())?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

//! From loading an object to showing its maps.

use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use bombus_btf::{Btf, TypeId};
use bombus_kernel::catalog::{Binaries, Catalog};
use bombus_kernel::{
    AttachPoint, Command, Error, IterTarget, LinkFd, Loaded, LoadedProgram, Loader, MapFd,
    PacketVerdicts, PerfRecord, Places, Tracer, Wake,
};
use bombus_platform::{MapType, ProgType};
use bombus_runtime::{Ended, Signals, is_ignored};
use bombus_spec::{MapRole, MapSpec, ObjectSpec};
use serde_json::Value;

use super::capture::verdict_name;
use super::decode;
use super::flags::Options;
use super::output::Output;
use super::place::{Place, suggestion};
use super::printk::{self, Printk};
use super::record::Records;
use super::shown::Shown;

/// How long what cannot be waited for (trace and perf buffers) may have to wait.
const TICK: Duration = Duration::from_millis(100);

/// Bytes that the kernel may add at the end of a record of a perf buffer.
const PERF_PADDING: usize = 7;

/// Signals that end a session.
const ENDING: [i32; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Why a session could not go on.
pub(crate) enum Failed {
    /// The kernel did not do something.
    Kernel(Error),
    /// A place of `--attach` is not there.
    Place(String),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Failed {
        Failed::Kernel(error)
    }
}

/// What a session works with.
pub(crate) struct Session<'a> {
    pub(crate) tracer: &'a dyn Tracer,
    pub(crate) object: &'a ObjectSpec,
    pub(crate) btf: Option<&'a Btf>,
    pub(crate) options: &'a Options,
    pub(crate) command: Option<Command>,
    /// Maps whose records are said to be of these types.
    pub(crate) record_types: Vec<(String, TypeId)>,
    pub(crate) catalog: &'a dyn Catalog,
    pub(crate) binaries: &'a dyn Binaries,
    /// Devices that nobody made for it are only watched.
    pub(crate) is_embedded: bool,
}

/// What was attached.
#[derive(Default)]
struct Attached {
    programs: Vec<String>,
    iterators: Vec<(String, LinkFd)>,
    /// Structures of callbacks that are in use until their element is deleted.
    structures: Vec<String>,
}

impl Session<'_> {
    /// Loads, attaches, listens, and shows the maps. Nothing stays attached.
    pub(crate) fn run(&self, loader: &Loader<'_>, output: &mut Output) -> Result<Ended, Failed> {
        // The command first: it starts with the signal mask from before.
        let command =
            self.command.as_ref().map(|command| self.tracer.spawn(command)).transpose()?;
        let mut caught = ENDING.to_vec();
        caught.retain(|&signal| signal != libc::SIGHUP || !is_ignored(libc::SIGHUP));
        let signals = Signals::catch(&caught)
            .map_err(|error| Error::os("catch signals", error.raw_os_error().unwrap_or(0)))?;
        self.tracer.watch_signals(signals.as_fd())?;
        let loaded = loader.load(self.tracer)?;
        if let Some(pid) = self.options.pid {
            self.tracer.follow(pid)?;
        }
        // Before anything can print.
        let printk = self.printk();
        let mut attached = Attached::default();
        let outcome = self.attach(&loaded, command, &mut attached).and_then(|()| {
            if !self.options.quiet {
                output.attached(&attached.programs);
            }
            self.listen(&loaded, &attached, printk, &signals, output)
        });
        for structure in &attached.structures {
            loaded.detach_structure(self.tracer, structure)?;
        }
        self.tracer.detach_all();
        output.flush();
        outcome
    }

    /// The trace buffer, when a program prints.
    fn printk(&self) -> Option<Printk> {
        if !self.options.printk || !printk::is_used(self.object) {
            return None;
        }
        let opened = Printk::open();
        opened
            .inspect_err(|error| {
                eprintln!("WARNING: what programs print with bpf_printk is not shown: {error}");
            })
            .ok()
    }

    /// Attaches what `--attach` names, and the others by their sections.
    fn attach(
        &self,
        loaded: &Loaded,
        command: Option<u32>,
        attached: &mut Attached,
    ) -> Result<(), Failed> {
        let mut placed = HashSet::new();
        for place in &self.options.attach {
            let programs = loaded.all_programs();
            // A place without a name is for the only one: that was checked.
            let named = |each: &&LoadedProgram| {
                place.program.as_ref().is_none_or(|name| *name == each.name)
            };
            let Some(program) = programs.iter().find(named) else { continue };
            let fd = loaded
                .program(&program.name)
                .ok_or_else(|| Failed::Place(format!("program {} is not loaded", program.name)))?;
            let pid = self.options.pid.or(command);
            let at = place
                .resolve(self.tracer, self.binaries, loaded, program, pid)
                .map_err(|why| Failed::Place(format!("--attach: {why}")))?;
            self.tracer.attach(fd, &at, 0)?;
            self.warn_watched(place);
            placed.insert(program.name.as_str());
            attached.programs.push(program.name.clone());
        }
        if self.options.no_attach {
            return Ok(());
        }
        let places = Places { binaries: self.binaries, catalog: self.catalog };
        for program in loaded.all_programs() {
            let Some(fd) = program.fd.filter(|_| !placed.contains(program.name.as_str())) else {
                continue;
            };
            if program.section.trim_start_matches('?').starts_with("iter") {
                let link = self.tracer.attach(fd, &AttachPoint::Iter(IterTarget::All), 0)?;
                attached.iterators.push((program.name.clone(), link));
            } else if program.attaches_itself() {
                loaded.attach(self.tracer, places, &program.name)?;
            } else {
                self.warn_unattached(program);
                continue;
            }
            attached.programs.push(program.name.clone());
        }
        self.attach_structures(loaded, attached)
    }

    fn attach_structures(&self, loaded: &Loaded, attached: &mut Attached) -> Result<(), Failed> {
        for (index, spec) in self.object.maps.iter().enumerate() {
            let is_created = loaded.maps.get(index).copied().flatten().is_some();
            if !is_created || !matches!(spec.role, MapRole::StructOps { .. }) {
                continue;
            }
            if loaded.attach_structure(self.tracer, &spec.name)?.is_none() {
                attached.structures.push(spec.name.clone());
            }
            attached.programs.push(spec.name.clone());
        }
        Ok(())
    }

    /// Who takes a verdict for granted has to know that it is none.
    fn warn_watched(&self, place: &Place) {
        let Some(device) = place.device().filter(|_| self.is_embedded) else { return };
        if !self.options.wires.iter().any(|wire| wire.name == device) {
            eprintln!(
                "WARNING: {device} is only watched: packets pass whatever a program says; --wire \
                 makes a device where they do not"
            );
        }
    }

    /// A program that is loaded and not attached would be missed without a word.
    fn warn_unattached(&self, program: &LoadedProgram) {
        let LoadedProgram { name, section, prog_type, .. } = program;
        // They are called by others: system calls of a test run, members of a structure.
        if matches!(prog_type, ProgType::Syscall | ProgType::StructOps | ProgType::Ext) {
            return;
        }
        let is_tail_call = self.object.maps.iter().any(|map| {
            map.slots.iter().any(|(_, slot)| {
                matches!(slot, bombus_spec::Slot::Program(index)
                    if self.object.programs.get(*index as usize).is_some_and(|p| p.name == *name))
            })
        });
        if is_tail_call {
            return;
        }
        let how = match suggestion(program) {
            Some(form) => format!("say where with --attach {name}={form}"),
            None => "bombus run cannot attach programs of this kind".to_owned(),
        };
        eprintln!("WARNING: program {name} (SEC(\"{section}\")) is not attached: {how}");
    }

    /// What programs at network devices decided, where the kernel has counted it.
    fn show_verdicts(&self, output: &mut Output) {
        let all = self.tracer.packet_verdicts();
        let same_place = |a: &PacketVerdicts, b: &PacketVerdicts| {
            (&a.program, &a.device) == (&b.program, &b.device)
        };
        for counts in all.chunk_by(same_place) {
            output.verdicts(&format!("{} {}", counts[0].program, counts[0].device));
            for count in counts {
                let name = count.verdict.map(|value| verdict_name(count.prog_type, value));
                let name = name.unwrap_or_else(|| "stopped".to_owned());
                let at = Some((&*count.program, &*count.device));
                output.verdict(&name, count.verdict, at, count.packets, count.bytes);
            }
        }
    }

    /// Shows what comes until something ends the session, then the maps.
    fn listen(
        &self,
        loaded: &Loaded,
        attached: &Attached,
        printk: Option<Printk>,
        signals: &Signals,
        output: &mut Output,
    ) -> Result<Ended, Failed> {
        for (program, link) in &attached.iterators {
            output.iterated(program, &self.tracer.iterate(*link)?);
        }
        output.flush();
        let deadline = self.options.duration.map(|duration| Instant::now() + duration);
        let mut buffers = Buffers::new(self, loaded, printk);
        // Opens the perf buffers, before anything can be sent to them.
        buffers.consume(output)?;
        self.tracer.resume()?;
        let follows = self.command.is_some() || self.options.pid.is_some();
        let can_come = attached.programs.len() > attached.iterators.len();
        let ended = match can_come || follows || deadline.is_some() {
            true => buffers.wait(signals, deadline, output)?,
            false => Ended::Done,
        };
        self.tracer.detach_all();
        // Whoever asks a second time does not want to wait for the maps.
        signals.release(&ENDING);
        buffers.consume(output)?;
        let shown = Shown { kernel: self.tracer, object: self.object, loaded, btf: self.btf };
        self.show_verdicts(output);
        shown.show(&self.options.maps, output)?;
        buffers.warn_lost();
        output.flush();
        Ok(if output.is_broken() { Ended::OutputClosed } else { ended })
    }
}

/// What programs send.
struct Buffers<'a> {
    session: &'a Session<'a>,
    rings: Vec<(MapFd, &'a MapSpec)>,
    perf: Vec<(MapFd, &'a MapSpec)>,
    printk: Option<Printk>,
    records: Option<Records<'a>>,
    /// By map and size of the record, once it was looked for.
    known: HashMap<(String, usize), Option<TypeId>>,
    lost: u64,
}

impl<'a> Buffers<'a> {
    fn new(session: &'a Session<'a>, loaded: &'a Loaded, printk: Option<Printk>) -> Buffers<'a> {
        let of_type = |wanted: MapType| {
            let maps = session.object.maps.iter().zip(&loaded.maps);
            maps.filter(move |(spec, _)| spec.map_type == wanted)
                .filter_map(|(spec, map)| Some(((*map)?, spec)))
                .collect::<Vec<_>>()
        };
        Buffers {
            session,
            rings: of_type(MapType::Ringbuf),
            perf: of_type(MapType::PerfEventArray),
            printk,
            records: session.btf.map(|btf| Records::new(btf, session.object)),
            known: HashMap::new(),
            lost: 0,
        }
    }

    /// Shows what comes until something ends it.
    fn wait(
        &mut self,
        signals: &Signals,
        deadline: Option<Instant>,
        output: &mut Output,
    ) -> Result<Ended, Failed> {
        let tracer = self.session.tracer;
        let rings: Vec<MapFd> = self.rings.iter().map(|(map, _)| *map).collect();
        let ticks = self.printk.is_some() || !self.perf.is_empty();
        loop {
            let tick = ticks.then(|| Instant::now() + TICK);
            let until = [deadline, tick].into_iter().flatten().min();
            let mut ended = match tracer.wait(&rings, until)? {
                Wake::Records | Wake::Deadline => None,
                Wake::TargetExited { status } => Some(Ended::Target(status)),
                Wake::Signal => signals.take().first().map(|signal| Ended::Signal(*signal)),
            };
            self.consume(output)?;
            output.flush();
            if output.is_broken() {
                return Ok(Ended::OutputClosed);
            }
            if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                ended = ended.or(Some(Ended::Done));
            }
            if let Some(ended) = ended {
                return Ok(ended);
            }
        }
    }

    /// Shows everything that is there.
    fn consume(&mut self, output: &mut Output) -> Result<(), Failed> {
        if let Some(printk) = &mut self.printk {
            let printk::Lines { lines, lost } = printk.take();
            lines.iter().for_each(|line| output.printk(line));
            self.lost += lost;
        }
        let tracer = self.session.tracer;
        for (map, spec) in self.rings.clone() {
            tracer.ringbuf_consume(map, &mut |record| {
                let value = self.decode(spec, record, 0);
                output.record(&spec.name, None, &value);
            })?;
        }
        for (map, spec) in self.perf.clone() {
            tracer.perf_buffer_consume(map, &mut |record| match record {
                PerfRecord::Sample { cpu, data } => {
                    let value = self.decode(spec, data, PERF_PADDING);
                    output.record(&spec.name, Some(cpu), &value);
                }
                PerfRecord::Lost { count, .. } => self.lost += count,
            })?;
        }
        Ok(())
    }

    fn decode(&mut self, spec: &MapSpec, record: &[u8], padding: usize) -> Value {
        let key = (spec.name.clone(), record.len());
        let known = self.known.get(&key).copied();
        let ty = known.unwrap_or_else(|| {
            let ty = self.type_of(spec, record.len(), padding);
            self.known.insert(key, ty);
            ty
        });
        match (ty, self.session.btf) {
            (Some(ty), Some(btf)) => decode::value(btf, ty, record),
            _ => decode::hex(record).into(),
        }
    }

    fn type_of(&self, spec: &MapSpec, size: usize, padding: usize) -> Option<TypeId> {
        let said = self.session.record_types.iter().find(|(map, _)| *map == spec.name);
        let records = self.records.as_ref()?;
        said.map(|(_, ty)| *ty)
            .or_else(|| records.of_map(spec))
            .or_else(|| records.of_size(size, padding))
    }

    fn warn_lost(&self) {
        if self.lost > 0 {
            eprintln!("WARNING: lost {} records: there was no room for them", self.lost);
        }
    }
}

//! Runs cases: each by itself, on a few threads, with a time limit. One that panics or does not end
//! spoils nobody else's run.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bombus_kernel::{Described, Loader, Prover};
use bombus_platform::MapType;
use bombus_spec::{MapSpec, ObjectSpec};
use bombus_verifier::Options;

use super::case::{Case, Mode};
use super::running;

/// How long one case may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many run at once.
const THREADS: usize = 2;
/// A walk may be deep.
const STACK: usize = 64 << 20;

/// What became of a case.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    /// The verifier gave its verdict.
    Verdict(Said),
    /// The loader refused the program before.
    NotReached(String),
    /// It panicked, with these words.
    Panicked(String),
    /// There was no end in time.
    TookTooLong,
}

/// A verdict.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) accepted: bool,
    /// Our reason for refusing.
    pub(super) message: String,
    pub(super) log: String,
    pub(super) processed: u32,
    /// What is wrong with what it returned, when it is accepted and a value is expected.
    pub(super) returned: Option<Result<(), String>>,
    /// Seconds of its load.
    pub(super) seconds: f64,
}

/// An object with what is to be done with it.
pub(super) struct Job {
    pub(super) path: PathBuf,
    pub(super) cases: Vec<Case>,
    /// Loaded without `CAP_SYS_ADMIN`.
    pub(super) without_admin: bool,
}

/// Opens an object.
pub(super) fn open(path: &Path) -> Result<ObjectSpec, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("{path:?}: {error}"))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    bombus_object::open_named(&bytes, &name).map_err(|error| format!("{path:?}: {error}"))
}

/// Runs all of them.
pub(super) fn run(jobs: Vec<Job>, machine: &Arc<Described>) -> Vec<(Case, Outcome)> {
    let (sender, receiver) = channel();
    let crew = Crew { queue: Arc::new(Mutex::new(jobs.into())), machine: machine.clone(), sender };
    supervise(crew, receiver)
}

/// Has panics be noted, not shown.
pub(super) fn note_panics() {
    std::panic::set_hook(Box::new(|panic| {
        LAST_WORDS.with(|words| *words.borrow_mut() = panic.to_string());
    }));
}

thread_local! {
    /// What the last panic of this thread said.
    static LAST_WORDS: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What workers share.
#[derive(Clone)]
struct Crew {
    queue: Arc<Mutex<VecDeque<Job>>>,
    machine: Arc<Described>,
    sender: Sender<(usize, News)>,
}

/// What a worker tells.
enum News {
    /// Which object it took.
    Takes(Job),
    /// It goes on with the next case of the object.
    Begins,
    /// It is done with that.
    Ends(Outcome),
    /// There is nothing left to do.
    Leaves,
}

/// A worker as it is seen from outside.
struct Seen {
    job: Option<Job>,
    /// How many of the job's cases are done.
    done: usize,
    since: Instant,
    given_up: Arc<AtomicBool>,
}

fn supervise(crew: Crew, news: Receiver<(usize, News)>) -> Vec<(Case, Outcome)> {
    let mut outcomes = Vec::new();
    let mut workers = HashMap::new();
    let mut next = 0;
    let mut hire = |workers: &mut HashMap<usize, Seen>| {
        let given_up = Arc::new(AtomicBool::new(false));
        let (crew, flag, number) = (crew.clone(), given_up.clone(), next);
        next += 1;
        let seen = Seen { job: None, done: 0, since: Instant::now(), given_up };
        let thread = std::thread::Builder::new().stack_size(STACK);
        if thread.spawn(move || work(&crew, number, &flag)).is_ok() {
            workers.insert(number, seen);
        }
    };
    (0..THREADS).for_each(|_| hire(&mut workers));
    while !workers.is_empty() {
        match news.recv_timeout(Duration::from_millis(200)) {
            Ok((number, news)) => {
                // One that was given up may still talk.
                let Some(worker) = workers.get_mut(&number) else { continue };
                match news {
                    News::Takes(job) => (worker.job, worker.done) = (Some(job), 0),
                    News::Begins => worker.since = Instant::now(),
                    News::Ends(outcome) => {
                        let case = worker.job.as_ref().and_then(|job| job.cases.get(worker.done));
                        outcomes.extend(case.map(|case| (case.clone(), outcome)));
                        worker.done += 1;
                    }
                    News::Leaves => _ = workers.remove(&number),
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        let late = |worker: &Seen| worker.job.is_some() && worker.since.elapsed() > PATIENCE;
        let late: Vec<usize> =
            workers.iter().filter(|(_, worker)| late(worker)).map(|(number, _)| *number).collect();
        for number in late {
            let Some(Seen { job: Some(mut job), done, given_up, .. }) = workers.remove(&number)
            else {
                continue;
            };
            given_up.store(true, Ordering::Relaxed);
            let mut rest = job.cases.split_off(done.min(job.cases.len()));
            if !rest.is_empty() {
                outcomes.push((rest.remove(0), Outcome::TookTooLong));
            }
            job.cases = rest;
            if let Ok(mut queue) = crew.queue.lock() {
                queue.push_front(job);
            }
            hire(&mut workers);
        }
    }
    outcomes
}

fn work(crew: &Crew, number: usize, given_up: &AtomicBool) {
    let tell = |news| crew.sender.send((number, news)).is_ok();
    loop {
        let job = crew.queue.lock().ok().and_then(|mut queue| queue.pop_front());
        let Some(job) = job else { break };
        let Job { path, cases, without_admin } = &job;
        let known = Job { path: path.clone(), cases: cases.clone(), without_admin: *without_admin };
        tell(News::Takes(known));
        let mut object = open(path);
        for case in cases {
            tell(News::Begins);
            let outcome = match &mut object {
                Err(error) => Outcome::NotReached(error.clone()),
                Ok(object) => guarded(|| load(object, case, &crew.machine, *without_admin)),
            };
            if given_up.load(Ordering::Relaxed) || !tell(News::Ends(outcome)) {
                return;
            }
        }
    }
    tell(News::Leaves);
}

/// What becomes of a case, also when it panics.
pub(super) fn guarded(run: impl FnOnce() -> Outcome) -> Outcome {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Outcome::Panicked(LAST_WORDS.with(|words| words.borrow().clone())))
}

/// Loads one program, as `run_subtest` does.
fn load(object: &mut ObjectSpec, case: &Case, machine: &Described, without_admin: bool) -> Outcome {
    let Some(index) = object.programs.iter().position(|program| program.name == case.program)
    else {
        return Outcome::NotReached("there is no such program".into());
    };
    let flags = object.programs[index].flags;
    object.programs[index].flags |= case.flags;
    let outcome = prove(object, case, machine, without_admin);
    object.programs[index].flags = flags;
    outcome
}

fn prove(object: &ObjectSpec, case: &Case, machine: &Described, without_admin: bool) -> Outcome {
    let options = Options {
        privileges: case.privileges(without_admin),
        // Whoever is refused is shown why.
        log_level: if case.log_level == 0 { 1 } else { case.log_level },
        ..Options::default()
    };
    let prover = Prover::new(machine, options);
    let before = Instant::now();
    let loaded = only(object, case).load(&prover);
    let seconds = before.elapsed().as_secs_f64();
    let proved = prover.proved();
    match (proved.iter().find(|proved| proved.name == case.program), loaded) {
        (None, Err(error)) => Outcome::NotReached(error.to_string()),
        (None, Ok(_)) => Outcome::NotReached("it was not loaded".into()),
        (Some(proved), _) => {
            let verdict = &proved.verdict;
            let accepted = verdict.result.is_ok();
            let message = verdict.result.as_ref().err().map(|rejection| &rejection.message);
            let silent = accepted && case.log_level == 0;
            Outcome::Verdict(Said {
                accepted,
                message: message.cloned().unwrap_or_default(),
                log: if silent { String::new() } else { verdict.log.clone() },
                processed: verdict.stats.processed,
                returned: (accepted && case.retval.is_some())
                    .then(|| running::check(object, case, machine)),
                seconds,
            })
        }
    }
}

/// Loads this program, what has to be there with it, and the maps that this user may create.
pub(super) fn only<'o>(object: &'o ObjectSpec, case: &Case) -> Loader<'o> {
    let mut loader = Loader::new(object);
    for program in &object.programs {
        let name = &program.name;
        loader = loader.autoload(name, *name == case.program || case.companions.contains(name));
    }
    for map in &object.maps {
        let privileged = case.mode == Mode::Privileged;
        loader = loader.autocreate(&map.name, privileged || is_for_everybody(map));
    }
    loader
}

/// Whether the unprivileged may create such a map (`is_unpriv_capable_map`).
fn is_for_everybody(map: &MapSpec) -> bool {
    /// `BPF_F_ZERO_SEED`.
    const ZERO_SEED: u32 = 1 << 6;
    match map.map_type {
        MapType::Hash | MapType::PercpuHash | MapType::HashOfMaps => map.flags & ZERO_SEED == 0,
        MapType::PercpuCgroupStorage
        | MapType::Array
        | MapType::Ringbuf
        | MapType::ProgArray
        | MapType::CgroupArray
        | MapType::PercpuArray
        | MapType::UserRingbuf
        | MapType::ArrayOfMaps
        | MapType::CgroupStorage
        | MapType::PerfEventArray => true,
        _ => false,
    }
}

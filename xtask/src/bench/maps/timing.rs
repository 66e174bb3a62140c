//! How long operations take: of one thread and of two, in turns.
//!
//! Others may work on the machine. What one thread does is told by the least of many batches. One
//! thread and two are compared turn by turn, and the median of the turns counts; turns in which a
//! thread did not have its CPU to itself only if there are no others.
//!
//! A CPU may be slower than the other for a while, because of what the host does. So what one thread
//! does is what it does on the one and on the other by turns; and what two do counts as long as there
//! are two.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Keys, Operation, Subject};

/// Operations between two looks at the clock.
const BATCH: u32 = 1024;
/// How long a round is.
const ROUND: Duration = Duration::from_millis(3);

/// What all turns of one subject told.
#[derive(Clone, Default)]
pub(super) struct Figures {
    /// The quickest batch of one thread, nanoseconds an operation.
    least: Option<f64>,
    turns: Vec<Turn>,
}

/// One round of one thread, and one of two.
#[derive(Clone, Copy)]
struct Turn {
    /// Nanoseconds an operation of one thread, as long on each CPU.
    one: f64,
    /// The same of two, of both together.
    two: f64,
    undisturbed: bool,
}

impl Figures {
    /// Has a subject do one thing for a while.
    pub(super) fn turn(&mut self, subject: &dyn Subject, operation: Operation, entries: u32) {
        let one = |meeting: &Meeting| round(subject, operation, entries, 0, meeting);
        let other = |meeting: &Meeting| {
            settle_on(1);
            round(subject, operation, entries, 1, meeting)
        };
        let here = one(&Meeting::of(1));
        self.note(here.least);
        let meeting = Meeting::of(1);
        let there = std::thread::scope(|scope| scope.spawn(|| other(&meeting)).join());
        let there = there.unwrap_or(here);
        let meeting = Meeting::of(2);
        let (first, second) = std::thread::scope(|scope| {
            let other = scope.spawn(|| other(&meeting));
            let own = one(&meeting);
            (own, other.join().unwrap_or(own))
        });
        let end = first.end.max(second.end);
        self.turns.push(Turn {
            one: 2.0 / (here.rate(here.end) + there.rate(there.end)),
            two: 1.0 / (first.rate(end) + second.rate(end)),
            undisturbed: [here, there, first, second].iter().all(Round::is_undisturbed)
                && first.is_beside(&second),
        });
    }

    /// A figure of one thread.
    pub(super) fn note(&mut self, ns: f64) {
        self.least = Some(self.least.map_or(ns, |least| least.min(ns)));
    }

    /// Figures of one thread and of two, taken one after the other.
    pub(super) fn note_turn(&mut self, one: f64, two: f64) {
        self.note(one);
        self.turns.push(Turn { one, two, undisturbed: true });
    }

    /// Nanoseconds an operation of one thread, at best.
    pub(super) fn one(&self) -> Option<f64> {
        self.least
    }

    /// Nanoseconds an operation of two threads together.
    pub(super) fn two(&self) -> Option<f64> {
        median(self.counting().map(|turn| turn.two))
    }

    /// How much two threads do in the time in which one does one.
    pub(super) fn speedup(&self) -> Option<f64> {
        median(self.counting().map(|turn| turn.one / turn.two))
    }

    /// Whether only turns in which somebody disturbed could be used.
    pub(super) fn is_disturbed(&self) -> bool {
        !self.turns.is_empty() && !self.turns.iter().any(|turn| turn.undisturbed)
    }

    fn counting(&self) -> impl Iterator<Item = &Turn> {
        let all = self.is_disturbed();
        self.turns.iter().filter(move |turn| all || turn.undisturbed)
    }
}

fn median(figures: impl Iterator<Item = f64>) -> Option<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied()
}

/// Threads that do a round together.
struct Meeting {
    begin: Barrier,
    /// The first one is done. Who goes on would go on alone.
    over: AtomicBool,
}

impl Meeting {
    fn of(threads: usize) -> Meeting {
        Meeting { begin: Barrier::new(threads), over: AtomicBool::new(false) }
    }
}

/// What one thread did in a round.
#[derive(Clone, Copy)]
struct Round {
    start: Instant,
    /// When the last batch was done before the first thread had done its round.
    end: Instant,
    done: f64,
    /// Nanoseconds in which the thread wanted a CPU and had none.
    waited: f64,
    least: f64,
}

impl Round {
    fn is_undisturbed(&self) -> bool {
        self.waited < 0.03 * ROUND.as_nanos() as f64
    }

    /// Whether another began at the same time.
    fn is_beside(&self, other: &Round) -> bool {
        self.start.max(other.start) - self.start.min(other.start) < ROUND / 20
    }

    /// Operations a nanosecond until the round came to its end. When a thread had to wait for its CPU,
    /// that time is not counted. When it rests, because another is at work on the map, it is.
    fn rate(&self, end: Instant) -> f64 {
        self.done / ((end - self.start).as_nanos() as f64 - self.waited).max(1.0)
    }
}

fn round(
    subject: &dyn Subject,
    operation: Operation,
    entries: u32,
    thread: u32,
    meeting: &Meeting,
) -> Round {
    let mut keys = Keys::new(entries, thread.into());
    let (mut done, mut least) = (0, f64::INFINITY);
    meeting.begin.wait();
    let (start, waited) = (Instant::now(), time_waited());
    let mut end = start;
    while end - start < ROUND {
        subject.work(operation, &mut keys, thread, BATCH);
        let now = Instant::now();
        if meeting.over.load(Ordering::Relaxed) {
            break;
        }
        least = least.min((now - end).as_nanos() as f64 / f64::from(BATCH));
        end = now;
        done += BATCH;
    }
    meeting.over.store(true, Ordering::Relaxed);
    let waited = time_waited() - waited;
    Round { start, end, done: f64::from(done), waited, least }
}

/// Nanoseconds in which this thread could run and had no CPU (`schedstat`, proc(5)).
fn time_waited() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().nth(1).and_then(|waited| waited.parse().ok()).unwrap_or(0.0)
}

/// Keeps this thread on a CPU, if there is that one.
pub(super) fn settle_on(cpu: usize) {
    // SAFETY: a set of CPUs is bits, which may be zero; it is alive during the call.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &set);
    }
}

/// Time of all CPUs since the machine was started, and how much of it others on the host took, in
/// ticks (`/proc/stat`, proc_stat(5)).
pub(super) fn stolen() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<u64> = fields.filter_map(|field| field.parse().ok()).collect();
    (ticks.iter().take(8).sum(), ticks.get(7).copied().unwrap_or(0))
}

//! Waits for the next stop without sleeping, when that is quicker.
//!
//! While another CPU is idle the scheduler wakes every task on the idle one: tracer and tracee never
//! share a CPU, and each stop costs two wake-ups of a sleeping CPU, 5 us and more each in a virtual
//! machine. A tracer that is awake already saves one of them. On a busy machine looking is a waste:
//! the tracee may be waiting for this very CPU. Being preempted while looking tells the two apart.

use super::sys::{self, Change, Errno};

/// How often to look. A look takes about 0.3 us, and nearly all system calls of a process that is
/// busy with them follow each other within 60 us.
const LOOKS: u32 = 200;
/// What a find adds to the score and looking in vain takes from it: looking pays when one of two
/// looks finds something.
const FOUND: u32 = 1;
const IN_VAIN: u32 = 1;
const MOST: u32 = 8;
/// Waits without looking before another attempt, when there was nothing to be found.
const PAUSE: u32 = 32;
/// The same, when another task wanted this CPU.
const BUSY: u32 = 512;

/// Decides whether to look before sleeping.
#[derive(Debug)]
pub(super) struct Patience {
    /// Above zero: looking has paid lately.
    score: u32,
    /// Waits to go before the next attempt.
    pause: u32,
    /// How often this thread had lost its CPU to another task when last asked.
    preempted: i64,
}

impl Default for Patience {
    fn default() -> Patience {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        // With one CPU the tracee cannot run meanwhile.
        let pause = if cpus > 1 { 0 } else { u32::MAX };
        Patience { score: MOST, pause, preempted: 0 }
    }
}

impl Patience {
    /// Waits for any task, see [`sys::wait_any`].
    pub(super) fn wait(&mut self) -> Result<Change, Errno> {
        if self.pause > 0 {
            self.pause -= u32::from(self.pause != u32::MAX);
            if self.pause == 0 {
                self.preempted = sys::times_preempted();
            }
            return sys::wait_any();
        }
        for _ in 0..LOOKS {
            if let Some(change) = sys::poll_any()? {
                self.score = (self.score + FOUND).min(MOST);
                self.yield_to_others();
                return Ok(change);
            }
        }
        self.score = self.score.saturating_sub(IN_VAIN);
        if self.score == 0 {
            (self.pause, self.score) = (PAUSE, FOUND);
        }
        self.yield_to_others();
        sys::wait_any()
    }

    /// Stops looking for a while when somebody else had to push this thread aside.
    fn yield_to_others(&mut self) {
        let preempted = sys::times_preempted();
        if std::mem::replace(&mut self.preempted, preempted) != preempted {
            self.pause = BUSY;
        }
    }
}

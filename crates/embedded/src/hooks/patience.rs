//! Waits for the next stop without sleeping, when that is quicker.
//!
//! While another CPU is idle the scheduler wakes every task on the idle one: tracer and tracee never
//! share a CPU, and each stop costs two wake-ups of a sleeping CPU, 5 us and more each in a virtual
//! machine. A tracer that is awake already saves one of them. On a busy machine looking is a waste:
//! the tracee may be waiting for this very CPU. So it depends on whether it helped before.

use super::sys::{self, Change, Errno};

/// How often to look. A look takes about 0.3 us; most system calls of a busy process follow each
/// other within 15 us.
const LOOKS: u32 = 48;
/// What a find adds to the score and looking in vain takes from it: looking pays when four of five
/// looks find something. Sparse stops, as of one system call among many, are better slept through.
const FOUND: u32 = 1;
const IN_VAIN: u32 = 4;
const MOST: u32 = 16;
/// Waits without looking before another attempt.
const PAUSE: u32 = 64;

/// Decides whether to look before sleeping.
#[derive(Debug)]
pub(super) struct Patience {
    /// Above zero: looking has paid lately.
    score: u32,
    /// Waits to go before the next attempt.
    pause: u32,
}

impl Default for Patience {
    fn default() -> Patience {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        // With one CPU the tracee cannot run meanwhile.
        let pause = if cpus > 1 { 0 } else { u32::MAX };
        Patience { score: IN_VAIN, pause }
    }
}

impl Patience {
    /// Waits for any task, see [`sys::wait_any`].
    pub(super) fn wait(&mut self) -> Result<Change, Errno> {
        if self.pause > 0 {
            self.pause -= u32::from(self.pause != u32::MAX);
            return sys::wait_any();
        }
        for _ in 0..LOOKS {
            if let Some(change) = sys::poll_any()? {
                self.score = (self.score + FOUND).min(MOST);
                return Ok(change);
            }
        }
        self.score = self.score.saturating_sub(IN_VAIN);
        if self.score == 0 {
            self.pause = PAUSE;
            self.score = FOUND;
        }
        sys::wait_any()
    }
}

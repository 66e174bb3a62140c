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
/// After looking in vain, the number of waits that go without, at least and at most.
const PAUSE: std::ops::Range<u32> = 2..256;

/// Decides whether to look before sleeping.
#[derive(Debug)]
pub(super) struct Patience {
    /// Waits to go before the next attempt.
    pause: u32,
    /// How long the next pause will be.
    next_pause: u32,
}

impl Default for Patience {
    fn default() -> Patience {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        // With one CPU the tracee cannot run meanwhile.
        let pause = if cpus > 1 { 0 } else { u32::MAX };
        Patience { pause, next_pause: PAUSE.start }
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
                self.next_pause = PAUSE.start;
                return Ok(change);
            }
        }
        self.pause = self.next_pause;
        self.next_pause = (self.next_pause * 2).min(PAUSE.end);
        sys::wait_any()
    }
}

//! Returns of functions: the return address on the stack is replaced by that of a trampoline,
//! which is a single `int3`; the true one is kept here. (The kernel's uretprobes do the same,
//! `prepare_uretprobe`, `kernel/events/uprobes.c`.)

/// A function that was entered and has not returned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Frame {
    /// Where on the stack its return address is.
    pub(super) slot: u64,
    /// Its true return address. That of the trampoline when a function that is probed as well
    /// ended by jumping to this one.
    pub(super) return_to: u64,
    /// Index of the breakpoint.
    pub(super) probe: usize,
}

/// The functions that a thread has entered and not left. Frames are found by the place of their
/// return address, not by order: `longjmp` leaves some without a return, and coroutines take
/// turns.
#[derive(Clone, Debug, Default)]
pub(super) struct ReturnStack {
    frames: Vec<Frame>,
}

/// More than any program has at a time; beyond, the oldest are leftovers of `longjmp`.
const LIMIT: usize = 1 << 16;

impl ReturnStack {
    /// A function is entered, of which `slot` has the return address `return_to`.
    pub(super) fn push(&mut self, frame: Frame, trampoline: u64) {
        if frame.return_to != trampoline {
            // Whatever was there has been left by longjmp.
            self.frames.retain(|old| old.slot != frame.slot);
        }
        if self.frames.len() == LIMIT {
            self.frames.remove(0);
        }
        self.frames.push(frame);
    }

    /// A function returned from `slot`: its frame, innermost first; `None` when there is none.
    pub(super) fn pop(&mut self, slot: u64) -> Option<Frame> {
        let at = self.frames.iter().rposition(|frame| frame.slot == slot)?;
        Some(self.frames.remove(at))
    }

    /// Takes all frames, the oldest first.
    pub(super) fn take(&mut self) -> Vec<Frame> {
        std::mem::take(&mut self.frames)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAMPOLINE: u64 = 0x1000;

    fn frame(slot: u64, return_to: u64, probe: usize) -> Frame {
        Frame { slot, return_to, probe }
    }

    #[test]
    fn nested_calls_and_tail_calls() {
        let mut stack = ReturnStack::default();
        stack.push(frame(100, 1, 0), TRAMPOLINE);
        stack.push(frame(90, 2, 0), TRAMPOLINE);
        stack.push(frame(90, TRAMPOLINE, 1), TRAMPOLINE);
        assert_eq!(stack.pop(90), Some(frame(90, TRAMPOLINE, 1)));
        assert_eq!(stack.pop(90), Some(frame(90, 2, 0)));
        assert_eq!(stack.pop(90), None);
        assert_eq!(stack.pop(100), Some(frame(100, 1, 0)));
    }

    #[test]
    fn longjmp_leaves_frames_that_do_no_harm() {
        let mut stack = ReturnStack::default();
        stack.push(frame(100, 1, 0), TRAMPOLINE);
        stack.push(frame(90, 2, 0), TRAMPOLINE);
        // longjmp to before the second call, which then is made again.
        stack.push(frame(90, 3, 0), TRAMPOLINE);
        assert_eq!(stack.pop(90), Some(frame(90, 3, 0)));
        assert_eq!(stack.pop(90), None);
        assert_eq!(stack.pop(100), Some(frame(100, 1, 0)));
    }
}

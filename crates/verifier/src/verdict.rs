//! What comes out: accepted or refused, the log, figures.

use crate::proof::Proof;

/// Why a program was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejection {
    /// The kernel's error number: 13 (`EACCES`), 22 (`EINVAL`), 7 (`E2BIG`), ...
    pub errno: i32,
    /// The kernel's words; several lines where it says several things.
    pub message: String,
    /// The slot that was refused, when it was one.
    pub slot: Option<usize>,
}

impl Rejection {
    /// `EINVAL`.
    pub fn invalid(slot: impl Into<Option<usize>>, message: impl Into<String>) -> Rejection {
        Rejection { errno: 22, message: message.into(), slot: slot.into() }
    }

    /// `EACCES`.
    pub fn denied(slot: impl Into<Option<usize>>, message: impl Into<String>) -> Rejection {
        Rejection { errno: 13, message: message.into(), slot: slot.into() }
    }
}

/// The kernel's statistics of a verification (`print_verification_stats`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Instructions walked.
    pub processed: u32,
    /// The most states that were kept for one instruction.
    pub max_states_per_insn: u32,
    /// States that were kept.
    pub total_states: u32,
    /// States that stood at once at most.
    pub peak_states: u32,
    /// The longest way in which states were looked at for precision.
    pub longest_mark_read: u32,
    /// Bytes of stack of the entry and of each function that is called, as `stack depth` shows.
    pub stack_depth: u32,
}

/// What the verifier says of a program.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// Whether it is safe, or why not.
    pub result: Result<(), Rejection>,
    /// The kernel's log, at the level that was asked for.
    pub log: String,
    /// Figures.
    pub stats: Stats,
    /// What engines need not check.
    pub proof: Proof,
}

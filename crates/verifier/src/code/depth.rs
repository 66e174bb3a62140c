//! Whether the frames of all chains of calls fit the stack (`check_max_stack_depth`,
//! `kernel/bpf/verifier.c`). This is looked at after the walk, which says how much each function
//! uses.

use std::collections::HashMap;

use bombus_isa::{Imm64, Op};
use bombus_platform::{AttachType, MAX_STACK, ProgType};

use super::{Code, Instruction, refuse};
use crate::{Program, Rejection};

/// Frames of one chain at most, but for global functions, each of which starts anew
/// (`MAX_CALL_FRAMES`).
const MAX_FRAMES: u8 = 16;
/// What makes a stack of its own worth it (`BPF_PRIV_STACK_MIN_SIZE`).
const MIN_PRIVATE: u32 = 64;
/// How much the callers of a function may use that makes tail calls.
const MAX_BEFORE_TAIL_CALL: u32 = 256;

/// How the walk saw a function used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FrameUse {
    /// Bytes of stack that it uses, [`super::Fastcalls::remove`] taken into account.
    pub depth: u16,
    /// Whether it is a callback.
    pub is_callback: bool,
    /// Whether it is one that is called when the program has ended, by a timer or a work queue.
    pub is_later_callback: bool,
    /// Whether it takes or gives arguments in memory.
    pub has_stack_arguments: bool,
}

/// Where a function's frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Undecided,
    /// On the stack of who called the program.
    Shared,
    /// In memory of its own.
    Private,
}

/// A function on the way, and with what it was reached.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Visit {
    function: usize,
    /// Bytes of the frames before.
    depth: u32,
    frame: u8,
    /// Whether there is a callback on the way.
    in_callback: bool,
    /// Whether there are arguments in memory on the way.
    in_stack_arguments: bool,
}

/// Checks all chains of calls, dead code included; gives the most bytes of stack that one takes
/// (`stack depth max` of the statistics). `private_stack` is said of callbacks of the kernel's
/// structures that ask for a stack of their own.
pub fn check_depth(
    code: &Code,
    program: &Program<'_>,
    uses: &[FrameUse],
    private_stack: bool,
) -> Result<u32, Rejection> {
    let functions = code.functions();
    let tail_calls = functions.iter().any(|function| function.has_tail_call);
    let private = !tail_calls && may_be_private(program, private_stack);
    let mut checker = Checker {
        code,
        uses,
        calls: (0..functions.len()).map(|function| calls(code, function)).collect(),
        places: vec![Place::Undecided; functions.len()],
        private: false,
        done: HashMap::new(),
        deepest: 0,
        path: Vec::new(),
    };
    // What a timer runs may interrupt the program: such functions get no stack of their own. So the
    // entry comes last.
    for root in (0..functions.len()).rev() {
        if root == 0 || checker.is_later_callback(root) {
            checker.private = private && root == 0;
            checker.done.clear();
            checker.check(root)?;
        }
    }
    Ok(checker.deepest)
}

/// `bpf_enable_priv_stack`.
fn may_be_private(program: &Program<'_>, requested: bool) -> bool {
    match program.prog_type {
        ProgType::Kprobe | ProgType::Tracepoint | ProgType::PerfEvent | ProgType::RawTracepoint => {
            true
        }
        ProgType::Tracing => requested || program.attach_type != AttachType::TraceIter,
        ProgType::Lsm | ProgType::StructOps => requested,
        _ => false,
    }
}

/// What a function's slot does to the chain.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// Calls a function, or refers to one that is called back.
    Call { slot: usize, function: usize, is_call: bool },
    /// Throws an exception.
    Throw { slot: usize },
}

fn calls(code: &Code, function: usize) -> Vec<Event> {
    let event = |slot: usize| {
        let (off, is_call) = match code.instruction(slot) {
            Instruction::Op(Op::CallLocal { off }) => (off, true),
            Instruction::Op(Op::LoadImm64 { imm: Imm64::Func(off), .. }) => (off, false),
            _ => {
                let throws = code.callee(slot).is_some_and(|callee| callee.throws);
                return throws.then_some(Event::Throw { slot });
            }
        };
        let function = code.function_of((slot as i32 + 1 + off) as usize);
        Some(Event::Call { slot, function, is_call })
    };
    code.functions()[function].slots().filter_map(event).collect()
}

struct Checker<'a> {
    code: &'a Code,
    uses: &'a [FrameUse],
    calls: Vec<Vec<Event>>,
    places: Vec<Place>,
    /// Whether functions may have stacks of their own.
    private: bool,
    /// What has been gone through without a complaint, and whether there are tail calls in it.
    done: HashMap<Visit, bool>,
    deepest: u32,
    /// The chain, with how many of each function's calls have been looked at and whether there have
    /// been tail calls.
    path: Vec<(Visit, usize, bool)>,
}

impl Checker<'_> {
    fn of(&self, function: usize) -> FrameUse {
        self.uses.get(function).copied().unwrap_or_default()
    }

    fn is_later_callback(&self, function: usize) -> bool {
        self.of(function).is_later_callback || self.code.functions()[function].is_exception_callback
    }

    fn is_callback(&self, function: usize) -> bool {
        self.of(function).is_callback || self.code.functions()[function].is_exception_callback
    }

    fn check(&mut self, root: usize) -> Result<(), Rejection> {
        self.path.clear();
        let start = Visit {
            function: root,
            depth: 0,
            frame: 0,
            in_callback: false,
            in_stack_arguments: false,
        };
        self.enter(start)?;
        while let Some(top) = self.path.last_mut() {
            let (visit, place) = (top.0, top.1);
            top.1 += 1;
            match self.calls[visit.function].get(place).copied() {
                Some(event) => self.step(visit, event)?,
                None => self.leave()?,
            }
        }
        Ok(())
    }

    fn step(&mut self, visit: Visit, event: Event) -> Result<(), Rejection> {
        let (slot, function, is_call) = match event {
            Event::Call { slot, function, is_call } => (slot, function, is_call),
            Event::Throw { slot } if visit.in_callback => {
                let message = format!(
                    "bpf_throw kfunc (insn {slot}) cannot be called from callback subprog {}",
                    visit.function
                );
                return Err(Rejection::invalid(slot, message));
            }
            Event::Throw { .. } => return Ok(()),
        };
        let called = &self.code.functions()[function];
        if self.is_later_callback(function) {
            if !is_call {
                return Ok(());
            }
            if called.is_exception_callback {
                let message = format!("insn {slot} cannot call exception cb directly");
                return Err(Rejection::invalid(slot, message));
            }
        }
        let frame = if called.is_global() { 0 } else { visit.frame + 1 };
        if frame >= MAX_FRAMES {
            let message = format!("the call stack of {frame} frames is too deep !");
            return Err(refuse(7, slot, message));
        }
        let depth = visit.depth + self.shared(visit.function);
        self.enter(Visit { function, depth, frame, ..visit })
    }

    /// Bytes that a function adds to the stack that all share.
    fn shared(&self, function: usize) -> u32 {
        match self.places[function] {
            Place::Private => 0,
            _ => self.rounded(function),
        }
    }

    fn rounded(&self, function: usize) -> u32 {
        u32::from(self.of(function).depth).next_multiple_of(16)
    }

    fn enter(&mut self, from: Visit) -> Result<(), Rejection> {
        let function = from.function;
        let visit = Visit {
            in_callback: from.in_callback || self.is_callback(function),
            in_stack_arguments: from.in_stack_arguments || self.of(function).has_stack_arguments,
            ..from
        };
        if let Some(&tail_calls) = self.done.get(&visit) {
            self.return_to_caller(tail_calls);
            return Ok(());
        }
        let called = &self.code.functions()[function];
        let start = called.start as usize;
        if called.has_packet_load && visit.in_callback {
            return Err(Rejection::invalid(start, "cannot use BPF_LD_[ABS|IND] within callback"));
        }
        if function > 0 && called.has_tail_call && visit.depth >= MAX_BEFORE_TAIL_CALL {
            let message = format!(
                "tail_calls are not allowed when call stack of previous frames is {} bytes. \
                 Too large",
                visit.depth
            );
            return Err(Rejection::denied(start, message));
        }
        // A root's own tail calls come into it when it calls something.
        let has_tail_call = called.has_tail_call && !self.path.is_empty();
        self.place(function);
        let own = self.rounded(function);
        let depth = visit.depth + self.shared(function);
        if self.places[function] == Place::Private {
            self.deepest = self.deepest.max(own);
            if own as usize > MAX_STACK {
                let message = format!("stack size of subprog {function} is {own}. Too large");
                return Err(Rejection::denied(start, message));
            }
        } else {
            self.deepest = self.deepest.max(depth);
            if depth as usize > MAX_STACK {
                let calls = self.path.len() + 1;
                let message = format!("combined stack size of {calls} calls is {depth}. Too large");
                return Err(Rejection::denied(start, message));
            }
        }
        self.path.push((visit, 0, has_tail_call));
        Ok(())
    }

    /// Decides where a function's frame is.
    fn place(&mut self, function: usize) {
        let place = &mut self.places[function];
        let uses = self.uses.get(function).copied().unwrap_or_default();
        if !self.private || uses.has_stack_arguments {
            *place = Place::Shared;
        } else if *place == Place::Undecided
            && u32::from(uses.depth).next_multiple_of(16) >= MIN_PRIVATE
        {
            *place = Place::Private;
        }
    }

    fn leave(&mut self) -> Result<(), Rejection> {
        let Some((visit, _, tail_calls)) = self.path.pop() else { return Ok(()) };
        let start = self.code.functions()[visit.function].start as usize;
        if tail_calls && visit.in_callback {
            return Err(Rejection::invalid(start, "cannot tail call within callback"));
        }
        let tail_calls_of_entry =
            visit.function == 0 && self.code.functions()[visit.function].has_tail_call;
        if (tail_calls || tail_calls_of_entry) && visit.in_stack_arguments {
            let message = "tail_calls are not allowed in programs with stack args";
            return Err(Rejection::invalid(start, message));
        }
        self.done.insert(visit, tail_calls);
        self.return_to_caller(tail_calls);
        Ok(())
    }

    fn return_to_caller(&mut self, tail_calls: bool) {
        if let Some((visit, _, reachable)) = self.path.last_mut() {
            *reachable |= tail_calls || self.code.functions()[visit.function].has_tail_call;
        }
    }
}

//! What is known at a place in the program: of the registers and stack of each function that is
//! running there, and of what the program holds (`struct bpf_verifier_state`).

mod kind;
mod register;
mod stack;

pub(crate) use kind::{Base, Flags, Kind};
pub(crate) use register::{
    ADD_CONST, ADD_CONST32, ADD_CONST64, AT_PACKET_END, BEYOND_PACKET_END, DynptrKind, IterState,
    MAX_OFFSET, MapRef, Number, Object, Register, TypeRef,
};
pub(crate) use stack::{Byte, SLOT, Slot, Stack, bits, place};

use crate::walk::history::Jump;

/// Registers of a frame, the frame pointer with them.
pub(crate) const REGISTERS: usize = 11;
/// The frame pointer.
pub(crate) const FP: usize = 10;
/// Bytes of a frame's stack at most.
pub(crate) const MAX_STACK: i64 = 512;
/// Frames at most (`MAX_CALL_FRAMES`, Linux 7.3).
pub(crate) const MAX_FRAMES: usize = 16;
/// The call site of a frame that nothing called.
pub(crate) const NO_CALL: i32 = -1;

/// The numbers that a function may return.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ReturnRange {
    /// The least.
    pub min: i32,
    /// The greatest.
    pub max: i32,
    /// Whether its low half alone counts.
    pub low_half: bool,
}

impl ReturnRange {
    /// All numbers from `min` to `max`.
    pub(crate) const fn new(min: i32, max: i32) -> ReturnRange {
        ReturnRange { min, max, low_half: false }
    }

    /// Whether a register is within.
    pub(crate) fn holds(self, register: &Register) -> bool {
        let (min, max) = match self.low_half {
            true => (register.smin32().into(), register.smax32().into()),
            false => (register.smin(), register.smax()),
        };
        i64::from(self.min) <= min && max <= i64::from(self.max)
    }
}

/// A function that is running.
#[derive(Debug)]
pub(crate) struct Frame {
    /// Its registers.
    pub regs: [Register; REGISTERS],
    /// Its stack, from the frame pointer down.
    pub stack: Stack,
    /// The slot of the call, or [`NO_CALL`].
    pub callsite: i32,
    /// Which function.
    pub function: u32,
    /// Tells entries of an asynchronous callback apart.
    pub async_entries: u32,
    /// What it may return, when it is a callback.
    pub callback_range: ReturnRange,
    /// It was called by a helper that waits for it.
    pub in_callback: bool,
    /// It is called later.
    pub in_async_callback: bool,
    /// It is called when the program throws.
    pub in_exception_callback: bool,
    /// Of a state that is kept: the slots that do not cover just any other, a bit each.
    pub held_slots: u64,
    /// How many times the callback of the helper that it called was walked.
    pub callback_depth: u32,
}

impl Frame {
    /// Of a function that is just entered.
    pub(crate) fn new(callsite: i32, number: usize, function: u32) -> Frame {
        let mut regs = [Register::NOT_INIT; REGISTERS];
        regs[FP] = Register::pointer(Base::Stack, Object::Frame(number as u8));
        Frame {
            regs,
            stack: Stack::default(),
            callsite,
            function,
            async_entries: 0,
            callback_range: ReturnRange::new(0, 0),
            in_callback: false,
            in_async_callback: false,
            in_exception_callback: false,
            held_slots: 0,
            callback_depth: 0,
        }
    }

    /// Room for the stack down to an offset.
    pub(crate) fn grow(&mut self, offset: i64) {
        self.stack.grow((offset.unsigned_abs() as usize).div_ceil(SLOT));
    }

    /// Bytes of stack that something was stored in.
    pub(crate) fn depth(&self) -> i64 {
        (self.stack.len() * SLOT) as i64
    }
}

impl Clone for Frame {
    fn clone(&self) -> Frame {
        Frame { stack: self.stack.clone(), ..*self }
    }

    fn clone_from(&mut self, other: &Frame) {
        let mut stack = std::mem::take(&mut self.stack);
        stack.clone_from(&other.stack);
        *self = Frame { stack, ..*other };
    }
}

/// What a reference is to (`enum ref_state_type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReferenceKind {
    /// An object; the id of what it goes with.
    Object(u32),
    /// Saved interrupt flags.
    Irq,
    /// A lock: what kind, and what it is in.
    Lock(LockKind, LockOwner),
}

/// Locks (`REF_TYPE_LOCK...`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LockKind {
    /// `bpf_spin_lock`.
    Spin,
    /// `bpf_res_spin_lock`.
    Resilient,
    /// `bpf_res_spin_lock_irqsave`.
    ResilientIrq,
}

/// What a lock is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LockOwner {
    /// A map's value.
    Map(MapRef),
    /// An object of a type that some BTF has.
    Btf(u8),
}

/// Something that must be given back (`struct bpf_reference_state`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Reference {
    /// What.
    pub kind: ReferenceKind,
    /// The id of the registers that hold it.
    pub id: u32,
    /// The slot where it was taken.
    pub slot: usize,
}

/// A state that is kept, by its place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StateRef(pub u32);

/// What is known at a place.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// The functions that are running, the innermost last.
    pub frames: Vec<Frame>,
    /// What must be given back.
    pub references: Vec<Reference>,
    /// Locks that are held.
    pub locks: u32,
    /// The id and owner of the lock that was taken last.
    pub lock: Option<(u32, LockOwner)>,
    /// Sections without preemption.
    pub preempt_off: u32,
    /// RCU sections.
    pub rcu: u32,
    /// The id of the interrupt flags that were saved last; 0: none.
    pub irq_id: u32,
    /// It stands on a path that only speculation goes.
    pub speculative: bool,
    /// The program may sleep here.
    pub sleepable: bool,
    /// Its place, and that of the instruction before it ([`NO_CALL`]: none).
    pub slot: usize,
    /// The slot of the instruction that ran before.
    pub last_slot: i32,
    /// The first slot since the state that it came from was kept.
    pub first_slot: usize,
    /// The state that it came from.
    pub parent: Option<StateRef>,
    /// Paths that go on from here and have not ended.
    pub branches: u32,
    /// Of a state that leads back into a loop: that which it is equal to.
    pub equal: Option<StateRef>,
    /// The jumps since the state that it came from.
    pub history: Vec<Jump>,
    /// States before it on the path.
    pub depth: u32,
    /// Callbacks that were entered on the path, more than once.
    pub callback_unrolls: u32,
    /// `may_goto`s that were not taken on the path.
    pub may_gotos: u32,
}

impl State {
    /// At the start of a function.
    pub(crate) fn new(function: u32, slot: usize, sleepable: bool) -> State {
        State {
            frames: vec![Frame::new(NO_CALL, 0, function)],
            references: Vec::new(),
            locks: 0,
            lock: None,
            preempt_off: 0,
            rcu: 0,
            irq_id: 0,
            speculative: false,
            sleepable,
            slot,
            last_slot: NO_CALL,
            first_slot: slot,
            parent: None,
            branches: 1,
            equal: None,
            history: Vec::new(),
            depth: 0,
            callback_unrolls: 0,
            may_gotos: 0,
        }
    }

    /// The same, in the memory of a state that is not needed any more, if there is one.
    pub(crate) fn clone_in(&self, spare: Option<State>) -> State {
        let Some(State { mut frames, mut references, mut history, .. }) = spare else {
            return self.clone();
        };
        frames.clone_from(&self.frames);
        references.clone_from(&self.references);
        history.clone_from(&self.history);
        State { frames, references, history, ..*self }
    }

    /// The number of the innermost frame.
    pub(crate) fn top(&self) -> usize {
        self.frames.len() - 1
    }

    /// The innermost frame.
    pub(crate) fn frame(&self) -> &Frame {
        &self.frames[self.frames.len() - 1]
    }

    /// The innermost frame.
    pub(crate) fn frame_mut(&mut self) -> &mut Frame {
        let top = self.top();
        &mut self.frames[top]
    }

    /// The registers of the innermost frame.
    pub(crate) fn regs(&mut self) -> &mut [Register; REGISTERS] {
        &mut self.frame_mut().regs
    }

    /// The slot that a frame is at: its call, or where the innermost is (`bpf_frame_insn_idx`).
    pub(crate) fn frame_slot(&self, frame: usize) -> usize {
        match self.frames.get(frame + 1) {
            Some(callee) => callee.callsite.max(0) as usize,
            None => self.slot,
        }
    }

    /// Every register, spilled ones with them (`bpf_for_each_reg_in_vstate`).
    pub(crate) fn each_register(&mut self, mut change: impl FnMut(&mut Register)) {
        for frame in &mut self.frames {
            frame.regs.iter_mut().for_each(&mut change);
            for place in frame.stack.held() {
                if frame.stack[place].is_spill() {
                    frame.stack.update(place, &mut change);
                }
            }
        }
    }

    /// The reference to an object with this id (`find_reference_state`).
    pub(crate) fn has_reference(&self, id: u32) -> bool {
        let is_it = |reference: &Reference| {
            matches!(reference.kind, ReferenceKind::Object(_)) && reference.id == id
        };
        id != 0 && self.references.iter().any(is_it)
    }
}

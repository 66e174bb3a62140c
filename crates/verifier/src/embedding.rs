//! What the walk says to whoever looks on: what is known before each instruction that it looks at, on
//! every path. Those who prove the verifier right hold this against runs of the program.

use std::num::Wrapping;

use crate::code::{Code, LiveStack};
use crate::domain::Scalar;
use crate::state::{
    ADD_CONST, ADD_CONST32, Base, Byte, FP, Object, REGISTERS, Register, SLOT, State,
};
use crate::walk::{Observer, Walk};

/// Looks on, and keeps what it sees.
pub trait Witness {
    /// The walk is about to look at an instruction.
    fn before(&mut self, place: &Place<'_>);
}

/// When a path ends at a place that was proved before.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Pruning {
    /// As the kernel does it: numbers that nothing depends on may be any.
    #[default]
    Kernel,
    /// When all that is known now is within what was known then: every state of every run is in one
    /// that the observer sees.
    Within,
    /// Never: every path is walked to its end.
    Never,
}

/// What is known at a place.
#[derive(Debug)]
pub struct Place<'a> {
    state: &'a State,
    code: &'a Code,
    live: LiveStack<'a>,
}

/// What a register holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// Anything: nothing is known of it, or nobody reads it any more.
    Anything,
    /// A number.
    Number,
    /// A pointer to the context.
    Context,
    /// A map, by its index in [`Program::maps`](crate::Program::maps).
    Map(usize),
    /// A pointer to a value of such a map.
    MapValue(usize),
    /// A pointer to a key of such a map.
    MapKey(usize),
    /// A pointer to the stack of the frame with this number.
    Stack(usize),
    /// A pointer into a packet, of which so many bytes from where the pointer starts to count are
    /// there; below 0 nothing is known of that.
    Packet(i32),
    /// A pointer into what is before a packet.
    PacketMeta(i32),
    /// The packet's end.
    PacketEnd,
    /// A pointer to memory of this size.
    Memory(u32),
    /// A function, by its number.
    Function(u32),
    /// A pointer to something else.
    Other,
}

/// What is known of a register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Known {
    /// What it holds.
    pub what: What,
    /// It may be null instead.
    pub may_be_null: bool,
    /// The number; of a pointer, the offset from what it points to.
    pub value: Scalar<Wrapping<u64>>,
    /// Numbers with the same id, not 0, are the same but for [`Known::delta`]. Packet pointers with
    /// the same id have the same unknown part.
    pub id: u32,
    /// What it is more than the number that the id stands for.
    pub delta: i32,
    /// Only the low halves of numbers with this id are tied to each other.
    pub is_low_half: bool,
}

/// What is known of some bytes of a stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Held {
    /// So many bytes hold what a register held, or its low bytes.
    Register(usize, Known),
    /// A byte is zero.
    Zero,
}

impl Place<'_> {
    /// The slot of the instruction.
    pub fn slot(&self) -> usize {
        self.state.slot
    }

    /// How many functions are running.
    pub fn frames(&self) -> usize {
        self.state.frames.len()
    }

    /// The slot that a frame was called from; for the first there is none.
    pub fn callsite(&self, frame: usize) -> Option<usize> {
        usize::try_from(self.state.frames[frame].callsite).ok()
    }

    /// What the registers of a frame hold.
    pub fn registers(&self, frame: usize) -> [Known; REGISTERS] {
        // What nobody reads any more need not be as it is on all ways here.
        let live = self.code.live_registers(self.state.frame_slot(frame)) | 1 << FP;
        let regs = &self.state.frames[frame].regs;
        std::array::from_fn(|register| match live >> register & 1 {
            0 => known(&Register::NOT_INIT),
            _ => known(&regs[register]),
        })
    }

    /// What the stack of a frame holds, by offsets from the frame pointer.
    pub fn stack(&self, frame: usize) -> Vec<(i32, Held)> {
        let mut held = Vec::new();
        let live = self.live.of(frame);
        for (place, slot) in self.state.frames[frame].stack.iter().enumerate() {
            let start = -((place + 1) as i32 * SLOT as i32);
            let mut slot = slot.clone();
            let (near, far) = live.halves(place);
            slot.clean(near, far);
            if slot.is_spill() {
                held.push((start, Held::Register(slot.spill_size(), known(slot.register()))));
            }
            let zeros = (0..SLOT).filter(|byte| slot.bytes[*byte] == Byte::Zero);
            held.extend(zeros.map(|byte| (start + (SLOT - 1 - byte) as i32, Held::Zero)));
        }
        held
    }
}

fn known(register: &Register) -> Known {
    let map = || register.map().map_or(0, |map| map.0 as usize);
    let what = match register.kind.base {
        Base::NotInit => What::Anything,
        Base::Scalar => What::Number,
        Base::Ctx => What::Context,
        Base::MapPtr => What::Map(map()),
        Base::MapValue => What::MapValue(map()),
        Base::MapKey => What::MapKey(map()),
        Base::Stack => What::Stack(register.frame()),
        Base::Packet => What::Packet(register.range()),
        Base::PacketMeta => What::PacketMeta(register.range()),
        Base::PacketEnd => What::PacketEnd,
        Base::Mem => What::Memory(register.size()),
        Base::Func => match register.object {
            Object::Function(function) => What::Function(function),
            _ => What::Other,
        },
        _ => What::Other,
    };
    let is_tied = register.id & ADD_CONST != 0;
    Known {
        what,
        may_be_null: register.kind.may_be_null(),
        value: register.value,
        id: register.id & !ADD_CONST,
        delta: if is_tied { register.delta } else { 0 },
        is_low_half: register.id & ADD_CONST32 != 0,
    }
}

/// Shows a witness the walk.
pub(crate) struct Watching<'a>(pub &'a mut dyn Witness);

impl Observer for Watching<'_> {
    fn before(&mut self, walk: &Walk<'_>) {
        if walk.state.speculative {
            return;
        }
        let live = walk.code.live_stacks(&walk.state);
        self.0.before(&Place { state: &walk.state, code: walk.code, live });
    }
}

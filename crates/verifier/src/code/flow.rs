//! Whether all slots can be reached, and by which edges (`bpf_check_cfg`, `kernel/bpf/cfg.c`): what
//! cannot is refused, loops are refused for those without `CAP_BPF`, and slots are marked at which
//! the walk keeps states.

use bombus_isa::{Imm64, Op};
use bombus_platform::MapType;

use super::calls::Calls;
use super::{Callback, Function, Instruction, resolve};
use crate::{Options, Program, Rejection};

/// What the walk has to know of a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Marks(u8);

impl Marks {
    /// States may be compared and kept here.
    pub(super) const PRUNE_POINT: Marks = Marks(1);
    /// Control may come from elsewhere than the slot before.
    pub(super) const JUMP_POINT: Marks = Marks(2);
    /// A state must be kept here.
    pub(super) const CHECKPOINT: Marks = Marks(4);
    /// Calls what calls back before it returns.
    pub(super) const CALLS_BACK: Marks = Marks(8);
    /// A jump or call goes here.
    pub(super) const JUMP_TARGET: Marks = Marks(16);

    pub(super) const fn has(self, mark: Marks) -> bool {
        self.0 & mark.0 == mark.0
    }

    const fn and(self, other: Marks) -> Marks {
        Marks(self.0 | other.0)
    }
}

/// What comes of looking at all edges.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) marks: Vec<Marks>,
    /// For each function the slots that its `gotox` go to.
    pub(super) tables: Vec<Vec<u32>>,
}

const NEW: u8 = 0;
const OPEN: u8 = 1;
const DONE: u8 = 2;

/// Goes along all edges, depth first.
pub(super) fn explore(
    program: &Program<'_>,
    options: &Options,
    arrays: &[usize],
    instructions: &[Instruction],
    calls: &Calls,
    function_of: &[u16],
    functions: &mut [Function],
) -> Result<Flow, Rejection> {
    let mut explorer = Explorer {
        program,
        loops: options.privileges.bpf,
        arrays,
        instructions,
        calls,
        function_of,
        flow: Flow {
            marks: vec![Marks::default(); instructions.len()],
            tables: vec![Vec::new(); functions.len()],
        },
        state: vec![NEW; instructions.len()],
        stack: Vec::new(),
        functions,
    };
    explorer.explore(0)?;
    let catcher = explorer.functions.iter().find(|function| function.is_exception_callback);
    if let Some(start) = catcher.map(|catcher| catcher.start as usize) {
        explorer.explore(start)?;
    }
    explorer.check_reached()?;
    Ok(explorer.flow)
}

/// Whether control goes from here to the next instruction, and into no function of the program.
const fn goes_on(instruction: Instruction) -> bool {
    match instruction {
        Instruction::GotoRegister { .. } => false,
        Instruction::Op(op) => !matches!(
            op,
            Op::Exit
                | Op::Goto { .. }
                | Op::GotoLong { .. }
                | Op::MayGoto { .. }
                | Op::JumpIf { .. }
                | Op::CallLocal { .. }
                | Op::LoadImm64 { imm: Imm64::Func(_), .. }
        ),
        _ => true,
    }
}

struct Explorer<'a> {
    program: &'a Program<'a>,
    /// Whether loops are allowed.
    loops: bool,
    /// Places in [`Program::maps`] of the instruction arrays that the code names.
    arrays: &'a [usize],
    instructions: &'a [Instruction],
    calls: &'a Calls,
    function_of: &'a [u16],
    functions: &'a mut [Function],
    flow: Flow,
    state: Vec<u8>,
    /// Slots whose edges are being followed, and how many have been.
    stack: Vec<(u32, u32)>,
}

impl Explorer<'_> {
    fn explore(&mut self, start: usize) -> Result<(), Rejection> {
        if self.state[start] != NEW {
            return Ok(());
        }
        self.enter(start)?;
        while let Some(top) = self.stack.last_mut() {
            let (slot, edge) = (top.0 as usize, top.1);
            top.1 += 1;
            match self.edge(slot, edge) {
                Some(to) if self.state[to] == NEW => self.enter(to)?,
                Some(to) if self.state[to] == OPEN && !self.loops => {
                    let message = format!("back-edge from insn {slot} to {to}");
                    return Err(Rejection::invalid(slot, message));
                }
                Some(_) => {}
                None => {
                    self.leave(slot);
                    self.stack.pop();
                }
            }
        }
        Ok(())
    }

    /// The slot at the end of one of a slot's edges. A call's second edge is into what it calls.
    fn edge(&self, slot: usize, edge: u32) -> Option<usize> {
        let instruction = self.instructions[slot];
        let next = slot + instruction.slots();
        let jump = |distance: i32| (slot as i32 + 1 + distance) as usize;
        let (first, second) = match instruction {
            Instruction::GotoRegister { .. } => {
                let table = &self.flow.tables[usize::from(self.function_of[slot])];
                return table.get(edge as usize).map(|&to| to as usize);
            }
            Instruction::Op(op) => match op {
                Op::Exit => return None,
                Op::Goto { off } => (jump(off.into()), None),
                Op::GotoLong { off } => (jump(off), None),
                Op::MayGoto { off } | Op::JumpIf { off, .. } => (next, Some(jump(off.into()))),
                Op::CallLocal { off } | Op::LoadImm64 { imm: Imm64::Func(off), .. } => {
                    (next, Some(jump(off)))
                }
                _ => (next, None),
            },
            _ => (next, None),
        };
        match edge {
            0 => Some(first),
            1 => second,
            _ => None,
        }
    }

    fn enter(&mut self, slot: usize) -> Result<(), Rejection> {
        let mut slot = slot;
        loop {
            self.state[slot] = OPEN;
            if matches!(self.instructions[slot], Instruction::GotoRegister { .. }) {
                self.make_table(slot)?;
            }
            self.mark(slot);
            // Only who may not have loops needs to know the way back through what has one edge.
            if !self.loops || !goes_on(self.instructions[slot]) {
                self.stack.push((slot as u32, 0));
                return Ok(());
            }
            slot += self.instructions[slot].slots();
            if self.state.get(slot) != Some(&NEW) {
                return Ok(());
            }
        }
    }

    /// All that it calls has been looked at: what that may do, the caller may.
    fn leave(&mut self, slot: usize) {
        self.state[slot] = DONE;
        let (Instruction::Op(Op::CallLocal { off })
        | Instruction::Op(Op::LoadImm64 { imm: Imm64::Func(off), .. })) = self.instructions[slot]
        else {
            return;
        };
        let called = self.function_of[(slot as i32 + 1 + off) as usize];
        let called = &self.functions[usize::from(called)];
        let (packet, sleeps, throws) =
            (called.changes_packet, called.might_sleep, called.might_throw);
        self.effects(slot, packet, sleeps, throws);
    }

    fn effects(&mut self, slot: usize, packet: bool, sleeps: bool, throws: bool) {
        let function = &mut self.functions[usize::from(self.function_of[slot])];
        function.changes_packet |= packet;
        function.might_sleep |= sleeps;
        function.might_throw |= throws;
    }

    fn set(&mut self, slot: usize, marks: Marks) {
        if let Some(of_slot) = self.flow.marks.get_mut(slot) {
            *of_slot = of_slot.and(marks);
        }
    }

    fn mark(&mut self, slot: usize) {
        const POINT: Marks = Marks::PRUNE_POINT.and(Marks::JUMP_POINT);
        const TARGET: Marks = POINT.and(Marks::JUMP_TARGET);
        let op = match self.instructions[slot] {
            Instruction::Op(op) => op,
            Instruction::GotoRegister { .. } => {
                self.set(slot, Marks::PRUNE_POINT);
                let table =
                    std::mem::take(&mut self.flow.tables[usize::from(self.function_of[slot])]);
                for &to in &table {
                    self.set(to as usize, Marks::JUMP_POINT.and(Marks::JUMP_TARGET));
                }
                self.flow.tables[usize::from(self.function_of[slot])] = table;
                return;
            }
            _ => return,
        };
        let jump = |distance: i32| (slot as i32 + 1 + distance) as usize;
        match op {
            Op::Goto { off } => self.set(jump(off.into()), TARGET),
            Op::GotoLong { off } => self.set(jump(off), TARGET),
            Op::MayGoto { off } => {
                self.set(slot, Marks::PRUNE_POINT.and(Marks::CHECKPOINT));
                self.set(jump(off.into()), TARGET);
            }
            Op::JumpIf { off, .. } => {
                self.set(slot, Marks::PRUNE_POINT);
                self.set(jump(off.into()), TARGET);
            }
            Op::CallLocal { off } | Op::LoadImm64 { imm: Imm64::Func(off), .. } => {
                self.set(slot, Marks::PRUNE_POINT);
                self.set(jump(off), TARGET);
                self.set(slot + op.slots(), POINT);
            }
            Op::CallHelper { .. } | Op::CallKfunc { .. } => {
                self.set(slot + 1, POINT);
                self.mark_call(slot);
            }
            _ => {}
        }
    }

    fn mark_call(&mut self, slot: usize) {
        let Some(known) = self.calls.at(slot) else { return };
        let callee = &known.callee;
        match callee.callback {
            Callback::Never => {}
            Callback::Now => {
                let marks = Marks::CALLS_BACK.and(Marks::CHECKPOINT);
                self.set(slot, marks.and(Marks::PRUNE_POINT).and(Marks::JUMP_POINT));
            }
            Callback::Later => self.set(slot, Marks::PRUNE_POINT),
        }
        if callee.is_iterator_next {
            self.set(slot, Marks::PRUNE_POINT.and(Marks::CHECKPOINT));
        }
        self.effects(slot, callee.changes_packet, callee.might_sleep, callee.throws);
    }

    /// Where the `gotox` of the slot's function go: to all places of the instruction arrays whose
    /// first is in the function.
    fn make_table(&mut self, slot: usize) -> Result<(), Rejection> {
        let index = usize::from(self.function_of[slot]);
        if !self.flow.tables[index].is_empty() {
            return Ok(());
        }
        let function = &self.functions[index];
        let mut table: Vec<u32> = self
            .arrays
            .iter()
            .map(|&array| &self.program.maps[array])
            .filter(|map| map.map_type == MapType::InsnArray)
            .filter_map(|map| resolve::places(map))
            .filter(|places| places.iter().min().is_some_and(|&place| function.has(place as usize)))
            .flatten()
            .collect();
        table.sort_unstable();
        table.dedup();
        let message = if table.is_empty() {
            format!("no jump tables found for subprog starting at {}", function.start)
        } else if !table.iter().all(|&place| function.has(place as usize)) {
            let Function { start, end, .. } = function;
            format!("jump table for insn {slot} points outside of the subprog [{start},{end}]")
        } else {
            self.flow.tables[index] = table;
            return Ok(());
        };
        Err(Rejection::invalid(slot, message))
    }

    fn check_reached(&self) -> Result<(), Rejection> {
        let mut slot = 0;
        while slot < self.instructions.len() {
            if self.state[slot] == NEW {
                return Err(Rejection::invalid(slot, format!("unreachable insn {slot}")));
            }
            let slots = self.instructions[slot].slots();
            if slots == 2 && self.state[slot + 1] != NEW {
                let message = format!("jump into the middle of ldimm64 insn {slot}");
                return Err(Rejection::invalid(slot, message));
            }
            slot += slots;
        }
        Ok(())
    }
}

//! What is known of registers at each place of a program, by a walk forward over all paths.
//!
//! Two things are asked for. Whether a register holds anything: the checked interpreter stops a
//! program that reads one which does not, and machine code does so without looking, where all paths
//! agree. And whether it points into the frame or to what `r1` pointed to at the start, at a distance
//! that is a constant.

use bombus_isa::{AluOp, AtomicOp, Imm64, Op, Operand, Reg, Width};

use super::{Guests, Known, NotTaken};
use crate::Program;
use crate::program::target;

/// What a register holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Value {
    /// Nothing.
    Unset,
    /// Something on some paths, nothing on others.
    Maybe,
    /// Anything.
    Any,
    /// What a helper gave.
    Returned,
    /// A number that the program names.
    Number(u64),
    /// What `r1` was when the program started, and this many bytes on.
    Context(i32),
    /// The function's frame pointer, and this many bytes on.
    Frame(i32),
}

impl Value {
    fn join(self, other: Value) -> Value {
        match (self, other) {
            _ if self == other => self,
            (Value::Unset | Value::Maybe, _) | (_, Value::Unset | Value::Maybe) => Value::Maybe,
            _ => Value::Any,
        }
    }

    /// The same some bytes on.
    fn moved(self, by: i32) -> Value {
        // Far away there is nothing, and sums must not overflow.
        const FAR: i32 = 1 << 24;
        let sum = |at: i32| at.checked_add(by).filter(|sum| (-FAR..FAR).contains(sum));
        match self {
            Value::Context(at) => sum(at).map_or(Value::Any, Value::Context),
            Value::Frame(at) => sum(at).map_or(Value::Any, Value::Frame),
            _ => Value::Any,
        }
    }

    /// What it is to a function that is called, which has a frame of its own.
    fn handed_over(self) -> Value {
        match self {
            Value::Frame(_) => Value::Any,
            other => other,
        }
    }
}

/// What `r0` to `r10` hold.
pub(crate) type Registers = [Value; 11];

/// What an instruction does to the walk.
pub(crate) enum Step {
    /// It goes on with this slot.
    Next(usize),
    /// It does not go on here.
    Stop,
    /// It reads this register, which holds nothing.
    Reads(Reg),
}

/// What is known of a program.
pub(crate) struct Facts {
    /// For slots that something jumps to, and for entries of functions: the registers there, if
    /// anything arrives.
    heads: Vec<Option<Box<Registers>>>,
    is_head: Vec<bool>,
    /// What each function leaves in `r0`; `None`: it never returns, as far as is known.
    returned: Vec<Option<Value>>,
    /// Function of the entry.
    functions: Vec<u32>,
}

impl Facts {
    /// Walks over a program that is given this many arguments.
    pub(crate) fn new(program: &Program, guests: &Guests<'_>) -> Result<Facts, NotTaken> {
        let ops = program.ops();
        let mut is_head = vec![false; ops.len()];
        for (pc, op) in ops.iter().enumerate() {
            if let Some(to) = jump(*op, pc) {
                is_head[to] = true;
            }
        }
        let functions = program.functions().to_vec();
        functions.iter().for_each(|&entry| is_head[entry as usize] = true);
        let returned = vec![None; functions.len()];
        let mut facts = Facts { heads: vec![None; ops.len()], is_head, returned, functions };
        let mut start = [Value::Unset; 11];
        start[1..=guests.args].fill(Value::Any);
        if guests.args > 0 {
            start[1] = Value::Context(0);
        }
        start[10] = Value::Frame(0);
        facts.heads[0] = Some(Box::new(start));
        let mut open = vec![0];
        while let Some(head) = open.pop() {
            facts.walk(ops, head, guests, &mut open)?;
        }
        Ok(facts)
    }

    /// The registers at a slot, if something jumps there or it is an entry; inside: if anything
    /// arrives.
    pub(crate) fn at(&self, pc: usize) -> Option<Option<&Registers>> {
        self.is_head[pc].then(|| self.heads[pc].as_deref())
    }

    /// The function that a slot belongs to.
    fn function(&self, pc: usize) -> usize {
        self.functions.partition_point(|&entry| entry as usize <= pc) - 1
    }

    /// Walks from a head to the next one.
    fn walk(
        &mut self,
        ops: &[Op],
        head: usize,
        guests: &Guests<'_>,
        open: &mut Vec<usize>,
    ) -> Result<(), NotTaken> {
        let Some(mut registers) = self.heads[head].as_deref().copied() else { return Ok(()) };
        let function = self.function(head);
        let mut pc = head;
        loop {
            let op = ops[pc];
            self.check(op, &registers, function, guests.may_tail_call)?;
            if let Op::CallLocal { off } = op {
                let callee = target(pc, off);
                if callee == 0 {
                    // It would return to the program.
                    return Err(NotTaken);
                }
                let mut given = [Value::Unset; 11];
                for reg in 1..=5 {
                    given[reg] = registers[reg].handed_over();
                }
                given[10] = Value::Frame(0);
                self.arrive(callee, &given, open);
            }
            let before = registers;
            let step = self.step(op, pc, &mut registers);
            if let Step::Reads(_) = step {
                return Ok(());
            }
            if let Some(to) = jump(op, pc).filter(|&to| is_reached(guests, to)) {
                self.arrive(to, &before, open);
            }
            if let Op::Exit = op {
                let returned = self.returned[function];
                let now = returned.map_or(registers[0], |value| value.join(registers[0]));
                let now = now.handed_over();
                if returned != Some(now) {
                    self.returned[function] = Some(now);
                    let all = 0..self.heads.len();
                    open.extend(all.filter(|&head| self.heads[head].is_some()));
                }
            }
            match step {
                Step::Next(next) if !is_reached(guests, next) => return Ok(()),
                Step::Next(next) if self.is_head[next] => {
                    self.arrive(next, &registers, open);
                    return Ok(());
                }
                Step::Next(next) => pc = next,
                Step::Stop | Step::Reads(_) => return Ok(()),
            }
        }
    }

    fn arrive(&mut self, head: usize, registers: &Registers, open: &mut Vec<usize>) {
        let joined = match self.heads[head].as_deref() {
            None => *registers,
            Some(known) => std::array::from_fn(|reg| known[reg].join(registers[reg])),
        };
        if self.heads[head].as_deref() != Some(&joined) {
            self.heads[head] = Some(Box::new(joined));
            open.push(head);
        }
    }

    /// Whether this is something that there is machine code for.
    fn check(
        &self,
        op: Op,
        registers: &Registers,
        function: usize,
        may_tail_call: &dyn Fn(i32) -> bool,
    ) -> Result<(), NotTaken> {
        let holds = |reg: Reg| registers[usize::from(reg.0)];
        let reads = reads(op);
        let reads = || reads.into_iter().flatten();
        if reads().any(|reg| holds(reg) == Value::Maybe) {
            return Err(NotTaken);
        }
        let is_unset = |reg: Reg| holds(reg) == Value::Unset;
        let taken = match op {
            // The frame pointer is in no register, and these need all there are.
            Op::Alu { op: AluOp::Div | AluOp::Sdiv | AluOp::Mod | AluOp::Smod, src, .. }
            | Op::Alu { op: AluOp::Lsh | AluOp::Rsh | AluOp::Arsh, src, .. } => {
                src != Operand::Reg(Reg::FP)
            }
            // An address that is no multiple of the size is found before a register without value.
            Op::Atomic { src, .. } | Op::StoreRelease { src, .. } => {
                src != Reg::FP && !reads().skip(1).any(is_unset)
            }
            // What the callee goes on as returns to the caller of the callee.
            Op::CallHelper { id } => function == 0 || !may_tail_call(id),
            Op::Exit => function != 0 || holds(Reg::R0) != Value::Maybe,
            _ => true,
        };
        if taken { Ok(()) } else { Err(NotTaken) }
    }

    /// What an instruction leaves in the registers, and where it goes on.
    pub(crate) fn step(&self, op: Op, pc: usize, registers: &mut Registers) -> Step {
        let unset = reads(op).into_iter().flatten().find(|reg| {
            let held = registers[usize::from(reg.0)];
            held == Value::Unset
        });
        if let Some(reg) = unset {
            return Step::Reads(reg);
        }
        let mut set = |reg: Reg, value| registers[usize::from(reg.0)] = value;
        match op {
            Op::Alu { width: Width::W64, op: AluOp::Mov, dst, src: Operand::Reg(src) } => {
                let value = registers[usize::from(src.0)];
                registers[usize::from(dst.0)] = value;
            }
            Op::Alu { width: Width::W64, op, dst, src: Operand::Imm(imm) }
                if matches!(op, AluOp::Add | AluOp::Sub) =>
            {
                let by = if op == AluOp::Add { Some(imm) } else { imm.checked_neg() };
                let held = registers[usize::from(dst.0)];
                registers[usize::from(dst.0)] = by.map_or(Value::Any, |by| held.moved(by));
            }
            Op::Alu { dst, .. }
            | Op::Neg { dst, .. }
            | Op::MovSx { dst, .. }
            | Op::End { dst, .. }
            | Op::Load { dst, .. }
            | Op::LoadAcquire { dst, .. } => set(dst, Value::Any),
            Op::LoadImm64 { dst, imm } => {
                let number = if let Imm64::Value(value) = imm { Some(value) } else { None };
                set(dst, number.map_or(Value::Any, Value::Number));
                return Step::Next(pc + 2);
            }
            Op::Atomic { op: AtomicOp::Cmpxchg, .. } => set(Reg::R0, Value::Any),
            Op::Atomic { fetch: true, src, .. } => set(src, Value::Any),
            Op::CallHelper { .. } => {
                registers[1..=5].fill(Value::Unset);
                registers[0] = Value::Returned;
            }
            Op::CallLocal { off } => {
                registers[1..=5].fill(Value::Unset);
                let callee = self.function(target(pc, off));
                match self.returned[callee] {
                    Some(value) => registers[0] = value,
                    None => return Step::Stop,
                }
            }
            Op::Exit | Op::Goto { .. } | Op::GotoLong { .. } => return Step::Stop,
            // `GuardedCode::compile` and `Program::linked` refuse the last four.
            Op::Atomic { .. }
            | Op::Store { .. }
            | Op::StoreRelease { .. }
            | Op::JumpIf { .. }
            | Op::MayGoto { .. }
            | Op::LoadPacket { .. }
            | Op::CallKfunc { .. }
            | Op::GotoRegister { .. }
            | Op::AddrSpaceCast { .. } => {}
        }
        Step::Next(pc + 1)
    }
}

/// Whether an instruction may be run.
fn is_reached(guests: &Guests<'_>, pc: usize) -> bool {
    guests.known(pc) != Known::Unreached
}

/// Where an instruction jumps to, without calls.
pub(crate) fn jump(op: Op, pc: usize) -> Option<usize> {
    let distance = match op {
        Op::Goto { off } | Op::MayGoto { off } | Op::JumpIf { off, .. } => i64::from(off),
        Op::GotoLong { off } => off.into(),
        _ => return None,
    };
    Some(target(pc, distance))
}

/// Registers that an instruction reads, in the order in which the checked interpreter does.
fn reads(op: Op) -> [Option<Reg>; 3] {
    let operand = |operand: Operand| match operand {
        Operand::Reg(reg) => Some(reg),
        Operand::Imm(_) => None,
    };
    match op {
        Op::Alu { op: AluOp::Mov, src, .. } => [operand(src), None, None],
        Op::Alu { dst, src, .. } => [operand(src), Some(dst), None],
        Op::Neg { dst, .. } | Op::End { dst, .. } => [Some(dst), None, None],
        Op::MovSx { src, .. } => [Some(src), None, None],
        Op::Load { base, .. } | Op::LoadAcquire { base, .. } => [Some(base), None, None],
        Op::Store { base, src, .. } => [Some(base), operand(src), None],
        Op::StoreRelease { base, src, .. } => [Some(base), Some(src), None],
        Op::Atomic { op, base, src, .. } => {
            [Some(base), Some(src), (op == AtomicOp::Cmpxchg).then_some(Reg::R0)]
        }
        Op::JumpIf { dst, src, .. } => [Some(dst), operand(src), None],
        _ => [None; 3],
    }
}

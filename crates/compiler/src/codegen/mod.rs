//! From optimised IR to a program: frames, instruction selection, registers, layout.

mod bitset;
mod emit;
mod frame;
mod lower;
mod peephole;
mod regalloc;
mod reuse;
mod scratch;
mod vcode;

use bombus_spec::MapSpec;

use crate::error::{CompileError, ErrorKind};
use crate::ir::{FuncRef, Function, Line, MapRef, Module, Op};
use crate::{Compiled, Target, passes};
use emit::{Emitted, FrameLayout};
use frame::Interference;

/// Bytes of stack that the frames along a chain of calls share.
const MAX_STACK: u32 = bombus_platform::MAX_STACK as u32;
/// The kernel counts each frame in steps of so many bytes (`check_max_stack_depth_subprog`,
/// kernel/bpf/verifier.c).
const FRAME_STEP: u32 = 32;

pub(crate) fn generate(
    module: Module,
    target: Target,
    maps: &mut Vec<MapSpec>,
) -> Result<Compiled, CompileError> {
    let calls: Vec<Vec<FuncRef>> = module.functions.iter().map(callees).collect();
    let order = call_order(&module, &calls)?;
    let mut program = Program::new(&module.functions, &order, &calls, target);
    program.fit(MapRef(maps.len() as u32))?;
    let scratch = program.scratch_bytes();
    let compiled = program.link(module.lines)?;
    if scratch > 0 {
        maps.push(scratch::map(scratch));
    }
    Ok(compiled)
}

/// The functions that a function calls or has called back.
fn callees(func: &Function) -> Vec<FuncRef> {
    let mut callees = Vec::new();
    for block in &func.layout {
        for inst in &func.blocks[block.index()].insts {
            if let Op::Call(callee, _) | Op::FuncAddr(callee) = inst.op
                && !callees.contains(&callee)
            {
                callees.push(callee);
            }
        }
    }
    callees
}

/// The functions that the entry reaches, callers before callees.
fn call_order(module: &Module, calls: &[Vec<FuncRef>]) -> Result<Vec<FuncRef>, CompileError> {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        New,
        Open,
        Done,
    }
    let mut state = vec![State::New; calls.len()];
    let mut order = Vec::new();
    let mut work = vec![(FuncRef(0), 0)];
    state[0] = State::Open;
    while let Some((func, next)) = work.last_mut() {
        let func = *func;
        match calls[func.index()].get(*next) {
            Some(&callee) => {
                *next += 1;
                match state[callee.index()] {
                    State::New => {
                        state[callee.index()] = State::Open;
                        work.push((callee, 0));
                    }
                    State::Open => {
                        let function = module.functions[callee.index()].name.clone();
                        return Err(CompileError {
                            function,
                            line: line_of_call(&module.functions[func.index()], callee),
                            kind: ErrorKind::Recursion,
                        });
                    }
                    State::Done => {}
                }
            }
            None => {
                state[func.index()] = State::Done;
                order.push(func);
                work.pop();
            }
        }
    }
    order.reverse();
    Ok(order)
}

/// Where a function first calls another.
fn line_of_call(func: &Function, wanted: FuncRef) -> Option<Line> {
    let mut insts = func.layout.iter().flat_map(|block| &func.blocks[block.index()].insts);
    insts.find_map(|inst| match inst.op {
        Op::Call(callee, _) | Op::FuncAddr(callee) if callee == wanted => inst.line,
        _ => None,
    })
}

/// Where the biggest stack slot of a function is first mentioned, with its size.
fn line_of_biggest(func: &Function) -> Option<(u32, Option<Line>)> {
    let insts = func.layout.iter().flat_map(|block| &func.blocks[block.index()].insts);
    let mentions = insts.filter_map(|inst| match inst.op {
        Op::SlotAddr(slot) => Some((func.slots[slot.index()].size, inst.line)),
        _ => None,
    });
    // The last of equals is the maximum, so the order is turned round.
    mentions.rev().max_by_key(|mention| mention.0)
}

/// A function on its way to code.
struct Unit<'a> {
    source: &'a Function,
    interference: Interference,
    movable: Vec<bool>,
    /// By slot: whether it lives in the scratch map.
    moved: Vec<bool>,
    /// Bytes of its slots that are in the frame, and in the scratch map.
    stack: u32,
    scratch: u32,
    /// With the spill slots; known once there is code.
    frame: u32,
    code: Option<Emitted>,
}

impl Unit<'_> {
    /// Estimates the frame from the slots alone.
    fn place(&mut self) {
        self.stack = self.interference.place(self.source, |slot| !self.moved[slot]).1;
        self.scratch = self.interference.place(self.source, |slot| self.moved[slot]).1;
        // The key of the look-up.
        self.frame = self.stack + if self.scratch > 0 { 8 } else { 0 };
        self.code = None;
    }

    /// The biggest slot that can move to the scratch map.
    fn biggest(&self) -> Option<(u32, usize)> {
        let sizes = self.source.slots.iter().enumerate().filter(|&(slot, _)| {
            self.interference.used.contains(slot) && self.movable[slot] && !self.moved[slot]
        });
        sizes.map(|(slot, data)| (data.size, slot)).max_by_key(|&(size, slot)| (size, !slot))
    }

    fn compile(&mut self, target: Target, map: MapRef, base: u32) -> Result<(), CompileError> {
        let fail = |kind, line| CompileError { function: self.source.name.clone(), line, kind };
        let emit = |func: &Function, interference: &Interference| {
            let (starts, stack) = interference.place(func, |_| true);
            let code = lower::lower(func, target);
            let output = regalloc::allocate(&code)
                .map_err(|what| fail(ErrorKind::RegisterAllocation(what), None))?;
            let slots: Vec<i32> = starts
                .iter()
                .zip(&func.slots)
                .map(|(start, slot)| -((start + slot.size.next_multiple_of(8)) as i32))
                .collect();
            let frame = FrameLayout { slots: &slots, spills: -(stack as i32) - 8 };
            let emitted = emit::emit(&code, &output, &frame, target)
                .map_err(|line| fail(ErrorKind::JumpTooFar, line))?;
            Ok((emitted, stack + 8 * output.num_spillslots as u32))
        };
        let (code, frame) = if self.scratch == 0 {
            emit(self.source, &self.interference)?
        } else {
            let (starts, _) = self.interference.place(self.source, |slot| self.moved[slot]);
            let place: Vec<Option<u32>> = self
                .moved
                .iter()
                .zip(&starts)
                .map(|(&moved, &at)| moved.then_some(base + at))
                .collect();
            let mut func = self.source.clone();
            scratch::apply(&mut func, map, &place);
            passes::cfg_cleanup::run(&mut func);
            emit(&func, &Interference::new(&func))?
        };
        self.code = Some(code);
        self.frame = frame;
        Ok(())
    }
}

struct Program<'a> {
    units: Vec<Unit<'a>>,
    /// Callers before callees.
    order: &'a [FuncRef],
    calls: &'a [Vec<FuncRef>],
    target: Target,
}

impl<'a> Program<'a> {
    fn new(
        functions: &'a [Function],
        order: &'a [FuncRef],
        calls: &'a [Vec<FuncRef>],
        target: Target,
    ) -> Program<'a> {
        let unit = |source: &'a Function| {
            let mut unit = Unit {
                source,
                interference: Interference::new(source),
                movable: scratch::movable(source),
                moved: vec![false; source.slots.len()],
                stack: 0,
                scratch: 0,
                frame: 0,
                code: None,
            };
            unit.place();
            unit
        };
        Program { units: functions.iter().map(unit).collect(), order, calls, target }
    }

    fn scratch_bytes(&self) -> u32 {
        self.order.iter().map(|func| self.units[func.index()].scratch).sum()
    }

    /// The longest chain of frames: its bytes and functions.
    fn deepest(&self) -> (u32, Vec<FuncRef>) {
        let mut below: Vec<(u32, Option<FuncRef>)> = vec![(0, None); self.units.len()];
        for &func in self.order.iter().rev() {
            let deepest = self.calls[func.index()]
                .iter()
                .map(|&callee| (below[callee.index()].0, Some(callee)))
                .max_by_key(|&(bytes, _)| bytes)
                .unwrap_or((0, None));
            let frame = self.units[func.index()].frame.max(1).next_multiple_of(FRAME_STEP);
            below[func.index()] = (deepest.0 + frame, deepest.1);
        }
        let mut chain = vec![FuncRef(0)];
        while let Some(next) = below[chain[chain.len() - 1].index()].1 {
            chain.push(next);
        }
        (below[0].0, chain)
    }

    /// Compiles all functions; moves slots to the scratch map until every chain of frames fits.
    fn fit(&mut self, map: MapRef) -> Result<(), CompileError> {
        loop {
            let (bytes, chain) = self.deepest();
            if bytes > MAX_STACK {
                self.move_biggest(&chain, bytes)?;
                continue;
            }
            let mut base = 0;
            for func in self.order {
                let unit = &mut self.units[func.index()];
                // The scratch offsets of all that follow change when one moves a slot.
                unit.compile(self.target, map, base)?;
                base += unit.scratch;
            }
            let (bytes, chain) = self.deepest();
            if bytes <= MAX_STACK {
                return Ok(());
            }
            self.move_biggest(&chain, bytes)?;
        }
    }

    fn move_biggest(&mut self, chain: &[FuncRef], bytes: u32) -> Result<(), CompileError> {
        let biggest = chain
            .iter()
            .filter_map(|&func| self.units[func.index()].biggest().map(|slot| (slot, func)))
            .max_by_key(|&((size, _), _)| size);
        let Some(((_, slot), func)) = biggest else {
            let sources = chain.iter().map(|func| self.units[func.index()].source);
            let biggest = sources.map(|func| (func, line_of_biggest(func)));
            let (source, line) = biggest
                .max_by_key(|(_, biggest)| biggest.map_or(0, |(size, _)| size))
                .map_or((self.units[0].source, None), |(func, biggest)| {
                    (func, biggest.and_then(|(_, line)| line))
                });
            let kind = ErrorKind::StackTooBig(bytes);
            return Err(CompileError { function: source.name.clone(), line, kind });
        };
        self.units[func.index()].moved[slot] = true;
        self.units[func.index()].place();
        Ok(())
    }

    /// Lays the functions out and fills in their distances.
    fn link(self, lines: Vec<bombus_spec::SourceLine>) -> Result<Compiled, CompileError> {
        let mut compiled = Compiled { insns: Vec::new(), functions: Vec::new(), lines };
        let mut starts = vec![0; self.units.len()];
        let mut positions = vec![0; self.units.len()];
        let mut calls = Vec::new();
        let mut emitted: Vec<Option<Emitted>> = Vec::new();
        let sources: Vec<&Function> = self.units.iter().map(|unit| unit.source).collect();
        emitted.extend(self.units.into_iter().map(|unit| unit.code));
        for (position, func) in self.order.iter().enumerate() {
            let Some(code) = emitted[func.index()].take() else { continue };
            let start = compiled.insns.len() as u32;
            starts[func.index()] = start;
            positions[func.index()] = position as u32;
            let source = sources[func.index()];
            compiled.functions.push(bombus_spec::Function {
                name: source.name.clone(),
                start,
                args: source.blocks[source.layout[0].index()].params.len() as u32,
                type_id: 0,
            });
            calls.extend(code.calls.iter().map(|&(at, callee)| (start + at, callee)));
            compiled.insns.extend(fill_lines(code.insns));
        }
        for (at, callee) in calls {
            let slot = &mut compiled.insns[at as usize];
            slot.insn.imm = starts[callee.index()] as i32 - (at as i32 + 1);
            if let Some(bombus_spec::Reference::Function(index)) = &mut slot.reference {
                *index = positions[callee.index()];
            }
        }
        Ok(compiled)
    }
}

/// Slots without a line have that of the one before, or of the first that has one.
fn fill_lines(
    mut insns: Vec<bombus_spec::SpecInsn>,
) -> impl Iterator<Item = bombus_spec::SpecInsn> {
    let mut line = insns.iter().find_map(|insn| insn.line);
    for insn in &mut insns {
        line = insn.line.or(line);
        insn.line = line;
    }
    insns.into_iter()
}

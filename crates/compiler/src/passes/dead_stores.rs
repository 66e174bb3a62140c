//! Dead store removal: what is written to a stack slot and written again before anything reads it.
//!
//! Front ends zero a key or a record as a whole before they fill it in; what the filling covers
//! need not be zeroed. Works inside blocks, on slots whose address goes nowhere but to accesses and
//! helpers.

use bombus_platform::{Helper, HelperInfo};

use crate::ir::{BinaryOp, Block, Function, Op, StackSlot, Value};

/// Removes and shortens stores; says whether there were any.
pub fn run(func: &mut Function) -> bool {
    if func.slots.is_empty() {
        return false;
    }
    let places = Places::new(func);
    let mut changed = false;
    for i in 0..func.layout.len() {
        changed |= block(func, func.layout[i], &places);
    }
    changed
}

/// What values are, as far as this pass has to know.
struct Places {
    /// By value: the slot and the place in it; without a place when it is not constant.
    address: Vec<Option<(StackSlot, Option<i64>)>>,
    number: Vec<Option<i64>>,
    /// By slot: whether an address goes where it cannot be followed.
    lost: Vec<bool>,
}

impl Places {
    fn new(func: &Function) -> Places {
        let values = func.values as usize;
        let mut places = Places {
            address: vec![None; values],
            number: vec![None; values],
            lost: vec![false; func.slots.len()],
        };
        for &block in &func.layout {
            for inst in &func.blocks[block.index()].insts {
                let Some(result) = inst.result else { continue };
                match inst.op {
                    Op::Const(number) => places.number[result.index()] = Some(number),
                    Op::SlotAddr(slot) => places.address[result.index()] = Some((slot, Some(0))),
                    _ => {}
                }
            }
        }
        // Sums may come in any order of blocks: one step is what folding leaves.
        for &block in &func.layout {
            for inst in &func.blocks[block.index()].insts {
                places.follow(&inst.op, inst.result);
            }
            func.term(block).for_each_arg(|value| places.lose(value));
        }
        places
    }

    fn follow(&mut self, op: &Op, result: Option<Value>) {
        match *op {
            Op::Binary(BinaryOp::Add, a, b) => {
                match (self.address[a.index()], self.number[b.index()], result) {
                    (Some((slot, Some(at))), Some(number), Some(result)) => {
                        self.address[result.index()] = Some((slot, at.checked_add(number)));
                    }
                    _ => {
                        self.lose(a);
                        self.lose(b);
                    }
                }
            }
            Op::Store { value, .. } | Op::AtomicAdd { value, .. } => self.lose(value),
            Op::Load { .. } | Op::Zero { .. } | Op::Copy { .. } | Op::CallHelper(..) => {}
            ref op => op.for_each_arg(|value| self.lose(value)),
        }
    }

    fn lose(&mut self, value: Value) {
        if let Some((slot, _)) = self.address[value.index()] {
            self.lost[slot.index()] = true;
        }
    }

    /// The bytes of an access: slot, start, end.
    fn bytes(&self, base: Value, offset: i32, size: u32) -> Option<(StackSlot, i64, i64)> {
        let (slot, at) = self.address[base.index()]?;
        let start = at?.checked_add(i64::from(offset))?;
        (!self.lost[slot.index()]).then_some((slot, start, start + i64::from(size)))
    }

    fn slot(&self, value: Value) -> Option<StackSlot> {
        self.address[value.index()].map(|(slot, _)| slot)
    }
}

/// Helpers that write all bytes that they are given, even when they fail. (`get_current_comm` is
/// not one of them: Linux 6.1 stops after the name.)
fn writes_everything(helper: Helper) -> bool {
    matches!(helper, Helper::ProbeRead | Helper::ProbeReadUser | Helper::ProbeReadKernel)
}

/// Bytes of slots that are written before they are read, going backwards.
struct Overwritten(Vec<Vec<(i64, i64)>>);

impl Overwritten {
    fn add(&mut self, (slot, start, end): (StackSlot, i64, i64)) {
        let ranges = &mut self.0[slot.index()];
        let (mut start, mut end) = (start, end);
        ranges.retain(|&(from, to)| {
            let apart = to < start || end < from;
            if !apart {
                start = start.min(from);
                end = end.max(to);
            }
            apart
        });
        ranges.push((start, end));
    }

    /// What is left of a write when the covered bytes at its ends are taken off.
    fn trim(&self, slot: StackSlot, mut start: i64, mut end: i64) -> (i64, i64) {
        for &(from, to) in &self.0[slot.index()] {
            if from <= start {
                start = start.max(to.min(end));
            }
            if end <= to {
                end = end.min(from.max(start));
            }
        }
        (start, end)
    }

    fn read(&mut self, slot: StackSlot) {
        self.0[slot.index()].clear();
    }
}

fn block(func: &mut Function, block: Block, places: &Places) -> bool {
    let mut overwritten = Overwritten(vec![Vec::new(); func.slots.len()]);
    let mut changed = false;
    let mut insts = std::mem::take(&mut func.blocks[block.index()].insts);
    let mut keep = vec![true; insts.len()];
    for (i, inst) in insts.iter_mut().enumerate().rev() {
        match &mut inst.op {
            Op::Store { bytes, base, offset, .. } => {
                let Some(written) = places.bytes(*base, *offset, u32::from(*bytes)) else {
                    continue;
                };
                let (start, end) = overwritten.trim(written.0, written.1, written.2);
                if start >= end {
                    keep[i] = false;
                    changed = true;
                } else {
                    overwritten.add(written);
                }
            }
            Op::Zero { base, offset, size } => {
                let Some(written) = places.bytes(*base, *offset, *size) else { continue };
                let (start, end) = overwritten.trim(written.0, written.1, written.2);
                if start >= end {
                    keep[i] = false;
                    changed = true;
                    continue;
                }
                overwritten.add(written);
                // Whole words, so that fewer stores make them.
                let (start, end) = (start & !7, (end + 7) & !7);
                let (start, end) = (start.max(written.1), end.min(written.2));
                changed |= (start, end) != (written.1, written.2);
                *offset += (start - written.1) as i32;
                *size = (end - start) as u32;
            }
            Op::CallHelper(helper, args) => call(*helper, args, places, &mut overwritten),
            op => op.for_each_arg(|value| {
                if let Some(slot) = places.slot(value) {
                    overwritten.read(slot);
                }
            }),
        }
    }
    let mut position = 0;
    insts.retain(|_| {
        position += 1;
        keep[position - 1]
    });
    func.blocks[block.index()].insts = insts;
    changed
}

fn call(helper: Helper, args: &[Value], places: &Places, overwritten: &mut Overwritten) {
    let mut written = None;
    for (i, &arg) in args.iter().enumerate() {
        let Some(slot) = places.slot(arg) else { continue };
        let size = args.get(i + 1).and_then(|size| places.number[size.index()]);
        let writes = writes_everything(helper)
            && helper.args().get(i) == Some(&HelperInfo::MemUninit)
            && written.is_none();
        match (writes, size.and_then(|size| u32::try_from(size).ok())) {
            (true, Some(size)) => written = places.bytes(arg, 0, size),
            _ => overwritten.read(slot),
        }
    }
    if let Some(written) = written {
        overwritten.add(written);
    }
}

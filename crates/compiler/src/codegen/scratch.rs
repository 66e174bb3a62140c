//! Stack slots that do not fit the kernel's 512 bytes live in the value of a per-CPU array map:
//! one look-up a function, on the way to the first use.

use bombus_platform::{Helper, HelperInfo, MapType};
use bombus_spec::MapSpec;

use crate::ir::{
    BinaryOp, Block, BlockData, Cfg, Function, Inst, Line, MapRef, Op, StackSlot, Target, Term,
    Value,
};

/// The map for so many bytes.
pub(super) fn map(bytes: u32) -> MapSpec {
    MapSpec {
        name: "scratch".into(),
        map_type: MapType::PercpuArray,
        key_size: 4,
        value_size: bytes,
        max_entries: 1,
        flags: 0,
        contents: Vec::new(),
        ..MapSpec::default()
    }
}

/// By slot: whether it may live in a map value. What helpers pass to callbacks must be on the stack
/// (`ARG_PTR_TO_STACK_OR_NULL`, kernel/bpf/verifier.c), and small slots may hold pointers, which
/// the verifier forgets when they are stored to a map.
pub(super) fn movable(func: &Function) -> Vec<bool> {
    let mut movable: Vec<bool> = func.slots.iter().map(|slot| slot.size > 8).collect();
    let defs = func.definitions();
    for data in &func.blocks {
        for inst in &data.insts {
            let Op::CallHelper(helper, args) = &inst.op else { continue };
            if !matches!(helper, Helper::ForEachMapElem | Helper::Loop) {
                continue;
            }
            for (arg, info) in args.iter().zip(helper.args()) {
                if let (HelperInfo::Pointer, Some(slot)) = (info, slot_of(&defs, *arg)) {
                    movable[slot.index()] = false;
                }
            }
        }
    }
    movable
}

fn slot_of(defs: &[Option<&Op>], value: Value) -> Option<StackSlot> {
    let mut at = value;
    loop {
        match defs[at.index()]? {
            Op::SlotAddr(slot) => return Some(*slot),
            Op::Binary(BinaryOp::Add, a, _) => at = *a,
            _ => return None,
        }
    }
}

/// Moves slots to the map: `place` has the offset in its value of those that move.
pub(super) fn apply(func: &mut Function, map: MapRef, place: &[Option<u32>]) {
    let moved: Vec<Option<u32>> = slot_values(func, place);
    let uses = |op: &Op| {
        let mut found = false;
        op.for_each_arg(|value| found |= moved[value.index()].is_some());
        found
    };
    let cfg = Cfg::new(func);
    let Some(home) = home(func, &cfg, &moved, uses) else { return };
    let data = &func.blocks[home.index()];
    let position = data.insts.iter().position(|inst| uses(&inst.op));
    let line = match position {
        Some(i) => data.insts[i].line,
        None => data.term_line,
    };
    let position = position.unwrap_or(data.insts.len());
    let base = look_up(func, home, position, map, line);
    rewrite(func, &moved, base);
}

/// By value: the offset in the map, when it is the address of a slot that moves.
fn slot_values(func: &Function, place: &[Option<u32>]) -> Vec<Option<u32>> {
    let mut moved = vec![None; func.values as usize];
    for data in &func.blocks {
        for inst in &data.insts {
            if let (Some(result), Op::SlotAddr(slot)) = (inst.result, &inst.op) {
                moved[result.index()] = place[slot.index()];
            }
        }
    }
    moved
}

/// The last block that dominates all uses and is in no loop.
fn home(
    func: &Function,
    cfg: &Cfg,
    moved: &[Option<u32>],
    uses: impl Fn(&Op) -> bool,
) -> Option<Block> {
    let mut home: Option<Block> = None;
    for &block in &cfg.rpo {
        let mut used = func.blocks[block.index()].insts.iter().any(|inst| uses(&inst.op));
        func.term(block).for_each_arg(|value| used |= moved[value.index()].is_some());
        if used {
            let mut common = home.unwrap_or(block);
            while !cfg.dominates(common, block) {
                common = cfg.idom[common.index()];
            }
            home = Some(common);
        }
    }
    let mut home = home?;
    while home != cfg.rpo[0] && is_in_loop(func, home) {
        home = cfg.idom[home.index()];
    }
    Some(home)
}

fn is_in_loop(func: &Function, block: Block) -> bool {
    let mut seen = vec![false; func.blocks.len()];
    let mut work = vec![block];
    while let Some(at) = work.pop() {
        for target in func.term(at).targets() {
            if target.block == block {
                return true;
            }
            if !std::mem::replace(&mut seen[target.block.index()], true) {
                work.push(target.block);
            }
        }
    }
    false
}

/// Splits a block for the look-up. Without a value, which a per-CPU array always has, the function
/// returns 0: the check is for the verifier.
fn look_up(
    func: &mut Function,
    home: Block,
    position: usize,
    map: MapRef,
    line: Option<Line>,
) -> Value {
    let key_slot = StackSlot(func.slots.len() as u32);
    func.slots.push(crate::ir::SlotData { size: 4 });
    let [key, zero, map_addr, base, failed] = std::array::from_fn(|_| func.new_value());
    let missing = Block(func.blocks.len() as u32);
    let rest = Block(missing.0 + 1);
    let data = &mut func.blocks[home.index()];
    let tail = data.insts.split_off(position);
    let term = data.term.take();
    let mut push = |result, op| data.insts.push(Inst { result, op, line });
    push(Some(zero), Op::Const(0));
    push(Some(key), Op::SlotAddr(key_slot));
    push(None, Op::Store { bytes: 4, value: zero, base: key, offset: 0 });
    push(Some(map_addr), Op::MapAddr(map));
    push(Some(base), Op::CallHelper(Helper::MapLookupElem, vec![map_addr, key]));
    let target = |block| Target { block, args: Vec::new() };
    data.term = Some(Term::Branch(base, target(rest), target(missing)));
    let term_line = data.term_line;
    data.term_line = line;
    func.blocks.push(BlockData {
        params: Vec::new(),
        insts: vec![Inst { result: Some(failed), op: Op::Const(0), line }],
        term: Some(Term::Return(failed)),
        term_line: line,
    });
    func.blocks.push(BlockData { params: Vec::new(), insts: tail, term, term_line });
    func.layout.extend([missing, rest]);
    base
}

/// Every use of a moved slot's address becomes `base + offset`, made next to it.
fn rewrite(func: &mut Function, moved: &[Option<u32>], base: Value) {
    let moved = |value: Value| moved.get(value.index()).copied().flatten();
    for i in 0..func.blocks.len() {
        let insts = std::mem::take(&mut func.blocks[i].insts);
        let mut out = Vec::with_capacity(insts.len());
        for mut inst in insts {
            if inst.result.is_some_and(|result| moved(result).is_some()) {
                continue;
            }
            let line = inst.line;
            fold_offset(&mut inst.op, moved, base);
            inst.op.for_each_arg_mut(|value| {
                if let Some(offset) = moved(*value) {
                    *value = address(func, &mut out, base, offset, line);
                }
            });
            out.push(inst);
        }
        let line = func.blocks[i].term_line;
        if let Some(mut term) = func.blocks[i].term.take() {
            term.for_each_arg_mut(|value| {
                if let Some(offset) = moved(*value) {
                    *value = address(func, &mut out, base, offset, line);
                }
            });
            func.blocks[i].term = Some(term);
        }
        func.blocks[i].insts = out;
    }
}

/// Loads and stores take the offset in.
fn fold_offset(op: &mut Op, moved: impl Fn(Value) -> Option<u32>, new_base: Value) {
    if let Op::Load { base, offset, .. }
    | Op::Store { base, offset, .. }
    | Op::AtomicAdd { base, offset, .. } = op
        && let Some(start) = moved(*base)
    {
        *base = new_base;
        *offset = offset.saturating_add_unsigned(start);
    }
}

fn address(
    func: &mut Function,
    out: &mut Vec<Inst>,
    base: Value,
    offset: u32,
    line: Option<Line>,
) -> Value {
    if offset == 0 {
        return base;
    }
    let [number, sum] = std::array::from_fn(|_| func.new_value());
    let op = Op::Const(i64::from(offset));
    out.push(Inst { result: Some(number), op, line });
    let op = Op::Binary(BinaryOp::Add, base, number);
    out.push(Inst { result: Some(sum), op, line });
    sum
}

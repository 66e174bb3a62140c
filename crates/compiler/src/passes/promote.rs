//! Stack slots to values: pieces of slots that are only ever loaded and stored whole, at constant
//! places, become values (Cytron et al. 1991, pruned by liveness). A slot is taken apart by the
//! bytes that are accessed together, so that records and tuples go member by member.

use crate::ir::{
    BinaryOp, Block, Cfg, Function, Inst, LoadWidth, Op, Replacements, StackSlot, Value,
};

use super::eval;

/// Promotes; says whether there was anything to promote.
pub fn run(func: &mut Function) -> bool {
    if func.slots.is_empty() {
        return false;
    }
    split_small_copies(func);
    let cfg = Cfg::new(func);
    let addresses = addresses(func, &cfg);
    let pieces = Pieces::new(func, &cfg, &addresses);
    if pieces.count == 0 {
        return false;
    }
    Promotion::new(func, &cfg, addresses, pieces).run();
    true
}

/// A place in a slot, when a value is the address of one.
type Address = Option<(StackSlot, i64)>;

fn addresses(func: &Function, cfg: &Cfg) -> Vec<Address> {
    let mut addresses = vec![None; func.values as usize];
    let mut numbers = vec![None; func.values as usize];
    for &block in &cfg.rpo {
        for inst in &func.blocks[block.index()].insts {
            let Some(result) = inst.result else { continue };
            match inst.op {
                Op::Const(number) => numbers[result.index()] = Some(number),
                Op::SlotAddr(slot) => addresses[result.index()] = Some((slot, 0)),
                Op::Binary(BinaryOp::Add, a, b) => {
                    if let (Some((slot, at)), Some(number)) =
                        (addresses[a.index()], numbers[b.index()])
                    {
                        addresses[result.index()] = Some((slot, i64::wrapping_add(at, number)));
                    }
                }
                _ => {}
            }
        }
    }
    addresses
}

/// Copies of the size of a register are a load and a store.
fn split_small_copies(func: &mut Function) {
    for i in 0..func.layout.len() {
        let block = func.layout[i];
        let data = &func.blocks[block.index()];
        let small = |op: &Op| matches!(op, Op::Copy { size: 1 | 2 | 4 | 8, .. });
        if !data.insts.iter().any(|inst| small(&inst.op)) {
            continue;
        }
        let insts = std::mem::take(&mut func.blocks[block.index()].insts);
        let mut out = Vec::with_capacity(insts.len() + 1);
        for inst in insts {
            let Op::Copy { to, to_offset, from, from_offset, size, align } = inst.op else {
                out.push(inst);
                continue;
            };
            let width = match size {
                1 => LoadWidth::U8,
                2 => LoadWidth::U16,
                4 => LoadWidth::U32,
                8 => LoadWidth::U64,
                _ => {
                    out.push(inst);
                    continue;
                }
            };
            if u32::from(align) < size {
                out.push(inst);
                continue;
            }
            let value = func.new_value();
            let load = Op::Load { width, base: from, offset: from_offset };
            out.push(Inst { result: Some(value), op: load, line: inst.line });
            let store = Op::Store { bytes: size as u8, value, base: to, offset: to_offset };
            out.push(Inst { result: None, op: store, line: inst.line });
        }
        func.blocks[block.index()].insts = out;
    }
}

/// How bytes of a slot are accessed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Load,
    Store,
    /// In a way that needs memory.
    Memory,
}

/// Bytes of a slot that are accessed together.
#[derive(Clone, Copy, Debug)]
struct Piece {
    start: i64,
    end: i64,
    /// The number of its variable, when it can be promoted.
    variable: Option<usize>,
}

/// The pieces of every slot.
struct Pieces {
    /// By slot: pieces in order; `None` when the address of the slot is passed on.
    by_slot: Vec<Option<Vec<Piece>>>,
    /// Number of variables.
    count: usize,
}

struct Access {
    start: i64,
    end: i64,
    kind: Kind,
}

impl Pieces {
    fn new(func: &Function, cfg: &Cfg, addresses: &[Address]) -> Pieces {
        let mut accesses: Vec<Option<Vec<Access>>> =
            func.slots.iter().map(|_| Some(vec![])).collect();
        let mut zeroed: Vec<Vec<(i64, i64)>> = func.slots.iter().map(|_| vec![]).collect();
        let at = |base: Value, offset: i32, size: u32| {
            addresses[base.index()].map(|(slot, start)| {
                let start = start.wrapping_add(i64::from(offset));
                (slot, start, start.wrapping_add(i64::from(size)))
            })
        };
        for &block in &cfg.rpo {
            let data = &func.blocks[block.index()];
            for inst in &data.insts {
                let mut access = |place: Option<(StackSlot, i64, i64)>, kind| {
                    if let Some((slot, start, end)) = place
                        && let Some(accesses) = &mut accesses[slot.index()]
                    {
                        accesses.push(Access { start, end, kind });
                    }
                };
                match inst.op {
                    Op::Load { width, base, offset } => {
                        access(at(base, offset, width.bytes()), Kind::Load);
                    }
                    Op::Store { bytes, value, base, offset } => {
                        access(at(base, offset, bytes.into()), Kind::Store);
                        escape(addresses, &mut accesses, value);
                    }
                    Op::AtomicAdd { bytes, value, base, offset } => {
                        access(at(base, offset, bytes.into()), Kind::Memory);
                        escape(addresses, &mut accesses, value);
                    }
                    Op::Zero { base, offset, size } => {
                        if let Some((slot, start, end)) = at(base, offset, size) {
                            zeroed[slot.index()].push((start, end));
                        }
                    }
                    Op::Copy { to, to_offset, from, from_offset, size, .. } => {
                        access(at(to, to_offset, size), Kind::Memory);
                        access(at(from, from_offset, size), Kind::Memory);
                    }
                    Op::Binary(BinaryOp::Add, a, b)
                        if inst
                            .result
                            .is_some_and(|result| addresses[result.index()].is_some()) =>
                    {
                        debug_assert!(addresses[a.index()].is_some());
                        escape(addresses, &mut accesses, b);
                    }
                    ref op => {
                        op.for_each_arg(|value| escape(addresses, &mut accesses, value));
                    }
                }
            }
            func.term(block).for_each_arg(|value| escape(addresses, &mut accesses, value));
        }
        let mut count = 0;
        let by_slot = accesses
            .into_iter()
            .zip(zeroed)
            .map(|(accesses, zeroed)| Some(pieces(accesses?, &zeroed, &mut count)))
            .collect();
        Pieces { by_slot, count }
    }

    /// The variable that is these bytes of a slot.
    fn variable(&self, slot: StackSlot, start: i64) -> Option<usize> {
        let pieces = self.by_slot[slot.index()].as_ref()?;
        pieces.iter().find(|piece| piece.start <= start && start < piece.end)?.variable
    }
}

/// The address of a slot goes where it cannot be followed.
fn escape(addresses: &[Address], accesses: &mut [Option<Vec<Access>>], value: Value) {
    if let Some((slot, _)) = addresses[value.index()] {
        accesses[slot.index()] = None;
    }
}

fn pieces(mut accesses: Vec<Access>, zeroed: &[(i64, i64)], count: &mut usize) -> Vec<Piece> {
    accesses.sort_by_key(|access| access.start);
    let mut pieces: Vec<Piece> = Vec::new();
    let mut rest = accesses.as_slice();
    while let Some(first) = rest.first() {
        let (start, mut end) = (first.start, first.end);
        let mut len = 1;
        while let Some(next) = rest.get(len).filter(|next| next.start < end) {
            end = end.max(next.end);
            len += 1;
        }
        let (group, tail) = rest.split_at(len);
        rest = tail;
        let same = group.iter().all(|access| (access.start, access.end) == (start, end));
        let unread = group.iter().all(|access| access.kind == Kind::Store);
        let memory = group.iter().any(|access| access.kind == Kind::Memory);
        let torn = zeroed
            .iter()
            .any(|&(from, to)| from < end && start < to && !(from <= start && end <= to));
        let variable = (unread || (same && !memory && !torn)).then(|| {
            *count += 1;
            *count - 1
        });
        pieces.push(Piece { start, end, variable });
    }
    pieces
}

struct Promotion<'a> {
    func: &'a mut Function,
    cfg: &'a Cfg,
    addresses: Vec<Address>,
    pieces: Pieces,
    /// By variable: what it holds now.
    current: Vec<Option<Value>>,
    /// What to put back when the walk leaves a block: variable and value.
    undo: Vec<(usize, Option<Value>)>,
    /// By block: the variables of its new parameters.
    params: Vec<Vec<usize>>,
    replaced: Vec<(Value, Value)>,
    zero: Option<Value>,
}

enum Step {
    Enter(Block),
    /// Undo down to so many.
    Leave(usize),
}

impl<'a> Promotion<'a> {
    fn new(
        func: &'a mut Function,
        cfg: &'a Cfg,
        addresses: Vec<Address>,
        pieces: Pieces,
    ) -> Promotion<'a> {
        let params = new_params(func, cfg, &addresses, &pieces);
        let current = vec![None; pieces.count];
        Promotion {
            func,
            cfg,
            addresses,
            pieces,
            current,
            undo: Vec::new(),
            params,
            replaced: Vec::new(),
            zero: None,
        }
    }

    fn run(mut self) {
        let children = self.cfg.dominator_tree();
        let mut work = vec![Step::Enter(self.cfg.rpo[0])];
        while let Some(step) = work.pop() {
            match step {
                Step::Leave(keep) => {
                    for (variable, value) in self.undo.drain(keep..).rev() {
                        self.current[variable] = value;
                    }
                }
                Step::Enter(block) => {
                    work.push(Step::Leave(self.undo.len()));
                    work.extend(children[block.index()].iter().map(|&child| Step::Enter(child)));
                    self.block(block);
                }
            }
        }
        if let Some(zero) = self.zero {
            let inst = Inst { result: Some(zero), op: Op::Const(0), line: None };
            let entry = self.func.layout[0];
            self.func.blocks[entry.index()].insts.insert(0, inst);
        }
        let mut replaced = Replacements::new(self.func);
        for (old, new) in self.replaced {
            replaced.insert(old, new);
        }
        replaced.apply(self.func);
    }

    fn block(&mut self, block: Block) {
        for i in 0..self.params[block.index()].len() {
            let value = self.func.new_value();
            self.func.blocks[block.index()].params.push(value);
            self.set(self.params[block.index()][i], value);
        }
        let insts = std::mem::take(&mut self.func.blocks[block.index()].insts);
        let mut out = Vec::with_capacity(insts.len());
        for inst in insts {
            self.inst(inst, &mut out);
        }
        self.func.blocks[block.index()].insts = out;
        let Some(mut term) = self.func.blocks[block.index()].term.take() else { return };
        for target in term.targets_mut() {
            for i in 0..self.params[target.block.index()].len() {
                let value = self.get(self.params[target.block.index()][i]);
                target.args.push(value);
            }
        }
        self.func.blocks[block.index()].term = Some(term);
    }

    fn inst(&mut self, mut inst: Inst, out: &mut Vec<Inst>) {
        match inst.op {
            Op::Load { width, base, offset } => {
                if let (Some(variable), Some(result)) = (self.variable(base, offset), inst.result) {
                    let value = self.get(variable);
                    match eval::extension(width) {
                        None => {
                            self.replaced.push((result, value));
                            return;
                        }
                        Some(extension) => inst.op = Op::Unary(extension, value),
                    }
                }
            }
            Op::Store { value, base, offset, .. } => {
                if let Some(variable) = self.variable(base, offset) {
                    self.set(variable, value);
                    return;
                }
            }
            Op::Zero { base, offset, size } => {
                if let Some((slot, start)) = self.addresses[base.index()]
                    && self.pieces.by_slot[slot.index()].is_some()
                {
                    let start = start.wrapping_add(i64::from(offset));
                    let end = start + i64::from(size);
                    self.zero_pieces(slot, start, end, (base, offset), inst.line, out);
                    return;
                }
            }
            _ => {}
        }
        out.push(inst);
    }

    /// Zeroes what is left of a slot in memory, and the variables.
    fn zero_pieces(
        &mut self,
        slot: StackSlot,
        start: i64,
        end: i64,
        (base, offset): (Value, i32),
        line: Option<crate::ir::Line>,
        out: &mut Vec<Inst>,
    ) {
        let pieces = self.pieces.by_slot[slot.index()].take().unwrap_or_default();
        for piece in &pieces {
            let (from, to) = (piece.start.max(start), piece.end.min(end));
            if from >= to {
                continue;
            }
            if let Some(variable) = piece.variable {
                let zero = self.zero();
                self.set(variable, zero);
                continue;
            }
            let offset = offset + (from - start) as i32;
            let op = Op::Zero { base, offset, size: (to - from) as u32 };
            out.push(Inst { result: None, op, line });
        }
        self.pieces.by_slot[slot.index()] = Some(pieces);
    }

    fn variable(&self, base: Value, offset: i32) -> Option<usize> {
        let (slot, start) = self.addresses.get(base.index()).copied().flatten()?;
        self.pieces.variable(slot, start.wrapping_add(i64::from(offset)))
    }

    fn set(&mut self, variable: usize, value: Value) {
        self.undo.push((variable, self.current[variable]));
        self.current[variable] = Some(value);
    }

    /// A variable that nothing was stored to may hold anything: zero.
    fn get(&mut self, variable: usize) -> Value {
        match self.current[variable] {
            Some(value) => value,
            None => self.zero(),
        }
    }

    fn zero(&mut self) -> Value {
        *self.zero.get_or_insert_with(|| self.func.new_value())
    }
}

/// By block: the variables that need a parameter there, because different stores reach it and a
/// load follows.
fn new_params(
    func: &Function,
    cfg: &Cfg,
    addresses: &[Address],
    pieces: &Pieces,
) -> Vec<Vec<usize>> {
    let blocks = func.blocks.len();
    let mut stored_in: Vec<Vec<Block>> = vec![Vec::new(); pieces.count];
    let mut loaded_in: Vec<Vec<Block>> = vec![Vec::new(); pieces.count];
    let find = |base: Value, offset: i32| {
        let (slot, start) = addresses[base.index()]?;
        pieces.variable(slot, start.wrapping_add(i64::from(offset)))
    };
    for &block in &cfg.rpo {
        for inst in &func.blocks[block.index()].insts {
            match inst.op {
                Op::Load { base, offset, .. } => {
                    if let Some(variable) = find(base, offset)
                        && stored_in[variable].last() != Some(&block)
                        && loaded_in[variable].last() != Some(&block)
                    {
                        loaded_in[variable].push(block);
                    }
                }
                Op::Store { base, offset, .. } => {
                    if let Some(variable) = find(base, offset)
                        && stored_in[variable].last() != Some(&block)
                    {
                        stored_in[variable].push(block);
                    }
                }
                Op::Zero { base, offset, size } => {
                    let Some((slot, start)) = addresses[base.index()] else { continue };
                    let Some(pieces) = &pieces.by_slot[slot.index()] else { continue };
                    let start = start.wrapping_add(i64::from(offset));
                    let end = start.wrapping_add(i64::from(size));
                    for piece in pieces.iter().filter(|p| p.start < end && start < p.end) {
                        if let Some(variable) = piece.variable
                            && stored_in[variable].last() != Some(&block)
                        {
                            stored_in[variable].push(block);
                        }
                    }
                }
                _ => {}
            }
        }
    }
    let frontiers = cfg.dominance_frontiers();
    let mut params = vec![Vec::new(); blocks];
    for variable in 0..pieces.count {
        let live = live_in(cfg, &loaded_in[variable], &stored_in[variable], blocks);
        let mut work = stored_in[variable].clone();
        let mut has_param = vec![false; blocks];
        while let Some(block) = work.pop() {
            for &join in &frontiers[block.index()] {
                if live[join.index()] && !has_param[join.index()] {
                    has_param[join.index()] = true;
                    params[join.index()].push(variable);
                    work.push(join);
                }
            }
        }
    }
    params
}

/// By block: whether a load may follow before a store.
fn live_in(cfg: &Cfg, loaded_in: &[Block], stored_in: &[Block], blocks: usize) -> Vec<bool> {
    let mut stored = vec![false; blocks];
    stored_in.iter().for_each(|block| stored[block.index()] = true);
    let mut live = vec![false; blocks];
    loaded_in.iter().for_each(|block| live[block.index()] = true);
    let mut work = loaded_in.to_vec();
    while let Some(block) = work.pop() {
        for &pred in &cfg.preds[block.index()] {
            if !stored[pred.index()] && !std::mem::replace(&mut live[pred.index()], true) {
                work.push(pred);
            }
        }
    }
    live
}

//! Builds a function block by block.

use bombus_platform::Helper;

use super::{
    BinaryOp, Block, BlockData, Cond, FuncRef, Function, Inst, Line, LoadWidth, MapRef, Op,
    SlotData, StackSlot, Target, Term, UnaryOp, Value,
};

/// Builds one function. Blocks are laid out in the order in which they are entered with
/// [`Builder::switch_to`]. Values may be used in any block that the definition dominates; state
/// that changes goes through a stack slot, which a later pass turns into values.
#[derive(Debug)]
pub struct Builder {
    func: Function,
    current: Block,
    line: Option<Line>,
}

impl Builder {
    /// A function with so many arguments; starts in its entry block.
    pub fn new(name: impl Into<String>, args: u32) -> Builder {
        let params = (0..args).map(Value).collect();
        let entry = BlockData { params, ..BlockData::default() };
        let func = Function {
            name: name.into(),
            layout: vec![Block(0)],
            blocks: vec![entry],
            values: args,
            slots: Vec::new(),
        };
        Builder { func, current: Block(0), line: None }
    }

    /// The function. Panics when a block that was entered does not end: a bug of the front end.
    pub fn finish(self) -> Function {
        for &block in &self.func.layout {
            assert!(self.func.blocks[block.index()].term.is_some(), "{block} does not end");
        }
        self.func
    }

    /// Argument `n`.
    pub fn arg(&self, n: u32) -> Value {
        self.func.blocks[0].params[n as usize]
    }

    /// The source place of what follows.
    pub fn set_line(&mut self, line: Option<Line>) {
        self.line = line;
    }

    /// A new block with so many parameters.
    pub fn block(&mut self, params: u32) -> Block {
        let params = (0..params).map(|_| self.value()).collect();
        self.func.blocks.push(BlockData { params, ..BlockData::default() });
        Block(self.func.blocks.len() as u32 - 1)
    }

    /// Parameter `n` of a block.
    pub fn param(&self, block: Block, n: usize) -> Value {
        self.func.blocks[block.index()].params[n]
    }

    /// What follows goes to this block.
    pub fn switch_to(&mut self, block: Block) {
        if !self.func.layout.contains(&block) {
            self.func.layout.push(block);
        }
        self.current = block;
    }

    /// Whether the current block has ended.
    pub fn is_terminated(&self) -> bool {
        self.func.blocks[self.current.index()].term.is_some()
    }

    /// New memory in the frame.
    pub fn slot(&mut self, size: u32) -> StackSlot {
        self.func.slots.push(SlotData { size });
        StackSlot(self.func.slots.len() as u32 - 1)
    }

    fn value(&mut self) -> Value {
        self.func.values += 1;
        Value(self.func.values - 1)
    }

    fn push(&mut self, op: Op) {
        let inst = Inst { result: None, op, line: self.line };
        self.func.blocks[self.current.index()].insts.push(inst);
    }

    fn define(&mut self, op: Op) -> Value {
        let result = self.value();
        let inst = Inst { result: Some(result), op, line: self.line };
        self.func.blocks[self.current.index()].insts.push(inst);
        result
    }

    fn end(&mut self, term: Term) {
        let data = &mut self.func.blocks[self.current.index()];
        assert!(data.term.is_none(), "{} ends twice", self.current);
        data.term = Some(term);
        data.term_line = self.line;
    }

    /// A number.
    pub fn iconst(&mut self, number: i64) -> Value {
        self.define(Op::Const(number))
    }

    /// One operand.
    pub fn unary(&mut self, op: UnaryOp, a: Value) -> Value {
        self.define(Op::Unary(op, a))
    }

    /// Two operands.
    pub fn binary(&mut self, op: BinaryOp, a: Value, b: Value) -> Value {
        self.define(Op::Binary(op, a, b))
    }

    /// `a op number`.
    pub fn binary_imm(&mut self, op: BinaryOp, a: Value, number: i64) -> Value {
        let b = self.iconst(number);
        self.binary(op, a, b)
    }

    /// 1 when the comparison holds, else 0.
    pub fn compare(&mut self, cond: Cond, a: Value, b: Value) -> Value {
        self.define(Op::Compare(cond, a, b))
    }

    /// Comparison with a number.
    pub fn compare_imm(&mut self, cond: Cond, a: Value, number: i64) -> Value {
        let b = self.iconst(number);
        self.compare(cond, a, b)
    }

    /// `a` when `test` is not zero, else `b`.
    pub fn select(&mut self, test: Value, a: Value, b: Value) -> Value {
        self.define(Op::Select(test, a, b))
    }

    /// `*(base + offset)`.
    pub fn load(&mut self, width: LoadWidth, base: Value, offset: i32) -> Value {
        self.define(Op::Load { width, base, offset })
    }

    /// `*(base + offset) = value`.
    pub fn store(&mut self, bytes: u8, value: Value, base: Value, offset: i32) {
        self.push(Op::Store { bytes, value, base, offset });
    }

    /// Atomic `*(base + offset) += value`.
    pub fn atomic_add(&mut self, bytes: u8, value: Value, base: Value, offset: i32) {
        self.push(Op::AtomicAdd { bytes, value, base, offset });
    }

    /// Zeroes memory.
    pub fn zero(&mut self, base: Value, offset: i32, size: u32) {
        if size > 0 {
            self.push(Op::Zero { base, offset, size });
        }
    }

    /// Copies memory.
    pub fn copy(&mut self, to: (Value, i32), from: (Value, i32), size: u32, align: u8) {
        if size > 0 {
            self.push(Op::Copy {
                to: to.0,
                to_offset: to.1,
                from: from.0,
                from_offset: from.1,
                size,
                align,
            });
        }
    }

    /// Address of a stack slot.
    pub fn slot_addr(&mut self, slot: StackSlot) -> Value {
        self.define(Op::SlotAddr(slot))
    }

    /// Address of a map.
    pub fn map_addr(&mut self, map: MapRef) -> Value {
        self.define(Op::MapAddr(map))
    }

    /// Address in the only value of an array map.
    pub fn map_value_addr(&mut self, map: MapRef, offset: u32) -> Value {
        self.define(Op::MapValueAddr(map, offset))
    }

    /// Address of a function.
    pub fn func_addr(&mut self, func: FuncRef) -> Value {
        self.define(Op::FuncAddr(func))
    }

    /// Calls a helper.
    pub fn call_helper(&mut self, helper: Helper, args: &[Value]) -> Value {
        self.define(Op::CallHelper(helper, args.to_vec()))
    }

    /// Calls a function of the module.
    pub fn call(&mut self, func: FuncRef, args: &[Value]) -> Value {
        self.define(Op::Call(func, args.to_vec()))
    }

    /// Goes to a block.
    pub fn jump(&mut self, block: Block, args: &[Value]) {
        self.end(Term::Jump(Target { block, args: args.to_vec() }));
    }

    /// Goes to one of two blocks without parameters.
    pub fn branch(&mut self, test: Value, then: Block, otherwise: Block) {
        let target = |block| Target { block, args: Vec::new() };
        self.end(Term::Branch(test, target(then), target(otherwise)));
    }

    /// Ends the function.
    pub fn ret(&mut self, value: Value) {
        self.end(Term::Return(value));
    }

    /// Ends a block that is never reached.
    pub fn unreachable(&mut self) {
        self.end(Term::Unreachable);
    }
}

//! Random programs compute the same as IR, as optimised IR, and as code of every version of the
//! instruction set on the checked interpreter.

mod engines;

use bombus_compiler::ir::{
    self, BinaryOp, Builder, Cond, FuncRef, LoadWidth, Module, StackSlot, UnaryOp, Value,
};
use bombus_compiler::{Target, compile, passes};
use bombus_platform::Helper;
use engines::{interpreter, vm};
use proptest::prelude::*;

const CONTEXT: u32 = 64;

const UNARY: [UnaryOp; 11] = [
    UnaryOp::Neg,
    UnaryOp::Not,
    UnaryOp::Zext8,
    UnaryOp::Zext16,
    UnaryOp::Zext32,
    UnaryOp::Sext8,
    UnaryOp::Sext16,
    UnaryOp::Sext32,
    UnaryOp::Bswap16,
    UnaryOp::Bswap32,
    UnaryOp::Bswap64,
];
const BINARY: [BinaryOp; 13] = [
    BinaryOp::Add,
    BinaryOp::Sub,
    BinaryOp::Mul,
    BinaryOp::Udiv,
    BinaryOp::Sdiv,
    BinaryOp::Urem,
    BinaryOp::Srem,
    BinaryOp::And,
    BinaryOp::Or,
    BinaryOp::Xor,
    BinaryOp::Shl,
    BinaryOp::Lshr,
    BinaryOp::Ashr,
];
const CONDS: [Cond; 10] = [
    Cond::Eq,
    Cond::Ne,
    Cond::Ult,
    Cond::Ule,
    Cond::Ugt,
    Cond::Uge,
    Cond::Slt,
    Cond::Sle,
    Cond::Sgt,
    Cond::Sge,
];
const WIDTHS: [LoadWidth; 7] = [
    LoadWidth::U8,
    LoadWidth::U16,
    LoadWidth::U32,
    LoadWidth::U64,
    LoadWidth::S8,
    LoadWidth::S16,
    LoadWidth::S32,
];
const NUMBERS: [i64; 16] = [
    0,
    1,
    2,
    3,
    8,
    31,
    63,
    -1,
    -2,
    0xff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    i64::MIN,
    0x1234_5678_9abc,
];
const SLOTS: [u32; 6] = [8, 16, 4, 24, 200, 304];

/// Makes a program of bytes: what a byte decides depends on where it is read.
struct Maker<'a> {
    tape: std::slice::Iter<'a, u8>,
    builder: Builder,
    /// Values that may be used here.
    values: Vec<Value>,
    slots: Vec<(StackSlot, u32)>,
    context: Option<Value>,
    callees: u32,
    depth: u32,
}

impl Maker<'_> {
    fn byte(&mut self) -> u8 {
        self.tape.next().copied().unwrap_or(0)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.byte() as usize % from.len()]
    }

    /// Late values more often.
    fn value(&mut self) -> Value {
        let back = self.byte() as usize % self.values.len().min(12);
        self.values[self.values.len() - 1 - back]
    }

    fn define(&mut self, value: Value) {
        self.values.push(value);
    }

    /// Memory of at least so many bytes: base and offset, aligned.
    fn place(&mut self, bytes: u32) -> (Value, i32) {
        let choice = self.byte() as usize;
        let fitting: Vec<_> =
            self.slots.iter().copied().filter(|&(_, size)| size >= bytes).collect();
        let (base, size) = match self.context {
            Some(context) if choice.is_multiple_of(3) || fitting.is_empty() => (context, CONTEXT),
            _ => {
                let (slot, size) = fitting[choice % fitting.len()];
                (self.builder.slot_addr(slot), size)
            }
        };
        let steps = (size - bytes) / bytes + 1;
        let offset = (u32::from(self.byte()) % steps * bytes) as i32;
        if self.byte().is_multiple_of(4) {
            let base = self.builder.binary_imm(BinaryOp::Add, base, i64::from(offset));
            return (base, 0);
        }
        (base, offset)
    }

    fn statements(&mut self, count: u8) {
        for _ in 0..count {
            if self.builder.is_terminated() {
                return;
            }
            self.statement();
        }
    }

    fn statement(&mut self) {
        match self.byte() % 24 {
            0 | 1 => {
                let number = self.pick(&NUMBERS);
                let value = self.builder.iconst(number);
                self.define(value);
            }
            2 | 3 => {
                let (op, a) = (self.pick(&UNARY), self.value());
                let value = self.builder.unary(op, a);
                self.define(value);
            }
            4..=7 => {
                let (op, a, b) = (self.pick(&BINARY), self.value(), self.value());
                let value = self.builder.binary(op, a, b);
                self.define(value);
            }
            8 | 9 => {
                let (op, a, number) = (self.pick(&BINARY), self.value(), self.pick(&NUMBERS));
                let value = self.builder.binary_imm(op, a, number);
                self.define(value);
            }
            10 => {
                let (cond, a, b) = (self.pick(&CONDS), self.value(), self.value());
                let value = self.builder.compare(cond, a, b);
                self.define(value);
            }
            11 => {
                let (cond, a, number) = (self.pick(&CONDS), self.value(), self.pick(&NUMBERS));
                let value = self.builder.compare_imm(cond, a, number);
                self.define(value);
            }
            12 => {
                let (test, a, b) = (self.value(), self.value(), self.value());
                let value = self.builder.select(test, a, b);
                self.define(value);
            }
            13 | 14 => {
                let width = self.pick(&WIDTHS);
                let (base, offset) = self.place(width.bytes());
                let value = self.builder.load(width, base, offset);
                self.define(value);
            }
            15 | 16 => {
                let bytes = self.pick(&[1, 2, 4, 8]);
                let (base, offset) = self.place(bytes);
                let value = self.value();
                self.builder.store(bytes as u8, value, base, offset);
            }
            17 => {
                let bytes = self.pick(&[4, 8]);
                let (base, offset) = self.place(bytes);
                let value = self.value();
                self.builder.atomic_add(bytes as u8, value, base, offset);
            }
            18 => self.memory(),
            19 => self.call(),
            20 | 21 => self.branch(),
            22 => self.repeat(),
            _ => {
                let value = self.value();
                self.define(value);
            }
        }
    }

    fn memory(&mut self) {
        if self.slots.is_empty() {
            return;
        }
        let (slot, size) = self.pick(&self.slots.clone());
        let (other, other_size) = self.pick(&self.slots.clone());
        let a = self.builder.slot_addr(slot);
        let len = u32::from(self.byte()) % size.min(other_size) + 1;
        if slot == other {
            self.builder.zero(a, 0, len);
            return;
        }
        let b = self.builder.slot_addr(other);
        let align = self.pick(&[1, 2, 4, 8]);
        self.builder.copy((a, 0), (b, 0), len, align);
    }

    fn call(&mut self) {
        if self.callees == 0 || self.byte().is_multiple_of(3) {
            let value = self.builder.call_helper(Helper::GetCurrentPidTgid, &[]);
            return self.define(value);
        }
        let args: Vec<Value> = (0..3).map(|_| self.value()).collect();
        let callee = FuncRef(u32::from(self.byte()) % self.callees + 1);
        let value = self.builder.call(callee, &args);
        self.define(value);
    }

    fn branch(&mut self) {
        if self.depth > 4 {
            return;
        }
        self.depth += 1;
        let test = if self.byte().is_multiple_of(2) {
            let (cond, a, number) = (self.pick(&CONDS), self.value(), self.pick(&NUMBERS));
            self.builder.compare_imm(cond, a, number)
        } else {
            self.value()
        };
        let params = u32::from(self.byte() % 3);
        let (then, otherwise) = (self.builder.block(0), self.builder.block(0));
        let join = self.builder.block(params);
        self.builder.branch(test, then, otherwise);
        let scope = self.values.len();
        let mut joined = false;
        for block in [then, otherwise] {
            self.builder.switch_to(block);
            self.values.truncate(scope);
            let count = self.byte() % 5;
            self.statements(count);
            if self.builder.is_terminated() {
                continue;
            }
            if self.depth < 3 && self.byte().is_multiple_of(8) {
                let value = self.value();
                self.builder.ret(value);
            } else {
                let args: Vec<Value> = (0..params).map(|_| self.value()).collect();
                self.builder.jump(join, &args);
                joined = true;
            }
        }
        self.values.truncate(scope);
        self.builder.switch_to(join);
        if !joined {
            self.builder.unreachable();
        }
        self.values.extend((0..params as usize).map(|n| self.builder.param(join, n)));
        self.depth -= 1;
    }

    /// A counted loop with a value that goes round.
    fn repeat(&mut self) {
        if self.depth > 2 {
            return;
        }
        self.depth += 1;
        let start = self.value();
        let zero = self.builder.iconst(0);
        let (head, body) = (self.builder.block(2), self.builder.block(0));
        let exit = self.builder.block(0);
        self.builder.jump(head, &[zero, start]);
        self.builder.switch_to(head);
        let (counter, carried) = (self.builder.param(head, 0), self.builder.param(head, 1));
        let limit = i64::from(self.byte() % 5);
        let test = self.builder.compare_imm(Cond::Ult, counter, limit);
        self.builder.branch(test, body, exit);
        self.builder.switch_to(body);
        let scope = self.values.len();
        self.values.extend([counter, carried]);
        let count = self.byte() % 6;
        self.statements(count);
        if !self.builder.is_terminated() {
            let next = self.builder.binary_imm(BinaryOp::Add, counter, 1);
            let value = self.value();
            self.builder.jump(head, &[next, value]);
        }
        self.values.truncate(scope);
        self.builder.switch_to(exit);
        self.values.push(carried);
        self.depth -= 1;
    }
}

fn function(tape: &mut std::slice::Iter<'_, u8>, index: u32, callees: u32) -> ir::Function {
    let args = if index == 0 { 1 } else { 3 };
    let mut maker = Maker {
        tape: tape.clone(),
        builder: Builder::new(format!("f{index}"), args),
        values: Vec::new(),
        slots: Vec::new(),
        context: None,
        callees,
        depth: 0,
    };
    for _ in 0..maker.byte() % 5 {
        let size = maker.pick(&SLOTS);
        let slot = maker.builder.slot(size);
        let address = maker.builder.slot_addr(slot);
        maker.builder.zero(address, 0, size);
        maker.slots.push((slot, size));
    }
    if index == 0 {
        let context = maker.builder.arg(0);
        maker.context = Some(context);
        let value = maker.builder.load(LoadWidth::U64, context, 0);
        maker.define(value);
    } else {
        let slot = maker.builder.slot(8);
        let address = maker.builder.slot_addr(slot);
        maker.builder.zero(address, 0, 8);
        maker.slots.push((slot, 8));
        maker.values.extend((0..3).map(|n| maker.builder.arg(n)));
    }
    let count = maker.byte() % 40;
    maker.statements(count);
    if !maker.builder.is_terminated() {
        let mut sum = maker.value();
        for _ in 0..3 {
            let other = maker.value();
            sum = maker.builder.binary(BinaryOp::Xor, sum, other);
        }
        maker.builder.ret(sum);
    }
    *tape = maker.tape.clone();
    maker.builder.finish()
}

fn module(tape: &[u8]) -> Module {
    let mut tape = tape.iter();
    let callees = u32::from(tape.next().copied().unwrap_or(0) % 2);
    let functions = (0..=callees)
        .map(|index| function(&mut tape, index, if index == 0 { callees } else { 0 }))
        .collect();
    Module { functions, lines: Vec::new() }
}

fn check(tape: &[u8], words: &[u64]) -> Result<(), TestCaseError> {
    let context: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let module = module(tape);
    let fail = |what: String| TestCaseError::fail(format!("{what}\n{module}"));
    ir::verify(&module).map_err(|error| fail(error.to_string()))?;
    let read_back = ir::parse(&module.to_string()).map_err(|error| fail(error.to_string()))?;
    prop_assert_eq!(read_back.to_string(), module.to_string());
    let expected = interpreter::run(&module, &context, &[]).map_err(&fail)?;
    for isa in 1..=4 {
        let target = Target { isa };
        let mut optimized = module.clone();
        passes::optimize(&mut optimized, target);
        ir::verify(&optimized).map_err(|error| fail(format!("{error}\n{optimized}")))?;
        let outcome = interpreter::run(&optimized, &context, &[]).map_err(&fail)?;
        if outcome != expected {
            return Err(fail(format!("v{isa}: {outcome:x?}, not {expected:x?}\n{optimized}")));
        }
        let mut maps = Vec::new();
        let compiled =
            compile(&module, &target, &mut maps).map_err(|error| fail(error.to_string()))?;
        let insns: Vec<_> = compiled.insns.iter().map(|slot| slot.insn).collect();
        let listing = || bombus_isa::disasm(&insns, &());
        let needs = bombus_isa::validate(&insns)
            .map_err(|error| fail(format!("{error:?}\n{}", listing())))?;
        prop_assert!(needs <= isa, "v{} code needs v{}", isa, needs);
        let outcome = vm::run(&compiled, &context, &maps)
            .map_err(|error| fail(format!("{error}\n{}", listing())))?;
        if outcome != expected {
            let text = format!("v{isa}: {outcome:x?}, not {expected:x?}\n{optimized}{}", listing());
            return Err(fail(text));
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]
    #[test]
    fn programs_keep_their_meaning(
        tape in proptest::collection::vec(any::<u8>(), 0..700),
        words in proptest::array::uniform8(prop_oneof![any::<u64>(), 0..10_u64]),
    ) {
        check(&tape, &words)?;
    }
}

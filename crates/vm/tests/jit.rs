//! Machine code of each instruction, in all registers, against what the instruction means.
#![cfg(target_arch = "x86_64")]

use bombus_isa::{AluOp, AtomicOp, Cond, Endian, Imm64, Insn, Op, Operand, Reg, Size, Width, asm};
use bombus_vm::jit::{JitProgram, x64::X64};
use bombus_vm::native::{Environment, Unlinked};
use bombus_vm::{Program, semantics};

const WIDTHS: [Width; 2] = [Width::W32, Width::W64];
const SIZES: [Size; 4] = [Size::B, Size::H, Size::W, Size::Dw];
/// Values that something happens at.
const VALUES: [u64; 12] = [
    0,
    1,
    5,
    63,
    0x7f,
    0x1234_5678_9abc_def0,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    i64::MAX as u64,
    i64::MIN as u64,
    u64::MAX,
];
const IMMEDIATES: [i32; 16] =
    [0, 1, 2, 3, 8, 31, 32, 64, 127, 128, -128, 255, 0xffff, i32::MAX, i32::MIN, -1];

/// Both tiers, for kinds of processors, and constants hidden.
fn targets() -> [X64; 5] {
    let own = X64::of_this_machine();
    let old = X64 { bmi2: false, movbe: false, ..own };
    let hiding = X64 { blinding: Some(0x1234_5678_9abc_def1), ..own };
    [own, X64 { optimise: true, ..own }, old, X64 { optimise: true, ..old }, hiding]
}

fn encode(op: Op) -> Vec<Insn> {
    let (first, second) = op.encode();
    std::iter::once(first).chain(second).collect()
}

/// Some instructions between all registers and a block of memory: ten words that are loaded into
/// `r0` to `r9`, ten that the registers are stored to, and what else the program uses.
struct Code {
    program: JitProgram,
    /// For messages.
    name: String,
}

impl Code {
    fn new(target: &X64, code: &[Insn]) -> Code {
        let program = Program::new(&surround(code), 0, &mut |_| None).unwrap();
        let program = JitProgram::compile_for(target, &program, &Unlinked).unwrap();
        Code { program, name: format!("{target:?} {code:?}") }
    }

    fn run(&self, memory: &mut [u64; 24]) {
        let mut environment = Environment::new(std::ptr::null_mut());
        let memory = memory.as_mut_ptr() as u64;
        // SAFETY: the program reaches into this memory and its stack only.
        unsafe { self.program.run([memory, 0, 0, 0, 0], &mut environment) };
    }
}

fn surround(code: &[Insn]) -> Vec<Insn> {
    let mut all = asm("*(u64 *)(r10 -88) = r1
         r0 = *(u64 *)(r1 +0)
         r2 = *(u64 *)(r1 +16)
         r3 = *(u64 *)(r1 +24)
         r4 = *(u64 *)(r1 +32)
         r5 = *(u64 *)(r1 +40)
         r6 = *(u64 *)(r1 +48)
         r7 = *(u64 *)(r1 +56)
         r8 = *(u64 *)(r1 +64)
         r9 = *(u64 *)(r1 +72)
         r1 = *(u64 *)(r1 +8)")
    .unwrap();
    all.extend_from_slice(code);
    for reg in 0..10i16 {
        all.push(Insn::store(Size::Dw, Reg::FP, -8 - 8 * reg, Reg(reg as u8)));
    }
    all.push(Insn::load(Size::Dw, Reg(1), Reg::FP, -88));
    for reg in 0..10i16 {
        all.push(Insn::load(Size::Dw, Reg(0), Reg::FP, -8 - 8 * reg));
        all.push(Insn::store(Size::Dw, Reg(1), 80 + 8 * reg, Reg(0)));
    }
    all.push(Insn::exit());
    all
}

/// Memory with `a` in one register, `b` in another (they may be the same) and noise in the rest.
fn memory(dst: u8, a: u64, src: u8, b: u64) -> [u64; 24] {
    let mut memory = std::array::from_fn(|index| 0x0101_0101_0101_0101 * (index as u64 + 0x70));
    memory[usize::from(dst)] = a;
    memory[usize::from(src)] = b;
    memory
}

/// Checks that after `code` the register `dst` holds `expected` and all others what they held.
#[track_caller]
fn check(code: &Code, memory: [u64; 24], dst: u8, expected: u64) {
    let mut after = memory;
    code.run(&mut after);
    for reg in 0..10u8 {
        let expected = if reg == dst { expected } else { memory[usize::from(reg)] };
        let found = after[10 + usize::from(reg)];
        assert!(
            found == expected,
            "{} r{reg}: {found:#x}, not {expected:#x}; before: {memory:x?}",
            code.name
        );
    }
}

#[test]
fn arithmetic_of_registers() {
    for target in targets() {
        for (op, width) in AluOp::ALL.iter().flat_map(|&op| WIDTHS.map(|width| (op, width))) {
            for (dst, src) in (0..10).flat_map(|dst| (0..10).map(move |src| (dst, src))) {
                let alu = Op::Alu { width, op, dst: Reg(dst), src: Operand::Reg(Reg(src)) };
                let code = Code::new(&target, &encode(alu));
                for a in VALUES {
                    for b in VALUES {
                        // Not every value in every register.
                        if (a ^ b ^ u64::from(dst) ^ u64::from(src)) % 5 != 0 {
                            continue;
                        }
                        let memory = memory(dst, a, src, b);
                        let a = memory[usize::from(dst)];
                        let expected = semantics::alu(op, width, a, b);
                        check(&code, memory, dst, expected);
                    }
                }
            }
        }
    }
}

#[test]
fn arithmetic_with_immediates() {
    for target in targets() {
        for (op, width) in AluOp::ALL.iter().flat_map(|&op| WIDTHS.map(|width| (op, width))) {
            for (dst, imm) in (0..10).flat_map(|dst| IMMEDIATES.map(|imm| (dst, imm))) {
                let alu = Op::Alu { width, op, dst: Reg(dst), src: Operand::Imm(imm) };
                let code = Code::new(&target, &encode(alu));
                for a in VALUES {
                    let expected = semantics::alu(op, width, a, imm as u64);
                    check(&code, memory(dst, a, dst, a), dst, expected);
                }
            }
        }
    }
}

#[test]
fn unary_operations() {
    let target = X64::of_this_machine();
    for (dst, a) in (0..10).flat_map(|dst| VALUES.map(|a| (dst, a))) {
        let memory = |src, b| memory(dst, a, src, b);
        for width in WIDTHS {
            let code = Code::new(&target, &encode(Op::Neg { width, dst: Reg(dst) }));
            check(&code, memory(dst, a), dst, semantics::neg(width, a));
            for (from, src) in SIZES.iter().flat_map(|&from| (0..10).map(move |src| (from, src))) {
                if from == Size::Dw || (from == Size::W && width == Width::W32) {
                    continue;
                }
                let extend = Op::MovSx { width, from, dst: Reg(dst), src: Reg(src) };
                let code = Code::new(&target, &encode(extend));
                let b = a ^ 0x80_8080;
                let expected = semantics::movsx(width, from, b);
                check(&code, memory(src, b), dst, expected);
            }
        }
        for order in [Endian::Le, Endian::Be, Endian::Swap] {
            for size in [Size::H, Size::W, Size::Dw] {
                let code = Code::new(&target, &encode(Op::End { order, size, dst: Reg(dst) }));
                check(&code, memory(dst, a), dst, semantics::endian(order, size, a));
            }
        }
        for target in targets() {
            let imm = Imm64::Value(a);
            let code = Code::new(&target, &encode(Op::LoadImm64 { dst: Reg(dst), imm }));
            check(&code, memory(dst, !a), dst, a);
        }
    }
}

#[test]
fn pairs_that_become_one_instruction() {
    let target = X64::of_this_machine();
    let alu = |width, op, dst, src| encode(Op::Alu { width, op, dst: Reg(dst), src });
    for (dst, src) in (0..10).flat_map(|dst| (0..10).map(move |src| (dst, src))) {
        for (first, second) in WIDTHS.into_iter().flat_map(|a| WIDTHS.map(|b| (a, b))) {
            let mov = alu(first, AluOp::Mov, dst, Operand::Reg(Reg(src)));
            let moved = |b| semantics::alu(AluOp::Mov, first, 0, b);
            for (imm, op) in IMMEDIATES.iter().flat_map(|i| [(i, AluOp::Add), (i, AluOp::Lsh)]) {
                let code = [mov.clone(), alu(second, op, dst, Operand::Imm(*imm))].concat();
                let code = Code::new(&target, &code);
                for b in VALUES {
                    let expected = semantics::alu(op, second, moved(b), *imm as u64);
                    check(&code, memory(dst, 77, src, b), dst, expected);
                }
            }
            for other in 0..10 {
                let add = alu(second, AluOp::Add, dst, Operand::Reg(Reg(other)));
                let code = Code::new(&target, &[mov.clone(), add].concat());
                for b in VALUES {
                    let memory = memory(dst, 77, src, b);
                    let term = if other == dst { moved(b) } else { memory[usize::from(other)] };
                    let expected = semantics::alu(AluOp::Add, second, moved(b), term);
                    check(&code, memory, dst, expected);
                }
            }
        }
        for (width, op) in WIDTHS.into_iter().flat_map(|w| [(w, AluOp::Rsh), (w, AluOp::Arsh)]) {
            let left = alu(Width::W64, AluOp::Lsh, dst, Operand::Imm(32));
            let code = [left, alu(width, op, dst, Operand::Imm(32))].concat();
            let code = Code::new(&target, &code);
            for a in VALUES {
                let expected = semantics::alu(op, width, a << 32, 32);
                check(&code, memory(dst, a, dst, a), dst, expected);
            }
        }
    }
}

#[test]
fn jumps() {
    for target in targets() {
        for (cond, width) in Cond::ALL.iter().flat_map(|&c| WIDTHS.map(|width| (c, width))) {
            let program = |dst: u8, src: Operand, other: u8| {
                let jump = Op::JumpIf { width, cond, dst: Reg(dst), src, off: 2 };
                let mut code = encode(jump);
                code.push(Insn::mov_imm(Reg(other), 0));
                code.push(Insn::ja(1));
                code.push(Insn::mov_imm(Reg(other), 1));
                Code::new(&target, &code)
            };
            for (a, dst) in VALUES.into_iter().zip((0..10).cycle()) {
                for imm in IMMEDIATES {
                    let other = (dst + 1) % 10;
                    let code = program(dst, Operand::Imm(imm), other);
                    let expected = semantics::compare(cond, width, a, imm as u64).into();
                    check(&code, memory(dst, a, dst, a), other, expected);
                }
                for (b, src) in VALUES.into_iter().zip((0..10).cycle()) {
                    let other = (0..10).find(|reg| *reg != dst && *reg != src).unwrap();
                    let code = program(dst, Operand::Reg(Reg(src)), other);
                    let memory = memory(dst, a, src, b);
                    let a = memory[usize::from(dst)];
                    let expected = semantics::compare(cond, width, a, b).into();
                    check(&code, memory, other, expected);
                }
            }
        }
    }
}

/// What the second tier does without a jump.
#[test]
fn jumps_over_operations() {
    for target in targets() {
        for (op, width) in AluOp::ALL.iter().flat_map(|&op| WIDTHS.map(|width| (op, width))) {
            for (dst, imm) in (0..10).flat_map(|dst| IMMEDIATES.map(|imm| (dst, imm))) {
                // What is compared is what changes, too.
                for asked in [dst, (dst + 1) % 10] {
                    let src = Operand::Imm(5);
                    let jump = Op::JumpIf { width, cond: Cond::Gt, dst: Reg(asked), src, off: 1 };
                    let alu = Op::Alu { width, op, dst: Reg(dst), src: Operand::Imm(imm) };
                    let code = Code::new(&target, &[encode(jump), encode(alu)].concat());
                    for a in [0, 5, 6, 0x8000_0000, 0x1234_5678_0000_0001, u64::MAX] {
                        let memory = memory(dst, a ^ 3, asked, a);
                        let stays = semantics::compare(Cond::Gt, width, a, 5);
                        let before = memory[usize::from(dst)];
                        let after = semantics::alu(op, width, before, imm as u64);
                        check(&code, memory, dst, if stays { before } else { after });
                    }
                }
            }
        }
    }
}

/// A word of memory that programs work on, behind those of the registers.
const WORD: usize = 20;

#[test]
fn loads_and_stores() {
    let pairs = || (0..10u8).flat_map(|a| (0..10u8).map(move |b| (a, b)));
    for target in targets() {
        for ((base, other), size) in pairs().flat_map(|pair| SIZES.map(|size| (pair, size))) {
            for value in VALUES {
                let mut memory = memory(other, value ^ 0xff, base, 0);
                memory[WORD] = value;
                let bits = |value: u64| value & (u64::MAX >> (64 - 8 * size.bytes()));
                let load_base = |at: &[u64; 24]| {
                    let address = at.as_ptr() as u64 + 8 * WORD as u64 + 16;
                    encode(Op::LoadImm64 { dst: Reg(base), imm: Imm64::Value(address) })
                };
                for signed in [false, true] {
                    if signed && size == Size::Dw {
                        continue;
                    }
                    let mut after = memory;
                    let load =
                        Op::Load { size, signed, dst: Reg(other), base: Reg(base), off: -16 };
                    let code = [load_base(&after), encode(load)].concat();
                    Code::new(&target, &code).run(&mut after);
                    let plain = bits(value);
                    let expected = if signed { semantics::sign_extend(size, plain) } else { plain };
                    assert_eq!(after[10 + usize::from(other)], expected, "{code:?}");
                }
                let store = |src: Operand, stored: u64| {
                    let mut after = memory;
                    let store = Op::Store { size, base: Reg(base), off: -16, src };
                    let code = [load_base(&after), encode(store)].concat();
                    Code::new(&target, &code).run(&mut after);
                    let expected = value & !bits(u64::MAX) | bits(stored);
                    assert_eq!(after[WORD], expected, "{target:?} {code:?}");
                    assert_eq!(after[WORD + 1], memory[WORD + 1], "{code:?}");
                };
                if base != other {
                    store(Operand::Reg(Reg(other)), value ^ 0xff);
                }
                store(Operand::Imm(-3), -3i64 as u64);
                store(Operand::Imm(0x1234_5678), 0x1234_5678);
            }
        }
    }
}

#[test]
fn atomic_operations() {
    let target = X64::of_this_machine();
    let pairs = || (0..10u8).flat_map(|a| (0..10u8).map(move |b| (a, b))).filter(|(a, b)| a != b);
    for ((base, src), op) in
        pairs().flat_map(|pair| AtomicOp::ALL.iter().map(move |&op| (pair, op)))
    {
        for (size, fetch) in [Size::W, Size::Dw].into_iter().flat_map(|s| [(s, false), (s, true)]) {
            if !fetch && matches!(op, AtomicOp::Xchg | AtomicOp::Cmpxchg) {
                continue;
            }
            for old in VALUES {
                let mut memory = memory(src, 0x8765_4321_1234_5678, 11, 0);
                memory[WORD] = old;
                if base != 0 && src != 0 && old & 1 == 0 {
                    // What cmpxchg expects, with noise above.
                    memory[0] = old ^ 0xff00_0000_0000_0000;
                    memory[WORD] = if size == Size::W { old } else { memory[0] };
                }
                let old = memory[WORD];
                let mut after = memory;
                let address = after.as_ptr() as u64 + 8 * WORD as u64;
                let set = Op::LoadImm64 { dst: Reg(base), imm: Imm64::Value(address) };
                let atomic = Op::Atomic { size, op, fetch, base: Reg(base), off: 0, src: Reg(src) };
                let code = [encode(set), encode(atomic)].concat();
                Code::new(&target, &code).run(&mut after);
                let r0 = if base == 0 { address } else { memory[0] };
                let (operand, mask) =
                    (memory[usize::from(src)], u64::MAX >> (64 - 8 * size.bytes()));
                let new = semantics::atomic(op, size, old & mask, operand, r0);
                let context = format!("{code:?} {size:?} {memory:x?}");
                assert_eq!(after[WORD], old & !mask | new, "memory: {context}");
                for reg in 0..10u8 {
                    let result = if op == AtomicOp::Cmpxchg { 0 } else { src };
                    let expected = match reg {
                        reg if fetch && reg == result => old & mask,
                        reg if reg == base => address,
                        reg => memory[usize::from(reg)],
                    };
                    assert_eq!(after[10 + usize::from(reg)], expected, "r{reg}: {context}");
                }
            }
        }
    }
}

//! Machine code of each instruction, in all registers, against what the instruction means.
#![cfg(target_arch = "x86_64")]

use bombus_isa::{AluOp, AtomicOp, Cond, Endian, Imm64, Insn, Op, Operand, Reg, Size, Width, asm};
use bombus_vm::jit::{JitProgram, x64::X64};
use bombus_vm::native::{Callee, Environment, Linker, Lookup, Unlinked};
use bombus_vm::{Program, semantics};

const ALU: [AluOp; 14] = [
    AluOp::Add,
    AluOp::Sub,
    AluOp::Mul,
    AluOp::Div,
    AluOp::Sdiv,
    AluOp::Or,
    AluOp::And,
    AluOp::Lsh,
    AluOp::Rsh,
    AluOp::Mod,
    AluOp::Smod,
    AluOp::Xor,
    AluOp::Mov,
    AluOp::Arsh,
];
const CONDITIONS: [Cond; 11] = [
    Cond::Eq,
    Cond::Ne,
    Cond::Set,
    Cond::Gt,
    Cond::Ge,
    Cond::Lt,
    Cond::Le,
    Cond::Sgt,
    Cond::Sge,
    Cond::Slt,
    Cond::Sle,
];
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
        for (op, width) in ALU.into_iter().flat_map(|op| WIDTHS.map(|width| (op, width))) {
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
        for (op, width) in ALU.into_iter().flat_map(|op| WIDTHS.map(|width| (op, width))) {
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
        for (cond, width) in CONDITIONS.into_iter().flat_map(|c| WIDTHS.map(|width| (c, width))) {
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
    let ops = [
        AtomicOp::Add,
        AtomicOp::Or,
        AtomicOp::And,
        AtomicOp::Xor,
        AtomicOp::Xchg,
        AtomicOp::Cmpxchg,
    ];
    let pairs = || (0..10u8).flat_map(|a| (0..10u8).map(move |b| (a, b))).filter(|(a, b)| a != b);
    for ((base, src), op) in pairs().flat_map(|pair| ops.map(|op| (pair, op))) {
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

/// Digits of the arguments, and the stack must be aligned as the convention says.
unsafe extern "C" fn digits(a: u64, b: u64, c: u64, d: u64, e: u64, env: &mut Environment) -> u64 {
    // SAFETY: the tests make environments with such a counter, or none.
    if let Some(calls) = unsafe { env.host.cast::<u64>().as_mut() } {
        *calls += 1;
    }
    #[repr(align(16))]
    struct Aligned([u8; 16]);
    let aligned = std::hint::black_box(Aligned([0; 16]));
    assert_eq!(aligned.0.as_ptr() as usize % 16, 0);
    [a, b, c, d, e].iter().fold(0, |sum, arg| sum * 10 + arg)
}

/// Calls the function `r1` with `r2` and `r3`.
unsafe extern "C" fn call(f: u64, b: u64, c: u64, _: u64, _: u64, env: &mut Environment) -> u64 {
    // SAFETY: the programs here give one of their functions.
    unsafe { env.call_back(f, [b, c, 0, 0, 0]) }
}

/// The program whose entry is in `r2`, while there are tail calls left.
unsafe extern "C" fn next(_: u64, b: u64, _: u64, _: u64, _: u64, env: &mut Environment) -> u64 {
    if env.take_tail_call() { b } else { 0 }
}

/// An array of three elements at this address.
struct Helpers {
    array: u64,
}

impl Linker for Helpers {
    fn helper(&self, id: i32) -> Option<Callee> {
        match id {
            1 | 5 => Some(Callee::Helper(digits)),
            2 => Some(Callee::Helper(call)),
            12 => Some(Callee::TailCall(next)),
            _ => None,
        }
    }

    fn lookup(&self, map: u64) -> Option<Lookup> {
        match map {
            0x1_0001 => Some(Lookup::Array { base: self.array, stride: 12, len: 3 }),
            0x1_0002 => Some(Lookup::Array { base: self.array, stride: 8, len: 3 }),
            0x1_0003 => Some(Lookup::Function(digits)),
            _ => None,
        }
    }
}

fn run_text(text: &str, args: [u64; 5], calls: &mut u64) -> u64 {
    run_code(&asm(text).unwrap(), args, calls)
}

fn run_code(code: &[Insn], args: [u64; 5], calls: &mut u64) -> u64 {
    let program = Program::new(code, 0, &mut |_| None).unwrap();
    let program = JitProgram::compile(&program, &Helpers { array: 0x5000 }).unwrap();
    let mut environment = Environment::new(std::ptr::from_mut(calls).cast());
    // SAFETY: these programs stay within their frames.
    unsafe { program.run(args, &mut environment) }
}

#[test]
fn calls() {
    let mut calls = 0;
    let text = "r6 = 1; r1 = 1; r2 = 2; r3 = 3; r4 = 4; r5 = 5; call 5; r0 += r6; exit";
    assert_eq!(run_text(&text.replace(';', "\n"), [0; 5], &mut calls), 12346);
    let text = "r6 = r1
        *(u64 *)(r10 -8) = 100
        r7 = 1000
        call fn
        r0 += r6
        r0 += r7
        r1 = *(u64 *)(r10 -8)
        r0 += r1
        exit
        fn: r6 = 5
        r7 = 7
        *(u64 *)(r10 -8) = 1
        r1 = 0
        r2 = 0
        r3 = 0
        r4 = 0
        r5 = 9
        call 5
        exit";
    assert_eq!(run_text(text, [20000, 0, 0, 0, 0], &mut calls), 21109);
    assert_eq!(calls, 2);
}

#[test]
fn helpers_call_functions_of_the_program() {
    let mut calls = 0;
    let mut code = asm("r6 = 7").unwrap();
    code.extend(encode(Op::LoadImm64 { dst: Reg(1), imm: Imm64::Func(6) }));
    let rest = "r2 = 30
        r3 = 4
        call 2
        r0 += r6
        exit
        r6 = r1
        r6 += r2
        r1 = 0
        r2 = 0
        r3 = 0
        r4 = 0
        r5 = 1
        call 5
        r0 += r6
        exit";
    code.extend(asm(rest).unwrap());
    assert_eq!(run_code(&code, [0; 5], &mut calls), 42);
    assert_eq!(calls, 1);
}

#[test]
fn the_budget_of_loops_ends_them() {
    let text = "r0 = 0
        again: r0 += 1
        may_goto out
        goto again
        out: exit";
    assert_eq!(run_text(text, [0; 5], &mut 0), 8 * 1024 * 1024 + 1);
}

#[test]
fn look_ups_in_known_arrays() {
    for (map, stride) in [(0x1_0001, 12), (0x1_0002, 8)] {
        for index in [0, 2, 3, u32::MAX] {
            let text = format!(
                "w1 = {index:#x}
                *(u32 *)(r10 -4) = r1
                r2 = r10
                r2 += -4
                r6 = {map} ll
                r1 = r6
                call 1
                exit"
            );
            let expected = if index < 3 { 0x5000 + stride * u64::from(index) } else { 0 };
            assert_eq!(run_text(&text, [0; 5], &mut 0), expected, "{map:#x} {index}");
        }
    }
    // Not the same map on every way.
    let text = "if r1 == 0 goto +3
        r1 = 65537 ll
        goto +1
        r1 = 1
        r2 = 2
        r3 = 3
        r4 = 4
        r5 = 5
        call 1
        exit";
    assert_eq!(run_text(text, [0; 5], &mut 0), 12345);
    let text = "r1 = 65539 ll
        r2 = 0
        r3 = 0
        r4 = 0
        r5 = 0
        call 1
        exit";
    assert_eq!(run_text(text, [0; 5], &mut 0), 655_390_000);
}

#[test]
fn tail_calls_replace_the_function() {
    let linker = Helpers { array: 0 };
    let compile = |text: &str| {
        let program = Program::new(&asm(text).unwrap(), 0, &mut |_| None).unwrap();
        JitProgram::compile(&program, &linker).unwrap()
    };
    let last = compile("r6 = 1\nr7 = 2\nr0 = r1\nr0 += 5\nexit");
    let entry = last.entry();
    let first = compile(&format!(
        "r6 = r1
        r8 = 8
        call fn
        r0 += r6
        r0 += r8
        exit
        fn: r7 = 3
        r2 = {entry:#x} ll
        r1 = 100
        call 12
        r0 = 1
        exit"
    ));
    let mut environment = Environment::new(std::ptr::null_mut());
    for taken in 0..35 {
        // SAFETY: the programs touch no memory but their frames.
        let value = unsafe { first.run([1000, 0, 0, 0, 0], &mut environment) };
        assert_eq!(value, if taken < 33 { 1113 } else { 1009 });
    }
}

#[test]
fn unknown_helpers_are_named() {
    let program = Program::new(&asm("r0 = 0\ncall 77\nexit").unwrap(), 0, &mut |_| None).unwrap();
    let error = JitProgram::compile(&program, &Unlinked).unwrap_err();
    assert_eq!(error.to_string(), "insn 1: invalid func unknown#77");
}

#[test]
fn hidden_constants_are_not_in_the_code() {
    use bombus_vm::jit::Target;
    let text = "r0 = 0x12345678
        r1 = 0x12345678 ll
        r0 += 0x12345678
        if r0 == 0x12345678 goto +1
        *(u32 *)(r10 -8) = 0x12345678
        r0 s%= 0x12345678
        exit";
    let program = Program::new(&asm(text).unwrap(), 0, &mut |_| None).unwrap();
    let contains = |target: X64| {
        let code = target.emit(&program, &Unlinked, 0).unwrap();
        code.bytes.windows(4).any(|bytes| bytes == 0x1234_5678u32.to_le_bytes())
    };
    assert!(contains(X64::default()));
    assert!(!contains(X64 { blinding: Some(99), ..X64::default() }));
}

//! Calls of machine code: helpers, functions, callbacks, tail calls, look-ups; and what it hides.
#![cfg(target_arch = "x86_64")]

use bombus_isa::{Imm64, Insn, Op, Reg, asm};
use bombus_vm::Program;
use bombus_vm::jit::x64::X64;
use bombus_vm::jit::{JitProgram, Target};
use bombus_vm::native::{Callee, Environment, Linker, Lookup, Unlinked};

fn encode(op: Op) -> Vec<Insn> {
    let (first, second) = op.encode();
    std::iter::once(first).chain(second).collect()
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

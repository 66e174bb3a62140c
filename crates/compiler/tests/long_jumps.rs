//! Jumps over more slots than 16 bits can say: long ones on v4, an error before.

mod engines;

use bombus_compiler::ir::{Builder, Line, LoadWidth, Module};
use bombus_compiler::{ErrorKind, Target, compile};
use bombus_spec::SourceLine;
use engines::vm;

/// More than the 32767 slots that a jump reaches.
const STORES: i64 = 33_000;

/// Stores many numbers, unless the first word of the context is zero; twice when it is 2.
fn module() -> Module {
    let mut b = Builder::new("far", 1);
    let context = b.arg(0);
    let word = b.load(LoadWidth::U64, context, 0);
    let (body, end, out) = (b.block(0), b.block(0), b.block(0));
    b.set_line(Some(Line(0)));
    b.branch(word, body, out);
    b.set_line(None);
    b.switch_to(body);
    for number in 1..=STORES {
        let number = b.iconst(number);
        b.store(8, number, context, 8);
    }
    let left = b.load(LoadWidth::U64, context, 0);
    let one = b.iconst(1);
    let left = b.binary(bombus_compiler::ir::BinaryOp::Sub, left, one);
    b.store(8, left, context, 0);
    b.branch(left, body, end);
    b.switch_to(end);
    let last = b.load(LoadWidth::U64, context, 8);
    b.ret(last);
    b.switch_to(out);
    let zero = b.iconst(0);
    b.ret(zero);
    let line = SourceLine { file: "far".into(), line: 7, column: 3, text: "if".into() };
    Module { functions: vec![b.finish()], lines: vec![line] }
}

#[test]
fn far_jumps_are_long_on_v4() {
    let compiled = compile(&module(), &Target { isa: 4 }, &mut Vec::new()).expect("v4 has them");
    assert!(compiled.insns.len() > STORES as usize);
    for (times, value) in [(0_u64, 0), (1, STORES as u64), (2, STORES as u64)] {
        let mut context = [0; 16];
        context[..8].copy_from_slice(&times.to_le_bytes());
        let (returned, after) = vm::run(&compiled, &context, &[]).expect("it runs");
        assert_eq!(returned, value);
        assert_eq!(after[..8], [0; 8]);
    }
}

#[test]
fn far_jumps_are_an_error_before_v4() {
    let error = compile(&module(), &Target { isa: 3 }, &mut Vec::new()).expect_err("too far");
    assert_eq!(error.kind, ErrorKind::JumpTooFar);
    assert_eq!(error.function, "far");
    assert_eq!(error.line, Some(Line(0)));
    assert_eq!(
        error.to_string(),
        "far is too long for this kernel's jumps; make it shorter, or use a kernel with \
         instruction set v4 (Linux 6.6)"
    );
}

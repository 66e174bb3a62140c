//! What making a program ready takes.

use bombus_isa::{AluOp, Insn, Op, Operand, Reg, Width};
use bombus_vm::fast::FastProgram;
use bombus_vm::jit::JitProgram;

use super::engines::{Helpers, tier, valid};
use super::{ROUNDS, measure};

/// Instructions of a small program and of a large one.
pub(super) const COUNTS: [usize; 2] = [20, 100_000];

/// Prints a table; gives the microseconds of our JIT's tiers for each of [`COUNTS`].
pub(super) fn print() -> Result<[[f64; 2]; 2], String> {
    println!("\ncompiling, without reading the instructions; microseconds");
    println!("| instructions | our JIT | our optimising JIT | our interpreter | rbpf JIT |");
    println!("|---|---|---|---|---|");
    let mut tiers = [[0.0; 2]; 2];
    for (count, ours) in COUNTS.into_iter().zip(&mut tiers) {
        let code = code(count);
        let program = valid(&code)?;
        let bytes: Vec<u8> = code.iter().flat_map(|insn| insn.to_bytes()).collect();
        *ours = [false, true].map(|optimise| {
            let target = tier(optimise);
            micros(|| JitProgram::compile_for(&target, &program, &Helpers).is_ok())
        });
        let fast = micros(|| FastProgram::compile(&program, &Helpers).is_ok());
        let rbpf = quietly(|| {
            micros(|| {
                let vm = rbpf::EbpfVmRaw::new(Some(&bytes));
                vm.is_ok_and(|mut vm| vm.jit_compile().is_ok())
            })
        });
        let rbpf = rbpf.map_or("panics".to_owned(), |rbpf| format!("{rbpf:.1}"));
        let [jit, optimising] = ours;
        println!("| {count} | {jit:.1} | {optimising:.1} | {fast:.1} | {rbpf} |");
    }
    Ok(tiers)
}

/// What it gives, or nothing if it panics, as rbpf does when its room for machine code is too small.
fn quietly<T>(work: impl FnOnce() -> T) -> Option<T> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    std::panic::set_hook(hook);
    outcome.ok()
}

/// The best of some rounds, as of programs.
fn micros(mut compile: impl FnMut() -> bool) -> f64 {
    let rounds = (0..ROUNDS).map(|_| measure(|| u64::from(compile())).timing.least);
    rounds.fold(f64::INFINITY, f64::min) / 1000.0
}

/// Arithmetic, loads, stores and short jumps ahead, as programs have them.
fn code(count: usize) -> Vec<Insn> {
    let op = |op: Op| op.encode().0;
    let alu = |kind, dst, src| op(Op::Alu { width: Width::W64, op: kind, dst: Reg(dst), src });
    let block = [
        Insn::mov(Reg(3), Reg(2)),
        alu(AluOp::Add, 3, Operand::Imm(7)),
        Insn::store(bombus_isa::Size::Dw, Reg::FP, -8, Reg(3)),
        Insn::load(bombus_isa::Size::W, Reg(4), Reg::FP, -8),
        alu(AluOp::Xor, 2, Operand::Reg(Reg(4))),
        Insn::jmp_imm(bombus_isa::opcode::jmp::JEQ, Reg(4), 9, 1),
        alu(AluOp::Lsh, 2, Operand::Imm(3)),
        alu(AluOp::Mul, 2, Operand::Reg(Reg(3))),
    ];
    let mut code: Vec<Insn> = block.into_iter().cycle().take(count - 2).collect();
    code.extend([Insn::mov(Reg(0), Reg(2)), Insn::exit()]);
    code
}

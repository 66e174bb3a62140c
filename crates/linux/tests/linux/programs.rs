//! Loading and running programs.

use bombus_isa::opcode::{alu, jmp};
use bombus_isa::{Insn, Reg, Size};
use bombus_kernel::{Error, Kernel};
use bombus_linux::Linux;
use bombus_platform::ProgType;
use libtest_mimic::Failed;

use crate::{Test, ensure, load, same, workload};

pub(crate) const TESTS: &[Test] = &[
    ("programs::run", run),
    ("programs::rejected", rejected),
    ("programs::long_log", long_log),
    ("programs::bad_types", bad_types),
    ("programs::privilege_is_named", privilege_is_named),
];

fn run() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let double = [
        Insn::load(Size::Dw, Reg::R0, Reg::R1, 8),
        Insn::alu64_imm(alu::LSH, Reg::R0, 1),
        Insn::exit(),
    ];
    let program = load(&linux, ProgType::RawTracepoint, None, &double)?;
    let context: Vec<u8> = [5u64, 21].into_iter().flat_map(u64::to_ne_bytes).collect();
    same(linux.prog_test_run(program, &context)?, 42)?;
    // Arguments that are not given are zero.
    same(linux.prog_test_run(program, &[])?, 0)?;
    same(linux.prog_test_run(program, &[0; 97]).unwrap_err().errno(), Some(libc::EINVAL))
}

fn rejected() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let uninitialised = [Insn::mov(Reg::R0, Reg::R3), Insn::exit()];
    let failed = load(&linux, ProgType::RawTracepoint, None, &uninitialised).unwrap_err();
    let words = failed.message().unwrap_or_default().to_owned();
    ensure(words.contains("refused program bombus_test"), || words.clone())?;
    let refused = linux.prog_load(&bombus_kernel::ProgLoad {
        name: "bombus_test",
        prog_type: ProgType::RawTracepoint,
        attach_type: bombus_platform::AttachType::NONE,
        insns: &uninitialised,
        license: "GPL",
        btf: None,
        func_info: &[],
        line_info: &[],
        ..bombus_kernel::ProgLoad::default()
    });
    match refused {
        Err(Error::Rejected { log, .. }) => ensure(log.contains("R3 !read_ok"), || log.clone()),
        other => Err(format!("{other:?}").into()),
    }
}

/// A log that does not fit at first: many instructions, and the mistake in the last.
fn long_log() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let mut code = vec![Insn::mov_imm(Reg::R0, 0)];
    for _ in 0..4000 {
        code.extend([
            Insn::load(Size::Dw, Reg::R0, Reg::R1, 0),
            Insn::jmp_imm(jmp::JEQ, Reg::R0, 0, 0),
        ]);
    }
    code.extend([Insn::mov(Reg::R0, Reg::R3), Insn::exit()]);
    let refused = linux.prog_load(&bombus_kernel::ProgLoad {
        name: "bombus_test",
        prog_type: ProgType::RawTracepoint,
        attach_type: bombus_platform::AttachType::NONE,
        insns: &code,
        license: "GPL",
        btf: None,
        func_info: &[],
        line_info: &[],
        ..bombus_kernel::ProgLoad::default()
    });
    match refused {
        Err(Error::Rejected { log, .. }) => {
            ensure(log.len() > 64 << 10, || format!("only {} bytes of log", log.len()))?;
            ensure(log.contains("\n0: ") && log.contains("R3 !read_ok"), || "cut log".into())
        }
        other => Err(format!("{other:?}").into()),
    }
}

fn bad_types() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let failed = linux.btf_load(b"not types at all").unwrap_err();
    same(failed.errno().is_some(), true)?;
    ensure(failed.to_string().starts_with("could not load type information"), || failed.to_string())
}

fn privilege_is_named() -> Result<(), Failed> {
    let Some(words) = workload::output_as_nobody("unprivileged")? else {
        println!("skipped: nobody cannot run this binary");
        return Ok(());
    };
    ensure(words.contains("CAP_BPF"), || words.clone())
}

//! What `bombus_kernel::load` makes of a specification, in the kernel's own words.

use bombus_isa::asm;
use bombus_kernel::{Error, Kernel, ProgFd};
use bombus_linux::Linux;
use bombus_platform::{AttachType, MapType, ProgType};
use bombus_spec::{Function, ObjectSpec, ProgramSpec, Reference, SourceLine, SpecInsn};
use libtest_mimic::Failed;

use crate::{Test, ensure, map_spec, same};

pub(crate) const TESTS: &[Test] = &[
    ("loader::maps", maps),
    ("loader::functions", functions),
    ("loader::lines_in_the_log", lines_in_the_log),
    ("loader::lines_in_the_kernel", lines_in_the_kernel),
];

/// One raw tracepoint program; `lines` and `references` are by slot.
fn program(
    text: &str,
    functions: &[(&str, u32, u32)],
    lines: &[(usize, &str)],
    references: &[(usize, Reference)],
) -> Result<ProgramSpec, Failed> {
    let mut insns: Vec<SpecInsn> = asm(text)?.into_iter().map(SpecInsn::from).collect();
    let mut table = Vec::new();
    for (number, &(slot, text)) in lines.iter().enumerate() {
        insns[slot].line = Some(number as u32);
        let (file, text) = ("script.bt".into(), text.into());
        table.push(SourceLine { file, line: number as u32 + 1, column: 3, text });
    }
    for &(slot, reference) in references {
        insns[slot].reference = Some(reference);
    }
    let function = |&(name, start, args): &(&str, u32, u32)| Function {
        name: name.into(),
        start,
        args,
        type_id: 0,
    };
    Ok(ProgramSpec {
        name: "bombus_test".into(),
        prog_type: ProgType::RawTracepoint,
        attach_type: AttachType::NONE,
        attach_to: None,
        insns,
        functions: functions.iter().map(function).collect(),
        lines: table,
        license: "GPL".into(),
        ..ProgramSpec::default()
    })
}

fn load(linux: &Linux, object: &ObjectSpec) -> Result<ProgFd, Failed> {
    let loaded = bombus_kernel::load(linux, object)?;
    Ok(loaded.program_at(0)?)
}

fn maps() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let mut values = map_spec(MapType::Array, 4, 16, 1);
    values.contents = vec![(vec![0; 4], [7_u64, 35].map(u64::to_ne_bytes).concat())];
    // The first value by a look-up, the second by its address.
    let text = "
                *(u32 *)(r10 -4) = 0
                r2 = r10
                r2 += -4
                r1 = 0x0
                call bpf_map_lookup_elem#1
                if r0 == 0x0 goto out
                r6 = *(u64 *)(r0 +0)
                r1 = 0x0
                r0 = *(u64 *)(r1 +0)
                r0 += r6
        out:    exit
    ";
    let references = [(3, Reference::Map(0)), (8, Reference::MapValue { map: 0, offset: 8 })];
    let programs = vec![program(text, &[("entry", 0, 1)], &[(0, "sum")], &references)?];
    let program =
        load(&linux, &ObjectSpec { maps: vec![values], programs, ..ObjectSpec::default() })?;
    same(linux.prog_test_run(program, &[])?, 42)
}

/// `bpf_loop` with a function of the program, and a call of another.
fn with_functions() -> Result<ProgramSpec, Failed> {
    let text = "
                *(u64 *)(r10 -8) = 0
                r1 = 21
                r2 = 0x0
                r3 = r10
                r3 += -8
                r4 = 0
                call bpf_loop#181
                r1 = *(u64 *)(r10 -8)
                call twice
                exit
        each:   r1 = *(u64 *)(r2 +0)
                r1 += 1
                *(u64 *)(r2 +0) = r1
                r0 = 0
                exit
        twice:  r0 = r1
                r0 += r1
                exit
    ";
    program(
        text,
        &[("entry", 0, 1), ("each", 11, 2), ("twice", 16, 1)],
        &[(0, "loop (21)"), (8, "twice(@x)"), (11, "@x++"), (16, "$n + $n")],
        &[(2, Reference::Function(1))],
    )
}

fn functions() -> Result<(), Failed> {
    let linux = Linux::new()?;
    if !linux.features().bpf_loop {
        println!("skipped: loader::functions: this kernel has no bpf_loop");
        return Ok(());
    }
    let object =
        ObjectSpec { maps: vec![], programs: vec![with_functions()?], ..ObjectSpec::default() };
    same(linux.prog_test_run(load(&linux, &object)?, &[])?, 42)
}

fn lines_in_the_log() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let lines = [(0, "first line"), (1, "$never = 1")];
    let refused = program("r0 = 0\n r0 = r9\n exit", &[("entry", 0, 1)], &lines, &[])?;
    match bombus_kernel::load(
        &linux,
        &ObjectSpec { maps: vec![], programs: vec![refused], ..ObjectSpec::default() },
    ) {
        Err(Error::Rejected { log, .. }) => {
            ensure(log.contains("; $never = 1"), || format!("no source line in: {log}"))
        }
        other => Err(format!("{other:?}").into()),
    }
}

/// bpftool shows the functions and lines that the kernel keeps.
fn lines_in_the_kernel() -> Result<(), Failed> {
    let linux = Linux::new()?;
    let mut spec = with_functions()?;
    // Its own name, to find it among the programs of others.
    spec.name = format!("bombus{}", std::process::id());
    let name = spec.name.clone();
    load(&linux, &ObjectSpec { maps: vec![], programs: vec![spec], ..ObjectSpec::default() })?;
    let dump = std::process::Command::new("bpftool")
        .args(["prog", "dump", "xlated", "name", &name, "linum"])
        .output();
    let Ok(dump) = dump else {
        println!("skipped: loader::lines_in_the_kernel: bpftool is not installed");
        return Ok(());
    };
    let text = String::from_utf8_lossy(&dump.stdout).into_owned();
    for wanted in [
        "int entry(void * ctx)",
        "long each(long arg1, long arg2)",
        "; $n + $n [file:script.bt line_num:4 line_col:3]",
    ] {
        ensure(text.contains(wanted), || format!("no `{wanted}` in:\n{text}"))?;
    }
    Ok(())
}

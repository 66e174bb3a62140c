//! BTF for programs: their functions and the source lines of their instructions.
//!
//! The kernel is strict (`check_btf_func` and `check_btf_line` in `kernel/bpf/verifier.c`): one
//! record for each function, in order; lines in ascending order, on the first slot of an
//! instruction, and one at the start of each function.

use bombus_btf::{Builder, FuncInfo, LineInfo, Linkage, TypeId};
use bombus_spec::{Function, ProgramSpec, SourceLine};

/// One blob of types for all programs, and the records of each that has lines.
pub(super) struct DebugInfo {
    btf: Builder,
    programs: Vec<Option<Records>>,
}

/// What goes with one program.
pub(super) struct Records {
    /// `struct bpf_func_info` records.
    pub(super) funcs: Vec<u8>,
    /// `struct bpf_line_info` records.
    pub(super) lines: Vec<u8>,
}

impl DebugInfo {
    pub(super) fn new(programs: &[ProgramSpec]) -> DebugInfo {
        let mut btf = Builder::new();
        let programs = programs.iter().map(|program| records(&mut btf, program)).collect();
        DebugInfo { btf, programs }
    }

    /// The blob to load, if any program has use for it.
    pub(super) fn blob(&self) -> Option<Vec<u8>> {
        self.programs.iter().any(Option::is_some).then(|| self.btf.finish())
    }

    pub(super) fn program(&self, index: usize) -> Option<&Records> {
        self.programs.get(index)?.as_ref()
    }
}

fn records(btf: &mut Builder, program: &ProgramSpec) -> Option<Records> {
    let lines = lines(btf, program)?;
    let mut funcs = Vec::new();
    for (index, function) in program.functions.iter().enumerate() {
        let func = function_type(btf, function, index == 0);
        funcs.extend(FuncInfo { insn: function.start, func }.to_bytes());
    }
    Some(Records { funcs, lines })
}

/// The entry takes the context. The others are static: the verifier follows their values itself
/// and takes nothing from the declared types.
fn function_type(btf: &mut Builder, function: &Function, entry: bool) -> TypeId {
    if entry {
        let int = btf.int("int", 4, true);
        let ctx = btf.ptr(TypeId::VOID);
        let proto = btf.func_proto(int, &[("ctx", ctx)]);
        return btf.func(&function.name, proto, Linkage::Global);
    }
    const NAMES: [&str; 5] = ["arg1", "arg2", "arg3", "arg4", "arg5"];
    let long = btf.int("long", 8, true);
    let args: Vec<_> = NAMES.into_iter().take(function.args as usize).map(|n| (n, long)).collect();
    let proto = btf.func_proto(long, &args);
    btf.func(&function.name, proto, Linkage::Static)
}

/// A record wherever the line changes and wherever a function starts; `None` when there are no
/// lines or no functions.
fn lines(btf: &mut Builder, program: &ProgramSpec) -> Option<Vec<u8>> {
    let line_of = |slot: &bombus_spec::SpecInsn| program.lines.get(slot.line? as usize);
    let mut current = program.insns.iter().find_map(line_of)?;
    let mut starts = program.functions.iter().map(|function| function.start as usize).peekable();
    if starts.peek() != Some(&0) {
        return None;
    }
    let mut records = Vec::new();
    let mut second_slot = false;
    for (slot, spec) in program.insns.iter().enumerate() {
        let starts_here = starts.next_if_eq(&slot).is_some();
        if second_slot {
            second_slot = false;
            continue;
        }
        second_slot = spec.insn.is_wide();
        let mut line = line_of(spec);
        if starts_here {
            // Code that no line is known for belongs to the next that is known.
            line = line.or_else(|| program.insns[slot..].iter().find_map(line_of));
        }
        let line = line.unwrap_or(current);
        if starts_here || line != current {
            records.extend(record(btf, slot, line));
            current = line;
        }
    }
    Some(records)
}

fn record(btf: &mut Builder, slot: usize, line: &SourceLine) -> [u8; 16] {
    LineInfo {
        insn: slot as u32,
        file: btf.string(&line.file),
        text: btf.string(&line.text),
        line: line.line,
        column: line.column,
    }
    .to_bytes()
}

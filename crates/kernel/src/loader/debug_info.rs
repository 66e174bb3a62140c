//! BTF for programs: their functions and the source lines of their instructions.
//!
//! The types are those of the object, with the names of files and the text of lines added; for an
//! object without types (a script) they are made up.
//!
//! The kernel is strict (`check_btf_func` and `check_btf_line` in `kernel/bpf/verifier.c`): one
//! record for each function, in order; lines in ascending order, on the first slot of an
//! instruction, and one at the start of each function.

use bombus_btf::{Btf, Builder, FuncInfo, LineInfo, Linkage, TypeId};
use bombus_platform::ProgType;
use bombus_spec::{Function, ProgramSpec, SourceLine};

use super::context_arguments::ContextArguments;

/// One blob of types for all programs, and the records of each that has lines.
pub(super) struct DebugInfo {
    blob: Option<Vec<u8>>,
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
    /// For an object with these types, or without any. `contexts`: arguments that have to be
    /// described otherwise, for this kernel.
    pub(super) fn new(
        types: Option<&Btf>,
        contexts: Option<&ContextArguments<'_>>,
        programs: &[ProgramSpec],
    ) -> DebugInfo {
        let mut all = Types {
            blob: types.map_or_else(Builder::new, Builder::from_btf),
            made_up: types.is_none(),
            contexts,
        };
        let programs: Vec<_> = programs.iter().map(|program| records(&mut all, program)).collect();
        let wanted = !all.made_up || programs.iter().any(Option::is_some);
        DebugInfo { blob: wanted.then(|| all.blob.finish()), programs }
    }

    /// The blob to load, if anything has use for it.
    pub(super) fn blob(&self) -> Option<&[u8]> {
        self.blob.as_deref()
    }

    pub(super) fn program(&self, index: usize) -> Option<&Records> {
        self.programs.get(index)?.as_ref()
    }
}

/// Types that functions and lines are described by.
struct Types<'c> {
    blob: Builder,
    made_up: bool,
    contexts: Option<&'c ContextArguments<'c>>,
}

impl Types<'_> {
    /// The function's type in a program of this type, if it has one.
    fn function(
        &mut self,
        function: &Function,
        prog_type: ProgType,
        entry: bool,
    ) -> Option<TypeId> {
        let id = match function.type_id {
            0 if self.made_up => return Some(self.make_up(function, entry)),
            0 => return None,
            id => TypeId(id),
        };
        let described =
            self.contexts.and_then(|contexts| contexts.described(id, prog_type, &mut self.blob));
        Some(described.unwrap_or(id))
    }

    /// A type for a function that has none. The entry takes the context. The others are static: the
    /// verifier follows their values itself and takes nothing from the declared types.
    fn make_up(&mut self, function: &Function, entry: bool) -> TypeId {
        let blob = &mut self.blob;
        if entry {
            let int = blob.int("int", 4, true);
            let ctx = blob.ptr(TypeId::VOID);
            let proto = blob.func_proto(int, &[("ctx", ctx)]);
            return blob.func(&function.name, proto, Linkage::Global);
        }
        const NAMES: [&str; 5] = ["arg1", "arg2", "arg3", "arg4", "arg5"];
        let long = blob.int("long", 8, true);
        let names = NAMES.into_iter().take(function.args as usize);
        let args: Vec<_> = names.map(|name| (name, long)).collect();
        let proto = blob.func_proto(long, &args);
        blob.func(&function.name, proto, Linkage::Static)
    }
}

/// Nothing when a function has no type, or when the first does not start at slot 0.
fn records(types: &mut Types<'_>, program: &ProgramSpec) -> Option<Records> {
    let lines = lines(types, program)?;
    let mut funcs = Vec::new();
    for (index, function) in program.functions.iter().enumerate() {
        let func = types.function(function, program.prog_type, index == 0)?;
        funcs.extend(FuncInfo { insn: function.start, func }.to_bytes());
    }
    Some(Records { funcs, lines })
}

/// A record wherever the line changes and wherever a function starts; `None` when there are no
/// lines or no functions.
fn lines(types: &mut Types<'_>, program: &ProgramSpec) -> Option<Vec<u8>> {
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
            records.extend(record(types, slot, line));
            current = line;
        }
    }
    Some(records)
}

fn record(types: &mut Types<'_>, slot: usize, line: &SourceLine) -> [u8; 16] {
    LineInfo {
        insn: slot as u32,
        file: types.blob.string(&line.file),
        text: types.blob.string(&line.text),
        line: line.line,
        column: line.column,
    }
    .to_bytes()
}

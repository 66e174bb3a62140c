//! The values that operations read, and what operations may do: the facts that passes share.

use bombus_platform::Helper;

use super::{Block, Function, LoadWidth, Op, Term, Value};

impl LoadWidth {
    /// Bytes that are read.
    pub const fn bytes(self) -> u32 {
        match self {
            LoadWidth::U8 | LoadWidth::S8 => 1,
            LoadWidth::U16 | LoadWidth::S16 => 2,
            LoadWidth::U32 | LoadWidth::S32 => 4,
            LoadWidth::U64 => 8,
        }
    }

    /// The width without the sign.
    pub const fn unsigned(self) -> LoadWidth {
        match self {
            LoadWidth::U8 | LoadWidth::S8 => LoadWidth::U8,
            LoadWidth::U16 | LoadWidth::S16 => LoadWidth::U16,
            LoadWidth::U32 | LoadWidth::S32 => LoadWidth::U32,
            LoadWidth::U64 => LoadWidth::U64,
        }
    }
}

impl Op {
    /// Calls `visit` with every value that it reads.
    pub fn for_each_arg(&self, mut visit: impl FnMut(Value)) {
        match self {
            Op::Const(_)
            | Op::SlotAddr(_)
            | Op::MapAddr(_)
            | Op::MapValueAddr(..)
            | Op::FuncAddr(_) => {}
            Op::Unary(_, a) => visit(*a),
            Op::Binary(_, a, b) | Op::Compare(_, a, b) => {
                visit(*a);
                visit(*b);
            }
            Op::Select(test, a, b) => {
                visit(*test);
                visit(*a);
                visit(*b);
            }
            Op::Load { base, .. } | Op::Zero { base, .. } => visit(*base),
            Op::Store { value, base, .. } | Op::AtomicAdd { value, base, .. } => {
                visit(*value);
                visit(*base);
            }
            Op::Copy { to, from, .. } => {
                visit(*to);
                visit(*from);
            }
            Op::CallHelper(_, args) | Op::Call(_, args) => args.iter().copied().for_each(visit),
        }
    }

    /// Calls `change` with every value that it reads.
    pub fn for_each_arg_mut(&mut self, mut change: impl FnMut(&mut Value)) {
        match self {
            Op::Const(_)
            | Op::SlotAddr(_)
            | Op::MapAddr(_)
            | Op::MapValueAddr(..)
            | Op::FuncAddr(_) => {}
            Op::Unary(_, a) => change(a),
            Op::Binary(_, a, b) | Op::Compare(_, a, b) => {
                change(a);
                change(b);
            }
            Op::Select(test, a, b) => {
                change(test);
                change(a);
                change(b);
            }
            Op::Load { base, .. } | Op::Zero { base, .. } => change(base),
            Op::Store { value, base, .. } | Op::AtomicAdd { value, base, .. } => {
                change(value);
                change(base);
            }
            Op::Copy { to, from, .. } => {
                change(to);
                change(from);
            }
            Op::CallHelper(_, args) | Op::Call(_, args) => args.iter_mut().for_each(change),
        }
    }

    /// Whether the result depends on the operands alone and nothing else happens.
    pub fn is_pure(&self) -> bool {
        matches!(
            self,
            Op::Const(_)
                | Op::Unary(..)
                | Op::Binary(..)
                | Op::Compare(..)
                | Op::Select(..)
                | Op::SlotAddr(_)
                | Op::MapAddr(_)
                | Op::MapValueAddr(..)
                | Op::FuncAddr(_)
        )
    }

    /// Whether it may go when nobody reads its result.
    pub fn is_removable(&self) -> bool {
        match self {
            Op::Load { .. } => true,
            Op::CallHelper(helper, _) => only_reads(*helper),
            _ => self.is_pure(),
        }
    }

    /// Whether it gives the same result wherever it stands in one run of a program.
    pub fn is_repeatable(&self) -> bool {
        match self {
            Op::CallHelper(helper, _) => is_fixed_for_a_run(*helper),
            _ => self.is_pure(),
        }
    }

    /// Whether it defines a value.
    pub fn has_result(&self) -> bool {
        !matches!(self, Op::Store { .. } | Op::AtomicAdd { .. } | Op::Zero { .. } | Op::Copy { .. })
    }
}

/// Helpers that describe the current task: it does not change while a program runs, nor does the
/// CPU, since programs run with migration disabled.
fn is_fixed_for_a_run(helper: Helper) -> bool {
    matches!(
        helper,
        Helper::GetSmpProcessorId
            | Helper::GetCurrentPidTgid
            | Helper::GetCurrentUidGid
            | Helper::GetCurrentTask
            | Helper::GetCurrentCgroupId
            | Helper::GetFuncIp
            | Helper::GetAttachCookie
    )
}

/// Helpers that only tell something.
fn only_reads(helper: Helper) -> bool {
    is_fixed_for_a_run(helper)
        || matches!(
            helper,
            Helper::KtimeGetNs
                | Helper::KtimeGetBootNs
                | Helper::KtimeGetTaiNs
                | Helper::GetPrandomU32
                | Helper::Strncmp
                | Helper::RingbufQuery
                | Helper::MapLookupPercpuElem
        )
}

impl Term {
    /// Calls `visit` with every value that it reads, arguments of targets included.
    pub fn for_each_arg(&self, mut visit: impl FnMut(Value)) {
        match self {
            Term::Branch(value, ..) | Term::Return(value) => visit(*value),
            Term::Jump(_) | Term::Unreachable => {}
        }
        for target in self.targets() {
            target.args.iter().copied().for_each(&mut visit);
        }
    }

    /// Calls `change` with every value that it reads, arguments of targets included.
    pub fn for_each_arg_mut(&mut self, mut change: impl FnMut(&mut Value)) {
        match self {
            Term::Branch(value, ..) | Term::Return(value) => change(value),
            Term::Jump(_) | Term::Unreachable => {}
        }
        for target in self.targets_mut() {
            target.args.iter_mut().for_each(&mut change);
        }
    }
}

impl Function {
    /// How a block ends; `Unreachable` while it has no end.
    pub fn term(&self, block: Block) -> &Term {
        self.blocks[block.index()].term.as_ref().unwrap_or(&Term::Unreachable)
    }

    /// How a block ends, to change it.
    pub fn term_mut(&mut self, block: Block) -> Option<&mut Term> {
        self.blocks[block.index()].term.as_mut()
    }

    /// A value that nothing defines yet.
    pub fn new_value(&mut self) -> Value {
        self.values += 1;
        Value(self.values - 1)
    }

    /// By value: the operation that defines it, `None` for block parameters.
    pub fn definitions(&self) -> Vec<Option<&Op>> {
        let mut defs = vec![None; self.values as usize];
        for block in &self.layout {
            for inst in &self.blocks[block.index()].insts {
                if let Some(result) = inst.result {
                    defs[result.index()] = Some(&inst.op);
                }
            }
        }
        defs
    }

    /// By value: how many operands read it.
    pub fn use_counts(&self) -> Vec<u32> {
        let mut uses = vec![0; self.values as usize];
        for block in &self.layout {
            for inst in &self.blocks[block.index()].insts {
                inst.op.for_each_arg(|value| uses[value.index()] += 1);
            }
            self.term(*block).for_each_arg(|value| uses[value.index()] += 1);
        }
        uses
    }
}

/// Values that stand for other values, until they are replaced everywhere.
#[derive(Clone, Debug)]
pub struct Replacements(Vec<Value>);

impl Replacements {
    /// None yet.
    pub fn new(func: &Function) -> Replacements {
        Replacements((0..func.values).map(Value).collect())
    }

    /// `old` becomes `new`.
    pub fn insert(&mut self, old: Value, new: Value) {
        self.0[old.index()] = self.get(new);
    }

    /// What stands for a value.
    pub fn get(&self, value: Value) -> Value {
        let mut at = value;
        while let Some(&next) = self.0.get(at.index())
            && next != at
        {
            at = next;
        }
        at
    }

    /// Replaces everywhere.
    pub fn apply(&self, func: &mut Function) {
        for block in &mut func.blocks {
            for inst in &mut block.insts {
                inst.op.for_each_arg_mut(|value| *value = self.get(*value));
            }
            if let Some(term) = &mut block.term {
                term.for_each_arg_mut(|value| *value = self.get(*value));
            }
        }
    }
}

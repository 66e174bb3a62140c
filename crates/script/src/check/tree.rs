//! The typed tree: what a script means, once every name is resolved and every conversion is
//! explicit. Lowering reads it without asking anything again.

use bombus_kernel::AttachPoint;

use crate::diagnostic::Span;
use crate::plan::{MapValue, PrintfKind};
use crate::types::Type;

/// A whole script.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script {
    /// Its maps, in order of first use.
    pub(crate) maps: Vec<Map>,
    /// What runs, in the order of the script.
    pub(crate) actions: Vec<Action>,
    /// Fixed texts that programs name by number.
    pub(crate) strings: Vec<String>,
}

/// Position in [`Script::maps`].
pub(crate) type MapId = usize;
/// Position in [`Action::vars`].
pub(crate) type VarId = usize;

/// A map.
#[derive(Clone, Debug)]
pub(crate) struct Map {
    /// With the `@`.
    pub(crate) name: String,
    /// `None` for a map without keys.
    pub(crate) key: Option<Type>,
    /// What its values are.
    pub(crate) value: MapValue,
    /// Most elements.
    pub(crate) max_entries: u32,
    /// Throw out old elements when full.
    pub(crate) lru: bool,
}

/// Statements that run at some targets, all of which look the same to the code.
#[derive(Clone, Debug)]
pub(crate) struct Action {
    /// Where.
    pub(crate) targets: Vec<Target>,
    /// What must be true.
    pub(crate) predicate: Option<Expr>,
    /// What to do.
    pub(crate) body: Vec<Stmt>,
    /// Its variables.
    pub(crate) vars: Vec<Variable>,
    /// The attach points in the script.
    pub(crate) span: Span,
}

/// A scratch variable.
#[derive(Clone, Debug)]
pub(crate) struct Variable {
    /// Its type.
    pub(crate) ty: Type,
}

/// One thing that sets an action off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Target {
    /// As the user knows it.
    pub(crate) name: String,
    /// The function, for `func`.
    pub(crate) function: Option<String>,
    /// What it is.
    pub(crate) event: Event,
}

/// What sets an action off.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Event {
    /// `BEGIN`.
    Begin,
    /// `END`.
    End,
    /// A signal to the tracer.
    Signal(i32),
    /// Anything in the kernel.
    Attach(AttachPoint),
}

/// What the context of a program is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Context {
    /// Nothing of use.
    None,
    /// A tracepoint's record.
    Tracepoint,
    /// The arguments of a raw tracepoint.
    RawTracepoint,
    /// The registers of a user function.
    User {
        /// At its return.
        on_return: bool,
    },
    /// A timer.
    Timer,
}

impl Event {
    /// What the program's context is.
    pub(crate) fn context(&self) -> Context {
        match self {
            Event::Begin | Event::End | Event::Signal(_) => Context::None,
            Event::Attach(AttachPoint::Tracepoint { .. }) => Context::Tracepoint,
            Event::Attach(AttachPoint::RawTracepoint { .. }) => Context::RawTracepoint,
            Event::Attach(AttachPoint::Uprobe { on_return, .. }) => {
                Context::User { on_return: *on_return }
            }
            Event::Attach(AttachPoint::Timer { .. }) => Context::Timer,
            // Scripts have no other yet.
            Event::Attach(_) => Context::None,
        }
    }

    /// Whether it happens in some process's own time, so that a scope applies to it. `interval`
    /// is the tracer's own clock.
    pub(crate) fn has_process(&self) -> bool {
        match self {
            Event::Begin | Event::End | Event::Signal(_) => false,
            Event::Attach(AttachPoint::Timer { every_cpu, .. }) => *every_cpu,
            Event::Attach(_) => true,
        }
    }
}

/// A statement.
#[derive(Clone, Debug)]
pub(crate) struct Stmt {
    /// Where.
    pub(crate) span: Span,
    /// Which.
    pub(crate) kind: StmtKind,
}

/// The statements.
#[derive(Clone, Debug)]
pub(crate) enum StmtKind {
    /// For its effect.
    Expr(Expr),
    /// A variable starts anew: all zero.
    Clear(VarId),
    /// `$x = value`
    SetVar(VarId, Expr),
    /// `@x[key] = value`
    SetMap { map: MapId, key: Option<Expr>, value: Expr },
    /// `@x[key] = count()` and its like; `call` is what stands on the right.
    Aggregate { map: MapId, key: Option<Expr>, value: Option<Expr>, call: Span },
    /// `while`
    While { cond: Expr, body: Vec<Stmt> },
    /// `unroll`
    Unroll { count: u32, body: Vec<Stmt> },
    /// `for $x : start..end`. `first` is a variable of its own that keeps the start.
    ForRange { var: VarId, first: VarId, start: Expr, end: Expr, body: Vec<Stmt> },
    /// `for $kv : @map`
    ForMap { var: VarId, map: MapId, body: Vec<Stmt> },
    /// `break`
    Break,
    /// `continue`
    Continue,
    /// `return`
    Return(Option<Expr>),
}

/// An expression.
#[derive(Clone, Debug)]
pub(crate) struct Expr {
    /// Where.
    pub(crate) span: Span,
    /// What it gives; [`Type::None`] when it gives nothing.
    pub(crate) ty: Type,
    /// Which.
    pub(crate) kind: ExprKind,
}

/// A place that can be changed in itself.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// A variable.
    Var(VarId),
    /// A map or an element of one.
    Map(MapId, Option<Box<Expr>>),
}

/// Arithmetic on 64-bit numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Arith {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
    And,
    Or,
    Xor,
    Shl,
    Shr,
}

/// Comparisons.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Comparison {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

/// Operators on one number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unary {
    /// Logical.
    Not,
    /// Bit by bit.
    BitNot,
    /// Minus.
    Neg,
}

/// Clocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Clock {
    /// Without suspend.
    Monotonic,
    /// With suspend.
    Boot,
    /// Atomic time.
    Tai,
}

/// Values that the kernel or user space supplies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Builtin {
    Pid,
    Tid,
    Uid,
    Gid,
    Comm,
    Nsecs(Clock),
    Elapsed,
    Cpu,
    NumaNode,
    Rand,
    Cgroup,
    CurrentTask,
    ChildPid,
    Probe,
    Func,
    /// `arg0` and so on.
    Arg(u8),
    ReturnValue,
}

/// Where a field of a tracepoint's record lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FieldPlace {
    /// Bytes from the start of the record.
    pub(crate) offset: u32,
    /// What is there.
    pub(crate) access: FieldAccess,
}

/// How a field is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FieldAccess {
    /// A number (or pointer) of so many bytes.
    Number,
    /// The bytes themselves.
    Bytes,
    /// `__data_loc`: a `u32` whose low half is the offset of the text in the record.
    DataLoc,
}

/// The expressions. What is a number fits a register, extended from its own width; everything else
/// lies in memory.
#[derive(Clone, Debug)]
pub(crate) enum ExprKind {
    /// A number; also a boolean, or an index of a fixed text.
    Int(i64),
    /// A text without its closing zero.
    Str(Vec<u8>),
    Builtin(Builtin),
    Field(FieldPlace),
    Var(VarId),
    /// A plain map's value, or nothing but zeroes.
    MapGet(MapId, Option<Box<Expr>>),
    /// An aggregation's value over all CPUs, as a number.
    MapTotal(MapId, Option<Box<Expr>>),
    Unary(Unary, Box<Expr>),
    Arith(Arith, Box<Expr>, Box<Expr>),
    /// Of two numbers of the same sign.
    Compare(Comparison, Box<Expr>, Box<Expr>),
    /// Of two strings, or two values of the same type in memory.
    SameBytes {
        negate: bool,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    /// `strncmp()`: 0 when the first `n` characters agree.
    Strncmp(Box<Expr>, Box<Expr>, u32),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    /// `cond ? then : otherwise`, also `if` as a value or statement.
    If {
        cond: Box<Expr>,
        then: Box<Expr>,
        otherwise: Option<Box<Expr>>,
    },
    Block(Vec<Stmt>, Option<Box<Expr>>),
    /// To the expression's own type, which the operand can become.
    Convert(Box<Expr>),
    Tuple(Vec<Expr>),
    /// A part of a tuple.
    Part(Box<Expr>, usize),
    /// A character of a string.
    CharAt(Box<Expr>, u32),
    /// `place = place op value`; gives the new value, or the old one.
    Update {
        place: Place,
        op: Arith,
        value: Box<Expr>,
        old: bool,
    },
    /// A number in memory that the program may not touch directly.
    Read {
        address: Box<Expr>,
        user: bool,
    },
    /// `str()`; the length is what was asked for beyond the type's own size.
    ReadStr {
        address: Box<Expr>,
        user: bool,
        len: Option<Box<Expr>>,
    },
    /// `buf()`.
    ReadBuf {
        address: Box<Expr>,
        user: bool,
        len: Option<Box<Expr>>,
    },
    /// `buf()` of something that lies in the program's own memory.
    Bytes(Box<Expr>),
    /// `ntop()` of a number.
    Inet {
        family: Box<Expr>,
        address: Box<Expr>,
    },
    /// `strftime()`; the index of the format in [`Script::strings`].
    Timestamp(usize, Box<Expr>),
    HasKey(MapId, Box<Expr>),
    Delete(MapId, Option<Box<Expr>>),
    Len(MapId),
    Printf {
        format: String,
        args: Vec<Expr>,
        kind: PrintfKind,
    },
    PrintMap {
        map: MapId,
        top: Option<Box<Expr>>,
        div: Option<Box<Expr>>,
    },
    PrintElement {
        map: MapId,
        key: Box<Expr>,
    },
    PrintValue(Box<Expr>),
    ClearMap(MapId),
    ZeroMap(MapId),
    Time(String),
    Join {
        array: Box<Expr>,
        user: bool,
        separator: String,
    },
    Exit(Option<Box<Expr>>),
}

impl ExprKind {
    /// The expressions right inside this one, except those inside statements and places.
    pub(crate) fn operands(&self) -> Vec<&Expr> {
        match self {
            ExprKind::Int(_)
            | ExprKind::Str(_)
            | ExprKind::Builtin(_)
            | ExprKind::Field(_)
            | ExprKind::Var(_)
            | ExprKind::Len(_)
            | ExprKind::ClearMap(_)
            | ExprKind::ZeroMap(_)
            | ExprKind::Time(_) => Vec::new(),
            ExprKind::MapGet(_, key) | ExprKind::MapTotal(_, key) | ExprKind::Delete(_, key) => {
                key.iter().map(|key| &**key).collect()
            }
            ExprKind::Unary(_, a)
            | ExprKind::Convert(a)
            | ExprKind::Part(a, _)
            | ExprKind::CharAt(a, _)
            | ExprKind::Update { value: a, .. }
            | ExprKind::Read { address: a, .. }
            | ExprKind::Bytes(a)
            | ExprKind::Timestamp(_, a)
            | ExprKind::HasKey(_, a)
            | ExprKind::PrintElement { key: a, .. }
            | ExprKind::PrintValue(a)
            | ExprKind::Join { array: a, .. } => vec![a],
            ExprKind::Arith(_, a, b)
            | ExprKind::Compare(_, a, b)
            | ExprKind::SameBytes { left: a, right: b, .. }
            | ExprKind::Strncmp(a, b, _)
            | ExprKind::And(a, b)
            | ExprKind::Or(a, b)
            | ExprKind::Inet { family: a, address: b } => vec![a, b],
            ExprKind::If { cond, then, otherwise } => {
                [cond, then].into_iter().chain(otherwise).map(|part| &**part).collect()
            }
            ExprKind::Block(_, value) => value.iter().map(|value| &**value).collect(),
            ExprKind::Tuple(parts) | ExprKind::Printf { args: parts, .. } => parts.iter().collect(),
            ExprKind::ReadStr { address, len, .. } | ExprKind::ReadBuf { address, len, .. } => {
                [address].into_iter().chain(len).map(|part| &**part).collect()
            }
            ExprKind::PrintMap { top, div, .. } => {
                top.iter().chain(div).map(|part| &**part).collect()
            }
            ExprKind::Exit(code) => code.iter().map(|code| &**code).collect(),
        }
    }
}

impl Expr {
    /// Whether its value is a number in a register.
    pub(crate) fn is_scalar(&self) -> bool {
        is_scalar(&self.ty)
    }
}

/// Whether values of this type are numbers in registers.
pub(crate) fn is_scalar(ty: &Type) -> bool {
    matches!(
        ty,
        Type::Int { .. } | Type::Bool | Type::Pointer { .. } | Type::Username | Type::StringIndex
    )
}

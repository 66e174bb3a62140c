//! The syntax tree: what the script says, before anything is known about its meaning.
//!
//! Every node carries a [`Span`] and a [`NodeId`]; later passes keep what they find out in tables
//! indexed by it. The tree has nodes for the whole language of bpftrace 0.27, also for what later
//! passes do not support yet: saying so is theirs.

pub use super::operator::{BinaryOp, UnaryOp};
use crate::diagnostic::Span;

/// A node's number: unique in its [`Program`], below [`Program::node_count`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct NodeId(pub u32);

impl NodeId {
    /// The number as an index into a side table.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A whole script.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Program {
    /// The `#!` line, without its line break.
    pub shebang: Option<Span>,
    /// Preprocessor lines and C definitions, which stand first.
    pub preamble: Vec<CText>,
    /// `import "..."` at the top.
    pub imports: Vec<Import>,
    /// `config = { ... }`.
    pub config: Option<Config>,
    /// Everything else, in the order of the script.
    pub items: Vec<Item>,
    /// How many node ids were given out.
    pub node_count: u32,
}

impl Program {
    /// The probes, in the order of the script.
    pub fn probes(&self) -> impl Iterator<Item = &Probe> {
        self.items.iter().filter_map(|item| match item {
            Item::Probe(probe) => Some(probe),
            _ => None,
        })
    }

    /// The macros, in the order of the script.
    pub fn macros(&self) -> impl Iterator<Item = &Macro> {
        self.items.iter().filter_map(|item| match item {
            Item::Macro(definition) => Some(definition),
            _ => None,
        })
    }

    /// The map declarations, in the order of the script.
    pub fn map_decls(&self) -> impl Iterator<Item = &MapDecl> {
        self.items.iter().filter_map(|item| match item {
            Item::MapDecl(decl) => Some(decl),
            _ => None,
        })
    }
}

/// A name as written, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Name {
    /// The name; variables and maps with their `$` and `@`.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// A piece of C that is not looked into here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CText {
    /// What it is.
    pub kind: CTextKind,
    /// As written: a directive without its line break, a definition with its attributes.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// What a [`CText`] is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CTextKind {
    /// A preprocessor line such as `#include <linux/sched.h>`.
    Directive,
    /// `struct`, `union` or `enum` with its braces.
    Definition,
}

/// `import "path";`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Import {
    /// The path, escapes resolved.
    pub path: Vec<u8>,
    /// The whole directive.
    pub span: Span,
}

/// `config = { key = value; ... }`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The settings, in order.
    pub entries: Vec<ConfigEntry>,
    /// The whole block.
    pub span: Span,
}

/// One setting of the config block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigEntry {
    /// As written: `max_map_keys` or `BPFTRACE_MAX_MAP_KEYS`.
    pub key: Name,
    /// What it is set to.
    pub value: ConfigValue,
    /// Where the value stands.
    pub value_span: Span,
}

/// What a setting can be set to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigValue {
    /// An integer.
    Int(Integer),
    /// `true` or `false`.
    Bool(bool),
    /// A quoted string, escapes resolved.
    Str(Vec<u8>),
    /// A bare word, such as `perf`.
    Word(String),
}

/// An integer literal.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Integer {
    /// What it amounts to; durations (`10ms`) in nanoseconds.
    pub value: u64,
    /// As written.
    pub text: String,
}

/// What may follow the preamble.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// A probe and what it does.
    Probe(Probe),
    /// `macro name(...) { ... }`
    Macro(Macro),
    /// `fn name(...): type { ... }`
    Function(Function),
    /// `let @map = hash(N);`
    MapDecl(MapDecl),
}

/// `let @map = kind(max_entries);`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MapDecl {
    /// The node.
    pub id: NodeId,
    /// The whole declaration.
    pub span: Span,
    /// With the `@`.
    pub name: Name,
    /// `hash`, `lruhash`, `percpuhash`, `percpulruhash`, as written.
    pub kind: Name,
    /// Most entries.
    pub max_entries: Integer,
    /// Where that number stands.
    pub max_entries_span: Span,
}

/// `macro name($value, @map, expression) { ... }`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Macro {
    /// The node.
    pub id: NodeId,
    /// The whole definition.
    pub span: Span,
    /// What it is called.
    pub name: Name,
    /// Its parameters; the first character tells the kind: `$` a variable, `@` a map, anything
    /// else an expression or a type.
    pub params: Vec<Name>,
    /// What a call stands for.
    pub body: Block,
}

/// `fn name($a: type): type { ... }`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Function {
    /// The node.
    pub id: NodeId,
    /// The whole definition.
    pub span: Span,
    /// What it is called.
    pub name: Name,
    /// Its parameters.
    pub params: Vec<Param>,
    /// What it returns.
    pub returns: TypeRef,
    /// What it does.
    pub body: Block,
}

/// A parameter of a [`Function`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Param {
    /// With the `$`.
    pub name: Name,
    /// Its type.
    pub ty: TypeRef,
}

/// `attach points /predicate/ { body }`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Probe {
    /// The node.
    pub id: NodeId,
    /// From the first attach point to the closing brace.
    pub span: Span,
    /// At least one.
    pub attach_points: Vec<AttachPoint>,
    /// What must be true for the body to run.
    pub predicate: Option<Expr>,
    /// What it does.
    pub body: Block,
}

/// Where a probe attaches, as written: wildcards, positional parameters and case are not touched.
/// `begin` has no parts; `tracepoint:syscalls:sys_enter_*` has two.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttachPoint {
    /// The node.
    pub id: NodeId,
    /// The whole attach point.
    pub span: Span,
    /// The `name` of `name=probe`.
    pub name: Option<Name>,
    /// The text before the first colon; see [`super::provider::Provider::from_name`].
    pub provider: Name,
    /// What follows, one for each colon.
    pub parts: Vec<AttachPart>,
}

/// A part of an attach point between colons.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AttachPart {
    /// Quotes removed and their escapes resolved; `$1` and `*` stay as they are.
    pub text: String,
    /// As written.
    pub span: Span,
    /// Whether any of it was quoted, so that `*` and `:` may be meant literally.
    pub quoted: bool,
}

/// `{ statements; value }`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// The node.
    pub id: NodeId,
    /// With its braces.
    pub span: Span,
    /// The statements.
    pub stmts: Vec<Stmt>,
    /// A last expression without `;`: the block's value. Never set in the bodies of probes, loops
    /// and functions, where it is a statement; discarded where the block stands as a statement.
    pub value: Option<Box<Expr>>,
}

/// A statement.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stmt {
    /// The node.
    pub id: NodeId,
    /// Without the `;`.
    pub span: Span,
    /// Which.
    pub kind: StmtKind,
}

/// The statements. `if` and blocks are expressions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StmtKind {
    /// An expression for its effect.
    Expr(Expr),
    /// `let $x: type = value`
    Let {
        /// With the `$`.
        name: Name,
        /// The type given.
        ty: Option<TypeRef>,
        /// What it starts as.
        value: Option<Expr>,
    },
    /// `target = value` or `target op= value`
    Assign {
        /// A variable, a map or a map element ([`Expr::is_place`]); otherwise there was an error.
        target: Expr,
        /// The operator of a compound assignment.
        op: Option<BinaryOp>,
        /// What is assigned.
        value: Expr,
    },
    /// `_ = value`
    Discard(Expr),
    /// `while (cond) { ... }`
    While {
        /// While this is true.
        cond: Expr,
        /// The loop's body.
        body: Block,
    },
    /// `unroll(count) { ... }`
    Unroll {
        /// How often.
        count: Expr,
        /// The loop's body.
        body: Block,
    },
    /// `for $x : iterable { ... }`
    For {
        /// With the `$`.
        var: Name,
        /// Over what.
        iter: Iterable,
        /// The loop's body.
        body: Block,
    },
    /// `break`
    Break,
    /// `continue`
    Continue,
    /// `return` or `return value`
    Return(Option<Expr>),
    /// `import "path"` inside a block.
    Import(Vec<u8>),
    /// Something that did not parse; a diagnostic has said so.
    Error,
}

/// What a `for` runs over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Iterable {
    /// The elements of a map, as tuples of key and value.
    Map(Name),
    /// `start..end`, without the end.
    Range {
        /// The first.
        start: Expr,
        /// After the last.
        end: Expr,
    },
}

/// An expression.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expr {
    /// The node.
    pub id: NodeId,
    /// Parentheses around it are not part of it, except where they are the syntax (tuples, casts).
    pub span: Span,
    /// Which.
    pub kind: ExprKind,
}

impl Expr {
    /// Whether it can be assigned to: a variable, a map or a map element.
    pub fn is_place(&self) -> bool {
        matches!(self.kind, ExprKind::Var(_) | ExprKind::Map(_) | ExprKind::MapElement { .. })
    }
}

/// The expressions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExprKind {
    /// `42`, `0x2a`, `1_000`, `1e6`, `10ms`
    Int(Integer),
    /// `true`, `false`
    Bool(bool),
    /// `"text"`, escapes resolved; bytes, since `\xff` is one.
    Str(Vec<u8>),
    /// `$1`, counted from 1.
    Positional(u32),
    /// `$#`
    PositionalCount,
    /// `$x`, with the `$`.
    Var(String),
    /// `@x` without a key, with the `@`.
    Map(String),
    /// `@x[key]`; several keys are a tuple.
    MapElement {
        /// With the `@`.
        map: Name,
        /// The key.
        key: Box<Expr>,
    },
    /// A bare name: a builtin, an enumerator, a constant of C, a parameter of a macro.
    Ident(String),
    /// `callee(args)`; an argument may be an [`ExprKind::Type`].
    Call {
        /// What is called.
        callee: Name,
        /// With what.
        args: Vec<Expr>,
    },
    /// `base.field`, `base->field`
    Field {
        /// Of this.
        base: Box<Expr>,
        /// The field.
        field: Name,
        /// Whether `->` was written; it means the same.
        arrow: bool,
    },
    /// `base.0`
    TupleField {
        /// Of this.
        base: Box<Expr>,
        /// Which, from 0.
        index: u32,
    },
    /// `base[index]` of an array, pointer, tuple or string.
    Index {
        /// Of this.
        base: Box<Expr>,
        /// Which.
        index: Box<Expr>,
    },
    /// `(type)operand`
    Cast {
        /// To this type.
        ty: TypeRef,
        /// What is cast.
        operand: Box<Expr>,
    },
    /// `op operand` or `operand op`
    Unary {
        /// The operator.
        op: UnaryOp,
        /// Its operand.
        operand: Box<Expr>,
    },
    /// `left op right`
    Binary {
        /// The operator.
        op: BinaryOp,
        /// Left operand.
        left: Box<Expr>,
        /// Right operand.
        right: Box<Expr>,
    },
    /// `cond ? then : otherwise`; without `then`, `cond ?: otherwise`.
    Ternary {
        /// What decides.
        cond: Box<Expr>,
        /// If true; `None` stands for the condition's own value.
        then: Option<Box<Expr>>,
        /// If false.
        otherwise: Box<Expr>,
    },
    /// `if cond { ... } else ...`
    If {
        /// What decides.
        cond: Box<Expr>,
        /// If true.
        then: Block,
        /// A [`ExprKind::Block`] or another [`ExprKind::If`].
        otherwise: Option<Box<Expr>>,
    },
    /// `{ ...; value }`
    Block(Block),
    /// `(a, b)`, `(a,)`, `()`
    Tuple(Vec<Expr>),
    /// `(x = a, y = b)`
    Record(Vec<NamedExpr>),
    /// `sizeof(type)`, `sizeof(expr)`
    Sizeof(TypeOrExpr),
    /// `offsetof(type, field.field)`
    Offsetof {
        /// Of this structure, or that of this expression.
        of: TypeOrExpr,
        /// The path to the field.
        fields: Vec<Name>,
    },
    /// `typeinfo(type)`, `typeinfo(expr)`
    Typeinfo(TypeOrExpr),
    /// `comptime expr`: must be known when the script is compiled.
    Comptime(Box<Expr>),
    /// A type as an argument of a call: `typeof(...)`.
    Type(TypeRef),
    /// Something that did not parse; a diagnostic has said so.
    Error,
}

/// `name = value` of a record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedExpr {
    /// The field.
    pub name: Name,
    /// Its value.
    pub value: Expr,
}

/// What `sizeof` and its like take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TypeOrExpr {
    /// A type.
    Type(TypeRef),
    /// An expression, whose type is meant; a bare name may turn out to be a C `typedef`.
    Expr(Box<Expr>),
}

/// A type as written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TypeRef {
    /// The node.
    pub id: NodeId,
    /// Where it stands.
    pub span: Span,
    /// Which.
    pub kind: TypeRefKind,
}

/// The ways to write a type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TypeRefKind {
    /// `int32`, `string`, `void`, a `typedef` of C.
    Named(String),
    /// `struct name`
    Struct(String),
    /// `union name`
    Union(String),
    /// `enum name`
    Enum(String),
    /// `type *`
    Pointer(Box<TypeRef>),
    /// `type[len]`; `string[64]` and `buffer[64]` too, where it is the size in bytes. Without a
    /// length it follows from what is cast.
    Array {
        /// Of this.
        element: Box<TypeRef>,
        /// How many.
        len: Option<Integer>,
    },
    /// `typeof(type)`, `typeof(expr)`
    Typeof(Box<TypeOrExpr>),
}

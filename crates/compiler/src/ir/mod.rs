//! The intermediate representation.
//!
//! Every value is a 64-bit register; widths live on operations. Blocks take parameters instead of
//! phi nodes. Local variables start as [`StackSlot`]s; a pass turns those whose address does not
//! escape into values.

pub mod bits;
mod builder;
mod cfg;
mod display;
mod operands;
mod parse;
mod verify;

pub use builder::Builder;
pub use cfg::Cfg;
pub use operands::Replacements;
pub use parse::{ParseError, parse};
pub use verify::verify;

use bombus_platform::Helper;

macro_rules! entity {
    ($($(#[$doc:meta])* $name:ident($prefix:literal);)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $name(pub u32);

        impl $name {
            /// Position in the table that holds it.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    )*};
}

entity! {
    /// A 64-bit value, defined once.
    Value("v");
    /// A basic block.
    Block("block");
    /// Memory in the frame.
    StackSlot("ss");
    /// A function of the module, by position.
    FuncRef("fn");
    /// A map, by position in the object's maps.
    MapRef("map");
    /// A source place, by position in the module's lines.
    Line("line");
}

/// Functions that become one program; the first is the entry and takes the context.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Module {
    /// The functions.
    pub functions: Vec<Function>,
    /// Source places that instructions name.
    pub lines: Vec<bombus_spec::SourceLine>,
}

/// One function.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Function {
    /// A C identifier.
    pub name: String,
    /// Blocks in layout order; the first is the entry, and its parameters are the arguments.
    pub layout: Vec<Block>,
    /// All blocks.
    pub blocks: Vec<BlockData>,
    /// Number of values; they are numbered from 0.
    pub values: u32,
    /// Memory in the frame.
    pub slots: Vec<SlotData>,
}

/// A basic block.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct BlockData {
    /// Its parameters.
    pub params: Vec<Value>,
    /// Its instructions, without the terminator.
    pub insts: Vec<Inst>,
    /// How it ends; `None` only while it is being built.
    pub term: Option<Term>,
    /// The source place of the terminator.
    pub term_line: Option<Line>,
}

/// Memory in the frame, 8-byte aligned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlotData {
    /// Bytes.
    pub size: u32,
}

/// An instruction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inst {
    /// What it defines, if anything.
    pub result: Option<Value>,
    /// What it does.
    pub op: Op,
    /// Where it came from.
    pub line: Option<Line>,
}

/// Operations. Results are 64 bits wide unless said otherwise.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Op {
    /// A number.
    Const(i64),
    /// One operand.
    Unary(UnaryOp, Value),
    /// Two operands.
    Binary(BinaryOp, Value, Value),
    /// 1 when the comparison holds, else 0.
    Compare(Cond, Value, Value),
    /// The second operand when the first is not zero, else the third.
    Select(Value, Value, Value),
    /// `*(base + offset)`, extended to 64 bits.
    Load {
        /// Width and extension.
        width: LoadWidth,
        /// Address.
        base: Value,
        /// Bytes added to it.
        offset: i32,
    },
    /// `*(base + offset) = value`, truncated to `bytes`.
    Store {
        /// 1, 2, 4 or 8.
        bytes: u8,
        /// What to store.
        value: Value,
        /// Address.
        base: Value,
        /// Bytes added to it.
        offset: i32,
    },
    /// Atomic `*(base + offset) += value`, without a result.
    AtomicAdd {
        /// 4 or 8.
        bytes: u8,
        /// What to add.
        value: Value,
        /// Address.
        base: Value,
        /// Bytes added to it.
        offset: i32,
    },
    /// `size` bytes at `base + offset` become zero. Written out as stores.
    Zero {
        /// Address.
        base: Value,
        /// Bytes added to it.
        offset: i32,
        /// Bytes.
        size: u32,
    },
    /// Copies `size` bytes that do not overlap. Written out as loads and stores; for memory that
    /// the program may access directly.
    Copy {
        /// Destination.
        to: Value,
        /// Bytes added to it.
        to_offset: i32,
        /// Source.
        from: Value,
        /// Bytes added to it.
        from_offset: i32,
        /// Bytes.
        size: u32,
        /// What both addresses are multiples of: 1, 2, 4 or 8.
        align: u8,
    },
    /// Address of a stack slot.
    SlotAddr(StackSlot),
    /// Address of a map, for helpers.
    MapAddr(MapRef),
    /// Address in the only value of an array map.
    MapValueAddr(MapRef, u32),
    /// Address of a function, for helpers that call back.
    FuncAddr(FuncRef),
    /// Call of a helper; at most five arguments.
    CallHelper(Helper, Vec<Value>),
    /// Call of a function of the module; at most five arguments.
    Call(FuncRef, Vec<Value>),
}

/// Operations on one operand.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "each says itself")]
pub enum UnaryOp {
    Neg,
    Not,
    Zext8,
    Zext16,
    Zext32,
    Sext8,
    Sext16,
    Sext32,
    /// Byte swap of the low 16 bits, zero-extended.
    Bswap16,
    /// Byte swap of the low 32 bits, zero-extended.
    Bswap32,
    Bswap64,
}

/// Operations on two operands. Division by zero gives 0, remainder by zero the dividend
/// (RFC 9669, section 4.1). Shift counts are taken modulo 64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "each says itself")]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Udiv,
    Sdiv,
    Urem,
    Srem,
    And,
    Or,
    Xor,
    Shl,
    Lshr,
    Ashr,
}

/// Comparisons of 64-bit values.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "each says itself")]
pub enum Cond {
    Eq,
    Ne,
    Ult,
    Ule,
    Ugt,
    Uge,
    Slt,
    Sle,
    Sgt,
    Sge,
}

/// Width and extension of a load.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs, reason = "each says itself")]
pub enum LoadWidth {
    U8,
    U16,
    U32,
    U64,
    S8,
    S16,
    S32,
}

/// Where a branch goes, with the arguments for the block's parameters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// The block.
    pub block: Block,
    /// One value a parameter.
    pub args: Vec<Value>,
}

/// How a block ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Term {
    /// To one block.
    Jump(Target),
    /// To the first when the value is not zero, else to the second.
    Branch(Value, Target, Target),
    /// End of the function.
    Return(Value),
    /// Never reached.
    Unreachable,
}

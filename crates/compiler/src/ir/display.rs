//! The text form, after Cranelift's. [`super::parse`] reads it back.

use std::fmt::{self, Display, Formatter};

use super::{
    BinaryOp, Block, Cond, Function, Inst, Line, LoadWidth, Module, Op, Target, Term, UnaryOp,
    Value,
};

macro_rules! names {
    ($type:ident: $($variant:ident $name:literal)*) => {
        impl $type {
            /// The name in the text form.
            pub const fn name(self) -> &'static str {
                match self { $($type::$variant => $name,)* }
            }

            /// By its name in the text form.
            pub fn from_name(name: &str) -> Option<$type> {
                match name {
                    $($name => Some($type::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

names! { UnaryOp:
    Neg "neg" Not "not" Zext8 "zext8" Zext16 "zext16" Zext32 "zext32" Sext8 "sext8"
    Sext16 "sext16" Sext32 "sext32" Bswap16 "bswap16" Bswap32 "bswap32" Bswap64 "bswap64"
}
names! { BinaryOp:
    Add "add" Sub "sub" Mul "mul" Udiv "udiv" Sdiv "sdiv" Urem "urem" Srem "srem" And "and"
    Or "or" Xor "xor" Shl "shl" Lshr "lshr" Ashr "ashr"
}
names! { Cond:
    Eq "eq" Ne "ne" Ult "ult" Ule "ule" Ugt "ugt" Uge "uge" Slt "slt" Sle "sle" Sgt "sgt"
    Sge "sge"
}
names! { LoadWidth:
    U8 "u8" U16 "u16" U32 "u32" U64 "u64" S8 "s8" S16 "s16" S32 "s32"
}

impl Display for Module {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, line) in self.lines.iter().enumerate() {
            let (file, text) = (&line.file, &line.text);
            writeln!(f, "line{i} = {file:?} {}:{} {text:?}", line.line, line.column)?;
        }
        for (i, function) in self.functions.iter().enumerate() {
            if i > 0 || !self.lines.is_empty() {
                writeln!(f)?;
            }
            write!(f, "{function}")?;
        }
        Ok(())
    }
}

impl Display for Function {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "function {} {{", self.name)?;
        for (i, slot) in self.slots.iter().enumerate() {
            writeln!(f, "    ss{i} = slot {}", slot.size)?;
        }
        for &block in &self.layout {
            let data = &self.blocks[block.index()];
            writeln!(f, "{}:", Call(block, &data.params))?;
            for inst in &data.insts {
                writeln!(f, "    {inst}")?;
            }
            if let Some(term) = &data.term {
                writeln!(f, "    {term}{}", Place(data.term_line))?;
            }
        }
        writeln!(f, "}}")
    }
}

impl Display for Inst {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(result) = self.result {
            write!(f, "{result} = ")?;
        }
        write!(f, "{}{}", self.op, Place(self.line))
    }
}

struct Place(Option<Line>);

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |line| write!(f, " @{line}"))
    }
}

/// A block with its parameters or arguments.
struct Call<'a>(Block, &'a [Value]);

impl Display for Call<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        if self.1.is_empty() { Ok(()) } else { write!(f, "({})", List(self.1)) }
    }
}

struct List<'a>(&'a [Value]);

impl Display for List<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, value) in self.0.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}{value}")?;
        }
        Ok(())
    }
}

/// `base+offset`.
struct Address(Value, i32);

impl Display for Address {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:+}", self.0, self.1)
    }
}

impl Display for Op {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Op::Const(number) => write!(f, "const {number}"),
            Op::Unary(op, a) => write!(f, "{} {a}", op.name()),
            Op::Binary(op, a, b) => write!(f, "{} {a}, {b}", op.name()),
            Op::Compare(cond, a, b) => write!(f, "{} {a}, {b}", cond.name()),
            Op::Select(test, a, b) => write!(f, "select {test}, {a}, {b}"),
            Op::Load { width, base, offset } => {
                write!(f, "load.{} {}", width.name(), Address(*base, *offset))
            }
            Op::Store { bytes, value, base, offset } => {
                write!(f, "store.{bytes} {value}, {}", Address(*base, *offset))
            }
            Op::AtomicAdd { bytes, value, base, offset } => {
                write!(f, "atomic_add.{bytes} {value}, {}", Address(*base, *offset))
            }
            Op::Zero { base, offset, size } => {
                write!(f, "zero {}, {size}", Address(*base, *offset))
            }
            Op::Copy { to, to_offset, from, from_offset, size, align } => {
                let (to, from) = (Address(*to, *to_offset), Address(*from, *from_offset));
                write!(f, "copy {to}, {from}, {size}, align {align}")
            }
            Op::SlotAddr(slot) => write!(f, "slot_addr {slot}"),
            Op::MapAddr(map) => write!(f, "map_addr {map}"),
            Op::MapValueAddr(map, offset) => write!(f, "map_value_addr {map}+{offset}"),
            Op::FuncAddr(func) => write!(f, "func_addr {func}"),
            Op::CallHelper(helper, args) => write!(f, "helper {}({})", helper.name(), List(args)),
            Op::Call(func, args) => write!(f, "call {func}({})", List(args)),
        }
    }
}

impl Display for Target {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Call(self.block, &self.args).fmt(f)
    }
}

impl Display for Term {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Term::Jump(target) => write!(f, "jump {target}"),
            Term::Branch(test, then, otherwise) => write!(f, "branch {test}, {then}, {otherwise}"),
            Term::Return(value) => write!(f, "return {value}"),
            Term::Unreachable => f.write_str("unreachable"),
        }
    }
}

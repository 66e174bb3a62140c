//! The table of instructions that work on registers and memory and go on or jump: everything but
//! calls and atomic operations.

use std::ptr::{with_exposed_provenance, with_exposed_provenance_mut};

use bombus_isa::{AluOp, Cond, Endian, Size, Width};

use super::step::{Fields, Registers};
use crate::semantics;

/// What an instruction does, apart from its operands' numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    Alu(AluOp, Width, Form),
    Neg(Width),
    MovSx(Width, Size),
    End(Endian, Size),
    Load(Size, bool),
    Store(Size, Form),
    Jump(Cond, Width, Form),
    Goto,
}

/// Where the second operand is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// In the register `src`.
    X,
    /// In the immediate.
    K,
}

/// An instruction as a type, so that two of them can be put together.
pub(super) trait Instruction {
    /// Its number.
    const CODE: u16;

    /// Performs it; true if it jumps.
    ///
    /// # Safety
    ///
    /// The memory that it reads or writes must be there, and the program's to read or write.
    unsafe fn perform(registers: &mut Registers, at: Fields) -> bool;
}

/// Hands the table to a macro: each line is the name of an instruction and its [`Shape`].
macro_rules! instructions {
    ($then:ident) => {
        $then! {
            AddX = Alu(Add, W64, X), AddK = Alu(Add, W64, K), Add32X = Alu(Add, W32, X), Add32K = Alu(Add, W32, K),
            SubX = Alu(Sub, W64, X), SubK = Alu(Sub, W64, K), Sub32X = Alu(Sub, W32, X), Sub32K = Alu(Sub, W32, K),
            MulX = Alu(Mul, W64, X), MulK = Alu(Mul, W64, K), Mul32X = Alu(Mul, W32, X), Mul32K = Alu(Mul, W32, K),
            DivX = Alu(Div, W64, X), DivK = Alu(Div, W64, K), Div32X = Alu(Div, W32, X), Div32K = Alu(Div, W32, K),
            SdivX = Alu(Sdiv, W64, X), SdivK = Alu(Sdiv, W64, K), Sdiv32X = Alu(Sdiv, W32, X), Sdiv32K = Alu(Sdiv, W32, K),
            OrX = Alu(Or, W64, X), OrK = Alu(Or, W64, K), Or32X = Alu(Or, W32, X), Or32K = Alu(Or, W32, K),
            AndX = Alu(And, W64, X), AndK = Alu(And, W64, K), And32X = Alu(And, W32, X), And32K = Alu(And, W32, K),
            LshX = Alu(Lsh, W64, X), LshK = Alu(Lsh, W64, K), Lsh32X = Alu(Lsh, W32, X), Lsh32K = Alu(Lsh, W32, K),
            RshX = Alu(Rsh, W64, X), RshK = Alu(Rsh, W64, K), Rsh32X = Alu(Rsh, W32, X), Rsh32K = Alu(Rsh, W32, K),
            ModX = Alu(Mod, W64, X), ModK = Alu(Mod, W64, K), Mod32X = Alu(Mod, W32, X), Mod32K = Alu(Mod, W32, K),
            SmodX = Alu(Smod, W64, X), SmodK = Alu(Smod, W64, K), Smod32X = Alu(Smod, W32, X), Smod32K = Alu(Smod, W32, K),
            XorX = Alu(Xor, W64, X), XorK = Alu(Xor, W64, K), Xor32X = Alu(Xor, W32, X), Xor32K = Alu(Xor, W32, K),
            MovX = Alu(Mov, W64, X), MovK = Alu(Mov, W64, K), Mov32X = Alu(Mov, W32, X), Mov32K = Alu(Mov, W32, K),
            ArshX = Alu(Arsh, W64, X), ArshK = Alu(Arsh, W64, K), Arsh32X = Alu(Arsh, W32, X), Arsh32K = Alu(Arsh, W32, K),
            Neg = Neg(W64), Neg32 = Neg(W32),
            MovSxB = MovSx(W64, B), MovSxH = MovSx(W64, H), MovSxW = MovSx(W64, W),
            MovSx32B = MovSx(W32, B), MovSx32H = MovSx(W32, H),
            Le16 = End(Le, H), Le32 = End(Le, W), Le64 = End(Le, Dw),
            Be16 = End(Be, H), Be32 = End(Be, W), Be64 = End(Be, Dw),
            Swap16 = End(Swap, H), Swap32 = End(Swap, W), Swap64 = End(Swap, Dw),
            LdB = Load(B, false), LdH = Load(H, false), LdW = Load(W, false), LdDw = Load(Dw, false),
            LdSxB = Load(B, true), LdSxH = Load(H, true), LdSxW = Load(W, true),
            StXB = Store(B, X), StXH = Store(H, X), StXW = Store(W, X), StXDw = Store(Dw, X),
            StKB = Store(B, K), StKH = Store(H, K), StKW = Store(W, K), StKDw = Store(Dw, K),
            Ja = Goto(),
            JeqX = Jump(Eq, W64, X), JeqK = Jump(Eq, W64, K), Jeq32X = Jump(Eq, W32, X), Jeq32K = Jump(Eq, W32, K),
            JneX = Jump(Ne, W64, X), JneK = Jump(Ne, W64, K), Jne32X = Jump(Ne, W32, X), Jne32K = Jump(Ne, W32, K),
            JsetX = Jump(Set, W64, X), JsetK = Jump(Set, W64, K), Jset32X = Jump(Set, W32, X), Jset32K = Jump(Set, W32, K),
            JgtX = Jump(Gt, W64, X), JgtK = Jump(Gt, W64, K), Jgt32X = Jump(Gt, W32, X), Jgt32K = Jump(Gt, W32, K),
            JgeX = Jump(Ge, W64, X), JgeK = Jump(Ge, W64, K), Jge32X = Jump(Ge, W32, X), Jge32K = Jump(Ge, W32, K),
            JltX = Jump(Lt, W64, X), JltK = Jump(Lt, W64, K), Jlt32X = Jump(Lt, W32, X), Jlt32K = Jump(Lt, W32, K),
            JleX = Jump(Le, W64, X), JleK = Jump(Le, W64, K), Jle32X = Jump(Le, W32, X), Jle32K = Jump(Le, W32, K),
            JsgtX = Jump(Sgt, W64, X), JsgtK = Jump(Sgt, W64, K), Jsgt32X = Jump(Sgt, W32, X), Jsgt32K = Jump(Sgt, W32, K),
            JsgeX = Jump(Sge, W64, X), JsgeK = Jump(Sge, W64, K), Jsge32X = Jump(Sge, W32, X), Jsge32K = Jump(Sge, W32, K),
            JsltX = Jump(Slt, W64, X), JsltK = Jump(Slt, W64, K), Jslt32X = Jump(Slt, W32, X), Jslt32K = Jump(Slt, W32, K),
            JsleX = Jump(Sle, W64, X), JsleK = Jump(Sle, W64, K), Jsle32X = Jump(Sle, W32, X), Jsle32K = Jump(Sle, W32, K),
        }
    };
}
pub(super) use instructions;

/// The second operand.
macro_rules! operand {
    ($registers:ident, $at:ident, X) => {
        $registers.get($at.src)
    };
    ($registers:ident, $at:ident, K) => {
        $at.imm as u64
    };
}

/// The body of [`Instruction::perform`] for a shape.
macro_rules! perform {
    ($r:ident, $at:ident, Alu($op:ident, $width:ident, $form:ident)) => {{
        let operand = operand!($r, $at, $form);
        $r.set($at.dst, semantics::alu(AluOp::$op, Width::$width, $r.get($at.dst), operand));
        false
    }};
    ($r:ident, $at:ident, Neg($width:ident)) => {{
        $r.set($at.dst, semantics::neg(Width::$width, $r.get($at.dst)));
        false
    }};
    ($r:ident, $at:ident, MovSx($width:ident, $from:ident)) => {{
        $r.set($at.dst, semantics::movsx(Width::$width, Size::$from, $r.get($at.src)));
        false
    }};
    ($r:ident, $at:ident, End($order:ident, $size:ident)) => {{
        $r.set($at.dst, semantics::endian(Endian::$order, Size::$size, $r.get($at.dst)));
        false
    }};
    ($r:ident, $at:ident, Load($size:ident, $signed:literal)) => {{
        // SAFETY: as this function's.
        let value = unsafe { load!($size, displaced($r.get($at.src), $at.off)) };
        let value = if $signed { semantics::sign_extend(Size::$size, value) } else { value };
        $r.set($at.dst, value);
        false
    }};
    ($r:ident, $at:ident, Store($size:ident, $form:ident)) => {{
        let value = operand!($r, $at, $form);
        // SAFETY: as this function's.
        unsafe { store!($size, displaced($r.get($at.dst), $at.off), value) };
        false
    }};
    ($r:ident, $at:ident, Jump($cond:ident, $width:ident, $form:ident)) => {{
        let operand = operand!($r, $at, $form);
        semantics::compare(Cond::$cond, Width::$width, $r.get($at.dst), operand)
    }};
    ($r:ident, $at:ident, Goto()) => {{
        let _ = ($r, $at);
        true
    }};
}

/// The unsigned number of a size at an address.
macro_rules! load {
    (B, $address:expr) => {
        u64::from(with_exposed_provenance::<u8>($address).read())
    };
    (H, $address:expr) => {
        u64::from(with_exposed_provenance::<u16>($address).read_unaligned())
    };
    (W, $address:expr) => {
        u64::from(with_exposed_provenance::<u32>($address).read_unaligned())
    };
    (Dw, $address:expr) => {
        with_exposed_provenance::<u64>($address).read_unaligned()
    };
}

/// Puts the low part of a number at an address.
macro_rules! store {
    (B, $address:expr, $value:ident) => {
        with_exposed_provenance_mut::<u8>($address).write($value as u8)
    };
    (H, $address:expr, $value:ident) => {
        with_exposed_provenance_mut::<u16>($address).write_unaligned($value as u16)
    };
    (W, $address:expr, $value:ident) => {
        with_exposed_provenance_mut::<u32>($address).write_unaligned($value as u32)
    };
    (Dw, $address:expr, $value:ident) => {
        with_exposed_provenance_mut::<u64>($address).write_unaligned($value)
    };
}

/// The address of a memory operand.
#[inline(always)]
pub(super) fn displaced(base: u64, off: i32) -> usize {
    base.wrapping_add(off as u64) as usize
}

/// Numbers, types and performance of the instructions in the table.
macro_rules! define {
    ($($name:ident = $shape:ident($($part:tt),*),)*) => {
        /// The numbers of the instructions, those of other modules last.
        #[derive(Clone, Copy, Debug)]
        #[repr(u16)]
        enum Number {
            $($name,)*
            End,
        }

        /// Numbers below this are taken by this table.
        pub(super) const END: u16 = Number::End as u16;

        $(
            pub(super) enum $name {}

            impl Instruction for $name {
                const CODE: u16 = Number::$name as u16;

                #[inline(always)]
                unsafe fn perform(registers: &mut Registers, at: Fields) -> bool {
                    perform!(registers, at, $shape($($part),*))
                }
            }
        )*
    };
}
instructions!(define);

/// [`Shape`]s as patterns.
macro_rules! shape {
    (Alu($op:ident, $width:ident, $form:ident)) => {
        Shape::Alu(AluOp::$op, Width::$width, Form::$form)
    };
    (Neg($width:ident)) => {
        Shape::Neg(Width::$width)
    };
    (MovSx($width:ident, $from:ident)) => {
        Shape::MovSx(Width::$width, Size::$from)
    };
    (End($order:ident, $size:ident)) => {
        Shape::End(Endian::$order, Size::$size)
    };
    (Load($size:ident, $signed:literal)) => {
        Shape::Load(Size::$size, $signed)
    };
    (Store($size:ident, $form:ident)) => {
        Shape::Store(Size::$size, Form::$form)
    };
    (Jump($cond:ident, $width:ident, $form:ident)) => {
        Shape::Jump(Cond::$cond, Width::$width, Form::$form)
    };
    (Goto()) => {
        Shape::Goto
    };
}

macro_rules! define_code {
    ($($name:ident = $shape:ident($($part:tt),*),)*) => {
        /// The number of the instruction of a shape. `None`: no program has this.
        pub(super) fn code(shape: Shape) -> Option<u16> {
            Some(match shape {
                $(shape!($shape($($part),*)) => $name::CODE,)*
                // Extensions to the width of the register or more.
                Shape::MovSx(..) | Shape::End(..) | Shape::Load(..) => return None,
            })
        }
    };
}
instructions!(define_code);

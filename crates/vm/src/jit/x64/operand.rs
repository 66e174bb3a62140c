//! What the instructions of [`super::encode`] are made of: registers, addresses, operations.

/// A general-purpose register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gpr(pub u8);

#[allow(missing_docs, reason = "the processor's names")]
impl Gpr {
    pub const RAX: Gpr = Gpr(0);
    pub const RCX: Gpr = Gpr(1);
    pub const RDX: Gpr = Gpr(2);
    pub const RBX: Gpr = Gpr(3);
    pub const RSP: Gpr = Gpr(4);
    pub const RBP: Gpr = Gpr(5);
    pub const RSI: Gpr = Gpr(6);
    pub const RDI: Gpr = Gpr(7);
    pub const R8: Gpr = Gpr(8);
    pub const R9: Gpr = Gpr(9);
    pub const R10: Gpr = Gpr(10);
    pub const R11: Gpr = Gpr(11);
    pub const R12: Gpr = Gpr(12);
    pub const R13: Gpr = Gpr(13);
    pub const R14: Gpr = Gpr(14);
    pub const R15: Gpr = Gpr(15);

    pub(super) const fn low(self) -> u8 {
        self.0 & 7
    }

    pub(super) const fn high(self) -> u8 {
        self.0 >> 3
    }
}

/// An operand in memory: `[base + index << scale + disp]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mem {
    /// The register with the address.
    pub base: Gpr,
    /// A register (never `rsp`) and by how many bits (0 to 3) it is shifted.
    pub index: Option<(Gpr, u8)>,
    /// Bytes added.
    pub disp: i32,
}

impl Mem {
    /// `[base + disp]`.
    pub const fn new(base: Gpr, disp: i32) -> Mem {
        Mem { base, index: None, disp }
    }
}

/// An operand that is a register or in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rm {
    /// A register.
    Reg(Gpr),
    /// Memory.
    Mem(Mem),
}

impl From<Gpr> for Rm {
    fn from(reg: Gpr) -> Rm {
        Rm::Reg(reg)
    }
}

impl From<Mem> for Rm {
    fn from(mem: Mem) -> Rm {
        Rm::Mem(mem)
    }
}

/// The arithmetic instructions that share one encoding; the number is in bits 3 to 5 of the opcode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the processor's names")]
pub enum Arith {
    Add = 0,
    Or = 1,
    And = 4,
    Sub = 5,
    Xor = 6,
    Cmp = 7,
}

/// Shifts; the number is the opcode's extension.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the processor's names")]
pub enum Shift {
    Rol = 0,
    Ror = 1,
    Shl = 4,
    Shr = 5,
    Sar = 7,
}

/// Instructions with one operand; the number is the extension of opcode `0xf7`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the processor's names")]
pub enum Unary {
    Not = 2,
    Neg = 3,
    /// `rdx:rax = rax * operand`.
    Mul = 4,
    /// `rax, rdx = rdx:rax / operand`.
    Div = 6,
    Idiv = 7,
}

/// Conditions; the number is the low half of the opcode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the processor's names")]
pub enum Cc {
    B = 2,
    Ae = 3,
    E = 4,
    Ne = 5,
    Be = 6,
    A = 7,
    L = 12,
    Ge = 13,
    Le = 14,
    G = 15,
}

impl Cc {
    /// The opposite condition.
    pub const fn negated(self) -> Cc {
        match self {
            Cc::B => Cc::Ae,
            Cc::Ae => Cc::B,
            Cc::E => Cc::Ne,
            Cc::Ne => Cc::E,
            Cc::Be => Cc::A,
            Cc::A => Cc::Be,
            Cc::L => Cc::Ge,
            Cc::Ge => Cc::L,
            Cc::Le => Cc::G,
            Cc::G => Cc::Le,
        }
    }
}

/// Instructions that go somewhere else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Branch {
    /// `call`
    Call,
    /// `jmp`
    Jmp,
    /// `jcc`
    Jcc(Cc),
}

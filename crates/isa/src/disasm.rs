//! The kernel's text form of instructions, as the verifier's log and bpftool print it
//! (`kernel/bpf/disasm.c`).
//!
//! The kernel's text leaves out what an address stands for and whether a call goes to a helper or
//! to a kernel function. [`Resolve`] supplies what the caller knows; without it the text says what
//! the encoding says (`map[fd:3]`, `call unknown#1`, `call kernel-function#77`), so that
//! [`crate::asm`] can read everything back.

use std::fmt::{self, Display, Formatter};

use crate::{AluOp, AtomicOp, Cond, Endian, Imm64, Insn, Op, Operand, Reg, Size, Width, decode};

/// Names of what instructions refer to by number. Every answer may be `None`.
pub trait Resolve {
    /// The name of a helper function, with its `bpf_`.
    fn helper(&self, id: i32) -> Option<&str> {
        let _ = id;
        None
    }

    /// The name of a kernel function; arguments as in [`Op::CallKfunc`].
    fn kfunc(&self, id: i32, btf: i16) -> Option<&str> {
        let _ = (id, btf);
        None
    }

    /// What to print for the operand of a `ld_imm64`.
    fn imm64(&self, imm: Imm64) -> Option<String> {
        let _ = imm;
        None
    }
}

/// Knows no names.
impl Resolve for () {}

/// The program as `bpftool prog dump xlated` lists it: slot, opcode, text, one line an
/// instruction. What is not an instruction is listed with the reason.
pub fn disasm(insns: &[Insn], names: &dyn Resolve) -> String {
    let mut text = String::new();
    for (slot, op) in decode::ops(insns) {
        let code = insns[slot].code;
        text += &match op {
            Ok(op) => format!("{slot:4}: ({code:02x}) {}\n", op.display(names)),
            Err(error) => format!("{slot:4}: ({code:02x}) invalid: {error}\n"),
        };
    }
    text
}

impl Op {
    /// The kernel's text, with names.
    pub fn display<'a>(&'a self, names: &'a dyn Resolve) -> impl Display + 'a {
        Text { op: self, names }
    }
}

impl Display for Op {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Text { op: self, names: &() }.fmt(f)
    }
}

impl Display for Reg {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

impl AluOp {
    /// The assignment operator.
    pub const fn symbol(self) -> &'static str {
        match self {
            AluOp::Add => "+=",
            AluOp::Sub => "-=",
            AluOp::Mul => "*=",
            AluOp::Div => "/=",
            AluOp::Sdiv => "s/=",
            AluOp::Or => "|=",
            AluOp::And => "&=",
            AluOp::Lsh => "<<=",
            AluOp::Rsh => ">>=",
            AluOp::Mod => "%=",
            AluOp::Smod => "s%=",
            AluOp::Xor => "^=",
            AluOp::Mov => "=",
            AluOp::Arsh => "s>>=",
        }
    }
}

impl Cond {
    /// The comparison operator.
    pub const fn symbol(self) -> &'static str {
        match self {
            Cond::Eq => "==",
            Cond::Ne => "!=",
            Cond::Set => "&",
            Cond::Gt => ">",
            Cond::Ge => ">=",
            Cond::Lt => "<",
            Cond::Le => "<=",
            Cond::Sgt => "s>",
            Cond::Sge => "s>=",
            Cond::Slt => "s<",
            Cond::Sle => "s<=",
        }
    }
}

impl AtomicOp {
    /// The assignment operator of the forms that do not fetch.
    const fn symbol(self) -> &'static str {
        match self {
            AtomicOp::Add => "+=",
            AtomicOp::Or => "|=",
            AtomicOp::And => "&=",
            AtomicOp::Xor => "^=",
            // Exchanges always fetch and have no operator.
            AtomicOp::Xchg | AtomicOp::Cmpxchg => "=",
        }
    }

    /// What follows `atomic_` in the name of the fetching form.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            AtomicOp::Add => "fetch_add",
            AtomicOp::Or => "fetch_or",
            AtomicOp::And => "fetch_and",
            AtomicOp::Xor => "fetch_xor",
            AtomicOp::Xchg => "xchg",
            AtomicOp::Cmpxchg => "cmpxchg",
        }
    }
}

impl Endian {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Endian::Le => "le",
            Endian::Be => "be",
            Endian::Swap => "bswap",
        }
    }
}

impl Size {
    pub(crate) const fn bit_count(self) -> usize {
        self.bytes() * 8
    }
}

/// A register by the name that its width has: `w1` or `r1`.
struct Sub(Width, Reg);

impl Display for Sub {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Width::W32 => write!(f, "w{}", self.1.0),
            Width::W64 => write!(f, "{}", self.1),
        }
    }
}

/// `(u32 *)(r1 +4)`
struct Place {
    signed: bool,
    size: Size,
    base: Reg,
    off: i16,
}

impl Place {
    fn new(size: Size, base: Reg, off: i16) -> Place {
        Place { signed: false, size, base, off }
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let sign = if self.signed { 's' } else { 'u' };
        write!(f, "({sign}{} *)({} {:+})", self.size.bit_count(), self.base, self.off)
    }
}

impl Display for Imm64 {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Imm64::Value(value) => write!(f, "{value:#x}"),
            Imm64::MapFd(fd) => write!(f, "map[fd:{fd}]"),
            Imm64::MapValue { fd, offset } => write!(f, "map[fd:{fd}][0]+{offset}"),
            Imm64::BtfId { id, btf_fd: 0 } => write!(f, "btf[id:{id}]"),
            Imm64::BtfId { id, btf_fd } => write!(f, "btf[id:{id},fd:{btf_fd}]"),
            Imm64::Func(off) => write!(f, "subprog[{off:+}]"),
            Imm64::MapIdx(index) => write!(f, "map[idx:{index}]"),
            Imm64::MapIdxValue { index, offset } => write!(f, "map[idx:{index}][0]+{offset}"),
        }
    }
}

struct Text<'a> {
    op: &'a Op,
    names: &'a dyn Resolve,
}

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self.op {
            Op::Alu { width, op, dst, src } => {
                write!(f, "{} {} ", Sub(width, dst), op.symbol())?;
                match src {
                    Operand::Reg(src) => write!(f, "{}", Sub(width, src)),
                    Operand::Imm(imm) => write!(f, "{imm}"),
                }
            }
            Op::Neg { width, dst } => write!(f, "{} = -{}", Sub(width, dst), Sub(width, dst)),
            Op::MovSx { width, from, dst, src } => {
                write!(f, "{} = (s{}){}", Sub(width, dst), from.bit_count(), Sub(width, src))
            }
            Op::End { order, size, dst } => {
                write!(f, "{dst} = {}{} {dst}", order.name(), size.bit_count())
            }
            Op::AddrSpaceCast { dst, src, to } => {
                write!(f, "{dst} = addr_space_cast({src}, {to}, {})", 1 - to.min(1))
            }
            Op::LoadImm64 { dst, imm } => match self.names.imm64(imm) {
                Some(text) => write!(f, "{dst} = {text}"),
                None => write!(f, "{dst} = {imm}"),
            },
            Op::Load { size, signed, dst, base, off } => {
                write!(f, "{dst} = *{}", Place { signed, size, base, off })
            }
            Op::LoadPacket { size, index, imm } => {
                write!(f, "r0 = *(u{} *)skb[", size.bit_count())?;
                match index {
                    Some(index) => write!(f, "{index} + {imm}]"),
                    None => write!(f, "{imm}]"),
                }
            }
            Op::Store { size, base, off, src } => {
                write!(f, "*{} = ", Place::new(size, base, off))?;
                match src {
                    Operand::Reg(src) => write!(f, "{src}"),
                    Operand::Imm(imm) => write!(f, "{imm}"),
                }
            }
            Op::Atomic { size, op, fetch: false, base, off, src } => {
                write!(f, "lock *{} {} {src}", Place::new(size, base, off), op.symbol())
            }
            Op::Atomic { size, op, fetch: true, base, off, src } => {
                let (old, expected) = match op {
                    AtomicOp::Cmpxchg => (Reg::R0, "r0, "),
                    _ => (src, ""),
                };
                let suffix = if size == Size::Dw { "64" } else { "" };
                let place = Place::new(size, base, off);
                write!(f, "{old} = atomic{suffix}_{}({place}, {expected}{src})", op.name())
            }
            Op::LoadAcquire { size, dst, base, off } => {
                write!(f, "{dst} = load_acquire({})", Place::new(size, base, off))
            }
            Op::StoreRelease { size, base, off, src } => {
                write!(f, "store_release({}, {src})", Place::new(size, base, off))
            }
            Op::Goto { off } => write!(f, "goto pc{off:+}"),
            Op::GotoLong { off } => write!(f, "gotol pc{off:+}"),
            Op::GotoRegister { dst } => write!(f, "gotox {dst}"),
            Op::MayGoto { off } => write!(f, "may_goto pc{off:+}"),
            Op::JumpIf { width, cond, dst, src, off } => {
                write!(f, "if {} {} ", Sub(width, dst), cond.symbol())?;
                match src {
                    Operand::Reg(src) => write!(f, "{}", Sub(width, src))?,
                    Operand::Imm(imm) => write!(f, "{imm:#x}")?,
                }
                write!(f, " goto pc{off:+}")
            }
            Op::CallHelper { id } => {
                write!(f, "call {}#{id}", self.names.helper(id).unwrap_or("unknown"))
            }
            Op::CallLocal { off } => write!(f, "call pc{off:+}"),
            Op::CallKfunc { id, btf } => {
                let name = self.names.kfunc(id, btf).unwrap_or("kernel-function");
                write!(f, "call {name}#{id}")?;
                if btf == 0 { Ok(()) } else { write!(f, "[btf:{btf}]") }
            }
            Op::Exit => write!(f, "exit"),
        }
    }
}

//! An encoder for the x86-64 instructions that BPF needs (Intel SDM, volume 2, chapter 2).
//!
//! It knows nothing of BPF. Instructions go out in the shortest form that has the operands; `tests`
//! reads every form back with an independent decoder.

use bombus_isa::{Size, Width};

pub use super::operand::{Arith, Branch, Cc, Gpr, Mem, Rm, Shift, Unary};

/// The prefix of an opcode.
#[derive(Clone, Copy)]
enum Escape {
    None,
    X0f,
    X0f38,
}

/// What is the same in all instructions of an encoding.
#[derive(Clone, Copy)]
struct Form {
    /// `0x66`, `0xf0`, ...; 0 for none.
    prefix: u8,
    wide: bool,
    escape: Escape,
    opcode: u8,
    /// The register operand is a byte: `spl` to `dil` need a REX prefix to be told from `ah` to `bh`.
    byte: bool,
}

impl Form {
    const fn new(width: Width, opcode: u8) -> Form {
        let wide = matches!(width, Width::W64);
        Form { prefix: 0, wide, escape: Escape::None, opcode, byte: false }
    }

    const fn x0f(width: Width, opcode: u8) -> Form {
        Form { escape: Escape::X0f, ..Form::new(width, opcode) }
    }
}

/// The width that holds an access of this size.
const fn width_of(size: Size) -> Width {
    match size {
        Size::Dw => Width::W64,
        _ => Width::W32,
    }
}

/// Machine code in the making.
#[derive(Clone, Debug, Default)]
pub struct Assembler {
    code: Vec<u8>,
}

impl Assembler {
    /// Nothing yet; room for `capacity` bytes.
    pub fn with_capacity(capacity: usize) -> Assembler {
        Assembler { code: Vec::with_capacity(capacity) }
    }

    /// Bytes so far.
    #[inline]
    pub fn len(&self) -> usize {
        self.code.len()
    }

    /// Whether there is nothing yet.
    pub fn is_empty(&self) -> bool {
        self.code.is_empty()
    }

    /// The code.
    pub fn finish(self) -> Vec<u8> {
        self.code
    }

    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.code.extend_from_slice(bytes);
    }

    #[inline]
    fn put32(&mut self, value: i32) {
        self.put(&value.to_le_bytes());
    }

    #[inline]
    fn put_imm(&mut self, imm: i32, short: bool) {
        if short { self.code.push(imm as u8) } else { self.put32(imm) }
    }

    /// An instruction with a ModRM byte.
    #[inline]
    fn op(&mut self, form: Form, reg: u8, rm: impl Into<Rm>) {
        let rm = rm.into();
        let (base, index) = match rm {
            Rm::Reg(reg) => (reg, 0),
            Rm::Mem(mem) => (mem.base, mem.index.map_or(0, |(index, _)| index.high())),
        };
        if form.prefix != 0 {
            self.code.push(form.prefix);
        }
        let rex = u8::from(form.wide) << 3 | (reg >> 3) << 2 | index << 1 | base.high();
        let byte_rm = form.byte && (reg >= 4 || matches!(rm, Rm::Reg(Gpr(4..))));
        if rex != 0 || byte_rm {
            self.code.push(0x40 | rex);
        }
        match form.escape {
            Escape::None => {}
            Escape::X0f => self.code.push(0x0f),
            Escape::X0f38 => self.put(&[0x0f, 0x38]),
        }
        self.code.push(form.opcode);
        self.modrm(reg, rm);
    }

    #[inline]
    fn modrm(&mut self, reg: u8, rm: Rm) {
        let reg = (reg & 7) << 3;
        let mem = match rm {
            Rm::Reg(rm) => return self.code.push(0xc0 | reg | rm.low()),
            Rm::Mem(mem) => mem,
        };
        // Without a displacement, `rbp` and `r13` as base mean something else.
        let mode = match mem.disp {
            0 if mem.base.low() != 5 => 0x00,
            -128..=127 => 0x40,
            _ => 0x80,
        };
        match mem.index {
            Some((index, scale)) => {
                let sib = scale << 6 | index.low() << 3 | mem.base.low();
                self.put(&[mode | reg | 4, sib]);
            }
            // `rsp` and `r12` as base need a SIB byte.
            None if mem.base.low() == 4 => self.put(&[mode | reg | 4, 0x24]),
            None => self.code.push(mode | reg | mem.base.low()),
        }
        match mode {
            0x00 => {}
            0x40 => self.code.push(mem.disp as u8),
            _ => self.put32(mem.disp),
        }
    }

    /// A VEX instruction of map `0f38` with three registers, the second of them in memory or not.
    fn vex(&mut self, pp: u8, width: Width, opcode: u8, reg: Gpr, rm: Rm, vvvv: Gpr) {
        self.vex_prefix(2, pp, width, reg, rm, vvvv.0);
        self.code.push(opcode);
        self.modrm(reg.0, rm);
    }

    fn vex_prefix(&mut self, map: u8, pp: u8, width: Width, reg: Gpr, rm: Rm, vvvv: u8) {
        let (base, index) = match rm {
            Rm::Reg(reg) => (reg, 0),
            Rm::Mem(mem) => (mem.base, mem.index.map_or(0, |(index, _)| index.high())),
        };
        let inverted = (1 - reg.high()) << 7 | (1 - index) << 6 | (1 - base.high()) << 5;
        let wide = u8::from(width == Width::W64) << 7;
        self.put(&[0xc4, inverted | map, wide | (!vvvv & 15) << 3 | pp]);
    }

    /// `dst op= src`.
    #[inline]
    pub fn arith(&mut self, op: Arith, width: Width, dst: Gpr, src: Gpr) {
        self.op(Form::new(width, (op as u8) << 3 | 1), src.0, dst);
    }

    /// `dst op= [mem]`.
    pub fn arith_mem(&mut self, op: Arith, width: Width, dst: Gpr, mem: Mem) {
        self.op(Form::new(width, (op as u8) << 3 | 3), dst.0, mem);
    }

    /// `dst op= imm`, sign-extended to the width.
    #[inline]
    pub fn arith_imm(&mut self, op: Arith, width: Width, dst: impl Into<Rm>, imm: i32) {
        let short = i8::try_from(imm).is_ok();
        self.op(Form::new(width, if short { 0x83 } else { 0x81 }), op as u8, dst);
        self.put_imm(imm, short);
    }

    /// `lock [mem] op= src`.
    pub fn lock_arith(&mut self, op: Arith, width: Width, mem: Mem, src: Gpr) {
        self.op(Form { prefix: 0xf0, ..Form::new(width, (op as u8) << 3 | 1) }, src.0, mem);
    }

    /// `lock xadd [mem], src`.
    pub fn lock_xadd(&mut self, width: Width, mem: Mem, src: Gpr) {
        self.op(Form { prefix: 0xf0, ..Form::x0f(width, 0xc1) }, src.0, mem);
    }

    /// `lock cmpxchg [mem], src`.
    pub fn lock_cmpxchg(&mut self, width: Width, mem: Mem, src: Gpr) {
        self.op(Form { prefix: 0xf0, ..Form::x0f(width, 0xb1) }, src.0, mem);
    }

    /// `xchg [mem], src`, which locks by itself.
    pub fn xchg(&mut self, width: Width, mem: Mem, src: Gpr) {
        self.op(Form::new(width, 0x87), src.0, mem);
    }

    /// `test a, b`.
    #[inline]
    pub fn test(&mut self, width: Width, a: Gpr, b: Gpr) {
        self.op(Form::new(width, 0x85), b.0, a);
    }

    /// `test a, imm`, sign-extended to the width.
    pub fn test_imm(&mut self, width: Width, a: Gpr, imm: i32) {
        match u8::try_from(imm) {
            // No register but the accumulator's low byte has its sign bit set by these.
            Ok(byte @ 0..=0x7f) => {
                self.op(Form { byte: true, ..Form::new(Width::W32, 0xf6) }, 0, a);
                self.code.push(byte);
            }
            _ => {
                self.op(Form::new(width, 0xf7), 0, a);
                self.put32(imm);
            }
        }
    }

    /// `dst = src`.
    #[inline]
    pub fn mov(&mut self, width: Width, dst: Gpr, src: Gpr) {
        self.op(Form::new(width, 0x89), src.0, dst);
    }

    /// `dst = imm`, in the shortest form that leaves exactly this in all 64 bits. Flags stay.
    #[inline]
    pub fn mov_imm(&mut self, dst: Gpr, imm: u64) {
        if let Ok(imm) = u32::try_from(imm) {
            if dst.high() != 0 {
                self.code.push(0x41);
            }
            self.code.push(0xb8 | dst.low());
            self.put(&imm.to_le_bytes());
        } else if let Ok(imm) = i32::try_from(imm as i64) {
            self.op(Form::new(Width::W64, 0xc7), 0, dst);
            self.put32(imm);
        } else {
            self.put(&[0x48 | dst.high(), 0xb8 | dst.low()]);
            self.put(&imm.to_le_bytes());
        }
    }

    /// `dst = 0`. Changes flags.
    #[inline]
    pub fn clear(&mut self, dst: Gpr) {
        self.arith(Arith::Xor, Width::W32, dst, dst);
    }

    /// `dst *= src`.
    pub fn imul(&mut self, width: Width, dst: Gpr, src: impl Into<Rm>) {
        self.op(Form::x0f(width, 0xaf), dst.0, src);
    }

    /// `dst = src * imm`, sign-extended to the width.
    pub fn imul_imm(&mut self, width: Width, dst: Gpr, src: Gpr, imm: i32) {
        let short = i8::try_from(imm).is_ok();
        self.op(Form::new(width, if short { 0x6b } else { 0x69 }), dst.0, src);
        self.put_imm(imm, short);
    }

    /// An operation on one register.
    pub fn unary(&mut self, op: Unary, width: Width, operand: Gpr) {
        self.op(Form::new(width, 0xf7), op as u8, operand);
    }

    /// Sign of `rax` into `rdx`: `cqo`, `cdq`.
    pub fn sign_into_rdx(&mut self, width: Width) {
        if width == Width::W64 {
            self.code.push(0x48);
        }
        self.code.push(0x99);
    }

    /// `dst = dst shift distance`.
    #[inline]
    pub fn shift_imm(&mut self, op: Shift, width: Width, dst: Gpr, distance: u8) {
        if distance == 1 {
            self.op(Form::new(width, 0xd1), op as u8, dst);
        } else {
            self.op(Form::new(width, 0xc1), op as u8, dst);
            self.code.push(distance);
        }
    }

    /// `dst = dst shift cl`.
    pub fn shift_cl(&mut self, op: Shift, width: Width, dst: Gpr) {
        self.op(Form::new(width, 0xd3), op as u8, dst);
    }

    /// `dst = src shift distance` (BMI2; no rotation in this form).
    pub fn shift_reg(&mut self, op: Shift, width: Width, dst: Gpr, src: Gpr, distance: Gpr) {
        let pp = match op {
            Shift::Shl => 1,
            Shift::Sar => 2,
            _ => 3,
        };
        self.vex(pp, width, 0xf7, dst, src.into(), distance);
    }

    /// `dst = src ror distance` (BMI2).
    pub fn rorx(&mut self, width: Width, dst: Gpr, src: Gpr, distance: u8) {
        self.vex_prefix(3, 3, width, dst, src.into(), 0);
        self.code.push(0xf0);
        self.modrm(dst.0, src.into());
        self.code.push(distance);
    }

    /// `dst = ror16(dst, 8)`: swaps the low two bytes.
    pub fn swap16(&mut self, dst: Gpr) {
        self.op(Form { prefix: 0x66, ..Form::new(Width::W32, 0xc1) }, Shift::Ror as u8, dst);
        self.code.push(8);
    }

    /// Reverses the bytes.
    pub fn bswap(&mut self, width: Width, dst: Gpr) {
        let rex = u8::from(width == Width::W64) << 3 | dst.high();
        if rex != 0 {
            self.code.push(0x40 | rex);
        }
        self.put(&[0x0f, 0xc8 | dst.low()]);
    }

    /// `dst = src`, zero- or sign-extended from `from` to the width.
    #[inline]
    pub fn extend(&mut self, from: Size, signed: bool, width: Width, dst: Gpr, src: impl Into<Rm>) {
        let src = src.into();
        let byte = from == Size::B && matches!(src, Rm::Reg(_));
        let form = match (from, signed) {
            (Size::B, false) => Form { byte, ..Form::x0f(Width::W32, 0xb6) },
            (Size::B, true) => Form { byte, ..Form::x0f(width, 0xbe) },
            (Size::H, false) => Form::x0f(Width::W32, 0xb7),
            (Size::H, true) => Form::x0f(width, 0xbf),
            (Size::W, true) => Form::new(width, 0x63),
            (Size::W, false) => Form::new(Width::W32, 0x8b),
            (Size::Dw, _) => Form::new(Width::W64, 0x8b),
        };
        // Only a byte that is the second operand matters here.
        let form = Form { byte: form.byte && matches!(src, Rm::Reg(Gpr(4..))), ..form };
        self.op(form, dst.0, src);
    }

    /// `dst = [mem]`, extended to 64 bits.
    #[inline]
    pub fn load(&mut self, size: Size, signed: bool, dst: Gpr, mem: Mem) {
        self.extend(size, signed, Width::W64, dst, mem);
    }

    /// `[mem] = src`.
    #[inline]
    pub fn store(&mut self, size: Size, mem: Mem, src: Gpr) {
        let width = width_of(size);
        let form = match size {
            Size::B => Form { byte: true, ..Form::new(width, 0x88) },
            Size::H => Form { prefix: 0x66, ..Form::new(width, 0x89) },
            Size::W | Size::Dw => Form::new(width, 0x89),
        };
        self.op(form, src.0, mem);
    }

    /// `[mem] = imm`, sign-extended to the size.
    pub fn store_imm(&mut self, size: Size, mem: Mem, imm: i32) {
        let width = width_of(size);
        match size {
            Size::B => {
                self.op(Form::new(width, 0xc6), 0, mem);
                self.code.push(imm as u8);
            }
            Size::H => {
                self.op(Form { prefix: 0x66, ..Form::new(width, 0xc7) }, 0, mem);
                self.put(&(imm as i16).to_le_bytes());
            }
            Size::W | Size::Dw => {
                self.op(Form::new(width, 0xc7), 0, mem);
                self.put32(imm);
            }
        }
    }

    /// `dst = bytes of [mem] reversed` (MOVBE); 16 bits leave the upper part as it was.
    pub fn movbe(&mut self, size: Size, dst: Gpr, mem: Mem) {
        let prefix = if size == Size::H { 0x66 } else { 0 };
        let form = Form { prefix, escape: Escape::X0f38, ..Form::new(width_of(size), 0xf0) };
        self.op(form, dst.0, mem);
    }

    /// `dst = address of mem`.
    #[inline]
    pub fn lea(&mut self, width: Width, dst: Gpr, mem: Mem) {
        self.op(Form::new(width, 0x8d), dst.0, mem);
    }

    /// `dst = address at a distance` that [`Assembler::patch`] sets; gives its place.
    pub fn lea_relative(&mut self, dst: Gpr) -> usize {
        self.put(&[0x48 | dst.high() << 2, 0x8d, dst.low() << 3 | 5]);
        self.put32(0);
        self.len() - 4
    }

    /// `if cc { dst = src }`.
    pub fn cmov(&mut self, cc: Cc, width: Width, dst: Gpr, src: Gpr) {
        self.op(Form::x0f(width, 0x40 | cc as u8), dst.0, src);
    }

    /// `push`.
    pub fn push(&mut self, reg: Gpr) {
        if reg.high() != 0 {
            self.code.push(0x41);
        }
        self.code.push(0x50 | reg.low());
    }

    /// `pop`.
    pub fn pop(&mut self, reg: Gpr) {
        if reg.high() != 0 {
            self.code.push(0x41);
        }
        self.code.push(0x58 | reg.low());
    }

    /// `leave`.
    pub fn leave(&mut self) {
        self.code.push(0xc9);
    }

    /// `ret`.
    pub fn ret(&mut self) {
        self.code.push(0xc3);
    }

    /// `call reg`.
    pub fn call_reg(&mut self, reg: Gpr) {
        self.op(Form::new(Width::W32, 0xff), 2, reg);
    }

    /// `call [mem]`.
    pub fn call_mem(&mut self, mem: Mem) {
        self.op(Form::new(Width::W32, 0xff), 2, mem);
    }

    /// `jmp reg`.
    pub fn jmp_reg(&mut self, reg: Gpr) {
        self.op(Form::new(Width::W32, 0xff), 4, reg);
    }

    /// `call`, `jmp` or `jcc` by a distance that [`Assembler::patch`] sets; gives its place.
    #[inline]
    pub fn branch(&mut self, branch: Branch) -> usize {
        match branch {
            Branch::Call => self.code.push(0xe8),
            Branch::Jmp => self.code.push(0xe9),
            Branch::Jcc(cc) => self.put(&[0x0f, 0x80 | cc as u8]),
        }
        self.put32(0);
        self.len() - 4
    }

    /// The same to a known place; the short form where it reaches.
    #[inline]
    pub fn branch_to(&mut self, branch: Branch, target: usize) {
        let distance = target as i64 - (self.len() as i64 + 2);
        let short = match branch {
            Branch::Call => None,
            Branch::Jmp => Some(0xeb),
            Branch::Jcc(cc) => Some(0x70 | cc as u8),
        };
        match (short, i8::try_from(distance)) {
            (Some(opcode), Ok(distance)) => self.put(&[opcode, distance as u8]),
            _ => {
                let at = self.branch(branch);
                self.patch(at, target);
            }
        }
    }

    /// A `jcc` with a short distance, for [`Assembler::patch_short`].
    pub fn short_jcc(&mut self, cc: Cc) -> usize {
        self.put(&[0x70 | cc as u8, 0]);
        self.len() - 1
    }

    /// A `jmp` with a short distance.
    pub fn short_jmp(&mut self) -> usize {
        self.put(&[0xeb, 0]);
        self.len() - 1
    }

    /// Lets the branch whose distance is at `at` go to `target`.
    #[inline]
    pub fn patch(&mut self, at: usize, target: usize) {
        let distance = target as i64 - (at as i64 + 4);
        if let Some(place) = self.code.get_mut(at..at + 4) {
            place.copy_from_slice(&(distance as i32).to_le_bytes());
        }
    }

    /// Lets the short branch at `at` come here.
    pub fn patch_short(&mut self, at: usize) {
        let distance = self.len() - (at + 1);
        debug_assert!(distance < 128, "a short branch over {distance} bytes");
        self.code[at] = distance as u8;
    }

    /// Fills up with instructions that do nothing until the length is a multiple of `to`.
    pub fn align(&mut self, to: usize) {
        let missing = self.len().next_multiple_of(to) - self.len();
        let mut missing = missing;
        while missing > 0 {
            let nop: &[u8] = match missing {
                1 => &[0x90],
                2 => &[0x66, 0x90],
                3 => &[0x0f, 0x1f, 0x00],
                4 => &[0x0f, 0x1f, 0x40, 0x00],
                5 => &[0x0f, 0x1f, 0x44, 0x00, 0x00],
                6 => &[0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00],
                7 => &[0x0f, 0x1f, 0x80, 0, 0, 0, 0],
                _ => &[0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0],
            };
            self.put(nop);
            missing -= nop.len();
        }
    }
}

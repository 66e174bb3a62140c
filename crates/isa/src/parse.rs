//! The grammar of one line of assembly.

use crate::asm::Target;
use crate::{AluOp, AtomicOp, Cond, Endian, Imm64, Op, Operand, Reg, Size, Width};

type Result<T> = std::result::Result<T, String>;
type Parsed<'a> = Result<(Op, Option<Target<'a>>)>;

/// What is left of a line.
pub(crate) struct Line<'a> {
    rest: &'a str,
}

impl<'a> Line<'a> {
    /// A line without its comment, and without a listing's slot number and opcode.
    pub(crate) fn new(line: &'a str) -> Line<'a> {
        let end = [";", "//"].iter().filter_map(|mark| line.find(mark)).min();
        let mut line = Line { rest: line[..end.unwrap_or(line.len())].trim() };
        if let Some((number, rest)) = line.rest.split_once(':')
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
        {
            line.rest = rest.trim_start();
        }
        if let [b'(', a, b, b')', ..] = line.rest.as_bytes()
            && a.is_ascii_hexdigit()
            && b.is_ascii_hexdigit()
        {
            line.rest = line.rest[4..].trim_start();
        }
        line
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// A label's definition, if the line starts with one.
    pub(crate) fn label(&mut self) -> Option<&'a str> {
        let name = self.peek_word();
        let rest = self.rest[name.len()..].strip_prefix(':')?;
        if name.is_empty() {
            return None;
        }
        self.rest = rest.trim_start();
        Some(name)
    }

    pub(crate) fn end(&self) -> Result<()> {
        if self.is_empty() { Ok(()) } else { Err(format!("unexpected `{}`", self.rest)) }
    }

    pub(crate) fn instruction(&mut self) -> Parsed<'a> {
        let start = self.rest;
        match self.peek_word() {
            "exit" => self.skip_word(Op::Exit),
            "goto" => self.jump(Op::Goto { off: 0 }),
            "gotol" => self.jump(Op::GotoLong { off: 0 }),
            "may_goto" => self.jump(Op::MayGoto { off: 0 }),
            "gotox" => self.jump_to_register(),
            "if" => self.jump_if(),
            "call" => self.call(),
            "lock" => self.locked(),
            "store_release" => self.store_release(),
            "" => self.store(),
            _ => match self.register() {
                Some((width, dst)) => self.assignment(width, dst),
                None => Err(format!("`{start}` is not an instruction")),
            },
        }
    }

    // The pieces.

    fn peek_word(&self) -> &'a str {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        let end = self.rest.find(|c| !is_word(c)).unwrap_or(self.rest.len());
        &self.rest[..end]
    }

    fn advance(&mut self, bytes: usize) {
        self.rest = self.rest[bytes..].trim_start();
    }

    fn word(&mut self) -> &'a str {
        let word = self.peek_word();
        self.advance(word.len());
        word
    }

    fn skip_word(&mut self, op: Op) -> Parsed<'a> {
        self.word();
        Ok((op, None))
    }

    fn eat(&mut self, text: &str) -> bool {
        let found = self.rest.starts_with(text);
        if found {
            self.advance(text.len());
        }
        found
    }

    fn expect(&mut self, text: &str) -> Result<()> {
        if self.eat(text) { Ok(()) } else { Err(self.expected(&format!("`{text}`"))) }
    }

    fn expected(&self, what: &str) -> String {
        match self.rest {
            "" => format!("expected {what} at the end of the line"),
            rest => format!("expected {what} before `{rest}`"),
        }
    }

    /// The longest of these symbols that comes next.
    fn symbol<T: Copy>(&mut self, all: &[T], symbol: fn(T) -> &'static str) -> Option<T> {
        let found = all
            .iter()
            .copied()
            .filter(|&one| self.rest.starts_with(symbol(one)))
            .max_by_key(|&one| symbol(one).len())?;
        self.advance(symbol(found).len());
        Some(found)
    }

    /// `r0` to `r10`, `w0` to `w10`.
    fn register(&mut self) -> Option<(Width, Reg)> {
        let word = self.peek_word();
        let (width, number) = match (word.strip_prefix('r'), word.strip_prefix('w')) {
            (Some(number), _) => (Width::W64, number),
            (_, Some(number)) => (Width::W32, number),
            _ => return None,
        };
        let canonical = |number: &u8| *number <= Reg::FP.0 && word[1..] == number.to_string();
        let number = number.parse().ok().filter(canonical)?;
        self.advance(word.len());
        Some((width, Reg(number)))
    }

    fn reg(&mut self, width: Width) -> Result<Reg> {
        let (start, name) = (self.rest, if width == Width::W32 { "w0-w10" } else { "r0-r10" });
        match self.register() {
            Some((found, reg)) if found == width => Ok(reg),
            _ => Err(Line { rest: start }.expected(&format!("one of {name}"))),
        }
    }

    /// A number with an optional sign; whether it was in hexadecimal.
    fn number(&mut self) -> Option<(i128, bool)> {
        let (negative, unsigned) = match self.rest.as_bytes().first() {
            Some(b'-') => (true, self.rest[1..].trim_start()),
            Some(b'+') => (false, self.rest[1..].trim_start()),
            _ => (false, self.rest),
        };
        let digits = Line { rest: unsigned }.peek_word();
        let (value, hex) = match digits.strip_prefix("0x") {
            Some(hex) => (u64::from_str_radix(hex, 16).ok()?, true),
            None => (digits.parse().ok()?, false),
        };
        self.rest = unsigned[digits.len()..].trim_start();
        Some((if negative { -i128::from(value) } else { value.into() }, hex))
    }

    fn integer<T: TryFrom<i128>>(&mut self, what: &str) -> Result<T> {
        let start = self.rest;
        let (value, _) = self.number().ok_or_else(|| self.expected(what))?;
        T::try_from(value).map_err(|_| format!("`{start}` is out of range for {what}"))
    }

    /// A 32-bit immediate. Hexadecimal numbers may use all 32 bits.
    fn imm(&mut self) -> Result<i32> {
        let (value, hex) = self.number().ok_or_else(|| self.expected("a number"))?;
        imm32(value, hex).ok_or_else(|| format!("{value} does not fit into 32 bits"))
    }

    fn operand(&mut self, width: Width) -> Result<Operand> {
        match self.register() {
            Some((found, reg)) if found == width => Ok(Operand::Reg(reg)),
            Some(_) => Err("both registers must have the same width".into()),
            None => self.imm().map(Operand::Imm),
        }
    }

    /// `pc+3`, `+3` or a label.
    fn target(&mut self) -> Result<Target<'a>> {
        let word = self.peek_word();
        let explicit = word == "pc" && self.rest[2..].starts_with(['+', '-']);
        if explicit {
            self.advance(2);
        }
        if explicit || self.rest.starts_with(['+', '-']) {
            return self.integer("a distance").map(Target::Distance);
        }
        if word.is_empty() || word.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.expected("a label or a distance"));
        }
        self.advance(word.len());
        Ok(Target::Label(word))
    }

    /// `(u32 *)`: sign and size.
    fn cast(&mut self) -> Result<(bool, Size)> {
        self.expect("(")?;
        let start = self.rest;
        let cast = match self.word() {
            "u8" => (false, Size::B),
            "u16" => (false, Size::H),
            "u32" => (false, Size::W),
            "u64" => (false, Size::Dw),
            "s8" => (true, Size::B),
            "s16" => (true, Size::H),
            "s32" => (true, Size::W),
            _ => return Err(Line { rest: start }.expected("a type like u32 or s8")),
        };
        self.expect("*")?;
        self.expect(")")?;
        Ok(cast)
    }

    /// `(u32 *)(r1 +4)`: sign, size, base, offset.
    fn place(&mut self) -> Result<(bool, Size, Reg, i16)> {
        let (signed, size) = self.cast()?;
        self.expect("(")?;
        let base = self.reg(Width::W64)?;
        let off = if self.rest.starts_with(')') { 0 } else { self.integer("an offset")? };
        self.expect(")")?;
        Ok((signed, size, base, off))
    }

    fn unsigned_place(&mut self) -> Result<(Size, Reg, i16)> {
        match self.place()? {
            (false, size, base, off) => Ok((size, base, off)),
            _ => Err("a signed type is for loads only".into()),
        }
    }

    // The instructions.

    fn jump(&mut self, op: Op) -> Parsed<'a> {
        self.word();
        Ok((op, Some(self.target()?)))
    }

    fn jump_to_register(&mut self) -> Parsed<'a> {
        self.word();
        match self.register() {
            Some((Width::W64, dst)) => Ok((Op::GotoRegister { dst }, None)),
            _ => Err(self.expected("a register")),
        }
    }

    fn jump_if(&mut self) -> Parsed<'a> {
        self.word();
        let (width, dst) = self.register().ok_or_else(|| self.expected("a register"))?;
        let cond = self.symbol(Cond::ALL, Cond::symbol);
        let cond = cond.ok_or_else(|| self.expected("a comparison"))?;
        let src = self.operand(width)?;
        self.expect("goto")?;
        Ok((Op::JumpIf { width, cond, dst, src, off: 0 }, Some(self.target()?)))
    }

    fn call(&mut self) -> Parsed<'a> {
        self.word();
        if self.eat("kernel-function#") {
            let id = self.integer("a BTF id")?;
            let mut btf = 0;
            if self.eat("[btf:") {
                btf = self.integer("an index")?;
                self.expect("]")?;
            }
            return Ok((Op::CallKfunc { id, btf }, None));
        }
        let word = self.peek_word();
        if self.rest[word.len()..].starts_with('#') {
            self.advance(word.len() + 1);
            return Ok((Op::CallHelper { id: self.integer("a helper's number")? }, None));
        }
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return Ok((Op::CallHelper { id: self.integer("a helper's number")? }, None));
        }
        Ok((Op::CallLocal { off: 0 }, Some(self.target()?)))
    }

    fn locked(&mut self) -> Parsed<'a> {
        self.word();
        self.expect("*")?;
        let (size, base, off) = self.unsigned_place()?;
        let op = match self.symbol(AluOp::ALL, AluOp::symbol) {
            Some(AluOp::Add) => AtomicOp::Add,
            Some(AluOp::Or) => AtomicOp::Or,
            Some(AluOp::And) => AtomicOp::And,
            Some(AluOp::Xor) => AtomicOp::Xor,
            _ => return Err("the atomic operators are += |= &= ^=".into()),
        };
        let src = self.reg(Width::W64)?;
        Ok((atomic(size, op, false, base, off, src)?, None))
    }

    fn store_release(&mut self) -> Parsed<'a> {
        self.word();
        self.expect("(")?;
        let (size, base, off) = self.unsigned_place()?;
        self.expect(",")?;
        let src = self.reg(Width::W64)?;
        self.expect(")")?;
        Ok((Op::StoreRelease { size, base, off, src }, None))
    }

    fn store(&mut self) -> Parsed<'a> {
        if !self.eat("*") {
            return Err(self.expected("an instruction"));
        }
        let (size, base, off) = self.unsigned_place()?;
        self.expect("=")?;
        let src = self.operand(Width::W64)?;
        Ok((Op::Store { size, base, off, src }, None))
    }

    /// What follows a register at the start of a line.
    fn assignment(&mut self, width: Width, dst: Reg) -> Parsed<'a> {
        let op = self.symbol(AluOp::ALL, AluOp::symbol);
        match op.ok_or_else(|| self.expected("an operator"))? {
            AluOp::Mov => self.value(width, dst),
            op => Ok((Op::Alu { width, op, dst, src: self.operand(width)? }, None)),
        }
    }

    /// The right side of `=`.
    fn value(&mut self, width: Width, dst: Reg) -> Parsed<'a> {
        if let Some((found, src)) = self.register() {
            if found != width {
                return Err("both registers must have the same width".into());
            }
            return Ok((Op::Alu { width, op: AluOp::Mov, dst, src: Operand::Reg(src) }, None));
        }
        let before = self.rest;
        if self.eat("-") {
            if let Some((_, src)) = self.register() {
                return same(dst, src, Op::Neg { width, dst });
            }
            self.rest = before;
        }
        if self.rest.starts_with('(') {
            return self.sign_extension(width, dst);
        }
        if let Some((value, hex)) = self.number() {
            return self.constant(width, dst, value, hex);
        }
        if width == Width::W32 {
            return Err(self.expected("a 32-bit operand"));
        }
        if self.eat("*") {
            return self.load(dst);
        }
        let start = self.rest;
        match self.word() {
            "load_acquire" => {
                self.expect("(")?;
                let (size, base, off) = self.unsigned_place()?;
                self.expect(")")?;
                Ok((Op::LoadAcquire { size, dst, base, off }, None))
            }
            "addr_space_cast" => self.addr_space_cast(dst),
            "map" => Ok((Op::LoadImm64 { dst, imm: self.map()? }, None)),
            "btf" => Ok((Op::LoadImm64 { dst, imm: self.btf()? }, None)),
            "subprog" => {
                self.expect("[")?;
                let target = self.target()?;
                self.expect("]")?;
                Ok((Op::LoadImm64 { dst, imm: Imm64::Func(0) }, Some(target)))
            }
            word => {
                if let Some((order, size)) = byte_swap(word) {
                    let src = self.reg(Width::W64)?;
                    return same(dst, src, Op::End { order, size, dst });
                }
                match word.strip_prefix("atomic") {
                    Some(name) => self.fetch(dst, name),
                    None => Err(Line { rest: start }.expected("a value")),
                }
            }
        }
    }

    fn sign_extension(&mut self, width: Width, dst: Reg) -> Parsed<'a> {
        self.expect("(")?;
        let from = match self.word() {
            "s8" => Size::B,
            "s16" => Size::H,
            "s32" if width == Width::W64 => Size::W,
            _ => return Err("a register is extended from s8, s16, or s32 (to 64 bits)".into()),
        };
        self.expect(")")?;
        Ok((Op::MovSx { width, from, dst, src: self.reg(width)? }, None))
    }

    /// The kernel's text tells a move from a `ld_imm64` by decimal and hexadecimal.
    fn constant(&mut self, width: Width, dst: Reg, value: i128, hex: bool) -> Parsed<'a> {
        let wide = self.eat("ll") || hex;
        if wide && width == Width::W64 {
            let bits = u64::try_from(value).ok();
            let bits = bits.or(i64::try_from(value).ok().map(|value| value as u64));
            let bits = bits.ok_or_else(|| format!("{value} does not fit into 64 bits"))?;
            return Ok((Op::LoadImm64 { dst, imm: Imm64::Value(bits) }, None));
        }
        let imm = imm32(value, hex).ok_or_else(|| match width {
            Width::W32 => format!("{value} does not fit into 32 bits"),
            Width::W64 => format!("{value} does not fit into 32 bits; write `{value} ll`"),
        })?;
        Ok((Op::Alu { width, op: AluOp::Mov, dst, src: Operand::Imm(imm) }, None))
    }

    fn load(&mut self, dst: Reg) -> Parsed<'a> {
        let before = self.rest;
        let (signed, size) = self.cast()?;
        if !self.eat("skb") {
            self.rest = before;
            let (signed, size, base, off) = self.place()?;
            return Ok((Op::Load { size, signed, dst, base, off }, None));
        }
        if signed || size == Size::Dw || dst != Reg::R0 {
            return Err("packet loads are from u8, u16 or u32 to r0".into());
        }
        self.expect("[")?;
        let index = self.register().map(|(_, reg)| reg);
        if index.is_some() {
            self.expect("+")?;
        }
        let imm = self.integer("an offset")?;
        self.expect("]")?;
        Ok((Op::LoadPacket { size, index, imm }, None))
    }

    fn addr_space_cast(&mut self, dst: Reg) -> Parsed<'a> {
        self.expect("(")?;
        let src = self.reg(Width::W64)?;
        self.expect(",")?;
        let to: u16 = self.integer("an address space")?;
        self.expect(",")?;
        let from: u16 = self.integer("an address space")?;
        self.expect(")")?;
        match (to, from) {
            (0, 1) | (1, 0) => Ok((Op::AddrSpaceCast { dst, src, to }, None)),
            _ => Err("casts are between the address spaces 0 and 1".into()),
        }
    }

    /// `[fd:3]`, `[idx:3]`, each also with `[0]+offset`.
    fn map(&mut self) -> Result<Imm64> {
        self.expect("[")?;
        let by_index = self.eat("idx:");
        if !by_index {
            self.expect("fd:")?;
        }
        let map = self.integer("a map")?;
        self.expect("]")?;
        let offset = if self.eat("[0]+") { Some(self.integer("an offset")?) } else { None };
        Ok(match (by_index, offset) {
            (false, None) => Imm64::MapFd(map),
            (false, Some(offset)) => Imm64::MapValue { fd: map, offset },
            (true, None) => Imm64::MapIdx(map),
            (true, Some(offset)) => Imm64::MapIdxValue { index: map, offset },
        })
    }

    /// `[id:3]` or `[id:3,fd:5]`.
    fn btf(&mut self) -> Result<Imm64> {
        self.expect("[id:")?;
        let id = self.integer("a BTF id")?;
        let btf_fd = if self.eat(",fd:") { self.integer("a descriptor")? } else { 0 };
        self.expect("]")?;
        Ok(Imm64::BtfId { id, btf_fd })
    }

    /// What follows `r1 = atomic`.
    fn fetch(&mut self, dst: Reg, name: &str) -> Parsed<'a> {
        let (size, name) = match name.strip_prefix("64_") {
            Some(name) => (Size::Dw, name),
            None => (Size::W, name.strip_prefix('_').unwrap_or_default()),
        };
        let op = AtomicOp::ALL.iter().find(|op| op.name() == name);
        let op = *op.ok_or("there is no such atomic operation")?;
        self.expect("(")?;
        let (found, base, off) = self.unsigned_place()?;
        if found != size {
            return Err("`atomic_` is for u32, `atomic64_` for u64".into());
        }
        self.expect(",")?;
        let mut result = dst;
        if op == AtomicOp::Cmpxchg {
            self.expect("r0")?;
            self.expect(",")?;
            if dst != Reg::R0 {
                return Err("cmpxchg gives its result in r0".into());
            }
        }
        let src = self.reg(Width::W64)?;
        if op == AtomicOp::Cmpxchg {
            result = src;
        }
        self.expect(")")?;
        same(result, src, atomic(size, op, true, base, off, src)?)
    }
}

/// A number as an immediate: signed, in hexadecimal also unsigned.
fn imm32(value: i128, hex: bool) -> Option<i32> {
    let bits = if hex { u32::try_from(value).ok() } else { None };
    bits.map(|bits| bits as i32).or(i32::try_from(value).ok())
}

/// An atomic operation, if there is one of this size.
fn atomic(size: Size, op: AtomicOp, fetch: bool, base: Reg, off: i16, src: Reg) -> Result<Op> {
    match size {
        Size::W | Size::Dw => Ok(Op::Atomic { size, op, fetch, base, off, src }),
        Size::B | Size::H => Err("atomic operations are on u32 and u64".into()),
    }
}

/// Instructions that have one register field for both their operand and their result.
fn same<'a>(dst: Reg, src: Reg, op: Op) -> Parsed<'a> {
    if dst == src {
        Ok((op, None))
    } else {
        Err("this instruction has one register as operand and result".into())
    }
}

/// `bswap16`, `be32` and the like.
fn byte_swap(word: &str) -> Option<(Endian, Size)> {
    [Endian::Le, Endian::Be, Endian::Swap].into_iter().find_map(|order| {
        let size = match word.strip_prefix(order.name())? {
            "16" => Size::H,
            "32" => Size::W,
            "64" => Size::Dw,
            _ => return None,
        };
        Some((order, size))
    })
}

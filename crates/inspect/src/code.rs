//! A program's instructions after verification: `prog dump xlated`.
//!
//! What the verifier leaves behind is not always an instruction that could be loaded: calls carry
//! offsets from `__bpf_call_base`, fields that nothing reads hold what was there before, and some
//! opcodes are the kernel's own. [`bombus_isa`] prints what is valid once those fields are cleared;
//! the rest is here (`kernel/bpf/disasm.c`).

use bombus_btf::Btf;
use bombus_isa::opcode::{X, alu, call, class, jmp, mode, pseudo, size};
use bombus_isa::{Imm64, Insn, Reg, Resolve};
use bombus_kernel::inspect::{CodeLine, FunctionType, ProgramCode};
use serde_json::{Map, Value, json};

use crate::source::{Line, prototype};
use crate::{Symbols, hex, hex_json};

/// What is shown beside the instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Shown {
    /// Their bytes.
    pub opcodes: bool,
    /// File, line and column of their source.
    pub linum: bool,
}

/// A program's instructions with what is known of them.
#[derive(Clone, Copy, Debug)]
pub struct Listing<'a> {
    /// The code.
    pub code: &'a ProgramCode,
    /// The program's types.
    pub btf: Option<&'a Btf>,
    /// The kernel's symbols.
    pub symbols: &'a Symbols,
}

/// One instruction.
pub(crate) struct Row<'a> {
    pub(crate) slot: usize,
    pub(crate) insn: Insn,
    /// The second slot of a `ld_imm64`.
    pub(crate) second: Option<Insn>,
    /// The function that starts here.
    pub(crate) prototype: Option<String>,
    /// The line of the source that starts here.
    pub(crate) line: Option<Line<'a>>,
    pub(crate) text: String,
}

impl<'a> Listing<'a> {
    pub(crate) fn insns(&self) -> Vec<Insn> {
        let slots = self.code.xlated.chunks_exact(8);
        slots.filter_map(|slot| Some(Insn::from_bytes(slot.try_into().ok()?))).collect()
    }

    /// The instructions with the functions and lines that start at them.
    fn rows(&self) -> Vec<Row<'a>> {
        let insns = self.insns();
        let mut functions = self.code.functions.iter();
        let mut function = functions.next();
        let mut lines_shown = 0;
        let mut rows = Vec::with_capacity(insns.len());
        let mut slot = 0;
        while let Some(&insn) = insns.get(slot) {
            let mut row = self.row(&insns, slot);
            if let (Some(btf), Some(FunctionType { insn, type_id })) = (self.btf, function)
                && *insn as usize == slot
            {
                row.prototype = Some(prototype(btf, *type_id)).filter(|text| !text.is_empty());
                function = functions.next();
            }
            if let Some(line) = last_line(&self.code.lines, slot, lines_shown) {
                lines_shown += 1;
                row.line = self.btf.and_then(|btf| Line::new(btf, line));
            }
            rows.push(row);
            slot += if is_wide(insn) { 2 } else { 1 };
        }
        rows
    }

    pub(crate) fn row(&self, insns: &[Insn], slot: usize) -> Row<'a> {
        let insn = insns[slot];
        let second = insns.get(slot + 1).copied().filter(|_| is_wide(insn));
        let text = self.instruction(insn, second);
        Row { slot, insn, second, prototype: None, line: None, text }
    }

    /// The function that starts in this slot.
    pub(crate) fn function_at(&self, slot: usize) -> Option<String> {
        let function = self.code.functions.iter().find(|each| each.insn as usize == slot)?;
        Some(prototype(self.btf?, function.type_id)).filter(|text| !text.is_empty())
    }

    /// Which of the source's lines an instruction belongs to.
    pub(crate) fn line_of(&self, slot: usize) -> Option<&'a CodeLine> {
        last_line(&self.code.lines, slot, 0)
    }

    /// The text form.
    pub fn text(&self, shown: Shown) -> String {
        let mut text = String::new();
        for row in self.rows() {
            if let Some(prototype) = &row.prototype {
                text += &format!("{prototype}:\n");
            }
            if let Some(line) = &row.line {
                text += &line.to_text(shown.linum);
            }
            text += &format!("{:4}: {}\n", row.slot, row.text);
            if shown.opcodes {
                text += &format!("       {}\n", row.bytes());
            }
        }
        text
    }

    /// The JSON form.
    pub fn json(&self, shown: Shown) -> Value {
        let object = |row: Row<'_>| {
            let mut object = Map::new();
            if let Some(prototype) = &row.prototype {
                object.insert("proto".into(), prototype.as_str().into());
            }
            if let Some(line) = &row.line {
                line.add_to(&mut object, shown.linum);
            }
            if shown.opcodes {
                object.insert("disasm".into(), row.text.as_str().into());
                object.insert("opcodes".into(), row.opcodes());
            } else {
                object.insert("disasm".into(), row.text.into());
            }
            Value::Object(object)
        };
        self.rows().into_iter().map(object).collect()
    }

    /// The kernel's text of an instruction, with its opcode.
    fn instruction(&self, insn: Insn, second: Option<Insn>) -> String {
        let code = insn.code;
        if let Some(text) = special(insn) {
            return text;
        }
        if is_call(insn) {
            return match insn.src.0 {
                call::LOCAL => format!("({code:02x}) call pc{}", self.callee(insn)),
                _ => format!("({code:02x}) call {}#{}", self.helper(insn), insn.imm),
            };
        }
        // Only numbers and offsets into values go on in the second slot; elsewhere compilation
        // leaves addresses there.
        let goes_on = matches!(insn.src.0, 0 | pseudo::MAP_VALUE | pseudo::MAP_IDX_VALUE);
        let high = second
            .map(|second| Insn { imm: if goes_on { second.imm } else { 0 }, ..Insn::default() });
        match cleared(insn).decode(high) {
            Ok(op) => format!("({code:02x}) {}", op.display(&Loaded)),
            Err(_) => format!("BUG_{code:02x}"),
        }
    }

    /// What a call of a function of the program's own goes to. The verifier leaves the distance in
    /// the offset, and the function's place among all in the immediate.
    fn callee(&self, insn: Insn) -> String {
        let Some(&first) = self.code.symbols.first() else { return format!("{:+}", insn.off) };
        let address = self.code.symbols.get(insn.imm as usize).copied();
        let address = address.unwrap_or_else(|| self.symbols.call_base().wrapping_add(first));
        match self.symbols.at(address) {
            Some(symbol) => format!("{:+}#{}", insn.off, symbol.name),
            None => format!("{:+}#{address:#x}", insn.off),
        }
    }

    fn helper(&self, insn: Insn) -> String {
        let address = self.symbols.call_base().wrapping_add_signed(insn.imm.into());
        match self.symbols.at(address) {
            Some(symbol) => symbol.name.clone(),
            None => format!("{address:#x}"),
        }
    }
}

impl Row<'_> {
    /// All bytes of the instruction.
    pub(crate) fn bytes(&self) -> String {
        let slots = [Some(self.insn), self.second];
        let slots: Vec<String> =
            slots.into_iter().flatten().map(|slot| hex(&slot.to_bytes(), " ")).collect();
        slots.join(" ")
    }

    fn opcodes(&self) -> Value {
        let bytes = self.insn.to_bytes();
        let mut imm = bytes[4..].to_vec();
        if let Some(second) = self.second {
            imm.extend(second.to_bytes());
        }
        json!({
            "code": format!("{:#04x}", bytes[0]),
            "src_reg": format!("{:#x}", self.insn.src.0),
            "dst_reg": format!("{:#x}", self.insn.dst.0),
            "off": hex_json(&bytes[2..4]),
            "imm": hex_json(&imm),
        })
    }
}

/// The last line that starts at or before a slot, not counting the first `skipped` ones.
fn last_line(lines: &[CodeLine], slot: usize, skipped: usize) -> Option<&CodeLine> {
    lines.get(skipped..)?.iter().take_while(|line| line.insn as usize <= slot).last()
}

pub(crate) fn is_wide(insn: Insn) -> bool {
    insn.code == class::LD | mode::IMM | size::DW
}

pub(crate) fn is_call(insn: Insn) -> bool {
    matches!(insn.code & 7, class::JMP | class::JMP32) && insn.code & 0xf0 == jmp::CALL
}

/// Opcodes that only the kernel has, and those that it prints by their numbers.
fn special(insn: Insn) -> Option<String> {
    /// `BPF_ADDR_PERCPU`, `kernel/bpf/disasm.c`.
    const ADDR_PERCPU: i16 = -1;
    /// `BPF_NOSPEC`, `include/linux/filter.h`.
    const NOSPEC: u8 = 0xc0;
    let Insn { code, dst, src, off, .. } = insn;
    match code & 7 {
        class::ALU64 if code == class::ALU64 | alu::MOV | X && off == ADDR_PERCPU => {
            Some(format!("({code:02x}) {dst} = &(void __percpu *)({src})"))
        }
        class::ST if code & 0xe0 == NOSPEC => Some(format!("({code:02x}) nospec")),
        class::ST if code & 0xe0 != mode::MEM => Some(format!("BUG_st_{code:02x}")),
        class::LDX if !matches!(code & 0xe0, mode::MEM | mode::MEMSX) => {
            Some(format!("BUG_ldx_{code:02x}"))
        }
        class::JMP if code == class::JMP | jmp::JA | X => Some(format!("({code:02x}) gotox {dst}")),
        _ => None,
    }
}

/// An instruction without what its text does not show.
fn cleared(insn: Insn) -> Insn {
    let mut insn = insn;
    let by_register = insn.code & X != 0;
    let operation = insn.code & 0xf0;
    match insn.code & 7 {
        class::ALU | class::ALU64 => {
            match operation {
                alu::NEG => (insn.src, insn.imm) = (Reg(0), 0),
                alu::END => insn.src = Reg(0),
                // The immediate of a cast between address spaces says which.
                alu::MOV if insn.off == bombus_isa::opcode::ADDR_SPACE_CAST => {}
                _ if by_register => insn.imm = 0,
                _ => insn.src = Reg(0),
            }
            let off = match (operation, insn.off) {
                (alu::DIV | alu::MOD, 1) => 1,
                (alu::MOV, off @ (8 | 16 | 32 | bombus_isa::opcode::ADDR_SPACE_CAST))
                    if by_register =>
                {
                    off
                }
                _ => 0,
            };
            insn.off = off;
        }
        class::JMP | class::JMP32 if operation == jmp::EXIT => {
            insn = Insn { code: insn.code, ..Insn::default() };
        }
        class::JMP | class::JMP32 => match operation {
            jmp::JA if insn.code & 7 == class::JMP32 => {
                (insn.dst, insn.src, insn.off) = (Reg(0), Reg(0), 0);
            }
            jmp::JA | jmp::JCOND => (insn.dst, insn.imm) = (Reg(0), 0),
            _ if by_register => insn.imm = 0,
            _ => insn.src = Reg(0),
        },
        class::LDX => insn.imm = 0,
        class::ST => insn.src = Reg(0),
        class::STX if insn.code & 0xe0 == mode::MEM => insn.imm = 0,
        class::LD if is_wide(insn) => insn.off = 0,
        _ => {}
    }
    insn
}

/// Maps go by their ids in code that is loaded.
struct Loaded;

impl Resolve for Loaded {
    fn imm64(&self, imm: Imm64) -> Option<String> {
        Some(match imm {
            Imm64::MapFd(id) => format!("map[id:{id}]"),
            Imm64::MapValue { fd, offset } => format!("map[id:{fd}][0]+{}", offset as i32),
            Imm64::MapIdxValue { index, offset } => format!("map[idx:{index}]+{}", offset as i32),
            Imm64::Func(off) => format!("subprog[{off:+}]"),
            Imm64::Value(value) => format!("{value:#x}"),
            Imm64::BtfId { id, btf_fd } => {
                format!("{:#x}", u64::from(id as u32) | u64::from(btf_fd as u32) << 32)
            }
            Imm64::MapIdx(index) => format!("{:#x}", index as u32),
        })
    }
}

/// Where a jump goes, as slots from the one after it; `None` for calls and exits.
pub(crate) fn jump(insn: Insn) -> Option<i64> {
    if !matches!(insn.code & 7, class::JMP | class::JMP32)
        || matches!(insn.code & 0xf0, jmp::CALL | jmp::EXIT)
    {
        return None;
    }
    Some(insn.off.into())
}

/// Whether a jump is always taken.
pub(crate) fn is_goto(insn: Insn) -> bool {
    insn.code & 0xf0 == jmp::JA
}

/// Whether a call is one of a function of the program's own.
pub(crate) fn is_local_call(insn: Insn) -> bool {
    insn.code == class::JMP | jmp::CALL && insn.src.0 == call::LOCAL
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(insns: &[Insn]) -> String {
        let code = ProgramCode {
            xlated: insns.iter().flat_map(|insn| insn.to_bytes()).collect(),
            ..ProgramCode::default()
        };
        let symbols = Symbols::default();
        Listing { code: &code, btf: None, symbols: &symbols }.text(Shown::default())
    }

    fn slot(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> Insn {
        Insn { code, dst: Reg(dst), src: Reg(src), off, imm }
    }

    #[test]
    fn what_the_verifier_leaves_behind() {
        let code = [
            slot(0xbf, 1, 2, -1, 0),
            slot(0x7a, 0, 0, 0, 0),
            slot(0xc2, 0, 0, 0, 0),
            slot(0x85, 0, 1, 7, 1),
            slot(0x85, 0, 0, 0, 16),
            slot(0x18, 1, 1, 0, 9),
            slot(0, 0, 0, 0, 0),
            slot(0x18, 2, 2, 0, 9),
            slot(0, 0, 0, 0, 24),
            slot(0x61, 1, 2, 4, 77),
            slot(0xff, 0, 0, 0, 0),
            slot(0x95, 1, 0, 0, 0),
        ];
        assert_eq!(
            text(&code),
            "   0: (bf) r1 = &(void __percpu *)(r2)\n\
             \x20  1: (7a) *(u64 *)(r0 +0) = 0\n\
             \x20  2: (c2) nospec\n\
             \x20  3: (85) call pc+7\n\
             \x20  4: (85) call 0x10#16\n\
             \x20  5: (18) r1 = map[id:9]\n\
             \x20  7: (18) r2 = map[id:9][0]+24\n\
             \x20  9: (61) r1 = *(u32 *)(r2 +4)\n\
             \x20 10: BUG_ff\n\
             \x20 11: (95) exit\n"
        );
    }

    #[test]
    fn any_code_has_a_text() {
        let mut state = 1u64;
        for _ in 0..2000 {
            let mut next = || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state >> 32
            };
            let bytes = (next() << 32 | next()).to_le_bytes();
            text(&[Insn::from_bytes(bytes)]);
        }
    }
}

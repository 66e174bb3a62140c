//! bpf_conformance's assembler language: `add32 %r1, 7`, `ldxw %r2, [%r1+4]`, `jeq %r1, 0, label`.

use std::collections::HashMap;

use bombus_isa::opcode::{K, X, alu, atomic as operation, class, jmp, mode};
use bombus_isa::{Insn, Reg, Size};

use super::case::number;

/// Arithmetic: name, operation bits, `off`.
const ALU: &[(&str, u8, i16)] = &[
    ("add", alu::ADD, 0),
    ("sub", alu::SUB, 0),
    ("mul", alu::MUL, 0),
    ("div", alu::DIV, 0),
    ("sdiv", alu::DIV, 1),
    ("or", alu::OR, 0),
    ("and", alu::AND, 0),
    ("lsh", alu::LSH, 0),
    ("rsh", alu::RSH, 0),
    ("neg", alu::NEG, 0),
    ("mod", alu::MOD, 0),
    ("smod", alu::MOD, 1),
    ("xor", alu::XOR, 0),
    ("mov", alu::MOV, 0),
    ("movsx8", alu::MOV, 8),
    ("movsx16", alu::MOV, 16),
    ("movsx32", alu::MOV, 32),
    ("arsh", alu::ARSH, 0),
];

/// Conditional jumps.
const JUMPS: &[(&str, u8)] = &[
    ("jeq", jmp::JEQ),
    ("jgt", jmp::JGT),
    ("jge", jmp::JGE),
    ("jset", jmp::JSET),
    ("jne", jmp::JNE),
    ("jsgt", jmp::JSGT),
    ("jsge", jmp::JSGE),
    ("jlt", jmp::JLT),
    ("jle", jmp::JLE),
    ("jslt", jmp::JSLT),
    ("jsle", jmp::JSLE),
];

/// Byte orders: the name without its width, class, source bit.
const ORDERS: &[(&str, u8, u8)] = &[
    ("le", class::ALU, K),
    ("be", class::ALU, X),
    ("swap", class::ALU64, K),
    ("bswap", class::ALU64, K),
];

/// Atomic operations: `imm` without the fetch bit.
const ATOMICS: &[(&str, i32)] = &[
    ("add", operation::ADD),
    ("or", operation::OR),
    ("and", operation::AND),
    ("xor", operation::XOR),
    ("xchg", operation::XCHG),
    ("cmpxchg", operation::CMPXCHG),
];

/// Widths in memory, as they end the names of loads and stores.
const SIZES: &[(&str, Size)] = &[("b", Size::B), ("h", Size::H), ("w", Size::W), ("dw", Size::Dw)];

/// Assembles a program.
pub(super) fn assemble(text: &str) -> Result<Vec<Insn>, String> {
    let mut assembler = Assembler::default();
    for line in text.lines() {
        assembler.line(line).map_err(|why| format!("`{line}`: {why}"))?;
    }
    for (at, label) in assembler.jumps {
        let target = *assembler.labels.get(&label).ok_or_else(|| format!("no label {label}"))?;
        let distance = target as i64 - at as i64 - 1;
        let insn = &mut assembler.code[at];
        if insn.code == class::JMP | jmp::CALL || insn.code == class::JMP32 | jmp::JA {
            insn.imm = distance as i32;
        } else {
            insn.off = distance as i16;
        }
    }
    Ok(assembler.code)
}

#[derive(Default)]
struct Assembler {
    code: Vec<Insn>,
    labels: HashMap<String, usize>,
    /// Slots that jump to labels.
    jumps: Vec<(usize, String)>,
}

impl Assembler {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let mut words = line.split_whitespace().map(|word| word.trim_end_matches(','));
        let Some(name) = words.next() else { return Ok(()) };
        let operands: Vec<&str> = words.collect();
        if let Some(label) = name.strip_suffix(':') {
            self.labels.insert(label.to_owned(), self.code.len());
            return Ok(());
        }
        if name == "exit" {
            // The first one is a label, too.
            self.labels.entry(name.to_owned()).or_insert(self.code.len());
        }
        let insn = self.insn(name, &operands)?;
        self.code.push(insn);
        if name == "lddw" {
            let high = number(operands[1])? >> 32;
            self.code.push(Insn { imm: high as i32, ..Insn::default() });
        }
        Ok(())
    }

    /// The instruction; of `lddw` the first slot.
    fn insn(&mut self, name: &str, operands: &[&str]) -> Result<Insn, String> {
        match (name, operands) {
            ("exit", []) => return Ok(Insn::exit()),
            ("ja", [to]) => return Ok(Insn { off: self.target(to)? as i16, ..Insn::ja(0) }),
            ("ja32", [to]) => return Ok(Insn { imm: self.target(to)?, ..Insn::ja_long(0) }),
            ("call", [id] | ["helper", id]) => return Ok(Insn::call_helper(imm(id)?)),
            ("call", ["local", to]) => {
                return Ok(Insn { imm: self.target(to)?, ..Insn::call_local(0) });
            }
            ("lddw", [dst, value]) => {
                return Ok(Insn::ld_imm64(reg(dst)?, 0, number(value)?)[0]);
            }
            ("lock", ["fetch", op, to, src]) => return atomic(op, to, src, operation::FETCH),
            ("lock", [op, to, src]) => return atomic(op, to, src, 0),
            _ => {}
        }
        if let [dst] = operands
            && let Some((class, source, bits)) = byte_order(name)
        {
            return Ok(Insn {
                code: class | alu::END | source,
                dst: reg(dst)?,
                imm: bits,
                ..Insn::default()
            });
        }
        if let [first, second] = operands
            && let Some(insn) = access(name, first, second)?
        {
            return Ok(insn);
        }
        let (stem, narrow) = match name.strip_suffix("32") {
            // `movsx3264` and `movsx832` end in the width of the result.
            Some(stem) if stem != "movsx" => (stem, true),
            _ => (name.strip_suffix("64").unwrap_or(name), false),
        };
        if let Some(&(_, op, off)) = ALU.iter().find(|(name, ..)| *name == stem) {
            let class = if narrow { class::ALU } else { class::ALU64 };
            let insn = match operands {
                [dst] => Insn { dst: reg(dst)?, ..Insn::default() },
                [dst, src] => operand(reg(dst)?, src)?,
                _ => return Err("wrong number of operands".to_owned()),
            };
            return Ok(Insn { code: insn.code | class | op, off, ..insn });
        }
        if let (Some(&(_, op)), [dst, src, to]) =
            (JUMPS.iter().find(|(name, _)| *name == stem), operands)
        {
            let class = if narrow { class::JMP32 } else { class::JMP };
            let insn = operand(reg(dst)?, src)?;
            let off = self.target(to)? as i16;
            return Ok(Insn { code: insn.code | class | op, off, ..insn });
        }
        Err("no such instruction".to_owned())
    }

    /// A distance; of a label 0, until all labels are known.
    fn target(&mut self, text: &str) -> Result<i32, String> {
        if text.starts_with(['+', '-']) {
            return Ok(number(text)? as i32);
        }
        self.jumps.push((self.code.len(), text.to_owned()));
        Ok(0)
    }
}

fn byte_order(name: &str) -> Option<(u8, u8, i32)> {
    ORDERS.iter().find_map(|&(order, class, source)| {
        let bits = name.strip_prefix(order)?.parse().ok()?;
        Some((class, source, bits))
    })
}

fn atomic(op: &str, to: &str, src: &str, fetch: i32) -> Result<Insn, String> {
    let (op, size) = op.strip_suffix("32").map_or((op, Size::Dw), |op| (op, Size::W));
    let found = ATOMICS.iter().find(|(name, _)| *name == op);
    let (_, imm) = found.ok_or("no such atomic operation")?;
    let (dst, off) = place(to)?;
    Ok(Insn::atomic(size, imm | fetch, dst, off, reg(src)?))
}

/// A load or a store, if it is one.
fn access(name: &str, first: &str, second: &str) -> Result<Option<Insn>, String> {
    let size = |name: &str| SIZES.iter().find(|(end, _)| *end == name).map(|(_, size)| *size);
    if let Some(size) = name.strip_prefix("ldxs").and_then(size) {
        let (src, off) = place(second)?;
        let insn = Insn::load(size, reg(first)?, src, off);
        return Ok(Some(Insn { code: class::LDX | mode::MEMSX | size.bits(), ..insn }));
    }
    if let Some(size) = name.strip_prefix("ldx").and_then(size) {
        let (src, off) = place(second)?;
        return Ok(Some(Insn::load(size, reg(first)?, src, off)));
    }
    if let Some(size) = name.strip_prefix("stx").and_then(size) {
        let (dst, off) = place(first)?;
        return Ok(Some(Insn::store(size, dst, off, reg(second)?)));
    }
    if let Some(size) = name.strip_prefix("st").and_then(size) {
        let (dst, off) = place(first)?;
        return Ok(Some(Insn::store_imm(size, dst, off, imm(second)?)));
    }
    Ok(None)
}

/// `dst`, and the second operand with its source bit.
fn operand(dst: Reg, src: &str) -> Result<Insn, String> {
    Ok(if src.starts_with('%') {
        Insn { code: X, dst, src: reg(src)?, ..Insn::default() }
    } else {
        Insn { code: K, dst, imm: imm(src)?, ..Insn::default() }
    })
}

fn reg(text: &str) -> Result<Reg, String> {
    let number = text.strip_prefix("%r").and_then(|digits| digits.parse().ok());
    number.filter(|number| *number < 16).map(Reg).ok_or_else(|| format!("{text} is no register"))
}

/// `[%r1+8]`.
fn place(text: &str) -> Result<(Reg, i16), String> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let inner = inner.ok_or_else(|| format!("{text} is no place in memory"))?;
    let (base, off) = inner.split_at(inner.find(['+', '-']).unwrap_or(inner.len()));
    Ok((reg(base)?, if off.is_empty() { 0 } else { number(off)? as i16 }))
}

fn imm(text: &str) -> Result<i32, String> {
    Ok(number(text)? as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        let text = "mov32 %r1, -1\nsdiv %r2, %r3\nmovsx3264 %r1, %r2\nmovsx832 %r1, %r2\nneg32 %r4\n\
                    be16 %r5\nswap64 %r5\nldxsh %r0, [%r1+4]\nstxdw [%r10-8], %r2\nstb [%r1], 7\n\
                    lock fetch add32 [%r10-8], %r1\njsle32 %r1, 5, exit\nja32 +1\nlddw %r0, 0x100000002\n\
                    call local there\nexit\nthere:\nexit";
        let ours = "w1 = -1\nr2 s/= r3\nr1 = (s32)r2\nw1 = (s8)w2\nw4 = -w4\nr5 = be16 r5\n\
                    r5 = bswap64 r5\nr0 = *(s16 *)(r1 +4)\n*(u64 *)(r10 -8) = r2\n*(u8 *)(r1 +0) = 7\n\
                    r1 = atomic_fetch_add((u32 *)(r10 -8), r1)\nif w1 s<= 5 goto +4\ngotol +1\n\
                    r0 = 0x100000002 ll\ncall pc+1\nexit\nexit";
        assert_eq!(assemble(text).unwrap(), bombus_isa::asm(ours).unwrap());
    }
}

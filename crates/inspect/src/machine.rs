//! A program's machine code: `prog dump jited`, for x86-64, as LLVM's disassembler spells it.

use bombus_btf::Btf;
use bombus_kernel::inspect::{CodeLine, ProgramCode};
use iced_x86::{Decoder, DecoderOptions, Formatter, GasFormatter, Instruction};
use serde_json::{Map, Value};

use crate::source::{Line, prototype};
use crate::{Shown, Symbols, hex};

/// One instruction.
struct Row<'a> {
    /// Bytes from the start of its function.
    pc: usize,
    line: Option<Line<'a>>,
    text: String,
    bytes: &'a [u8],
}

/// One function.
struct Function<'a> {
    prototype: String,
    name: String,
    rows: Vec<Row<'a>>,
}

/// The text form of all functions.
pub fn text(code: &ProgramCode, btf: Option<&Btf>, symbols: &Symbols, shown: Shown) -> String {
    let mut text = String::new();
    for function in functions(code, btf, symbols) {
        if !function.prototype.is_empty() {
            text += &format!("{}:\n", function.prototype);
        }
        text += &format!("{}:\n", function.name);
        for row in &function.rows {
            if let Some(line) = &row.line {
                text += &line.to_text(shown.linum);
            }
            text += &format!("{:4x}:\t{}", row.pc, row.text);
            if shown.opcodes {
                text += &format!("\n\t{} ", hex(row.bytes, " "));
            }
            text += "\n";
        }
        text += "\n";
    }
    text
}

/// The JSON form.
pub fn json(code: &ProgramCode, btf: Option<&Btf>, symbols: &Symbols, shown: Shown) -> Value {
    let row = |row: &Row<'_>| {
        let mut object = Map::new();
        if let Some(line) = &row.line {
            line.add_to(&mut object, shown.linum);
        }
        object.insert("pc".into(), format!("{:#x}", row.pc).into());
        let (operation, operands) = row.text.split_once('\t').unwrap_or((&row.text, ""));
        object.insert("operation".into(), operation.into());
        let operands: Vec<&str> = match operands {
            "" => Vec::new(),
            operands => operands.split(", ").collect(),
        };
        object.insert("operands".into(), operands.into());
        if shown.opcodes {
            object.insert("opcodes".into(), crate::hex_json(row.bytes));
        }
        Value::Object(object)
    };
    let function = |function: Function<'_>| {
        let mut object = Map::new();
        if !function.prototype.is_empty() {
            object.insert("proto".into(), function.prototype.into());
        }
        object.insert("name".into(), function.name.into());
        object.insert("insns".into(), function.rows.iter().map(row).collect());
        Value::Object(object)
    };
    functions(code, btf, symbols).into_iter().map(function).collect()
}

fn functions<'a>(
    code: &'a ProgramCode,
    btf: Option<&'a Btf>,
    symbols: &Symbols,
) -> Vec<Function<'a>> {
    let mut images = &code.jited[..];
    let mut functions = Vec::new();
    for (index, &len) in code.jited_lens.iter().enumerate() {
        let Some((image, rest)) = images.split_at_checked(len as usize) else { break };
        images = rest;
        let address = code.symbols.get(index).copied();
        let name = match address {
            None => "unknown".to_owned(),
            Some(address) => match symbols.at(address) {
                Some(symbol) => symbol.name.clone(),
                None => format!("{address:#018x}"),
            },
        };
        let typed = btf.zip(code.functions.get(index));
        let prototype = typed.map_or(String::new(), |(btf, of)| prototype(btf, of.type_id));
        let rows = rows(code, btf, address, image);
        functions.push(Function { prototype, name, rows });
    }
    functions
}

fn rows<'a>(
    code: &ProgramCode,
    btf: Option<&'a Btf>,
    address: Option<u64>,
    image: &'a [u8],
) -> Vec<Row<'a>> {
    let base = address.unwrap_or(0);
    let mut formatter = GasFormatter::new();
    let options = formatter.options_mut();
    options.set_space_after_operand_separator(true);
    options.set_first_operand_char_index(0);
    options.set_tab_size(0);
    options.set_uppercase_hex(false);
    options.set_gas_show_mnemonic_size_suffix(true);
    options.set_small_hex_numbers_in_decimal(false);
    options.set_branch_leading_zeros(false);
    options.set_displacement_leading_zeros(false);
    options.set_leading_zeros(false);
    let mut decoder = Decoder::with_ip(64, image, base, DecoderOptions::NONE);
    let mut lines = lines(code, base, image.len()).into_iter().peekable();
    let mut rows = Vec::new();
    let mut instruction = Instruction::default();
    while decoder.can_decode() {
        let pc = decoder.position();
        decoder.decode_out(&mut instruction);
        let mut text = String::new();
        let mut operands = String::new();
        formatter.format_mnemonic(&instruction, &mut text);
        formatter.format_all_operands(&instruction, &mut operands);
        if !operands.is_empty() {
            text = format!("{text}\t{operands}");
        }
        let line = lines.next_if(|(at, _)| *at <= base + pc as u64).map(|(_, line)| line);
        rows.push(Row {
            pc,
            line: btf.zip(line).and_then(|(btf, line)| Line::new(btf, &line)),
            text,
            bytes: &image[pc..decoder.position()],
        });
    }
    rows
}

/// The source lines of one function, by address.
fn lines(code: &ProgramCode, base: u64, len: usize) -> Vec<(u64, CodeLine)> {
    let own = base..base + len as u64;
    let pairs = code.jited_lines.iter().copied().zip(code.lines.iter().copied());
    pairs.filter(|(address, _)| own.contains(address)).collect()
}
